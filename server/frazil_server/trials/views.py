"""Reading trials: one, a page of them, a curve."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, Select, and_, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Problem, Refused
from frazil_tuner.history import TrialState

from .. import wire
from ..errors import NotFound
from ..pages import read_token, write_token
from ..studies.definitions import complete, declared_metrics
from ..studies.models import Study
from .models import Measurement, Trial

_COLUMNS = (
    Trial.id, Trial.study_id, Trial.number, Trial.state, Trial.params, Trial.values, Trial.gradients, Trial.objective,
    Trial.cost, Trial.reason, Trial.worker, Trial.lease_expires_at, Trial.attempt, Trial.from_step, Trial.last_step,
    Trial.until_step, Trial.checkpoint_uri, Trial.checkpoint_step, Trial.candidate, Trial.why, Trial.notes, Trial.tags,
    Trial.excluded, Trial.created_at, Trial.started_at, Trial.finished_at,
)  # fmt: skip
_TRIALS = select(*_COLUMNS)

_FINITE = and_(Trial.objective > -float("inf"), Trial.objective < float("inf"), ~Trial.excluded)

ORDERS: dict[str, tuple[Any, bool]] = {
    "number": (None, False),
    "-number": (None, True),
    "objective": (Trial.objective, False),
    "-objective": (Trial.objective, True),
}
"""`order_by`: the column before the number, and whether it descends. By objective, only trials that have one are
listed.
"""


def view(row: Row[Any]) -> dict[str, Any]:
    """A trial as it travels, without its lease's token."""
    fields = dict(row._mapping)
    uri, step = fields.pop("checkpoint_uri"), fields.pop("checkpoint_step")
    fields["checkpoint"] = None if uri is None else {"uri": uri, "step": step}
    fields["objective"] = None if row.objective is None else wire.number(row.objective)
    return fields


async def get(connection: AsyncConnection, trial_id: uuid.UUID) -> dict[str, Any]:
    """One trial. Raises `NotFound`."""
    row = (await connection.execute(_TRIALS.where(Trial.id == trial_id))).one_or_none()
    if row is None:
        raise NotFound("This trial does not exist, or was deleted.")
    return view(row)


async def list_page(
    connection: AsyncConnection,
    study_id: uuid.UUID,
    *,
    state: TrialState | None,
    order_by: str,
    fields: Collection[str] | None,
    page_size: int,
    page_token: str | None,
) -> dict[str, Any]:
    """A page of a study's trials, with the kept total. Raises `Refused` for unknown fields and orders."""
    _check_fields(fields)
    column, descending = _order(order_by)
    query = _TRIALS.where(Trial.study_id == study_id).limit(page_size + 1)
    if state is not None:
        query = query.where(Trial.state == str(state))
    query = _after(_sorted(query, column, descending), column, descending, page_token)
    rows = (await connection.execute(query)).all()
    page = rows[:page_size]
    more = len(rows) > page_size
    return {
        "items": [_only(view(row), fields) for row in page],
        "next_page_token": write_token(_position(page[-1], column)) if more else None,
        "total": await _total(connection, study_id, state),
    }


def _check_fields(fields: Collection[str] | None) -> None:
    unknown = sorted(set(fields or ()) - _FIELDS)
    if unknown:
        problem = Problem("/query/fields", f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(_FIELDS))}")
        raise Refused(f"A trial has no field {unknown[0]!r}.", code="invalid", problems=(problem,))


_FIELDS = ({column.key for column in _COLUMNS} - {"checkpoint_uri", "checkpoint_step"}) | {"checkpoint"}


def _order(order_by: str) -> tuple[Any, bool]:
    if order_by not in ORDERS:
        problem = Problem("/query/order_by", f"one of {', '.join(ORDERS)}")
        raise Refused(f"Trials cannot be ordered by {order_by!r}.", code="invalid", problems=(problem,))
    return ORDERS[order_by]


def _sorted(query: Select[Any], column: Any, descending: bool) -> Select[Any]:
    keys = [Trial.number] if column is None else [column, Trial.number]
    if column is not None:
        query = query.where(_FINITE)
    return query.order_by(*(key.desc() if descending else key for key in keys))


def _after(query: Select[Any], column: Any, descending: bool, page_token: str | None) -> Select[Any]:
    if page_token is None:
        return query
    if column is None:
        (number,) = read_token(page_token, (int,))
        return query.where(Trial.number < number if descending else Trial.number > number)
    value, number = read_token(page_token, (float, int))
    place, last = tuple_(column, Trial.number), tuple_(literal(value), literal(number))
    return query.where(place < last if descending else place > last)


def _position(row: Row[Any], column: Any) -> list[Any]:
    return [row.number] if column is None else [float(row.objective), row.number]


def _only(trial: dict[str, Any], fields: Collection[str] | None) -> dict[str, Any]:
    return trial if fields is None else {name: trial[name] for name in trial if name in fields}


async def _total(connection: AsyncConnection, study_id: uuid.UUID, state: TrialState | None) -> int:
    states = [state] if state else list(TrialState)
    columns = [getattr(Study, s.lower()) for s in states]
    counts = (await connection.execute(select(*columns).where(Study.id == study_id))).one()
    return sum(counts)


async def best(connection: AsyncConnection, study_id: uuid.UUID, direction: str) -> dict[str, Any] | None:
    """The trial with the best objective seen at any step so far; None when no trial has a finite one."""
    order = (
        (Trial.objective, Trial.number) if direction == "minimize" else (Trial.objective.desc(), Trial.number.desc())
    )
    query = _TRIALS.where(Trial.study_id == study_id, _FINITE).order_by(*order).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else view(row)


async def by_number(connection: AsyncConnection, study_id: uuid.UUID, number: int) -> dict[str, Any]:
    row = (await connection.execute(_TRIALS.where(Trial.study_id == study_id, Trial.number == number))).one()
    return view(row)


async def by_numbers(
    connection: AsyncConnection, study_id: uuid.UUID, numbers: Collection[int]
) -> dict[int, dict[str, Any]]:
    query = _TRIALS.where(Trial.study_id == study_id, Trial.number.in_(numbers))
    return {row.number: view(row) for row in await connection.execute(query)}


async def curves(connection: AsyncConnection, trial_id: uuid.UUID, metric: str | None) -> dict[str, Any]:
    """A trial's curves, or the one of `metric`. Raises `NotFound`, or `Refused` for a metric nobody declared."""
    query = select(Study.definition).join(Trial, Trial.study_id == Study.id).where(Trial.id == trial_id)
    definition = (await connection.execute(query)).scalar_one_or_none()
    if definition is None:
        raise NotFound("This trial does not exist, or was deleted.")
    points = select(Measurement).where(Measurement.trial_id == trial_id).order_by(Measurement.metric, Measurement.step)
    if metric is not None:
        points = points.where(Measurement.metric == metric)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in await connection.execute(points):
        point = {"step": row.step, "value": wire.number(row.value), "elapsed": row.elapsed}
        found.setdefault(row.metric, []).append(point)
    if metric is not None and not found:
        require_declared(definition, metric)
        found = {metric: []}
    return {"id": trial_id, "curves": [{"metric": name, "points": items} for name, items in found.items()]}


def require_declared(definition: dict[str, Any], metric: str) -> None:
    """Raises `Refused` (metric_unknown) for a metric that the study neither optimises nor lists."""
    declared = declared_metrics(complete(definition))
    if metric not in declared:
        problem = Problem("/query/metric", f"declared are {', '.join(sorted(declared))}")
        raise Refused(f"Nobody declared the metric {metric!r}.", code="metric_unknown", problems=(problem,))
