"""Where a worth is largest: over a list exactly, over a space by seeds, gradients and exact neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import qmc

from ..space import Column, Space
from .ascent import ascend

if TYPE_CHECKING:
    from ..numerics import Floats
    from .outlook import Worth

Mask = NDArray[np.bool_]

CHUNK = 4_096
"""Rows evaluated at a time, so that a hundred thousand candidates fit in memory."""

SPREAD = 256
"""Sobol points that look for basins."""

NEARBY = 16
"""Points around each seed, at distances from a tenth to a thousandth of the cube's edge."""

CLIMBERS = 4
"""How many of the best Sobol points, and as many of the best nearby points, climb."""

EVALUATIONS = 32
"""Evaluations of all climbers together in one ascent."""

ROUNDS = 32
"""Alternations of climbing and hopping before a search is called long enough."""

POLISHED = 3
"""How many of the best rows of a constrained space follow its boundary."""


@runtime_checkable
class Lean(Protocol):
    """A worth that knows its values and slopes without torch."""

    def values(self, rows: Floats) -> Floats:
        """The worth (m,) of rows (m, d)."""
        ...

    def sloped(self, rows: Floats) -> tuple[Floats, Floats]:
        """The worth (m,) of rows (m, d), and its slopes (m, d)."""
        ...


def evaluate(worth: Worth, rows: Floats) -> Floats:
    """The worth (n,) of rows (n, d), in chunks; NaN counts as -inf."""
    values = np.concatenate([*(_values(worth, chunk) for chunk in _chunks(rows)), np.empty(0)])
    return np.where(np.isnan(values), -np.inf, values)


def _values(worth: Worth, rows: Floats) -> Floats:
    if isinstance(worth, Lean):
        return worth.values(rows)
    with torch.no_grad():
        values: Floats = worth(torch.from_numpy(rows)).numpy()
    return values


def sloped(worth: Worth, rows: Floats) -> tuple[Floats, Floats]:
    """The worth (m,) of rows (m, d), and its slopes (m, d)."""
    if isinstance(worth, Lean):
        return worth.sloped(rows)
    x = torch.from_numpy(rows).requires_grad_()
    values = worth(x)
    (slopes,) = torch.autograd.grad(values.sum(), x) if values.requires_grad else (torch.zeros_like(x),)
    return values.detach().numpy(), slopes.numpy()


def search(worth: Worth, space: Space, seeds: Floats, rng: np.random.Generator) -> Floats:
    """Snapped, feasible rows (m, d) of a space, the best found first; `seeds` (k, d) are good places to look.

    Sobol points and the surroundings of the seeds are compared, the best of either climb along the gradient in their
    continuous columns and hop to their best discrete neighbour, in turn, until no hop helps. In a space with
    constraints the best then follow its boundary.
    """
    wide = space.sample(rng, SPREAD) if space.constraints else space.snap(_sobol(SPREAD, space.dimension, rng))
    near = space.snap(_around(seeds, rng))
    near = near[space.feasible(near)] if space.constraints else near
    seen = np.concatenate([near, wide])
    values = evaluate(worth, seen)
    chosen = np.concatenate([_best(values[: len(near)]), len(near) + _best(values[len(near) :])])
    rows, reached = _settle(worth, space, seen[chosen])
    if space.constraints:
        rows, reached = _follow_boundary(worth, space, rows, reached)
    everything, order = np.concatenate([rows, seen]), np.argsort(-np.concatenate([reached, values]), kind="stable")
    return everything[order]


def _settle(worth: Worth, space: Space, rows: Floats) -> tuple[Floats, Floats]:
    """Rows (k, d) after climbing and hopping, and their worth (k,)."""
    rows, values = _climb(worth, space, rows)
    for _ in range(ROUNDS if _hops(space) else 0):
        rows, moved = _hop(worth, space, rows, values)
        if not moved.any():
            break
        rows, values = rows.copy(), values.copy()
        rows[moved], values[moved] = _climb(worth, space, rows[moved])
    return rows, values


def _climb(worth: Worth, space: Space, rows: Floats) -> tuple[Floats, Floats]:
    """Rows (k, d) after an ascent of their continuous coordinates, and their worth (k,); never lower, never outside."""
    climbed, values = ascend(lambda x: sloped(worth, x), rows, _free(space, rows), EVALUATIONS)
    if space.constraints:
        climbed = space.repair(climbed, rows)
        values = evaluate(worth, climbed)
        lower = values < (before := evaluate(worth, rows))
        climbed, values = np.where(lower[:, None], rows, climbed), np.maximum(values, before)
    return climbed, values


def _follow_boundary(worth: Worth, space: Space, rows: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The rows (k, d) with the best of them moved along the smooth constraints, and their worth (k,)."""
    rows, values = rows.copy(), values.copy()
    for i in np.argsort(-values, kind="stable")[:POLISHED]:
        moved = space.repair(_constrained_ascent(worth, space, rows[i])[None], rows[i][None])
        value = float(evaluate(worth, moved)[0])
        if value > values[i]:
            rows[i], values[i] = moved[0], value
    return rows, values


def _constrained_ascent(worth: Worth, space: Space, row: Floats) -> Floats:
    """A row (d,) after sequential quadratic programming under the slacks of the smooth constraints."""
    free = _free(space, row[None])[0]
    if not free.any():
        return row

    def filled(values: Floats) -> Floats:
        x = row.copy()
        x[free] = np.clip(values, 0.0, 1.0)
        return x[None]

    def loss(values: Floats) -> tuple[float, Floats]:
        value, slope = sloped(worth, filled(values))
        return -float(value[0]), -slope[0, free]

    within = {
        "type": "ineq",
        "fun": lambda values: space.slack(filled(values))[0],
        "jac": lambda values: space.slack_slopes(filled(values))[0][:, free],
    }
    bounds = [(0.0, 1.0)] * int(free.sum())
    answer = minimize(loss, row[free], jac=True, bounds=bounds, constraints=[within], method="SLSQP")
    reached: Floats = filled(answer.x)[0] if np.isfinite(answer.x).all() else row
    return reached


def _hop(worth: Worth, space: Space, rows: Floats, present: Floats) -> tuple[Floats, Mask]:
    """Each row (k, d) of worth `present` (k,) or its best discrete neighbour, if that is better; and which moved."""
    neighbours = [space.neighbours(row) for row in rows]
    values = evaluate(worth, np.concatenate(neighbours))
    parts = np.split(values, np.cumsum([len(part) for part in neighbours])[:-1])
    moved = np.array([len(part) > 0 and part.max() > here for part, here in zip(parts, present, strict=True)])
    best = [
        near[part.argmax()] if move else row
        for row, near, part, move in zip(rows, neighbours, parts, moved, strict=True)
    ]
    return np.array(best), moved


def _hops(space: Space) -> bool:
    return any(column is not Column.CONTINUOUS for column in space.columns)


def _free(space: Space, rows: Floats) -> Mask:
    """Which coordinates (k, d) a gradient may move: continuous columns of active parameters."""
    continuous = np.array([column is Column.CONTINUOUS for column in space.columns], dtype=bool)
    mask: Mask = space.active(rows) & continuous & ~space.held_columns
    return mask


def _best(values: Floats) -> NDArray[np.intp]:
    """The indices of the `CLIMBERS` largest values, best first."""
    return np.argsort(-values, kind="stable")[:CLIMBERS]


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


def _chunks(rows: Floats) -> list[Floats]:
    return [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
