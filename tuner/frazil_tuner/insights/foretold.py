"""A study of runs that were frozen half-way, as if each had ended where it is believed to end."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..history import Objective, TrialState
from ..policies.modelling import finished

if TYPE_CHECKING:
    from ..history import Study, Trial

ENOUGH = 300
"""Finished trials that speak for themselves."""


def as_foretold(study: Study) -> tuple[Study, int]:
    """The study with every begun run finished, and how many of them are only believed to end so.

    Told are the means of where their curves end, with the deviations as standard errors. The study itself, and 0, where
    runs are not resumed, where nothing is unfinished, or where enough trials have ended.
    """
    resource = study.resource
    begun = {trial.number for trial in study.trials if _is_begun(trial)}
    if resource is None or resource.kind != "resumable" or not begun or len(finished(study)) >= ENOUGH:
        return study, 0
    trials = {trial.number: trial for trial in study.trials}
    for objective in _quantities(study):
        for number, mean, sd in _ends(study, objective, begun):
            trials[number] = _told(trials[number], objective.metric, mean, sd)
    foretold = {number for number in begun if trials[number].values}
    ended = [
        replace(trial, state=TrialState.COMPLETED) if trial.number in foretold else trial for trial in trials.values()
    ]
    return replace(study, trials=tuple(ended)), len(foretold)


def _is_begun(trial: Trial) -> bool:
    measured = any(math.isfinite(value) for curve in trial.curves.values() for _, value in curve)
    return measured and not trial.state.finished and not trial.excluded


def _quantities(study: Study) -> list[Objective]:
    """Everything that decides and has curves: objectives by value, and constrained metrics."""
    limits = study.definition.outcome_constraints
    known = {limit.metric: Objective(limit.metric, "maximize" if limit.at_least else "minimize") for limit in limits}
    return list((known | {item.metric: item for item in study.objectives if item.by == "value"}).values())


def _ends(study: Study, objective: Objective, begun: set[int]) -> list[tuple[int, float, float]]:
    """(number, mean, deviation) of the ends of begun runs in a metric, in its units."""
    from ..curves import Where, observed_trials, read_curves
    from .extrapolation import belief_of

    curves = read_curves(study, objective)
    seen = set(curves.owner[np.isfinite(curves.score)].tolist())
    found = [(i, trial.number) for i, trial in enumerate(observed_trials(study)) if trial.number in begun and i in seen]
    if not found:
        return []
    rows = np.array([i for i, _ in found])
    at_end = Where(curves.x[rows], rows, np.full(len(rows), curves.max_step))
    final = belief_of(curves).at(at_end, noisy=False)
    means, sds = (objective.sign * final.mean).tolist(), final.sd.tolist()
    return [(number, mean, sd) for (_, number), mean, sd in zip(found, means, sds, strict=True)]


def _told(trial: Trial, metric: str, mean: float, sd: float) -> Trial:
    return replace(trial, values={**trial.values, metric: mean}, sems={**trial.sems, metric: sd})
