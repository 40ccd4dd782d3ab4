"""Where the curve of a trial is expected to go: from the last step that was measured to the maximum."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Conflict, Problem, Refused
from ..history import Objective
from ..space.fields import shown

if TYPE_CHECKING:
    from ..curves import CurveBelief, Curves
    from ..history import Study, Trial
    from ..numerics import Floats

MODEL = "guarded"
"""The model of curves that people are shown, by its name in `CURVE_MODELS`."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def extrapolation(study: Study, number: int, points: int = 100, metric: str | None = None) -> dict[str, Any]:
    """What is expected to be measured of a metric along the rest of trial `number`, in its units and direction.

    {"trial", "metric", "model", "steps": [...], "mean": [...], "quantiles": {"0.05": [...], ...}}: at most `points` ≥ 2
    steps, evenly spaced, from the last one measured (the first, where none was) to the maximum. A quantile is that of
    the metric: of 100 losses 5 are below the one at .05. Where the objective's summary is "best", values are the best
    up to their step.

    Raises Refused (codes trial_unknown, metric_unknown, resource_missing), and Conflict before anything was measured.
    """
    objective = _objective(study, metric)
    if study.resource is None:
        detail = "curves have no end to be foretold in a study without a resource"
        raise Refused(detail, code="resource_missing", problems=(Problem("/trial", detail),))
    from ..curves import observed_trials, read_curves

    index, trial = _find(observed_trials(study), number)
    curves = read_curves(study, objective)
    if not np.isfinite(curves.score).any():
        raise Conflict(f"no trial has a finite {objective.metric} yet", code="too_few_trials")
    curve = trial.curves.get(objective.metric, ())
    reached = min(max(curve[-1][0] if curve else 1, 1), curves.max_step)
    steps = np.unique(np.linspace(reached, curves.max_step, points).round().astype(np.int64))
    expected = _expected(curves, index, steps, objective.sign)
    return {"trial": number, "metric": objective.metric, "model": MODEL, "steps": steps.tolist(), **expected}


def _objective(study: Study, metric: str | None) -> Objective:
    """What `metric` names, an objective or a constrained metric; the first objective if it is None."""
    known = {
        constraint.metric: Objective(constraint.metric, "maximize" if constraint.at_least else "minimize")
        for constraint in study.definition.outcome_constraints
    } | {objective.metric: objective for objective in study.objectives if objective.by == "value"}
    name = study.objective.metric if metric is None else metric
    if name not in known:
        detail = (
            f"no curves of {shown(name)} to learn from; the study is decided by {', '.join(known) or 'comparisons'}"
        )
        raise Refused(detail, code="metric_unknown", problems=(Problem("/metric", detail),))
    return known[name]


def _find(trials: list[Trial], number: int) -> tuple[int, Trial]:
    """The place of a trial among those that the tuner knows."""
    for index, trial in enumerate(trials):
        if trial.number == number:
            return index, trial
    detail = f"there is no trial {shown(number)} that the tuner knows of"
    raise Refused(detail, code="trial_unknown", problems=(Problem("/trial", detail),))


def _expected(curves: Curves, index: int, steps: Any, sign: float) -> dict[str, Any]:
    from ..curves import Where

    belief = belief_of(curves)
    where = Where(np.repeat(curves.x[index : index + 1], len(steps), axis=0), np.full(len(steps), index), steps)
    found = belief.at(where)
    flipped = {q: q if sign > 0 else 1 - q for q in QUANTILES}  # the best scores are the smallest losses
    return {
        "mean": _plain(sign * found.mean),
        "quantiles": {f"{q:g}": _plain(sign * found.quantile(flipped[q])) for q in QUANTILES},
    }


def _plain(values: Floats) -> list[float]:
    return [float(value) for value in values]


_fitted: OrderedDict[bytes, CurveBelief] = OrderedDict()
_KEPT = 4
"""Beliefs that a process remembers: who looks at one curve soon looks at another, and a fit takes seconds."""


def belief_of(curves: Curves) -> CurveBelief:
    """What the model that people are shown believes of curves. Raises Conflict (code fit_failed) where none can be
    fitted.
    """
    from ..curves import CURVE_MODELS
    from ..surrogates import FitFailed

    key = hashlib.sha256(pickle.dumps(curves)).digest()
    if key not in _fitted:
        try:
            _fitted[key] = CURVE_MODELS[MODEL].fit(curves)
        except FitFailed as failure:
            raise Conflict(f"no model can be fitted at present: {failure}", code="fit_failed") from failure
        if len(_fitted) > _KEPT:
            _fitted.popitem(last=False)
    _fitted.move_to_end(key)
    return _fitted[key]
