"""Which observations of a curve a model looks at: a curve says as much with a dozen of them as with all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Integers


def thinned(step: Integers, score: Floats, most: int) -> Integers:
    """At most `most` ≥ 5 indices of a curve's observations, ascending: the first, the best, the last two, and others
    spaced evenly by the logarithm of the step. `step` (k,) ascends.
    """
    k = len(step)
    if k <= most:
        return np.arange(k)
    marks = np.exp(np.linspace(np.log(step[0]), np.log(step[-1]), most - 3))
    spaced = np.minimum(np.searchsorted(step, marks - 0.5), k - 1)
    return np.unique([*spaced.tolist(), 0, int(np.argmax(score)), k - 2, k - 1])
