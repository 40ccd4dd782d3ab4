"""The format in which a study travels as a whole: JSON lines, the study first, then its trials in the order of numbers,
then how they compare.

    {"frazil": 1, "trials": 2, "comparisons": 1, "study": {"name": "digits", "space": [...], ...}}
    {"number": 0, "state": "COMPLETED", "params": {"lr": 0.01}, ..., "curves": [{"metric": "loss", "steps": [1], ...}]}
    {"number": 1, "state": "PAUSED", ...}
    {"ranking": [1, 0], "created_at": "2026-01-02T03:04:05Z"}

Lines are counted from 1, as editors do: the fault at "/lines/3/params/lr" is in trial 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, pairwise
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, ValidationError, model_validator
from pydantic_core import from_json

from frazil_tuner.errors import FrazilError, Problem, Refused

from ..names import Name, Text
from ..trials.schemas import CheckpointIn, Gradients, Position, Seconds, Step, Values
from ..wire import MetricValue, State, Strict

VERSION = 1

M = TypeVar("M", bound=BaseModel)


def _storable(value: Any) -> Any:
    """Free-form facts must fit into the database."""
    if isinstance(value, dict):
        for item in chain(value, value.values()):
            _storable(item)
    elif isinstance(value, list):
        for item in value:
            _storable(item)
    elif isinstance(value, str) and "\0" in value:
        raise ValueError("must not contain NUL")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must not contain numbers that are not finite")
    return value


Facts = Annotated[dict[str, Any], AfterValidator(_storable)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Attempt = Annotated[int, Field(ge=0, le=2**15 - 1)]
Time = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))]


class CurveLine(Strict):
    """A trial's curve of one metric: four columns of one length, steps ascending."""

    metric: Name
    steps: list[Step]
    values: list[MetricValue]
    elapsed: list[Seconds | None]
    attempts: list[Attempt]

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if len({len(self.steps), len(self.values), len(self.elapsed), len(self.attempts)}) > 1:
            raise ValueError("steps, values, elapsed and attempts must be equally long")
        if any(later <= step for step, later in pairwise(self.steps)):
            raise ValueError("steps must go forwards")
        return self

    def points(self) -> Iterator[tuple[int, float, float | None, int]]:
        """(step, value, elapsed, attempt) of each point."""
        return zip(self.steps, self.values, self.elapsed, self.attempts, strict=True)


class TrialLine(Strict):
    """A trial with everything that is known of it. `id` and `worker` are for the reader; a lease never travels."""

    number: Count
    id: str | None = None
    state: State
    params: dict[str, Any]
    candidate: Count | None = None
    values: Values = {}
    gradients: Gradients = {}
    told: Facts | None = None
    cost: Annotated[float, Field(allow_inf_nan=False)] | None = None
    reason: Text | None = None
    worker: Text | None = None
    why: Facts = {}
    attempt: Attempt = 0
    losses: Count = 0
    from_step: Position = 0
    step: Position = 0
    last_step: Position = 0
    until_step: Position | None = None
    ready: bool = False
    checkpoint: CheckpointIn | None = None
    notes: Text = ""
    tags: Annotated[list[Name], Field(max_length=64)] = []
    excluded: bool = False
    created_at: Time | None = None
    started_at: Time | None = None
    finished_at: Time | None = None
    curves: list[CurveLine] = []

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        reached = max((curve.steps[-1] for curve in self.curves if curve.steps), default=0)
        if not self.from_step <= self.step <= self.last_step or self.last_step < reached:
            raise ValueError("must have from_step ≤ step ≤ last_step, and no point after last_step")
        if self.until_step is not None and self.until_step < self.step:
            raise ValueError("until_step must not lie before step")
        if self.checkpoint is not None and self.checkpoint.step > self.last_step:
            raise ValueError("the checkpoint's step must not lie after last_step")
        if len({curve.metric for curve in self.curves}) < len(self.curves):
            raise ValueError("each metric may have one curve")
        return self


class ComparisonLine(Strict):
    """Trials of the file, best first."""

    ranking: Annotated[list[Count], Field(min_length=2, max_length=1000)]
    created_at: Time | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.ranking)) < len(self.ranking):
            raise ValueError("must name each trial once")
        return self


class StudyLine(BaseModel):
    """Of the study only the space must agree; the rest is for the reader."""

    space: list[Any]
    constraints: list[Any] = []


class Header(BaseModel):
    """The first line."""

    trials: Count
    comparisons: Count = 0
    study: StudyLine


def read_header(line: bytes) -> Header:
    """The first line. Raises `Refused` for another format or version, `Refused` (malformed) for what is no JSON."""
    document = _json(line, 1)
    version = document.get("frazil") if isinstance(document, dict) else None
    if version != VERSION or isinstance(version, bool):
        raise refused(1, "/frazil", f"must be {VERSION}, the version of the format that this server reads")
    return _validated(Header, line, 1)


def read_trial(line: bytes, index: int) -> TrialLine:
    """The line with this index, counted from 1. Raises as `read_header` does."""
    return _validated(TrialLine, line, index)


def read_comparison(line: bytes, index: int) -> ComparisonLine:
    """The line with this index, counted from 1. Raises as `read_header` does."""
    return _validated(ComparisonLine, line, index)


def _validated(model: type[M], line: bytes, index: int) -> M:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        if any(fault["type"] == "json_invalid" for fault in faults):
            _json(line, index)
        problems = tuple(Problem(_pointer(index, fault["loc"]), fault["msg"]) for fault in faults)
        raise Refused(f"{problems[0].pointer}: {problems[0].detail}", code="invalid", problems=problems) from None


def _json(line: bytes, index: int) -> Any:
    try:
        return from_json(line)
    except ValueError as error:
        raise refused(index, "", f"not JSON, or cut off: {error}", code="malformed") from None


def _pointer(index: int, location: tuple[int | str, ...]) -> str:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "/".join((f"/lines/{index}", *parts))


def refused(index: int, pointer: str, detail: str, *, code: str = "invalid") -> Refused:
    """The refusal of what `pointer` names in a line."""
    pointer = f"/lines/{index}{pointer}"
    return Refused(f"{pointer}: {detail}.", code=code, problems=(Problem(pointer, detail),))


def within(index: int, pointer: str, error: FrazilError) -> FrazilError:
    """The same error, with its pointers, which began at `pointer` in this line, made to point into the body."""
    error.problems = tuple(Problem(f"/lines/{index}{pointer}{p.pointer}", p.detail) for p in error.problems)
    error.detail = f"Line {index}: {error.detail}"
    return error
