"""Events over HTTP: a stream to follow, and pages to read."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel, Field

from .. import wire
from ..database import Connection, transaction
from ..pages import PageSize, PageToken
from ..services import Services, services
from ..studies.routes import StudyId
from ..studies.service import DEFAULT_PROJECT, resolve
from . import stream
from .stream import Position

router = APIRouter(prefix="/studies", tags=["events"])

_UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""A proxy that collects an answer before it passes it on would hold events back."""


class EventOut(BaseModel):
    id: str = Field(description="The event's place; what a stream takes as Last-Event-ID.")
    kind: str
    trial: int | None = Field(description="The number of the trial that it happened to.")
    at: datetime
    data: dict[str, Any]


class EventList(BaseModel):
    items: list[EventOut]
    next_page_token: str | None
    total: None = Field(description="Events are not counted.")


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a stream begins; `greeted` if the client knows its position already."""

    study_id: uuid.UUID
    position: Position
    greeted: bool


async def _start(
    request: Request,
    study: str,
    *,
    project: Annotated[str, Query(description="Where to look for a study given by name.")] = DEFAULT_PROJECT,
    last_event_id: Annotated[str | None, Header(description="The stream goes on after this event.")] = None,
    resume_after: Annotated[
        str | None, Query(alias="last_event_id", description="The same, for clients that cannot set headers.")
    ] = None,
    since: Annotated[Literal["start"] | None, Query(description="`start` replays everything.")] = None,
) -> _Start:
    """Reads the request in a transaction of its own, which is over before the stream begins."""
    known = _known(last_event_id, resume_after)
    async with transaction(services(request).database) as connection:
        study_id = await resolve(connection, study, project)
        if known is not None:
            return _Start(study_id, known, greeted=True)
        first = Position() if since == "start" else await stream.now(connection)
    return _Start(study_id, first, greeted=False)


def _known(header: str | None, query: str | None) -> Position | None:
    """The client's position. A browser that connects again repeats the old URL, so its header counts."""
    if header is not None:
        return Position.read(header, "/header/Last-Event-ID")
    return None if query is None else Position.read(query, "/query/last_event_id")


@router.get(
    "/{study}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {EventSourceResponse.media_type: {}}}},
)
async def follow_events(start: Annotated[_Start, Depends(_start)], request: Request) -> StreamingResponse:
    """Server-sent events: what happens to the study, as it is committed, each exactly once.

    `event` is the kind, `data` is `{"trial": number or null, "at": ..., ...}`. Without Last-Event-ID the first event is
    `hello`, with the present position as its id. The stream ends when the study is deleted.
    """
    return EventSourceResponse(_written(start, services(request)), headers=_UNBUFFERED)


async def _written(start: _Start, service: Services) -> AsyncIterator[bytes]:
    """The stream's bytes. FastAPI's own generator endpoints log an error whenever a client hangs up in mid-event."""
    if not start.greeted:
        hello = wire.dump({"study": start.study_id}).decode()
        yield format_sse_event(event="hello", data_str=hello, id=str(start.position))
    async for event in stream.follow(service.database, service.announcer, start.study_id, start.position):
        yield KEEPALIVE_COMMENT if event is None else _write(event)


def _write(event: dict[str, Any]) -> bytes:
    data = {"trial": event["trial"], "at": event["at"], **event["data"]}
    return format_sse_event(event=event["kind"], data_str=wire.dump(data).decode(), id=event["id"])


_PACE = 0.5
"""Seconds between two words about all studies, however much happens."""


@router.get(
    ":events", response_class=StreamingResponse, responses={200: {"content": {EventSourceResponse.media_type: {}}}}
)
async def follow_studies(request: Request) -> StreamingResponse:
    """Server-sent events: which studies have changed. `event` is `changed`, `data` is `{"studies": [ids]}`; what
    happened is in each study's own events. A stream that broke off has nothing to resume: read the list again.
    """
    return EventSourceResponse(_changes(services(request)), headers=_UNBUFFERED)


async def _changes(service: Services) -> AsyncIterator[bytes]:
    with service.announcer.gathering() as gatherer:
        yield format_sse_event(event="hello", data_str="{}")
        while not service.announcer.closing:
            try:
                await asyncio.wait_for(gatherer.news.wait(), stream.SILENCE)
            except TimeoutError:
                yield KEEPALIVE_COMMENT
                continue
            if changed := gatherer.take():
                yield format_sse_event(event="changed", data_str=wire.dump({"studies": changed}).decode())
            await asyncio.sleep(_PACE)


@router.get("/{study}/events:list", response_model=EventList)
async def list_events(
    study_id: StudyId,
    connection: Connection,
    *,
    trial: Annotated[int | None, Query(ge=0, lt=2**31, description="The number of the trial it happened to.")] = None,
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> Response:
    """A page of what has happened, oldest first: the audit log."""
    return wire.Json(await stream.list_page(connection, study_id, trial, page_size, page_token))
