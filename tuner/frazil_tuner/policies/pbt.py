"""Population-based training: runs that fall behind are replaced by branches of better ones, with other settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..history import TrialState
from ..space import Column
from .base import Branch, Pause, Resume, Stop
from .domain import domain_of
from .model_free import best_seen
from .options import option
from .scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..history import Definition, Study, Trial
    from ..numerics import Floats
    from .base import Decision, Recommendation, Suggestion

INTERVALS = 10
"""Into how many intervals a whole run is cut, if the study does not say."""

FEWEST = 4
"""Runs that must have come as far before one of them is called worse than the others."""


def _against_interval(interval: int, definition: Definition) -> str | None:
    most = definition.resource.max if definition.resource else math.inf
    return f"must be at most the resource's maximum, {most}" if interval > most else None


@dataclass(frozen=True, slots=True)
class Pbt:
    """Population-based training: all runs train side by side, and after every interval the worst are replaced.

    A run that is among the worst of those that have come as far is given up; in its place one of the best is branched:
    it goes on from that one's checkpoint, with numeric parameters moved a little. What the line of branches did is a
    schedule. Names, whole numbers and whatever else the network may be built by stay as they are, for the checkpoint
    to fit. When all have come to the end another population is begun.
                                        Jaderberg et al. 2017 (arXiv 1711.09846), with truncation selection
    """

    name: ClassVar[str] = "pbt"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope(resource_kind="resumable")

    population: int = option(10, "runs that train side by side", low=2, high=1000)
    interval: int = option(
        0,
        "steps between two comparisons; 0 stands for the resource's minimum, or a tenth of its maximum if that is more",
        low=0,
        objection=_against_interval,
    )
    truncation: float = option(
        0.25, "the share of the population that is replaced, and by whose branches", low=0.01, high=0.5
    )
    spread: float = option(
        0.1, "the deviation by which a branch's numeric parameters are moved, in lengths of their ranges", low=0, high=1
    )

    def is_light(self, study: Study) -> bool:
        return True

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        """First the population is filled, then those who are furthest behind go on."""
        rng = np.random.default_rng(seed)
        alive = [trial for trial in study.trials if not (trial.state.finished or trial.excluded)]
        vacant = max(self.population - len(alive) - len(study.shelved) - self._arrived(study, alive), 0)
        found: list[Suggestion] = [*islice(self._newcomers(study, alive, rng), min(count, vacant))]
        return [*found, *islice(self._resumed(study, alive), count - len(found))]

    def _arrived(self, study: Study, alive: list[Trial]) -> int:
        """The runs of the present generation that have come to the end: they keep their places until all have."""
        completed = sum(trial.state is TrialState.COMPLETED and not trial.excluded for trial in study.trials)
        return completed % self.population if alive else 0

    def decide(self, study: Study, trial: Trial) -> Decision:
        """Every run is frozen after its interval, so that others can go on from there."""
        if trial.score(study.objective) == -math.inf:
            return Stop("diverged")
        rivals = sorted(
            score for other in study.trials if (score := self._score_at(study, other, trial.last_step)) is not None
        )
        own = self._score_at(study, trial, trial.last_step)
        behind = sum(score <= own for score in rivals) if own is not None else 0
        if own is not None and len(rivals) >= FEWEST and behind <= self.truncation * len(rivals):
            return Stop(f"among the worst {self.truncation:.0%} of {len(rivals)} at step {trial.last_step}")
        return Pause("kept in the population")

    def recommend(self, study: Study) -> Recommendation | None:
        return best_seen(study)

    def _newcomers(self, study: Study, alive: list[Trial], rng: np.random.Generator) -> Iterator[Suggestion]:
        """Branches of the best, where a population has been trained; otherwise configurations drawn at random."""
        domain = domain_of(study, int(rng.integers(2**31)))
        parents = self._parents(study, alive)
        while True:
            if parents:
                yield self._branch(study, parents[int(rng.integers(len(parents)))], rng)
            elif point := domain.take_random():
                until = self._until(study, 0)
                yield point.start(until, {"policy": self.name, "phase": "first generation"})
            else:
                return

    def _parents(self, study: Study, alive: list[Trial]) -> list[Trial]:
        """The frozen runs that belong to the best of those alive; none while the first generation is begun."""
        if study.definition.candidates is not None or len(study.trials) + len(study.shelved) < self.population:
            return []
        scored = [(score, trial) for trial in alive if (score := trial.score(study.objective)) is not None]
        scored = sorted(((score, trial) for score, trial in scored if math.isfinite(score)), key=lambda pair: -pair[0])
        best = scored[: max(math.ceil(self.truncation * self.population), 1)]
        return [trial for _, trial in best if trial.state.paused and self._suits(study, trial)]

    @staticmethod
    def _suits(study: Study, trial: Trial) -> bool:
        """Whether a run was made for the context of the suggestions to come, and has steps before it."""
        alike = all(trial.params.get(name) == value for name, value in study.context.items())
        return alike and study.resource is not None and trial.last_step < study.resource.max

    def _branch(self, study: Study, parent: Trial, rng: np.random.Generator) -> Branch:
        space = study.search_space
        row = space.encode_many([parent.params])
        moved = _reflected(row + self.spread * rng.standard_normal(row.shape) * self._free(study))
        why = {"policy": self.name, "phase": "explore"}
        params = space.decode(space.repair(moved, row)[0])
        return Branch(parent.number, params, self._until(study, parent.last_step), why)

    @staticmethod
    def _free(study: Study) -> Floats:
        """1 for the columns (dimension,) that may move, 0 for others."""
        movable = study.search_space.columns_of("tune")
        continuous = np.array([column is Column.CONTINUOUS for column in study.search_space.columns])
        free: Floats = (movable & continuous).astype(np.float64)
        return free

    def _resumed(self, study: Study, alive: list[Trial]) -> Iterator[Resume]:
        """Frozen runs, those that are furthest behind first, the better of equals."""
        thawing = frozenset(study.thawing)
        frozen = [trial for trial in alive if trial.state.paused and trial.number not in thawing]
        frozen = [trial for trial in frozen if self._suits(study, trial)]
        for trial in sorted(frozen, key=lambda t: (t.last_step, -(t.score(study.objective) or -math.inf), t.number)):
            why = {"policy": self.name, "phase": "exploit"}
            yield Resume(trial.number, self._until(study, trial.last_step), why)

    def _score_at(self, study: Study, trial: Trial, step: int) -> float | None:
        """The score that a run had when it came to a step; None for those that have not, and for failed ones."""
        if trial.excluded or trial.state.worst or trial.last_step < step:
            return None
        curve = trial.curves.get(study.objective.metric, ())
        return study.objective.score(curve, step) if curve else None

    def _until(self, study: Study, last: int) -> int:
        assert study.resource is not None
        interval = self.interval or max(study.resource.min, math.ceil(study.resource.max / INTERVALS))
        return min(max(last + interval, study.resource.min), study.resource.max)


def _reflected(rows: Floats) -> Floats:
    """Back into the unit cube."""
    folded: Floats = np.abs(rows) % 2.0
    return np.where(folded > 1.0, 2.0 - folded, folded)
