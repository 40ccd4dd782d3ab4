"""A model of the part of a long history that matters for the next point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Belief, Evidence, Surrogate
from .selection import best_first, evenly, rows_of


@dataclass(frozen=True, slots=True)
class Local:
    """Another surrogate, given at most `most` rows: half of them around the best one, a quarter the best, and a
    quarter evenly from all other outcomes, lest the model forget where it is bad.

    Costs no more for ten thousand rows than for a thousand, but for the choice itself, which is linear in them.
    """

    inner: Surrogate
    most: int = 300

    def fit(self, evidence: Evidence) -> Belief:
        return self.inner.fit(rows_of(evidence, relevant(evidence.X, evidence.y, evidence.unordered, self.most)))


def relevant(X: Tensor, y: Tensor, unordered: Tensor, most: int) -> Tensor:
    """At most `most` row numbers; all if there are no more."""
    if len(y) <= most:
        return torch.arange(len(y))
    order = best_first(X, y)
    best, rest = order[: most // 4], order[most // 4 :]
    near = torch.zeros(len(rest), dtype=torch.bool)
    near[_distance(X[rest], X[order[0]], unordered).argsort(stable=True)[: most // 2]] = True
    return torch.cat([best, rest[near], evenly(rest[~near], most - most // 4 - most // 2)])


def _distance(X: Tensor, x: Tensor, unordered: Tensor) -> Tensor:
    """Squared distances (n,) in ordered columns plus the number of differences in unordered ones."""
    return torch.where(unordered, (x != X).to(X.dtype), (X - x).square()).sum(1)
