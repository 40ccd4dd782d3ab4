"""Gaussian processes over points and the fidelity together: kernels that say how a cheap run errs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import Tensor

from ..general import NOISE, SIGNALS, ExactBelief, Model, Prior, Values, gaps_between, length_prior, mixed
from .base import fit_fidelities

if TYPE_CHECKING:
    from ..base import Evidence

Shares = Callable[[Tensor, Tensor, Values], Tensor]
"""Covariances (..., m, n) of errors at shares (..., m) and (..., n) of the resource, from 0 to 1."""


def linear_truncated(s: Tensor, t: Tensor, values: Values) -> Tensor:
    """(1 - s)(1 - t)(1 + w s t).              cf. (1 - s)(1 - t)(1 + s t)^p in BoTorch's LinearTruncatedFidelityKernel

    An error that grows about linearly with what is left out, and is gone at the target. Learned is the weight w of the
    curved part, not the power p: between whole numbers (1 + s t)^p is no covariance.
    """
    s, t = s[..., :, None], t[..., None, :]
    return (1 - s) * (1 - t) * (1 + values["curved"] * s * t)


def downsampling(s: Tensor, t: Tensor, values: Values) -> Tensor:
    """c + (1 - s)^(1 + δ) (1 - t)^(1 + δ).                           Klein et al. 2017; Wu et al. 2020, sec. 5.1"""
    exponent = 1 + values["power"]
    left, right = (1 - s).clamp_min(1e-12), (1 - t).clamp_min(1e-12)
    return values["weight"] + left[..., :, None] ** exponent * right[..., None, :] ** exponent


def exponential_decay(s: Tensor, t: Tensor, values: Values) -> Tensor:
    """w + (β / (s + t + β))^α.              Swersky, Snoek and Adams 2014, eq. (6), with a weight of what remains"""
    decay = values["scale"] / (s[..., :, None] + t[..., None, :] + values["scale"])
    return values["weight"] + decay ** values["power"]


OFFSET = Prior("offset", 1, 0.0, 1.5)
"""Variance of an error that all points have in common: cheap runs are mostly worse, or better, all over the space."""

CURVED = Prior("curved", 1, 0.0, 1.0)
POWER = Prior("power", 1, -0.25, 0.75)
WEIGHT = Prior("weight", 1, 0.0, 1.0)
SCALE = Prior("scale", 1, -1.0, 1.0)

PRODUCTS: Mapping[str, tuple[Shares, tuple[Prior, ...]]] = MappingProxyType(
    {
        "downsampling": (downsampling, (POWER, WEIGHT)),
        "exponential_decay": (exponential_decay, (POWER, WEIGHT, SCALE)),
    }
)
"""Kernels of the fidelity that multiply the one over points, with the priors on their hyperparameters."""


@dataclass(frozen=True, slots=True)
class LinearTruncated:
    """k((x, s), (x', t)) = k₀(x, x') + (1 - s)(1 - t)(1 + w s t) (k₁(x, x') + b)

    k₀ is the function at the target; k₁, with scales of its own, is how a cheap run errs from point to point, and b how
    all do.
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        unordered = evidence.unordered[:-1]
        d = len(unordered)

        def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
            gaps = gaps_between(a[..., :d], b[..., :d], unordered)
            error = {name: values[f"error_{name}"] for name in ("lengths", "joint", "additive")}
            both = mixed(gaps, error, unordered) + values["offset"]
            return mixed(gaps, values, unordered) + linear_truncated(a[..., d], b[..., d], values) * both

        own = length_prior(d)
        errors = (
            Prior("error_lengths", d, own.centre, own.spread),
            Prior("error_joint", 1, -2.0, 1.5),
            Prior("error_additive", 1, -3.0, 1.5),
        )
        return fit_fidelities(Model(kernel, (own, *SIGNALS, *errors, OFFSET, CURVED, NOISE), _as_they_are), evidence)


@dataclass(frozen=True, slots=True)
class Product:
    """k((x, s), (x', t)) = k(x, x') c(s, t) + (1 - s)(1 - t) b

    c is one of `PRODUCTS`: what a fidelity adds varies over the space as the function itself does.
    """

    name: str

    def fit(self, evidence: Evidence) -> ExactBelief:
        unordered = evidence.unordered[:-1]
        d = len(unordered)
        shares, priors = PRODUCTS[self.name]

        def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
            s, t = a[..., d], b[..., d]
            points = mixed(gaps_between(a[..., :d], b[..., :d], unordered), values, unordered)
            common = (1 - s)[..., :, None] * (1 - t)[..., None, :] * values["offset"]
            return points * shares(s, t, values) + common

        model = Model(kernel, (length_prior(d), *SIGNALS, OFFSET, *priors, NOISE), _as_they_are)
        return fit_fidelities(model, evidence)


def _as_they_are(x: Tensor) -> Tensor:
    return x
