"""An ensemble of Gaussian processes for many parameters of which few may matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize

from . import gp
from .base import Evidence, FitFailed
from .kernels import Hyperparameters
from .mixture import Mixture

if TYPE_CHECKING:
    from ..numerics import Floats

MEMBERS = ((0.0, 1.0), (1.0, 2.0), (1.0, 3.0))
"""How much longer the length scales usually are than in `gp.log_prior`, and how unequal they may be, in logarithms:
from "every column matters somewhat" to "hardly a column matters".
"""

Prior = tuple["Floats", "Floats", "Floats"]
"""Centres (d + 3,), spreads (d + 3,) and bounds (d + 3, 2) of the logarithms θ of the hyperparameters."""

LIMITS = {"maxiter": 50, "ftol": 1e-6, "gtol": 1e-3}


@dataclass(frozen=True, slots=True)
class Sparse:
    """Three lean Gaussian processes, each the most probable one under a prior of its own, and none of them trusted.

    log ℓ_j ~ N(½ log d - ¼ + longer, spread²)

    With fewer observations than columns the data can't tell which columns matter; where members of the ensemble name
    different ones, their means disagree, and the search looks there. A cheap stand-in for the average over the sparse
    axis-aligned prior of Eriksson and Jankowiak 2021.
    """

    def fit(self, evidence: Evidence) -> Mixture:
        likelihood = gp.likelihood_of(gp.representative(evidence, gp.MOST_FITTED))
        remembered = evidence.start.get("members", ())
        beliefs: list[gp.GaussianBelief] = []
        for i, (longer, spread) in enumerate(MEMBERS):
            start = remembered[i] if i < len(remembered) else beliefs[-1].fit if beliefs else {}
            hyper = _most_probable(likelihood, _prior(evidence.X.shape[1], longer, spread), start)
            beliefs.append(gp.believe(evidence, hyper))
        return Mixture(tuple(beliefs), {"members": [dict(belief.fit) for belief in beliefs]})


def _most_probable(likelihood: gp.Likelihood, prior: Prior, start: Mapping[str, Any]) -> Hyperparameters:
    """From where another fit ended: an earlier one, or else that of the member before, which takes every column more
    seriously and so overlooks none. Without either, from the prior's median.
    """
    centre, spreads, bounds = prior

    def loss(theta: Floats) -> tuple[float, Floats]:
        value, slope = likelihood(Hyperparameters.at(theta))
        z = (theta - centre) / spreads
        return 0.5 * float(z @ z) - value, z / spreads - slope

    known = np.asarray(start.get("theta", ()), dtype=np.float64)
    at = np.clip(known if known.shape == centre.shape else centre, *bounds.T)
    best = minimize(loss, at, jac=True, method="L-BFGS-B", bounds=bounds, options=LIMITS)
    if not (math.isfinite(best.fun) and np.isfinite(best.x).all()):
        raise FitFailed("the likelihood is not finite near the prior")
    return Hyperparameters.at(best.x)


def _prior(d: int, longer: float, spread: float) -> Prior:
    """That of `gp.log_prior`, but for the length scales."""
    length = gp.LENGTH_CENTRE + 0.5 * math.log(max(d, 1)) + longer
    centre = [length] * d + [gp.JOINT_CENTRE, gp.ADDITIVE_CENTRE, gp.NOISE_CENTRE]
    spreads = [spread] * d + [gp.SIGNAL_SPREAD, gp.SIGNAL_SPREAD, gp.NOISE_SPREAD]
    signal = [gp.LEAST_SIGNAL, gp.MOST_SIGNAL]
    bounds = [[gp.SHORTEST, gp.LONGEST]] * d + [signal, signal, [gp.LEAST_NOISE, gp.MOST_NOISE]]
    return np.array(centre), np.array(spreads), np.log(bounds)
