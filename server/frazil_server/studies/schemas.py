"""What travels about studies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from ..names import Document, Name, Text
from ..wire import Strict

Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]


class ObjectiveIn(Strict):
    metric: Name
    direction: Literal["minimize", "maximize"] = "minimize"
    summary: Literal["last", "best"] = Field("last", description="Which value of a curve counts.")


class ResourceIn(Strict):
    """What training consumes, in whole steps."""

    name: Name = "epoch"
    min: Steps = 1
    max: Steps
    kind: Literal["resumable", "restart"] = "resumable"


class BudgetIn(Strict):
    """Limits for the whole study, across all workers; the first that is reached ends it."""

    trials: Annotated[int, Field(ge=1, le=10_000_000, description="Trials ever started.")] | None = None
    resource: Annotated[int, Field(ge=1, le=10**15, description="Steps, over all trials.")] | None = None
    seconds: Annotated[float, Field(gt=0, le=1e9, description="Seconds since the first trial started.")] | None = None


class StudyIn(Strict):
    name: Name
    project: Name = "default"
    space: list[Any] = Field(description="The parameters; see the contract.")
    objectives: Annotated[list[ObjectiveIn], Field(min_length=1)]
    metrics: Annotated[list[Name], Field(max_length=256)] | None = Field(
        None, description="Metrics reported beside the objective. Given, any other metric is refused."
    )
    resource: ResourceIn | None = None
    policy: dict[str, Any] | None = None
    budget: BudgetIn = BudgetIn()
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    metadata: Document = {}
    candidates: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100_000)] | None = Field(
        None, description="A finite list of parameter sets: the tuner suggests only from it, none twice."
    )
    constraints: list[str] = Field([], max_length=256)
    outcome_constraints: list[str] = Field([], max_length=256)
    cost: Any = None
    if_exists: Literal["fail", "load"] = "fail"


class StudyPatch(Strict):
    """What may be changed; what is absent stays as it is."""

    state: Literal["active", "paused", "stopped"] | None = None
    notes: Text | None = None
    metadata: Document | None = None
    budget: BudgetIn | None = None
    policy: dict[str, Any] | None = None


class StudyOut(BaseModel):
    id: UUID
    name: str
    project: str
    state: Literal["active", "paused", "stopped", "completed"]
    space: list[dict[str, Any]]
    objectives: list[dict[str, Any]]
    metrics: list[str] | None
    resource: dict[str, Any] | None
    policy: dict[str, Any]
    budget: dict[str, Any]
    seed: int
    metadata: dict[str, Any]
    notes: str
    candidates: int | None = Field(description="How many parameter sets the study chooses from.")
    counts: dict[str, int] = Field(description="Trials by state, kept by the transactions that change them.")
    trials: int
    started: int = Field(description="Trials ever handed to a worker.")
    steps_used: int = Field(description="Steps reported, and steps granted and not yet reported.")
    version: int
    data_version: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None


class StudyList(BaseModel):
    items: list[StudyOut]
    next_page_token: str | None
    total: int
