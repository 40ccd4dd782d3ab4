"""The exact Gaussian process for mixed spaces, in lean torch: small studies are answered in tens of milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from .base import Belief, Evidence, FitFailed
from .kernels import FAMILIES, Kernel

if TYPE_CHECKING:
    from ..numerics import Floats

LENGTH_CENTRE, LENGTH_SPREAD = -0.5, 1.0
SHORTEST, LONGEST = 2.5e-2, 1e3
"""Length scales in units of the cube's edge: log ℓ ~ N(LENGTH_CENTRE + ½ log d, LENGTH_SPREAD²) within the bounds."""

AMPLITUDE_CENTRE, AMPLITUDE_SPREAD = 0.0, 1.0
LEAST_AMPLITUDE, MOST_AMPLITUDE = 1e-2, 1e4
"""Signal variances in units of the outcomes' variance: log a ~ N(AMPLITUDE_CENTRE, AMPLITUDE_SPREAD²)."""

NOISE_CENTRE, NOISE_SPREAD = -6.0, 3.0
LEAST_NOISE, MOST_NOISE = 1e-6, 1e1
"""Noise variances in units of the outcomes' variance: log σ² ~ N(NOISE_CENTRE, NOISE_SPREAD²), so usually little."""

LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Length scales ℓ (d,), signal variance a () and noise variance σ² (), all float64."""

    lengths: Tensor
    amplitude: Tensor
    noise: Tensor

    @classmethod
    def at(cls, theta: Floats) -> Hyperparameters:
        """From the logarithms (d + 2,): lengths, amplitude, noise."""
        values = torch.from_numpy(np.exp(theta))
        return cls(values[:-2], values[-2], values[-1])


def noises(evidence: Evidence, hyper: Hyperparameters) -> Tensor:
    """The variance of each outcome (n,): as given, or σ² where it is not known."""
    if evidence.noise is None:
        return hyper.noise.expand(len(evidence.y))
    return torch.where(evidence.noise.isnan(), hyper.noise, evidence.noise + LEAST_NOISE)


def log_evidence(evidence: Evidence, hyper: Hyperparameters, family: str = "matern52") -> tuple[Tensor, Tensor]:
    """Log marginal likelihood (), at the most likely constant mean μ, and its slope (d + 2,) in log ℓ, log a, log σ².

    log N(y; μ1, K),  K = a k(X, X) + diag(noise),  μ = 1ᵀK⁻¹y / 1ᵀK⁻¹1
    ∂/∂θ = ½ tr((ααᵀ - K⁻¹) ∂K/∂θ),  α = K⁻¹(y - μ1)        Rasmussen and Williams 2006, eq. (5.9)
    """
    X, y, unordered = evidence.X, evidence.y, evidence.unordered
    kernel = Kernel(hyper.lengths, unordered, FAMILIES[family])
    k, g = kernel.both(X, X)
    noise = noises(evidence, hyper)
    K = k * hyper.amplitude
    L = cholesky(K, noise)
    residual = y - most_likely_mean(L, y)
    alpha = torch.cholesky_solve(residual[:, None], L)[:, 0]
    value = -0.5 * residual @ alpha - L.diagonal().log().sum() - 0.5 * len(y) * math.log(2 * math.pi)
    pull = torch.cholesky_inverse(L).neg_().addr_(alpha, alpha)  # (n, n)
    by_noise = noise * pull.diagonal()
    by_amplitude = alpha @ residual - len(y) - by_noise.sum()
    if evidence.noise is not None:
        by_noise = by_noise[evidence.noise.isnan()]
    by_length = hyper.amplitude * _pull_on_lengths(X, g.mul_(pull), k.mul_(pull), kernel)
    return value, 0.5 * torch.cat([by_length, by_amplitude[None], by_noise.sum()[None]])


def _pull_on_lengths(X: Tensor, W: Tensor, V: Tensor, kernel: Kernel) -> Tensor:
    """Σ_ab W_ab (a_j - b_j)² / ℓ_j² (d,) for symmetric W (n, n) in ordered columns, without an array of n × n × d; and
    Σ_ab V_ab [a_j ≠ b_j] / ℓ_j in unordered ones.
    """
    centred = X - X.mean(0)
    pulls = 2 * (W.sum(1) @ centred.square() - (centred * (W @ centred)).sum(0)) / kernel.lengths.square()
    for j in kernel.unordered.nonzero()[:, 0]:
        apart = X[:, None, j] != X[None, :, j]
        pulls[j] = V[apart].sum() / kernel.lengths[j]
    return pulls


def log_prior(theta: Floats) -> tuple[float, Floats]:
    """Log density of the dimension-scaled prior at the logarithms (d + 2,), up to a constant, and its slope.

    ℓ_j ~ LogNormal(½ log d - ½, 1),   a ~ LogNormal(0, 1),   σ² ~ LogNormal(-6, 3)

    Scaled with the dimension as in Hvarfner, Hellsten and Nardi 2024, but narrower: under their wide prior a column
    that matters little so far is taken for flat, and the search sticks to the border of the cube.
    """
    d = len(theta) - 2
    centre = np.array([_length_centre(d)] * d + [AMPLITUDE_CENTRE, NOISE_CENTRE])
    spread = np.array([LENGTH_SPREAD] * d + [AMPLITUDE_SPREAD, NOISE_SPREAD])
    z = (theta - centre) / spread
    return float(-0.5 * (z @ z)), -z / spread


def _length_centre(d: int) -> float:
    """The median of log ℓ under the prior."""
    return LENGTH_CENTRE + 0.5 * math.log(max(d, 1))


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """A radial kernel over ordered columns times exponentiated Hamming over unordered ones, at the most probable
    scales.
    """

    family: str = "matern52"

    def fit(self, evidence: Evidence) -> GaussianBelief:
        return believe(evidence, self.most_probable(evidence), self.family)

    def most_probable(self, evidence: Evidence) -> Hyperparameters:
        """The hyperparameters that maximise likelihood times prior: from where an earlier fit ended, and from two
        starts of our own if there was none; FitFailed if none gets anywhere.
        """
        d = evidence.X.shape[1]
        bounds = np.log([[SHORTEST, LONGEST]] * d + [[LEAST_AMPLITUDE, MOST_AMPLITUDE], [LEAST_NOISE, MOST_NOISE]])

        def loss(theta: Floats) -> tuple[float, Floats]:
            likelihood, pull = log_evidence(evidence, Hyperparameters.at(theta), self.family)
            prior, slope = log_prior(theta)
            return -(likelihood.item() + prior), -(pull.numpy() + slope)

        starts = [np.clip(start, *bounds.T) for start in _starts(evidence)]
        fits = [minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds) for start in starts]
        best = min(fits, key=lambda fit: fit.fun if math.isfinite(fit.fun) else math.inf)
        if not (math.isfinite(best.fun) and np.isfinite(best.x).all()):
            raise FitFailed("the likelihood is not finite anywhere near the prior")
        return Hyperparameters.at(best.x)


def _starts(evidence: Evidence) -> list[Floats]:
    d = evidence.X.shape[1]
    remembered = evidence.start.get("theta")
    if remembered is not None and len(remembered) == d + 2:
        return [np.asarray(remembered, dtype=np.float64)]
    lengths = (_length_centre(d) - LENGTH_SPREAD**2, _length_centre(d) + 1)
    return [np.array([length] * d + [0.0, math.log(1e-2)]) for length in lengths]


def believe(evidence: Evidence, hyper: Hyperparameters, family: str = "matern52") -> GaussianBelief:
    """The posterior under given hyperparameters."""
    kernel = Kernel(hyper.lengths, evidence.unordered, FAMILIES[family])
    noise = noises(evidence, hyper)
    K = kernel.both(evidence.X, evidence.X)[0] * hyper.amplitude
    mean = most_likely_mean(cholesky(K, noise), evidence.y)
    return GaussianBelief.given(evidence.X, evidence.y[None], noise, mean, hyper, kernel)


@dataclass(frozen=True, slots=True)
class GaussianBelief:
    """A Gaussian posterior, S of them where outcomes were imagined: they share the points and differ in outcomes.

    `points` X (n, d) with `outcomes` y (S, n) and their `noise` (n,); `whitener` L⁻¹ (n, n), L the lower Cholesky
    factor of K; `weights` = K⁻¹(y - μ) (S, n); `mean` μ ().
    """

    points: Tensor
    outcomes: Tensor
    noise: Tensor
    mean: Tensor
    hyper: Hyperparameters
    kernel: Kernel
    whitener: Tensor
    weights: Tensor
    incumbent: Tensor

    @classmethod
    def given(
        cls, X: Tensor, y: Tensor, noise: Tensor, mean: Tensor, hyper: Hyperparameters, kernel: Kernel
    ) -> GaussianBelief:
        """Conditioned on outcomes y (S, n) at X (n, d) around the constant `mean`."""
        K = kernel.both(X, X)[0] * hyper.amplitude
        L = cholesky(K, noise)
        weights = torch.cholesky_solve((y - mean).T, L).T
        whitener = torch.linalg.solve_triangular(L, torch.eye(len(L), dtype=L.dtype), upper=False)
        return cls(X, y, noise, mean, hyper, kernel, whitener, weights, (mean + weights @ K).amax(1))

    @property
    def fit(self) -> Mapping[str, Any]:
        theta = torch.cat([self.hyper.lengths, self.hyper.amplitude[None], self.hyper.noise[None]]).log()
        return {"theta": [round(value, 4) for value in theta.tolist()]}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        k = self.hyper.amplitude * self.kernel(self.points, x)  # (n, m)
        explained = (self.whitener @ k).square().sum(0, keepdim=True)
        return self.mean + self.weights @ k, (self.hyper.amplitude - explained).clamp_min(LEAST_VARIANCE).sqrt()

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b, q, d = x.shape
        k = self.hyper.amplitude * self.kernel(self.points, x.reshape(b * q, d))  # (n, bq)
        half = (self.whitener @ k).reshape(-1, b, q).movedim(0, 1)  # (b, n, q)
        covariance = self.hyper.amplitude * self.kernel(x, x) - half.mT @ half
        return (self.mean + self.weights @ k).reshape(-1, b, q), covariance[None]

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> Belief:
        mean, covariance = self.joint(x[None])
        noise = torch.full((len(x),), LEAST_NOISE if noiseless else self.hyper.noise.item(), dtype=x.dtype)
        chance = torch.randn(paths, len(x), generator=rng, dtype=x.dtype)
        drawn = mean[:, 0] + chance @ cholesky(covariance[0, 0], noise).T
        return GaussianBelief.given(
            torch.cat([self.points, x]),
            torch.cat([self.outcomes.expand(paths, -1), drawn], dim=1),
            torch.cat([self.noise, noise]),
            self.mean,
            self.hyper,
            self.kernel,
        )


def most_likely_mean(L: Tensor, y: Tensor) -> Tensor:
    """1ᵀK⁻¹y / 1ᵀK⁻¹1 (), from the Cholesky factor L of K."""
    white = torch.linalg.solve_triangular(L, torch.stack([y, torch.ones_like(y)], dim=1), upper=False)  # (n, 2)
    mean: Tensor = (white[:, 0] @ white[:, 1]) / white[:, 1].square().sum()
    return mean


def cholesky(K: Tensor, noise: Tensor) -> Tensor:
    """The lower factor of K + diag(noise), with growing jitter where rounding asks for it; FitFailed if 1e-3 of the
    largest variance is not enough.
    """
    scale = K.diagonal().amax()
    for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-3):
        factor = torch.linalg.cholesky_ex(K + torch.diag(noise + jitter * scale))
        L: Tensor = factor.L
        if not factor.info and bool(L.isfinite().all()):
            return L
    raise FitFailed("the covariance is not positive definite")
