"""On which scale outcomes are explained best: a monotone map of them is chosen by what it makes likely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .gp import MOST_FITTED, likelihood_of, most_probable, whitened
from .selection import best_and_spread, rows_of

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Evidence

STRAIGHT = 1.0
"""What the first scale is favoured by, in log evidence: a bend has to earn its place."""

ROUNDS = 2
"""Alternations of fitting on a scale and choosing a scale under that fit."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The index of the chosen map, and the hyperparameters of the lean Gaussian process to start from: `settled` if
    they were fitted to all outcomes under that map.
    """

    index: int
    theta: Floats
    settled: bool


def suited(evidence: Evidence, outcomes: Floats, log_slopes: Floats, first: int, start: Mapping[str, Any]) -> Scale:
    """Which of the maps that turn the readings into `outcomes` (J, n) a Gaussian process finds most likely.

        log p_J = -n/2 log(r_Jᵀ C⁻¹ r_J / n) + Σ_n log_slopes_J,    r_J = outcomes_J - μ_J

    C is the covariance fitted under one map, up to its size, which suits each; `log_slopes` (J, n) are the logarithms
    of the maps' slopes. The fit begins with the map `first`.           Snelson, Rasmussen and Ghahramani 2003, eq. (4)
    """
    rows = best_and_spread(evidence.X, evidence.y, min(len(evidence.y), MOST_FITTED))
    kept, outcomes = rows_of(evidence, rows), outcomes[:, rows.numpy()]
    volumes = log_slopes[:, rows.numpy()].sum(1) + _favour(len(outcomes))
    index, theta, settled = first, start.get("theta"), False
    for _ in range(ROUNDS):
        likelihood = likelihood_of(replace(kept, y=torch.from_numpy(outcomes[index])))
        hyper = most_probable(likelihood, evidence.X.shape[1], {**start, "theta": theta})
        theta = hyper.theta
        chosen = int(np.argmax(_log_evidence(likelihood.factor(hyper), outcomes) + volumes))
        settled = chosen == index
        if settled:
            break
        index = chosen
    return Scale(index, hyper.theta, settled)


def _log_evidence(factor: Floats, outcomes: Floats) -> Floats:
    """-n/2 log(rᵀ C⁻¹ r / n) (J,), each with its most likely mean."""
    n = outcomes.shape[1]
    white = whitened(factor, np.concatenate([outcomes, np.ones((1, n))]).T)
    one, columns = white[:, -1:], white[:, :-1]
    residuals = columns - one * ((one * columns).sum(0) / (one * one).sum())
    evidence: Floats = -0.5 * n * np.log(np.maximum(np.square(residuals).sum(0) / n, 1e-300))
    return evidence


def _favour(count: int) -> Floats:
    return np.array([STRAIGHT, *[0.0] * (count - 1)])
