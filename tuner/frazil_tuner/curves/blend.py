"""Two beliefs about the same values as one: a mixture, with a weight for each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Predictive

HALVINGS = 50
"""Halvings of the interval between the two quantiles, within which that of the mixture lies."""


@dataclass(frozen=True, slots=True)
class Blend:
    """p(y) = share · p_one(y) + (1 - share) · p_other(y), `share` (m,) in (0, 1)."""

    one: Predictive
    other: Predictive
    share: Floats

    @property
    def mean(self) -> Floats:
        return self.share * self.one.mean + (1 - self.share) * self.other.mean

    @property
    def sd(self) -> Floats:
        """Var = Σ share_i Var_i + share (1 - share) (mean_one - mean_other)²."""
        within = self.share * np.square(self.one.sd) + (1 - self.share) * np.square(self.other.sd)
        between = self.share * (1 - self.share) * np.square(self.one.mean - self.other.mean)
        sd: Floats = np.sqrt(within + between)
        return sd

    def log_density(self, score: Floats) -> Floats:
        density: Floats = np.logaddexp(
            np.log(self.share) + self.one.log_density(score), np.log1p(-self.share) + self.other.log_density(score)
        )
        return density

    def exceeding(self, threshold: Floats | float) -> Floats:
        return self.share * self.one.exceeding(threshold) + (1 - self.share) * self.other.exceeding(threshold)

    def improvement(self, threshold: Floats | float) -> Floats:
        return self.share * self.one.improvement(threshold) + (1 - self.share) * self.other.improvement(threshold)

    def quantile(self, q: float) -> Floats:
        ends = self.one.quantile(q), self.other.quantile(q)
        low, high = np.minimum(*ends), np.maximum(*ends)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            above = self.exceeding(middle) > 1 - q
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return 0.5 * (low + high)
