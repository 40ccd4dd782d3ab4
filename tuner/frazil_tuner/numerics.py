"""Small numerical helpers, each with its limits. Plain numpy, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNEE = 10.0
"""Spreads from the centre up to which an outcome is left alone."""

EXTREME = 1e100
"""Scores beyond ±EXTREME count as ±EXTREME, so that no sum of them overflows."""


@dataclass(frozen=True, slots=True)
class Taming:
    """The monotone map from scores to the outcomes a model sees, and back.

        z = (score - centre) / spread
        t = z where |z| ≤ KNEE, else sign(z) (KNEE + log(1 + |z| - KNEE))
        outcome = (t - mean) / sd

    One wild value may not flatten the others, and no order is lost. The outcome of any finite float lies within a few
    hundred.
    """

    centre: float
    spread: float
    mean: float
    sd: float

    def apply(self, scores: Floats) -> Floats:
        """Finite `scores` (n,) to outcomes (n,); mean 0 and deviation 1 over the scores the map was made from."""
        return (_soften(_relative(scores, self.centre, self.spread)) - self.mean) / self.sd

    def slope(self, scores: Floats) -> Floats:
        """The derivative (n,) of the outcome by the score at finite `scores` (n,)."""
        z = np.abs(_relative(scores, self.centre, self.spread))
        return 1.0 / (1.0 + np.maximum(z - KNEE, 0.0)) / (self.spread * self.sd)

    def invert(self, outcome: float, deviation: float) -> tuple[float, float]:
        """The belief N(outcome, deviation²) in units of the scores: exact up to the knee, by the local slope beyond."""
        t = outcome * self.sd + self.mean
        excess = min(max(abs(t) - KNEE, 0.0), 690.0)
        z = math.copysign(KNEE + math.expm1(excess), t) if excess else t
        score = self.centre + self.spread * z
        sd = deviation * self.sd * self.spread * math.exp(excess)
        return min(max(score, -EXTREME), EXTREME), min(sd, EXTREME)


def tame(scores: Floats) -> Taming:
    """The taming that suits finite `scores` (n ≥ 1,): their median for centre, their interquartile range for spread."""
    kept = np.clip(scores, -EXTREME, EXTREME)
    centre = float(np.median(kept))
    spread = _spread(kept, centre)
    softened = _soften(_relative(kept, centre, spread))
    sd = float(softened.std())
    return Taming(centre, spread, float(softened.mean()), sd if sd > 1e-9 else 1.0)


def _relative(scores: Floats, centre: float, spread: float) -> Floats:
    return (np.clip(scores, -EXTREME, EXTREME) - centre) / spread


def _soften(z: Floats) -> Floats:
    excess = np.maximum(np.abs(z) - KNEE, 0.0)
    return np.where(excess > 0, np.copysign(KNEE + np.log1p(excess), z), z)


def _spread(scores: Floats, centre: float) -> float:
    """The interquartile range; the mean distance from the centre where half the scores are equal; 1 where all are."""
    low, high = np.quantile(scores, [0.25, 0.75])
    negligible = 1e-12 * max(abs(centre), 1e-188)
    for spread in (high - low, np.abs(scores - centre).mean()):
        if spread > negligible:
            return float(spread)
    return 1.0
