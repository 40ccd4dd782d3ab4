"""Which trials are meant: one filter for lists, curves and samples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field
from sqlalchemy import ARRAY, ColumnElement, Double, Text, and_, case, cast, false, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from frazil_tuner.errors import Problem, Refused
from frazil_tuner.history import TrialState

from ..names import Name
from .models import Trial
from .records import StudyRecord

FINITE = and_(Trial.objective > -float("inf"), Trial.objective < float("inf"), ~Trial.excluded)
"""Trials that can be compared by their objective."""

_WHERE = (
    'What parameters must be, as JSON: {"lr": {"low": 1e-4, "high": 0.1}, "optimizer": {"in": ["adamw", "lion"]}}. '
    'A part of a schedule is named "lr_schedule/kind".'
)


@dataclass(frozen=True, slots=True)
class Interval:
    """A number between `low` and `high`, both included."""

    low: float
    high: float

    def clause(self, value: ColumnElement[Any]) -> ColumnElement[bool]:
        number = case((func.jsonb_typeof(value) == "number", cast(value, Double)))
        return number.between(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Among:
    """One of some JSON values."""

    values: Sequence[Any]

    def clause(self, value: ColumnElement[Any]) -> ColumnElement[bool]:
        return literal(list(self.values), JSONB).op("@>")(value)


@dataclass(frozen=True, slots=True)
class Filter:
    """Trials in one of some states, of some numbers, with all of some tags, with parameters and an objective within
    bounds; of these the best `top`.
    """

    states: tuple[TrialState, ...] = ()
    numbers: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    where: Mapping[str, Interval | Among] | None = None
    at_least: float | None = None
    at_most: float | None = None
    top: int | None = None

    @property
    def only_state(self) -> bool:
        """Whether nothing but states is asked for, so that kept counts say how many there are."""
        return self == Filter(self.states)

    def count(self, study: StudyRecord) -> int | None:
        """How many trials are meant, where that is kept."""
        states = self.states or tuple(TrialState)
        return sum(study.counts[state] for state in states) if self.only_state else None

    def clause(self, study: StudyRecord) -> ColumnElement[bool]:
        """The condition on `trials`. Raises `Refused` for a parameter that the study does not have."""
        meant = and_(Trial.study_id == study.id, *self._conditions(study))
        if self.top is None:
            return meant
        descending = study.definition["objectives"][0]["direction"] == "maximize"
        order = (Trial.objective.desc(), Trial.number.desc()) if descending else (Trial.objective, Trial.number)
        best = select(Trial.id).where(meant, FINITE).order_by(*order).limit(self.top)
        return Trial.id.in_(best)

    def _conditions(self, study: StudyRecord) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.states:
            found.append(Trial.state.in_([str(state) for state in self.states]))
        if self.numbers:
            found.append(Trial.number.in_(self.numbers))
        if self.tags:
            found.append(Trial.tags.op("@>")(cast(list(self.tags), ARRAY(Text))))
        if self.at_least is not None:
            found.append(Trial.objective >= self.at_least)
        if self.at_most is not None:
            found.append(Trial.objective <= self.at_most)
        for name, bounds in (self.where or {}).items():
            found.append(func.coalesce(bounds.clause(parameter(study, name)), false()))
        return found


def parameter(study: StudyRecord, name: str, pointer: str = "/query/where") -> ColumnElement[Any]:
    """A trial's value of a parameter, or of a part of one that is an object, as JSON. Raises `Refused`."""
    known = {item["name"] for item in study.definition["space"]}
    whole, _, part = name.rpartition("/")
    if name in known:
        return Trial.params[name]
    if whole in known and part:
        return Trial.params[whole][part]
    detail = f"there is no parameter {name[:64]!r}; the space has {', '.join(sorted(known)[:32])}"
    raise Refused(f"{detail}.", code="invalid", problems=(Problem(pointer, detail),))


def read_filter(
    state: Annotated[list[TrialState] | None, Query(description="May be repeated: any of them.")] = None,
    number: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**31)]] | None,
        Query(max_length=1_000, description="May be repeated: any of these trials."),
    ] = None,
    tag: Annotated[list[Name] | None, Query(max_length=64, description="May be repeated: all of them.")] = None,
    where: Annotated[str | None, Query(max_length=16_384, description=_WHERE)] = None,
    at_least: Annotated[float | None, Query(allow_inf_nan=False, description="The least objective.")] = None,
    at_most: Annotated[float | None, Query(allow_inf_nan=False, description="The largest objective.")] = None,
    top: Annotated[
        int | None, Query(ge=1, le=100_000, description="Of all that is left, the best by objective.")
    ] = None,
) -> Filter:
    """The filter of a request's query. Raises `Refused` pointing into it."""
    return Filter(tuple(state or ()), tuple(number or ()), tuple(tag or ()), _read_where(where), at_least, at_most, top)


def _read_where(text: str | None) -> dict[str, Interval | Among] | None:
    if text is None:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _refused("is no JSON") from None
    if not isinstance(document, dict):
        raise _refused("must be a JSON object from parameters to bounds")
    return {name: _bounds(name, bounds) for name, bounds in document.items()}


def _bounds(name: str, bounds: Any) -> Interval | Among:
    if isinstance(bounds, dict) and set(bounds) == {"in"} and isinstance(bounds["in"], list):
        return Among(bounds["in"])
    if isinstance(bounds, dict) and bounds and set(bounds) <= {"low", "high"} and all(map(_is_number, bounds.values())):
        return Interval(bounds.get("low", -math.inf), bounds.get("high", math.inf))
    raise _refused(f'{name[:64]!r} must be {{"low": 0.1, "high": 1}}, either of them, or {{"in": [...]}}')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _refused(detail: str) -> Refused:
    return Refused(f"where: {detail}.", code="invalid", problems=(Problem("/query/where", detail),))
