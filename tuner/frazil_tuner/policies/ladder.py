"""Rungs, who stands on them, and who goes on: what asha, hyperband and bohb share."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .base import Continue, Decision, Pause, Resume, Suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..history import Objective, Resource, Study, Trial
    from ..numerics import Floats

Indices = NDArray[np.intp]


def rungs_of(resource: Resource, eta: int) -> list[int]:
    """The steps at which trials are compared, ascending; then the maximum, where nothing is left to decide."""
    rungs = [resource.min]
    while rungs[-1] * eta < resource.max:
        rungs.append(rungs[-1] * eta)
    return [rung for rung in rungs if rung < resource.max] + [resource.max]


def rung_score(trial: Trial, objective: Objective, rung: int) -> float | None:
    """The score at a rung, larger is better: -inf if the trial failed or diverged; None if nothing was measured."""
    if trial.state.worst:
        return -math.inf
    curve = trial.curves.get(objective.metric)
    return objective.score(curve, rung) if curve and curve[0][0] <= rung else None


def climb(ladders: Sequence[Ladder], count: int, starts: Callable[[int], Sequence[Suggestion]]) -> list[Suggestion]:
    """Thaw what was interrupted, then what deserves promotion; then start; then thaw the best of the rest.

    `starts` makes at most so many. The rest is thawed only when there is nothing left to start: a finite list would
    otherwise run dry with every trial paused.
    """
    interrupted = chain.from_iterable(ladder.interrupted() for ladder in ladders)
    promotable = chain.from_iterable(ladder.promotable() for ladder in ladders)
    urgent: list[Suggestion] = list(islice(chain(interrupted, promotable), count))
    fresh = starts(count - len(urgent)) if len(urgent) < count else []
    left_over = chain.from_iterable(ladder.left_over() for ladder in ladders)
    return [*urgent, *fresh, *islice(left_over, count - len(urgent) - len(fresh))]


class Ladder:
    """Some trials of a study and the rungs they climb; of each rung the best 1/eta go on. `name` is the policy's."""

    def __init__(self, study: Study, trials: Sequence[Trial], rungs: Sequence[int], eta: int, name: str) -> None:
        self._objective = study.objective
        self._trials = [trial for trial in trials if not trial.excluded]
        self._thawing = frozenset(study.thawing)
        self._eta = eta
        self._name = name
        self.rungs = rungs

    def judge(self, trial: Trial) -> Decision:
        """Whether a running trial goes on from the last rung it has passed."""
        passed = bisect_right(self.rungs[:-1], trial.last_step)
        if not passed:
            return Continue(self.rungs[0], "below the first rung")
        rung, target = self.rungs[passed - 1], self.rungs[passed]
        score = rung_score(trial, self._objective, rung)
        if score is None:
            return Continue(target, f"no {self._objective.metric} was reported by step {rung}")
        rank, seen = self._rank(trial, score, rung)
        quota = seen // self._eta
        verdict = f"rank {rank} of {seen} at step {rung}; the best {quota} go on"
        return Continue(target, verdict) if rank <= quota and math.isfinite(score) else Pause(verdict)

    def interrupted(self) -> Iterator[Resume]:
        """Paused trials that lost their worker before the step they were granted, or stand below the first rung."""
        for trial in self._trials:
            if not self._waits(trial):
                continue
            granted = max(trial.until_step or 0, self.rungs[0])
            if trial.last_step < granted:
                yield Resume(trial.number, granted, {"policy": self._name, "reason": "interrupted"})

    def promotable(self) -> Iterator[Resume]:
        """Paused trials among the best 1/eta of the rung they stand on, highest rung first, best first."""
        for k, trials, scores, order in self._ranked():
            yield from self._thaw(k, trials, scores, order[: len(order) // self._eta], "promoted")

    def left_over(self) -> Iterator[Resume]:
        """The other paused trials on the rungs, highest rung first, best first."""
        for k, trials, scores, order in self._ranked():
            yield from self._thaw(k, trials, scores, order[len(order) // self._eta :], "nothing left to start")

    def _rank(self, trial: Trial, score: float, rung: int) -> tuple[int, int]:
        """The place of a trial, from 1, among all seen at a rung, and how many these are; the earlier wins a tie."""
        trials, scores = self._standing(rung, besides=trial.number)
        ties = sum(trials[i].number < trial.number for i in np.flatnonzero(scores == score))
        return 1 + int((scores > score).sum()) + ties, 1 + len(trials)

    def _thaw(self, k: int, trials: list[Trial], scores: Floats, places: Indices, reason: str) -> Iterator[Resume]:
        """The trials at `places` that wait on rung k and have a finite score, each up to the next rung."""
        rung, target = self.rungs[k], self.rungs[k + 1]
        for i in places:
            trial, score = trials[i], float(scores[i])
            stands_here = max(rung, trial.until_step or 0) <= trial.last_step < target
            if stands_here and self._waits(trial) and math.isfinite(score):
                why = {"policy": self._name, "rung": rung, "score": score, "reason": reason}
                yield Resume(trial.number, target, why)

    def _waits(self, trial: Trial) -> bool:
        return trial.state.paused and trial.number not in self._thawing

    def _ranked(self) -> Iterator[tuple[int, list[Trial], Floats, Indices]]:
        """Each rung's index, trials, scores and their order, best first; from the last rung below the maximum down."""
        for k in reversed(range(len(self.rungs) - 1)):
            trials, scores = self._standing(self.rungs[k])
            yield k, trials, scores, np.argsort(-scores, kind="stable")

    def _standing(self, rung: int, besides: int | None = None) -> tuple[list[Trial], Floats]:
        """The trials, but for number `besides`, that were measured by a rung they reached; and their scores (n,)."""
        reached = [trial for trial in self._trials if trial.last_step >= rung and trial.number != besides]
        scores = [rung_score(trial, self._objective, rung) for trial in reached]
        trials = [trial for trial, score in zip(reached, scores, strict=True) if score is not None]
        return trials, np.array([score for score in scores if score is not None])
