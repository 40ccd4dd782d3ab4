"""Beliefs about single values: mixtures of normal distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp, ndtr

from ..numerics import log_h

if TYPE_CHECKING:
    from ..numerics import Floats

HALVINGS = 60
"""Halvings of an interval in which a quantile lies."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """m mixtures of k normal distributions: `weights`, `means` and `sds` (k, m); weights sum to 1, sds are > 0."""

    weights: Floats
    means: Floats
    sds: Floats

    @property
    def mean(self) -> Floats:
        mean: Floats = (self.weights * self.means).sum(0)
        return mean

    @property
    def sd(self) -> Floats:
        variance = (self.weights * (np.square(self.sds) + np.square(self.means - self.mean))).sum(0)
        sd: Floats = np.sqrt(variance)
        return sd

    def log_density(self, score: Floats) -> Floats:
        z = (score - self.means) / self.sds
        logs = -0.5 * np.square(z) - np.log(self.sds) - 0.5 * math.log(2 * math.pi)
        density: Floats = logsumexp(logs, axis=0, b=self.weights)
        return density

    def exceeding(self, threshold: Floats | float) -> Floats:
        chance: Floats = (self.weights * ndtr((self.means - threshold) / self.sds)).sum(0)
        return chance

    def improvement(self, threshold: Floats | float) -> Floats:
        """Σ w s h((m - threshold) / s),  h(z) = φ(z) + z Φ(z)"""
        z = (self.means - threshold) / self.sds
        improvement: Floats = (self.weights * self.sds * np.exp(log_h(np.clip(z, -1e100, 1e100)))).sum(0)
        return improvement

    def quantile(self, q: float) -> Floats:
        low, high = (self.means - 40 * self.sds).min(0), (self.means + 40 * self.sds).max(0)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            above = self.exceeding(middle) > 1 - q
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        answer: Floats = 0.5 * (low + high)
        return answer

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Values (count, m), each place by itself."""
        return self.drawn(rng.random((count, self.means.shape[1])), rng.standard_normal((count, self.means.shape[1])))

    def drawn(self, chance: Floats, normal: Floats) -> Floats:
        """Values (count, m) from uniform numbers that choose the parts and standard normal ones within them."""
        part = np.minimum((chance[..., None] > np.cumsum(self.weights, 0).T).sum(-1), len(self.weights) - 1)
        place = np.arange(self.means.shape[1])
        values: Floats = self.means[part, place] + self.sds[part, place] * normal
        return values
