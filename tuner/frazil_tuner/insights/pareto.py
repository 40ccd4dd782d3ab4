"""The best trade-offs of a study with several objectives, and how good they are together. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Problem, Refused
from ..pareto import hypervolume, non_dominated, r2, reference_point
from ..policies.readings import scores
from ..space.fields import number, pointer, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..history import Study
    from ..numerics import Floats

LARGEST = 1e150
"""Scores beyond are taken for this: the product of two of them would overflow."""


def pareto(study: Study, reference: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The feasible trials that no other dominates, best in the first objective first, and their indicators.

    `hypervolume` is what they dominate above the reference point, in the product of the metrics' units: the one given,
    a value for every metric, or the front's nadir moved back by a tenth of its range. `r2` is the mean shortfall from
    the ideal point over weighted maxima, from 0 when one trial is best in everything; smaller is better. Both are
    None before any feasible trial has a value of every objective.

    Raises Refused (code reference_invalid) with a pointer ("/reference/loss").
    """
    origin = _given(study, reference) if reference is not None else None
    numbers, values = _feasible(study)
    if not len(values):
        return {"trials": [], "hypervolume": None, "r2": None, "reference": _by_metric(study, origin)}
    if origin is None:
        origin = reference_point(values)
    front = np.flatnonzero(non_dominated(values))
    front = front[np.argsort(-values[front, 0], kind="stable")]
    volume = hypervolume(values[front], origin)
    return {
        "trials": [{"number": numbers[i], "values": _by_metric(study, values[i])} for i in front],
        "hypervolume": volume if np.isfinite(volume) else None,
        "r2": _r2(values[front], origin),
        "reference": _by_metric(study, origin),
    }


def _feasible(study: Study) -> tuple[list[int], Floats]:
    """The numbers of finished trials within all bounds and with finite values; and those (n, k), larger is better."""
    columns = [scores(study, objective) for objective in study.objectives]
    rows = [
        (trial.number, values)
        for trial, *values in zip(study.trials, *columns, strict=True)
        if trial.state.finished
        and not trial.excluded
        and all(value is not None and np.isfinite(value) for value in values)
        and trial.satisfies(study.definition.outcome_constraints)
    ]
    values = np.array([row for _, row in rows], dtype=np.float64).reshape(len(rows), len(columns))
    return [number for number, _ in rows], np.clip(values, -LARGEST, LARGEST)


def _r2(front: Floats, origin: Floats) -> float | None:
    """The R2 indicator from the front's own ideal; None if that does not lie above the reference point."""
    ideal = front.max(0)
    return r2(front, ideal, origin) if (ideal > origin).all() else None


def _given(study: Study, reference: Mapping[str, float]) -> Floats:
    """A reference point of the user as scores (k,)."""
    metrics = {objective.metric: objective for objective in study.objectives}
    problems = [
        Problem(pointer("reference", name), f"no such objective; the study has {', '.join(metrics)}")
        for name in reference
        if name not in metrics
    ]
    origin = []
    for name, objective in metrics.items():
        try:
            origin.append(objective.sign * number(reference[name]) if name in reference else _missing())
        except ValueError as fault:
            problems.append(Problem(pointer("reference", name), str(fault)))
    if problems:
        first = problems[0]
        detail = f"the reference point {shown(dict(reference))} does not fit: {first.pointer} {first.detail}"
        raise Refused(detail, code="reference_invalid", problems=tuple(problems))
    return np.array(origin)


def _missing() -> float:
    raise ValueError("is missing: a reference point has a value for every objective")


def _by_metric(study: Study, values: Floats | None) -> dict[str, float] | None:
    """Scores (k,) in the metrics' own units and directions."""
    if values is None:
        return None
    return {o.metric: o.sign * float(value) for o, value in zip(study.objectives, values, strict=True)}
