"""What all models of several fidelities share: where the fidelity stands, its levels, and the view at one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..general import LEAST_NOISE, LEAST_VARIANCE, ExactBelief, Model, Seen, cholesky, most_probable
from ..gp import MOST_FITTED
from ..selection import best_and_spread, rows_of

if TYPE_CHECKING:
    from ..base import Belief, Evidence

MOST_LEVELS = 5
"""Levels that a model of discrete fidelities tells apart; others count as the nearest of them."""

GROUP = 256
"""Points whose covariances with imagined ones are computed together."""


def at(x: Tensor, share: float) -> Tensor:
    """Points (..., d) at a fidelity: rows (..., d + 1)."""
    return torch.cat([x, torch.full_like(x[..., :1], share)], dim=-1)


def levels_of(evidence: Evidence) -> Tensor:
    """The shares (L ≤ `MOST_LEVELS`,) at which something was seen and the target's, 1, ascending."""
    shares: Tensor = torch.unique(torch.cat([evidence.X[:, -1], torch.ones(1, dtype=evidence.X.dtype)]))
    if len(shares) <= MOST_LEVELS:
        return shares
    spread: Tensor = shares[torch.linspace(0, len(shares) - 1, MOST_LEVELS).round().long()]
    return spread


def nearest(shares: Tensor, levels: Tensor) -> Tensor:
    """The index (...) of the level nearest to each share (...)."""
    return (shares.detach()[..., None] - levels).abs().argmin(-1)


def with_index(x: Tensor, levels: Tensor) -> Tensor:
    """Rows (..., d + 1) with the index of the level in place of the share."""
    return torch.cat([x[..., :-1], nearest(x[..., -1:], levels).to(x.dtype)], dim=-1)


def fit_fidelities(model: Model, evidence: Evidence) -> ExactBelief:
    """The belief given one outcome at each row, its hyperparameters learned from no more rows than a process needs."""
    part = rows_of(evidence, _telling(evidence, MOST_FITTED))
    values = most_probable(model, Seen.of(part, model.features(part.X)), evidence.start)
    return ExactBelief.given(model, values, Seen.of(evidence, model.features(evidence.X)), evidence.X)


def _telling(evidence: Evidence, most: int) -> Tensor:
    """At most so many row numbers: up to half of them at the highest share, for those are few, the rest from below."""
    X, y = evidence.X, evidence.y
    if len(y) <= most:
        return torch.arange(len(y))
    top = X[:, -1] == X[:, -1].max()
    high, low = (rows.nonzero()[:, 0] for rows in (top, ~top))
    kept = high[best_and_spread(X[high], y[high], max(most // 2, most - len(low)))]
    return torch.cat([kept, low[best_and_spread(X[low], y[low], most - len(kept))]])


@dataclass(frozen=True)
class AtFidelity:
    """A belief about points at any fidelity, rows (n, d + 1), as one about points (n, d) at one of them."""

    inner: Belief
    share: float = 1.0

    @property
    def points(self) -> Tensor:
        return self.inner.points[:, :-1]

    @cached_property
    def incumbent(self) -> Tensor:
        return self.posterior(self.points)[0].amax(1)

    @property
    def fit(self) -> Mapping[str, Any]:
        return self.inner.fit

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.posterior(at(x, self.share))

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.joint(at(x, self.share))

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> AtFidelity:
        return replace(self, inner=self.inner.imagine(at(x, self.share), paths, rng, noiseless=noiseless))


@dataclass(frozen=True)
class Conditioned:
    """Any belief with a joint, after outcomes were imagined at p more points `x` (p, d).

        mean' = mean + c K⁻¹ (z - mean(x)),   c' = c - c K⁻¹ cᵀ,   K = c(x, x) + diag(noise)

    `pulls` = K⁻¹ (z - mean(x)) (S, p), and L (p, p) the lower factor of K.   Rasmussen and Williams 2006, eq. (2.25)
    """

    before: Belief
    x: Tensor
    noise: Tensor
    L: Tensor
    pulls: Tensor

    @classmethod
    def on(cls, before: Belief, x: Tensor, paths: int, rng: torch.Generator, noise: float) -> Conditioned:
        """On outcomes with that variance of their noise, drawn from the belief itself."""
        mean, covariance = (moment.detach()[:, 0] for moment in before.joint(x[None]))
        variances = torch.full_like(x[:, 0], max(noise, LEAST_NOISE))
        L = cholesky(covariance[0] + variances.diag())
        chance = torch.randn(paths, len(x), generator=rng, dtype=torch.float64)
        outcomes = mean + chance @ L.T
        pulls = torch.cholesky_solve((outcomes - mean).T, L).T
        return cls(before, x, variances, L, pulls)

    @cached_property
    def points(self) -> Tensor:
        return torch.cat([self.before.points, self.x])

    @cached_property
    def incumbent(self) -> Tensor:
        return self.posterior(self.points)[0].amax(1)

    @property
    def fit(self) -> Mapping[str, Any]:
        return self.before.fit

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        parts = [self._together(part[None]) for part in torch.split(x, GROUP)]
        mean = torch.cat([mean[:, 0] for mean, _ in parts], dim=1)
        variance = torch.cat([covariance[:, 0].diagonal(dim1=-2, dim2=-1) for _, covariance in parts], dim=1)
        return mean, variance.clamp_min(LEAST_VARIANCE).sqrt()

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._together(x)

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> Conditioned:
        return Conditioned.on(self, x, paths, rng, 0.0 if noiseless else float(self.noise.max()))

    def _together(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means (S, b, q) and covariances (1, b, q, q) at x (b, q, d)."""
        q = x.shape[1]
        mean, covariance = self.before.joint(torch.cat([x, self.x.expand(len(x), -1, -1)], dim=1))
        across = covariance[0, :, :q, q:]  # (b, q, p)
        half = torch.linalg.solve_triangular(self.L, across.mT, upper=False)  # (b, p, q)
        risen = mean[:, :, :q] + torch.einsum("bqp,sp->sbq", across, self.pulls)
        return risen, (covariance[0, :, :q, :q] - half.mT @ half)[None]
