"""A Gaussian process for many parameters of which few may matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize

from ..numerics import FitFailed
from . import gp
from .base import Evidence
from .kernels import Hyperparameters

if TYPE_CHECKING:
    from ..numerics import Floats

LENGTH_CENTRE, LENGTH_SPREAD = 0.4, 1.3
"""log ℓ ~ N(LENGTH_CENTRE, LENGTH_SPREAD²), however many columns there are."""

NOISE_SPREAD = 2.0
"""Narrower than in `gp`: among many columns noise is too easy an explanation of what a few of them do."""

LIMITS = {"maxiter": 50, "ftol": 1e-6, "gtol": 1e-3}


@dataclass(frozen=True, slots=True)
class Sparse:
    """The lean Gaussian process under a prior for unequal columns: any of them may matter much, until the data say no.

    Priors that call most columns flat from the start, such as the sparse axis-aligned one of Eriksson and Jankowiak
    2021 at its mode, or that lengthen all scales with the number of columns, foretell as well, but search worse: with
    fewer observations than columns they are sure too early, and leave columns unexplored that they know nothing of.
    """

    def fit(self, evidence: Evidence) -> gp.GaussianBelief:
        likelihood = gp.likelihood_of(gp.representative(evidence, gp.MOST_FITTED))
        return gp.believe(evidence, _most_probable(likelihood, evidence.X.shape[1], evidence.start))


def _most_probable(likelihood: gp.Likelihood, d: int, start: Mapping[str, Any]) -> Hyperparameters:
    """From where an earlier fit ended, or from the prior's median."""
    centre = np.array([LENGTH_CENTRE] * d + [gp.JOINT_CENTRE, gp.ADDITIVE_CENTRE, gp.NOISE_CENTRE])
    spread = np.array([LENGTH_SPREAD] * d + [gp.SIGNAL_SPREAD, gp.SIGNAL_SPREAD, NOISE_SPREAD])
    signal = [gp.LEAST_SIGNAL, gp.MOST_SIGNAL]
    bounds = np.log([[gp.SHORTEST, gp.LONGEST]] * d + [signal, signal, [gp.LEAST_NOISE, gp.MOST_NOISE]])

    def loss(theta: Floats) -> tuple[float, Floats]:
        value, slope = likelihood(Hyperparameters.at(theta))
        z = (theta - centre) / spread
        return 0.5 * float(z @ z) - value, z / spread - slope

    known = np.asarray(start.get("theta", ()), dtype=np.float64)
    at = np.clip(known if known.shape == centre.shape else centre, *bounds.T)
    best = minimize(loss, at, jac=True, method="L-BFGS-B", bounds=bounds, options=LIMITS)
    if not (math.isfinite(best.fun) and np.isfinite(best.x).all()):
        raise FitFailed("the likelihood is not finite near the prior")
    return Hyperparameters.at(best.x)
