"""Expected improvement, by logarithm, so that its gradient never vanishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from scipy.special import log_ndtr

from ..numerics import log_h as lean_log_h
from .feasibility import incumbent
from .normal import log_h, log_mean_exp

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ..numerics import Floats
    from .outlook import Outlook, Worth


def log_ei(outlook: Outlook) -> Worth:
    """Log of the expected improvement on the best feasible point, averaged over the S imagined outcomes.

    log 1/S Σ_s E[max(f_s - best_s, 0)],  f_s ~ N(mean_s, sd_s²)
    """
    if isinstance(outlook.belief, LeanBelief):
        return LogImprovement(outlook.belief, incumbent(outlook).numpy())
    return log_ei_of_any(outlook)


def log_ei_of_any(outlook: Outlook) -> Worth:
    """`log_ei` by automatic derivatives, whatever the belief."""
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


@runtime_checkable
class LeanBelief(Protocol):
    """A belief that knows its moments and their slopes without torch."""

    def moments(self, x: Floats) -> tuple[Floats, Floats]:
        """Means (S, m) and deviations (m,) at x (m, d)."""
        ...

    def sloped(self, x: Floats) -> tuple[Floats, Floats, Callable[[Floats, Floats], Floats]]:
        """The same, and the way back from slopes by means (S, m) and by deviations (m,) to slopes by x (m, d)."""
        ...

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, slots=True)
class LogImprovement:
    """The log of the expected improvement over `best` (S,) under a lean belief, with its slopes written out.

    With p_s the share of s in the mean, z = (mean_s - best_s) / sd and h' = Φ:
    ∂/∂mean_s = p_s Φ(z) / h(z) / sd,   ∂/∂sd = Σ_s p_s (1 - z Φ(z) / h(z)) / sd
    """

    belief: LeanBelief
    best: Floats

    def __call__(self, x: Tensor) -> Tensor:
        import torch

        mean, sd = self.belief.posterior(x)
        return log_mean_exp(log_expected_improvement(mean, sd, torch.from_numpy(self.best)[:, None]))

    def values(self, rows: Floats) -> Floats:
        mean, sd = self.belief.moments(rows)
        values, _ = _mean_gain(lean_log_h((mean - self.best[:, None]) / sd))
        return np.log(sd) + values

    def sloped(self, rows: Floats) -> tuple[Floats, Floats]:
        mean, sd, back = self.belief.sloped(rows)
        z = (mean - self.best[:, None]) / sd
        log_gain = lean_log_h(z)
        values, shares = _mean_gain(log_gain)
        slope = np.exp(log_ndtr(z) - log_gain)
        return np.log(sd) + values, back(shares * slope / sd, (shares * (1.0 - z * slope)).sum(0) / sd)


def _mean_gain(logs: Floats) -> tuple[Floats, Floats]:
    """Log of the mean of exp(logs) over the first axis (m,), and each one's share (S, m) in it."""
    top = logs.max(axis=0)
    gains = np.exp(logs - top)
    total = gains.sum(0)
    return top + np.log(total / len(logs)), gains / total
