"""Idempotency-Key: the first answer to a POST is stored by the transaction that did the work, and replayed byte for
byte.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from frazil_tuner.errors import Refused

from . import wire

_WAIT = text("SELECT pg_advisory_xact_lock(hashtextextended(:scope || ' ' || :key, 0))")
_FIND = text("SELECT request_hash, status, body FROM idempotency_keys WHERE scope = :scope AND key = :key")
_STORE = text(
    """INSERT INTO idempotency_keys (scope, key, request_hash, status, body)
    VALUES (:scope, :key, :hash, :status, :body)"""
)
FORGET = text("DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'")


class Replay(Exception):
    """This request was answered before; send the stored answer."""

    def __init__(self, response: Response) -> None:
        super().__init__("answered before")
        self.response = response


@dataclass(frozen=True, slots=True)
class Once:
    """A request that must take effect once: where its key belongs, and what it asked for."""

    scope: str
    key: str
    request_hash: str

    async def replay(self, connection: AsyncConnection) -> None:
        """Raises `Replay` with the first answer if there is one, `Refused` if the key was used for another request.

        Waits for an equal request that is being served, and makes later ones wait until this transaction ends.
        """
        await connection.execute(_WAIT, {"scope": self.scope, "key": self.key})
        row = (await connection.execute(_FIND, {"scope": self.scope, "key": self.key})).one_or_none()
        if row is None:
            return
        if row.request_hash != self.request_hash:
            raise Refused(
                "This Idempotency-Key was used for another request; use a fresh one.", code="idempotency_key_reused"
            )
        raise Replay(Response(row.body, row.status, {"Idempotent-Replayed": "true"}, media_type="application/json"))

    async def store(self, connection: AsyncConnection, status: int, body: bytes) -> None:
        parameters = {"scope": self.scope, "key": self.key, "hash": self.request_hash, "status": status, "body": body}
        await connection.execute(_STORE, parameters)


async def _once(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="Repeat the request safely for 24 hours.")
    ] = None,
) -> Once | None:
    if idempotency_key is None:
        return None
    url = f"{request.method} {request.url.path}?{request.url.query}"
    return Once(url, idempotency_key, hashlib.sha256(await request.body()).hexdigest())


MaybeOnce = Annotated[Once | None, Depends(_once)]


async def send_replay(request: Request, replay: Exception) -> Response:
    """The handler of `Replay`."""
    assert isinstance(replay, Replay)
    return replay.response


async def reply(connection: AsyncConnection, once: Once | None, content: Any, status: int = 200) -> Response:
    """The answer, stored first if its request carried a key."""
    body = wire.dump(content)
    if once is not None:
        await once.store(connection, status, body)
    return wire.Json(body, status)
