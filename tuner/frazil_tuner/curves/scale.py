"""The door for scale: from scores in any unit to what the models of curves see, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..numerics import EXTREME

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves, Mask

TOO_LOW, TOO_HIGH = 20.0, 1000.0
"""Scores so many widths below or above the median are wild: a curve that diverged, a number gone wrong. A width is the
distance from the median to the score that one in twenty exceeds. Good curves may be rare, and far from the rest.
"""

LEAST = 1e-200
"""The smallest difference between scores that is one."""


@dataclass(frozen=True, slots=True)
class Scale:
    """z = (score - centre) / spread for scores between `low`, exclusive, and `high`; above it they count as `high`.

    At `low` or below a curve is down: it diverged, and counts as the score `floor` for as long as that lasts.
    """

    centre: float
    spread: float
    low: float
    high: float
    floor: float

    def apply(self, score: Floats) -> Floats:
        """z (N,), -inf where the curve is down."""
        z = (np.minimum(np.maximum(score, self.floor), self.high) - self.centre) / self.spread
        return np.where(self.down(score), -np.inf, z)

    def down(self, score: Floats) -> Mask:
        """Whether a curve that measures this is down (N,)."""
        mask: Mask = ~(score > self.low)
        return mask

    def invert(self, z: Floats) -> Floats:
        return self.centre + self.spread * z


def suited(curves: Curves) -> Scale:
    """The scale for these curves: mean 0 and deviation 1 over all that is not wild. No order of curves matters, and a
    change of unit changes nothing.
    """
    score = np.clip(curves.score[np.isfinite(curves.score)], -EXTREME, EXTREME)
    floor = curves.floor
    if floor is not None:
        score = score[score > floor]
    if not len(score):
        worst = 0.0 if floor is None else floor
        return Scale(worst, max(abs(worst), 1.0), worst if floor is not None else -np.inf, np.inf, worst)
    low, high = _fences(score)
    if floor is not None:
        low = floor
    kept = score[(score > low) & (score <= high)]
    centre = float(kept.mean())
    return Scale(centre, _spread(kept, centre), low, float(kept.max()), float(kept.min()) if floor is None else floor)


def _fences(score: Floats) -> tuple[float, float]:
    """Between which scores a value is believed."""
    median, good = np.quantile(score, [0.5, 0.95], method="nearest")
    width = good - median
    if not width > 0:
        apart = np.abs(score - median)
        width = np.median(apart[apart > 0]) if apart.any() else 1.0
    width = max(float(width), 1e-9 * abs(float(median)), LEAST)
    return float(median - TOO_LOW * width), float(median + TOO_HIGH * width)


def _spread(score: Floats, centre: float) -> float:
    """The deviation; where all scores are equal, their size."""
    spread = float(np.sqrt(np.square(score - centre).mean()))
    return max(spread if spread > 1e-9 * abs(centre) else abs(centre) or 1.0, LEAST)
