"""The distribution of CMA-ES after a history, by replaying it. Imports `cmaes`, the library behind Optuna's sampler:
through Optuna itself the state would have to live in a storage, and a snapshot has none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cmaes
import numpy as np

if TYPE_CHECKING:
    from ..numerics import Floats

SIGMA = 0.3
"""The first step size, in edges of the cube: Hansen 2016, "The CMA evolution strategy: a tutorial", appendix B."""

MOST_GENERATIONS = 400
"""Generations that are replayed; what lies before decides where the first of them starts. Half of them are dropped at
a time, so that from one generation to the next the replay almost always starts at the same place."""

FINEST = 1e-7
"""A spread below this can no longer tell points apart: they are rounded to 1e-8 of the cube."""


class Distribution(cmaes.CMA):  # type: ignore[misc]  # the library has no types
    """CMA-ES on the unit cube that takes in points whoever proposed them."""

    @property
    def spread(self) -> float:
        """The largest deviation along any direction, in edges of the cube."""
        _, deviations = self._eigen_decomposition()
        return float(self._sigma * deviations.max())

    @property
    def is_spent(self) -> bool:
        """Whether it has converged or broken down, so that a restart is due."""
        return bool(self.should_stop()) or self.spread < FINEST

    def absorb(self, rows: Floats, losses: Floats) -> None:
        """Take in a generation (k, d) with its losses (k,); far points are pulled near before they count.

        |C^-½ (x - m) / σ| ≤ √d + 2 d / (d + 2)            Hansen 2011, "Injecting external solutions", eq. (1)
        """
        basis, deviations = self._eigen_decomposition()
        steps = rows - self.mean
        lengths = np.linalg.norm(steps @ basis / (self._sigma * deviations), axis=1)
        d = rows.shape[1]
        longest = math.sqrt(d) + 2 * d / (d + 2)
        pulled = self.mean + steps * np.minimum(1.0, longest / np.maximum(lengths, 1e-300))[:, None]
        self.tell(list(zip(pulled, losses.tolist(), strict=True)))


def replay(rows: Floats, losses: Floats, population: int, seed: int) -> tuple[Distribution, int]:
    """The distribution that a history (n, d), losses (n,), leads to, and how often it was started anew.

    A generation is the next so many trials. A spent distribution makes way for one at a random place, with twice the
    population: Auger and Hansen 2005. `seed` decides about these places only.
    """
    rng = np.random.default_rng(seed)
    size = population or 4 + math.floor(3 * math.log(rows.shape[1]))
    half = MOST_GENERATIONS // 2 * size
    begin = max(len(rows) // half - 1, 0) * half
    distribution, restarts = _first(rows[:begin], losses[:begin], size), 0
    while begin + distribution.population_size <= len(rows):
        end = begin + distribution.population_size
        distribution.absorb(rows[begin:end], losses[begin:end])
        begin = end
        if distribution.is_spent:
            restarts += 1
            distribution = _at(rng.random((rows.shape[1],)), SIGMA, 2 * distribution.population_size)
    return distribution, restarts


def _first(rows: Floats, losses: Floats, size: int) -> Distribution:
    """At the centre; or, after a history that is too long to replay, over the best tenth of it."""
    if not len(rows):
        return _at(np.full(rows.shape[1], 0.5), SIGMA, size)
    best: Floats = rows[np.argsort(losses, kind="stable")[: math.ceil(len(rows) / 10)]]
    centre: Floats = best.mean(0)
    return _at(centre, float(np.clip(best.std(0).mean(), 1e3 * FINEST, SIGMA)), size)


def _at(mean: Floats, sigma: float, size: int) -> Distribution:
    return Distribution(mean, sigma, np.tile([0.0, 1.0], (len(mean), 1)), population_size=size)
