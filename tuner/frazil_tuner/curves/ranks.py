"""Scores by their ranks among some that were seen: an outcome that a Gaussian process bears, whatever the metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

if TYPE_CHECKING:
    from ..numerics import Floats

TAIL = 0.25
"""Beyond the outermost score the map goes on as it did, on average, over so many of the scores next to it."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """A monotone map: at `knots` (k ≥ 2,), ascending, it has the standardised normal scores `z` (k,) of their ranks, in
    between and beyond it is straight.

        z_i = (Φ⁻¹((rank_i - ½) / n) - mean) / sd          Blom 1958, with the plotting position of Hazen
    """

    knots: Floats
    z: Floats

    @classmethod
    def of(cls, scores: Floats) -> Ranks | None:
        """For scores (n,), equal ones of which share their rank; None where all are equal."""
        z = ndtri((rankdata(scores) - 0.5) / len(scores))
        knots, first = np.unique(scores, return_index=True)
        apart = np.append(True, np.diff(knots) > 1e-12 * np.abs(knots).max())
        if apart.sum() < 2:
            return None
        return cls(knots[apart], ((z - z.mean()) / z.std())[first[apart]])

    def apply(self, scores: Floats) -> Floats:
        """(m,) to (m,)."""
        reach = max(round(TAIL * len(self.knots)), 1)
        y, z = self.knots, self.z
        up = (z[-1] - z[-1 - reach]) / (y[-1] - y[-1 - reach])
        down = (z[reach] - z[0]) / (y[reach] - y[0])
        within = np.interp(scores, y, z)
        mapped: Floats = within + up * np.maximum(scores - y[-1], 0.0) + down * np.minimum(scores - y[0], 0.0)
        return mapped
