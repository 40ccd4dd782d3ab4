"""Ladders that begin at different rungs, and which trial climbs which: what hyperband and bohb share."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate, count
from typing import TYPE_CHECKING

from .ladder import Ladder, rungs_of
from .readings import next_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..history import Resource, Study, Trial

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, fill the unit interval evenly, however many there are."""


class Brackets:
    """The brackets of a study. Bracket k begins at rung k, and its trials are compared with each other alone.

    Of K + 1 rungs, the maximum among them, bracket k gets ⌈(K + 1) η^(K - k) / (K - k + 1)⌉ trials of every round
    through all brackets: about as many steps each.        Li et al. 2018, "Hyperband", algorithm 1.

    A trial's number alone says where it belongs, so nothing has to be remembered.
    """

    def __init__(self, study: Study, eta: int, name: str) -> None:
        if study.resource is None:
            raise ValueError(f"{name} needs a resource")
        self._study, self._eta, self._name = study, eta, name
        self.rungs = rungs_of(study.resource, eta)
        self._ends = _ends(study.resource, eta)

    def of(self, number: int) -> int:
        """The bracket of a trial. The shares hold in any run of numbers, as nearly as whole trials can."""
        place = math.fmod((number + 0.5) * GOLDEN, 1.0)
        return min(bisect_right(self._ends, place), len(self.rungs) - 1)

    def ladders(self) -> list[Ladder]:
        """One for each bracket, the lowest first."""
        members: list[list[Trial]] = [[] for _ in self.rungs]
        for trial in self._study.trials:
            members[self.of(trial.number)].append(trial)
        return [self._ladder(k, trials) for k, trials in enumerate(members)]

    def ladder_of(self, trial: Trial) -> Ladder:
        k = self.of(trial.number)
        return self._ladder(k, [other for other in self._study.trials if self.of(other.number) == k])

    def next_rungs(self) -> Iterator[int]:
        """Up to where each of the trials to come is trained first."""
        return (self.rungs[self.of(number)] for number in count(next_number(self._study)))

    def _ladder(self, k: int, trials: list[Trial]) -> Ladder:
        return Ladder(self._study, trials, self.rungs[k:], self._eta, self._name)


def _ends(resource: Resource, eta: int) -> list[float]:
    """Where the share of each bracket ends in the unit interval; the last one ends at 1."""
    rungs = len(rungs_of(resource, eta))
    sizes = [math.ceil(rungs * eta ** (rungs - 1 - k) / (rungs - k)) for k in range(rungs)]
    return [end / sum(sizes) for end in accumulate(sizes)]
