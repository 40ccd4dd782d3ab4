"""What travels about studies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from ..names import Document, Name, Text, is_name, storable
from ..wire import Strict

Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]
Statement = Annotated[Text, Field(min_length=1, max_length=1024)]

MOST_OBJECTIVES = 10
MOST_RELATED = 32
DEAREST = 1e150


class ObjectiveIn(Strict):
    metric: Name
    direction: Literal["minimize", "maximize"] = "minimize"
    summary: Literal["last", "best"] = Field("last", description="Which value of a curve counts.")
    by: Literal["value", "comparison"] = Field(
        "value", description="What it is learned from: values, or comparisons of trials, which then need no value."
    )


def _cost(value: Any) -> Any:
    """A metric's name, or a price above 0."""
    if isinstance(value, str) and is_name(value):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= DEAREST:
        return float(value)
    raise ValueError("must be the name of the metric that says what a trial costs, or the price of a step, above 0")


def _related(value: Any) -> Any:
    """ "equal", or a list of names and ids."""
    if value == "equal":
        return value
    texts = isinstance(value, list) and all(isinstance(item, str) and storable(item) for item in value)
    if texts and 1 <= len(value) <= MOST_RELATED:
        return value
    raise ValueError(f'must be "equal", or a list of 1 to {MOST_RELATED} names or ids of studies')


Cost = Annotated[
    Any,
    AfterValidator(_cost),
    Field(json_schema_extra={"anyOf": [{"type": "string"}, {"type": "number", "exclusiveMinimum": 0}]}),
]
Related = Annotated[
    Any,
    AfterValidator(_related),
    Field(json_schema_extra={"anyOf": [{"const": "equal"}, {"type": "array", "items": {"type": "string"}}]}),
]


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
    objectives: Annotated[list[ObjectiveIn], Field(min_length=1, max_length=MOST_OBJECTIVES)] = Field(
        description="What is wanted; several make the study multi-objective. The first is the one trials are sorted by."
    )
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
    constraints: Annotated[list[Statement], Field(max_length=256)] = Field(
        [], description='What parameters must satisfy, such as "layers * width <= 2048".'
    )
    outcome_constraints: Annotated[list[Statement], Field(max_length=32)] = Field(
        [], description='What outcomes must satisfy, such as "latency_ms <= 50".'
    )
    cost: Cost | None = Field(
        None,
        description="The metric that says what a trial costs, or the price of a step; or `elapsed`: the seconds that "
        "come with reports.",
    )
    related: Related | None = Field(
        None,
        description="Earlier studies to learn from: names, ids; or `equal`, those of the project with equal spaces.",
    )
    if_exists: Literal["fail", "load"] = "fail"


class StudyPatch(Strict):
    """What may be changed; what is absent stays as it is."""

    state: Literal["active", "paused", "stopped"] | None = None
    notes: Text | None = None
    metadata: Document | None = None
    budget: BudgetIn | None = None
    policy: dict[str, Any] | None = None
    space: Annotated[list[Any], Field(min_length=1, max_length=1000)] | None = Field(
        None,
        description="Changes of parameters, under If-Match: a wider range, another choice, `disabled` with a `value`.",
    )


class RelatedStudy(BaseModel):
    id: UUID
    name: str


class RelatedOut(BaseModel):
    given: Literal["equal"] | list[str] = Field(description="What the definition said.")
    studies: list[RelatedStudy]


class BestSeen(BaseModel):
    number: int
    value: float


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
    constraints: list[str]
    outcome_constraints: list[str]
    cost: str | float | None
    related: RelatedOut | None = Field(description="The earlier studies that this one learns from.")
    counts: dict[str, int] = Field(description="Trials by state, kept by the transactions that change them.")
    trials: int
    started: int = Field(description="Trials ever handed to a worker.")
    steps_used: int = Field(description="Steps reported, and steps granted and not yet reported.")
    best: BestSeen | None = Field(description="The best value so far; see `progress` for how it came about.")
    version: int
    data_version: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None


class StudyList(BaseModel):
    items: list[StudyOut]
    next_page_token: str | None
    total: int
