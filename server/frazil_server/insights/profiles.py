"""Performance profiles over studies: which policy comes to a target first, on how many problems."""

from __future__ import annotations

import json
import math
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Problem, Refused
from frazil_tuner.insights import profiles

from .. import wire
from ..database import Connection
from ..studies import service
from ..studies.definitions import is_compared
from ..studies.service import DEFAULT_PROJECT, resolve
from .schemas import ProfilesOut

router = APIRouter(tags=["insights"])

MOST_STUDIES = 500

# Of each study the first improvement that reaches its target; all values that improve are kept, so it is the moment
# itself.
_REACHED = text(
    """SELECT DISTINCT ON (wanted.study) wanted.study, i.trials, i.steps,
        extract(epoch FROM i.at - s.created_at) AS seconds
    FROM unnest(CAST(:studies AS uuid[]), CAST(:targets AS float8[]), CAST(:signs AS float8[]))
        AS wanted(study, target, sign)
    JOIN studies s ON s.id = wanted.study
    JOIN improvements i ON i.study_id = wanted.study AND wanted.sign * i.value >= wanted.sign * wanted.target
    ORDER BY wanted.study, i.id"""
)

Measure = Literal["steps", "trials", "seconds"]
_Field = Query(max_length=200, pattern=r"^(policy|name|space|all|metadata\..+)$")


@router.get("/profiles", response_model=ProfilesOut)
async def get_profiles(
    connection: Connection,
    studies: Annotated[
        list[str], Query(min_length=1, max_length=MOST_STUDIES, description="Names or ids, one parameter for each.")
    ],
    *,
    target: Annotated[
        float | None,
        Query(allow_inf_nan=False, description="Of the objective; the median of a problem's bests, unless given."),
    ] = None,
    measure: Annotated[Measure, Query(description="What is counted until the target is reached.")] = "steps",
    solver: Annotated[str, _Field] = "policy",
    problem: Annotated[str, _Field] = "space",
    project: Annotated[str, Query(description="Where to look for studies given by name.")] = DEFAULT_PROJECT,
) -> Response:
    """How many problems each solver brings to the target within a multiple of the fastest one's time.

    `solver` and `problem` say what tells them apart: `policy`, `name`, `space` (with the objective), `all`, or
    `metadata.KEY`. Several studies of one solver on one problem are repeats. Studies that never reach the target count
    as endless, not as failed.
    """
    ids = list(dict.fromkeys([await resolve(connection, reference, project) for reference in studies]))
    found = await service.get_all(connection, ids)
    for study in found:
        _require_suited(study, measure)
    by_problem = _grouped(found, problem)
    targets = {name: _target(name, group, target) for name, group in by_problem.items()}
    reached = await _reached(connection, by_problem, targets, measure)
    times: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in by_problem}
    for name, group in by_problem.items():
        for study in group:
            times[name][_told(study, solver, "solver")].append(reached.get(study["id"], math.inf))
    answer = profiles(times)
    for row in answer["problems"]:
        row["target"] = targets[row["problem"]]
    return wire.Json({"measure": measure, "studies": len(found), **answer})


def _grouped(studies: Sequence[dict[str, Any]], problem: str) -> dict[str, list[dict[str, Any]]]:
    """The studies of each problem; those of a space are named after the first of them."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for study in studies:
        groups[_told(study, problem, "problem")].append(study)
    if problem != "space":
        return groups
    named: dict[str, list[dict[str, Any]]] = {}
    for group in groups.values():
        first = group[0]
        named[first["name"] if first["name"] not in named else str(first["id"])] = group
    return named


async def _reached(
    connection: AsyncConnection,
    by_problem: Mapping[str, Sequence[Mapping[str, Any]]],
    targets: Mapping[str, float | None],
    measure: Measure,
) -> dict[uuid.UUID, float]:
    """What each study had spent when it reached its problem's target; those are missing that never did."""
    wanted = [
        (study["id"], goal, _sign(study))
        for name, group in by_problem.items()
        if (goal := targets[name]) is not None
        for study in group
    ]
    ids, goals, signs = (list(column) for column in zip(*wanted, strict=True)) if wanted else ([], [], [])
    rows = await connection.execute(_REACHED, {"studies": ids, "targets": goals, "signs": signs})
    return {row.study: max(float(getattr(row, measure)), 0.0) for row in rows}


def _target(name: str, group: Sequence[Mapping[str, Any]], given: float | None) -> float | None:
    """What the studies of a problem are to reach; None where nothing is given and none has a value."""
    if len({_sign(study) for study in group}) > 1:
        raise _refused("problem", f"the studies of problem {name!r} want their objectives to go different ways")
    if given is not None:
        return given
    bests = [study["best"]["value"] for study in group if study["best"] is not None]
    return median(bests) if bests else None


def _sign(study: Mapping[str, Any]) -> float:
    return 1.0 if study["objectives"][0]["direction"] == "maximize" else -1.0


def _told(study: Mapping[str, Any], field: str, argument: str) -> str:
    """What tells a study from others."""
    match field:
        case "policy":
            return str(study["policy"]["name"])
        case "name":
            return str(study["name"])
        case "all":
            return "all"
        case "space":
            objective = study["objectives"][0]
            return json.dumps([objective["metric"], objective["direction"], study["resource"], study["space"]])
    key = field.removeprefix("metadata.")
    if key not in study["metadata"]:
        detail = (
            f"study {study['name']!r} has no {key!r} in its metadata; give it one with PATCH, or name another field"
        )
        raise _refused(argument, detail)
    value = study["metadata"][key]
    return value if isinstance(value, str) else json.dumps(value)


def _require_suited(study: Mapping[str, Any], measure: Measure) -> None:
    if len(study["objectives"]) > 1 or is_compared(study):
        raise _refused("studies", f"study {study['name']!r} has no single value that could reach a target")
    if measure == "steps" and study["resource"] is None:
        raise _refused("measure", f"study {study['name']!r} has no resource: count trials or seconds")


def _refused(name: str, detail: str) -> Refused:
    return Refused(f"{name}: {detail}.", code="invalid", problems=(Problem(f"/query/{name}", detail),))
