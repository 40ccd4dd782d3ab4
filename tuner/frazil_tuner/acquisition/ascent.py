"""Many ascents at once: every row climbs by its own quasi-Newton steps, and all are evaluated together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..numerics import Floats

Mask = NDArray[np.bool_]
Sloped = Callable[["Floats"], tuple["Floats", "Floats"]]
"""Values (k,) and slopes (k, d) at rows (k, d)."""

MEMORY = 6
"""Steps from which the curvature is read."""

FIRST = 0.05
"""The length of the first step, in edges of the cube, along the coordinate that moves most."""

LONGEST = 0.3
"""The longest step along any coordinate."""

RISE = 1e-4
"""The share of the slope's promise that a step has to keep: Armijo's condition."""

ENOUGH = 1e-4
"""A rise by less, twice in a row, ends an ascent."""

SHORTEST = 1e-7
"""Steps that would move no coordinate by more end it too."""


def ascend(sloped: Sloped, rows: Floats, free: Mask, rounds: int) -> tuple[Floats, Floats]:
    """Rows (k, d) after an ascent of their `free` (k, d) coordinates within [0, 1], and their values (k,).

    Projected limited-memory BFGS (Nocedal and Wright 2006, algorithms 7.4 and 3.1), row by row, in at most `rounds`
    evaluations of all rows together: in each round a row tries one point, and shortens its step where that is no
    better. No row ends lower than it began.
    """
    state = _Ascent(sloped, rows, free)
    for _ in range(rounds):
        if state.done.all():
            break
        state.step()
    return state.x, state.value


class _Ascent:
    """Where every row stands; the last `MEMORY` moves `moves` and changes of slope `turns` (MEMORY, k, d)."""

    def __init__(self, sloped: Sloped, rows: Floats, free: Mask) -> None:
        self._sloped = sloped
        self._free = free
        self.x = rows.copy()
        self.value, self._slope = self._evaluate(self.x)
        k, d = rows.shape
        self._moves, self._turns = np.zeros((MEMORY, k, d)), np.zeros((MEMORY, k, d))
        self._inverse = np.zeros((MEMORY, k))  # 1 / move · turn; 0: nothing remembered
        self._unit = np.ones(k)  # move · turn / turn · turn of the latest move
        self._calm = np.zeros(k, dtype=int)
        self.done = ~np.isfinite(self.value) | ~free.any(1)
        self._scale = np.ones(k)
        self._aim()

    def step(self) -> None:
        """Tries one point for every row, takes those that are good, and shortens the other steps."""
        tried = np.clip(self.x + self._scale[:, None] * self._direction, 0.0, 1.0)
        move = tried - self.x
        value, slope = self._evaluate(tried)
        rise = np.subtract(value, self.value, out=np.zeros_like(value), where=~self.done)
        promised = (self._slope * move).sum(1)
        taken = ~self.done & (rise >= RISE * promised) & (rise >= 0) & np.isfinite(slope).all(1)
        self._remember(move, slope, taken)
        self._calm = np.where(taken, np.where(rise < ENOUGH, self._calm + 1, 0), self._calm)
        self.x = np.where(taken[:, None], tried, self.x)
        self.value = np.where(taken, value, self.value)
        self._slope = np.where(taken[:, None], slope, self._slope)
        self._scale = np.where(taken, 1.0, 0.25 * self._scale)
        self._aim()
        reach = np.abs(self._scale[:, None] * self._direction).max(axis=1, initial=0.0)
        self.done |= (self._calm >= 2) | (reach < SHORTEST)

    def _evaluate(self, rows: Floats) -> tuple[Floats, Floats]:
        value, slope = self._sloped(rows)
        return np.where(np.isnan(value), -np.inf, value), np.where(self._free, slope, 0.0)

    def _remember(self, move: Floats, slope: Floats, taken: Mask) -> None:
        turn = self._slope - slope  # of minus the worth, which is convex near its least
        curvature, turned = (move * turn).sum(1), (turn * turn).sum(1)
        sound = taken & (curvature > 1e-10 * turned) & (curvature > 0)
        if not sound.any():
            return
        inverse = 1.0 / np.where(sound, curvature, 1.0)
        self._unit = np.where(sound, curvature / np.where(sound, turned, 1.0), self._unit)
        for memory, latest in ((self._moves, move), (self._turns, turn), (self._inverse, inverse)):
            memory[:-1, sound] = memory[1:, sound]
            memory[-1, sound] = latest[sound]

    def _aim(self) -> None:
        """The direction (k, d) of each row's next step: by its curvature, along its slope where it knows none."""
        outward = ((self.x <= 0.0) & (self._slope < 0)) | ((self.x >= 1.0) & (self._slope > 0))
        slope = np.where(outward, 0.0, self._slope)
        direction = np.where(outward, 0.0, self._two_loops(slope))
        downhill = (direction * slope).sum(1) <= 0
        direction = np.where(downhill[:, None], slope, direction)
        ignorant = downhill | (self._inverse[-1] == 0)
        length = np.abs(direction).max(axis=1, initial=0.0)
        wanted = np.minimum(np.where(ignorant, FIRST, LONGEST), length)
        self._direction = direction * (wanted / np.where(length > 0, length, 1.0))[:, None]

    def _two_loops(self, slope: Floats) -> Floats:
        """The slope (k, d) times the inverse curvature that the remembered moves make."""
        q = slope.copy()
        weights: list[Floats] = []
        known = [i for i in range(MEMORY) if self._inverse[i].any()]
        for i in reversed(known):
            weights.append((self._inverse[i] * (self._moves[i] * q).sum(1))[:, None])
            q -= weights[-1] * self._turns[i]
        q *= self._unit[:, None]
        for i, weight in zip(known, reversed(weights), strict=True):
            q += (weight - (self._inverse[i] * (self._turns[i] * q).sum(1))[:, None]) * self._moves[i]
        return q
