"""Expected improvement, by logarithm, so that its gradient never vanishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .feasibility import incumbent
from .normal import log_h, log_mean_exp

if TYPE_CHECKING:
    from torch import Tensor

    from .outlook import Outlook, Worth


def log_ei(outlook: Outlook) -> Worth:
    """Log of the expected improvement on the best feasible point, averaged over the S imagined outcomes.

    log 1/S Σ_s E[max(f_s - best_s, 0)],  f_s ~ N(mean_s, sd_s²)
    """
    belief = outlook.belief
    best = incumbent(outlook)[:, None]  # (S, 1)

    def worth(x: Tensor) -> Tensor:
        mean, sd = belief.posterior(x)
        return log_mean_exp(log_expected_improvement(mean, sd, best))

    return worth


def log_expected_improvement(mean: Tensor, sd: Tensor, best: Tensor) -> Tensor:
    """Log of the expected improvement over `best`, when larger is better; `mean`, `sd` > 0 and `best` broadcast.

        log E[max(f - best, 0)] = log sd + log h((mean - best) / sd),  f ~ N(mean, sd²)      Ament et al. 2023, eq. (9)

    Finite, with a usable gradient, wherever |mean - best| / sd ≤ 1e150 in float64.
    """
    return sd.log() + log_h((mean - best) / sd)
