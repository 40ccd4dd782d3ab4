"""A Gaussian process of utilities that only comparisons have shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..numerics import FitFailed
from .base import Evidence
from .general import ExactBelief, Model, Prior, Seen, Values, gaps_between, length_prior, maximise, mixed

if TYPE_CHECKING:
    from ..numerics import Floats

UTILITY = (Prior("joint", 1, math.log(2.0), 1.0), Prior("additive", 1, math.log(2.0), 1.0))
"""Variances of the parts of the utility, in units of the variance of the noise with which it is compared."""

NEWTON_STEPS = 100
CLOSE = 1e-9
"""A step of the utilities so small that they are found."""


@dataclass(frozen=True, slots=True)
class Pairwise:
    """Utilities f with Gaussian process prior, of which it is told with noise which of two is the better.

    P(a beats b) = Φ((f(a) - f(b)) / √2)       Chu and Ghahramani 2005, eq. (3), with σ = 1

    The posterior is Laplace's approximation: normal around the most probable utilities. Outcomes y play no part, and
    the utility has no unit: where a better value is told from a worse one half of the time by luck, they differ by 1.
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        if not evidence.X.isfinite().all():
            raise FitFailed("the evidence is not finite")
        model, D = _model(evidence.unordered), contests(evidence.rankings, len(evidence.X))
        values = _most_probable(model, evidence.X, D, evidence.start)
        K = model.kernel(evidence.X, evidence.X, values)
        return ExactBelief.given(model, values, _as_values(evidence.X, D, _utilities(K, D)), evidence.X)


def contests(rankings: tuple[Tensor, ...], n: int) -> Tensor:
    """D (m, n): D f is by how much the better one beats the worse one, for pairs 1, 2, 4, 8, … places apart in a
    ranking: neighbours are close, and only those far apart tell how far. Ordered, so that rankings may come in any
    order.
    """
    pairs = sorted(pair for ranking in rankings for pair in _pairs(ranking.tolist()))
    D = torch.zeros(len(pairs), n, dtype=torch.float64)
    for i, (better, worse) in enumerate(pairs):
        D[i, better], D[i, worse] = 1.0, -1.0
    return D


def _pairs(ranking: list[int]) -> Iterator[tuple[int, int]]:
    apart = 1
    while apart < len(ranking):
        yield from zip(ranking, ranking[apart:], strict=False)
        apart *= 2


def _model(unordered: Tensor) -> Model:
    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return mixed(gaps_between(a, b, unordered), values, unordered)

    def noise(features: Tensor, values: Values) -> Tensor:
        return torch.ones(len(features), dtype=features.dtype)

    return Model(kernel, (length_prior(len(unordered)), *UTILITY), lambda x: x, noise)


def _most_probable(model: Model, X: Tensor, D: Tensor, start: Mapping[str, Any]) -> Values:
    def likelihood(theta: Tensor) -> tuple[float, Floats]:
        theta = theta.requires_grad_()
        value = log_evidence(model.kernel(X, X, model.values(theta)), D)
        (slope,) = torch.autograd.grad(value, theta)
        return value.item(), slope.numpy()

    return maximise(model, likelihood, start)


def log_evidence(K: Tensor, D: Tensor) -> Tensor:
    """Laplace's log evidence () of the contests D (m, n) under utilities with covariance K (n, n); differentiable.

    Σ log Φ(t) - ½ f·K⁻¹f - ½ log |I + Λ^½ D K Dᵀ Λ^½|,  t = D f / √2     Rasmussen and Williams 2006, eq. (3.32)

    at the most probable f. That moves with K, too, and Λ with it: the slope flows through its last Newton step.
    """
    with torch.no_grad():
        f = _utilities(K.detach(), D)
    f, a, log_determinant = _newton_step(K, D, _newton_step(K, D, f)[0])
    return _log_chance(D @ f / math.sqrt(2)).sum() - 0.5 * f @ a - 0.5 * log_determinant


def _utilities(K: Tensor, D: Tensor) -> Tensor:
    """The most probable utilities f (n,): the log posterior is concave, and halved steps never lose."""

    def height(f: Tensor, a: Tensor) -> Tensor:
        return _log_chance(D @ f / math.sqrt(2)).sum() - 0.5 * f @ a

    f, a = torch.zeros(len(K), dtype=K.dtype), torch.zeros(len(K), dtype=K.dtype)
    for _ in range(NEWTON_STEPS):
        towards, pull, _ = _newton_step(K, D, f)
        share = next(
            (
                s
                for s in (1.0, 0.5, 0.25, 0.1, 0.01)
                if height(f + s * (towards - f), a + s * (pull - a)) >= height(f, a)
            ),
            0.0,
        )
        moved = share * (towards - f)
        f, a = f + moved, a + share * (pull - a)
        if float(moved.abs().amax()) < 1e-10:
            break
    return f


def _newton_step(K: Tensor, D: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The next f (n,), a = K⁻¹f (n,) and log |I + Λ^½ D K Dᵀ Λ^½| at the present one.

    a = b - Dᵀ Λ^½ (I + Λ^½ D K Dᵀ Λ^½)⁻¹ Λ^½ D K b,   b = Dᵀ (Λ D f + g)     Rasmussen and Williams 2006, alg. (3.1)
    """
    t = D @ f / math.sqrt(2)
    hazard = _hazard(t)
    G = (0.5 * hazard * (t + hazard)).clamp_min(1e-300).sqrt()[:, None] * D  # Λ^½ D (m, n)
    b = G.T @ (G @ f) + D.T @ hazard / math.sqrt(2)
    S = torch.eye(len(D), dtype=K.dtype) + G @ K @ G.T
    L = torch.linalg.cholesky(S)
    a = b - G.T @ torch.cholesky_solve((G @ (K @ b))[:, None], L)[:, 0]
    return K @ a, a, 2 * L.diagonal().log().sum()


def _hazard(t: Tensor) -> Tensor:
    """φ(t) / Φ(t), for any t."""
    return (-0.5 * t.square() - 0.5 * math.log(2 * math.pi) - _log_chance(t)).exp()


def _log_chance(t: Tensor) -> Tensor:
    """log Φ(t)."""
    chance: Tensor = torch.special.log_ndtr(t)
    return chance


def _as_values(X: Tensor, D: Tensor, f: Tensor) -> Seen:
    """Differences D f with normal noise Λ⁻¹ under which the exact posterior is Laplace's."""
    t = D @ f / math.sqrt(2)
    hazard = _hazard(t)
    noise = (0.5 * hazard * (t + hazard)).clamp_min(1e-12).reciprocal()
    outcomes = D @ f + math.sqrt(2) / (t + hazard)
    return Seen(X, outcomes[None], noise, torch.zeros(len(D), dtype=X.dtype), D)
