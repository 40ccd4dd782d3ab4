"""Bayesian optimisation: a model of what was seen, and the point worth most under it. Torch is imported late."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..numerics import Floats, Taming, tame
from ..space import Column
from .base import Continue, Recommendation, Suggestion, Why
from .domain import domain_of
from .model_free import best_trained, full_grant, go_on
from .options import option
from .sobol import sobol_starts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..history import Params, Study, Trial
    from ..surrogates import Belief

MOST_OBSERVATIONS = 400
"""A fit takes the best half of so many, and the rest evenly from the others: its cost grows with the cube."""

PATHS = 8
"""Imagined outcomes of the running trials over which the acquisition is averaged."""

SEEDS = 4
"""The best observations around which the acquisition's maximum is looked for."""


@dataclass(frozen=True, slots=True)
class Bayes:
    """Bayesian optimisation with a Gaussian process and log expected improvement, each trial trained to the end.

    Starts with Sobol points; failed trials teach as the worst finite value; what is running, queued or shelved is
    imagined.
    """

    name: ClassVar[str] = "bayes"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False

    surrogate: str = option("gp", "the model of the objective", choices=("gp",))
    acquisition: str = option("log_ei", "what makes a point worth trying", choices=("log_ei",))
    warmup: int = option(
        0, "finished trials before the first fit; 0 stands for the dimension + 2, from 4 to 20", low=0, high=1000
    )

    def is_light(self, study: Study) -> bool:
        return not self._is_warm(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        if not self._is_warm(study):
            return sobol_starts(study, count, seed, {"policy": self.name, "phase": "warm-up"})
        seen = observe(study)
        if seen is None:
            return self._without_model(study, count, seed, "no trial has a finite value yet")
        from ..surrogates import FitFailed

        try:
            return self._search(study, seen, count, seed)
        except FitFailed as failure:
            return self._without_model(study, count, seed, str(failure))

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        """The trial of the best posterior mean; before the first fit, or where it fails, the best observed one."""
        seen = observe(study) if self._is_warm(study) else None
        if seen is None:
            return best_trained(study)
        from ..surrogates import FitFailed

        try:
            return self._most_promising(study, seen)
        except FitFailed:
            return best_trained(study)

    def _is_warm(self, study: Study) -> bool:
        enough = self.warmup or min(max(study.space.dimension + 2, 4), 20)
        return len(list(islice(_scored(study), enough))) == enough

    def _without_model(self, study: Study, count: int, seed: int, reason: str) -> list[Suggestion]:
        return sobol_starts(study, count, seed, {"policy": self.name, "phase": "fallback", "reason": reason})

    def _search(self, study: Study, seen: Seen, count: int, seed: int) -> list[Suggestion]:
        """One point after the other; those before it are imagined, like whatever else is running."""
        import torch

        from ..acquisition import ACQUISITIONS, evaluate

        rng = torch.Generator().manual_seed(seed)
        belief, domain = self._fit(study, seen), domain_of(study, seed)
        pending = study.space.encode_many(running(study))
        suggestions: list[Suggestion] = []
        while len(suggestions) < count:
            imagined = belief.imagine(torch.from_numpy(pending), PATHS, rng) if len(pending) else belief
            worth = ACQUISITIONS[self.acquisition](imagined)
            point = domain.take_best(worth, seen.best(SEEDS))
            if point is None:
                break
            row = study.space.encode_many([point.params])
            pending = np.concatenate([pending, row])
            why = self._why(seen, pending=len(pending) - 1, value=float(evaluate(worth, row)[0]))
            suggestions.append(point.start(full_grant(study.resource), why))
        return suggestions

    def _fit(self, study: Study, seen: Seen) -> Belief:
        import torch

        from ..surrogates import SURROGATES, Evidence

        unordered = torch.tensor([column is Column.UNORDERED for column in study.space.columns], dtype=torch.bool)
        return SURROGATES[self.surrogate].fit(Evidence(torch.from_numpy(seen.X), torch.from_numpy(seen.y), unordered))

    def _most_promising(self, study: Study, seen: Seen) -> Recommendation:
        import torch

        belief = self._fit(study, seen)
        with torch.no_grad():
            mean, sd = belief.posterior(torch.from_numpy(seen.X))
        i = int(np.argmax(np.where(seen.finite, mean[0].numpy(), -np.inf)))
        score, deviation = seen.taming.invert(float(mean[0, i]), float(sd[i]))
        return Recommendation(seen.trials[i].number, study.objective.sign * score, deviation)

    def _why(self, seen: Seen, **facts: Any) -> Why:
        model = {"surrogate": self.surrogate, "acquisition": self.acquisition}
        return {"policy": self.name, **model, "observations": len(seen.trials), "of": seen.total, **facts}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model is fitted to: trials (n,), points X (n, d), outcomes y (n,) and which were finite (n,)."""

    trials: tuple[Trial, ...]
    X: Floats
    y: Floats
    finite: np.ndarray
    taming: Taming
    total: int

    def best(self, count: int) -> Floats:
        """The points (at most count, d) of the best outcomes, best first."""
        return self.X[np.argsort(-self.y, kind="stable")[:count]]


def observe(study: Study) -> Seen | None:
    """What the finished trials have shown; None if none has a finite value. Failures get the worst finite score."""
    scored = list(_scored(study))
    scores = np.array([score for _, score in scored])
    finite = np.isfinite(scores)
    if not finite.any():
        return None
    scores = np.where(finite, scores, scores[finite].min())
    kept = _representative(scores)
    taming = tame(scores[kept])
    trials = tuple(scored[i][0] for i in kept)
    X = study.space.encode_many([trial.params for trial in trials])
    return Seen(trials, X, taming.apply(scores[kept]), finite[kept], taming, len(scored))


def running(study: Study) -> list[Params]:
    """The configurations whose outcome is still to come: queued, running, paused or shelved; the latest of many."""
    unfinished = [trial.params for trial in study.trials if not trial.state.finished and not trial.excluded]
    return [*unfinished, *study.shelved][-MOST_OBSERVATIONS:]


def _scored(study: Study) -> Iterator[tuple[Trial, float]]:
    """The finished trials with their scores, -inf for failures."""
    for trial in study.trials:
        if trial.state.finished and not trial.excluded:
            score = trial.score(study.objective)
            if score is not None:
                yield trial, score


def _representative(scores: Floats) -> np.ndarray:
    """The indices of all scores, or of `MOST_OBSERVATIONS`: the best half, and others evenly over time; ascending."""
    if len(scores) <= MOST_OBSERVATIONS:
        return np.arange(len(scores))
    half = MOST_OBSERVATIONS // 2
    order = np.argsort(-scores, kind="stable")
    others = np.sort(order[half:])
    evenly = others[np.linspace(0, len(others) - 1, MOST_OBSERVATIONS - half).astype(int)]
    return np.sort(np.concatenate([order[:half], evenly]))
