"""Many objectives: one compromise after the other, each with weights of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.special import ndtri
from scipy.stats import qmc
from torch import Tensor

from ..pareto import reference_point
from .draws import chance
from .feasibility import feasible_points
from .modifiers import log_softplus
from .normal import log_mean_exp

if TYPE_CHECKING:
    from .outlook import Outlook, Worth

AUGMENTATION = 0.05
"""The share of the sum beside the minimum: ρ, as in ParEGO."""

SAMPLES = 256
"""Quasi-random outcomes over which the improvement of a compromise is averaged."""

SOFTNESS = 1e-3
"""The part of the objectives' ranges over which an improvement sets in, so that it has a slope everywhere."""


@dataclass(frozen=True, slots=True)
class Compromise:
    """One number for k objectives: the augmented Chebyshev scalarisation, larger is better.

        min_k w_k r_k + ρ Σ_k w_k r_k,  r_k = (f_k - reference_k) / extent_k                       Knowles 2006, eq. (2)

    `weights`, `reference` and `extent` are (k,).
    """

    weights: Tensor
    reference: Tensor
    extent: Tensor

    @classmethod
    def over(cls, values: Tensor, weights: Tensor) -> Compromise:
        """With the ranges from the reference point to the ideal one of outcomes (n, k)."""
        reference = torch.from_numpy(reference_point(values.numpy()))
        return cls(weights, reference, values.amax(0) - reference)

    def of(self, values: Tensor) -> Tensor:
        """The compromise (...) of outcomes (..., k)."""
        weighed = self.weights * (values - self.reference) / self.extent
        return weighed.amin(-1) + AUGMENTATION * weighed.sum(-1)


def chebyshev(outlook: Outlook) -> Worth:
    """Log of the expected improvement of a compromise with random weights on that of the best feasible mean seen.

    log 1/N Σ_n τ log(1 + exp((s(f_n) - best) / τ)),  f_n = mean + sd z_n                Knowles 2006; Ament et al. 2023

    Each call draws weights evenly from the simplex, so that the points of a batch, and one batch after another, go for
    different compromises. The N quasi-random samples are dealt out to the imagined outcomes.
    """
    beliefs, k = outlook.objectives, len(outlook.objectives)
    seen = posterior_means(outlook, feasible_points(outlook))  # (S, n, k)
    weights = -torch.rand(k, generator=outlook.rng, dtype=torch.float64).clamp_min(1e-12).log()
    compromise = Compromise.over(seen.mean(0), weights / weights.sum())
    best = compromise.of(seen).amax(1)  # (S,)
    dealt = torch.arange(SAMPLES) * len(best) // SAMPLES  # in runs: each run of Sobol points is spread evenly
    normal = _normal(k, outlook.rng)[:, None]  # (N, 1, k)

    def worth(x: Tensor) -> Tensor:
        means, sds = zip(*(belief.posterior(x) for belief in beliefs), strict=True)
        mean, sd = (torch.stack(parts, dim=-1).expand(len(best), -1, -1)[dealt] for parts in (means, sds))  # (N, m, k)
        above = compromise.of(mean + sd * normal) - best[dealt, None]
        return log_mean_exp(log_softplus(above / SOFTNESS)) + math.log(SOFTNESS)

    return worth


@torch.no_grad()
def posterior_means(outlook: Outlook, x: Tensor) -> Tensor:
    """Posterior means (S, m, k) of all objectives."""
    return torch.stack([belief.posterior(x)[0] for belief in outlook.objectives], dim=-1)


def _normal(k: int, rng: torch.Generator) -> Tensor:
    """Quasi-random standard normals (SAMPLES, k)."""
    uniform = qmc.Sobol(k, scramble=True, rng=chance(rng)).random(SAMPLES)
    return torch.from_numpy(ndtri(uniform.clip(1e-9, 1 - 1e-9)))
