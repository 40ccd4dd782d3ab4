"""An engine elsewhere: an API process says what it wants, `frazil-server worker` computes it and puts it on the shelf.

    API ── frazil_demand: study, demand, count, context ──▶ every worker; one of them fills the shelf
    API ◀── frazil_supply: demand, made ─────────────────── that one (FAILED instead of a number if it could not)

A demand is repeated until it is answered, for a worker may be killed in mid-fit; hearing it twice does no harm.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog
from pydantic_core import from_json, to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from frazil_tuner.errors import FrazilError, TryLater
from frazil_tuner.history import Params

from ..database import create_engine, database_url, migrate, transaction
from ..events.announcer import Announcer
from ..settings import Settings
from .engine import Elsewhere, LocalEngine, end
from .snapshots import Snapshots
from .workers import Workers

log = structlog.get_logger(__name__)

T = TypeVar("T")

DEMAND, SUPPLY = "frazil_demand", "frazil_supply"
FAILED = "failed"
_SAY = text("SELECT pg_notify(:channel, :payload)")

REPEAT = 3.0
"""Seconds after which a demand is repeated."""
TRIES = 10
"""How often, before the client is told to try later."""


async def _say(database: AsyncEngine, channel: str, *words: object) -> None:
    async with transaction(database) as connection:
        await connection.execute(_SAY, {"channel": channel, "payload": " ".join(map(str, words))})


class _Errands:
    """Tasks that nobody waits for; what they fail with is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("errand_failed", error=str(error))

    async def close(self) -> None:
        await end(tuple(self._tasks))


class RemoteEngine:
    """Leaves suggestions to workers elsewhere; `workers` answer what people ask. Make it before `announcer` runs."""

    def __init__(self, database: AsyncEngine, announcer: Announcer, workers: Workers) -> None:
        self._database = database
        self._workers = workers
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._errands = _Errands()
        announcer.hear(SUPPLY, self._supplied)

    async def replenish(self, study_id: uuid.UUID, count: int, context: Params) -> int:
        """Waits until a worker has answered; raises `TryLater` when none does, or it could not compute anything."""
        demand = uuid.uuid4().hex
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[demand] = answer
        try:
            for _ in range(TRIES):
                await _say(self._database, DEMAND, study_id, demand, count, to_json(context).decode())
                await asyncio.wait([answer], timeout=REPEAT)
                if answer.done():
                    return answer.result()
        finally:
            del self._waiting[demand]
        raise TryLater("No engine worker answered; is `frazil-server worker` running?", retry_after=5.0)

    def _supplied(self, payload: str) -> None:
        demand, made = payload.split()
        answer = self._waiting.get(demand)
        if answer is None or answer.done():
            return
        if made == FAILED:
            answer.set_exception(TryLater("The engine's worker failed; its log says why.", retry_after=5.0))
        else:
            answer.set_result(int(made))

    def nudge(self, study_id: uuid.UUID) -> None:
        self._errands.run(_say(self._database, DEMAND, study_id, "-", 0, "{}"))

    async def consult(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a function of the core in a worker process of this server's own, which starts when it is first needed:
        only suggestions are computed elsewhere.
        """
        return await self._workers.run(function, *args)

    def describe(self) -> dict[str, Any]:
        return {"executor": "remote", "workers": 0, "device": self._workers.device}

    async def close(self) -> None:
        await self._errands.close()
        self._workers.close()


class Attendant:
    """A worker's ear: has its engine serve demands, and answers them. Make it before `announcer` runs."""

    def __init__(self, database: AsyncEngine, announcer: Announcer, engine: LocalEngine) -> None:
        self._database = database
        self._engine = engine
        self._errands = _Errands()
        announcer.hear(DEMAND, self._demanded)

    def _demanded(self, payload: str) -> None:
        study, demand, count, context = payload.split(" ", 3)
        if int(count):
            self._errands.run(self._serve(uuid.UUID(study), demand, int(count), from_json(context)))
        else:
            self._engine.nudge(uuid.UUID(study))

    async def _serve(self, study_id: uuid.UUID, demand: str, count: int, context: Params) -> None:
        try:
            made: object = await self._engine.replenish(study_id, count, context)
        except Elsewhere:
            return
        except FrazilError:
            made = FAILED
        await _say(self._database, SUPPLY, demand, made)

    async def close(self) -> None:
        await self._errands.close()


async def run_worker(settings: Settings) -> None:
    """Serves demands until SIGTERM."""
    url = await asyncio.to_thread(database_url, settings)
    await asyncio.to_thread(migrate, url)
    database = create_engine(url, settings.pool_size + settings.engine_workers)
    announcer = Announcer(database, url)
    workers = Workers(settings.engine_workers, settings.engine_recycle, settings.device)
    engine = LocalEngine(database, Snapshots(), announcer, workers, defers=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await workers.prewarm()
    attendant = Attendant(database, announcer, engine)
    async with announcer.running():
        log.info("worker_ready", workers=workers.count)
        await stop.wait()
    await attendant.close()
    await engine.close()
    await database.dispose()
