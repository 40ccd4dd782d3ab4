"""All curves of a study, down-sampled."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Refused

from .. import wire
from ..database import Connection
from ..names import Name
from ..pages import PageSize, PageToken, read_token, write_token
from ..studies.routes import StudyId
from . import samples
from .filters import Filter, read_filter
from .ledger import Ledger
from .models import Trial
from .records import StudyRecord
from .views import require_declared

router = APIRouter(prefix="/studies", tags=["trials"])

MaxPoints = Annotated[
    int,
    Query(ge=2, le=1000, description="Points of one curve: both ends, the lowest, the highest, others evenly spaced."),
]

# Of n points `most` are kept: the lowest and the highest finite one, as far as they are no ends and there is room; of
# the room that is left, `places`, the first, and each i-th that enters another of places - 1 equal stretches of
# 0 … n - 1.
_PAGE = text(
    """WITH page AS (
        SELECT id, number, state FROM trials WHERE id = ANY(CAST(:ids AS uuid[])))
    SELECT page.id, page.number, page.state, curve.steps, curve.points
    FROM page CROSS JOIN LATERAL (
        SELECT array_agg(step ORDER BY step) AS steps, array_agg(value ORDER BY step) AS points
        FROM (
            SELECT *, :most - count(*) FILTER (WHERE extreme) OVER () AS places FROM (
                SELECT step, value, i, n, n > :most AND 0 < i AND i < n - 1
                    AND (low = 1 AND :most > 2 OR high = 1 AND :most > 3) AS extreme
                FROM (
                    SELECT step, value, row_number() OVER (ORDER BY step) - 1 AS i, count(*) OVER () AS n,
                        row_number() OVER (ORDER BY finite, step) AS low,
                        row_number() OVER (ORDER BY finite DESC NULLS LAST, step) AS high
                    FROM (
                        SELECT step, value,
                            CASE WHEN value > '-Infinity' AND value < 'Infinity' THEN value END AS finite
                        FROM measurements WHERE trial_id = page.id AND metric = :metric) AS measured) AS ranked
                ) AS marked) AS placed
        WHERE n <= :most OR extreme OR i = 0
            OR i * (places - 1) / nullif(n - 1, 0) > (i - 1) * (places - 1) / nullif(n - 1, 0)
    ) AS curve ORDER BY page.number"""
)
_MEASURED = text(
    """SELECT EXISTS (SELECT FROM trials WHERE study_id = :study AND EXISTS (
        SELECT FROM measurements WHERE trial_id = trials.id AND metric = :metric))"""
)


class SampledCurve(BaseModel):
    number: int
    id: uuid.UUID
    state: wire.State
    steps: list[int]
    values: list[wire.MetricValue]


class CurveList(BaseModel):
    metric: str
    items: list[SampledCurve] = Field(description="A curve for each trial, empty where nothing was measured.")
    next_page_token: str | None
    total: int | None = Field(description="How many there are, where that is kept: of all, and of states.")


@router.get("/{study}/curves", response_model=CurveList)
async def list_curves(
    study_id: StudyId,
    connection: Connection,
    chosen: Annotated[Filter, Depends(read_filter)],
    *,
    metric: Annotated[Name | None, Query(description="The objective, unless given.")] = None,
    max_points: MaxPoints = 100,
    sample: Annotated[
        int | None, Query(ge=1, le=5_000, description="So many curves instead of a page: the best, and others evenly.")
    ] = None,
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> Response:
    """The curves of a page of trials, or of a sample, in the order of their numbers, thinned out to be drawn."""
    study = (await Ledger.open(connection, study_id, lock=False)).study
    metric = metric or study.metric
    await _require_known(connection, study, metric)
    page: Sequence[Row[Any]]
    if sample is not None:
        page, more = await samples.drawn(connection, study, chosen, sample), False
    else:
        after = -1 if page_token is None else read_token(page_token, (int,))[0]
        query = select(Trial.id, Trial.number).where(chosen.clause(study), Trial.number > after)
        found: Any = (await connection.execute(query.order_by(Trial.number).limit(page_size + 1))).all()
        page, more = found[:page_size], len(found) > page_size
    ids = [row.id for row in page]
    return wire.Json(
        {
            "metric": metric,
            "items": await _curves(connection, metric=metric, most=max_points, ids=ids),
            "next_page_token": write_token([page[-1].number]) if more else None,
            "total": chosen.count(study),
        }
    )


async def _require_known(connection: AsyncConnection, study: StudyRecord, metric: str) -> None:
    """Raises `Refused` (metric_unknown) for a metric that was neither declared nor ever measured."""
    try:
        require_declared(study.definition, metric)
    except Refused:
        found = await connection.execute(_MEASURED, {"study": study.id, "metric": metric})
        if not found.scalar_one():
            raise


async def _curves(connection: AsyncConnection, **parameters: Any) -> list[dict[str, Any]]:
    """The curves that the query finds, as they travel."""
    return [
        {
            "number": row.number,
            "id": row.id,
            "state": row.state,
            "steps": row.steps or [],
            "values": [wire.number(value) for value in row.points or ()],
        }
        for row in await connection.execute(_PAGE, parameters)
    ]
