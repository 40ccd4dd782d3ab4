"""The queue in front of the write path: commands of one study that wait together are served by one transaction.

A command that arrives while a transaction of its study is open joins the next one. Under load this turns many small
commits into few larger ones; with one client it adds nothing. Whatever is answered has been committed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from frazil_tuner.errors import FrazilError

from .. import wire
from ..engine.snapshots import Look, Snapshots
from ..errors import translate
from ..events.announcer import Announcer
from ..idempotency import Once
from ..suggestions.service import collect_expired, serve_asks
from .commands import Command
from .ledger import Ledger
from .settle import Answer, NeedsStudyLock, Transaction, needs_lock, serve_trials, split

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]

_LARGEST_BATCH = 128
_TRIES = 4


@dataclass(slots=True)
class _Waiting:
    command: Command
    answer: asyncio.Future[dict[str, Any]]


@dataclass(slots=True)
class _Queue:
    waiting: list[_Waiting] = field(default_factory=list)
    server: asyncio.Task[None] | None = None


def _waited_long(error: Exception) -> bool:
    """True when a limit on waiting or running was reached: the client should hear of it before more time goes by."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled)


class Desk:
    """Serves the commands of every study, one transaction at a time for each."""

    def __init__(
        self, engine: AsyncEngine, snapshots: Snapshots, announcer: Announcer, clock: Clock, max_losses: int
    ) -> None:
        self._engine = engine
        self._snapshots = snapshots
        self._announcer = announcer
        self._clock = clock
        self._max_losses = max_losses
        self._queues: dict[uuid.UUID, _Queue] = {}

    async def submit(self, study_id: uuid.UUID, command: Command) -> dict[str, Any]:
        """Serves a command and answers once it is committed. Raises what the rules raise."""
        queue = self._queues.setdefault(study_id, _Queue())
        waiting = _Waiting(command, asyncio.get_running_loop().create_future())
        queue.waiting.append(waiting)
        if queue.server is None:
            queue.server = asyncio.create_task(self._serve(study_id, queue))
        return await waiting.answer

    async def submit_once(self, study_id: uuid.UUID, command: Command, once: Once, render: Any) -> bytes:
        """Serves a command alone, with its answer stored under its idempotency key in the same transaction.

        Raises `Replay` when it was answered before.
        """
        for lock in (needs_lock([command]), True):
            try:
                return await self._serve_once(study_id, command, once, render, lock=lock)
            except NeedsStudyLock:
                continue
        raise AssertionError("a locked batch never asks for the lock")

    async def _serve_once(self, study_id: uuid.UUID, command: Command, once: Once, render: Any, *, lock: bool) -> bytes:
        async with self._engine.begin() as connection:
            await once.replay(connection)
            (answer,), look = await self._settle(connection, study_id, [command], lock=lock)
            if not isinstance(answer, FrazilError):
                body = wire.dump(render(answer))
                await once.store(connection, 200, body)
        self._committed(study_id, look)
        if isinstance(answer, FrazilError):
            raise answer  # after the commit: a refused report may still have brought facts
        return body

    async def _serve(self, study_id: uuid.UUID, queue: _Queue) -> None:
        """Serves batch after batch until nobody waits."""
        try:
            while queue.waiting:
                await asyncio.sleep(0)  # whatever has reached the socket by now comes along
                batch, queue.waiting = queue.waiting[:_LARGEST_BATCH], queue.waiting[_LARGEST_BATCH:]
                await self._serve_batch(study_id, batch)
        finally:
            queue.server = None
            if not queue.waiting:
                self._queues.pop(study_id, None)

    async def _serve_batch(self, study_id: uuid.UUID, batch: Sequence[_Waiting]) -> None:
        try:
            answers = await self._transact(study_id, [waiting.command for waiting in batch])
        except Exception as error:  # noqa: BLE001  (every waiting request must be answered)
            await self._fail(study_id, batch, error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue  # its client hung up
            if isinstance(answer, FrazilError):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)

    async def _fail(self, study_id: uuid.UUID, batch: Sequence[_Waiting], error: Exception) -> None:
        """One command must not take the others down: serves them one by one, so that only the culprit fails."""
        if len(batch) > 1:
            for waiting in batch:
                await self._serve_batch(study_id, [waiting])
        elif not batch[0].answer.done():
            batch[0].answer.set_exception(translate(error) or error)

    async def _transact(self, study_id: uuid.UUID, commands: list[Command]) -> list[Answer]:
        """One committed transaction; again after a deadlock or a broken connection, with the lock if it was needed."""
        lock = needs_lock(commands)
        for attempt in range(_TRIES):
            try:
                async with self._engine.begin() as connection:
                    answers, look = await self._settle(connection, study_id, commands, lock=lock)
            except NeedsStudyLock:
                lock = True
            except (OperationalError, psycopg.OperationalError) as error:
                if attempt == _TRIES - 1 or _waited_long(error):
                    raise
                await asyncio.sleep(0.05 * 2**attempt)
            else:
                self._committed(study_id, look)
                return answers
        raise AssertionError("a locked batch never asks for the lock")

    async def _settle(
        self, connection: Any, study_id: uuid.UUID, commands: list[Command], *, lock: bool
    ) -> tuple[list[Answer], Look | None]:
        try:
            ledger = await Ledger.open(connection, study_id, lock=lock)
        except FrazilError as error:
            return [error] * len(commands), None
        desk = Transaction(ledger, self._snapshots, self._clock(), self._max_losses)
        of_trials, asks = split(commands)
        answers: dict[int, Answer] = {}
        answers |= zip(map(id, of_trials), await serve_trials(desk, of_trials), strict=True)
        if asks:
            answers |= zip(map(id, asks), await serve_asks(desk, asks), strict=True)
        elif len(of_trials) < len(commands):
            await collect_expired(desk, ())
        await ledger.flush()
        return [answers.get(id(command), {}) for command in commands], desk.look

    def _committed(self, study_id: uuid.UUID, look: Look | None) -> None:
        if look is not None:
            self._snapshots.remember(study_id, look)
        self._announcer.touch(study_id)
