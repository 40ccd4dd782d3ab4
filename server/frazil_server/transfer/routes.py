"""Everything out, everything in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Problem, Refused

from ..database import transaction
from ..idempotency import Once, reply
from ..services import services
from ..studies.service import DEFAULT_PROJECT, resolve
from ..trials.ledger import Ledger
from . import exports, imports

router = APIRouter(prefix="/studies", tags=["transfer"])

MEDIA_TYPE = "application/jsonl"
_LARGEST_BODY = 64 * 2**30

Project = Annotated[str, Query(description="Where to look for a study given by name.")]


class Imported(BaseModel):
    trials: int
    comparisons: int
    first_number: int = Field(description="The number of the first of them; the others follow.")


async def _snapshot(request: Request) -> AsyncIterator[AsyncConnection]:
    """One unchanging view of the database, given back when the answer has been sent or its client has hung up."""
    async with services(request).database.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield connection


Snapshot = Annotated[AsyncConnection, Depends(_snapshot)]


@router.get("/{study}/export", response_class=StreamingResponse, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def export_study(
    study: str,
    snapshot: Snapshot,
    *,
    format: Annotated[str, Query(description="jsonl; csv and parquet are to come.")] = "jsonl",
    project: Project = DEFAULT_PROJECT,
) -> StreamingResponse:
    """The study, every trial with its curves, and every comparison as JSON lines, lossless, as of one moment."""
    if format != "jsonl":
        problem = Problem("/query/format", "jsonl; pandas reads it with read_json(lines=True)")
        detail = f"This version does not export {format[:64]!r}."
        raise Refused(detail, code="format_unsupported", problems=(problem,))
    study_id = await resolve(snapshot, study, project)
    header = await exports.header(snapshot, study_id)
    parts = exports.trials(snapshot, study_id), exports.comparisons(snapshot, study_id)
    return StreamingResponse(_lines(header, *parts), media_type=MEDIA_TYPE)


async def _lines(header: bytes, *parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield header
    for part in parts:
        async for chunk in part:
            yield chunk


@router.post(
    "/{study}/import",
    status_code=201,
    response_model=Imported,
    max_body_size=_LARGEST_BODY,
    openapi_extra={"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
)
async def import_trials(
    study: str,
    request: Request,
    *,
    project: Project = DEFAULT_PROJECT,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="Repeat the request safely for 24 hours.")
    ] = None,
) -> Response:
    """Adds the trials of an export, and how they compare, to a study with the same space: all or none, with everything
    that is known of them.

    In an empty study they keep their numbers. Those that were RUNNING wait for the next worker.
    """
    service = services(request)
    with imports.spool() as body:
        await body.receive(request.stream())
        async with transaction(service.database) as connection:
            study_id = await resolve(connection, study, project)
            ledger = await Ledger.open(connection, study_id, lock=True)
            once = _once(request, idempotency_key, body)
            if once is not None:
                await once.replay(connection)
            definition = await service.snapshots.definition(connection, ledger.study)
            imported = await imports.bring_in(ledger, definition, body)
            answer = await reply(connection, once, imported, 201)
    service.changed(study_id)
    return answer


def _once(request: Request, key: str | None, body: imports.Spool) -> Once | None:
    url = f"{request.method} {request.url.path}?{request.url.query}"
    return None if key is None else Once(url, key, body.digest)
