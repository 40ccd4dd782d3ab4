"""What one more observation does to a belief: covariances with other points, and the largest of several lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .normal import log_h

if TYPE_CHECKING:
    from ..surrogates import Belief
    from .outlook import Outlook

LEAST_SLOPE = 1e-12
"""Lines whose slopes differ by less count as parallel: posterior covariances are no more exact."""

GROUP = 64
"""Points whose covariances with others are computed together."""

NOTHING = -1e30
"""The logarithm of a gain of nothing, finite so that sums over it have a slope."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """The belief at x (m, d) and at z (p, d) together; S is 1 in variances that all imagined outcomes share.

    `mean` (S, m) and `variance` (S, m) at x, `means` (S, p) and `variances` (S, p) at z, `covariance` (S, m, p).
    """

    mean: Tensor
    variance: Tensor
    means: Tensor
    variances: Tensor
    covariance: Tensor


def crossed(belief: Belief, x: Tensor, z: Tensor) -> Crossed:
    """The belief at x (m ≥ 1, d), at z (p, d) and between them, differentiable in x.

    Some of x share a copy of z: each point with its own would cost many times as much, and so would all x with one.
    """
    parts = [_together(belief, part, z) for part in torch.split(x, GROUP)]
    return Crossed(
        mean=torch.cat([part.mean for part in parts], dim=1),
        variance=torch.cat([part.variance for part in parts], dim=1),
        means=parts[0].means,
        variances=parts[0].variances,
        covariance=torch.cat([part.covariance for part in parts], dim=1),
    )


def _together(belief: Belief, x: Tensor, z: Tensor) -> Crossed:
    mean, covariance = (moment[:, 0] for moment in belief.joint(torch.cat([x, z])[None]))
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp_min(LEAST_SLOPE)
    m = len(x)
    return Crossed(mean[:, :m], variance[:, :m], mean[:, m:], variance[:, m:], covariance[:, :m, m:])


@torch.no_grad()
def noise_variance(outlook: Outlook, x: Tensor) -> Tensor:
    """The variance () of the noise in an observation: told by how much one at the least known of x (p, d) teaches.

    An observation of noise σ² turns a variance v into v σ² / (v + σ²).
    """
    belief = outlook.belief
    before = belief.posterior(x)[1].mean(0).square()
    place = x[before.argmax()][None]
    taught = belief.imagine(place, len(belief.incumbent), outlook.rng).posterior(place)[1].mean().square()
    v = before.max()
    return v * taught / (v - taught).clamp_min(1e-9 * v)


def log_expected_rise(heights: Tensor, slopes: Tensor) -> Tensor:
    """log(E max_i (a_i + b_i Z) - max_i a_i) (...,) for lines of heights a and slopes b (..., L), Z standard normal.

        log Σ_i (b_{i+1} - b_i) h(-|c_i|),  c_i = (a_i - a_{i+1}) / (b_{i+1} - b_i)    Frazier et al. 2009, eq. (14)

    over the lines of the upper envelope by rising slope, which are found one after the other as a gift is wrapped.
    `NOTHING` if all lines are parallel.
    """
    now, following = _envelope(heights.detach(), slopes.detach())
    steeper = slopes.gather(-1, following) - slopes.gather(-1, now)
    lower = heights.gather(-1, now) - heights.gather(-1, following)
    real = steeper > LEAST_SLOPE
    width = torch.where(real, steeper, 1.0)
    terms = width.log() + log_h(-(lower / width).abs())
    return torch.where(real, terms, NOTHING).logsumexp(-1)


def _envelope(heights: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Each line of the upper envelope and the one that takes over (..., E) as Z grows; the last keeps itself."""
    flattest = slopes <= slopes.amin(-1, keepdim=True) + LEAST_SLOPE
    now = torch.where(flattest, heights, -torch.inf).argmax(-1, keepdim=True)
    chain = [now]
    for _ in range(heights.shape[-1] - 1):
        steeper = slopes - slopes.gather(-1, now)
        crossing = (heights.gather(-1, now) - heights) / steeper
        crossing = torch.where(steeper > LEAST_SLOPE, crossing, torch.inf)
        nearest = crossing.amin(-1, keepdim=True)
        steepest = torch.where(crossing == nearest, steeper, -torch.inf).argmax(-1, keepdim=True)
        following = torch.where(nearest < torch.inf, steepest, now)
        if torch.equal(following, now):
            break
        chain.append(following)
        now = following
    line = torch.cat(chain, dim=-1)
    return line, torch.cat([line[..., 1:], line[..., -1:]], dim=-1)
