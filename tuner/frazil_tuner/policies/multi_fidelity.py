"""Bayesian optimisation with a choice of fidelity, where more of the resource means training again. Torch is imported
late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, ClassVar

from .base import Continue, Pause, Recommendation, Resume, Start
from .domain import Point, domain_of
from .fidelities import (
    Pending,
    fidelities_of,
    fidelity_model,
    has_something_to_model,
    is_lost,
    pending_of,
    prospect_of,
    reach,
    telling,
    waits,
)
from .model_free import best_trained
from .options import option
from .scope import Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from ..acquisition import Worth
    from ..acquisition.fidelity import Prospect
    from ..history import Study, Trial
    from ..numerics import Floats
    from .base import Suggestion, Why
    from .fidelities import FidelityModel

PATHS = 8
"""Imagined outcomes of what is pending over which the acquisition is averaged."""

SEEDS = 4
"""The points of the best means at the target around which the acquisition's maximum is looked for."""

TIE = 0.05
"""A trial is trained again rather than a new one started where that is worth at most so much less, by logarithm."""

FIRST = (0, 0, 1, -1, 0, 0, 1, 0)
"""Places, among the fidelities, of the first trials: most are cheap, and early one shows what the target is like."""

SURROGATE_NAMES = (
    "linear_truncated", "downsampling", "exponential_decay", "autoregressive", "nonlinear_autoregressive", "coregional",
)  # fmt: skip
ACQUISITION_NAMES = ("log_ei", "knowledge_gradient", "max_value_entropy")
"""The names of the tables, which cannot be imported here without torch; a test holds them together."""

DEFAULT_SURROGATE, DEFAULT_ACQUISITION = "linear_truncated", "max_value_entropy"


@dataclass(frozen=True, slots=True)
class MultiFidelity:
    """Bayesian optimisation that chooses how much of the resource a run gets, by what it tells of the full resource.

    For resources that cannot be resumed: data, resolution, width. A run ends at its grant; the trial may be trained
    again with more, from step 0. What is worth most per cost is run next; outcomes of pending runs are imagined, and
    failed trials teach where trials fail. What is recommended is best by the model at the full resource.
    """

    name: ClassVar[str] = "multi_fidelity"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope(handles_constraints=True, resource_kind="restart")

    surrogate: str = option("auto", "the model of the objective at every fidelity", choices=("auto", *SURROGATE_NAMES))
    acquisition: str = option("auto", "what makes a run worth its cost", choices=("auto", *ACQUISITION_NAMES))

    def is_light(self, study: Study) -> bool:
        return not _is_warm(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        if not _is_warm(study):
            return self._without_model(study, count, seed, {"phase": "warm-up"})
        if not has_something_to_model(study):
            reason = "no trial has a finite value yet"
            return self._without_model(study, count, seed, {"phase": "fallback", "reason": reason})
        from ..surrogates import FitFailed

        try:
            return self._search(study, self._model(study), count, seed)
        except FitFailed as failure:
            return self._without_model(study, count, seed, {"phase": "fallback", "reason": str(failure)})

    def decide(self, study: Study, trial: Trial) -> Continue | Pause:
        """A run ends where its grant ends; one without a grant, of the user's own, gets the full resource."""
        if study.resource is None:
            raise ValueError("without a resource there is no step to decide at")
        granted = trial.until_step or study.resource.max
        if trial.last_step < granted:
            return Continue(granted)
        return Pause(f"trained up to step {granted}; with more it would be trained again")

    def recommend(self, study: Study) -> Recommendation | None:
        """The feasible trial of the best posterior mean at the full resource; before the first fit, or where it fails,
        the best of those trained longest.
        """
        if not _is_warm(study) or not has_something_to_model(study):
            return best_trained(study)
        from ..surrogates import FitFailed

        try:
            return _most_promising(study, self._model(study))
        except FitFailed:
            return best_trained(study)

    def _model(self, study: Study) -> FidelityModel:
        from ..surrogates import Unsuited

        try:
            return fidelity_model(study, DEFAULT_SURROGATE if self.surrogate == "auto" else self.surrogate)
        except Unsuited:
            return fidelity_model(study, DEFAULT_SURROGATE)

    def _without_model(self, study: Study, count: int, seed: int, facts: Why) -> list[Suggestion]:
        """Sobol points, most of them at low fidelities."""
        assert study.resource is not None
        steps = fidelities_of(study.resource)
        places = islice(cycle(FIRST), len(study.trials) + len(study.shelved), None)
        starts = sobol_starts(study, count, seed, {})
        untils = [steps[min(place, len(steps) - 1)] for _, place in zip(starts, places, strict=False)]
        return [
            replace(start, until=until, why={"policy": self.name, **facts, "fidelity": until})
            for start, until in zip(starts, untils, strict=True)
            if isinstance(start, Start)
        ]

    def _search(self, study: Study, fitted: FidelityModel, count: int, seed: int) -> list[Suggestion]:
        """One run after the other; those before it are imagined, like whatever else is pending."""
        name = DEFAULT_ACQUISITION if self.acquisition == "auto" else self.acquisition
        pending = pending_of(study)
        suggestions: list[Suggestion] = []
        while len(suggestions) < count:
            prospect = prospect_of(study, fitted, pending, PATHS, seed)
            run = _best_run(study, name, prospect, seed)
            if run is None:
                break
            suggestions.append(run.suggestion(self._why(fitted, run, name, len(pending))))
            pending = [*pending, Pending(run.point.params, run.step)]
            study = _with(study, run)
        return suggestions

    def _why(self, fitted: FidelityModel, run: Run, acquisition: str, pending: int) -> dict[str, Any]:
        first = fitted.objective
        return {
            "policy": self.name,
            "surrogate": first.surrogate,
            "because": first.because,
            "observations": len(first.seen.trials),
            "acquisition": acquisition,
            "pending": pending,
            "fidelity": run.step,
            "cost": run.cost,
            "value": run.value,
            "fit": fitted.fit,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """A point to be trained up to a step: its worth per cost, by logarithm, and its cost. `number` is that of the trial
    which waits there for more of the resource, if one does.
    """

    point: Point
    step: int
    value: float
    cost: float
    number: int | None = None

    def suggestion(self, why: Why) -> Suggestion:
        if self.number is None:
            return self.point.start(self.step, why)
        return Resume(self.number, self.step, why)


def _best_run(study: Study, acquisition: str, prospect: Prospect, seed: int) -> Run | None:
    """The run that is worth most per cost, over all fidelities; None where nothing is left to run."""
    from ..acquisition.fidelity import worth_per_cost

    assert study.resource is not None
    worth, seeds, full = worth_per_cost(acquisition, prospect), _leaders(prospect), study.resource.max

    def best_at(step: int) -> Run | None:
        return _best_at(study, lambda x: worth(x, step / full), step, prospect, seeds, seed)

    runs = [best_at(step) for step in fidelities_of(study.resource)]
    return max((run for run in runs if run), key=lambda run: run.value, default=None)


def _best_at(study: Study, worth: Worth, step: int, prospect: Prospect, seeds: Floats, seed: int) -> Run | None:
    """The best run up to a step: of a new point, or of a trial that waits for more."""
    import torch

    from ..acquisition import evaluate

    assert study.resource is not None
    new = domain_of(replace(study, trials=_trained(study, step)), seed).take_best(worth, seeds)
    waiting = [trial for trial in _waiting(study) if reach(study, trial) < step]
    points = [*([new] if new else []), *(Point(trial.params, trial.candidate) for trial in waiting)]
    numbers = [*([None] if new else []), *(trial.number for trial in waiting)]
    if not points:
        return None
    rows = study.space.encode_many([point.params for point in points])
    values = evaluate(worth, rows)
    best = int((values - [TIE if number is None else 0.0 for number in numbers]).argmax())
    cost = math.exp(float(prospect.price(torch.from_numpy(rows[best : best + 1]), step / study.resource.max)))
    return Run(points[best], step, float(values[best]), cost, numbers[best])


def _trained(study: Study, step: int) -> tuple[Trial, ...]:
    """The trials whose points are not to be trained up to a step: they were, or are on their way, or lost, or wait to
    be trained again themselves.

    One that finished with less may be started anew, but for a candidate, of which there is one trial at most.
    """
    anew = study.definition.candidates is None
    return tuple(
        trial
        for trial in study.trials
        if not (anew and trial.state.finished and not trial.excluded and 0 < reach(study, trial) < step)
        or is_lost(study, trial)
    )


def _waiting(study: Study) -> list[Trial]:
    """The trials that may be trained again with more, in the present context."""
    wanted = study.context.items()
    return [
        trial
        for trial in study.trials
        if waits(study, trial)
        and not is_lost(study, trial)
        and all(trial.params.get(name, value) == value for name, value in wanted)
    ]


def _with(study: Study, run: Run) -> Study:
    """The study once a run is on the shelf."""
    if run.number is not None:
        return replace(study, thawing=(*study.thawing, run.number))
    index = () if run.point.candidate is None else (run.point.candidate,)
    shelved = (*study.shelved, run.point.params)
    return replace(study, shelved=shelved, shelved_candidates=(*study.shelved_candidates, *index))


def _leaders(prospect: Prospect) -> Floats:
    """The points (at most `SEEDS`, d) of the best means at the target."""
    from ..acquisition import merit

    points = prospect.target.belief.points
    rows: Floats = points[merit(prospect.target, points).topk(min(SEEDS, len(points))).indices].numpy()
    return rows


def _most_promising(study: Study, fitted: FidelityModel) -> Recommendation | None:
    """The trial whose believed merit at the full resource is largest, of those believed feasible if there are any."""
    import torch

    from ..acquisition import merit

    target = prospect_of(study, fitted, [], 1, study.definition.seed).target
    trials = fitted.objective.seen.trials
    rows = torch.from_numpy(study.space.encode_many([trial.params for trial in trials]))
    best = int(merit(target, rows).argmax())
    mean, sd = target.belief.posterior(rows[best : best + 1])
    value, deviation = fitted.objective.in_units(mean.mean().item(), sd.mean().item())
    return Recommendation(trials[best].number, {study.objective.metric: value}, {study.objective.metric: deviation})


def _is_warm(study: Study) -> bool:
    return telling(study) >= min(max(2 * study.space.dimension + 2, 6), 12)
