"""Covariances of a value of a curve: over configurations, and within a curve. Analytic slopes, plain numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..numerics import matern52
from .course import FUNCTIONS, drifted

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Mask

MIXED = np.tril_indices(FUNCTIONS)
"""Rows and columns of the entries of the mixing matrix in θ."""

OWN = 8
"""Entries of θ that describe a curve of its own."""

LEAST_NOISE = 1e-8
"""Added to every variance of a measurement, in units of the scores' variance."""


@dataclass(frozen=True, slots=True)
class Hyper:
    """θ (d + J (J + 1) / 2 + 8,): what a fit learns. Everything but the entries off the diagonal of L by logarithms.

    `lengths` ℓ (d,) in edges of the cube; `mixing` L (J, J), lower: the weights of the functions of time have
    covariance L Lᵀ; then deviations, in those of the scores, and scales of time, in units of τ: `level` that no
    configuration explains; `drift` and `drift_length` of a rough, `sway` and `sway_length` of a smooth departure;
    `calm`; `noise` at the beginning, and `settling`, by which its logarithm has changed at the last step.
    """

    theta: Floats

    @property
    def dimension(self) -> int:
        return len(self.theta) - len(MIXED[0]) - OWN

    @property
    def lengths(self) -> Floats:
        lengths: Floats = np.exp(self.theta[: self.dimension])
        return lengths

    @property
    def mixing(self) -> Floats:
        L = np.zeros((FUNCTIONS, FUNCTIONS))
        L[MIXED] = self.theta[self.dimension : -OWN]
        np.fill_diagonal(L, np.exp(L.diagonal()))
        return L

    @property
    def own(self) -> Floats:
        """(8,) as in θ: level, drift, drift length, sway, sway length, calm, noise, settling."""
        return self.theta[-OWN:]


def gaps(a: Floats, b: Floats, unordered: Mask) -> Floats:
    """(a_j - b_j)² (d, m, n) in ordered columns of rows a (m, d) and b (n, d), [a_j ≠ b_j] in unordered ones."""
    apart = a.T[:, :, None] - b.T[:, None, :]
    return np.where(unordered[:, None, None], apart != 0, np.square(apart))


def correlation(gap: Floats, lengths: Floats, unordered: Mask) -> tuple[Floats, Floats]:
    """ρ (m, n) of configurations with these gaps (d, m, n), and the slopes ∂ρ/∂log ℓ_j are `pulls` · gap_j / ℓ_j².

    ρ = M(Σ_o gap_j / ℓ_j²) exp(-Σ_u gap_j / ℓ_j²),  M Matérn 5/2,  over ordered columns o and unordered ones u
    """
    scaled = gap * np.square(1.0 / lengths)[:, None, None]
    rho, g = matern52(scaled[~unordered].sum(0))
    if not unordered.any():
        return rho, g[None]
    decay = np.exp(-scaled[unordered].sum(0))
    pulls = np.where(unordered[:, None, None], 2.0 * rho * decay, g * decay)
    return rho * decay, pulls


def sway(distance: Floats) -> tuple[Floats, Floats]:
    """Matérn 5/2 of distances ≥ 0, and its slope by the distance."""
    rho, g = matern52(np.square(distance))
    return rho, -distance * g


@dataclass(frozen=True, slots=True)
class Own:
    """Covariances K (n, M, M) of what a curve does by itself at its M steps, and their slopes by θ's last entries.

        K = level² + √a drift² exp(-Δτ / ℓ_d) + √a sway² M(Δτ / ℓ_s)

    a (n,) is the activity of each curve: some are at rest where others jump. The variance of a measurement,
    `noise` (n, M), is a · noise² · exp(2 settling v), v = t / T.
    """

    hyper: Hyper
    tau: Floats
    slope: Floats
    share: Floats
    activity: Floats

    @classmethod
    def at(cls, hyper: Hyper, step: Floats, last: float, activity: Floats) -> Own:
        """For steps (n, M) of curves with these activities (n,)."""
        tau, slope = drifted(step, last, hyper.own[5])
        return cls(hyper, tau, slope, step / last, activity)

    def covariance(self) -> Floats:
        level, drift, drift_length, sway_, sway_length, *_ = np.exp(self.hyper.own)
        apart = np.abs(self.tau[:, :, None] - self.tau[:, None, :])
        K: Floats = drift**2 * np.exp(-apart / drift_length) + sway_**2 * sway(apart / sway_length)[0]
        K *= np.sqrt(self.activity)[:, None, None]
        K += level**2
        return K

    def among_last(self) -> Floats:
        """The covariances (n, n) of the last steps, if all were one curve's."""
        level, tau = math.exp(self.hyper.own[0]) ** 2, self.tau[:, -1:].T
        single = Own(self.hyper, tau, tau, tau, np.ones(1)).covariance()[0]
        among: Floats = (single - level) * np.sqrt(self.activity)[:, None] + level
        return among

    def noise(self) -> Floats:
        *_, noise, settling = self.hyper.own
        exponents = 2 * (noise + settling * self.share)
        variance: Floats = self.activity[:, None] * np.exp(exponents) + LEAST_NOISE
        return variance

    def slopes(self, pull: Floats) -> Floats:
        """From what the entries of K + diag(noise) weigh, (n, M, M), to what the last entries of θ do, (8,)."""
        level, drift, drift_length, sway_, sway_length, *_ = np.exp(self.hyper.own)
        apart = self.tau[:, :, None] - self.tau[:, None, :]
        faster = (self.slope[:, :, None] - self.slope[:, None, :]) * np.sign(apart)
        apart = np.abs(apart)
        scaled = pull * np.sqrt(self.activity)[:, None, None]
        rough = scaled * drift**2 * np.exp(-apart / drift_length)
        rho, steep = sway(apart / sway_length)
        smooth, bent = scaled * sway_**2 * rho, scaled * sway_**2 * steep
        noise = np.einsum("nmm,nm->nm", pull, self.noise() - LEAST_NOISE)
        slopes: Floats = np.array(
            [
                2 * level**2 * pull.sum(),
                2 * rough.sum(),
                (rough * apart).sum() / drift_length,
                2 * smooth.sum(),
                -(bent * apart).sum() / sway_length,
                (bent * faster).sum() / sway_length - (rough * faster).sum() / drift_length,
                2 * noise.sum(),
                2 * (noise * self.share).sum(),
            ]
        )
        return slopes
