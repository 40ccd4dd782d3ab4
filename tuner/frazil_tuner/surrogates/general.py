"""An exact Gaussian process with any kernel, fitted under autograd: what the composite surrogates are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ..numerics import FitFailed
from . import gp
from .kernels import Covariance, Hyperparameters

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Evidence

Values = Mapping[str, Tensor]
"""Hyperparameters by name, each (size,)."""

Kernel = Callable[[Tensor, Tensor, Values], Tensor]
"""Covariances (..., m, n) between rows of features a (..., m, f) and b (..., n, f)."""

LIMITS = {"maxiter": 60, "ftol": 1e-7, "gtol": 1e-3}
"""When the search for hyperparameters ends: they needn't be known better than they are determined."""

LEAST_NOISE = 1e-8
"""What counts as noise where none is said to be."""

LEAST_VARIANCE = 1e-12
"""The least variance of a posterior: differences of numbers near 1 are no more exact."""


Likelihood = Callable[[Tensor], "tuple[float, Floats]"]
"""A log likelihood () and its slope (p,) at a vector of hyperparameters (p,)."""


@dataclass(frozen=True, slots=True)
class Prior:
    """`size` hyperparameters θ of one name: log θ, or θ itself if not `positive`, ~ N(centre, spread²) and within
    `reach` spreads of the centre.
    """

    name: str
    size: int
    centre: float
    spread: float
    positive: bool = True
    reach: float = 4.0


NOISE = Prior("noise", 1, gp.NOISE_CENTRE, 2.5, reach=3.5)
"""Noise variance in units of the outcomes' variance: usually little."""

SIGNALS = (
    Prior("joint", 1, gp.JOINT_CENTRE, gp.SIGNAL_SPREAD, reach=6.0),
    Prior("additive", 1, gp.ADDITIVE_CENTRE, gp.SIGNAL_SPREAD, reach=6.0),
)
"""Variances of the two parts of `mixed`, in units of the outcomes' variance."""


def length_prior(d: int) -> Prior:
    """Length scales in edges of the cube, longer the more columns there are, as in `gp.log_prior`."""
    return Prior("lengths", d, gp.LENGTH_CENTRE + 0.5 * math.log(max(d, 1)), gp.LENGTH_SPREAD)


def one_noise(features: Tensor, values: Values) -> Tensor:
    """The same noise variance (n,) at every row."""
    return values["noise"].expand(len(features))


@dataclass(frozen=True, slots=True)
class Model:
    """A Gaussian process as a value: kernel and noise as functions of hyperparameters, and the prior on those.

    `features` maps points (..., d) to what the kernel compares (..., f), differentiably.
    """

    kernel: Kernel
    priors: tuple[Prior, ...]
    features: Callable[[Tensor], Tensor]
    noise: Callable[[Tensor, Values], Tensor] = one_noise

    def values(self, theta: Tensor) -> Values:
        """The hyperparameters that a flat unconstrained vector stands for."""
        parts = torch.split(theta, [prior.size for prior in self.priors])
        return {
            prior.name: part.exp() if prior.positive else part for prior, part in zip(self.priors, parts, strict=True)
        }

    def theta(self, values: Mapping[str, Any]) -> Floats | None:
        """The vector that stands for hyperparameters; None if they aren't this model's."""
        parts = [np.atleast_1d(np.asarray(values.get(prior.name, ()), dtype=np.float64)) for prior in self.priors]
        if any(part.shape != (prior.size,) for prior, part in zip(self.priors, parts, strict=True)):
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            theta = np.concatenate(
                [np.log(part) if p.positive else part for p, part in zip(self.priors, parts, strict=True)]
            )
        return theta if np.isfinite(theta).all() else None

    def spread_out(self, field: str) -> Floats:
        """`field` of the priors, one number per entry of θ."""
        return np.concatenate([np.full(prior.size, getattr(prior, field)) for prior in self.priors])


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process is conditioned on: outcomes z (S, N) = A f + ε of the function f at features (n, f).

    `noise` (N,) is the variance of ε where it is known and NaN where it is to be learned, which takes A = I; `level`
    (N,) is 1 where an outcome rises with the function's mean; `sums` is A (N, n), the identity if None.
    """

    features: Tensor
    outcomes: Tensor
    noise: Tensor
    level: Tensor
    sums: Tensor | None = None

    @classmethod
    def of(cls, evidence: Evidence, features: Tensor) -> Seen:
        """The outcomes of the evidence, one per row of features."""
        y = evidence.y
        unknown = torch.full_like(y, math.nan)
        noise = unknown if evidence.noise is None else evidence.noise.clamp_min(LEAST_NOISE)
        return cls(features, y[None], noise, torch.ones_like(y))

    def sum(self, k: Tensor) -> Tensor:
        """A k (N, m) for covariances k (n, m) of the function at the features."""
        return k if self.sums is None else self.sums @ k

    def and_values(self, features: Tensor, outcomes: Tensor, noise: Tensor) -> Seen:
        """With p more outcomes (S, p) of the function itself."""
        p, sums = len(features), self.sums
        return Seen(
            torch.cat([self.features, features]),
            torch.cat([self.outcomes.expand(len(outcomes), -1), outcomes], dim=1),
            torch.cat([self.noise, noise]),
            torch.cat([self.level, torch.ones(p, dtype=self.level.dtype)]),
            None if sums is None else _beside(sums, torch.eye(p, dtype=sums.dtype)),
        )


def _beside(A: Tensor, B: Tensor) -> Tensor:
    """The block diagonal matrix of A and B."""
    right, below = (torch.zeros(shape, dtype=A.dtype) for shape in ((len(A), B.shape[1]), (len(B), A.shape[1])))
    return torch.cat([torch.cat([A, right], dim=1), torch.cat([below, B], dim=1)])


def covariance(model: Model, seen: Seen, values: Values) -> Tensor:
    """The covariance (N, N) of what was seen, noise included."""
    K = model.kernel(seen.features, seen.features, values)
    signal = K if seen.sums is None else seen.sums @ K @ seen.sums.T
    if not seen.noise.isnan().any():
        return signal + seen.noise.diag()
    return signal + torch.where(seen.noise.isnan(), model.noise(seen.features, values), seen.noise).diag()


def log_evidence(model: Model, seen: Seen, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Log marginal likelihood (), at the most likely mean, and its slope in θ.

    log N(z; μ·level, K),   ∂/∂θ = ½ tr((ααᵀ - K⁻¹) ∂K/∂θ),   α = K⁻¹(z - μ·level)

    Rasmussen and Williams 2006, eqs. (2.30) and (5.9). Only the kernel is differentiated by autograd, not the factor.
    """
    theta = theta.detach().requires_grad_()
    K = covariance(model, seen, model.values(theta))
    with torch.no_grad():
        L = cholesky(K)
        residual = (seen.outcomes - _most_likely_mean(L, seen) * seen.level)[0]
        alpha = torch.cholesky_solve(residual[:, None], L)[:, 0]
        value = -0.5 * residual @ alpha - L.diagonal().log().sum() - 0.5 * len(alpha) * math.log(2 * math.pi)
        pull = 0.5 * (torch.outer(alpha, alpha) - torch.cholesky_inverse(L))
    (slope,) = torch.autograd.grad(K, theta, pull)
    return value, slope


def most_probable(model: Model, seen: Seen, start: Mapping[str, Any]) -> Values:
    """The hyperparameters that maximise likelihood times prior; FitFailed if they can't be found."""
    if not (seen.outcomes.isfinite().all() and seen.features.isfinite().all()):
        raise FitFailed("the evidence is not finite")

    def likelihood(theta: Tensor) -> tuple[float, Floats]:
        value, slope = log_evidence(model, seen, theta)
        return value.item(), slope.numpy()

    return maximise(model, likelihood, start)


def maximise(model: Model, likelihood: Likelihood, start: Mapping[str, Any]) -> Values:
    """The hyperparameters where a log likelihood and the log prior are largest together.

    Looked for from `start`, unless the prior's median is better; without one from the median and from a spread below.
    Steps are measured in spreads of the prior: likelihoods are steep along some hyperparameters, flat along others.
    """
    centre, spread, reach = (model.spread_out(field) for field in ("centre", "spread", "reach"))

    def loss(z: Floats) -> tuple[float, Floats]:
        value, slope = likelihood(torch.from_numpy(centre + spread * z))
        return 0.5 * float(z @ z) - value, z - spread * slope

    remembered = model.theta(start)
    if remembered is None:
        starts = [0 * centre, 0 * centre - 1]
    else:
        starts = [min(np.clip((remembered - centre) / spread, -reach, reach), 0 * centre, key=lambda z: loss(z)[0])]
    bounds = np.stack([-reach, reach], axis=1)
    fits = [minimize(loss, z, jac=True, method="L-BFGS-B", bounds=bounds, options=LIMITS) for z in starts]
    best = min(fits, key=lambda fit: fit.fun if math.isfinite(fit.fun) else math.inf)
    if not (math.isfinite(best.fun) and np.isfinite(best.x).all()):
        raise FitFailed("the likelihood is not finite anywhere near the prior")
    return model.values(torch.from_numpy(centre + spread * best.x))


def fit(model: Model, seen: Seen, points: Tensor, start: Mapping[str, Any]) -> ExactBelief:
    """The belief at the most probable hyperparameters; `points` (n, d) are those of the present study."""
    return ExactBelief.given(model, most_probable(model, seen, start), seen, points)


def fit_outcomes(model: Model, evidence: Evidence) -> ExactBelief:
    """The belief given one outcome at each point, its hyperparameters learned from no more than a process needs."""
    part = gp.representative(evidence, gp.MOST_FITTED)
    values = most_probable(model, Seen.of(part, model.features(part.X)), evidence.start)
    return ExactBelief.given(model, values, Seen.of(evidence, model.features(evidence.X)), evidence.X)


@dataclass(frozen=True, slots=True)
class ExactBelief:
    """The posterior under given hyperparameters, S of them where outcomes were imagined.

    `L` (N, N) is the lower Cholesky factor of the covariance K of what was seen, `weights` = AᵀK⁻¹(z - μ) (S, n).
    """

    model: Model
    values: Values
    seen: Seen
    points: Tensor
    mean: Tensor
    L: Tensor
    weights: Tensor
    incumbent: Tensor

    @classmethod
    def given(cls, model: Model, values: Values, seen: Seen, points: Tensor, mean: Tensor | None = None) -> ExactBelief:
        """Conditioned on what was seen, around the most likely mean or a given one ()."""
        L = cholesky(covariance(model, seen, values))
        mean = _most_likely_mean(L, seen)[0] if mean is None else mean
        solved = torch.cholesky_solve((seen.outcomes - mean * seen.level).T, L).T  # (S, N)
        weights = solved if seen.sums is None else solved @ seen.sums
        k = model.kernel(seen.features, model.features(points), values)
        return cls(model, values, seen, points, mean, L, weights, (mean + weights @ k).amax(1))

    @property
    def fit(self) -> Mapping[str, Any]:
        return {name: [float(f"{number:.5g}") for number in value.tolist()] for name, value in self.values.items()}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(x)
        k, half = self._towards(features)
        alone = self.model.kernel(features[:, None], features[:, None], self.values)[:, 0, 0]
        variance = alone - half.square().sum(0)
        return self.mean + self.weights @ k, variance.clamp_min(LEAST_VARIANCE).sqrt()[None]

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(x)  # (b, q, f)
        k, half = self._towards(features.flatten(0, 1))
        half = half.reshape(-1, *x.shape[:2]).movedim(0, 2)  # (b, q, N)
        mean = (self.mean + self.weights @ k).reshape(-1, *x.shape[:2])
        return mean, (self.model.kernel(features, features, self.values) - half @ half.mT)[None]

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> ExactBelief:
        features = self.model.features(x)
        noise = torch.full_like(x[:, 0], LEAST_NOISE) if noiseless else self.model.noise(features, self.values)
        mean, covariance = self.joint(x[None])
        chance = torch.randn(paths, len(x), generator=rng, dtype=torch.float64)
        drawn = mean[:, 0] + chance @ cholesky(covariance[0, 0] + noise.diag()).T
        seen = self.seen.and_values(features, drawn, noise)
        return ExactBelief.given(self.model, self.values, seen, torch.cat([self.points, x]), self.mean)

    def _towards(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Covariances (n, m) of f at what was seen with f at features (m, f), and L⁻¹ A times them (N, m)."""
        k = self.model.kernel(self.seen.features, features, self.values)
        return k, torch.linalg.solve_triangular(self.L, self.seen.sum(k), upper=False)


def _most_likely_mean(L: Tensor, seen: Seen) -> Tensor:
    """(levelᵀK⁻¹z) / (levelᵀK⁻¹level) (S, 1), from the factor L of K; 0 where nothing tells the level."""
    z, level = (torch.linalg.solve_triangular(L, rows.T, upper=False) for rows in (seen.outcomes, seen.level[None]))
    mean: Tensor = (z.T @ level) / level.square().sum().clamp_min(1e-300)
    return mean


def cholesky(K: Tensor) -> Tensor:
    """The lower factor of K, with growing jitter where rounding asks for it; FitFailed if 1e-3 is not enough."""
    scale = K.diagonal().mean() * torch.eye(len(K), dtype=K.dtype)
    for jitter in (0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3):
        factor = torch.linalg.cholesky_ex(K + jitter * scale)
        L: Tensor = factor.L
        if not factor.info and bool(L.isfinite().all()):
            return L
    raise FitFailed("the covariance is not positive definite")


def cholesky_many(K: Tensor) -> Tensor:
    """The lower factors of a batch (…, n, n), which may be singular; differentiable."""
    scale = K.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(LEAST_VARIANCE)[..., None, None]
    for jitter in (1e-8, 1e-6, 1e-4, 1e-3):
        factor = torch.linalg.cholesky_ex(K + jitter * scale * torch.eye(K.shape[-1], dtype=K.dtype))
        if not factor.info.any():
            L: Tensor = factor.L
            return L
    raise FitFailed("a covariance is not positive definite")


def differences(a: Tensor, b: Tensor) -> Tensor:
    """a_j - b_j (d, …, m, n) of rows a (…, m, d) and b (…, n, d), column by column in memory."""
    return a.movedim(-1, 0).contiguous()[..., :, None] - b.movedim(-1, 0).contiguous()[..., None, :]


def gaps_between(a: Tensor, b: Tensor, unordered: Tensor) -> Tensor:
    """(a_j - b_j)² (d, …, m, n) of rows a (…, m, d) and b (…, n, d); in unordered columns [a_j ≠ b_j]."""
    apart = differences(a, b)
    squared = apart.square()
    if unordered.any():
        squared[unordered] = (apart[unordered] != 0).to(a.dtype)
    return squared


def mixed(gaps: Tensor, values: Values, unordered: Tensor) -> Tensor:
    """The covariance of the lean Gaussian process (`kernels.Covariance`) at gaps (d, …), differentiable in all it has:
    "lengths", and the variances "joint" and "additive" of its parts.
    """
    k: Tensor = _Mixed.apply(gaps, values["lengths"], values["joint"], values["additive"], unordered)  # type: ignore[no-untyped-call]
    return k


class _Mixed(torch.autograd.Function):
    """`mixed`, its slopes written out: most of a fit is spent here."""

    @staticmethod
    def forward(ctx: Any, gaps: Tensor, lengths: Tensor, joint: Tensor, additive: Tensor, unordered: Tensor) -> Tensor:
        hyper = Hyperparameters(lengths.detach().numpy(), joint.item(), additive.item(), 0.0)
        covariance = Covariance(hyper, unordered.numpy())
        parts = covariance.parts(gaps.detach().numpy())
        k = covariance.total(parts)
        if any(ctx.needs_input_grad):
            each = torch.from_numpy(parts.each.mean(0))
            weights = torch.from_numpy(covariance.pulls(parts))
            ctx.save_for_backward(gaps, lengths, unordered, weights, torch.from_numpy(parts.joint), each)
        return torch.from_numpy(np.asarray(k))

    @staticmethod
    def backward(ctx: Any, *pulls: Tensor) -> tuple[Tensor | None, ...]:
        """∂k/∂gap_j = -½ w_j / ℓ_j²,  ∂k/∂ℓ_j = w_j gap_j / ℓ_j³;  in unordered columns w_j gap_j / ℓ_j²."""
        gaps, lengths, unordered, weights, joint, each = ctx.saved_tensors
        weights = weights * pulls[0]
        by_gap = by_length = None
        if ctx.needs_input_grad[0]:
            inverse = torch.where(unordered, 0.0, -0.5 / lengths.square())
            by_gap = weights * inverse.reshape(-1, *[1] * (gaps.dim() - 1))
        if ctx.needs_input_grad[1]:
            total = torch.einsum("jp,jp->j", weights.flatten(1), gaps.flatten(1))
            by_length = total / lengths.square() / torch.where(unordered, 1.0, lengths)
        return by_gap, by_length, (pulls[0] * joint).sum()[None], (pulls[0] * each).sum()[None], None
