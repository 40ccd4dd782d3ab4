"""The exact likelihood of many curves, by blocks: one for each curve, and one for the weights that tie them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from ..numerics import FitFailed
from .course import FUNCTIONS, Course, course
from .kernel import MIXED, Hyper, Own, correlation, gaps
from .thinning import thinned

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves, Integers, Mask

POINTS = 12
"""Observations of a curve that are looked at."""

DOUBT = 3.0
"""How many changes of a curve weigh as much as what all curves say of its activity."""

NEGLIGIBLE = 1e-9
"""Directions of a curve's weights of which the data say less than so much of what they say of the best known one."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is looked at: of n curves at most M observations each, padded where `seen` is False. One curve more stands
    last, of which nothing was seen, in place of any new one: index -1.

    `x` (n, d), `step`, `z` (n, M), z in the model's units; `functions` φ (n, M, J), zero where padded; `activity` (n,).
    """

    x: Floats
    unordered: Mask
    seen: Mask
    step: Floats
    z: Floats
    functions: Floats
    activity: Floats
    course: Course

    @classmethod
    def of(cls, curves: Curves, z: Floats) -> Observed:
        """Of all curves; z (N,), and an observation of -inf is none."""
        order = np.lexsort((curves.step, curves.owner))
        order = order[np.isfinite(z[order])]
        bounds = np.searchsorted(curves.owner[order], np.arange(curves.size + 2))
        rows = [order[a:b] for a, b in pairwise(bounds)]
        rows = [row[thinned(curves.step[row], z[row], POINTS)] for row in rows]
        seen = np.arange(max([1, *map(len, rows)])) < np.array([len(row) for row in rows], dtype=int)[:, None]
        step, kept = np.ones(seen.shape), np.zeros(seen.shape)
        every = np.concatenate([np.zeros(0, dtype=int), *rows])
        step[seen], kept[seen] = curves.step[every], z[every]
        functions = course(curves.max_step)(step) * seen[..., None]
        activity = _activity(step, kept, seen, curves.max_step)
        x = np.concatenate([curves.x, np.full((1, curves.x.shape[1]), 0.5)])
        return cls(x, curves.unordered, seen, step, kept, functions, activity, course(curves.max_step))


def _activity(step: Floats, z: Floats, seen: Mask, last: int) -> Floats:
    """How much a curve changes (n,), in squares, relative to others; shrunk towards what is usual by `DOUBT`.

    a_n = (c_n m_n + DOUBT · m) / (c_n + DOUBT),  m_n the mean over c_n changes of Δz² / (Δu + 0.02),  m their centre
    """
    both = seen[:, 1:] & seen[:, :-1]
    apart = np.diff(np.log(step), axis=1) / max(math.log(last), 1e-9) + 0.02
    change = np.where(both, np.square(np.diff(z, axis=1)) / apart, 0.0)
    count = both.sum(1)
    if not count.any():
        return np.ones(len(z))
    mean = change.sum(1) / np.maximum(count, 1)
    usual = max(math.exp(float(count @ np.log(mean + 1e-8)) / float(count.sum())), 1e-4)
    activity = (count * mean + DOUBT * usual) / (count + DOUBT)
    relative: Floats = activity / np.exp(np.log(activity).mean())
    return relative


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the data say under given hyperparameters, in few numbers.

    The weights of curve n, w_n (J,), are seen through r_n ≤ min(J, its observations) `rows` R (m, J), each of variance
    1, of curves `owner` (m,): y = R w + ε. `factor` is that of S = R cov(w) Rᵀ + 1 (m, m), `alpha` S⁻¹y; `slot` (n, J)
    is the row, or -1. `precision` (n, M, M) and `solved` (n, M) are K_n⁻¹ and K_n⁻¹z_n; `pass_` (n, M, J) K_n⁻¹φ
    mapped onto the rows; `y` (n, J).
    """

    hyper: Hyper
    value: float
    owner: Integers
    rows: Floats
    factor: Floats
    alpha: Floats
    slot: Integers
    precision: Floats
    solved: Floats
    pass_: Floats
    y: Floats


class Likelihood:
    """The log marginal likelihood of curves, with its slope.

        z_n(t) = φ(t)ᵀ w(x_n) + e_n(t) + ε,   w ~ GP(0, (1 + ρ(x, x')) L Lᵀ),   e_n ~ GP(0, K)

    Given the weights, curves are independent, so that the data of a curve act on its weights through J numbers at most:
    O((J n)³ + n M³).                                                       Swersky, Snoek and Adams 2014, section 3.2
    """

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.gaps = gaps(observed.x, observed.x, observed.unordered)
        self.count = int(observed.seen.sum())

    def posterior(self, hyper: Hyper) -> Posterior:
        rho, _ = correlation(self.gaps, hyper.lengths, self.observed.unordered)
        return self._posterior(hyper, 1.0 + rho, self._own(hyper))[0]

    def __call__(self, hyper: Hyper) -> tuple[float, Floats]:
        """log p(z) and its slope (len(θ),); FitFailed where the numbers are too ill-conditioned."""
        seen = self.observed
        rho, pulls = correlation(self.gaps, hyper.lengths, seen.unordered)
        own, L = self._own(hyper), hyper.mixing
        posterior, tied, kx = self._posterior(hyper, 1.0 + rho, own)
        owner, rows, alpha, slot = posterior.owner, posterior.rows, posterior.alpha, posterior.slot
        inverse = lapack.dpotri(posterior.factor, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        pull = 0.5 * (np.outer(alpha, alpha) - inverse)  # (m, m)

        by_mixing = 2 * (rows.T @ (pull * kx) @ rows) @ L
        by_mixing[np.diag_indices(FUNCTIONS)] *= L.diagonal()
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        weights = np.zeros_like(rho)
        if len(starts):
            weights[np.ix_(owner[starts], owner[starts])] = np.add.reduceat(
                np.add.reduceat(pull * tied, starts, axis=0), starts, axis=1
            )
        by_length = np.einsum("jab,jab->j", weights * pulls, self.gaps) / np.square(hyper.lengths)

        held = slot >= 0
        among = inverse[slot[:, :, None], slot[:, None, :]] * (held[:, :, None] & held[:, None, :])  # (n, J, J)
        errors = posterior.solved - np.einsum(
            "nmr,nr->nm", posterior.pass_, posterior.y - np.where(held, alpha[slot], 0.0)
        )
        known = np.eye(FUNCTIONS) * held[:, None, :] - among
        own_pull = errors[:, :, None] * errors[:, None, :] - posterior.precision
        own_pull += posterior.pass_ @ known @ posterior.pass_.transpose(0, 2, 1)
        own_pull *= 0.5 * (seen.seen[:, :, None] & seen.seen[:, None, :])
        return posterior.value, np.concatenate([by_length, by_mixing[MIXED], own.slopes(own_pull)])

    def _own(self, hyper: Hyper) -> Own:
        return Own.at(hyper, self.observed.step, self.observed.course.last, self.observed.activity)

    def _posterior(self, hyper: Hyper, kx: Floats, own: Own) -> tuple[Posterior, Floats, Floats]:
        """Also R L Lᵀ Rᵀ and the covariance of configurations, of the rows, (m, m)."""
        seen = self.observed
        both = seen.seen[:, :, None] & seen.seen[:, None, :]
        K = np.where(both, own.covariance(), 0.0)
        places = np.arange(K.shape[1])
        K[:, places, places] += np.where(seen.seen, own.noise(), 1.0)
        try:
            half = np.linalg.inv(np.linalg.cholesky(K))
        except np.linalg.LinAlgError as fault:
            raise FitFailed("a curve's own covariance is not positive definite") from fault
        precision = half.transpose(0, 2, 1) @ half  # (n, M, M)
        solved = np.einsum("nij,nj->ni", precision, seen.z)

        passed = precision @ seen.functions  # (n, M, J)
        values, vectors = np.linalg.eigh(seen.functions.transpose(0, 2, 1) @ passed)
        kept = values > NEGLIGIBLE * np.maximum(values[:, -1:], 1e-300)
        roots = np.sqrt(np.where(kept, values, 1.0))
        pass_ = passed @ (vectors * np.where(kept, 1.0 / roots, 0.0)[:, None, :])
        y = np.einsum("nmr,nm->nr", pass_, seen.z)
        owner, which = np.nonzero(kept)
        rows = (vectors * np.where(kept, roots, 0.0)[:, None, :]).transpose(0, 2, 1)[owner, which]  # (m, J)
        slot = np.full(kept.shape, -1)
        slot[owner, which] = np.arange(len(owner))

        reached = rows @ hyper.mixing
        tied, between = reached @ reached.T, kx[np.ix_(owner, owner)]
        S = tied * between
        np.fill_diagonal(S, S.diagonal() + 1.0)
        factor, failed = lapack.dpotrf(S, lower=1, clean=0) if len(S) else (S, 0)
        if failed or not np.isfinite(factor.diagonal()).all():
            raise FitFailed("the covariance of the curves is not positive definite")
        rest = y[owner, which]
        alpha = lapack.dpotrs(factor, rest, lower=1)[0] if len(S) else rest
        fit = (seen.z * solved).sum() - rest @ rest + rest @ alpha
        volume = np.log(factor.diagonal()).sum() - np.log(np.einsum("nii->ni", half)).sum()
        value = float(-0.5 * fit - volume - 0.5 * self.count * math.log(2 * math.pi))
        return Posterior(hyper, value, owner, rows, factor, alpha, slot, precision, solved, pass_, y), tied, between
