"""Discrete values on the unit interval: level i of n owns a cell and is encoded as a point inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ...numerics import Floats

Levels = NDArray[np.int64]


class Ladder(Protocol):
    """The map between levels 0 … n - 1 and the unit interval."""

    @property
    def n(self) -> int: ...

    def place(self, levels: Levels) -> Floats:
        """Levels (m,) to the points (m,) that encode them."""
        ...

    def level(self, u: Floats) -> Levels:
        """The levels (m,) whose cells hold the points `u` (m,)."""
        ...

    def edge(self, levels: Floats) -> Floats:
        """Where the cells of `levels` (m,), from 0 to n, begin."""
        ...


@dataclass(frozen=True, slots=True)
class Even:
    """Equal cells: u = (level + 1/2) / n, so a uniform draw finds every level equally often."""

    n: int

    def place(self, levels: Levels) -> Floats:
        return (levels + 0.5) / self.n

    def level(self, u: Floats) -> Levels:
        return np.clip(np.floor(u * self.n), 0, self.n - 1).astype(np.int64)

    def edge(self, levels: Floats) -> Floats:
        return levels / self.n


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """Whole numbers low + step · level, low > 0, by logarithm: cells end half a step (at most low / 2) beyond."""

    n: int
    low: int
    step: int

    @property
    def _ends(self) -> tuple[float, float]:
        floor = max(self.low - self.step / 2, self.low / 2)
        return float(np.log(floor)), float(np.log(self.low + self.step * (self.n - 0.5)))

    def place(self, levels: Levels) -> Floats:
        bottom, top = self._ends
        return np.asarray((np.log(self.low + self.step * levels) - bottom) / (top - bottom))

    def level(self, u: Floats) -> Levels:
        bottom, top = self._ends
        x = np.exp(bottom + u * (top - bottom))
        return np.clip(np.rint((x - self.low) / self.step), 0, self.n - 1).astype(np.int64)

    def edge(self, levels: Floats) -> Floats:
        bottom, top = self._ends
        x = np.maximum(self.low + self.step * (levels - 0.5), np.exp(bottom))
        return np.clip((np.log(x) - bottom) / (top - bottom), 0.0, 1.0)


def snap(ladder: Ladder, u: Floats) -> Floats:
    """The encodings nearest to `u`, any shape."""
    return ladder.place(ladder.level(u))


def spread(ladder: Ladder, resolution: int | None) -> Levels:
    """At most `resolution` levels, ascending, evenly spread on the unit interval with both ends; all levels if None."""
    if resolution is None or resolution >= ladder.n:
        return np.arange(ladder.n)
    return np.unique(ladder.level(np.linspace(0.0, 1.0, resolution) if resolution > 1 else np.array([0.5])))


def others(ladder: Ladder, u: Floats) -> Floats:
    """Every level but that of `u` (1,), as columns (n - 1, 1)."""
    levels = np.arange(ladder.n)
    return ladder.place(levels[levels != ladder.level(u)[0]])[:, None]


def strides(ladder: Ladder, u: Floats) -> Floats:
    """Levels 1, 2, 4, 8 … away from that of `u` (1,) on either side, as columns (m, 1)."""
    steps = 2 ** np.arange(max(ladder.n - 1, 1).bit_length())
    levels = ladder.level(u)[0] + np.concatenate([-steps, steps])
    return ladder.place(levels[(levels >= 0) & (levels < ladder.n)])[:, None]
