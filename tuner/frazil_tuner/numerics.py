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


class FitFailed(ArithmeticError):
    """No belief can be formed: the numbers are too ill-conditioned. Answer without a model and say so."""


@dataclass(frozen=True, slots=True)
class Bend:
    """A monotone map that stretches what is near the best and squeezes what is far below it.

        v = (top - z) / unit + offset,    t = -(v^exponent - 1) / exponent,   -log v for exponent 0

    Box and Cox 1964 of the distance from the best, `top`; straight for exponent 1. Invertible below top + offset ·
    unit.
    """

    top: float = 0.0
    unit: float = 1.0
    exponent: float = 1.0
    offset: float = 0.0

    def apply(self, z: Floats) -> Floats:
        if self.exponent == 1.0:
            return z
        v = self._distance(z)
        return -np.log(v) if self.exponent == 0 else -(v**self.exponent - 1.0) / self.exponent

    def log_slope(self, z: Floats) -> Floats:
        """log dt/dz (n,)."""
        if self.exponent == 1.0:
            return np.zeros_like(z)
        return (self.exponent - 1.0) * np.log(self._distance(z)) - math.log(self.unit)

    def invert(self, t: float) -> float:
        if self.exponent == 1.0:
            return t
        if self.exponent == 0:
            v = math.exp(min(-t, 300.0))
        else:
            v = max(1.0 - self.exponent * t, 0.0) ** (1.0 / self.exponent)
        return self.top - self.unit * (v - self.offset)

    def _distance(self, z: Floats) -> Floats:
        return np.maximum((self.top - z) / self.unit + self.offset, 1e-12)


BENDS = ((1.0, 0.0), *((exponent, offset) for exponent in (0.5, 0.0) for offset in (1.0, 0.1)))
"""Exponents and offsets of the bends that outcomes may be given, the straight one first; all are smooth at the best."""


@dataclass(frozen=True, slots=True)
class Taming:
    """The monotone map from scores to the outcomes a model sees, and back.

        z = (score - centre) / spread
        s = z where |z| ≤ KNEE, else sign(z) (KNEE + log(1 + |z| - KNEE))
        outcome = (bend(s) - mean) / sd

    One wild value may not flatten the others, and no order is lost. The outcome of any finite float lies within a few
    hundred.
    """

    centre: float
    spread: float
    mean: float
    sd: float
    bend: Bend = Bend()

    def apply(self, scores: Floats) -> Floats:
        """Finite `scores` (n,) to outcomes (n,); mean 0 and deviation 1 over the scores the map was made from."""
        return (self.bend.apply(_soften(_relative(scores, self.centre, self.spread))) - self.mean) / self.sd

    def slope(self, scores: Floats) -> Floats:
        """The derivative (n,) of the outcome by the score at finite `scores` (n,)."""
        z = _relative(scores, self.centre, self.spread)
        softening = 1.0 / (1.0 + np.maximum(np.abs(z) - KNEE, 0.0))
        return np.exp(self.bend.log_slope(_soften(z))) * softening / (self.spread * self.sd)

    def log_slope(self, scores: Floats) -> Floats:
        """The logarithm (n,) of the slope, but for what all bends of the same scores share."""
        return self.bend.log_slope(_soften(_relative(scores, self.centre, self.spread))) - math.log(self.sd)

    def invert(self, outcome: float, deviation: float) -> tuple[float, float]:
        """The belief N(outcome, deviation²) in units of the scores: by the map itself, and by its slope there."""
        s = self.bend.invert(outcome * self.sd + self.mean)
        excess = min(max(abs(s) - KNEE, 0.0), 690.0)
        z = math.copysign(KNEE + math.expm1(excess), s) if excess else s
        score = min(max(self.centre + self.spread * z, -EXTREME), EXTREME)
        slope = float(self.slope(np.array([score]))[0])
        return score, min(deviation / max(slope, 1 / EXTREME), EXTREME)


def tame(scores: Floats, exponent: float = 1.0, offset: float = 0.0) -> Taming:
    """The taming that suits finite `scores` (n ≥ 1,): their median for centre, their interquartile range for spread;
    bent by an exponent and an offset of `BENDS`.
    """
    kept = np.clip(scores, -EXTREME, EXTREME)
    centre = float(np.median(kept))
    spread = _spread(kept, centre)
    softened = _soften(_relative(kept, centre, spread))
    below = softened.max() - softened
    bend = Bend(float(softened.max()), float(np.median(below[below > 0])), exponent, offset) if below.any() else Bend()
    bent = bend.apply(softened)
    sd = float(bent.std())
    return Taming(centre, spread, float(bent.mean()), sd if sd > 1e-9 else 1.0, bend)


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
    z < -40           -z²/2 - ½ log 2π - 2 log |z| + log(1 - 3/z² + 15/z⁴ - 105/z⁶ + 945/z⁸)

    Ament et al. 2023, eq. (9)
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


# ── covariances ──────────────────────────────────────────────────────────────────────────────────────────────────────


def matern52(s: Floats) -> tuple[Floats, Floats]:
    """ρ and g = -2 dρ/ds of scaled squared distances s ≥ 0, any shape; s is overwritten.

    ρ = (1 + r + r²/3) e^(-r),  g = 5/3 (1 + r) e^(-r),  r = √(5s)          Rasmussen and Williams 2006, eq. (4.17)
    """
    r = np.sqrt(np.multiply(s, 5.0, out=s), out=s)
    decay = np.exp(-r)
    g = r + 1.0
    g *= decay
    rho = np.multiply(r, r, out=r)
    rho /= 3.0
    rho *= decay
    rho += g
    g *= 5.0 / 3.0
    return rho, g
