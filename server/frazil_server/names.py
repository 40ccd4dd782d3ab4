"""Names that may stand in a path, and texts the database can hold."""

from __future__ import annotations

import uuid
from typing import Annotated

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


def _text(value: str) -> str:
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not contain NUL or unpaired surrogates")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_name)]
"""A study's, project's or metric's name: 1 to 128 printable characters."""

Text = Annotated[str, StringConstraints(max_length=65_536), AfterValidator(_text)]
"""A text for people."""

Uri = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_text)]
