"""Keyset pages: a page token says after which row to go on. Never an offset, never a count."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import Query
from pydantic_core import from_json, to_json

from frazil_tuner.errors import Problem, Refused

PageSize = Annotated[int, Query(ge=1, le=1000, description="Rows of one page.")]
PageToken = Annotated[str | None, Query(max_length=1024, description="`next_page_token` of the page before.")]


def write_token(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(to_json(position)).decode().rstrip("=")


def read_token(token: str, kinds: tuple[type, ...]) -> list[Any]:
    """The position in a token. Raises `Refused` unless it is one of ours, with values of these `kinds`."""
    try:
        position = from_json(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error):
        position = None
    if not isinstance(position, list) or len(position) != len(kinds):
        raise unreadable()
    if not all(type(value) is kind for value, kind in zip(position, kinds, strict=True)):  # true is no place
        raise unreadable()
    return position


def unreadable() -> Refused:
    """What is raised for a page token that this server did not write."""
    return Refused(
        "This page_token is not one of ours.",
        code="invalid",
        problems=(Problem("/query/page_token", "take it from next_page_token, unchanged"),),
    )
