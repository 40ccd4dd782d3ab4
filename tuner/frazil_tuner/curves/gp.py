"""The freeze-thaw Gaussian process: values at the end and courses towards them under a process over configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

from ..numerics import FitFailed
from .blocks import Likelihood, Observed, Posterior
from .divergence import Divergence
from .kernel import Hyper, Own, correlation, gaps
from .predictive import Mixture
from .scale import Scale, suited

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves, Integers, Where

LENGTH = (0.05, 1.0)
MIXING = (
    (-0.15, 0.8),
    *((-0.1, 0.4), (-1.4, 1.0)),
    *((-0.1, 0.4), (0.2, 0.4), (-2.5, 0.8)),
    *((-0.1, 0.35), (0.0, 0.4), (0.1, 0.35), (-3.3, 1.0)),
)
OWNS = ((-2.9, 0.9), (-3.0, 0.9), (0.3, 0.5), (-1.8, 0.7), (-0.45, 0.6), (0.6, 1.0), (-5.0, 1.6), (-1.5, 1.5))
"""Centre and spread of θ under the prior: normal, and independent. Of log ℓ - ½ log d + ¼; of L, row by row; of what a
curve does by itself. Centres are means of what was learned on all tables of LCBench and TaskSet, both counting alike;
spreads are wider than the deviation among them.
"""

FARTHEST = 4.0
"""Bounds of θ in spreads from its centre."""

WEIGHTS, FACTORS = np.array([0.60, 0.30, 0.10]), np.array([0.7, 1.6, 6.0])
"""A deviation is itself uncertain: it is one of these multiples of what the process says, with these probabilities."""

RESOLUTION = 5e-3
"""The deviation, in those of the scores, of the worst score that a diverged curve has."""

LEAST_VARIANCE = 1e-9


@dataclass(frozen=True, slots=True)
class FreezeThaw:
    """Curves are sums of few functions of time, with weights that are Gaussian processes over configurations, and of a
    process of their own; both are learned. Diverging curves are a part apart.
    """

    def fit(self, curves: Curves, start: Mapping[str, Any] | None = None) -> FreezeThawBelief:
        scale = suited(curves)
        likelihood = Likelihood(Observed.of(curves, scale.apply(curves.score)))
        return FreezeThawBelief(curves, scale, likelihood, most_probable(likelihood, start or {}))


def prior(d: int) -> tuple[Floats, Floats]:
    """Centre and spread (len(θ),) of the hyperparameters."""
    centre = np.array([LENGTH[0] + 0.5 * math.log(max(d, 1)) - 0.25] * d + [mean for mean, _ in (*MIXING, *OWNS)])
    return centre, np.array([LENGTH[1]] * d + [sd for _, sd in (*MIXING, *OWNS)])


def most_probable(likelihood: Likelihood, start: Mapping[str, Any]) -> Hyper:
    """The hyperparameters that maximise likelihood times prior, from where an earlier fit ended, if there was one; and
    where it says that they are "settled", those of the earlier fit themselves.
    """
    centre, spread = prior(likelihood.observed.x.shape[1])

    def loss(z: Floats) -> tuple[float, Floats]:
        try:
            value, slope = likelihood(Hyper(centre + spread * z))
        except FitFailed:
            return math.inf, np.zeros_like(z)
        return 0.5 * float(z @ z) - value, z - spread * slope

    known = start.get("theta")
    begin = np.zeros_like(centre)
    if known is not None and len(known) == len(centre):
        begin = np.clip((np.asarray(known, dtype=np.float64) - centre) / spread, -FARTHEST, FARTHEST)
    if not likelihood.count or (start.get("settled") and begin.any()):
        return Hyper(centre + spread * begin)
    limits = {"maxiter": 20 if begin.any() else 60, "ftol": 1e-5, "gtol": 1e-2}
    found = minimize(
        loss, begin, jac=True, method="L-BFGS-B", bounds=[(-FARTHEST, FARTHEST)] * len(begin), options=limits
    )
    if not (math.isfinite(found.fun) and np.isfinite(found.x).all()):
        raise FitFailed("the likelihood is not finite anywhere near the prior")
    return Hyper(centre + spread * found.x)


@dataclass(frozen=True)
class FreezeThawBelief:
    """The posterior under given hyperparameters."""

    curves: Curves
    scale: Scale
    likelihood: Likelihood
    hyper: Hyper

    @cached_property
    def posterior(self) -> Posterior:
        return self.likelihood.posterior(self.hyper)

    @cached_property
    def divergence(self) -> Divergence:
        return Divergence.of(self.curves, self.scale.down(self.curves.score))

    @property
    def fit(self) -> Mapping[str, Any]:
        return {"theta": [round(float(value), 4) for value in self.hyper.theta]}

    def given(self, where: Where, score: Floats) -> FreezeThawBelief:
        curves = self.curves.extended(where, score)
        likelihood = Likelihood(Observed.of(curves, self.scale.apply(curves.score)))
        return FreezeThawBelief(curves, self.scale, likelihood, self.hyper)

    def at(self, where: Where, *, noisy: bool = True) -> Mixture:
        view = _View.of(self, where)
        mean, sd, spread = self.scale.invert(view.mean), view.sd(noisy), self.scale.spread
        down = view.down
        weights = np.concatenate([np.outer(WEIGHTS, 1 - down), down[None]])
        means = np.stack([*[mean] * len(WEIGHTS), np.full(len(mean), self.scale.floor)])
        sds = np.concatenate([np.outer(FACTORS, sd), np.full((1, len(mean)), RESOLUTION)])
        return Mixture(weights, means, sds * spread)

    def draws(self, where: Where, count: int, rng: np.random.Generator) -> Floats:
        """A curve that is down in a draw is so at all its places, as far as each of them is likely to be."""
        view = _View.of(self, where)
        sd = view.sd(noisy=True)
        jitter = 1e-6 * np.square(sd)
        normal = rng.standard_normal((count, len(sd))) @ np.linalg.cholesky(view.covariance + np.diag(jitter)).T
        curve = np.unique(view.curve, return_inverse=True)[1].ravel()
        curves = curve.max(initial=-1) + 1
        wide = rng.choice(FACTORS, p=WEIGHTS, size=(count, curves))[:, curve]
        fallen = rng.random((count, curves))[:, curve] < view.down
        worst = self.scale.floor + RESOLUTION * self.scale.spread * normal / sd
        return np.where(fallen, worst, self.scale.invert(view.mean + wide * normal))


@dataclass(frozen=True)
class _View:
    """What m places have to do with the data and with each other, in the model's units.

    `curve` (m,) numbers their curves; `rho` (m, n); `k` (m, rows) covariances with the rows; `own` (m, M) with what the
    curve itself was seen to do, and `own_rows` (m, J) with that through its rows; `functions` (m, J); `trend` of the
    steps seen of the curve and the one asked for.
    """

    belief: FreezeThawBelief
    where: Where
    curve: Integers
    rho: Floats
    functions: Floats
    k: Floats
    own: Floats
    own_rows: Floats
    trend: Own

    @classmethod
    def of(cls, belief: FreezeThawBelief, where: Where) -> _View:
        seen, posterior, hyper, owner = belief.likelihood.observed, belief.posterior, belief.hyper, where.owner
        rho, _ = correlation(gaps(where.x, seen.x, seen.unordered), hyper.lengths, seen.unordered)
        functions = seen.course(where.step.astype(np.float64))
        k = (functions @ hyper.mixing) @ (posterior.rows @ hyper.mixing).T
        k *= (1.0 + rho)[:, posterior.owner]
        steps = np.concatenate([seen.step[owner], where.step[:, None].astype(np.float64)], axis=1)
        trend = Own.at(hyper, steps, seen.course.last, seen.activity[owner])
        own = trend.covariance()[:, -1, :-1] * seen.seen[owner]
        own_rows = np.einsum("mk,mkr->mr", own, posterior.pass_[owner])
        slot = posterior.slot[owner]
        place, which = np.nonzero(slot >= 0)
        k[place, slot[place, which]] += own_rows[place, which]
        return cls(belief, where, where.named(belief.curves.size)[1], rho[:, :-1], functions, k, own, own_rows, trend)

    @cached_property
    def mean(self) -> Floats:
        posterior, owner = self.belief.posterior, self.where.owner
        alone = np.einsum("mk,mk->m", self.own, posterior.solved[owner])
        mean: Floats = self.k @ posterior.alpha + alone - np.einsum("mr,mr->m", self.own_rows, posterior.y[owner])
        return mean

    def sd(self, noisy: bool) -> Floats:
        known = np.square(self._half).sum(0) + np.einsum("mk,mk->m", self._through, self.own)
        known -= np.square(self.own_rows).sum(1)
        prior = 2.0 * np.square(self.functions @ self.belief.hyper.mixing).sum(1) + self.trend.covariance()[:, -1, -1]
        noise = self.trend.noise()[:, -1] if noisy else 0.0
        sd: Floats = np.sqrt(np.maximum(prior - known, LEAST_VARIANCE) + noise)
        return sd

    @property
    def down(self) -> Floats:
        return self.belief.divergence.chance(self.where.owner, self.where.step, self.rho)

    @cached_property
    def covariance(self) -> Floats:
        """(m, m), of values as they would be measured."""
        hyper, x, unordered = self.belief.hyper, self.where.x, self.belief.curves.unordered
        rho, _ = correlation(gaps(x, x, unordered), hyper.lengths, unordered)
        reached = self.functions @ hyper.mixing
        same = self.curve[:, None] == self.curve
        prior = (reached @ reached.T) * (1.0 + rho) + np.where(same, self.trend.among_last(), 0.0)
        alone = self._through @ self.own.T - self.own_rows @ self.own_rows.T
        covariance = prior - self._half.T @ self._half - np.where(same, alone, 0.0)
        covariance[np.diag_indices_from(covariance)] += self.trend.noise()[:, -1]
        return covariance

    @cached_property
    def _half(self) -> Floats:
        """(rows, m)."""
        factor = self.belief.posterior.factor
        half: Floats = lapack.dtrtrs(factor, self.k.T, lower=1)[0] if len(factor) else self.k.T
        return half

    @cached_property
    def _through(self) -> Floats:
        """(m, M)."""
        through: Floats = np.einsum("mk,mkl->ml", self.own, self.belief.posterior.precision[self.where.owner])
        return through
