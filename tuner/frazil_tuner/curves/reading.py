"""From a study to its curves: the door at which sense and summary are settled."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..space import Column
from .base import Curves

if TYPE_CHECKING:
    from ..history import Objective, Study, Trial


def read_curves(study: Study, objective: Objective) -> Curves:
    """The curves of all trials that are not excluded, in the study's order; `observed_trials` says whose they are.

    With `summary` "last" a score is the value at its step. With "best" it is the best one up to that step, so that a
    belief about the last step is one about what the trial will be worth; what diverged before it learned anything is
    -inf, and later counts as the best before. A value that was told without a curve stands at the last step.
    """
    trials = observed_trials(study)
    readings = [list(_scores(trial, objective, _last_step(study, trial))) for trial in trials]
    longest = max((step for reading in readings for step, _ in reading), default=1)
    return Curves(
        x=study.space.encode_many([trial.params for trial in trials]),
        owner=np.repeat(np.arange(len(trials)), [len(reading) for reading in readings]),
        step=np.array([step for reading in readings for step, _ in reading], dtype=np.int64),
        score=np.array([score for reading in readings for _, score in reading], dtype=np.float64),
        dead=np.array([_is_dead(trial, objective) for trial in trials], dtype=bool),
        max_step=max(longest, study.resource.max if study.resource else 1),
        unordered=np.array([column is Column.UNORDERED for column in study.space.columns], dtype=bool),
    )


def observed_trials(study: Study) -> list[Trial]:
    """The trials whose curves `read_curves` has, one for each row of `x`."""
    return [trial for trial in study.trials if not trial.excluded]


def _last_step(study: Study, trial: Trial) -> int:
    return study.resource.max if study.resource else max(trial.last_step, 1)


def _scores(trial: Trial, objective: Objective, last: int) -> Iterable[tuple[int, float]]:
    """(step, score) pairs, without the state before training, step 0, which some frameworks report."""
    curve = trial.curves.get(objective.metric, ())
    if not curve and objective.metric in trial.values:
        curve = ((last, trial.values[objective.metric]),)
    best = -math.inf
    for step, value in curve:
        score = objective.sign * value if math.isfinite(value) else -math.inf
        best = max(best, score)
        if step >= 1:
            yield step, best if objective.summary == "best" else score


def _is_dead(trial: Trial, objective: Objective) -> bool:
    """Whether the trial counts as the worst of all for good."""
    if trial.state.worst:
        return True
    score = trial.score(objective)
    return trial.state.finished and score is not None and not math.isfinite(score)
