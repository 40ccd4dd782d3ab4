"""Reading trials: one, a page of them, a curve."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Problem, Refused

from .. import wire
from ..errors import NotFound
from ..pages import read_token, unreadable, write_token
from ..studies.definitions import complete, declared_metrics
from ..studies.models import Study
from .filters import FINITE, Filter, parameter
from .models import Measurement, Trial
from .records import StudyRecord

_COLUMNS = (
    Trial.id, Trial.study_id, Trial.number, Trial.state, Trial.params, Trial.values, Trial.gradients, Trial.objective,
    Trial.cost, Trial.reason, Trial.worker, Trial.lease_expires_at, Trial.attempt, Trial.from_step, Trial.last_step,
    Trial.until_step, Trial.checkpoint_uri, Trial.checkpoint_step, Trial.candidate, Trial.why, Trial.notes, Trial.tags,
    Trial.excluded, Trial.created_at, Trial.started_at, Trial.finished_at,
)  # fmt: skip
_TRIALS = select(*_COLUMNS)

_SORTABLE: dict[str, Any] = {
    "last_step": Trial.last_step,
    "state": Trial.state,
    "cost": Trial.cost,
    "worker": Trial.worker,
    "created_at": Trial.created_at,
    "started_at": Trial.started_at,
    "finished_at": Trial.finished_at,
}
"""Columns that trials can be ordered by, beside number, objective and parameters."""

ORDERS = f"number, objective, {', '.join(_SORTABLE)} or params.NAME; with - in front from the largest down"


@dataclass(frozen=True, slots=True)
class Order:
    """By `key`, then by number; `finite` lists only trials that have an objective.

    Other keys than the objective are compared as JSON: null first, then texts, then numbers.
    """

    key: Any
    descending: bool
    finite: bool = False

    @classmethod
    def read(cls, text: str, study: StudyRecord) -> Order:
        """Raises `Refused` for an order that there is not."""
        name, descending = text.removeprefix("-"), text.startswith("-")
        if name == "number":
            return cls(None, descending)
        if name == "objective":
            return cls(Trial.objective, descending, finite=True)
        if name.startswith("params."):
            return cls(_comparable(parameter(study, name.removeprefix("params."), "/query/order_by")), descending)
        if name in _SORTABLE:
            return cls(_comparable(func.to_jsonb(_SORTABLE[name])), descending)
        problem = Problem("/query/order_by", ORDERS)
        raise Refused(f"Trials cannot be ordered by {text[:64]!r}.", code="invalid", problems=(problem,))

    def apply(self, query: Select[Any]) -> Select[Any]:
        keys = [Trial.number] if self.key is None else [self.key, Trial.number]
        if self.finite:
            query = query.where(FINITE)
        query = query.order_by(*(key.desc() if self.descending else key for key in keys))
        return query if self.key is None else query.add_columns(self.key.label("place"))

    def after(self, query: Select[Any], page_token: str | None) -> Select[Any]:
        """Only what follows the row that the token names."""
        if page_token is None:
            return query
        if self.key is None:
            (number,) = read_token(page_token, (int,))
            return query.where(Trial.number < number if self.descending else Trial.number > number)
        if self.finite:
            value, number = read_token(page_token, (float, int))
            last = tuple_(literal(value), literal(number))
        else:
            value, number = read_token(page_token, (str, int))
            last = tuple_(literal(_from_json(value), JSONB), literal(number))
        place = tuple_(self.key, Trial.number)
        return query.where(place < last if self.descending else place > last)

    def token(self, row: Row[Any]) -> str:
        if self.key is None:
            return write_token([row.number])
        return write_token([float(row.objective) if self.finite else json.dumps(row.place), row.number])


def _comparable(value: Any) -> Any:
    return func.coalesce(value, literal(None, JSONB))


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise unreadable() from None


def view(row: Row[Any]) -> dict[str, Any]:
    """A trial as it travels, without its lease's token."""
    fields = dict(row._mapping)
    fields.pop("place", None)
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
    study: StudyRecord,
    *,
    filter: Filter,
    order_by: str,
    fields: Collection[str] | None,
    page_size: int,
    page_token: str | None,
) -> dict[str, Any]:
    """A page of a study's trials. Raises `Refused` for unknown fields, orders and parameters."""
    _check_fields(fields)
    order = Order.read(order_by, study)
    query = order.after(order.apply(_TRIALS.where(filter.clause(study)).limit(page_size + 1)), page_token)
    rows = (await connection.execute(query)).all()
    page = rows[:page_size]
    return {
        "items": [_only(view(row), fields) for row in page],
        "next_page_token": order.token(page[-1]) if len(rows) > page_size else None,
        "total": filter.count(study),
    }


def _check_fields(fields: Collection[str] | None) -> None:
    unknown = sorted(set(fields or ()) - _FIELDS)
    if unknown:
        problem = Problem("/query/fields", f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(_FIELDS))}")
        raise Refused(f"A trial has no field {unknown[0]!r}.", code="invalid", problems=(problem,))


_FIELDS = ({column.key for column in _COLUMNS} - {"checkpoint_uri", "checkpoint_step"}) | {"checkpoint"}


def _only(trial: dict[str, Any], fields: Collection[str] | None) -> dict[str, Any]:
    return trial if fields is None else {name: trial[name] for name in trial if name in fields}


async def best(connection: AsyncConnection, study_id: uuid.UUID, direction: str) -> dict[str, Any] | None:
    """The trial with the best objective seen at any step so far; None when no trial has a finite one."""
    order = (
        (Trial.objective, Trial.number) if direction == "minimize" else (Trial.objective.desc(), Trial.number.desc())
    )
    query = _TRIALS.where(Trial.study_id == study_id, FINITE).order_by(*order).limit(1)
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
