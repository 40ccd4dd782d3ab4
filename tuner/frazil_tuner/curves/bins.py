"""Beliefs about single values as masses of bins: what a network answers, in the units of the scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Integers


@dataclass(frozen=True)
class Bins:
    """m densities, constant within the B bins between `edges` (B + 1,), each moved by its `shift` (m,).

    `mass` (m, B), rows sum to 1. Beyond the outermost edges a score counts as one there.
    """

    mass: Floats
    edges: Floats
    shift: Floats

    @cached_property
    def mean(self) -> Floats:
        mean: Floats = self.mass @ self._centres + self.shift
        return mean

    @cached_property
    def sd(self) -> Floats:
        second = self.mass @ (np.square(self._centres - self._centres[0]) + np.square(self._widths) / 12)
        sd: Floats = np.sqrt(second - np.square(self.mean - self.shift - self._centres[0]))
        return sd

    def log_density(self, score: Floats) -> Floats:
        index, _ = self._place(score)
        density: Floats = np.log(self.mass[self._rows, index] / self._widths[index])
        return density

    def exceeding(self, threshold: Floats | float) -> Floats:
        index, share = self._place(threshold)
        chance: Floats = 1.0 - self._total[self._rows, index] + (1.0 - share) * self.mass[self._rows, index]
        clipped: Floats = np.clip(chance, 0.0, 1.0)
        return clipped

    def improvement(self, threshold: Floats | float) -> Floats:
        """∫_t^∞ P(y > u) du: what the bins above that of t have, and the part of that bin above t, a trapezoid."""
        index, share = self._place(threshold)
        left = (1.0 - share) * self._widths[index]
        chance = self._above[self._rows, index + 1] + 0.5 * (1.0 - share) * self.mass[self._rows, index]
        short: Floats = np.maximum(self.edges[0] + self.shift - threshold, 0.0)
        improvement: Floats = self._gains[self._rows, index + 1] + left * chance + short
        return improvement

    def quantile(self, q: float) -> Floats:
        quantile: Floats = self.at_levels(np.full((1, len(self.mass)), q))[0]
        return quantile

    def at_levels(self, level: Floats) -> Floats:
        """The scores (count, m) at levels (count, m) in [0, 1]."""
        index = np.empty(level.shape, dtype=np.int64)
        for place, total in enumerate(self._total):
            index[:, place] = np.searchsorted(total, level[:, place])
        index = np.minimum(index, self.mass.shape[1] - 1)
        mass = self.mass[self._rows, index]
        share = np.clip((level - self._total[self._rows, index] + mass) / np.maximum(mass, 1e-300), 0.0, 1.0)
        scores: Floats = self.edges[index] + share * self._widths[index] + self.shift
        return scores

    @property
    def _rows(self) -> Integers:
        return np.arange(len(self.mass))

    @property
    def _centres(self) -> Floats:
        centres: Floats = 0.5 * (self.edges[1:] + self.edges[:-1])
        return centres

    @property
    def _widths(self) -> Floats:
        widths: Floats = np.diff(self.edges)
        return widths

    @cached_property
    def _total(self) -> Floats:
        """Masses (m, B) up to each bin and with it."""
        total: Floats = np.cumsum(self.mass, 1)
        return total

    @cached_property
    def _above(self) -> Floats:
        """P(y > e) (m, B + 1) at each edge."""
        above: Floats = np.cumsum(self.mass[:, ::-1], 1)[:, ::-1]
        return np.pad(above, ((0, 0), (0, 1)))

    @cached_property
    def _gains(self) -> Floats:
        """E max(y - e, 0) (m, B + 1) at each edge."""
        gains: Floats = 0.5 * (self._above[:, :-1] + self._above[:, 1:]) * self._widths
        gains = np.cumsum(gains[:, ::-1], 1)[:, ::-1]
        return np.pad(gains, ((0, 0), (0, 1)))

    def _place(self, score: Floats | float) -> tuple[Integers, Floats]:
        """The bin (m,) of each score, and the share of the bin below it."""
        score = np.clip(score - self.shift, self.edges[0], self.edges[-1])
        index = np.clip(np.searchsorted(self.edges, score, side="right") - 1, 0, self.mass.shape[1] - 1)
        return index, (score - self.edges[index]) / self._widths[index]
