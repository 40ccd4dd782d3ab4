"""Where suggestions come from: a space without end, or a finite list. Policies take points and do not know which it is.

A domain is made for one call of `suggest`. What it hands out is taken: neither that point nor any that the study has
tried, runs or keeps on its shelf is handed out (again), except that random and nearest points of an infinite space
are not compared; unless the caller wants to `replicate`: then nothing is ever taken.

Every point meets the constraints of the study's space, and has the values that the space holds.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..space import ENUMERABLE, Column, Space
from .base import Start, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ..acquisition import Worth
    from ..history import Definition, Params, Study
    from ..numerics import Floats

BATCHES = (1, 31, 480, 512)
"""Draws from a larger finite space, one batch after the other, before it is called exhausted."""

REACH = (-2.5, -0.5)
"""Logarithms to base 10 of how far from a seed, in edges of the cube, points near it are offered."""

NEARBY = 128
"""Feasible points among which the nearest to an infeasible one is looked for."""


@dataclass(frozen=True, slots=True)
class Point:
    """A configuration, and its index if the study has candidates."""

    params: Params
    candidate: int | None = None

    def start(self, until: int | None, why: Why) -> Start:
        return Start(params=self.params, until=until, candidate=self.candidate, why=why)


@dataclass(frozen=True, slots=True)
class Offer:
    """Rows (m, dimension) of free points, and what takes the point of one: None if it cannot be had."""

    rows: Floats
    take: Callable[[int], Point | None]


class Domain(Protocol):
    """Every method hands out a free point, or None (the iterator: ends) when none is left."""

    def take_random(self) -> Point | None:
        """A point drawn uniformly from the unit cube, or from the list."""
        ...

    def take_nearest(self, u: Floats) -> Point | None:
        """The point at or nearest to `u` (dimension,) in the unit cube."""
        ...

    def take_best(self, worth: Worth, seeds: Floats) -> Point | None:
        """The point of the largest worth that can be found; `seeds` (k, dimension) are good places to look."""
        ...

    def offer(self, seeds: Floats, most: int) -> Offer:
        """At most so many free points to choose from, none of them taken yet: of a list, any; of a space without end,
        half of them anywhere and half near `seeds` (k, dimension).
        """
        ...

    def grid(self, resolution: int) -> Iterator[Point]:
        """The free points of a grid with `resolution` values on each numeric axis; of a given list, all in order."""
        ...


def domain_of(study: Study, seed: int, *, replicate: bool = False) -> Domain:
    """The domain of a study's next suggestions; `seed` decides what is random about them.

    With `replicate` points may be handed out that were tried before, or any number of times.
    """
    rng = np.random.default_rng(seed)
    pool = _pool_of(study.definition)
    return Everywhere(study, rng, replicate) if pool is None else Listed(pool, study, rng, replicate)


class Everywhere:
    """An infinite space, or a finite one too large to list."""

    def __init__(self, study: Study, rng: np.random.Generator, replicate: bool) -> None:
        self._study = study
        self._rng = rng
        self._space = study.search_space
        self._replicate = replicate
        self._handed: list[Params] = []

    @cached_property
    def _taken(self) -> set[Hashable]:
        tried = (trial.params for trial in self._study.trials)
        return {self._space.key(params) for params in (*tried, *self._study.shelved)}

    def take_random(self) -> Point | None:
        if not self._space.is_finite:
            return Point(self._space.draw(self._rng))
        rows = (row for batch in BATCHES for row in self._space.sample(self._rng, batch))
        drawn = (self._take(self._space.decode(row)) for row in rows)
        return next((point for point in drawn if point), None)

    def take_nearest(self, u: Floats) -> Point | None:
        params = self._space.decode(self._nearest_feasible(u) if self._space.constraints else u)
        if not self._space.is_finite:
            return Point(params)
        return self._take(params) or self.take_random()

    def take_best(self, worth: Worth, seeds: Floats) -> Point | None:
        from ..acquisition import search

        rows = search(worth, self._space, seeds, self._rng)
        found = (self._take(self._space.decode(row)) for row in rows)
        return next((point for point in found if point), None) or self.take_random()

    def offer(self, seeds: Floats, most: int) -> Offer:
        near = np.repeat(seeds, most // 2 // max(len(seeds), 1), axis=0)
        reach = 10.0 ** self._rng.uniform(*REACH, size=(len(near), 1))
        changed = self._rng.random(near.shape) < self._rng.uniform(0, 1, size=(len(near), 1))
        near = np.clip(near + reach * changed * self._rng.standard_normal(near.shape), 0.0, 1.0)
        near = self._space.snap(near)
        rows = np.concatenate([self._space.sample(self._rng, most - len(near)), near[self._space.feasible(near)]])
        rows = rows[self._free(rows)]
        return Offer(rows, lambda i: self._take(self._space.decode(rows[i])))

    def _free(self, rows: Floats) -> NDArray[np.bool_]:
        """Which snapped rows (m, dimension) are of free points: decoding each to compare it would take far longer."""
        if self._replicate:
            return np.ones(len(rows), dtype=bool)
        taken = {row.tobytes() for row in (*self._tried, *map(self._row, self._handed))}
        return np.array([row.tobytes() not in taken for row in rows + 0.0], dtype=bool)

    @cached_property
    def _tried(self) -> Floats:
        """The rows (n, dimension) of what was tried or lies on the shelf."""
        known = [*(trial.params for trial in self._study.trials), *self._study.shelved]
        rows: Floats = self._study.space.encode_many(known).reshape(len(known), self._space.dimension) + 0.0
        return rows

    def _row(self, params: Params) -> Floats:
        row: Floats = self._study.space.encode(params) + 0.0
        return row

    def grid(self, resolution: int) -> Iterator[Point]:
        points = (self._take(params) for params in self._space.grid(resolution))
        return (point for point in points if point)

    def _nearest_feasible(self, u: Floats) -> Floats:
        """The snapped `u` (dimension,), or the nearest of some feasible rows if it is not feasible itself."""
        row = self._space.snap(u[None])
        if not self._space.feasible(row)[0]:
            rows = self._space.sample(self._rng, NEARBY)
            row = rows[[_squared_distances(rows, row, self._space).argmin()]]
        nearest: Floats = row[0]
        return nearest

    def _take(self, params: Params) -> Point | None:
        """The point if it is free, and then no longer."""
        if self._replicate:
            return Point(params)
        key = self._space.key(params)
        if key in self._taken:
            return None
        self._taken.add(key)
        self._handed.append(params)
        return Point(params)


class Pool:
    """The finite list behind a definition, with what is worth remembering from one call to the next."""

    def __init__(self, space: Space, points: tuple[Params, ...], *, given: bool) -> None:
        self.space = space
        self.points = points
        self.given = given

    @cached_property
    def rows(self) -> Floats:
        """The encoded points (n, dimension)."""
        return self.space.encode_many(self.points)

    @cached_property
    def index(self) -> dict[Hashable, int]:
        return {self.space.key(params): i for i, params in enumerate(self.points)}

    def within(self, space: Space) -> Sequence[int]:
        """The indices of the points that have the values which `space` holds, the context's among them."""
        if not space.held:
            return range(len(self.points))
        held = space.held
        return [
            i for i, params in enumerate(self.points) if all(params.get(name, value) == value for name, value in held)
        ]

    def point(self, i: int) -> Point:
        return Point(self.points[i], i if self.given else None)

    def taken(self, study: Study) -> Iterable[int]:
        """The indices of what the study has tried, runs or keeps on its shelf."""
        if self.given:
            tried = (trial.candidate for trial in study.trials)
            return [i for i in (*tried, *study.shelved_candidates) if i is not None]
        keys = (self.space.key(params) for params in (*(trial.params for trial in study.trials), *study.shelved))
        return [self.index[key] for key in keys if key in self.index]

    def lattice(self, space: Space, resolution: int) -> Iterable[int]:
        """The indices of the points of the grid of `space`, in order; a given list is its own grid."""
        if self.given:
            return self.within(space)
        return [self.index[self.space.key(params)] for params in space.grid(resolution)]


class Listed:
    """The free part of a pool."""

    def __init__(self, pool: Pool, study: Study, rng: np.random.Generator, replicate: bool) -> None:
        self._pool = pool
        self._space = study.search_space
        self._rng = rng
        self._replicate = replicate
        self._free = np.zeros(len(pool.points), dtype=bool)
        self._free[pool.within(self._space)] = True
        if not replicate:
            self._free[list(pool.taken(study))] = False

    def take_random(self) -> Point | None:
        return self._take(lambda free: int(self._rng.integers(len(free))))

    def take_nearest(self, u: Floats) -> Point | None:
        snapped = self._pool.space.snap(u[None])
        return self._take(
            lambda free: int(np.argmin(_squared_distances(self._pool.rows[free], snapped, self._pool.space)))
        )

    def take_best(self, worth: Worth, seeds: Floats) -> Point | None:
        from ..acquisition import evaluate

        return self._take(lambda free: int(np.argmax(evaluate(worth, self._pool.rows[free]))))

    def offer(self, seeds: Floats, most: int) -> Offer:
        free = np.flatnonzero(self._free)
        if len(free) > most:
            free = np.sort(self._rng.choice(free, most, replace=False))
        return Offer(self._pool.rows[free], lambda i: self._take(lambda now: int(np.searchsorted(now, free[i]))))

    def grid(self, resolution: int) -> Iterator[Point]:
        for i in self._pool.lattice(self._space, resolution):
            if self._free[i]:
                self._free[i] = self._replicate
                yield self._pool.point(i)

    def _take(self, choose: Callable[[np.ndarray], int]) -> Point | None:
        """The point at the place that `choose` names in the array of free indices."""
        free = np.flatnonzero(self._free)
        if not len(free):
            return None
        i = int(free[choose(free)])
        self._free[i] = self._replicate
        return self._pool.point(i)


def _squared_distances(rows: Floats, row: Floats, space: Space) -> Floats:
    """Squared distances (n,) of snapped rows (n, d) from a snapped row (1, d); different names are 1 apart."""
    unordered = [column is Column.UNORDERED for column in space.columns]
    apart = rows - row
    apart[:, unordered] = apart[:, unordered] != 0
    squared: Floats = np.einsum("nd,nd->n", apart, apart)
    return squared


_pools: dict[int, Pool | None] = {}
"""Pools by the identity of their definition, for as long as it lives."""


def _pool_of(definition: Definition) -> Pool | None:
    """The finite list behind `definition`, None if there is none; made once for each definition object."""
    key = id(definition)
    if key not in _pools:
        _pools[key] = _make_pool(definition)
        weakref.finalize(definition, _pools.pop, key, None).atexit = False
    return _pools[key]


def _make_pool(definition: Definition) -> Pool | None:
    space = definition.space
    if definition.candidates is not None:
        return Pool(space, definition.candidates, given=True)
    if space.cardinality is not None and space.cardinality <= ENUMERABLE:
        return Pool(space, tuple(space.grid(None)), given=False)
    return None
