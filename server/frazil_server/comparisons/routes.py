"""Comparisons over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from .. import wire
from ..database import Connection, after_commit
from ..idempotency import MaybeOnce, reply
from ..pages import PageSize, PageToken
from ..services import services
from ..studies.routes import StudyId
from . import service

router = APIRouter(prefix="/studies", tags=["comparisons"])

_HIGHEST = 2**31 - 1


def _reference(value: Any) -> service.Reference:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST:
        return value
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be the number or the id of a trial") from None


Ranked = Annotated[
    Any,
    AfterValidator(_reference),
    Field(json_schema_extra={"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "uuid"}]}),
]


class ComparisonIn(wire.Strict):
    ranking: Annotated[list[Ranked], Field(min_length=2, max_length=1000)] = Field(
        description="Trials by number or id, the best first."
    )


class ComparisonOut(BaseModel):
    id: int
    ranking: list[int] = Field(description="The numbers of the trials, the best first.")
    created_at: datetime


class ComparisonList(BaseModel):
    items: list[ComparisonOut]
    next_page_token: str | None
    total: None = Field(description="Comparisons are not counted.")


@router.post("/{study}/comparisons", status_code=201, response_model=ComparisonOut)
async def add_comparison(
    study_id: StudyId, body: ComparisonIn, request: Request, connection: Connection, once: MaybeOnce
) -> Response:
    """Says which trials are better than which others, for a study that learns from comparisons."""
    if once is not None:
        await once.replay(connection)
    added = await service.add(connection, study_id, body.ranking)
    after_commit(request, lambda: services(request).changed(study_id))
    return await reply(connection, once, added, 201)


@router.get("/{study}/comparisons", response_model=ComparisonList)
async def list_comparisons(
    study_id: StudyId, connection: Connection, page_size: PageSize = 100, page_token: PageToken = None
) -> Response:
    """A page of comparisons, oldest first."""
    return wire.Json(await service.list_page(connection, study_id, page_size, page_token))
