"""Ranking trials: who is compared, what is stored, what is shown."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Problem, Refused
from frazil_tuner.history import TrialState

from ..database import fetch
from ..pages import read_token, write_token
from ..studies.definitions import is_compared
from ..trials.ledger import Ledger
from .models import Comparison

Reference = int | uuid.UUID
"""A trial by its number or by its id."""

_FOUND = """SELECT id, number, state FROM trials
    WHERE study_id = %(study)s AND (id = ANY(%(ids)s) OR number = ANY(%(numbers)s))"""


async def add(connection: AsyncConnection, study_id: uuid.UUID, ranking: Sequence[Reference]) -> dict[str, Any]:
    """Stores a ranking, best first. Raises `Refused` for a study that learns from values, and for trials that are not
    there, not tried yet, or ranked twice.
    """
    ledger = await Ledger.open(connection, study_id, lock=True)
    if not is_compared(ledger.study.definition):
        detail = 'this study learns from values; create it with {"metric": ..., "by": "comparison"} as its objective'
        raise Refused("Rankings are for studies that learn from them.", code="not_compared", problems=_one("", detail))
    numbers = await _numbers(ledger, ranking)
    statement = insert(Comparison).values(study_id=study_id, ranking=numbers)
    row = (await connection.execute(statement.returning(Comparison.id, Comparison.created_at))).one()
    ledger.study.learned()
    ledger.add_event("study.compared", ranking=numbers)
    await ledger.flush()
    return {"id": row.id, "ranking": numbers, "created_at": row.created_at}


def _one(pointer: str, detail: str) -> tuple[Problem, ...]:
    return (Problem(f"/ranking{pointer}", detail),)


async def _numbers(ledger: Ledger, ranking: Sequence[Reference]) -> list[int]:
    """The numbers of the ranked trials. Raises `Refused`, naming every one that cannot be ranked."""
    parameters = {
        "study": ledger.study.id,
        "ids": [reference for reference in ranking if isinstance(reference, uuid.UUID)],
        "numbers": [reference for reference in ranking if not isinstance(reference, uuid.UUID)],
    }
    rows = await fetch(ledger.connection, _FOUND, parameters)
    found = {row.number: row for row in rows} | {row.id: row for row in rows}
    problems, places = [], dict[int, int]()
    for index, reference in enumerate(ranking):
        row = found.get(reference)
        if row is None:
            problems.append(Problem(f"/ranking/{index}", "no trial of this study has this number or id"))
        elif row.state == TrialState.QUEUED:
            problems.append(Problem(f"/ranking/{index}", f"trial {row.number} has not been tried yet; rank it later"))
        elif places.setdefault(row.number, index) != index:
            detail = f"trial {row.number} stands at place {places[row.number]} already; name each once"
            problems.append(Problem(f"/ranking/{index}", detail))
    if problems:
        raise Refused(f"{problems[0].pointer}: {problems[0].detail}.", code="ranking_invalid", problems=tuple(problems))
    return list(places)


async def list_page(
    connection: AsyncConnection, study_id: uuid.UUID, page_size: int, page_token: str | None
) -> dict[str, Any]:
    """Comparisons, oldest first. There is no total: they are not counted."""
    after = 0 if page_token is None else read_token(page_token, (int,))[0]
    query = select(Comparison.id, Comparison.ranking, Comparison.created_at).where(Comparison.study_id == study_id)
    query = query.where(Comparison.id > after).order_by(Comparison.id).limit(page_size + 1)
    rows = (await connection.execute(query)).all()
    page = [dict(row._mapping) for row in rows[:page_size]]
    return {
        "items": page,
        "next_page_token": write_token([page[-1]["id"]]) if len(rows) > page_size else None,
        "total": None,
    }
