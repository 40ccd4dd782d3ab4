"""The exact Gaussian process for mixed spaces, in lean torch: small studies are answered in tens of milliseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from .base import Belief, Evidence, FitFailed

SCALE_SPREAD = math.sqrt(3.0)
SCALE_CENTRE = math.sqrt(2.0)
SHORTEST, LONGEST = 2.5e-2, 1e3
"""Length scales in units of the cube's edge; the prior's location grows with log(d) / 2."""

NOISE_SPREAD = 1.0
NOISE_CENTRE = -4.0
LEAST_NOISE, MOST_NOISE = 1e-6, 1e1
"""Noise variances in units of the outcomes' variance."""

LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Length scales ℓ (d,) and noise variance σ² (), both float64."""

    lengths: Tensor
    noise: Tensor


def kernel(a: Tensor, b: Tensor, lengths: Tensor, unordered: Tensor) -> Tensor:
    """Correlations (m, n) between rows a (m, d) and b (n, d): 1 at equal points, infinitely differentiable.

    k(a, b) = exp(-½ Σ_ordered (a_j - b_j)² / ℓ_j² - Σ_unordered [a_j ≠ b_j] / ℓ_j)
    """
    ordered = ~unordered
    x, z = a[:, ordered] / lengths[ordered], b[:, ordered] / lengths[ordered]
    squared = (x.square().sum(1)[:, None] + z.square().sum(1) - 2 * x @ z.T).clamp_min(0.0)
    exponent = -0.5 * squared
    if unordered.any():
        differs = (a[:, None, unordered] != b[None, :, unordered]).to(a.dtype)  # (m, n, u)
        exponent = exponent - differs @ lengths[unordered].reciprocal()
    return exponent.exp()


def log_evidence(evidence: Evidence, hyper: Hyperparameters) -> Tensor:
    """Log marginal likelihood (), with the constant mean at its most likely value μ = 1ᵀK⁻¹y / 1ᵀK⁻¹1.

    log N(y; μ1, K),  K = k(X, X) + σ²I
    """
    L, _, white = _condition(evidence.X, evidence.y[None], hyper, evidence.unordered)
    n = len(evidence.y)
    return -0.5 * white.square().sum() - L.diagonal().log().sum() - 0.5 * n * math.log(2 * math.pi)


def log_prior(hyper: Hyperparameters) -> Tensor:
    """Log density () of the dimension-scaled prior.

    ℓ_j ~ LogNormal(√2 + ½ log d, √3),   σ² ~ LogNormal(-4, 1)        Hvarfner, Hellsten and Nardi 2024
    """
    centre = SCALE_CENTRE + 0.5 * math.log(max(len(hyper.lengths), 1))
    lengths = _log_normal(hyper.lengths, centre, SCALE_SPREAD).sum()
    return lengths + _log_normal(hyper.noise, NOISE_CENTRE, NOISE_SPREAD)


def most_probable(evidence: Evidence) -> Hyperparameters:
    """The hyperparameters that maximise likelihood times prior, from two starts; FitFailed if neither gets anywhere."""
    d = evidence.X.shape[1]
    mode = SCALE_CENTRE + 0.5 * math.log(max(d, 1)) - SCALE_SPREAD**2
    starts = [np.array([length] * d + [math.log(1e-2)]) for length in (mode, math.log(0.5))]
    bounds = [(math.log(SHORTEST), math.log(LONGEST))] * d + [(math.log(LEAST_NOISE), math.log(MOST_NOISE))]

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        hyper = Hyperparameters(free[:-1].exp(), free[-1].exp())
        value = -(log_evidence(evidence, hyper) + log_prior(hyper))
        (slope,) = torch.autograd.grad(value, free)
        return value.item(), slope.numpy()

    fits = [
        minimize(loss, np.clip(start, *np.transpose(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
        for start in starts
    ]
    best = min(fits, key=lambda fit: fit.fun if math.isfinite(fit.fun) else math.inf)
    if not (math.isfinite(best.fun) and np.isfinite(best.x).all()):
        raise FitFailed("the likelihood is not finite anywhere near the prior")
    theta = torch.from_numpy(best.x).exp()
    return Hyperparameters(theta[:-1], theta[-1])


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """Squared-exponential over ordered columns times exponentiated Hamming over unordered ones, fitted by MAP."""

    def fit(self, evidence: Evidence) -> GaussianBelief:
        hyper = most_probable(evidence)
        with torch.no_grad():
            return believe(evidence, hyper)


def believe(evidence: Evidence, hyper: Hyperparameters) -> GaussianBelief:
    """The posterior under given hyperparameters."""
    _, mean, _ = _condition(evidence.X, evidence.y[None], hyper, evidence.unordered)
    return GaussianBelief.given(evidence.X, evidence.y[None], mean, hyper, evidence.unordered)


@dataclass(frozen=True, slots=True)
class GaussianBelief:
    """A Gaussian posterior, S of them where outcomes were imagined: they share the points and differ in outcomes.

    `X` (n, d), `weights` = K⁻¹(y - μ) (S, n), `L` (n, n) the lower Cholesky factor of K, `mean` μ ().
    """

    X: Tensor
    L: Tensor
    weights: Tensor
    mean: Tensor
    hyper: Hyperparameters
    unordered: Tensor
    incumbent: Tensor
    outcomes: Tensor

    @classmethod
    def given(cls, X: Tensor, y: Tensor, mean: Tensor, hyper: Hyperparameters, unordered: Tensor) -> GaussianBelief:
        """Conditioned on outcomes y (S, n) at X (n, d) around the constant `mean`."""
        K = kernel(X, X, hyper.lengths, unordered)
        L = _cholesky(K, hyper.noise)
        weights = torch.cholesky_solve((y - mean).T, L).T
        incumbent = (mean + weights @ K).amax(1)
        return cls(X, L, weights, mean, hyper, unordered, incumbent, y)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        k = kernel(self.X, x, self.hyper.lengths, self.unordered)  # (n, m)
        explained = torch.linalg.solve_triangular(self.L, k, upper=False).square().sum(0)
        return self.mean + self.weights @ k, (1.0 - explained).clamp_min(LEAST_VARIANCE).sqrt()

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator) -> Belief:
        k = kernel(self.X, x, self.hyper.lengths, self.unordered)
        half = torch.linalg.solve_triangular(self.L, k, upper=False)  # (n, p)
        covariance = kernel(x, x, self.hyper.lengths, self.unordered) - half.T @ half
        chance = torch.randn(paths, len(x), generator=rng, dtype=torch.float64)
        drawn = self.mean + self.weights @ k + chance @ _cholesky(covariance, self.hyper.noise).T
        outcomes = torch.cat([self.outcomes.expand(paths, -1), drawn], dim=1)
        return GaussianBelief.given(torch.cat([self.X, x]), outcomes, self.mean, self.hyper, self.unordered)


def _condition(X: Tensor, y: Tensor, hyper: Hyperparameters, unordered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The Cholesky factor (n, n) of K, the most likely mean (), and the whitened residuals L⁻¹(y - μ) (n, 1)."""
    L = _cholesky(kernel(X, X, hyper.lengths, unordered), hyper.noise)
    sides = torch.cat([y.T, torch.ones_like(y.T)], dim=1)  # (n, 2)
    white = torch.linalg.solve_triangular(L, sides, upper=False)
    mean = (white[:, 0] @ white[:, 1]) / white[:, 1].square().sum()
    return L, mean, white[:, :1] - mean * white[:, 1:]


def _cholesky(K: Tensor, noise: Tensor) -> Tensor:
    """The lower factor of K + σ²I, with growing jitter where rounding asks for it; FitFailed if 1e-3 is not enough."""
    diagonal = torch.eye(len(K), dtype=K.dtype)
    for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-3):
        factor = torch.linalg.cholesky_ex(K + (noise + jitter) * diagonal)
        L: Tensor = factor.L
        if not factor.info and bool(L.isfinite().all()):
            return L
    raise FitFailed("the covariance is not positive definite")


def _log_normal(x: Tensor, centre: float, spread: float) -> Tensor:
    z: Tensor = (x.log() - centre) / spread
    return -0.5 * z.square() - x.log() - math.log(spread * math.sqrt(2 * math.pi))
