"""Schedules over REST: what one comes to, and one refined from gradient norms. Pure functions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from frazil_tuner.errors import FrazilError, Problem
from frazil_tuner.schedules import Schedule, refined

from .. import wire
from ..database import transaction
from ..idempotency import MaybeOnce, reply
from ..services import services
from ..wire import MetricValue, Strict

router = APIRouter(prefix="/schedules", tags=["schedules"])

Step = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Described = Annotated[
    dict[str, Any],
    Field(
        description='{"kind": "wsd", "peak": 0.001, "total_steps": 10000, "warmup_steps": 500, "decay": 0.2}; steps, '
        "or shares of the run: warmup, decay, cycle."
    ),
]


class EvaluateIn(Strict):
    schedule: Described
    steps: list[Step] = Field(min_length=1, max_length=10_000)


class EvaluateOut(BaseModel):
    schedule: dict[str, Any] = Field(description="Canonical: every field of its kind, in steps.")
    steps: list[float]
    multipliers: list[float]
    values: list[float] = Field(description="The peak times the multipliers, rounded where the schedule says so.")


class RefineIn(Strict):
    norms: list[MetricValue] = Field(
        max_length=10_000, description="Of gradients, at even places of one whole run, before clipping; 500 or more."
    )
    norm: Literal["l2", "l1"] = Field("l2", description="l2 norms for SGD, l1 norms for Adam and its like.")
    total_steps: Annotated[float, Field(ge=2, le=1e12, allow_inf_nan=False)] | None = Field(
        None, description="Of the run; as many as there are norms, if not said."
    )
    peak: Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)] | None = None
    entries: Annotated[int, Field(ge=2, le=10_000)] | None = Field(None, description="Of the table; 50 to 200 do.")


class RefineOut(BaseModel):
    schedule: dict[str, Any]


@router.post(":evaluate", response_model=EvaluateOut)
async def evaluate_schedule(body: EvaluateIn, request: Request, once: MaybeOnce) -> Response:
    """The multipliers of a schedule at some steps, as every client computes them."""
    try:
        schedule = Schedule.of(body.schedule)
    except FrazilError as error:
        error.problems = tuple(Problem(f"/schedule{problem.pointer}", problem.detail) for problem in error.problems)
        raise
    found = {
        "schedule": schedule.to_json(),
        "steps": body.steps,
        "multipliers": schedule.multipliers(body.steps).tolist(),
        "values": schedule.values(body.steps).tolist(),
    }
    return await _answer(found, request, once)


@router.post(":refine", response_model=RefineOut)
async def refine_schedule(body: RefineIn, request: Request, once: MaybeOnce) -> Response:
    """The schedule that would have suited the gradients of a finished run: one more candidate, not a replacement."""
    schedule = refined(body.norms, total_steps=body.total_steps, norm=body.norm, peak=body.peak, entries=body.entries)
    return await _answer({"schedule": schedule.to_json()}, request, once)


async def _answer(found: dict[str, Any], request: Request, once: MaybeOnce) -> Response:
    if once is None:
        return wire.Json(found)
    async with transaction(services(request).database) as connection:
        await once.replay(connection)
        return await reply(connection, once, found)
