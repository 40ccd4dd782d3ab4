"""How probable it is that a point meets every limit, and which points seen so far count as feasible. Needs torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
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


def attainable(outlook: Outlook) -> Tensor:
    """The points (n, d) seen of the first objective, moved to what the space holds: a context, a disabled value."""
    points = outlook.belief.points
    return torch.from_numpy(outlook.space.snap(points.numpy())) if outlook.space.kept else points


@torch.no_grad()
def feasible_points(outlook: Outlook) -> Tensor:
    """Those of the attainable points (n, d) that meet all limits with probability `PROBABLE` or more, once each."""
    points = attainable(outlook)
    return different(points[log_feasibility(outlook)(points) >= math.log(PROBABLE)])


@torch.no_grad()
def incumbent(outlook: Outlook) -> Tensor:
    """The largest posterior mean (S,) of the objective at the feasible points; there must be one."""
    if not (outlook.limits or outlook.space.kept):
        return outlook.belief.incumbent
    mean, _ = outlook.belief.posterior(feasible_points(outlook))
    return mean.amax(1)


def different(x: Tensor) -> Tensor:
    """The rows of x (m, d) without repeats."""
    return torch.from_numpy(np.unique(x.numpy(), axis=0))
