"""Following a study's events: in the order of (xid, id), each exactly once, from any position.

A transaction takes its xid when it first writes, and may commit long after others with larger ones. So readers stop
short of the oldest transaction that is still open: nothing can appear any more behind the place they have reached. An
open transaction anywhere in the database server therefore delays events, but loses none.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from frazil_tuner.errors import Problem, Refused

from ..database import transaction
from ..pages import read_token, write_token
from .announcer import Announcer

log = structlog.get_logger(__name__)

LOOK_AGAIN = 1.0
"""Seconds after which a follower looks for itself, in case an announcement was lost or an old transaction has ended."""

SILENCE = 15.0
"""Seconds without news after which a follower gives a sign of life, so that nobody in between drops the connection."""

_BATCH = 500
_LARGEST = 2**63 - 1

_NOW = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
# No row at all: the study is gone. One row of nulls: it has no news.
_LATER = text(
    """SELECT e.* FROM studies s LEFT JOIN LATERAL (
        SELECT id, xid, trial_number, kind, data, at FROM events
        WHERE study_id = s.id AND (xid, id) > (:xid, :id)
          AND xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
          AND (CAST(:trial AS int) IS NULL OR trial_number = :trial)
        ORDER BY xid, id LIMIT :count) e ON true
    WHERE s.id = :study ORDER BY e.xid, e.id"""
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a study's events: after the one with this xid and id. Written "<xid>-<id>"."""

    xid: int = 0
    id: int = 0

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"

    @classmethod
    def read(cls, written: str, pointer: str) -> Position:
        """The position that was written. Raises `Refused`, with `pointer`, for anything else."""
        match = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,19})", written)
        if match is None or max(map(int, match.groups())) > _LARGEST:
            problem = Problem(pointer, 'the id of an event, as in "738-19"; leave it out to start at now')
            raise Refused(f"{written[:64]!r} is no event's id.", code="invalid", problems=(problem,))
        return cls(*map(int, match.groups()))


async def now(connection: AsyncConnection) -> Position:
    """The position after everything that has been committed for sure."""
    return Position((await connection.execute(_NOW)).scalar_one())


async def follow(
    database: AsyncEngine, announcer: Announcer, study_id: uuid.UUID, position: Position
) -> AsyncIterator[dict[str, Any] | None]:
    """Every event after `position`, until the study is deleted, the database lost or the server ended; None after a
    long silence.

    Holds a connection while it looks, and none while it waits.
    """
    heard = time.monotonic()
    with announcer.listening(study_id) as news:
        while True:
            news.clear()
            rows = await _look(database, study_id, position)
            if rows is None or announcer.closing:
                return
            for row in rows:
                yield view(row)
                position = Position(row.xid, row.id)
            if not rows and time.monotonic() - heard < SILENCE:
                await _wait(news)
                continue
            if not rows:
                yield None
            heard = time.monotonic()


async def _look(database: AsyncEngine, study_id: uuid.UUID, position: Position) -> list[Row[Any]] | None:
    """The next events; None when the study or the database is gone."""
    try:
        async with transaction(database) as connection:
            return await _later(connection, study_id, position, count=_BATCH)
    except SQLAlchemyError as error:
        log.warning("stream_ended", study=str(study_id), error=str(error).splitlines()[0])
        return None


async def _wait(news: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(news.wait(), LOOK_AGAIN)
    except TimeoutError:
        return


async def _later(
    connection: AsyncConnection, study_id: uuid.UUID, position: Position, *, count: int, trial: int | None = None
) -> list[Row[Any]] | None:
    """The next `count` events; None when there is no such study."""
    parameters = {"study": study_id, "xid": position.xid, "id": position.id, "trial": trial, "count": count}
    rows = (await connection.execute(_LATER, parameters)).all()
    return [row for row in rows if row.id is not None] if rows else None


def view(row: Row[Any]) -> dict[str, Any]:
    """An event as it travels."""
    position = Position(row.xid, row.id)
    return {"id": str(position), "kind": row.kind, "trial": row.trial_number, "at": row.at, "data": row.data}


async def list_page(
    connection: AsyncConnection, study_id: uuid.UUID, trial: int | None, page_size: int, page_token: str | None
) -> dict[str, Any]:
    """A page of events, oldest first. There is no total: events are not counted."""
    position = Position() if page_token is None else Position(*read_token(page_token, (int, int)))
    rows = await _later(connection, study_id, position, count=page_size + 1, trial=trial) or []
    more = len(rows) > page_size
    return {
        "items": [view(row) for row in rows[:page_size]],
        "next_page_token": write_token([rows[page_size - 1].xid, rows[page_size - 1].id]) if more else None,
        "total": None,
    }
