"""A Gaussian process whose noise depends on the context: some machines, hours or data sets are noisier than others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Evidence
from .general import NOISE, SIGNALS, ExactBelief, Model, Prior, Values, fit_outcomes, gaps_between, length_prior, mixed

TILT_SPREAD, LEVEL_SPREAD = 2.0, 1.5
"""Deviations, in logarithms of the noise variance, from one end of a column to the other and among levels."""


@dataclass(frozen=True, slots=True)
class Heteroscedastic:
    """The exact Gaussian process with a noise variance that is log-linear in the columns on which it may depend.

    log σ²(x) = log σ² + Σ_ordered t_j (x_j - ½) + Σ_unordered l_j[x_j],   l_j[level never seen] = 0
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        return fit_outcomes(_model(evidence), evidence)


def _model(evidence: Evidence) -> Model:
    unordered = evidence.unordered
    varies = torch.zeros_like(unordered) if evidence.varies is None else evidence.varies
    ordered = (varies & ~unordered).nonzero()[:, 0]
    levels = {j: torch.unique(evidence.X[:, j]) for j in (varies & unordered).nonzero()[:, 0].tolist()}

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return mixed(gaps_between(a, b, unordered), values, unordered)

    def noise(x: Tensor, values: Values) -> Tensor:
        log = values["noise"].log() + (x[:, ordered] - 0.5) @ values["tilt"]
        for j, seen in levels.items():
            log = log + (x[:, j, None] == seen).to(x.dtype) @ values[f"level_{j}"]
        return log.exp()

    priors = [length_prior(len(unordered)), *SIGNALS, NOISE]
    priors += [Prior("tilt", len(ordered), 0.0, TILT_SPREAD, positive=False)]
    priors += [Prior(f"level_{j}", len(seen), 0.0, LEVEL_SPREAD, positive=False) for j, seen in levels.items()]
    return Model(kernel, tuple(priors), lambda x: x, noise)
