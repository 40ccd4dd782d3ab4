"""Bayesian optimisation: a model of what was seen, and the point worth most under it. Torch is imported late."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import Continue, Recommendation, Suggestion
from .domain import Point, domain_of
from .model_free import best_trained, full_grant, go_on
from .modelling import Risk, has_something_to_model, model, outlook_of, running, scenarios_of, telling, unbeaten
from .options import option
from .scope import ANY_STUDY, Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..acquisition import Outlook
    from ..history import Definition, Study, Trial
    from .modelling import Model

PATHS = 8
"""Imagined outcomes of the running trials over which the acquisition is averaged."""

SEEDS = 4
"""The best observations around which the acquisition's maximum is looked for."""

SURROGATE_NAMES = (
    "gp", "tree", "sparse", "warped", "derivatives", "multi_task", "heteroscedastic", "pairwise",
)  # fmt: skip
ACQUISITION_NAMES = (
    "log_ei", "noisy_ei", "ucb", "thompson", "knowledge_gradient", "max_value_entropy", "joint_entropy",
    "log_hypervolume", "chebyshev", "eubo",
)  # fmt: skip
"""The names of the tables, which cannot be imported here without torch; a test holds them together."""


OBJECTIVES = {"auto": range(1, 101), "log_hypervolume": range(2, 5), "chebyshev": range(2, 101)}
"""How many objectives an acquisition takes; one if it is not named here."""


def _against_acquisition(name: str, definition: Definition) -> str | None:
    count, takes = len(definition.objectives), OBJECTIVES.get(name, range(1, 2))
    if count not in takes:
        most = f"{takes.start} to {takes.stop - 1} objectives" if len(takes) > 1 else "one objective"
        return f'{name} takes {most}, not {count}; leave it "auto"'
    return None


def _against_surrogate(name: str, definition: Definition) -> str | None:
    compared = [objective.metric for objective in definition.objectives if objective.by == "comparison"]
    if compared and len(definition.objectives) > 1:
        return f"{compared[0]} is learned by comparison and must then be the only objective"
    if compared and name not in ("auto", "pairwise"):
        return f'{name} learns from values, but {compared[0]} is learned by comparison; leave it "auto"'
    if name == "pairwise" and not compared:
        return 'pairwise learns from comparisons alone: give the objective "by": "comparison", or leave this "auto"'
    return None


@dataclass(frozen=True, slots=True)
class Bayes:
    """Bayesian optimisation: a model of every metric, and the point worth most under it, each trial trained to the end.

    Starts in the middle of the space, or where the user expects the optimum, and with Sobol points. What is running,
    queued or shelved is imagined; failed trials teach where trials fail.
    The surrogate and the acquisition suit the study's shape unless they are named.
    """

    name: ClassVar[str] = "bayes"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = ANY_STUDY

    surrogate: str = option(
        "auto", "the model of the objectives", choices=("auto", *SURROGATE_NAMES), objection=_against_surrogate
    )
    acquisition: str = option(
        "auto", "what makes a point worth trying", choices=("auto", *ACQUISITION_NAMES), objection=_against_acquisition
    )
    warmup: int = option(
        0, "finished trials before the first fit; 0 stands for the dimension + 2, from 4 to 6", low=0, high=1000
    )
    beta: float = option(2.0, "the weight of the deviation in confidence bounds (ucb)", low=0, high=100)
    risk: str = option(
        "expectation",
        "how an objective is judged over environment parameters",
        choices=("expectation", "var", "cvar"),
    )
    risk_level: float = option(
        0.9, "the share of environments in which var is kept, or beyond which cvar averages", low=0.5, high=0.99
    )
    replicates: bool = option(False, "whether a point of a finite space may be tried again")

    def is_light(self, study: Study) -> bool:
        return not (study.related or self._is_warm(study))

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        warm = self._is_warm(study)
        if not warm and (not study.related or checks_the_earlier(study)):
            return self._warm_up(study, count, seed)
        if not has_something_to_model(study):
            return self._without_model(study, count, seed, "no trial has a finite value yet")
        from ..surrogates import FitFailed

        try:
            fitted = model(study, self.surrogate)
            if not warm and not fitted.has_learned_from_the_earlier:
                return self._warm_up(study, count, seed)
            return self._search(study, fitted, count, seed)
        except FitFailed as failure:
            return self._without_model(study, count, seed, str(failure))

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        """The feasible trial of the best posterior mean (of several objectives, the best compromise); before the first
        fit, or where it fails, the best observed one.
        """
        if not self._is_warm(study) or not has_something_to_model(study):
            return best_trained(study)
        from ..surrogates import FitFailed

        try:
            return self._most_promising(study, model(study, self.surrogate))
        except FitFailed:
            return best_trained(study)

    def _is_warm(self, study: Study) -> bool:
        enough = self.warmup or min(max(study.space.dimension + 2, 4), 6)
        return has_as_many(telling(study), enough)

    def _warm_up(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        """The point where the optimum is expected, the middle where nothing is known; then Sobol points."""
        why = {"policy": self.name, "phase": "warm-up"}
        starts = sobol_starts(study, count, seed, why)
        if place(study) != bool(study.related) or not starts:
            return starts
        prior = study.space.prior
        expected = prior.mode if prior else np.full(study.space.dimension, 0.5)
        point = domain_of(study, seed).take_nearest(expected)
        if point is None:
            return starts
        first = point.start(full_grant(study.resource), why)
        others = [start for start in (*starts[1:], starts[0]) if start != first]  # a short list may have it twice
        return [first, *others[: count - 1]]

    def _without_model(self, study: Study, count: int, seed: int, reason: str) -> list[Suggestion]:
        return sobol_starts(study, count, seed, {"policy": self.name, "phase": "fallback", "reason": reason})

    def _search(self, study: Study, fitted: Model, count: int, seed: int) -> list[Suggestion]:
        """One point after the other; those before it are imagined, like whatever else is running."""
        import torch

        from ..acquisition import evaluate, worth_of

        name = self._acquisition(study)
        outlook = outlook_of(study, fitted, seed, beta=self.beta, risk=Risk(self.risk, self.risk_level))
        domain = domain_of(study, seed, replicate=self.replicates)
        seeds = fitted.best(SEEDS)
        pending = study.space.encode_many(running(study))
        suggestions: list[Suggestion] = []
        while len(suggestions) < count:
            imagined = outlook.imagine(torch.from_numpy(pending), PATHS) if len(pending) else outlook
            worth = worth_of(name, imagined)
            point = domain.take_best(worth, seeds)
            if point is None:
                break
            point = in_environment(study, fitted, imagined, point, seed)
            row = study.space.encode_many([point.params])
            value = float(evaluate(worth, row)[0])
            why = self._why(fitted, acquisition=name, pending=len(pending), value=value)
            pending = np.concatenate([pending, row])
            suggestions.append(point.start(full_grant(study.resource), why))
        return suggestions

    def _acquisition(self, study: Study) -> str:
        """As named, or what suits the objectives: their number, and how they are learned."""
        if self.acquisition != "auto":
            return self.acquisition
        if study.objective.by == "comparison":
            return "eubo"
        return next(name for name, most in FOR_OBJECTIVES if len(study.objectives) <= most)

    def _most_promising(self, study: Study, fitted: Model) -> Recommendation | None:
        """The trial whose believed merit is largest, of those believed feasible if there are any."""
        import torch

        outlook = outlook_of(
            study, fitted, study.definition.seed, beta=self.beta, risk=Risk(self.risk, self.risk_level)
        )
        trials = unbeaten(study, fitted.objectives[0].seen.trials)
        if not trials:
            return None
        from ..acquisition import merit

        rows = torch.from_numpy(study.space.encode_many([trial.params for trial in trials]))
        best = int(merit(outlook, rows).argmax())
        means, sds = {}, {}
        for part, belief in zip(fitted.objectives, outlook.objectives, strict=True):
            mean, sd = belief.posterior(rows[best : best + 1])
            metric = part.quantity.metric
            means[metric], sds[metric] = part.in_units(mean.mean().item(), sd.mean().item())
        return Recommendation(trials[best].number, means, sds)

    def _why(self, fitted: Model, **facts: Any) -> dict[str, Any]:
        first = fitted.objectives[0]
        model_facts = {"surrogate": first.surrogate, "because": first.because, "observations": len(first.seen.trials)}
        return {"policy": self.name, **model_facts, "of": fitted.total, **facts, "fit": fitted.fit}


CHECKS = 2
"""Points of a cold start that show whether earlier studies tell the truth, after one that they recommend."""


def place(study: Study) -> int:
    """How many suggestions have been made before the next one."""
    return len(study.trials) + len(study.shelved)


def checks_the_earlier(study: Study) -> bool:
    """Whether the next suggestion is to show if earlier studies are to be believed; until that is known, all are."""
    return place(study) > 0 and (place(study) <= CHECKS or not has_as_many(telling(study), CHECKS + 1))


def has_as_many(trials: Iterator[Trial], count: int) -> bool:
    """Whether there are so many; looks no further, for histories are long and this is asked at every ask."""
    return sum(1 for _ in islice(trials, count)) == count


def in_environment(study: Study, fitted: Model, outlook: Outlook, point: Point, seed: int) -> Point:
    """The point in the environment that tells most of it; as it is where there are no environment parameters."""
    columns = study.space.columns_of("environment")
    if not columns.any():
        return point
    import torch

    from ..acquisition import choose_environment

    scenarios = torch.from_numpy(scenarios_of(study, seed))
    row = torch.from_numpy(study.space.encode(point.params))
    belief = fitted.objectives[0].belief
    chosen = choose_environment(outlook, row, torch.from_numpy(columns), scenarios, belief)
    return Point(study.search_space.decode(chosen.numpy()), point.candidate)


FOR_OBJECTIVES = (("log_ei", 1), ("log_hypervolume", 4), ("chebyshev", 10))
"""The acquisition for up to so many objectives."""
