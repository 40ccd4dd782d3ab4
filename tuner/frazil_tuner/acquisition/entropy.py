"""Entropy search: what an observation tells of the optimum, its value or its place as well. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .draws import drawn_optima
from .lookahead import crossed, noise_variance
from .normal import log_density, log_h, log_mean_exp, log_ndtr

if TYPE_CHECKING:
    from .lookahead import Crossed
    from .outlook import Outlook, Worth

LOWEST = -40.0
"""No drawn optimum is taken to lie further below a mean than so many deviations."""

LEAST_NOISE = 1e-6
"""The least noise variance: without any, seeing a drawn optimum would tell infinitely much."""


def max_value_entropy(outlook: Outlook) -> Worth:
    """Log of what an observation at x tells of the optimum's value, in nats, averaged over draws of f.

    Max-value entropy search (Wang and Jegelka 2017) by GIBBON's lower bound (Moss et al. 2021) for one point.
    """
    belief, noise = outlook.belief, _noise(outlook)
    highest = drawn_optima(outlook).values

    def worth(x: Tensor) -> Tensor:
        return log_mean_exp(log_told_of_value(*belief.posterior(x), noise, highest))

    return worth


def log_told_of_value(mean: Tensor, sd: Tensor, noise: Tensor, highest: Tensor) -> Tensor:
    """Log of the nats (D, m) that outcomes N(mean, sd² + σ²) tell if the function is nowhere above `highest` (D,).

        -½ log(1 - ρ² w(γ)),  γ = (f* - mean) / sd,  ρ² = sd² / (sd² + σ²)                   Moss et al. 2021, eq. (10)

    A truncated outcome's entropy is bounded by that of a normal of its variance. `mean` and `sd` are (D or 1, m).
    """
    share = 2 * sd.log() - (sd.square() + noise).log()
    return log_information(share + log_narrowing((highest[:, None] - mean) / sd))


def joint_entropy(outlook: Outlook) -> Worth:
    """Log of what an observation at x tells of the optimum's place and value together, in nats, averaged over draws
    of f.                                                       Hvarfner, Hutter and Nardi 2022; Tu et al. 2022
    """
    belief, optima, noise = outlook.belief, drawn_optima(outlook), _noise(outlook)

    def worth(x: Tensor) -> Tensor:
        return log_mean_exp(log_told_of_optimum(crossed(belief, x, optima.places), noise, optima.values))

    return worth


def log_told_of_optimum(at: Crossed, noise: Tensor, highest: Tensor) -> Tensor:
    """Log of the nats (D, m) that an outcome at x tells if optimum s is f* = `highest` (D,), at the s-th of D places.

        ½ log(var + σ²) - ½ log(var' (1 - w(γ)) + σ²),  γ = (f* - mean') / √var'          Hvarfner et al. 2022, eq. (9)

    where mean' and var' know that f(x*) = f*, and a truncated outcome counts as a normal of its variance.
    """
    count = len(highest)
    covariance = _own(at.covariance.expand(count, -1, -1))  # (D, m)
    variance_there = _own(at.variances.expand(count, -1))[:, None]  # (D, 1)
    rise = highest[:, None] - _own(at.means.expand(count, -1))[:, None]
    told = (covariance.square() / variance_there).minimum(at.variance * (1 - 1e-9))
    left = at.variance - told
    mean = at.mean + covariance / variance_there * rise
    narrowed = left.log() + log_narrowing((highest[:, None] - mean) / left.sqrt())
    gone = torch.logaddexp(told.clamp_min(1e-300).log(), narrowed)
    return log_information(gone - (at.variance + noise).log())


def _noise(outlook: Outlook) -> Tensor:
    return noise_variance(outlook, outlook.belief.points).clamp_min(LEAST_NOISE)


def _own(values: Tensor) -> Tensor:
    """Of values (D, ..., D), those of each drawn function at its own optimum (D, ...)."""
    return values.diagonal(dim1=0, dim2=-1).movedim(-1, 0)


def log_narrowing(z: Tensor) -> Tensor:
    """log w(z): the part of a standard normal's variance that goes when it is cut off above z ≥ `LOWEST`.

        w(z) = r (r + z),  r = φ(z) / Φ(z)                              so that log w = log φ + log h - 2 log Φ

    To 1e-12 for z ≥ -40, where 1 - w is 6e-4; below, as at -40. Gradient included.
    """
    z = z.clamp_min(LOWEST)
    return log_density(z) + log_h(z) - 2 * log_ndtr(z)


def log_information(log_gone: Tensor) -> Tensor:
    """log(-½ log(1 - g)), the nats gained where a part g < 1 of a variance goes, of log g; a series below e^-20."""
    log_gone = log_gone.clamp_max(-1e-12)
    large = log_gone.clamp_min(-20.0)
    small = log_gone.clamp_max(-20.0)
    half = -0.6931471805599453
    return half + torch.where(log_gone > -20.0, (-torch.log1p(-large.exp())).log(), small + 0.5 * small.exp())
