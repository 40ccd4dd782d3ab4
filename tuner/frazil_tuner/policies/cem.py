"""The cross-entropy method: a distribution that is refitted to the best of each generation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import ndtr, ndtri

from ..space import Column
from ..space.kinds.computed import Computed
from .guided import guided_starts
from .model_free import best_trained, go_on
from .options import option
from .readings import is_short, read, varied
from .scope import Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..history import Study, Trial
    from ..numerics import Floats
    from ..space import Space
    from .base import Continue, Recommendation, Suggestion

START = 0.4
"""The first deviation, in edges of the cube: nearly uniform."""

NARROWEST = 1e-6
"""The least deviation, so that the normal distributions stay ones."""


@dataclass(frozen=True, slots=True)
class Cem:
    """Independent normal and categorical distributions, moved towards the best fifth of each generation.

    mean ← (1 - s) mean + s mean(elite), and so for deviations and for the probabilities of names; s is `smoothing`

    The distributions are found by replaying the finished trials, so an answer needs no memory. Starts with a
    generation of Sobol points.    De Boer et al. 2005, "A tutorial on the cross-entropy method", algorithm 3.1, (34).
    """

    name: ClassVar[str] = "cem"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope(serves_comparisons=True, handles_constraints=True)

    population: int = option(
        0, "trials of a generation; 0 stands for twice the dimension, from 10 to 100", low=0, high=1000
    )
    elite: float = option(0.2, "the share of a generation that the next one follows", low=0.01, high=1)
    smoothing: float = option(0.7, "how far the distributions move towards the elite", low=0.01, high=1)

    def is_light(self, study: Study) -> bool:
        return is_short(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        reading, space = read(study), study.search_space
        population = self.population or min(max(2 * space.dimension, 10), 100)
        if len(reading) < population or not reading.sound.any() or not varied(space).any():
            return sobol_starts(study, count, seed, {"policy": self.name, "phase": "warm-up"})
        distribution = _Distribution(space)
        rows, merits = reading.genes(study), reading.merits()
        generations = len(rows) // population
        for end in range(population, generations * population + 1, population):
            generation = slice(end - population, end)
            order = np.argsort(-merits[generation], kind="stable")
            best = order[: math.ceil(self.elite * population)]
            distribution.follow(rows[generation][best], self.smoothing)
        rng = np.random.default_rng(seed)
        why = {"policy": self.name, "generation": generations, "spread": float(distribution.sd.mean())}
        return guided_starts(study, count, seed, lambda: distribution.draw(rng), why)

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)


class _Distribution:
    """Normal distributions, cut off at the ends of the cube, in ordered columns; probabilities of each name in others.

    `mean`, `sd` (d,); `odds` by column (levels,).
    """

    def __init__(self, space: Space) -> None:
        self.mean = np.full(space.dimension, 0.5)
        self.sd = np.full(space.dimension, START)
        self.odds = {column: np.full(size, 1 / size) for column, size in _names(space)}

    def follow(self, elite: Floats, smoothing: float) -> None:
        """Move towards the rows (k, d) of an elite."""
        self.mean += smoothing * (elite.mean(0) - self.mean)
        self.sd = np.maximum(self.sd + smoothing * (elite.std(0) - self.sd), NARROWEST)
        self.odds = {
            column: odds + smoothing * (_shares(elite[:, column], len(odds)) - odds)
            for column, odds in self.odds.items()
        }

    def draw(self, rng: np.random.Generator) -> Floats:
        """A row (d,)."""
        low, high = ndtr((0.0 - self.mean) / self.sd), ndtr((1.0 - self.mean) / self.sd)
        row: Floats = self.mean + self.sd * ndtri(low + rng.random(len(low)) * (high - low))
        for column, odds in self.odds.items():
            row[column] = (rng.choice(len(odds), p=odds / odds.sum()) + 0.5) / len(odds)
        return np.clip(row, 0.0, 1.0)


def _names(space: Space) -> Iterator[tuple[int, int]]:
    """The unordered columns, with how many levels each has."""
    column = 0
    for parameter in space.parameters:
        kind = parameter.kind
        if not isinstance(kind, Computed) and kind.columns == (Column.UNORDERED,) and kind.size:
            yield column, kind.size
        column += len(kind.columns)


def _shares(u: Floats, size: int) -> Floats:
    """How often (size,) each level stands in a column (k,)."""
    levels = np.minimum((u * size).astype(int), size - 1)
    return np.bincount(levels, minlength=size) / len(u)
