"""What a study has taught, over HTTP. Nothing here holds a connection while a model is fitted."""

from __future__ import annotations

import json
from copy import copy
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from frazil_tuner import insights
from frazil_tuner.errors import FrazilError, Problem, Refused

from .. import wire
from ..database import transaction
from ..idempotency import MaybeOnce, reply
from ..names import Name
from ..services import services
from ..studies.service import DEFAULT_PROJECT
from ..trials import views
from .best import best_of
from .schemas import (
    BestOut,
    ImportancesOut,
    InvarianceOut,
    ParetoOut,
    PredictionsIn,
    PredictionsOut,
    RankingOut,
    RegretOut,
    ScalingOut,
)
from .service import Sight, see

router = APIRouter(prefix="/studies", tags=["insights"])

MOST_ITEMS = 1_000
"""Trials of a front that are shown."""

Tolerance = Annotated[
    float | None, Query(gt=0, allow_inf_nan=False, description="The difference in the metric that does not matter.")
]
Metric = Annotated[Name | None, Query(description="The first objective, unless given.")]


async def _sight(
    study: str,
    request: Request,
    project: Annotated[str, Query(description="Where to look for a study given by name.")] = DEFAULT_PROJECT,
) -> Sight:
    return await see(services(request), study, project)


Seen = Annotated[Sight, Depends(_sight)]


@router.get("/{study}/best", response_model=BestOut)
async def get_best(sight: Seen, request: Request, tolerance: Tolerance = None) -> Response:
    """The best value seen at any step (at the largest resource so far, where more of it means training again), what the
    model recommends at the full resource, and whether to go on.
    """
    return wire.Json(await best_of(services(request), sight, tolerance))


@router.get("/{study}/pareto", response_model=ParetoOut)
async def get_pareto(
    sight: Seen,
    request: Request,
    reference: Annotated[
        str | None, Query(max_length=4096, description='As JSON: {"loss": 1.0, "size": 10}; the nadir, unless given.')
    ] = None,
) -> Response:
    """The feasible trials that no other dominates, and how good they are together."""
    service = services(request)
    point = _object("reference", reference)
    found = await _ask(request, sight, insights.pareto, point)
    shown = found["trials"][:MOST_ITEMS]
    async with transaction(service.database) as connection:
        trials = await views.by_numbers(connection, sight.record.id, [item["number"] for item in shown])
    items = [{"trial": trials[item["number"]], "values": item["values"]} for item in shown]
    indicators = {name: found[name] for name in ("hypervolume", "r2", "reference")}
    return wire.Json({"items": items, "total": len(found["trials"]), **indicators})


@router.get("/{study}/importances", response_model=ImportancesOut, response_model_exclude_none=True)
async def get_importances(
    sight: Seen,
    request: Request,
    method: Annotated[str, Query(max_length=64, description="auto, ped_anova, fanova or sobol")] = "auto",
    metric: Metric = None,
) -> Response:
    """How much each parameter matters, by a named method."""
    return wire.Json(await _ask(request, sight, insights.importances, method, metric))


@router.get("/{study}/scaling", response_model=ScalingOut)
async def get_scaling(
    sight: Seen,
    request: Request,
    parameter: Annotated[Name, Query(description="What scales: a learning rate.")],
    batch: Annotated[Name, Query(description="What it scales with: a batch size.")],
    metric: Metric = None,
) -> Response:
    """How a learning rate goes with the batch size in this study, whether a rule of thumb holds, and what the best
    trial's becomes at other batch sizes.
    """
    return wire.Json(await _ask(request, sight, insights.scaling, parameter, batch, metric))


@router.get("/{study}/invariance", response_model=InvarianceOut)
async def get_invariance(
    sight: Seen,
    request: Request,
    rate: Annotated[Name, Query(description="The learning rate.")],
    decay: Annotated[Name, Query(description="The decoupled weight decay.")],
    metric: Metric = None,
) -> Response:
    """Whether runs of equal learning rate × weight decay come together late in training, with the evidence."""
    return wire.Json(await _ask(request, sight, insights.invariance, rate, decay, metric))


@router.get("/{study}/predictions", response_model=PredictionsOut, response_model_exclude_none=True)
async def get_predictions(
    sight: Seen,
    request: Request,
    *,
    points: Annotated[str | None, Query(description="As JSON: a list of parameter sets.")] = None,
    slice_: Annotated[str | None, Query(alias="slice", description="A parameter to go along.")] = None,
    slice2: Annotated[str | None, Query(description="A second one.")] = None,
    resolution: Annotated[int, Query(description="Values along each axis.")] = 21,
    base: Annotated[str | None, Query(description="As JSON: where the slice goes through; the best trial.")] = None,
    calibration: Annotated[bool, Query(description="Trials against what was expected of them, each left out.")] = False,
    trial: Annotated[
        int | None, Query(ge=0, lt=2**31, description="A number: where its curve will go; or its calibration alone.")
    ] = None,
    max_points: Annotated[int, Query(ge=2, le=1000, description="Steps of a curve that are predicted.")] = 100,
    metric: Metric = None,
) -> Response:
    """What the model expects: at points, along one or two parameters, of the rest of a trial's curve; or how well its
    expectations have held.
    """
    _require_one_of(points=points, slice=slice_, calibration=calibration or None, trial=None if calibration else trial)
    if points is not None:
        found = await _ask(request, sight, insights.predictions, _array("points", points))
    elif slice_ is not None:
        parameters = [slice_] if slice2 is None else [slice_, slice2]
        found = await _ask(request, sight, insights.slices, parameters, _object("base", base), resolution)
    elif trial is not None and not calibration:
        found = await _ask(request, sight, insights.extrapolation, trial, max_points, metric)
    else:
        found = await _ask(request, sight, insights.calibration, metric)
        found = found if trial is None else _of_trial(found, trial)
    return wire.Json(found)


@router.post("/{study}/predictions", response_model=PredictionsOut, response_model_exclude_none=True)
async def predict(sight: Seen, body: PredictionsIn, request: Request, once: MaybeOnce) -> Response:
    """What the model expects at given points, for lists too long for a URL."""
    async with transaction(services(request).database) as connection:
        if once is not None:
            await once.replay(connection)
    found = await services(request).insights.ask(sight, insights.predictions, body.points)
    async with transaction(services(request).database) as connection:
        return await reply(connection, once, found)


@router.get("/{study}/ranking", response_model=RankingOut)
async def get_ranking(
    sight: Seen,
    request: Request,
    most: Annotated[int, Query(ge=1, le=200, description="Of each kind: training, frozen, new.")] = 20,
) -> Response:
    """What there is to do next under `freeze_thaw`, continuing, thawing or starting, and what each is worth."""
    return wire.Json(await _ask(request, sight, insights.ranking, sight.record.policy, most))


@router.get("/{study}/regret", response_model=RegretOut)
async def get_regret(sight: Seen, request: Request) -> Response:
    """What was lost by learning while serving: each trial against the best that the model knows for its context."""
    return wire.Json(await _ask(request, sight, insights.regret))


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────

_ARGUMENTS = {"/parameters/0": "/slice", "/parameters/1": "/slice2", "/parameters": "/slice2"}
"""The query parameters that the core's arguments come from, where their names differ."""


async def _ask(request: Request, sight: Sight, function: Any, *args: Any) -> Any:
    """The core's answer; its faults point into the query."""
    try:
        return await services(request).insights.ask(sight, function, *args)
    except FrazilError as shared:
        error = copy(shared)  # others may have asked the same
        error.problems = tuple(
            Problem("/query" + _ARGUMENTS.get(problem.pointer, problem.pointer), problem.detail)
            for problem in shared.problems
        )
        raise error from None


def _require_one_of(**questions: Any) -> None:
    asked = [name for name, value in questions.items() if value is not None]
    if len(asked) != 1:
        detail = f"ask one of {', '.join(questions)}" + (f", not {' and '.join(asked)}" if asked else "")
        raise _refused(asked[-1] if asked else "points", detail)


def _object(name: str, text: str | None) -> dict[str, Any] | None:
    value = None if text is None else _json(name, text)
    if value is not None and not isinstance(value, dict):
        raise _refused(name, "must be a JSON object")
    return value


def _array(name: str, text: str) -> list[Any]:
    value = _json(name, text)
    if not isinstance(value, list):
        raise _refused(name, "must be a JSON array of objects; send long ones in the body of a POST")
    return value


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise _refused(name, f"is no JSON: {str(fault)[:200]}") from None


def _of_trial(found: dict[str, Any], number: int) -> dict[str, Any]:
    """The calibration of one trial."""
    rows = [row for row in found["trials"] if row["number"] == number]
    if not rows:
        raise _refused("trial", f"trial {number} has no value to compare with an expectation")
    return {"metric": found["metric"], "folds": found["folds"], "trials": rows}


def _refused(name: str, detail: str) -> Refused:
    return Refused(f"{name}: {detail}.", code="invalid", problems=(Problem(f"/query/{name}", detail),))
