"""A Gaussian process over warped inputs: a function that is rough at one end of a range and smooth at the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Evidence
from .general import NOISE, SIGNALS, ExactBelief, Model, Prior, Values, fit_outcomes, gaps_between, length_prior, mixed

EDGE = 1e-7
"""How far the warp stays from 0 and 1, where its slope may be infinite."""

WARP_SPREAD = 0.75**0.5
"""log a, log b ~ N(0, WARP_SPREAD²): the identity is the most probable warp."""


@dataclass(frozen=True, slots=True)
class Warped:
    """The exact Gaussian process over w(x), one monotone warp for each ordered column, learned with the scales."""

    def fit(self, evidence: Evidence) -> ExactBelief:
        return fit_outcomes(_model(evidence.unordered), evidence)


def _model(unordered: Tensor) -> Model:
    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        x, z = (_warp_ordered(rows, values, unordered) for rows in (a, b))
        return mixed(gaps_between(x, z, unordered), values, unordered)

    d, ordered = len(unordered), int((~unordered).sum())
    warps = tuple(Prior(name, ordered, 0.0, WARP_SPREAD) for name in ("warp_low", "warp_high"))
    return Model(kernel, (length_prior(d), *warps, *SIGNALS, NOISE), _as_they_are)


def _as_they_are(x: Tensor) -> Tensor:
    return x


def _warp_ordered(x: Tensor, values: Values, unordered: Tensor) -> Tensor:
    ones = torch.ones(len(unordered), dtype=x.dtype)
    a, b = (ones.masked_scatter(~unordered, values[name]) for name in ("warp_low", "warp_high"))
    return torch.where(unordered, x, warp(x, a, b))


def warp(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Kumaraswamy's distribution function of x (..., d) in the unit cube, for shapes a, b (d,) > 0.

    w(x) = 1 - (1 - x^a)^b       Snoek, Swersky, Zemel and Adams 2014, with the Beta's stand-in that has a closed form
    """
    inside = x.clamp(0, 1) * (1 - 2 * EDGE) + EDGE
    return 1 - (1 - inside**a) ** b
