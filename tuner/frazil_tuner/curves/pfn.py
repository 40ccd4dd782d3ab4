"""Curves foretold by a network that was trained on curves of all kinds: nothing is fitted, the study is only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .bins import Bins
from .columns import MOST, Columns, columns_for
from .thinning import thinned
from .unit import Unit, unit_for

if TYPE_CHECKING:
    from ..numerics import Floats
    from ..pfn.network import Cache, Network
    from .base import Curves, Integers, Where

ENOUGH, POINTS = 512, (24, 16, 12, 8)
"""Above so many observations, of every curve at most so many are read: the most that leave no more than that, or the
last number.
"""

LIMIT = 1000
"""Observations that are read at most. Of what is worst and was seen least only the last one of each curve remains."""

SURE = 0.995
"""How much of the belief about a dead curve is that it has the worst score."""

BATCH = 2048
"""Questions that are asked at once."""


@dataclass(frozen=True, slots=True)
class PriorFitted:
    """The posterior of the prior that `network` was trained on, approximately.          Rakotoarison et al. 2024

    Reads at most MOST columns and LIMIT observations; curves beyond that count as unseen. Raises `pfn.manifest.Damaged`
    if the weights are.
    """

    network: str = "curve-small"

    def fit(self, curves: Curves, start: Mapping[str, Any] | None = None) -> PriorFittedBelief:
        from ..pfn.weights import resident

        unit = unit_for(curves)
        told = Told.of(curves, unit)
        return PriorFittedBelief(resident(self.network), curves, unit, columns_for(curves, told.worth))


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of n curves on the scale of the network, by curve and then by step, each step once.

    `owner`, `step`, `u` (N,); `bounds` (n + 1,): curve i has the observations from bounds[i] to before bounds[i + 1].
    A dead curve was seen at the worst score at its last step, whatever it said there.
    """

    owner: Integers
    step: Integers
    u: Floats
    bounds: Integers

    @classmethod
    def of(cls, curves: Curves, unit: Unit) -> Told:
        alive = ~(curves.dead[curves.owner] & (curves.step >= curves.max_step))
        dead = np.flatnonzero(curves.dead)
        owner = np.concatenate([curves.owner[alive], dead])
        step = np.concatenate([curves.step[alive], np.full(len(dead), curves.max_step)])
        u = np.concatenate([unit.apply(curves.score[alive]), np.zeros(len(dead))])
        places, index, count = np.unique(np.stack([owner, step], 1), axis=0, return_inverse=True, return_counts=True)
        mean = np.bincount(index.ravel(), weights=u, minlength=len(places)) / count
        return cls(places[:, 0], places[:, 1], mean, np.searchsorted(places[:, 0], np.arange(curves.size + 1)))

    @property
    def count(self) -> Integers:
        """The number (n,) of observations of each curve."""
        return np.diff(self.bounds)

    @property
    def worth(self) -> Floats:
        """The last value (n,) of each curve; where nothing was seen, the mean of the others."""
        last = np.full(len(self.count), np.nan)
        last[self.count > 0] = self.u[self.bounds[1:][self.count > 0] - 1]
        return np.where(np.isnan(last), np.nanmean(last) if (self.count > 0).any() else 0.0, last)

    def kept(self) -> Integers:
        """The observations that are read, ascending."""
        if len(self.u) <= ENOUGH:
            return np.arange(len(self.u))
        for points in POINTS:
            rows = [self._thinned(a, b, points) for a, b in pairwise(self.bounds.tolist())]
            if sum(map(len, rows)) <= ENOUGH:
                break
        return np.sort(np.concatenate(self._rationed(rows)))

    def _thinned(self, start: int, stop: int, points: int) -> Integers:
        if stop - start <= points:
            return np.arange(start, stop)
        return start + thinned(self.step[start:stop], self.u[start:stop], points)

    def _rationed(self, rows: list[Integers]) -> list[Integers]:
        """At most LIMIT observations: all of the curves that are best and were seen longest, the last of the others."""
        size = np.array([len(row) for row in rows])
        begun = np.flatnonzero(size)
        merit = self.worth[begun].argsort().argsort() + self.step[self.bounds[1:][begun] - 1].argsort().argsort()
        order = begun[np.argsort(-merit, kind="stable")][:LIMIT]
        whole = np.cumsum(size[order] - 1) <= LIMIT - len(order)
        return [rows[i] if all_ else rows[i][-1:] for i, all_ in zip(order.tolist(), whole.tolist(), strict=True)]


@dataclass(frozen=True)
class PriorFittedBelief:
    """What the network says of a study it has read; about different curves independently of each other."""

    network: Network
    curves: Curves
    unit: Unit
    columns: Columns

    @property
    def fit(self) -> Mapping[str, Any]:
        return {
            "worst": self.unit.worst,
            "best": self.unit.best,
            "columns": [column for column, _ in self.columns.parts],
        }

    def given(self, where: Where, score: Floats) -> PriorFittedBelief:
        return replace(self, curves=self.curves.extended(where, score))

    def at(self, where: Where, *, noisy: bool = True) -> Bins:
        """Of the curve beneath the measurements it believes what it does of these. A step that a curve has passed is
        believed to be like its last one seen, but for the difference between what was measured there.
        """
        asked, shift = self._recalled(where)
        mass = self._masses(where, asked)
        dead = (where.owner >= 0) & self.curves.dead[where.owner] if self.curves.size else np.zeros(len(mass), bool)
        mass[dead] = (1 - SURE) / mass.shape[1]
        mass[dead, 0] += SURE
        return Bins(mass, self.unit.edges(mass.shape[1]), np.where(dead, 0.0, shift) * self.unit.width)

    def draws(self, where: Where, count: int, rng: np.random.Generator) -> Floats:
        """All values of one curve at the same quantile of what is believed of each."""
        curve: Integers = np.unique(where.named(self.curves.size)[1], return_inverse=True)[1].ravel()
        level = rng.random((count, int(curve.max(initial=-1)) + 1))
        return self.at(where).at_levels(level[:, curve])

    @cached_property
    def told(self) -> Told:
        return Told.of(self.curves, self.unit)

    @cached_property
    def rank(self) -> Integers:
        """The place (n,) of each curve in an order that depends on what is known of them, and not on their own."""
        told = self.told
        if not len(told.u):
            return np.arange(self.curves.size)
        first, last = told.u[np.minimum(told.bounds[:-1], len(told.u) - 1)], told.worth
        rank = np.empty(self.curves.size, dtype=np.int64)
        rank[np.lexsort((last, first, told.count, *self.curves.x.T))] = np.arange(self.curves.size)
        return rank

    def _recalled(self, where: Where) -> tuple[Integers, Floats]:
        """The step (m,) to ask for in place of one that its curve has passed, and how much less was measured there."""
        asked, shift = where.step.astype(np.int64), np.zeros(len(where.step))
        for place in np.flatnonzero(where.owner >= 0).tolist():
            start, stop = self.told.bounds[where.owner[place]], self.told.bounds[where.owner[place] + 1]
            step, u = self.told.step[start:stop], self.told.u[start:stop]
            if len(step) and asked[place] < step[-1]:
                shift[place] = np.interp(asked[place], step, u) - u[-1]
                asked[place] = step[-1]
        return asked, shift

    def _masses(self, where: Where, step: Integers) -> Floats:
        """What the network believes (m, bins)."""
        import torch

        from ..pfn.studies import Queries

        bins = self.network.shape.grid.bins
        if self._read is None:
            return np.full((len(step), bins), 1.0 / bins)
        cache, number = self._read
        x = torch.from_numpy(self._padded(where.x))
        t = torch.from_numpy(step.astype(np.float32) / self.curves.max_step)
        curve = torch.from_numpy(number[where.owner])
        mass = np.empty((len(step), bins))
        with torch.inference_mode():
            for start in range(0, len(step), BATCH):
                part = slice(start, start + BATCH)
                asked = Queries(x[None, part], t[None, part], curve[None, part])
                mass[part] = self.network.predict(cache, asked).p[0].numpy()
        mass /= mass.sum(1, keepdims=True)
        return mass

    @cached_property
    def _read(self) -> tuple[Cache, Integers] | None:
        """The study as the network read it, and the number (n + 1,) that each curve has there, -1 for none and for the
        unseen one, which stands last; None if nothing was seen.

        Curves are numbered by what is known of them, so that their order means nothing.
        """
        import torch

        from ..pfn.studies import Context

        told, kept = self.told, self.told.kept()
        if not len(kept):
            return None
        number = np.full(self.curves.size + 1, -1)
        read = np.unique(told.owner[kept])
        number[read[np.argsort(self.rank[read])]] = np.arange(len(read))
        owner, step = told.owner[kept], told.step[kept]
        context = Context(
            x=torch.from_numpy(self._padded(self.curves.x))[None, owner],
            y=torch.from_numpy(told.u[kept].astype(np.float32))[None],
            active=(torch.arange(MOST) < len(self.columns.parts))[None],
            t=torch.from_numpy(step.astype(np.float32) / self.curves.max_step)[None],
            curve=torch.from_numpy(number[owner])[None],
            steps=torch.tensor([self.curves.max_step]),
        )
        with torch.inference_mode():
            return self.network.encode(context), number

    def _padded(self, x: Floats) -> Floats:
        """Rows (m, MOST) for the network."""
        read = self.columns.apply(x)
        return np.pad(read, ((0, 0), (0, MOST - read.shape[1]))).astype(np.float32)
