"""What weighs in beside the objectives: limits, cost, the user's prior. Each leaves the worth alone if it is absent.

A worth that is the logarithm of a gain takes them as factors of the gain, by their logarithms: gain × probability of
feasibility ÷ cost × prior. A worth in outcomes is first made such a logarithm by `log_gain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .feasibility import incumbent, log_feasibility

if TYPE_CHECKING:
    from collections.abc import Callable

    from .outlook import Outlook, Worth

PRIOR_WEIGHT = 10.0
"""The observations after which data weigh as much as the user's prior: β in Hvarfner et al. 2022."""

SOFTNESS = 0.01
"""Outcomes around the incumbent over which `log_gain` turns from a logarithm into a straight line."""


def if_feasible(worth: Worth, outlook: Outlook) -> Worth:
    """Times the probability that every limit is met.                                  Gardner et al. 2014, eq. (6)"""
    if not outlook.limits:
        return worth
    probable = log_feasibility(outlook)
    return lambda x: worth(x) + probable(x)


def per_cost(worth: Worth, outlook: Outlook) -> Worth:
    """Per unit of cost: minus the expected logarithm of the cost.      Snoek, Larochelle and Adams 2012, sec. 3.2"""
    cost = outlook.cost
    if cost is None:
        return worth
    return lambda x: worth(x) - outlook.cost_scale * cost.posterior(x)[0].mean(0)


def as_expected(worth: Worth, outlook: Outlook) -> Worth:
    """Times the user's prior on the optimum, which fades: plus β/n · log prior.      Hvarfner et al. 2022, eq. (6)"""
    prior = outlook.prior
    if prior is None:
        return worth
    weight = PRIOR_WEIGHT / max(outlook.observations, 1)
    return lambda x: worth(x) + weight * prior(x)


MODIFIERS: tuple[Callable[[Worth, Outlook], Worth], ...] = (if_feasible, per_cost, as_expected)


def is_weighed(outlook: Outlook) -> bool:
    """Whether any modifier has its part."""
    return bool(outlook.limits) or outlook.cost is not None or outlook.prior is not None


def log_gain(worth: Worth, outlook: Outlook) -> Worth:
    """A worth in outcomes as the log of its gain over the best feasible point b, which orders points as it did.

    log softplus((worth - b) / τ):  log of the gain well above b, the loss in units of τ = `SOFTNESS` well below
    """
    best = incumbent(outlook).mean()
    return lambda x: log_softplus((worth(x) - best) / SOFTNESS)


def log_softplus(z: Tensor) -> Tensor:
    """log log(1 + exp z), to 1e-12, gradient included: below -30 that is z."""
    above = z.clamp_min(-30.0)
    return torch.where(z > -30.0, torch.nn.functional.softplus(above, threshold=40.0).log(), z)
