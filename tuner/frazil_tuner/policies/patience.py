"""Patience with runs that have learned their training data by heart: some of them come to generalise much later."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..history import Curve, Objective, Trial
    from ..numerics import Floats

REST = 0.02
"""A curve is at rest where it ranges over less than this share of its whole range."""

LEAST = 3
"""Points that must be at rest before a curve counts as saturated."""

SLACK = 0.1
"""A drift towards worse within this share of a curve's whole range counts as flat."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to spare a run that has stopped moving: `steps`, none if 0; from when on `train_metric` says.

    With a train metric, a run is spared for so many steps from where that metric came to rest, as long as the objective
    does not drift towards worse: delayed generalisation ("grokking", Power et al. 2022) looks like this for long. A run
    that over-fits drifts, and one that has not yet learned its training data is not at rest; neither is spared.
    Without one, a run is spared for so many steps from its best.
    """

    steps: int = 0
    train_metric: str = ""

    def spares(self, trial: Trial, objective: Objective) -> bool:
        """Whether a run with at least one value of the objective should go on although a rule speaks against it."""
        curve = trial.curves[objective.metric]
        if not self.train_metric:
            return trial.last_step - _best_step(curve, objective) < self.steps
        since = saturated_since(trial.curves.get(self.train_metric, ()))
        if since is None or trial.last_step - since >= self.steps:
            return False
        later = curve[bisect_left(curve, (since,)) :]
        return not worsens(_scores(later, objective), _scores(curve, objective))


def saturated_since(curve: Curve) -> int | None:
    """The first step from which on a curve is at rest; None if it is not, or too briefly, or not finite."""
    values = np.array([value for _, value in curve])
    if len(values) < LEAST or not np.isfinite(values).all():
        return None
    backwards = values[::-1]
    ranges = np.maximum.accumulate(backwards) - np.minimum.accumulate(backwards)  # of the last 1, 2, … points
    at_rest = int(np.searchsorted(ranges, REST * ranges[-1], side="right"))
    return curve[len(curve) - at_rest][0] if at_rest >= LEAST else None


def worsens(later: Floats, whole: Floats) -> bool:
    """Whether the second half of the later scores (larger is better) lies below the first, beyond range and jitter."""
    if len(later) < 2 or not np.isfinite(later).all():
        return not np.isfinite(later).all()
    finite = whole[np.isfinite(whole)]
    jitter = float(np.median(np.abs(np.diff(later))))
    middle = len(later) // 2
    drift = float(later[middle:].mean() - later[:middle].mean())
    return -drift > max(SLACK * float(np.ptp(finite)), 2 * jitter)


def _scores(curve: Curve, objective: Objective) -> Floats:
    return objective.sign * np.array([value for _, value in curve])


def _best_step(curve: Curve, objective: Objective) -> int:
    scores = np.nan_to_num(_scores(curve, objective), nan=-np.inf, posinf=-np.inf)
    return curve[int(np.argmax(scores))][0]
