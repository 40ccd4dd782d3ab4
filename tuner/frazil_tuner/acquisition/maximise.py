"""Where a worth is largest: over a list exactly, over a space by seeds, gradients and exact neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import qmc
from torch import Tensor

from ..space import Column, Space

if TYPE_CHECKING:
    from ..numerics import Floats

Worth = Callable[[Tensor], Tensor]
"""The worth (m,) of trying each of the points (m, d); larger is better, differentiable in continuous columns."""

Mask = NDArray[np.bool_]

CHUNK = 4_096
"""Rows evaluated at a time, so that a hundred thousand candidates fit in memory."""

SPREAD = 512
"""Sobol points that look for basins."""

NEARBY = 32
"""Points around each seed, at distances from a tenth to a thousandth of the cube's edge."""

CLIMBERS = 8
"""How many of the best Sobol points, and as many of the best nearby points, climb."""

ROUNDS = 32
"""Alternations of climbing and hopping before a search is called long enough."""


def evaluate(worth: Worth, rows: Floats) -> Floats:
    """The worth (n,) of rows (n, d), in chunks; NaN counts as -inf."""
    with torch.no_grad():
        parts = [worth(torch.from_numpy(chunk)).numpy() for chunk in _chunks(rows)]
    values = np.concatenate([*parts, np.empty(0)])
    return np.where(np.isnan(values), -np.inf, values)


def search(worth: Worth, space: Space, seeds: Floats, rng: np.random.Generator) -> Floats:
    """Snapped rows (m ≥ 1, d) of a space, the best found first; `seeds` (k, d) are good places to look.

    Sobol points and the surroundings of the seeds are compared, the best of either climb along the gradient in their
    continuous columns and hop to their best discrete neighbour, in turn, until no hop helps.
    """
    wide = space.snap(_sobol(SPREAD, space.dimension, rng))
    near = space.snap(_around(seeds, rng))
    starts = np.concatenate([_best(worth, near, CLIMBERS), _best(worth, wide, CLIMBERS)])
    found = _settle(worth, space, starts)
    everything = np.concatenate([found, starts, wide])
    order = np.argsort(-evaluate(worth, everything), kind="stable")
    return everything[order]


def _settle(worth: Worth, space: Space, rows: Floats) -> Floats:
    rows = _climb(worth, rows, _free(space, rows))
    for _ in range(ROUNDS):
        hopped, moved = _hop(worth, space, rows)
        if not moved.any():
            break
        rows = hopped.copy()
        rows[moved] = _climb(worth, hopped[moved], _free(space, hopped[moved]))
    return rows


def _climb(worth: Worth, rows: Floats, free: Mask) -> Floats:
    """Rows (k, d) after an ascent of their `free` (k, d) coordinates within the unit cube; never to a lower worth."""
    if not free.any():
        return rows

    def loss(values: Floats) -> tuple[float, Floats]:
        x = torch.from_numpy(_filled(rows, free, values)).requires_grad_()
        total = -worth(x).sum()
        (slope,) = torch.autograd.grad(total, x)
        return total.item(), slope.numpy()[free]

    answer = minimize(
        loss, rows[free], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * int(free.sum()), options={"maxiter": 100}
    )
    climbed = _filled(rows, free, np.clip(np.nan_to_num(answer.x, nan=0.5), 0.0, 1.0))
    better = evaluate(worth, climbed) > evaluate(worth, rows)
    return np.where(better[:, None], climbed, rows)


def _hop(worth: Worth, space: Space, rows: Floats) -> tuple[Floats, Mask]:
    """Each row (k, d) or its best discrete neighbour, if that is better; and which (k,) have moved."""
    neighbours = [space.neighbours(row) for row in rows]
    values = evaluate(worth, np.concatenate(neighbours))
    parts = np.split(values, np.cumsum([len(part) for part in neighbours])[:-1])
    present = evaluate(worth, rows)
    moved = np.array([len(part) > 0 and part.max() > here for part, here in zip(parts, present, strict=True)])
    best = [
        near[part.argmax()] if move else row
        for row, near, part, move in zip(rows, neighbours, parts, moved, strict=True)
    ]
    return np.array(best), moved


def _free(space: Space, rows: Floats) -> Mask:
    """Which coordinates (k, d) a gradient may move: continuous columns of active parameters."""
    continuous = np.array([column is Column.CONTINUOUS for column in space.columns], dtype=bool)
    mask: Mask = space.active(rows) & continuous
    return mask


def _best(worth: Worth, rows: Floats, count: int) -> Floats:
    """The `count` rows of the largest worth, best first, repeats left out."""
    distinct = np.unique(rows, axis=0)
    return distinct[np.argsort(-evaluate(worth, distinct), kind="stable")[:count]]


def _around(seeds: Floats, rng: np.random.Generator) -> Floats:
    """The seeds (k, d), and `NEARBY` points around each, most of them changed in few coordinates."""
    k, d = seeds.shape
    reach = 10.0 ** rng.uniform(-3, -1, size=(k, NEARBY, 1))
    changed = rng.random((k, NEARBY, d)) < rng.uniform(1 / max(d, 1), 1, size=(k, NEARBY, 1))
    cloud = seeds[:, None, :] + reach * changed * rng.standard_normal((k, NEARBY, d))
    return np.concatenate([seeds, np.clip(cloud, 0.0, 1.0).reshape(-1, d)])


def _sobol(n: int, dimension: int, rng: np.random.Generator) -> Floats:
    points: Floats = qmc.Sobol(dimension, scramble=True, rng=rng).random(n)
    return points


def _filled(rows: Floats, free: Mask, values: Floats) -> Floats:
    filled = rows.copy()
    filled[free] = values
    return filled


def _chunks(rows: Floats) -> list[Floats]:
    return [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
