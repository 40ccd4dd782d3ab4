"""The knowledge gradient, and expected improvement under noise: how much one more observation lifts the best mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .draws import drawn_optima, leaders
from .feasibility import different
from .lookahead import LEAST_SLOPE, NOTHING, crossed, log_expected_rise, noise_variance
from .normal import log_mean_exp

if TYPE_CHECKING:
    from .outlook import Outlook, Worth

SEEN = 8
"""Seen points among those whose mean the knowledge gradient looks at, beside the optima of drawn functions."""

RIVALS = 24
"""Seen points that may come out best after an observation under noise."""


def knowledge_gradient(outlook: Outlook) -> Worth:
    """Log of the expected rise of the largest posterior mean, if x were observed with its noise.

    log 1/S Σ_s E[max_{z ∈ A ∪ {x}} mean'_s(z)] - max_{z ∈ A} mean_s(z)

    A holds the optima of drawn functions and the best points seen.  Frazier, Powell and Dayanik 2009; Scott et al. 2011
    """
    optima = drawn_optima(outlook).places
    return _lift(outlook, different(torch.cat([leaders(outlook, SEEN), optima])))


def noisy_ei(outlook: Outlook) -> Worth:
    """Log of the expected rise of the largest posterior mean among the points seen and x.

    What is recommended in the end must have been evaluated, then. Without noise this is expected improvement.

    log 1/S Σ_s E[max_{i ≤ n+1} mean'_s(x_i)] - max_{i ≤ n} mean_s(x_i)               Frazier 2018, sec. 5.1, first part

    Only the `RIVALS` most promising points seen are looked at.
    """
    return _lift(outlook, leaders(outlook, RIVALS))


def _lift(outlook: Outlook, rivals: Tensor) -> Worth:
    """Log of the expected rise of the largest mean, from that over rivals (p, d) to that over rivals and x when x is
    observed, averaged over S.

    mean'(z) = mean(z) + Z cov(z, x) / √(var(x) + σ²),  Z ~ N(0, 1)
    """
    belief, noise = outlook.belief, noise_variance(outlook, rivals)

    def worth(x: Tensor) -> Tensor:
        at = crossed(belief, x, rivals)
        deviation = (at.variance + noise).sqrt()[..., None]
        moves = torch.cat([at.covariance, at.variance[..., None]], dim=-1) / deviation  # (S or 1, m, p + 1)
        heights = torch.cat([at.means[:, None].expand(-1, len(x), -1), at.mean[..., None]], dim=-1)  # (S, m, p + 1)
        rise = log_expected_rise(heights, moves.expand_as(heights))
        return log_mean_exp(torch.logaddexp(rise, _log_above(at.mean, at.means.amax(-1, keepdim=True))))

    return worth


def _log_above(mean: Tensor, best: Tensor) -> Tensor:
    """log(mean - best), `NOTHING` where that is not positive."""
    above = mean - best
    positive = above > LEAST_SLOPE
    return torch.where(positive, torch.where(positive, above, 1.0).log(), NOTHING)
