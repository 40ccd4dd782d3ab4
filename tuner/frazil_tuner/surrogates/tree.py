"""A Gaussian process over a tree of conditions: a parameter counts only where it is active."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .base import Belief, Evidence
from .general import NOISE, SIGNALS, Model, Values, differences, fit_outcomes, length_prior, mixed
from .gp import GaussianProcess
from .mixture import Mixture

if TYPE_CHECKING:
    from ..space import Space

ANGLE = 2.0
"""The angle of the arc on which the values of a conditional parameter lie, in radians: so bent, the ends of a range
are 0.84 of its length apart, and each value is half a length away from "not active".
"""

Activity = Callable[[Tensor], Tensor]
"""Which columns (..., d) are active at points (..., d), as 0 and 1."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Two exact Gaussian processes, each as likely as the other, that differ in what "not active" means.

    In one it is the middle of the range, as the lean process has it. In the other it is a place of its own: an ordered
    column that is not always active lies on an arc when it is, and at the arc's centre when it is not. Two points in
    both of which it is active are about as far apart there as their values are, those in only one of which it is
    active all equally far, those in neither not at all. Swersky, Duvenaud, Snoek, Hutter and Osborne 2014, §2

    Where nothing depends on anything the two are one.
    """

    def fit(self, evidence: Evidence) -> Belief:
        middle = GaussianProcess().fit(replace(evidence, start=evidence.start.get("middle", evidence.start)))
        if evidence.active is None or evidence.active.all():
            return middle
        apart = fit_outcomes(_model(evidence), replace(evidence, start=evidence.start.get("apart", {})))
        return Mixture((middle, apart), {"middle": dict(middle.fit), "apart": dict(apart.fit)})


def _model(evidence: Evidence) -> Model:
    """Features are a point x (d,), and which of its columns are active (d,)."""
    activity, unordered, d = activity_of(evidence.space), evidence.unordered, evidence.X.shape[1]
    conditional = torch.zeros_like(unordered) if evidence.active is None else ~evidence.active.all(0)

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return mixed(gaps_on_tree(a, b, unordered, conditional), values, unordered)

    def features(x: Tensor) -> Tensor:
        return torch.cat([x, activity(x)], dim=-1)

    return Model(kernel, (length_prior(d), *SIGNALS, NOISE), features)


def activity_of(space: Space | None) -> Activity:
    """The activity in a space; without one everything is active."""

    def activity(x: Tensor) -> Tensor:
        if space is None:
            return torch.ones_like(x)
        rows = x.detach().reshape(-1, x.shape[-1])
        return torch.from_numpy(space.active(rows.numpy())).to(x.dtype).reshape(x.shape)

    return activity


def gaps_on_tree(a: Tensor, b: Tensor, unordered: Tensor, conditional: Tensor) -> Tensor:
    """Squared distances (d, …, m, n) in each column between points that know what is active, rows (…, 2d) of x, active.

    always active                 (a_j - b_j)²
    active in both, one, none     4 sin²(ANGLE (a_j - b_j) / 2) / ANGLE²,  1 / ANGLE²,  0
    unordered                     [a_j ≠ b_j], not being active counted as one more level

    Each is the squared distance of points embedded somewhere, so covariances of them are positive semi-definite.
    """
    d = len(unordered)
    here, there = (rows[..., d:].movedim(-1, 0) > 0 for rows in (a, b))
    apart = differences(a[..., :d], b[..., :d])
    both, either = here[..., :, None] & there[..., None, :], here[..., :, None] | there[..., None, :]
    gaps = apart.square()
    bent, names = ~unordered & conditional, unordered
    arc = (2 / ANGLE * (ANGLE / 2 * apart[bent]).sin()).square()
    gaps[bent] = torch.where(both[bent], arc, (either[bent] & ~both[bent]) / ANGLE**2)
    gaps[names] = (either[names] & ~(both[names] & (apart[names] == 0))).to(a.dtype)
    return gaps
