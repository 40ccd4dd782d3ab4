"""How good points are believed to be: what recommendations follow. Needs torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .chebyshev import Compromise, posterior_means
from .feasibility import PROBABLE, log_feasibility

if TYPE_CHECKING:
    from .outlook import Outlook


@torch.no_grad()
def merit(outlook: Outlook, x: Tensor) -> Tensor:
    """The merit (m,) of each of the points x (m ≥ 1, d), in an order that recommendations follow.

    The posterior mean; of several objectives, the compromise with equal weights over x. What is probably infeasible
    comes below all that is not, the lower the less probable it is.
    """
    means = posterior_means(outlook, x).mean(0)  # (m, k)
    k = means.shape[1]
    equal = torch.full((k,), 1 / k, dtype=means.dtype)
    value = means[:, 0] if k == 1 else Compromise.over(means, equal).of(means)
    probable = log_feasibility(outlook)(x)
    return torch.where(probable >= math.log(PROBABLE), value, value.amin() + probable)
