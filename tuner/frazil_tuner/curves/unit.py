"""The door for networks: from scores in any unit to [0, 1], and back. The data decide, not what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .scale import LEAST, suited

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves, Mask

HEADROOM = 1.15
"""Losses above so many times the loss before training count as so much, as in the tables networks were trained with."""

UNTRAINED = 0.8
"""So many curves begin with at most the loss before training; the others begin by getting worse."""

FAR = 0.08
"""Seen scores that span less of the interval between natural bounds are looked at by themselves, for resolution."""

ABOVE, BELOW = 1.0, 0.15
"""Room above the best score seen and below the worst, in spans of the scores, where nature sets no bounds."""


@dataclass(frozen=True, slots=True)
class Unit:
    """u = (score - worst) / (best - worst), cut to [0, 1]; what is not finite was measured of a diverged curve: 0."""

    worst: float
    best: float

    @property
    def width(self) -> float:
        return self.best - self.worst

    def apply(self, score: Floats) -> Floats:
        """u (N,) of scores (N,)."""
        u: Floats = np.clip((score - self.worst) / self.width, 0.0, 1.0)
        return u

    def edges(self, bins: int) -> Floats:
        """The scores (bins + 1,) between equal bins; but the first lies around the worst score, which many share."""
        edges: Floats = self.worst + self.width * np.linspace(0.0, 1.0, bins + 1)
        edges[:2] = self.worst + self.width / bins * np.array([-0.5, 0.5])
        return edges


def unit_for(curves: Curves) -> Unit:
    """Natural bounds where scores look like losses, all negative, or like shares, all in [0, 1], and use a fair part of
    the interval; else bounds around what was seen, which a change of unit changes alike. A floor is the worst score
    wherever the caller knows one. No order of curves matters.
    """
    scale = suited(curves)
    seen = np.isfinite(curves.score) & (curves.score > scale.low) & (curves.score <= scale.high)
    if not seen.any():
        return Unit(scale.floor, scale.floor + scale.spread)
    score = curves.score[seen]
    low, high = float(score.min()), float(score.max())
    natural = _natural(low, high, _first(curves, seen))
    around = _around(low, high, scale.spread)
    if curves.floor is not None:
        return Unit(curves.floor, natural.best if natural and natural.best > curves.floor else around.best)
    if natural is not None and high - max(low, natural.worst) >= FAR * natural.width:
        return natural
    return around


def _natural(low: float, high: float, first: Floats) -> Unit | None:
    if low >= 0.0 and high <= 1.0:
        return Unit(0.0, 1.0)
    if high <= 0.0 and first.max() < -LEAST:
        return Unit(HEADROOM * float(np.quantile(first, 1 - UNTRAINED, method="nearest")), 0.0)
    return None


def _around(low: float, high: float, spread: float) -> Unit:
    span = high - low if high - low > 1e-9 * spread else spread
    return Unit(low - BELOW * span, high + ABOVE * span)


def _first(curves: Curves, seen: Mask) -> Floats:
    """The first score seen of each curve of which one was."""
    rows = np.flatnonzero(seen)
    rows = rows[np.lexsort((curves.step[rows], curves.owner[rows]))]
    opens = np.diff(curves.owner[rows], prepend=-1) != 0
    first: Floats = curves.score[rows[opens]]
    return first
