"""What travels about trials."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from ..names import Name, Text, Uri
from ..wire import ESTIMATE, NUMBER, MetricValue, State, Strict

Step = Annotated[int, Field(ge=1, le=1_000_000_000)]
Position = Annotated[int, Field(ge=0, le=1_000_000_000)]
Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Lease = Annotated[str, Field(min_length=1, max_length=128)]
Metrics = Annotated[dict[Name, MetricValue], Field(min_length=1, max_length=1024)]


def _ascending(measurements: list[Any]) -> list[Any]:
    steps = [measurement.step for measurement in measurements]
    if steps != sorted(steps):
        raise ValueError("steps must go forwards")
    return measurements


LONGEST_CONTEXT = 4_096
"""Bytes of a context as JSON: it must fit into a notification to another process."""


def _short(context: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(context)) > LONGEST_CONTEXT:
        raise ValueError(f"must not be longer than {LONGEST_CONTEXT} bytes")
    return context


class MeasurementIn(Strict):
    step: Step
    metrics: Metrics
    elapsed: Seconds | None = Field(None, description="Seconds of training since the trial started.")


Measurements = Annotated[list[MeasurementIn], AfterValidator(_ascending)]


class CheckpointIn(Strict):
    uri: Uri
    step: Position


class AskIn(Strict):
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    worker: Annotated[Text, Field(min_length=1, max_length=256)] | None = Field(
        None, description="Who asks. A worker that still holds live leases gets them back first."
    )
    lease_seconds: Annotated[float, Field(ge=1, le=7 * 86_400)] = 120.0
    context: Annotated[dict[str, Any], AfterValidator(_short)] | None = Field(
        None, description="A value for each parameter whose role is `context`."
    )


class ReportIn(Strict):
    lease: Lease
    measurements: Annotated[Measurements, Field(min_length=1, max_length=10_000)]
    checkpoint: CheckpointIn | None = Field(None, description="A checkpoint saved along the way.")


class HeartbeatIn(Strict):
    lease: Lease
    checkpoint: CheckpointIn | None = None


class PauseIn(Strict):
    lease: Lease
    step: Position | None = None
    checkpoint: CheckpointIn | None = None


class ReleaseIn(Strict):
    lease: Lease


class Estimate(Strict):
    mean: MetricValue
    sem: Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _kind_of_value(value: Any) -> str:
    return ESTIMATE if isinstance(value, dict | Estimate) else NUMBER


Value = Annotated[
    Annotated[MetricValue, Tag(NUMBER)] | Annotated[Estimate, Tag(ESTIMATE)], Discriminator(_kind_of_value)
]
Values = Annotated[dict[Name, Value], Field(max_length=1024)]

STEEPEST = 1e150
"""Derivatives beyond are refused: squares of such numbers overflow a float."""
Slope = Annotated[float, Field(ge=-STEEPEST, le=STEEPEST, allow_inf_nan=False)]
Gradients = Annotated[
    dict[Name, Annotated[dict[str, Slope], Field(min_length=1, max_length=1000)]],
    Field(max_length=64, description="Derivatives of the value by numeric parameters, in their own units, by metric."),
]


class TellIn(Strict):
    lease: Lease
    state: Literal["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"] = "COMPLETED"
    values: Values = {}
    gradients: Gradients = {}
    cost: Annotated[float, Field(allow_inf_nan=False)] | None = None
    reason: Text | None = None


class TrialIn(Strict):
    params: dict[str, Any] = Field(description="Of a branch only what differs from its parent's.")
    state: Literal["QUEUED", "COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"] = "QUEUED"
    values: Values = {}
    gradients: Gradients = {}
    curve: Annotated[Measurements, Field(max_length=100_000)] = []
    cost: Annotated[float, Field(allow_inf_nan=False)] | None = None
    reason: Text | None = None
    notes: Text = ""
    tags: Annotated[list[Name], Field(max_length=64)] = []
    parent: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="The number of a trial to branch: the new one goes on from its checkpoint, with its curve."
    )
    checkpoint: CheckpointIn | None = Field(None, description="Of the parent, where it is not the newest one.")
    until_step: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        None, description="Up to where a branch is trained before the policy is asked about it; the end, unless given."
    )


class TrialsIn(Strict):
    trials: Annotated[list[TrialIn], Field(min_length=1, max_length=1000)]


class TrialPatch(Strict):
    """What may be changed; what is absent stays as it is."""

    notes: Text | None = None
    tags: Annotated[list[Name], Field(max_length=64)] | None = None
    excluded: bool | None = Field(None, description="The tuner forgets an excluded trial.")
    values: Values | None = Field(None, description="Corrected values; the old ones stay in the trial's events.")
    schedules: Annotated[dict[Name, dict[str, Any]], Field(min_length=1, max_length=64)] | None = Field(
        None,
        description="Of an unfinished trial: its schedules from now on, by parameter. Its worker is told with the "
        "answer to its next report.",
    )


class CheckpointOut(BaseModel):
    uri: str
    step: int


class LeaseOut(BaseModel):
    token: str
    expires_at: datetime


class LeasedTrial(BaseModel):
    id: UUID
    number: int
    state: State
    params: dict[str, Any]
    from_step: int
    until_step: int | None
    max_step: int | None
    checkpoint: CheckpointOut | None
    lease: LeaseOut
    why: dict[str, Any]


class AskOut(BaseModel):
    trials: list[LeasedTrial]
    study_state: Literal["active", "paused", "stopped", "completed"]
    retry_after: float | None = Field(description="Seconds after which asking again may help.")


class ReportOut(BaseModel):
    decision: Literal["continue", "pause", "stop"]
    until_step: int | None
    reason: str
    schedule: dict[str, Any] | None = Field(
        description="Schedules, by parameter, that were changed since the lease was given: go on with these."
    )
    obsolete_checkpoints: list[str] = Field(
        description="Checkpoints of the study's trials from which nobody will go on any more: superseded ones, and "
        "those of finished trials, except a completed one's that holds its last step. Each is told once, to whoever "
        "reports next at the end of a grant, at most twenty at a time; the server deletes nothing."
    )
    lease_expires_at: datetime


class TrialStateOut(BaseModel):
    """Where a trial and its study are now."""

    id: UUID
    number: int
    state: State
    study_state: str


class TrialOut(BaseModel):
    id: UUID
    study_id: UUID
    number: int
    state: State
    params: dict[str, Any]
    values: dict[str, Any]
    gradients: dict[str, dict[str, float]]
    objective: Any = Field(description="The first objective's value so far: told, or the curve's summary.")
    cost: float | None
    reason: str | None
    worker: str | None
    lease_expires_at: datetime | None
    attempt: int
    from_step: int
    last_step: int
    until_step: int | None
    checkpoint: CheckpointOut | None
    candidate: int | None
    why: dict[str, Any]
    notes: str
    tags: list[str]
    excluded: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class TrialList(BaseModel):
    items: list[dict[str, Any]] = Field(description="Trials, or the asked-for fields of them; never curves.")
    next_page_token: str | None
    total: int | None = Field(description="How many there are, where that is kept: of all, and of states.")


class TrialSample(BaseModel):
    """Columns of equal length, in the order of the numbers."""

    metric: str
    matched: int = Field(description="How many trials the filter lets through; the sample may hold fewer.")
    number: list[int]
    id: list[UUID]
    state: list[State]
    objective: list[MetricValue | None]
    last_step: list[int]
    tags: list[list[str]]
    params: dict[str, list[Any]] = Field(description="By parameter; null where a trial has none.")
    values: dict[str, list[MetricValue | None]] = Field(description="By deciding metric: what was told, or seen last.")


class ImprovementOut(BaseModel):
    number: int
    value: float
    trials: int = Field(description="Trials begun by then.")
    steps: int = Field(description="Steps spent by then, over all trials.")
    seconds: float = Field(description="Since the first trial started.")
    at: datetime


class Progress(BaseModel):
    metric: str
    direction: Literal["minimize", "maximize"]
    items: list[ImprovementOut]
    trials: int = Field(description="What has been spent up to now.")
    steps: int
    seconds: float


class AddedTrials(BaseModel):
    trials: list[TrialStateOut]


class CurvePoint(BaseModel):
    step: int
    value: MetricValue
    elapsed: float | None


class CurveOut(BaseModel):
    metric: str
    points: list[CurvePoint]


class TrialCurves(BaseModel):
    id: UUID
    curves: list[CurveOut]
