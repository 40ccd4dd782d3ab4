"""How values travel: floats as numbers, NaN and infinities as the strings "nan", "inf" and "-inf"."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def number(value: float) -> float | str:
    """A float as it travels in JSON."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def numbers(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: number(value) for name, value in values.items()}


def _read_number(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _NOT_FINITE:
            raise ValueError('must be a number, or one of the strings "nan", "inf", "-inf"')
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large for a 64-bit float") from None


MetricValue = Annotated[
    float,
    BeforeValidator(_read_number),
    Field(json_schema_extra={"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}], "type": None}),
]
"""A measured value. NaN and infinities are legal, as strings."""


NUMBER, ESTIMATE = "[number]", "[estimate]"
"""Marks that pydantic leaves in the location of a fault, to say which kind of value it tried."""


class Strict(BaseModel):
    """A request body: unknown fields are refused by name, and a string is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="strings")


def canonical(value: Any) -> str:
    """Equal for equal JSON: 1 and 1.0 differ as Python prints them, and 10^100 and 1e100 as numbers, but not here."""
    return json.dumps(_floated(value), sort_keys=True)


def _floated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _floated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floated(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def dump(value: Any) -> bytes:
    """JSON as this API speaks it. Non-finite floats must have been through `number`."""
    return to_json(value, inf_nan_mode="strings")


class Json(Response):
    """An answer whose body is already plain data."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else dump(content)


State = Literal["QUEUED", "RUNNING", "PAUSED", "COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"]
