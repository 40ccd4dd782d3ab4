"""Names that may stand in a path, and texts the database can hold."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints


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
    for part in _parts_of(value):
        if isinstance(part, str):
            _text(part)
        elif isinstance(part, int | float) and not abs(part) < math.inf:
            raise ValueError("must not contain NaN or infinities")
    return value


def _parts_of(value: Any) -> Iterator[Any]:
    """Every key and every scalar of a JSON value, at any depth."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        else:
            yield part


Name = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_name)]
"""A study's, project's or metric's name: 1 to 128 printable characters."""

Text = Annotated[str, StringConstraints(max_length=65_536), AfterValidator(_text)]
"""A text for people."""

Uri = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_text)]

Document = Annotated[dict[str, Any], AfterValidator(_document)]
"""Any JSON object that the database can hold."""
