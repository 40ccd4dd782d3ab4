"""Small numerical helpers, each with its limits. Plain numpy, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

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


# ── normal distributions ─────────────────────────────────────────────────────────────────────────────────────────────

NEAR, FAR = -1.0, -40.0
"""Where `log_h` changes its formula; at either switch both sides agree to 1e-11."""


def log_h(z: Floats) -> Floats:
    """log(φ(z) + z Φ(z)) for |z| ≤ 1e150, to 1e-10 of its size; its slope is Φ(z) / h(z).

    z ≥ -1            as written
    -40 ≤ z < -1      -z²/2 - ½ log 2π + log(1 - √(π/2) |z| erfcx(|z|/√2))
    z < -40           -z²/2 - ½ log 2π - 2 log |z| + log(1 - 3/z² + 15/z⁴ - 105/z⁶ + 945/z⁸)    Ament et al. 2023, eq. (9)
    """
    answer = np.empty_like(z)
    near, far = z >= NEAR, z < FAR
    for where, formula in ((near, _log_h_near), (far, _log_h_far), (~(near | far), _log_h_middle)):
        if where.any():
            answer[where] = formula(z[where])
    return answer


def _log_h_near(z: Floats) -> Floats:
    logarithm: Floats = np.log(np.exp(-0.5 * np.square(z)) / math.sqrt(2 * math.pi) + z * ndtr(z))
    return logarithm


def _log_h_middle(z: Floats) -> Floats:
    ratio = math.sqrt(math.pi / 2) * -z * erfcx(-z / math.sqrt(2))
    logarithm: Floats = -0.5 * np.square(z) - 0.5 * math.log(2 * math.pi) + np.log1p(-ratio)
    return logarithm


def _log_h_far(z: Floats) -> Floats:
    w = np.square(1.0 / z)
    series = np.log1p(w * (-3 + w * (15 + w * (-105 + w * 945))))
    logarithm: Floats = -0.5 * np.square(z) - 0.5 * math.log(2 * math.pi) - 2 * np.log(-z) + series
    return logarithm
