"""Each fidelity a function of the point and of the fidelity below: what a cheap run says may bend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...numerics import FitFailed
from ..base import Unsuited
from ..general import (
    LEAST_VARIANCE,
    NOISE,
    SIGNALS,
    ExactBelief,
    Model,
    Prior,
    Values,
    differences,
    fit_outcomes,
    gaps_between,
    length_prior,
    mixed,
)
from ..selection import rows_of
from .base import Conditioned, levels_of, nearest

if TYPE_CHECKING:
    from ..base import Evidence


@dataclass(frozen=True, slots=True)
class Nonlinear:
    """f_t(x) = g_t(x, f_{t-1}(x)),  g_t a process with covariance

        k_ρ(x, x') (a z z' + exp(-(z - z')² / 2ℓ²)) + k_δ(x, x')    at (x, z), (x', z')

    Perdikaris et al. 2017, eqs. (2.11) and (2.12), with the linear part of Cutajar et al. 2019, eq. (9). Fitted level
    by level, each to the mean of the one below. Where they draw samples, what is unknown of f_{t-1} passes through g_t
    by its slope J there, so that the belief has a joint:

        Cov(f_t(x), f_u(x')) = Σ_{l ≤ min(t, u)} (Π_{l < j ≤ t} J_j(x)) (Π_{l < j ≤ u} J_j(x')) c_l(x, x')

    c_l is the posterior covariance of g_l. It is Unsuited as long as nothing was seen at the target.
    """

    def fit(self, evidence: Evidence) -> NonlinearBelief:
        if not evidence.X.isfinite().all():
            raise FitFailed("the evidence is not finite")
        levels, shares = levels_of(evidence), evidence.X[:, -1]
        index = nearest(shares, levels)
        if not (index == len(levels) - 1).any():
            raise Unsuited("no trial has reached the full resource")
        present = torch.unique(index)
        belief = NonlinearBelief(evidence.X, levels[present], evidence.unordered[:-1], ())
        for place, level in enumerate(present.tolist()):
            rows = (index == level).nonzero()[:, 0]
            belief = replace(belief, steps=(*belief.steps, _step(belief, rows_of(evidence, rows), place)))
        return belief


def _step(below: NonlinearBelief, evidence: Evidence, place: int) -> ExactBelief:
    """g_t, learned from the rows of one level: over points for the lowest, over points and values for the others."""
    x, unordered = evidence.X[:, :-1], below.unordered
    start = evidence.start.get(f"level_{place}", {})
    if place == 0:
        return fit_outcomes(_lowest(unordered), replace(evidence, X=x, start=start))
    with torch.no_grad():
        values = below.means(x)[-1]
    return fit_outcomes(_higher(unordered), replace(evidence, X=torch.cat([x, values[:, None]], dim=1), start=start))


def _lowest(unordered: Tensor) -> Model:
    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return mixed(gaps_between(a, b, unordered), values, unordered)

    return Model(kernel, (length_prior(len(unordered)), *SIGNALS, NOISE), lambda x: x)


def _higher(unordered: Tensor) -> Model:
    """Features are a point and the value of the level below."""
    d = len(unordered)

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        gaps = gaps_between(a[..., :d], b[..., :d], unordered)
        along, _ = _along_values(a[..., d:], b[..., d:], values)
        own = {name: values[f"own_{name}"] for name in ("lengths", "joint", "additive")}
        return _shape(gaps, values, unordered) * along + mixed(gaps, own, unordered)

    lengths = length_prior(d)
    priors = (
        Prior("shape_lengths", d, lengths.centre + 1.0, lengths.spread),
        Prior("linear", 1, -0.5, 1.0),
        Prior("curved", 1, -2.0, 1.0),
        Prior("value_length", 1, 0.0, 0.75),
        Prior("own_lengths", d, lengths.centre, lengths.spread),
        Prior("own_joint", 1, -2.5, 1.5),
        Prior("own_additive", 1, -4.0, 1.5),
        NOISE,
    )
    return Model(kernel, priors, lambda x: x)


def _shape(gaps: Tensor, values: Values, unordered: Tensor) -> Tensor:
    """The correlation k_ρ over points: all columns together."""
    one = torch.ones(1, dtype=gaps.dtype)
    return mixed(gaps, {"lengths": values["shape_lengths"], "joint": one, "additive": 0 * one}, unordered)


def _along_values(a: Tensor, b: Tensor, values: Values) -> tuple[Tensor, Tensor]:
    """a z z' + c exp(-(z - z')² / 2ℓ²) (..., m, n) of values z (..., m, 1) and z' (..., n, 1), and its slope by z."""
    apart = differences(a, b)[0]
    curved = values["curved"] * torch.exp(-0.5 * (apart / values["value_length"]).square())
    right = b[..., 0][..., None, :]
    linear = values["linear"] * right
    return linear * a + curved, linear - apart / values["value_length"].square() * curved


@dataclass(frozen=True)
class NonlinearBelief:
    """The steps g_0 … g_{L-1} of the chain that were learned at the levels (L,); `points` (n, d + 1)."""

    points: Tensor
    levels: Tensor
    unordered: Tensor
    steps: tuple[ExactBelief, ...]

    @cached_property
    def incumbent(self) -> Tensor:
        return self.posterior(self.points)[0].amax(1)

    @property
    def fit(self) -> Mapping[str, Any]:
        return {f"level_{place}": dict(step.fit) for place, step in enumerate(self.steps)}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, covariance = self.joint(x[:, None])
        return mean[..., 0], covariance[..., 0, 0].clamp_min(LEAST_VARIANCE).sqrt()

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        points = x[..., :-1]
        t = nearest(x[..., -1], self.levels)  # (b, q)
        means = torch.stack(self.means(points), dim=-1)  # (b, q, L)
        covariance = torch.zeros(*x.shape[:2], x.shape[1], dtype=x.dtype)
        reach = torch.ones_like(points[..., 0])
        for level in reversed(range(len(self.steps))):
            weight = torch.where(t >= level, reach, 0.0)
            own = self._own_covariance(level, points, means)
            covariance = covariance + weight[..., :, None] * own * weight[..., None, :]
            if level:
                slope = self._slope(level, points, means[..., level - 1])
                reach = torch.where(t >= level, reach * slope, reach)
        return means.gather(-1, t[..., None])[..., 0][None], covariance[None]

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> Conditioned:
        noise = max(float(step.values["noise"]) for step in self.steps)
        return Conditioned.on(self, x, paths, rng, 0.0 if noiseless else noise)

    def means(self, x: Tensor) -> list[Tensor]:
        """The means (...) of every level at points (..., d)."""
        means: list[Tensor] = []
        for step in self.steps:
            features = torch.cat([x, means[-1][..., None]], dim=-1) if means else x
            mean = step.posterior(features.reshape(-1, features.shape[-1]))[0][0]
            means.append(mean.reshape(x.shape[:-1]))
        return means

    def _own_covariance(self, level: int, points: Tensor, means: Tensor) -> Tensor:
        """The posterior covariances (b, q, q) of g_level at points (b, q, d) and the means of the level below."""
        features = torch.cat([points, means[..., level - 1 : level]], dim=-1) if level else points
        return self.steps[level].joint(features)[1][0]

    def _slope(self, level: int, points: Tensor, below: Tensor) -> Tensor:
        """∂/∂z of the mean of g_level (b, q) at points (b, q, d) and values (b, q)."""
        step, d = self.steps[level], points.shape[-1]
        rows, z = points.reshape(-1, d), below.reshape(-1, 1)
        known = step.seen.features
        shape = _shape(gaps_between(rows, known[:, :d], self.unordered), step.values, self.unordered)
        _, slope = _along_values(z, known[:, d:], step.values)
        return ((shape * slope) @ step.weights[0]).reshape(below.shape)
