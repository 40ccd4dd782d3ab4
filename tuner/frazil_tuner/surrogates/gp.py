"""The exact Gaussian process for mixed spaces, in lean torch: small studies are answered in tens of milliseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from .base import Belief, Evidence, FitFailed

if TYPE_CHECKING:
    from ..numerics import Floats

LENGTH_CENTRE, LENGTH_SPREAD = -0.5, 1.0
SHORTEST, LONGEST = 2.5e-2, 1e3
"""Length scales in units of the cube's edge: log ℓ ~ N(LENGTH_CENTRE + ½ log d, LENGTH_SPREAD²) within the bounds."""

NOISE_CENTRE, NOISE_SPREAD = -6.0, 3.0
LEAST_NOISE, MOST_NOISE = 1e-6, 1e1
"""Noise variances in units of the outcomes' variance: log σ² ~ N(NOISE_CENTRE, NOISE_SPREAD²), so usually little."""

LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Length scales ℓ (d,) and noise variance σ² (), both float64."""

    lengths: Tensor
    noise: Tensor


def kernel(a: Tensor, b: Tensor, lengths: Tensor, unordered: Tensor) -> Tensor:
    """Correlations (m, n) between rows a (m, d) and b (n, d): Matérn 5/2 in ordered columns, Hamming in the others.

    k(a, b) = (1 + √5 r + 5/3 r²) exp(-√5 r - h)
    r² = Σ_ordered (a_j - b_j)² / ℓ_j²,  h = Σ_unordered [a_j ≠ b_j] / ℓ_j
    """
    r, h = _distances(a, b, lengths, unordered)
    return (1 + r + r.square() / 3) * (-r - h).exp()


def _distances(a: Tensor, b: Tensor, lengths: Tensor, unordered: Tensor) -> tuple[Tensor, Tensor]:
    """√5 r and h (m, n) of the kernel."""
    x, z = (rows[:, ~unordered] / lengths[~unordered] for rows in (a, b))
    squared = x.square().sum(1)[:, None] + z.square().sum(1) - 2 * x @ z.T
    r = (5 * squared).clamp_min(1e-20).sqrt()  # away from zero, where the root has no slope
    if not unordered.any():
        return r, torch.zeros_like(r)
    differs = (a[:, None, unordered] != b[None, :, unordered]).to(a.dtype)  # (m, n, unordered columns)
    return r, differs @ lengths[unordered].reciprocal()


def log_evidence(evidence: Evidence, hyper: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Log marginal likelihood (), at the most likely constant mean μ, and its slope (d + 1,) in log ℓ and log σ².

    log N(y; μ1, K),  K = k(X, X) + σ²I,  μ = 1ᵀK⁻¹y / 1ᵀK⁻¹1
    ∂/∂θ = ½ tr((ααᵀ - K⁻¹) ∂K/∂θ),  α = K⁻¹(y - μ1)        Rasmussen and Williams 2006, eq. (5.9)
    """
    r, h = _distances(evidence.X, evidence.X, hyper.lengths, evidence.unordered)
    decay = (-r - h).exp()
    correlation = (1 + r + r.square() / 3) * decay
    L = _cholesky(correlation, hyper.noise)
    residual = evidence.y - _most_likely_mean(L, evidence.y)
    alpha = torch.cholesky_solve(residual[:, None], L)[:, 0]
    value = -0.5 * residual @ alpha - L.diagonal().log().sum() - 0.5 * len(residual) * math.log(2 * math.pi)
    pull = torch.outer(alpha, alpha) - torch.cholesky_inverse(L)  # (n, n)
    ordered = _pull_on_ordered(evidence.X, pull * (1 + r) * decay * 5 / 3, hyper.lengths)
    unordered = _pull_on_unordered(evidence.X, pull * correlation, hyper.lengths, evidence.unordered)
    by_length = torch.where(evidence.unordered, unordered, ordered)
    return value, 0.5 * torch.cat([by_length, hyper.noise * pull.trace()[None]])


def _pull_on_ordered(X: Tensor, W: Tensor, lengths: Tensor) -> Tensor:
    """Σ_ab W_ab (a_j - b_j)² / ℓ_j² (d,) for symmetric W (n, n), without an array of n × n × d."""
    X = X - X.mean(0)
    return 2 * (W.sum(1) @ X.square() - (X * (W @ X)).sum(0)) / lengths.square()


def _pull_on_unordered(X: Tensor, W: Tensor, lengths: Tensor, unordered: Tensor) -> Tensor:
    """Σ_ab W_ab [a_j ≠ b_j] / ℓ_j (d,) in the unordered columns, 0 in the others."""
    pulls = torch.zeros_like(lengths)
    for j in unordered.nonzero()[:, 0]:
        pulls[j] = W[X[:, None, j] != X[None, :, j]].sum() / lengths[j]
    return pulls


def log_prior(hyper: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Log density () of the dimension-scaled prior, and its slope (d + 1,) in log ℓ and log σ².

    ℓ_j ~ LogNormal(½ log d - ½, 1),   σ² ~ LogNormal(-6, 3)

    Scaled with the dimension as in Hvarfner, Hellsten and Nardi 2024, but narrower: under their wide prior a column
    that matters little so far is taken for flat, and the search sticks to the border of the cube.
    """
    d = len(hyper.lengths)
    log = torch.cat([hyper.lengths, hyper.noise[None]]).log()
    centre = torch.tensor([_length_centre(d)] * d + [NOISE_CENTRE], dtype=log.dtype)
    spread = torch.tensor([LENGTH_SPREAD] * d + [NOISE_SPREAD], dtype=log.dtype)
    z = (log - centre) / spread
    density = -0.5 * z.square() - log - spread.log() - 0.5 * math.log(2 * math.pi)
    return density.sum(), -z / spread - 1


def most_probable(evidence: Evidence) -> Hyperparameters:
    """The hyperparameters that maximise likelihood times prior, from two starts; FitFailed if neither gets anywhere."""
    d = evidence.X.shape[1]
    bounds = np.log([[SHORTEST, LONGEST]] * d + [[LEAST_NOISE, MOST_NOISE]])

    def loss(theta: Floats) -> tuple[float, Floats]:
        hyper = _hyperparameters(theta)
        likelihood, pull = log_evidence(evidence, hyper)
        prior, slope = log_prior(hyper)
        return -(likelihood + prior).item(), -(pull + slope).numpy()

    starts = [
        np.array([length] * d + [math.log(1e-2)])
        for length in (_length_centre(d) - LENGTH_SPREAD**2, _length_centre(d) + 1)
    ]
    fits = [minimize(loss, np.clip(start, *bounds.T), jac=True, method="L-BFGS-B", bounds=bounds) for start in starts]
    best = min(fits, key=lambda fit: fit.fun if math.isfinite(fit.fun) else math.inf)
    if not (math.isfinite(best.fun) and np.isfinite(best.x).all()):
        raise FitFailed("the likelihood is not finite anywhere near the prior")
    return _hyperparameters(best.x)


def _hyperparameters(theta: Floats) -> Hyperparameters:
    values = torch.from_numpy(theta).exp()
    return Hyperparameters(values[:-1], values[-1])


def _length_centre(d: int) -> float:
    """The median of log ℓ under the prior."""
    return LENGTH_CENTRE + 0.5 * math.log(max(d, 1))


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """Matérn 5/2 over ordered columns times exponentiated Hamming over unordered ones, at the most probable scales."""

    def fit(self, evidence: Evidence) -> GaussianBelief:
        return believe(evidence, most_probable(evidence))


def believe(evidence: Evidence, hyper: Hyperparameters) -> GaussianBelief:
    """The posterior under given hyperparameters."""
    L = _cholesky(kernel(evidence.X, evidence.X, hyper.lengths, evidence.unordered), hyper.noise)
    mean = _most_likely_mean(L, evidence.y)
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


def _most_likely_mean(L: Tensor, y: Tensor) -> Tensor:
    """1ᵀK⁻¹y / 1ᵀK⁻¹1 (), from the Cholesky factor L of K."""
    white = torch.linalg.solve_triangular(L, torch.stack([y, torch.ones_like(y)], dim=1), upper=False)  # (n, 2)
    mean: Tensor = (white[:, 0] @ white[:, 1]) / white[:, 1].square().sum()
    return mean


def _cholesky(K: Tensor, noise: Tensor) -> Tensor:
    """The lower factor of K + σ²I, with growing jitter where rounding asks for it; FitFailed if 1e-3 is not enough."""
    diagonal = torch.eye(len(K), dtype=K.dtype)
    for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-3):
        factor = torch.linalg.cholesky_ex(K + (noise + jitter) * diagonal)
        L: Tensor = factor.L
        if not factor.info and bool(L.isfinite().all()):
            return L
    raise FitFailed("the covariance is not positive definite")
