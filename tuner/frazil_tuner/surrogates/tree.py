"""A Gaussian process over a tree of conditions: a parameter counts only where it is active."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .base import Evidence
from .general import AMPLITUDE, NOISE, ExactBelief, Model, Seen, Values, fit, hamming, length_prior, matern

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
    """The exact Gaussian process over an embedding that says nothing of a parameter that is not active.

    A column that is always active is embedded as it is. An ordered one that is not lies on an arc when active, and at
    the arc's centre when not: two points in both of which it is active are about as far apart there as their values
    are, those in only one of which it is active all equally far, those in neither not at all. An unordered one counts
    as one more level when it is not active. Swersky, Duvenaud, Snoek, Hutter and Osborne 2014, §2
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        model = _model(evidence)
        return fit(model, Seen.of(evidence, model.features(evidence.X)), evidence.X, evidence.start)


def _model(evidence: Evidence) -> Model:
    """Features are a point x (d,), and which of its columns are active (d,)."""
    activity, unordered, d = activity_of(evidence.space), evidence.unordered, evidence.X.shape[1]
    conditional = torch.zeros_like(unordered) if evidence.active is None else ~evidence.active.all(0)

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return values["amplitude"] * correlation(a, b, values["lengths"], unordered, conditional)

    def features(x: Tensor) -> Tensor:
        return torch.cat([x, activity(x)], dim=-1)

    return Model(kernel, (length_prior("lengths", d), AMPLITUDE, NOISE), features)


def activity_of(space: Space | None) -> Activity:
    """The activity in a space; without one everything is active."""

    def activity(x: Tensor) -> Tensor:
        if space is None:
            return torch.ones_like(x)
        rows = x.detach().reshape(-1, x.shape[-1])
        return torch.from_numpy(space.active(rows.numpy())).to(x.dtype).reshape(x.shape)

    return activity


def correlation(a: Tensor, b: Tensor, lengths: Tensor, unordered: Tensor, conditional: Tensor) -> Tensor:
    """Matérn 5/2 of the distance of embedded points times exponentiated Hamming, between rows (…, 2d) of x, activity.

    Positive semi-definite whatever is active where, for it is a kernel of embedded points.
    """
    d = len(unordered)
    x, z = (embedded(rows, lengths, unordered, conditional) for rows in (a, b))
    squared = x.square().sum(-1)[..., :, None] + z.square().sum(-1)[..., None, :] - 2 * x @ z.mT
    smooth = matern(squared.clamp_min(0))
    if not unordered.any():
        return smooth
    levels, others = (torch.where(rows[..., d:] > 0, rows[..., :d], -1.0)[..., unordered] for rows in (a, b))
    return smooth * (-hamming(levels, others, lengths[unordered])).exp()


def embedded(rows: Tensor, lengths: Tensor, unordered: Tensor, conditional: Tensor) -> Tensor:
    """Where points lie (…, f), in length scales: on the axes of the columns that are always active, on arcs in others.

    active: (sin φ, cos φ) / (ANGLE ℓ),  φ = ANGLE (x - ½);   not active: (0, 0)
    """
    d = len(unordered)
    plain, bent = ~unordered & ~conditional, ~unordered & conditional
    x, active = rows[..., :d] - 0.5, rows[..., d:][..., bent]
    radius, angle = active / (ANGLE * lengths[bent]), ANGLE * x[..., bent]
    return torch.cat([x[..., plain] / lengths[plain], radius * angle.sin(), radius * angle.cos()], dim=-1)
