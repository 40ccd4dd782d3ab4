"""The exact Gaussian process of the default path, lean: numpy and LAPACK inside, torch tensors at its doors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import lapack
from scipy.optimize import minimize
from torch import Tensor

from ..numerics import FitFailed
from .accelerated import chosen, is_worth_it, moments
from .base import Belief, Evidence
from .kernels import Covariance, Hyperparameters
from .selection import best_and_spread, rows_of

if TYPE_CHECKING:
    from ..numerics import Floats

LENGTH_CENTRE, LENGTH_SPREAD = -0.25, 1.0
SHORTEST, LONGEST = 2.5e-2, 1e3
"""Length scales in units of the cube's edge: log ℓ ~ N(LENGTH_CENTRE + ½ log d, LENGTH_SPREAD²) within the bounds."""

JOINT_CENTRE, ADDITIVE_CENTRE, SIGNAL_SPREAD = -1.0, -3.0, 1.0
LEAST_SIGNAL, MOST_SIGNAL = 1e-4, 1e4
"""Variances of the two parts in units of the outcomes' variance: log A ~ N(JOINT_CENTRE, SIGNAL_SPREAD²), log B alike;
columns act on their own only where that explains much.
"""

NOISE_CENTRE, NOISE_SPREAD = -6.0, 2.5
LEAST_NOISE, MOST_NOISE = 1e-8, 1e1
"""Noise variances in units of the outcomes' variance: log σ² ~ N(NOISE_CENTRE, NOISE_SPREAD²), so little unless much
speaks for it.
"""

LEAST_VARIANCE = 1e-12

AFRESH = 5
"""A fit starts afresh, and not only from the remembered one, when so many trials have come since, and later ever more
seldom.
"""

MOST_FITTED = 128
"""Observations from which hyperparameters are learned; beyond, half of them are the best, the rest spread evenly."""

CACHED = 60_000
"""Numbers that a processor keeps at hand: longer lists of points are taken in parts of that size."""

Back = Callable[["Floats", "Floats"], "Floats"]
"""From what means (S, m) and deviations (m,) weigh to what the coordinates (m, d) of their points weigh."""


class Likelihood:
    """The log marginal likelihood of outcomes as a function of hyperparameters, with its slope.

    Pairs of points are kept once: `gaps` (d, n (n - 1) / 2). `noise` (n,) is NaN where it is to be learned.
    """

    def __init__(self, X: Floats, y: Floats, noise: Floats | None, unordered: np.ndarray) -> None:
        self.y = y
        self.size = len(y)
        self.unordered = unordered
        self.noise = noise
        self._pairs = np.triu_indices(len(X), 1)
        apart = (X[self._pairs[0]] - X[self._pairs[1]]).T
        self._gaps = np.where(unordered[:, None], apart != 0, np.square(apart))

    def __call__(self, hyper: Hyperparameters) -> tuple[float, Floats]:
        """log N(y; μ1, K) at the most likely mean μ, and its slope (d + 3,) in the logarithms θ.

        K = k(X, X) + diag(noise),  μ = 1ᵀK⁻¹y / 1ᵀK⁻¹1
        ∂/∂θ = ½ tr((ααᵀ - K⁻¹) ∂K/∂θ),  α = K⁻¹(y - μ1)        Rasmussen and Williams 2006, eq. (5.9)
        """
        n = len(self.y)
        covariance = Covariance(hyper, self.unordered)
        parts = covariance.parts(self._gaps)
        joint, additive = hyper.joint * parts.joint, covariance.share * parts.each.sum(0)
        noise = noise_of(self.noise, hyper, n)
        factor = self._factor(joint + additive, hyper.signal + noise)
        residual = self.y - most_likely_mean(factor, self.y)
        alpha = lapack.dpotrs(factor, residual, lower=1)[0]
        value = -0.5 * (residual @ alpha) - np.log(factor.diagonal()).sum() - 0.5 * n * math.log(2 * math.pi)

        inverse = lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
        pull = alpha[self._pairs[0]] * alpha[self._pairs[1]] - inverse.T[self._pairs]
        own = np.square(alpha) - inverse.diagonal()
        weights = covariance.pulls(parts)
        weights *= pull
        by_length = np.einsum("jp,jp->j", weights, self._gaps)
        by_length /= np.where(self.unordered, hyper.lengths, np.square(hyper.lengths))
        free = own * noise if self.noise is None else (own * noise)[np.isnan(self.noise)]
        by_joint = joint @ pull + 0.5 * hyper.joint * own.sum()
        by_additive = additive @ pull + 0.5 * hyper.additive * own.sum()
        return float(value), np.append(by_length, [by_joint, by_additive, 0.5 * free.sum()])

    def factor(self, hyper: Hyperparameters) -> Floats:
        """The lower Cholesky factor of K (n, n); what stands above its diagonal is of no meaning."""
        covariance = Covariance(hyper, self.unordered)
        noise = noise_of(self.noise, hyper, len(self.y))
        return self._factor(covariance.total(covariance.parts(self._gaps)), hyper.signal + noise)

    def _factor(self, k: Floats, diagonal: Floats) -> Floats:
        K = np.empty((len(diagonal), len(diagonal)))
        K[self._pairs] = k
        return cholesky(K.T, diagonal)


def noise_of(given: Floats | None, hyper: Hyperparameters, n: int) -> Floats:
    """The variance of each of n outcomes: as given, or the learned one where it is not known."""
    if given is None:
        return np.full(n, hyper.noise)
    return np.where(np.isnan(given), hyper.noise, given + LEAST_NOISE)


def cholesky(K: Floats, diagonal: Floats) -> Floats:
    """The lower factor of the matrix with the lower triangle of K (n, n) and this diagonal (n,), with growing jitter
    where rounding asks for it; FitFailed if 1e-3 of the largest entry is not enough.
    """
    scale = diagonal.max(initial=0.0)
    for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-3):
        K = np.asfortranarray(K)
        np.fill_diagonal(K, diagonal + jitter * scale)
        factor, fault = lapack.dpotrf(K, lower=1, clean=0)
        if not fault and np.isfinite(factor.diagonal()).all():
            return np.asarray(factor)
    raise FitFailed("the covariance is not positive definite")


def most_likely_mean(factor: Floats, y: Floats) -> float:
    """1ᵀK⁻¹y / 1ᵀK⁻¹1, from the lower Cholesky factor of K."""
    white = whitened(factor, np.stack([y, np.ones_like(y)], axis=1))
    return float((white[:, 0] @ white[:, 1]) / (white[:, 1] @ white[:, 1]))


def whitened(factor: Floats, columns: Floats) -> Floats:
    """L⁻¹ columns (n, k)."""
    white: Floats = lapack.dtrtrs(factor, columns, lower=1)[0]
    return white


def log_prior(theta: Floats) -> tuple[float, Floats]:
    """Log density of the dimension-scaled prior at the logarithms θ (d + 3,), up to a constant, and its slope.

    ℓ_j ~ LogNormal(½ log d - ¼, 1),   A ~ LogNormal(-1, 1),   B ~ LogNormal(-3, 1),   σ² ~ LogNormal(-6, 2.5)

    Scaled with the dimension as in Hvarfner, Hellsten and Nardi 2024, but narrower: under their wide prior a column
    that matters little so far is taken for flat, and the search sticks to the border of the cube.
    """
    d = len(theta) - 3
    centre = np.array([_length_centre(d)] * d + [JOINT_CENTRE, ADDITIVE_CENTRE, NOISE_CENTRE])
    spread = np.array([LENGTH_SPREAD] * d + [SIGNAL_SPREAD] * 2 + [NOISE_SPREAD])
    z = (theta - centre) / spread
    return float(-0.5 * (z @ z)), -z / spread


def _length_centre(d: int) -> float:
    """The median of log ℓ under the prior."""
    return LENGTH_CENTRE + 0.5 * math.log(max(d, 1))


def most_probable(likelihood: Likelihood, d: int, start: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters that maximise likelihood times prior: from where an earlier fit ended, or from two starts of
    our own if there was none; FitFailed if none gets anywhere.
    """
    bounds = np.log([[SHORTEST, LONGEST]] * d + [[LEAST_SIGNAL, MOST_SIGNAL]] * 2 + [[LEAST_NOISE, MOST_NOISE]])

    def loss(theta: Floats) -> tuple[float, Floats]:
        value, slope = likelihood(Hyperparameters.at(theta))
        prior, pull = log_prior(theta)
        return -(value + prior), -(slope + pull)

    starts = _starts(d, start, start.get("observations", likelihood.size))
    limits = {"maxiter": 50 if len(starts) > 1 else 8, "ftol": 1e-6, "gtol": 1e-2}
    fits = [
        minimize(loss, np.clip(at, *bounds.T), jac=True, method="L-BFGS-B", bounds=bounds, options=limits)
        for at in starts
    ]
    best = min(fits, key=lambda fit: fit.fun if math.isfinite(fit.fun) else math.inf)
    if not (math.isfinite(best.fun) and np.isfinite(best.x).all()):
        raise FitFailed("the likelihood is not finite anywhere near the prior")
    return Hyperparameters.at(best.x)


def _starts(d: int, start: Mapping[str, Any], n: int) -> list[Floats]:
    """What is remembered; once in a while, and where nothing is, also two starts of our own."""
    known = start.get("theta")
    remembered = [np.asarray(known, dtype=np.float64)] if known is not None and len(known) == d + 3 else []
    if remembered and n % max(AFRESH, n // 4):
        return remembered
    centre = _length_centre(d)
    rest = [JOINT_CENTRE, ADDITIVE_CENTRE, math.log(1e-2)]
    return [*remembered, *(np.array([length] * d + rest) for length in (centre - 1, centre + 1))]


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """A Matérn 5/2 kernel over all columns together plus one along each, times or plus an exponentiated Hamming kernel
    over unordered ones, at the most probable scales.
    """

    def fit(self, evidence: Evidence) -> GaussianBelief:
        if evidence.start.get("settled"):
            return believe(evidence, Hyperparameters.at(np.asarray(evidence.start["theta"], dtype=np.float64)))
        likelihood = likelihood_of(representative(evidence, MOST_FITTED))
        return believe(evidence, most_probable(likelihood, evidence.X.shape[1], evidence.start))


def representative(evidence: Evidence, most: int) -> Evidence:
    """The evidence, or so many rows of it: half the best, the others evenly from the rest by outcome."""
    if len(evidence.y) <= most:
        return evidence
    return rows_of(evidence, best_and_spread(evidence.X, evidence.y, most))


def likelihood_of(evidence: Evidence) -> Likelihood:
    noise = None if evidence.noise is None else evidence.noise.numpy()
    return Likelihood(evidence.X.numpy(), evidence.y.numpy(), noise, evidence.unordered.numpy())


def believe(evidence: Evidence, hyper: Hyperparameters) -> GaussianBelief:
    """The posterior under given hyperparameters."""
    likelihood = likelihood_of(evidence)
    covariance = Covariance(hyper, likelihood.unordered)
    factor, y = likelihood.factor(hyper), likelihood.y
    noise = noise_of(likelihood.noise, hyper, len(y))
    return GaussianBelief(evidence.X.numpy(), y[None], noise, most_likely_mean(factor, y), covariance, factor)


@dataclass(frozen=True)
class GaussianBelief:
    """A Gaussian posterior, S of them where outcomes were imagined: they share the points and differ in outcomes.

    `X` (n, d) with `outcomes` (S, n) and their `noise` (n,); `mean` μ; `factor` the lower Cholesky factor (n, n) of K.
    """

    X: Floats
    outcomes: Floats
    noise: Floats
    mean: float
    covariance: Covariance
    factor: Floats

    @cached_property
    def points(self) -> Tensor:
        return torch.from_numpy(self.X)

    @cached_property
    def weights(self) -> Floats:
        """K⁻¹(y - μ) (S, n)."""
        return np.ascontiguousarray(lapack.dpotrs(self.factor, (self.outcomes - self.mean).T, lower=1)[0].T)

    @cached_property
    def whitener(self) -> Floats:
        """L⁻¹ᵀ (n, n)."""
        return np.ascontiguousarray(np.tril(lapack.dtrtri(self.factor, lower=1)[0]).T)

    @cached_property
    def _whitened_residuals(self) -> Floats:
        """L⁻¹(y - μ) (n, S)."""
        return whitened(self.factor, (self.outcomes - self.mean).T)

    @cached_property
    def incumbent(self) -> Tensor:
        """The largest of the means y - noise · K⁻¹(y - μ) that the points have."""
        return torch.from_numpy((self.outcomes - self.noise * self.weights).max(axis=1))

    @property
    def fit(self) -> Mapping[str, Any]:
        return {"theta": [round(float(value), 4) for value in self.covariance.hyper.theta]}

    def sloped(self, x: Floats) -> tuple[Floats, Floats, Back]:
        """Means (S, m) and deviations (m,) at x (m, d), and the way back from their slopes to those of x."""
        k, G = self.covariance.sloped(x, self.X)  # (m, n), (d, m, n)
        mean, sd, half = self._moments(k)

        def back(by_mean: Floats, by_sd: Floats) -> Floats:
            pull = by_mean.T @ self.weights - (by_sd / sd)[:, None] * (half @ self.whitener.T)  # (m, n)
            slopes: Floats = np.einsum("jmn,mn->mj", G, pull)
            return slopes

        return mean, sd, back

    def _moments(self, k: Floats) -> tuple[Floats, Floats, Floats]:
        """Means (S, m) and deviations (m,) from covariances k (m, n) with the points; and L⁻¹k (m, n)."""
        half = k @ self.whitener
        variance = self.covariance.hyper.signal - np.einsum("mn,mn->m", half, half)
        return self.mean + self.weights @ k.T, np.sqrt(np.maximum(variance, LEAST_VARIANCE)), half

    def moments(self, x: Floats) -> tuple[Floats, Floats]:
        """Means (S, m) and deviations (m,) at x (m, d); of very many points on the GPU, if there is one."""
        if is_worth_it(self.X.size * len(x)):
            return moments(self, x, chosen().name)
        return self.own_moments(x)

    def own_moments(self, x: Floats) -> tuple[Floats, Floats]:
        """The same on the processor, in parts that it can keep at hand."""
        at_once = max(CACHED // max(self.X.size, 1), 1)
        parts = [self._moments(self.covariance(x[i : i + at_once], self.X)) for i in range(0, max(len(x), 1), at_once)]
        return np.concatenate([mean for mean, _, _ in parts], axis=1), np.concatenate([sd for _, sd, _ in parts])

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, sd = _Posterior.apply(x, self)  # type: ignore[no-untyped-call]
        return mean, sd

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, covariance = _Joint.apply(x, self)  # type: ignore[no-untyped-call]
        return mean, covariance

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> Belief:
        mean, covariance = (part.numpy() for part in self.joint(x.detach()[None]))
        noise = np.full(len(x), LEAST_NOISE if noiseless else max(self.covariance.hyper.noise, LEAST_NOISE))
        chance = torch.randn(paths, len(x), generator=rng, dtype=torch.float64).numpy()
        spread = np.tril(cholesky(covariance[0, 0], covariance[0, 0].diagonal() + noise))
        X = np.concatenate([self.X, x.numpy()])
        outcomes = np.broadcast_to(self.outcomes, (paths, len(self.X)))
        outcomes = np.concatenate([outcomes, mean[:, 0] + chance @ spread.T], axis=1)
        noise = np.concatenate([self.noise, noise])
        factor = cholesky(self.covariance(X, X), self.covariance.hyper.signal + noise)
        return GaussianBelief(X, outcomes, noise, self.mean, self.covariance, factor)


class _Posterior(torch.autograd.Function):
    """`GaussianBelief.posterior` with its slopes written out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, belief: GaussianBelief) -> tuple[Tensor, Tensor]:
        if ctx.needs_input_grad[0]:
            mean, sd, ctx.back = belief.sloped(x.numpy())
        else:
            mean, sd = belief.moments(x.numpy())
        return torch.from_numpy(mean), torch.from_numpy(sd)[None]

    @staticmethod
    def backward(ctx: Any, *pulls: Tensor) -> tuple[Tensor, None]:
        by_mean, by_sd = pulls
        return torch.from_numpy(ctx.back(by_mean.numpy(), by_sd[0].numpy())), None


class _Joint(torch.autograd.Function):
    """`GaussianBelief.joint` with its slopes written out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, belief: GaussianBelief) -> tuple[Tensor, Tensor]:
        rows = x.numpy()
        b, q, d = rows.shape
        half = belief.covariance(rows.reshape(b * q, d), belief.X) @ belief.whitener
        mean = (belief.mean + half @ belief._whitened_residuals).T.reshape(-1, b, q)
        half = half.reshape(b, q, -1)
        ctx.rows, ctx.belief, ctx.half = rows, belief, half
        covariance = belief.covariance(rows, rows) - half @ half.transpose(0, 2, 1)
        return torch.from_numpy(mean), torch.from_numpy(covariance)[None]

    @staticmethod
    def backward(ctx: Any, *pulls: Tensor) -> tuple[Tensor, None]:
        """With P + Pᵀ = Q:  ∂/∂x tr(P C) = Σ_j Q_ij ∂k(x_i, x_j)/∂x_i - Σ_n (Q half Lᵀ⁻¹)_in ∂k(x_i, X_n)/∂x_i"""
        by_mean, by_covariance = (pull.numpy() for pull in pulls)
        belief, half = ctx.belief, ctx.half
        b, q, d = ctx.rows.shape
        both = by_covariance[0] + by_covariance[0].transpose(0, 2, 1)
        pull = np.einsum("sbq,sn->bqn", by_mean, belief.weights) - (both @ half) @ belief.whitener.T
        _, toward = belief.covariance.sloped(ctx.rows.reshape(b * q, d), belief.X)
        _, among = belief.covariance.sloped(ctx.rows, ctx.rows)
        slope = np.einsum("jmn,mn->mj", toward, pull.reshape(b * q, -1)).reshape(b, q, d)
        return torch.from_numpy(slope + np.einsum("jbmn,bmn->bmj", among, both)), None
