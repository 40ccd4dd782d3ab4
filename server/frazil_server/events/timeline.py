"""Who trained what, when: the latest spans between a lease given and a lease ended, from the study's events."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from .. import wire
from ..database import Connection
from ..studies.routes import StudyId

router = APIRouter(prefix="/studies", tags=["events"])

_BEGINS = ("trial.started", "trial.resumed")
_ENDS = (
    "trial.paused", "trial.released", "trial.lost", "trial.completed", "trial.pruned", "trial.failed",
    "trial.infeasible",
)  # fmt: skip
_LATEST = text(
    """SELECT kind, trial_number, data, at FROM events
    WHERE study_id = :study AND kind = ANY(CAST(:kinds AS text[])) ORDER BY xid DESC, id DESC LIMIT :count"""
)
_PER_SPAN = 2


class Span(BaseModel):
    """A trial in a worker's hands."""

    trial: int
    worker: str
    begin: datetime
    end: datetime | None = Field(description="Null while it trains.")
    how: str = Field(description="started or resumed")
    ending: str | None = Field(description="paused, released, lost, completed, pruned, failed or infeasible")
    from_step: int
    until_step: int | None


class Timeline(BaseModel):
    spans: list[Span] = Field(description="By when they begin.")


@router.get("/{study}/timeline", response_model=Timeline)
async def get_timeline(
    study_id: StudyId,
    connection: Connection,
    most: Annotated[int, Query(ge=1, le=5_000, description="Spans at most, the latest.")] = 500,
) -> Response:
    """Which worker had which trial, from when until when, and how it ended: the latest of it."""
    return wire.Json({"spans": await _spans(connection, study_id, most)})


async def _spans(connection: AsyncConnection, study_id: uuid.UUID, most: int) -> list[dict[str, Any]]:
    parameters = {"study": study_id, "kinds": [*_BEGINS, *_ENDS], "count": most * _PER_SPAN}
    events = (await connection.execute(_LATEST, parameters)).all()
    spans: list[dict[str, Any]] = []
    open_: dict[int, dict[str, Any]] = {}
    for event in reversed(events):
        word = event.kind.removeprefix("trial.")
        if event.kind in _BEGINS:
            open_[event.trial_number] = _begun(event, word)
            spans.append(open_[event.trial_number])
        elif span := open_.pop(event.trial_number, None):
            span |= {"end": event.at, "ending": word}
    return spans[-most:]


def _begun(event: Any, how: str) -> dict[str, Any]:
    return {
        "trial": event.trial_number,
        "worker": event.data["worker"],
        "begin": event.at,
        "end": None,
        "how": how,
        "ending": None,
        "from_step": event.data["from_step"],
        "until_step": event.data["until_step"],
    }
