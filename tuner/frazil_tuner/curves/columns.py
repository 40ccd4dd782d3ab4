"""From the unit cube to the few columns that a network reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves

MOST = 16
"""Columns that a network reads."""

CHOSEN = np.sqrt(0.5)
"""What stands in the column of a level where that level is chosen, so that two levels are 1 apart; elsewhere 0."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Each column that is read is one of the cube, or says whether an unordered one has a certain level: `parts` are
    numbers of columns, each with its level or None.
    """

    parts: tuple[tuple[int, float | None], ...]

    def apply(self, x: Floats) -> Floats:
        """Rows (m, k ≤ MOST) of rows x (m, d) of the cube; a level never seen is none of those known."""
        read = [x[:, column] if level is None else CHOSEN * (x[:, column] == level) for column, level in self.parts]
        return np.stack(read, 1) if read else np.zeros((len(x), 0))


def columns_for(curves: Curves, worth: Floats) -> Columns:
    """All columns, levels of unordered ones each for itself; of more than MOST those that go most with `worth` (n,)."""
    parts: list[tuple[int, float | None]] = []
    for column, unordered in enumerate(curves.unordered.tolist()):
        levels = np.unique(curves.x[:, column]).tolist() if unordered else [None]
        parts += [(column, level) for level in levels]
    if len(parts) <= MOST:
        return Columns(tuple(parts))
    told = np.abs(_with_worth(Columns(tuple(parts)).apply(curves.x), worth))
    kept = np.sort(np.argsort(-told, kind="stable")[:MOST])
    return Columns(tuple(parts[index] for index in kept))


def _with_worth(x: Floats, worth: Floats) -> Floats:
    """The correlation (k,) of the ranks of each column (n, k) with those of `worth` (n,); 0 where there is none."""
    x, worth = (rankdata(values, axis=0) for values in (x, worth))
    x, worth = x - x.mean(0), worth - worth.mean()
    size = np.sqrt(np.square(x).sum(0) * np.square(worth).sum())
    correlation: Floats = np.divide(worth @ x, size, out=np.zeros(x.shape[1]), where=size > 0)
    return correlation
