"""What a run at less than the full resource is worth, per cost. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..surrogates.fidelity import at
from .draws import drawn_optima, leaders
from .entropy import LEAST_NOISE, log_information, log_narrowing
from .feasibility import different, feasible_points, incumbent
from .knowledge import SEEN
from .log_ei import log_expected_improvement
from .lookahead import LEAST_SLOPE, NOTHING, crossed, log_expected_rise, noise_variance
from .modifiers import MODIFIERS
from .normal import log_mean_exp

if TYPE_CHECKING:
    from ..surrogates import Belief
    from .outlook import Outlook, Worth

AtShare = Callable[[Tensor, float], Tensor]
"""A number (m,) for each run of the points (m, d) at a share of the resource, differentiable like a worth."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What may be looked at where fidelity is a choice: the outlook at the `target`, the belief over points and
    fidelities, rows (n, d + 1) with the share in the last column, behind its objective, and the logarithm of the
    price of a run.
    """

    target: Outlook
    belief: Belief
    price: AtShare


@dataclass(frozen=True, slots=True)
class Seen:
    """The belief at points x (m, d) at the target, and what an observation there at another fidelity has to do with it.

    `mean` (S, m), `variance` (S or 1, m) and `covariance` (S or 1, m) with the observation, whose own variance with its
    noise is `observed` (S or 1, m).
    """

    mean: Tensor
    variance: Tensor
    covariance: Tensor
    observed: Tensor

    @property
    def log_share(self) -> Tensor:
        """log ρ² (S or 1, m): the part of the target's variance that goes with the observation."""
        share = self.covariance.square() / (self.variance * self.observed)
        return share.clamp(1e-30, 1.0).log()


def seen_at(belief: Belief, x: Tensor, share: float, noise: Tensor) -> Seen:
    """How an observation of noise variance () at x (m, d) at a share bears on the target there."""
    mean, covariance = belief.joint(torch.stack([at(x, share), at(x, 1.0)], dim=1))
    variances = covariance.diagonal(dim1=-2, dim2=-1).clamp_min(LEAST_SLOPE)
    return Seen(mean[..., 1], variances[..., 1], covariance[..., 0, 1], variances[..., 0] + noise)


def log_ei_through(prospect: Prospect) -> AtShare:
    """Log of the expected improvement at the target, times the nats that the observation tells of the value there.

    log 1/S Σ_s E[max(f_s - best_s, 0)] · -½ log(1 - ρ_s²),  f_s ~ N(mean_s, sd_s²)

    The first factor chooses the point and the second the fidelity.                      cf. Huang et al. 2006, eq. (14)
    """
    best, noise = incumbent(prospect.target)[:, None], _noise(prospect)

    def gain(x: Tensor, share: float) -> Tensor:
        seen = seen_at(prospect.belief, x, share, noise)
        improvement = log_expected_improvement(seen.mean, seen.variance.sqrt(), best)
        return log_mean_exp(improvement + log_information(seen.log_share))

    return gain


def knowledge_gradient_through(prospect: Prospect) -> AtShare:
    """Log of the expected rise of the largest posterior mean at the target, if x were observed at a share.

        log 1/S Σ_s E[max_{z ∈ A ∪ {x}} mean'_s(z, 1)] - max_{z ∈ A} mean_s(z, 1)
        mean'(z, 1) = mean(z, 1) + Z cov((z, 1), (x, s)) / √(var(x, s) + σ²),  Z ~ N(0, 1)      Wu et al. 2020, eq. (3)

    A holds the optima of functions drawn at the target and the best points seen; the mean is taken in closed form.
    """
    belief, noise, rivals = prospect.belief, _noise(prospect), _rivals(prospect.target)

    def gain(x: Tensor, share: float) -> Tensor:
        seen = seen_at(belief, x, share, noise)
        among = crossed(belief, at(x, share), at(rivals, 1.0))
        moves = torch.cat([among.covariance, seen.covariance[..., None]], dim=-1) / seen.observed.sqrt()[..., None]
        heights = torch.cat(
            [among.means[:, None].expand(-1, len(x), -1), seen.mean[..., None]], dim=-1
        )  # (S, m, p + 1)
        rise = log_expected_rise(heights, moves.expand_as(heights))
        return log_mean_exp(torch.logaddexp(rise, _log_above(seen.mean, among.means.amax(-1, keepdim=True))))

    return gain


def max_value_entropy_through(prospect: Prospect) -> AtShare:
    """Log of what an observation at a share tells of the largest value at the target, in nats, averaged over draws.

        -½ log(1 - ρ² w(γ)),  γ = (f* - mean) / sd at the target

    Takeno et al. 2020, with the bound of Moss et al. 2021, eq. (10), in place of the integral in their eq. (8).
    """
    noise, highest = _noise(prospect), drawn_optima(prospect.target).values

    def gain(x: Tensor, share: float) -> Tensor:
        seen = seen_at(prospect.belief, x, share, noise)
        narrowed = log_narrowing((highest[:, None] - seen.mean) / seen.variance.sqrt())
        return log_mean_exp(log_information(seen.log_share + narrowed))

    return gain


FIDELITY_ACQUISITIONS: Mapping[str, Callable[[Prospect], AtShare]] = MappingProxyType(
    {
        "log_ei": log_ei_through,
        "knowledge_gradient": knowledge_gradient_through,
        "max_value_entropy": max_value_entropy_through,
    }
)
"""Every acquisition of several fidelities by the name that policies give it."""


def worth_per_cost(name: str, prospect: Prospect) -> AtShare:
    """The log of the gain from a run per cost, with the outlook's modifiers; one draw of chance for all fidelities.

    As long as no point seen is feasible, nothing but the modifiers and the price count.
    """
    modified: Worth = _nothing
    for modify in MODIFIERS:
        modified = modify(modified, prospect.target)
    gain = FIDELITY_ACQUISITIONS[name](prospect) if len(feasible_points(prospect.target)) else _no_gain
    return lambda x, share: gain(x, share) + modified(x) - prospect.price(x, share)


def _nothing(x: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=x.dtype)


def _no_gain(x: Tensor, share: float) -> Tensor:
    return _nothing(x)


def _rivals(target: Outlook) -> Tensor:
    """The points (p, d) that may come out best at the target."""
    return different(torch.cat([leaders(target, SEEN), drawn_optima(target).places]))


def _noise(prospect: Prospect) -> Tensor:
    """The variance () of the noise in an observation, whatever its fidelity."""
    anywhere = replace(prospect.target, objectives=(prospect.belief,))
    return noise_variance(anywhere, prospect.belief.points).clamp_min(LEAST_NOISE)


def _log_above(mean: Tensor, best: Tensor) -> Tensor:
    """log(mean - best), `NOTHING` where that is not positive."""
    above = mean - best
    positive = above > LEAST_SLOPE
    return torch.where(positive, torch.where(positive, above, 1.0).log(), NOTHING)
