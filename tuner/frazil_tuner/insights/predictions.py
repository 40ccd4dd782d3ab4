"""What the model expects: at points, along one or two parameters, and how well its expectations have held so far."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Conflict, Problem, Refused, SpaceInvalid
from ..policies.model_free import best_trained
from ..policies.modelling import finished, model, observe
from ..space.fields import pointer, shown
from ..space.kinds.computed import Computed
from .asking import modelled, part_of, quantity_of, require_trials
from .foretold import as_foretold

if TYPE_CHECKING:
    from ..history import Params, Study, Trial
    from ..numerics import Floats
    from ..policies.modelling import Model, Modelled, Quantity
    from ..space import Space
    from ..surrogates import Belief

MOST_POINTS = 1_000
"""Points that may be asked about at once."""

MOST_TICKS = 101
"""Values along one axis of a slice; along each of two, 32."""

FOLDS = 20
"""Parts into which trials are dealt for calibration: up to so many trials each is left out alone."""

LEVELS = (0.5, 0.8, 0.95)
"""Central intervals whose coverage is counted."""

Answer = dict[str, Any]


def predictions(study: Study, points: Sequence[object]) -> Answer:
    """Mean and deviation of every modelled metric at given points, in its units and direction.

    {"points": [...], "metrics": {metric: {"mean": [...], "sd": [...], "surrogate": ...}}, "feasible": [...],
    "foretold": n}: `feasible` is the probability of meeting all outcome constraints, None where there are none; n of
    the trials behind it are runs frozen half-way, which count with where they are believed to end.

    Raises Refused with pointers ("/points/3/lr") for points that don't fit the space, and Conflict if there is no model
    yet.
    """
    checked = _checked(study.space, points)
    study, foretold = as_foretold(study)
    return {"points": checked, "foretold": foretold, **_believed(study, modelled(study, "predictions"), checked)}


def slices(
    study: Study, parameters: Sequence[str], base: Mapping[str, Any] | None = None, resolution: int = 21
) -> Answer:
    """The predictions along one or two parameters through a base point, the best trial's where none is given.

    {"base", "axes": [{"name", "values"}], "points", "metrics", "feasible", "foretold"}: flat lists, the last axis
    fastest. What a value switches on stands at its centre; a point that the space's constraints forbid is predicted
    like any other.

    Raises Refused (code slice_invalid) with a pointer, and Conflict if there is no model yet.
    """
    _examine_slice(study.space, parameters, resolution)
    centre = _checked(study.space, [base], "base")[0] if base is not None else _best_params(study)
    whole = study.space.with_parts(centre)
    axes = [_axis(study.space, name, whole, resolution) for name in parameters]
    points = [_moved(study.space, whole, zip(parameters, values, strict=True)) for values in itertools.product(*axes)]
    study, foretold = as_foretold(study)
    answer = _believed(study, modelled(study, "predictions"), points)
    named = [{"name": name, "values": list(values)} for name, values in zip(parameters, axes, strict=True)]
    return {"base": dict(centre), "axes": named, "points": points, "foretold": foretold, **answer}


def calibration(study: Study, metric: str | None = None) -> Answer:
    """How trials turned out against what the model expected of them without having seen them.

    Trials are dealt into `FOLDS` parts; for each part all is fitted to the others. {"metric", "folds", "trials":
    [{"number", "value", "mean", "sd", "residual"}], "coverage": {"0.5": share, ...}, "log_score", "rmse"}: `sd` is that
    of a measurement, noise included; `residual` is standardised on the model's scale, which differs from the metric's
    where values are wild, and positive where a trial did better than expected; `log_score` is the mean log density per
    trial, larger is better.

    Raises Refused (code metric_unknown), and Conflict before ten trials have a value.
    """
    quantity = quantity_of(study, metric)
    if quantity.by == "comparison":
        detail = f"{quantity.metric} is learned from comparisons: there are no values to compare predictions with"
        raise Refused(detail, code="metric_unknown", problems=(Problem("/metric", detail),))
    require_trials(study, 10, "calibrations")
    trials = observe(study, finished(study), quantity).trials
    if len(trials) < 10:
        detail = f"{len(trials)} trials have a finite {quantity.metric}; calibrations need {10 - len(trials)} more"
        raise Conflict(detail, code="too_few_trials")
    start = modelled(study, "calibrations").fit
    folds = min(FOLDS, len(trials))
    rows = [row for k in range(folds) for row in _held_out(replace(study, last_fit=start), quantity, trials[k::folds])]
    return {"metric": quantity.metric, "folds": folds, **_verdict(sorted(rows, key=lambda row: row["number"]))}


# ── what is believed ─────────────────────────────────────────────────────────────────────────────────────────────────


def _believed(study: Study, fitted: Model, points: Sequence[Params]) -> Answer:
    rows = study.space.encode_many(points)
    limits = {constraint.metric for constraint in study.definition.outcome_constraints}
    parts = [*fitted.objectives, *(part for part in fitted.limits if part.quantity.metric in limits)]
    metrics = {part.quantity.metric: {**_in_units(part, rows), "surrogate": part.surrogate} for part in parts}
    return {"metrics": metrics, "feasible": _feasibility(fitted, rows) if fitted.limits else None}


def _in_units(part: Modelled, rows: Floats) -> dict[str, list[float]]:
    means, sds = _posterior(part.belief, rows)
    pairs = [part.in_units(mean, sd) for mean, sd in zip(means.tolist(), sds.tolist(), strict=True)]
    return {"mean": [mean for mean, _ in pairs], "sd": [sd for _, sd in pairs]}


def _feasibility(fitted: Model, rows: Floats) -> list[float]:
    """The probability (m,) that all limits are met, as if they were independent."""
    probable = np.ones(len(rows))
    for part in fitted.limits:
        mean, sd = _posterior(part.belief, rows)
        bound = part.seen.taming.apply(np.zeros(1))[0]
        probable *= [NormalDist().cdf(z) for z in (mean - bound) / sd]
    return [float(p) for p in probable]


def _posterior(belief: Belief, rows: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation (m,) of the function at rows (m, d), in outcomes."""
    import torch

    with torch.no_grad():
        mean, sd = belief.posterior(torch.from_numpy(rows))
    return mean.mean(0).numpy(), sd.mean(0).numpy()


# ── points and slices ────────────────────────────────────────────────────────────────────────────────────────────────


def _checked(space: Space, points: Sequence[object], at: str = "points") -> list[dict[str, Any]]:
    """Canonical points; Refused with the pointers of all that don't fit."""
    if not 1 <= len(points) <= MOST_POINTS:
        detail = f"must be 1 to {MOST_POINTS} points, not {len(points)}"
        raise Refused(f"points {detail}", code="points_invalid", problems=(Problem(pointer(at), detail),))
    checked, problems = [], []
    for i, point in enumerate(points):
        where = pointer(at, i) if at == "points" else pointer(at)
        try:
            checked.append(space.check(point))
        except SpaceInvalid as fault:
            problems += [Problem(where + problem.pointer, problem.detail) for problem in fault.problems]
    if problems:
        detail = f"a point does not fit the space: {problems[0].pointer} {problems[0].detail}"
        raise Refused(detail, code="points_invalid", problems=tuple(problems))
    return checked


def _examine_slice(space: Space, parameters: Sequence[str], resolution: int) -> None:
    known = {parameter.name: parameter for parameter in space.parameters}
    if not 1 <= len(parameters) <= 2 or len(set(parameters)) != len(parameters):
        raise _bad_slice("/parameters", f"must name one or two different parameters, not {shown(list(parameters))}")
    for i, name in enumerate(parameters):
        if name not in known:
            raise _bad_slice(f"/parameters/{i}", f"no such parameter; the space has {', '.join(known)}")
        if len(known[name].kind.columns) != 1:
            raise _bad_slice(f"/parameters/{i}", f"{name} has no single axis to go along; choose another parameter")
    most = MOST_TICKS if len(parameters) == 1 else 32
    if not 2 <= resolution <= most:
        raise _bad_slice("/resolution", f"must lie between 2 and {most}, not {shown(resolution)}")


def _axis(space: Space, name: str, centre: Params, resolution: int) -> list[Any]:
    """The values along one parameter; Refused if it is not active at the base."""
    parameter = next(parameter for parameter in space.parameters if parameter.name == name)
    assert not isinstance(parameter.kind, Computed)  # it has no column
    if name not in centre:
        needs = " and ".join(f"{parent} = {' or '.join(map(shown, values))}" for parent, values in parameter.when)
        raise _bad_slice("/base", f"{name} is not active at the base point; choose a base with {needs}")
    values = list(parameter.kind.values(resolution))
    return values if centre[name] in values else _with_base(space, name, values, centre)


def _with_base(space: Space, name: str, values: list[Any], centre: Params) -> list[Any]:
    """The values of a numeric axis and the base's own, in their order on the cube; of names these alone."""
    column = next(run for parameter, run in _starts(space) if parameter == name)
    return sorted([*values, centre[name]], key=lambda value: space.encode({**centre, name: value})[column])


def _starts(space: Space) -> list[tuple[str, int]]:
    """Each parameter with its first column."""
    widths = [len(parameter.kind.columns) for parameter in space.parameters]
    return list(zip((p.name for p in space.parameters), np.cumsum([0, *widths[:-1]]).tolist(), strict=True))


def _moved(space: Space, centre: Params, changes: Any) -> dict[str, Any]:
    """The base with some values changed: what that switches on is at its centre, what it switches off is gone."""
    changed = {**centre, **dict(changes)}
    return space.decode(space.encode(changed))


def _best_params(study: Study) -> Params:
    best = best_trained(study)
    if best is None:
        raise Conflict("no trial has a finite value to take for a base yet; give one", code="too_few_trials")
    return next(trial.params for trial in study.trials if trial.number == best.number)


def _bad_slice(where: str, detail: str) -> Refused:
    return Refused(f"the slice cannot be made: {detail}", code="slice_invalid", problems=(Problem(where, detail),))


# ── calibration ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _held_out(study: Study, quantity: Quantity, trials: Sequence[Trial]) -> list[Answer]:
    """What a model of all other trials expected of these, beside what they came to."""
    from ..surrogates import FitFailed

    numbers = {trial.number for trial in trials}
    others = tuple(replace(t, excluded=True) if t.number in numbers else t for t in study.trials)
    try:
        part = part_of(model(replace(study, trials=others)), quantity)
    except FitFailed as failure:
        raise Conflict(f"no model can be fitted without some trials: {failure}", code="fit_failed") from failure
    rows = study.space.encode_many([trial.params for trial in trials])
    means, sds = _posterior(part.belief, rows)
    spreads = np.sqrt(sds**2 + _noise(part.belief, rows, sds))
    return [_row(part, *told) for told in zip(trials, means.tolist(), spreads.tolist(), strict=True)]


def _row(part: Modelled, trial: Trial, expected: float, spread: float) -> Answer:
    reading = part.quantity.read(trial)
    assert reading is not None
    taming = part.seen.taming
    residual = (float(taming.apply(np.array([reading]))[0]) - expected) / spread
    slope = float(taming.slope(np.array([reading]))[0])
    mean, sd = part.in_units(expected, spread)
    value = part.quantity.sign * reading + part.quantity.offset
    density = -0.5 * residual**2 - math.log(spread) - 0.5 * math.log(2 * math.pi) + math.log(slope)
    return {"number": trial.number, "value": value, "mean": mean, "sd": sd, "residual": residual, "density": density}


def _noise(belief: Belief, rows: Floats, sds: Floats) -> Floats:
    """The variance (m,) of an outcome around the function at rows (m, d), from what one outcome there would teach.

    1/noise = 1/v' - 1/v for the variance v of the function before and v' after
    """
    import torch

    rng = torch.Generator().manual_seed(0)  # the outcome drawn does not matter: a variance does not depend on it
    after = [_posterior(belief.imagine(torch.from_numpy(row[None]), 1, rng), row[None])[1][0] for row in rows]
    gained = 1 / np.maximum(np.square(after), 1e-300) - 1 / np.square(sds)
    return np.where(gained > 0, 1 / np.maximum(gained, 1e-300), 0.0)


def _verdict(rows: Sequence[Answer]) -> Answer:
    residuals = np.array([row["residual"] for row in rows])
    errors = [row["value"] - row["mean"] for row in rows]
    inside = {
        f"{level:g}": float(np.mean(np.abs(residuals) <= NormalDist().inv_cdf(0.5 + level / 2))) for level in LEVELS
    }
    trials = [{key: value for key, value in row.items() if key != "density"} for row in rows]
    return {
        "trials": trials,
        "coverage": inside,
        "log_score": float(np.mean([row["density"] for row in rows])),
        "rmse": math.sqrt(float(np.mean(np.square(errors)))),
    }
