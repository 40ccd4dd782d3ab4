"""Telling every process that a study has news: NOTIFY with its id, after the commit, at most every few milliseconds.

NOTIFY inside a busy transaction would make all commits of the server queue behind one lock; here it travels alone. A
notification that is lost in a crash delays listeners until their next look, no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from ..database import plain_url

log = structlog.get_logger(__name__)

CHANNEL = "frazil_news"
_PAUSE = 0.1
_NOTIFY = text("SELECT pg_notify(:channel, id) FROM unnest(CAST(:ids AS text[])) AS n(id)")


class Gatherer:
    """The studies that had news since they were last taken."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._ids: set[str] = set()

    def add(self, study_id: str) -> None:
        self._ids.add(study_id)
        self.news.set()

    def take(self) -> list[str]:
        ids, self._ids = sorted(self._ids), set()
        self.news.clear()
        return ids


class Announcer:
    """Collects ids of studies that changed, announces them, and wakes whoever in this process waits for one."""

    def __init__(self, engine: AsyncEngine, url: str) -> None:
        self._engine = engine
        self._url = plain_url(url)
        self._touched: set[uuid.UUID] = set()
        self._ring = asyncio.Event()
        self._waiters: dict[uuid.UUID, set[asyncio.Event]] = {}
        self._gatherers: set[Gatherer] = set()
        self._hearers: dict[str, Callable[[str], None]] = {CHANNEL: self._wake}
        self._tasks: list[asyncio.Task[None]] = []
        self.closing = False

    def close(self) -> None:
        """The server is about to end: wakes everybody who waits for news, so that streams end by themselves."""
        self.closing = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.set()
        for gatherer in self._gatherers:
            gatherer.news.set()

    def touch(self, study_id: uuid.UUID) -> None:
        """Call it after a commit that changed the study."""
        self._touched.add(study_id)
        self._ring.set()

    def hear(self, channel: str, hearer: Callable[[str], None]) -> None:
        """From the start of `running` on, calls `hearer` with whatever is said on another channel."""
        self._hearers[channel] = hearer

    @contextlib.contextmanager
    def listening(self, study_id: uuid.UUID):  # type: ignore[no-untyped-def]
        """An event that is set whenever the study has news."""
        waiter = asyncio.Event()
        self._waiters.setdefault(study_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._waiters[study_id].discard(waiter)
            if not self._waiters[study_id]:
                del self._waiters[study_id]

    @contextlib.contextmanager
    def gathering(self) -> Iterator[Gatherer]:
        """Collects the ids of all studies that have news."""
        gatherer = Gatherer()
        self._gatherers.add(gatherer)
        try:
            yield gatherer
        finally:
            self._gatherers.discard(gatherer)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Announces and listens for as long as the block runs."""
        self._tasks = [asyncio.create_task(self._announce()), asyncio.create_task(self._listen())]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _announce(self) -> None:
        while True:
            await self._ring.wait()
            self._ring.clear()
            ids, self._touched = [str(study_id) for study_id in self._touched], set()
            try:
                async with self._engine.begin() as connection:
                    await connection.execute(_NOTIFY, {"channel": CHANNEL, "ids": ids})
            except Exception as error:  # noqa: BLE001  (listeners look by themselves after a while)
                log.warning("announcement_lost", error=str(error).splitlines()[0])
            await asyncio.sleep(_PAUSE)

    async def _listen(self) -> None:
        """Passes on what is said on the channels; connects again when the connection breaks."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    for channel in self._hearers:
                        await connection.execute(f"LISTEN {channel}")
                    async for note in connection.notifies():
                        self._hearers[note.channel](note.payload)
            except psycopg.Error as error:
                log.warning("listener_reconnects", error=str(error).splitlines()[0] if str(error) else "")
                await asyncio.sleep(1.0)

    def _wake(self, study_id: str) -> None:
        for waiter in self._waiters.get(uuid.UUID(study_id), ()):
            waiter.set()
        for gatherer in self._gatherers:
            gatherer.add(study_id)
