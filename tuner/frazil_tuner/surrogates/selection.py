"""Which rows of the evidence a model is given, where it could not bear all. The same for permuted evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .base import Evidence, Slopes


def best_first(X: Tensor, y: Tensor) -> Tensor:
    """Row numbers (n,) by outcome, largest first; equal outcomes by their points."""
    return torch.from_numpy(np.lexsort((*X.T.numpy(), -y.numpy())))


def evenly(rows: Tensor, count: int) -> Tensor:
    """At most `count` of the rows, at equal distances along their order."""
    if len(rows) <= count:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, count, dtype=torch.float64).long()]


def best_and_spread(X: Tensor, y: Tensor, count: int) -> Tensor:
    """At most `count` row numbers: half of them the best, the others at equal distances along the order of the rest."""
    order = best_first(X, y)
    best = (count + 1) // 2
    return torch.cat([order[:best], evenly(order[best:], count - best)])


def rows_of(evidence: Evidence, rows: Tensor) -> Evidence:
    """The evidence of some rows (k,), in that order, with the slopes at them and the rankings among them."""
    place = torch.full((len(evidence.y),), -1)
    place[rows] = torch.arange(len(rows))
    rankings = (place[ranking] for ranking in evidence.rankings)
    return replace(
        evidence,
        X=evidence.X[rows],
        y=evidence.y[rows],
        noise=_at(evidence.noise, rows),
        active=_at(evidence.active, rows),
        tasks=_at(evidence.tasks, rows),
        slopes=None if evidence.slopes is None else _slopes_at(evidence.slopes, place),
        rankings=tuple(ranking[ranking >= 0] for ranking in rankings if int((ranking >= 0).sum()) > 1),
    )


def _at(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]


def _slopes_at(slopes: Slopes, place: Tensor) -> Slopes:
    kept = place[slopes.rows] >= 0
    return Slopes(place[slopes.rows][kept], slopes.columns[kept], slopes.slopes[kept])
