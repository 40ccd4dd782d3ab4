"""What can be drawn of a study however many trials it has: a sample of them, and the best value over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.history import TrialState

from .. import wire
from ..studies.definitions import deciding_metrics
from .filters import FINITE, Filter
from .models import Trial
from .progress import outcomes
from .records import StudyRecord

_BEST_SHARE = 4
"""One in so many of a sample is there for being among the best."""

_PROGRESS = text(
    """SELECT * FROM (
        SELECT trial_number AS number, value, trials, steps, at, row_number() OVER (ORDER BY id) AS first,
            row_number() OVER (ORDER BY id DESC) AS latest
        FROM improvements WHERE study_id = :study) AS drawn
    WHERE first = 1 OR latest < :most ORDER BY first"""
)
_NOW = text("SELECT now() AS now, updated_at FROM studies WHERE id = :study")


def _spaced(study: StudyRecord, chosen: Filter, count: int) -> Select[Any]:
    """Ids, numbers and how many match: the best, and evenly spaced ones of the others, `count` or all there are."""
    descending = study.definition["objectives"][0]["direction"] == "maximize"
    worth = Trial.objective.desc() if descending else Trial.objective.asc()
    ranked = (
        select(
            Trial.id,
            Trial.number,
            func.count().over().label("matched"),
            func.row_number().over(order_by=[FINITE.desc(), worth, Trial.number]).label("place"),
        )
        .where(chosen.clause(study))
        .subquery()
    )
    best = count // _BEST_SHARE
    foremost = ranked.c.place <= best
    i = func.row_number().over(partition_by=foremost, order_by=ranked.c.number) - 1
    found = select(ranked, foremost.label("foremost"), i.label("i")).subquery()
    others, room = found.c.matched - best, count - best
    enters = func.div(found.c.i * room, others) > func.div((found.c.i - 1) * room, others)
    wanted = or_(found.c.matched <= count, found.c.foremost, found.c.i == 0, enters)
    return select(found.c.id, found.c.number, found.c.matched).where(wanted).order_by(found.c.number)


async def drawn(connection: AsyncConnection, study: StudyRecord, chosen: Filter, count: int) -> Sequence[Row[Any]]:
    """The (id, number, matched) of a sample."""
    rows: Sequence[Row[Any]] = (await connection.execute(_spaced(study, chosen, count))).all()
    return rows


async def sample(connection: AsyncConnection, study: StudyRecord, chosen: Filter, count: int) -> dict[str, Any]:
    """The columns of a sample, as they travel."""
    found = await drawn(connection, study, chosen, count)
    ids = [row.id for row in found]
    columns = (Trial.id, Trial.number, Trial.state, Trial.objective, Trial.last_step, Trial.tags, Trial.params)
    rows = (await connection.execute(select(*columns).where(Trial.id.in_(ids)).order_by(Trial.number))).all()
    names = [item["name"] for item in study.definition["space"]]
    return {
        "metric": study.metric,
        "matched": found[0].matched if found else 0,
        "number": [row.number for row in rows],
        "id": [row.id for row in rows],
        "state": [row.state for row in rows],
        "objective": [_number(row.objective) for row in rows],
        "last_step": [row.last_step for row in rows],
        "tags": [row.tags for row in rows],
        "params": {name: [row.params.get(name) for row in rows] for name in names},
        "values": await _outcomes(connection, study, [row.id for row in rows]),
    }


async def _outcomes(connection: AsyncConnection, study: StudyRecord, ids: Sequence[Any]) -> dict[str, list[Any]]:
    metrics = sorted(deciding_metrics(study.definition) - {study.metric})
    if not metrics:
        return {}
    found = await outcomes(connection, ids, metrics)
    return {metric: [_number(found.get((id_, metric))) for id_ in ids] for metric in metrics}


def _number(value: float | None) -> Any:
    return None if value is None else wire.number(value)


async def progress(connection: AsyncConnection, study: StudyRecord, most: int) -> dict[str, Any]:
    """The study's improvements, and what has been spent, as they travel."""
    rows = (await connection.execute(_PROGRESS, {"study": study.id, "most": most})).all()
    moments = (await connection.execute(_NOW, {"study": study.id})).one()
    begun = study.started_at or (rows[0].at if rows else moments.now)
    until = moments.now if study.counts[TrialState.RUNNING] else moments.updated_at

    def since(at: datetime) -> float:
        seconds: float = (at - begun).total_seconds()
        return max(0.0, seconds)

    items = [
        {
            "number": row.number,
            "value": row.value,
            "trials": row.trials,
            "steps": row.steps,
            "seconds": since(row.at),
            "at": row.at,
        }
        for row in rows
    ]
    return {
        "metric": study.metric,
        "direction": study.definition["objectives"][0]["direction"],
        "items": items,
        "trials": study.next_number,
        "steps": study.steps_used,
        "seconds": since(until),
    }
