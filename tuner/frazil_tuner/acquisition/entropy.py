"""Entropy search: what an observation tells of the optimum, its value or its place as well. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .draws import drawn_optima
from .lookahead import crossed, noise_variance
from .normal import log_density, log_h, log_mean_exp, log_ndtr

if TYPE_CHECKING:
    from .outlook import Outlook, Worth

LOWEST = -40.0
"""No drawn optimum is taken to lie further below a mean than so many deviations."""

LEAST_NOISE = 1e-6
"""The least noise variance: without any, seeing a drawn optimum would tell infinitely much."""


def max_value_entropy(outlook: Outlook) -> Worth:
    """Log of what an observation at x tells of the optimum's value f*, in nats: GIBBON's lower bound, for one point.

    log 1/D Σ_f* -½ log(1 - ρ² w(γ)),  γ = (f* - mean) / sd,  ρ² = sd² / (sd² + σ²)          Moss et al. 2021, eq. (10)

    Max-value entropy search (Wang and Jegelka 2017), with the truncated outcome replaced by a normal of its variance.
    """
    belief, highest = outlook.belief, drawn_optima(outlook).values[:, None]  # (D, 1)
    noise = _noise(outlook)

    def worth(x: Tensor) -> Tensor:
        mean, sd = belief.posterior(x)
        known = sd.square() / (sd.square() + noise)
        return log_mean_exp(log_information(known.log() + log_narrowing((highest - mean) / sd)))

    return worth


def joint_entropy(outlook: Outlook) -> Worth:
    """Log of what an observation at x tells of the optimum's place and value together, in nats, to second moments.

    log 1/D Σ_(x*, f*) ½ log(var + σ²) - ½ log(var* (1 - w(γ)) + σ²),  γ = (f* - mean*) / √var*

    where mean* and var* know that f(x*) = f*.       Hvarfner, Hutter and Nardi 2022, eq. (9); Tu et al. 2022, sec. 3.2
    """
    belief, optima = outlook.belief, drawn_optima(outlook)
    places, highest = optima.places, optima.values[:, None]  # (D, d), (D, 1)
    noise = _noise(outlook)

    def worth(x: Tensor) -> Tensor:
        at = crossed(belief, x, places)
        paths = len(places)
        covariance = _own(at.covariance.expand(paths, -1, -1))  # (D, m)
        variance_there = _own(at.variances.expand(paths, -1))[:, None]  # (D, 1)
        surprise = highest - _own(at.means.expand(paths, -1))[:, None]
        told = (covariance.square() / variance_there).minimum(at.variance * (1 - 1e-9))
        left = at.variance - told
        mean = at.mean + covariance / variance_there * surprise
        narrowed = left.log() + log_narrowing((highest - mean) / left.sqrt())
        gone = torch.logaddexp(told.clamp_min(1e-300).log(), narrowed)
        return log_mean_exp(log_information(gone - (at.variance + noise).log()))

    return worth


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
    return half + torch.where(log_gone > -20.0, (-torch.log(-torch.expm1(large))).log(), small + 0.5 * small.exp())
