"""Two beliefs about different values as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Mask, Predictive


@dataclass(frozen=True, slots=True)
class Joined:
    """Of m values those that are `first` (m,) as `one` says, in order, and the rest as `other` does."""

    one: Predictive
    other: Predictive
    first: Mask

    @property
    def mean(self) -> Floats:
        return self._whole(self.one.mean, self.other.mean)

    @property
    def sd(self) -> Floats:
        return self._whole(self.one.sd, self.other.sd)

    def log_density(self, score: Floats) -> Floats:
        one, other = self._parts(score)
        return self._whole(self.one.log_density(one), self.other.log_density(other))

    def quantile(self, q: float) -> Floats:
        return self._whole(self.one.quantile(q), self.other.quantile(q))

    def exceeding(self, threshold: Floats | float) -> Floats:
        one, other = self._parts(threshold)
        return self._whole(self.one.exceeding(one), self.other.exceeding(other))

    def improvement(self, threshold: Floats | float) -> Floats:
        one, other = self._parts(threshold)
        return self._whole(self.one.improvement(one), self.other.improvement(other))

    def _parts(self, scores: Floats | float) -> tuple[Floats, Floats]:
        each = np.broadcast_to(np.asarray(scores, dtype=np.float64), self.first.shape)
        return each[self.first], each[~self.first]

    def _whole(self, one: Floats, other: Floats) -> Floats:
        whole = np.empty(len(self.first))
        whole[self.first], whole[~self.first] = one, other
        return whole
