"""Whether a curve will be down: diverged, at the worst score there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .course import progress

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves, Integers, Mask

RARE, DOUBT = 0.01, 4.0
"""The share of curves that diverge, as believed before any was seen, and how many curves that belief weighs."""

STAYS, STUBBORN = 0.75, 2.0
"""The share of curves that are still down at the end, of those down at some time, and how many curves that weighs."""

GONE = 0.995
"""How surely a curve stays down at which a NaN or an infinity was measured."""

LATER = 0.1
"""Of the curves that are down at the end, so many were up after one step."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Probabilities of being down, from which curves were when last seen; neighbours count most.

    `state` (n,) is the probability that a curve seen to be down stays so, NaN for one that was up when last seen;
    `seen` (n,) is the last step seen, 0 for none; `dead` (n,).
    """

    state: Floats
    seen: Floats
    dead: Mask
    last: float

    @classmethod
    def of(cls, curves: Curves, down: Mask) -> Divergence:
        """`down` (N,) marks the observations at which a curve is down."""
        n = curves.size
        seen, ever = np.zeros(n), np.zeros(n, dtype=bool)
        np.maximum.at(seen, curves.owner, curves.step)
        ended = np.zeros(n, dtype=bool)
        ended[curves.owner[down & (curves.step == seen[curves.owner])]] = True
        gone = np.zeros(n, dtype=bool)
        gone[curves.owner[np.isneginf(curves.score) & (curves.step == seen[curves.owner])]] = True
        before = down & (curves.step < seen[curves.owner])
        ever[curves.owner[before]] = True
        stays = (STAYS * STUBBORN + (ended & ever).sum()) / (STUBBORN + ever.sum())
        state = np.where(ended, np.where(gone, GONE, stays), np.nan)
        return cls(np.where(curves.dead, 1.0, state), seen, curves.dead, float(curves.max_step))

    def chance(self, owner: Integers, step: Integers, nearness: Floats) -> Floats:
        """P(down) (m,) for curves `owner` (m,), -1 for new ones, at `step` (m,); `nearness` (m, n) in [0, 1] to curves.

        One that was up is down later with a share of the probability that a new one has, by the logarithm of time left.
        """
        judged = self.seen > 0
        fallen = np.where(np.isnan(self.state), 0.0, self.state) * judged
        base = (RARE * DOUBT + fallen.sum()) / (DOUBT + judged.sum())
        fresh = (DOUBT * base + nearness @ fallen) / (DOUBT + nearness @ judged)
        if not len(self.seen):
            return np.full(len(step), base)
        known = owner >= 0
        index = np.where(known, owner, 0)
        begun = known & (self.seen[index] > 0)
        left = progress(step.astype(np.float64), self.last) - progress(np.maximum(self.seen[index], 1.0), self.last)
        later = LATER * np.clip(left, 0.0, 1.0) * fresh
        state = np.where(known, self.state[index], np.nan)
        return np.where(~np.isnan(state), state, np.where(begun, later, fresh))
