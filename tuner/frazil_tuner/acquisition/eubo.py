"""Preferences: the expected utility of the best of two options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .draws import leaders
from .log_ei import log_expected_improvement
from .lookahead import LEAST_SLOPE
from .normal import log_mean_exp

if TYPE_CHECKING:
    from torch import Tensor

    from .outlook import Outlook, Worth


def eubo(outlook: Outlook) -> Worth:
    """Log of how much better than the favourite alone the better one of x and the favourite is expected to be.

    log 1/S Σ_s E[max(f_s(x), f_s(x°))] - E[f_s(x°)],  x° the best mean seen                   Lin et al. 2022, eq. (1)

    Both are uncertain and vary together, as is the way with utilities that only comparisons tell.
    """
    belief, favourite = outlook.belief, leaders(outlook, 1, optimism=0.0)

    def worth(x: Tensor) -> Tensor:
        mean, covariance = belief.joint(torch.stack([x, favourite.expand_as(x)], dim=1))
        apart = mean[..., 0] - mean[..., 1]
        variance = covariance[..., 0, 0] + covariance[..., 1, 1] - 2 * covariance[..., 0, 1]
        sd = variance.clamp_min(LEAST_SLOPE).sqrt()
        return log_mean_exp(log_expected_improvement(apart, sd, torch.zeros_like(apart)))

    return worth
