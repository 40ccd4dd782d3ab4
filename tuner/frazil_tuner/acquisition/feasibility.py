"""How probable it is that a point meets every limit, and which points seen so far count as feasible. Needs torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .normal import log_mean_exp, log_ndtr

if TYPE_CHECKING:
    from .outlook import Limit, Outlook, Worth

PROBABLE = 0.5
"""The probability of meeting all limits from which a point that was seen counts as feasible."""


def log_feasibility(outlook: Outlook) -> Worth:
    """Log of the probability that all limits are met, as if they were independent of each other.

    Σ_limits log 1/S Σ_s Φ((mean_s - bound) / sd_s)                                    Gardner et al. 2014, sec. 3.1
    """

    def worth(x: Tensor) -> Tensor:
        return sum((_log_met(limit, x) for limit in outlook.limits), torch.zeros(len(x), dtype=x.dtype))

    return worth


def _log_met(limit: Limit, x: Tensor) -> Tensor:
    mean, sd = limit.belief.posterior(x)
    return log_mean_exp(log_ndtr((mean - limit.bound) / sd))


@torch.no_grad()
def feasible(outlook: Outlook) -> Tensor:
    """Which of the points (n,) of the first objective's belief meet all limits with probability `PROBABLE` or more."""
    return log_feasibility(outlook)(outlook.belief.points) >= math.log(PROBABLE)


@torch.no_grad()
def incumbent(outlook: Outlook) -> Tensor:
    """The largest posterior mean (S,) of the objective at the feasible points; -inf if there are none."""
    belief = outlook.belief
    if not outlook.limits:
        return belief.incumbent
    mean, _ = belief.posterior(belief.points)
    return torch.where(feasible(outlook), mean, -math.inf).amax(1)
