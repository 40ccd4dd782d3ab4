"""The upper confidence bound: optimism by a fixed number of deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .outlook import Outlook, Worth


def ucb(outlook: Outlook) -> Worth:
    """The upper confidence bound, in outcomes, averaged over the S imagined outcomes.

    1/S Σ_s mean_s + β sd_s                                                Srinivas et al. 2010, eq. (6), with β for √β
    """
    belief, beta = outlook.belief, outlook.beta

    def worth(x: Tensor) -> Tensor:
        mean, sd = belief.posterior(x)
        return (mean + beta * sd).mean(0)

    return worth
