"""A network's beliefs under guard: mixed with those of the Gaussian process by how well each foretells this study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..numerics import FitFailed
from ..pfn.manifest import Damaged
from .base import Where
from .blend import Blend
from .gp import FreezeThaw
from .joined import Joined
from .pfn import PriorFitted, PriorFittedBelief

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import CurveBelief, CurveModel, Curves, Integers, Mask, Predictive

SHARE, DOUBT = 0.95, 10.0
"""The network's share as believed before any value was foretold, and how many foretold values that belief weighs."""

ROUNDS = 30
"""Rounds in which the share is found."""

OF = 4
"""Of so many curves one is foretold from its beginning."""

GOLDEN = 0.618034

DOWN = 0.01
"""Believed at most so far above the worst score, in widths of the unit, a diverged curve was foretold."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """The mixture of `network` and `process`. With an earlier fit that is "settled" nothing is learned anew.

    Where the network cannot serve, since its weights are damaged, the process serves alone; where the process fails,
    the network does.
    """

    network: PriorFitted = field(default_factory=PriorFitted)
    process: CurveModel = field(default_factory=FreezeThaw)

    def fit(self, curves: Curves, start: Mapping[str, Any] | None = None) -> CurveBelief:
        start = start or {}
        try:
            network = self.network.fit(curves)
        except Damaged:  # named when the server starts
            return self.process.fit(curves, start)
        known = replace(curves, floor=network.unit.worst)  # one worst score for both
        try:
            process = self.process.fit(known, start)
            share = _remembered(start) or self._share(known, network, process)
        except FitFailed:
            return network
        return GuardedBelief(network, process, share)

    def _share(self, curves: Curves, network: PriorFittedBelief, process: CurveBelief) -> float:
        """From how well both foretell what was seen last of some curves, from the rest of the study."""
        trial = Trial.of(curves, network)
        if not len(trial.where.owner):
            return SHARE
        other = self.process.fit(trial.rest, {**process.fit, "settled": True})
        beliefs = (replace(network, curves=trial.rest), other)
        one, two = (trial.density(belief.at(trial.where), network) for belief in beliefs)
        return stacked(one, two)


def _remembered(start: Mapping[str, Any]) -> float | None:
    share = start.get("network")
    return share if start.get("settled") and isinstance(share, float) and 0.0 < share < 1.0 else None


@dataclass(frozen=True, slots=True)
class Trial:
    """The `rest` of a study from which the scores `u` (k,), in the network's unit, are foretold at `where`: the last
    one of every fourth curve, from a beginning of any length.
    """

    rest: Curves
    where: Where
    u: Floats

    @classmethod
    def of(cls, curves: Curves, network: PriorFittedBelief) -> Trial:
        """Which curves: by their rank in an order that depends on what is known of them only."""
        told, rank = network.told, network.rank
        held = (told.count > 0) & ~curves.dead
        cut = held & (rank % OF == 0) & (told.count > 1)
        last = told.bounds[1:] - 1
        left = np.clip(told.count ** ((GOLDEN * rank + 0.5) % 1.0), 1, np.maximum(told.count - 1, 1)).astype(np.int64)
        until = (
            told.step[np.clip(np.where(cut, told.bounds[:-1] + left - 1, last), 0, None)] if len(told.step) else last
        )
        kept = curves.step <= until[curves.owner]
        rest = replace(curves, owner=curves.owner[kept], step=curves.step[kept], score=curves.score[kept])
        asked = np.flatnonzero(cut)
        where = Where(curves.x[asked], asked, told.step[last[asked]])
        return cls(rest, where, told.u[last[asked]])

    def density(self, predicted: Predictive, network: PriorFittedBelief) -> Floats:
        """The log density (k,) of what was seen; of a curve that is down, that it was believed near the worst."""
        unit = network.unit
        near = np.log(
            np.maximum(1.0 - predicted.exceeding(unit.worst + DOWN * unit.width), 1e-12) / (DOWN * unit.width)
        )
        return np.where(self.u > 0.0, predicted.log_density(unit.worst + unit.width * self.u), near)


def stacked(one: Floats, other: Floats) -> float:
    """The share s of the first of two models in a mixture that makes the log densities (k,) of k values largest,

        Σ_i log(s p_i + (1 - s) q_i) + DOUBT (SHARE log s + (1 - SHARE) log(1 - s)),

    by expectation and maximisation.                                             Yao et al. 2018 (arXiv 1704.02030)
    """
    share = SHARE
    apart = np.clip(other - one, -700.0, 700.0)
    for _ in range(ROUNDS):
        belongs = 1.0 / (1.0 + (1.0 - share) / share * np.exp(apart))
        share = float(belongs.sum() + DOUBT * SHARE) / (len(one) + DOUBT)
    return share


@dataclass(frozen=True)
class GuardedBelief:
    """Of each curve that has begun, one of the two models is right: the network with probability `share`. Of others,
    the network is.
    """

    network: PriorFittedBelief
    process: CurveBelief
    share: float

    @property
    def fit(self) -> Mapping[str, Any]:
        return {**self.process.fit, "network": round(self.share, 4)}

    def at(self, where: Where, *, noisy: bool = True) -> Predictive:
        begun = self._begun(where)
        if begun.all():
            return self._mixed(where, noisy)
        if not begun.any():
            return self.network.at(where, noisy=noisy)
        return Joined(self._mixed(where.part(begun), noisy), self.network.at(where.part(~begun), noisy=noisy), begun)

    def _mixed(self, where: Where, noisy: bool) -> Blend:
        """The answer to the last question about curves that have begun is remembered: where all of them end is asked
        by whoever learns from it, and again by whoever decides.
        """
        question = where.owner.tobytes(), where.step.tobytes(), noisy
        if question not in self._answers:
            beliefs = self.network.at(where, noisy=noisy), self.process.at(where, noisy=noisy)
            self._answers.clear()
            self._answers[question] = Blend(*beliefs, np.full(len(where.step), self.share))
        return self._answers[question]

    @cached_property
    def _answers(self) -> dict[tuple[bytes, bytes, bool], Blend]:
        return {}

    def draws(self, where: Where, count: int, rng: np.random.Generator) -> Floats:
        curve: Integers = np.unique(where.named(self.network.curves.size)[1], return_inverse=True)[1].ravel()
        luck = rng.random((count, int(curve.max(initial=-1)) + 1))[:, curve]
        one, other = self.network.draws(where, count, rng), self.process.draws(where, count, rng)
        return np.where((luck < self.share) | ~self._begun(where), one, other)

    def given(self, where: Where, score: Floats) -> GuardedBelief:
        return replace(self, network=self.network.given(where, score), process=self.process.given(where, score))

    def _begun(self, where: Where) -> Mask:
        count = np.append(self.network.told.count, 0)  # of a new curve, -1
        begun: Mask = count[where.owner] > 0
        return begun
