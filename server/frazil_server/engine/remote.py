"""A worker without an API: hears what other processes want, computes it, and puts it on the shelf."""

from __future__ import annotations

import asyncio
import signal
import uuid

import psycopg
import structlog

from ..database import create_engine, database_url, migrate, plain_url
from ..events.announcer import Announcer
from ..settings import Settings
from .engine import LocalEngine
from .snapshots import Snapshots
from .workers import Workers

log = structlog.get_logger(__name__)


async def run_worker(settings: Settings) -> None:
    """Serves demands until SIGTERM."""
    url = await asyncio.to_thread(database_url, settings)
    await asyncio.to_thread(migrate, url)
    database = create_engine(url, settings.pool_size + settings.engine_workers)
    announcer = Announcer(database, url)
    engine = LocalEngine(database, Snapshots(), announcer, Workers(settings.engine_workers, settings.engine_recycle))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with announcer.running():
        listener = asyncio.create_task(_listen(plain_url(url), engine))
        await engine.workers.prewarm()
        log.info("worker_ready", workers=engine.workers.count)
        await stop.wait()
        listener.cancel()
    engine.close()
    await database.dispose()


async def _listen(url: str, engine: LocalEngine) -> None:
    """Takes demands off the channel; connects again when the connection breaks."""
    tasks: set[asyncio.Task[int]] = set()
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await connection.execute("LISTEN frazil_demand")
                async for note in connection.notifies():
                    study, count = note.payload.split()
                    if int(count):
                        task = asyncio.create_task(engine.replenish(uuid.UUID(study), int(count)))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                    else:
                        engine.nudge(uuid.UUID(study))
        except psycopg.Error as error:
            log.warning("worker_reconnects", error=str(error))
            await asyncio.sleep(1.0)
