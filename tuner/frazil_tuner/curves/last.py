"""Carry the last value forward, as uncertain as curves were seen to be over such a stretch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .course import progress
from .divergence import Divergence
from .predictive import Mixture
from .scale import Scale, suited

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves, Integers, Where

WEIGHTS, FACTORS = np.array([0.4, 0.4, 0.2]), np.array([0.3, 0.8, 2.0])
"""Most curves change less than the root of the mean square says, few much more."""

USUAL, DOUBT = 0.5, 2.0
"""The square of the change from the first step to the last, in that of the deviation of scores, as believed before any
change was seen; and how many curves that weighs.
"""

LEAST = 1e-3
"""The least deviation, in that of the scores."""


@dataclass(frozen=True, slots=True)
class Last:
    """The value at a later step is the last one seen, and the square of the change grows with the logarithm of time."""

    def fit(self, curves: Curves, start: Mapping[str, Any] | None = None) -> LastBelief:
        return LastBelief(curves, suited(curves))


@dataclass(frozen=True)
class LastBelief:
    """Changes are independent of each other, and of configurations."""

    curves: Curves
    scale: Scale

    @property
    def fit(self) -> Mapping[str, Any]:
        return {}

    @cached_property
    def divergence(self) -> Divergence:
        return Divergence.of(self.curves, self.scale.down(self.curves.score))

    @cached_property
    def _seen(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Of each curve (n + 1,) the first and last step at which it was up, as progress u, and z there; the last entry
        is a new curve: it begins at the mean of the first values, and NaN says that nothing was seen.
        """
        z, n = self.scale.apply(self.curves.score), self.curves.size
        up = np.flatnonzero(np.isfinite(z))
        up = up[np.lexsort((self.curves.step[up], self.curves.owner[up]))]
        owner = self.curves.owner[up]
        u = progress(self.curves.step[up].astype(np.float64), float(self.curves.max_step))
        opens = np.diff(owner, prepend=-1) != 0
        closes = np.diff(owner, append=n) != 0
        ends = np.full((4, n + 1), np.nan)
        ends[:2, owner[opens]] = u[opens], z[up[opens]]
        ends[2:, owner[closes]] = u[closes], z[up[closes]]
        return ends[0], ends[1], ends[2], ends[3]

    @cached_property
    def _rate(self) -> float:
        """The square of the change in unit progress."""
        u0, z0, u1, z1 = self._seen
        moved = u1 > u0
        return float((USUAL * DOUBT + np.square(z1 - z0)[moved].sum()) / (DOUBT + (u1 - u0)[moved].sum()))

    def at(self, where: Where, *, noisy: bool = True) -> Mixture:
        mean, sd = self._moments(where)
        down = self._down(where)
        weights = np.concatenate([np.outer(WEIGHTS, 1 - down), down[None]])
        means = np.stack([*[self.scale.invert(mean)] * len(WEIGHTS), np.full(len(mean), self.scale.floor)])
        sds = np.concatenate([np.outer(FACTORS, sd), np.full((1, len(mean)), 5 * LEAST)])
        return Mixture(weights, means, sds * self.scale.spread)

    def draws(self, where: Where, count: int, rng: np.random.Generator) -> Floats:
        """Of one curve, all with the same luck."""
        curve: Integers = np.unique(where.named(self.curves.size)[1], return_inverse=True)[1].ravel()
        shape = (count, int(curve.max(initial=-1)) + 1)
        return self.at(where).drawn(rng.random(shape)[:, curve], rng.standard_normal(shape)[:, curve])

    def given(self, where: Where, score: Floats) -> LastBelief:
        return LastBelief(self.curves.extended(where, score), self.scale)

    def _moments(self, where: Where) -> tuple[Floats, Floats]:
        _, first, u1, last = self._seen
        fresh = np.isnan(last)
        begin = float(np.nanmean(first)) if not fresh.all() else 0.0
        between = float(np.nanvar(first)) if (~fresh).sum() > 1 else 1.0
        value, since = np.where(fresh, begin, last)[where.owner], np.where(fresh, 0.0, u1)[where.owner]
        u = progress(where.step.astype(np.float64), float(self.curves.max_step))
        square = self._rate * np.abs(u - since) + np.where(fresh, between, 0.0)[where.owner]
        return value, np.sqrt(square + LEAST**2)

    def _down(self, where: Where) -> Floats:
        return self.divergence.chance(where.owner, where.step, np.ones((len(where.owner), self.curves.size)))
