"""Names that may stand in a path, and texts the database can hold."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, TypeAdapter, ValidationError

_DEEPEST = 64
"""Levels of a document; writing JSON back fails at 255."""


def _name(value: str) -> str:
    if "/" in value or not value.isprintable() or value != value.strip():
        raise ValueError("must be printable, without slashes and without spaces at either end")
    if value in (".", "..") or _is_uuid(value):
        raise ValueError("must not look like an id or a folder")
    return value


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def storable(value: str) -> bool:
    """True unless the text has a character that PostgreSQL cannot hold: NUL, or half of a surrogate pair."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)


def _text(value: str) -> str:
    if not storable(value):
        raise ValueError("must not contain NUL or unpaired surrogates")
    return value


def _document(value: dict[str, Any]) -> dict[str, Any]:
    for part, depth in _parts_of(value):
        if depth > _DEEPEST:
            raise ValueError(f"must not be nested deeper than {_DEEPEST} levels")
        if isinstance(part, str):
            _text(part)
        elif isinstance(part, int | float) and not abs(part) < math.inf:
            raise ValueError("must not contain NaN or infinities")
    return value


def _parts_of(value: Any) -> Iterator[tuple[Any, int]]:
    """Every value inside a JSON value and every key, with its depth."""
    waiting = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        yield part, depth
        if isinstance(part, dict):
            waiting += ((inner, depth + 1) for inner in (*part, *part.values()))
        elif isinstance(part, list):
            waiting += ((inner, depth + 1) for inner in part)


Name = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_name)]
"""A study's, project's or metric's name: 1 to 128 printable characters."""

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def is_name(value: str) -> bool:
    """True for what may be a `Name`."""
    try:
        _NAME.validate_python(value)
    except ValidationError:
        return False
    return True


Text = Annotated[str, StringConstraints(max_length=65_536), AfterValidator(_text)]
"""A text for people."""

Uri = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_text)]

Document = Annotated[dict[str, Any], AfterValidator(_document)]
"""Any JSON object that the database can hold."""
