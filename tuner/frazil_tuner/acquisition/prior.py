"""The user's prior on the optimum, as a worth. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..space import Space
    from .outlook import Worth


def log_density(space: Space) -> Worth:
    """The log density of the optimum that the priors of a space make; 0 everywhere where there are none.

    As `Prior.log_density` says; differentiable in ordered columns.
    """
    prior = space.prior
    if prior is None:
        return lambda x: torch.zeros(len(x), dtype=x.dtype)
    centre, sd = torch.from_numpy(prior.centre), torch.from_numpy(prior.sd)

    def worth(x: Tensor) -> Tensor:
        rows = x.detach().numpy()
        active = space.active(rows)
        bell = torch.where(torch.from_numpy(active), -0.5 * ((x - centre) / sd).square(), 0.0).sum(1)
        rest = torch.from_numpy(prior.log_density(rows, active)) - bell.detach()  # levels and norms have no slope
        return bell + rest

    return worth
