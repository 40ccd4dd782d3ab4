"""Everything out: a study and its trials as lines, a few hundred trials at a time."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from .. import wire
from ..studies import service
from ..studies.models import Candidates
from .lines import VERSION

_TRIALS_AT_ONCE = 200
_RANKINGS_AT_ONCE = 1_000

_STUDY = (
    "id", "name", "project", "state", "space", "constraints", "objectives", "outcome_constraints", "metrics", "cost",
    "resource", "policy", "budget", "seed", "related", "metadata", "notes", "created_at", "started_at",
)  # fmt: skip
_TRIALS = text(
    """SELECT number, id, state, params, candidate, "values", gradients, told, cost, reason, worker, why, attempt,
        losses, from_step, step, last_step, until_step, ready, checkpoint_uri, checkpoint_step, notes, tags, excluded,
        created_at, started_at, finished_at
    FROM trials WHERE study_id = :study AND number > :after ORDER BY number LIMIT :count"""
)
_RANKINGS = text(
    """SELECT id, ranking, created_at FROM comparisons WHERE study_id = :study AND id > :after
    ORDER BY id LIMIT :count"""
)
_COUNT_RANKINGS = text("SELECT count(*) FROM comparisons WHERE study_id = :study")
_CURVES = text(
    """SELECT trial_id, metric, array_agg(step ORDER BY step) AS steps, array_agg(value ORDER BY step) AS points,
        array_agg(elapsed ORDER BY step) AS elapsed, array_agg(attempt ORDER BY step) AS attempts
    FROM measurements WHERE trial_id = ANY(:ids) GROUP BY trial_id, metric ORDER BY trial_id, metric"""
)


async def header(connection: AsyncConnection, study_id: uuid.UUID) -> bytes:
    """The first line. Raises `NotFound`."""
    study = await service.get(connection, study_id)
    query = select(Candidates.candidates).where(Candidates.study_id == study_id)
    candidates = (await connection.execute(query)).scalar_one_or_none()
    fields = {name: study[name] for name in _STUDY} | {"candidates": candidates}
    rankings = (await connection.execute(_COUNT_RANKINGS, {"study": study_id})).scalar_one()
    counts = {"trials": study["trials"], **({"comparisons": rankings} if rankings else {})}
    return _line({"frazil": VERSION, **counts, "study": fields})


async def trials(connection: AsyncConnection, study_id: uuid.UUID) -> AsyncIterator[bytes]:
    """A line for each trial, in chunks of many lines."""
    after = -1
    while True:
        parameters = {"study": study_id, "after": after, "count": _TRIALS_AT_ONCE}
        rows = (await connection.execute(_TRIALS, parameters)).all()
        if not rows:
            return
        curves = await _curves(connection, [row.id for row in rows])
        yield b"".join(_line(_trial(row, curves.get(row.id, []))) for row in rows)
        after = rows[-1].number


async def comparisons(connection: AsyncConnection, study_id: uuid.UUID) -> AsyncIterator[bytes]:
    """A line for each comparison, in chunks of many lines."""
    after = 0
    while True:
        parameters = {"study": study_id, "after": after, "count": _RANKINGS_AT_ONCE}
        rows = (await connection.execute(_RANKINGS, parameters)).all()
        if not rows:
            return
        yield b"".join(_line({"ranking": row.ranking, "created_at": row.created_at}) for row in rows)
        after = rows[-1].id


async def _curves(connection: AsyncConnection, ids: list[uuid.UUID]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for row in await connection.execute(_CURVES, {"ids": ids}):
        curve = {
            "metric": row.metric,
            "steps": row.steps,
            "values": [wire.number(value) for value in row.points],
            "elapsed": row.elapsed,
            "attempts": row.attempts,
        }
        found.setdefault(row.trial_id, []).append(curve)
    return found


def _trial(row: Row[Any], curves: list[dict[str, Any]]) -> dict[str, Any]:
    fields = dict(row._mapping)
    uri, step = fields.pop("checkpoint_uri"), fields.pop("checkpoint_step")
    return fields | {"checkpoint": None if uri is None else {"uri": uri, "step": step}, "curves": curves}


def _line(document: dict[str, Any]) -> bytes:
    return wire.dump(document) + b"\n"
