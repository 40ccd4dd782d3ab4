"""What a running process holds, wired together once: pool, snapshots, desk, engine, announcer."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import structlog
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from . import sweeper, wire
from .database import transaction
from .engine.deliberation import Deliberations
from .engine.engine import Engine, LocalEngine, end
from .engine.remote import RemoteEngine
from .engine.snapshots import Snapshots
from .engine.workers import Workers
from .errors import NotFound
from .events.announcer import Announcer
from .idempotency import Once
from .insights.service import Insights
from .settings import Settings
from .studies.service import resolve
from .trials.changes import study_of
from .trials.commands import Ask, Heartbeat, OfTrial, Report, Ruling, Tell
from .trials.desk import Desk

log = structlog.get_logger(__name__)

K = TypeVar("K")

_PROMPT_ROUNDS = 20
"""How often an ask goes back to the shelf before it tells its client to come again."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Services:
    """The service behind the routes."""

    def __init__(
        self, database: AsyncEngine, url: str, settings: Settings, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.database = database
        self.snapshots = Snapshots()
        self.announcer = Announcer(database, url)
        self.desk = Desk(database, self.snapshots, self.announcer, clock, settings.max_losses)
        self.engine = self._engine(settings)
        self.deliberations = Deliberations(database, self.snapshots, self.engine, turns=settings.engine_workers)
        self.insights = Insights(self.engine)
        self.names: _Recent[tuple[str, str]] = _Recent()
        self.owners: _Recent[uuid.UUID] = _Recent()

    def _engine(self, settings: Settings) -> Engine:
        workers = Workers(settings.engine_workers, settings.engine_recycle, settings.device)
        if settings.engine == "remote":
            return RemoteEngine(self.database, self.announcer, workers)
        return LocalEngine(self.database, self.snapshots, self.announcer, workers)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens, announces, sweeps and keeps worker processes for as long as the block runs."""
        chores = [asyncio.create_task(self._sweep())]
        if isinstance(self.engine, LocalEngine) and self.settings.engine_prewarm:
            chores.append(asyncio.create_task(self.engine.workers.prewarm()))
        try:
            async with self.announcer.running():
                yield
        finally:
            await end(chores)
            await self.deliberations.close()
            await self.insights.close()
            await self.engine.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            try:
                await sweeper.sweep(self.database, self.desk, self.clock())
            except Exception as error:  # noqa: BLE001  (the next round tries again)
                log.warning("sweep_failed", error=repr(error))

    # ── the write path ───────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, study: str, project: str, ask: Ask, once: Once | None) -> Response:
        """Leases trials, going back to the shelf until the engine has nothing more to give."""
        known = self.names.get((project, study))
        try:
            return await self._ask_study(known or await self._study_id(study, project), ask, once)
        except NotFound:
            if known is None:
                raise
            self.names.drop((project, study))  # deleted since; the name may be another study's now
            return await self.ask(study, project, ask, once)

    async def _ask_study(self, study_id: uuid.UUID, ask: Ask, once: Once | None) -> Response:
        if once is not None:
            return wire.Json(await self._ask_once(study_id, ask, once))
        return wire.Json(_public(await self._ask(study_id, ask)))

    async def _ask(self, study_id: uuid.UUID, ask: Ask) -> dict[str, Any]:
        answer = await self._lease(study_id, ask)
        for _ in range(_PROMPT_ROUNDS):
            if answer["undecided"]:
                considered = await self.deliberations.about(study_id, answer["undecided"])
                ask = replace(ask, considered=considered)
            elif answer["missing"]:
                fresh_since = answer["data_version"] if ask.fresh_since is None else ask.fresh_since
                found = await self.engine.replenish(study_id, answer["missing"], answer["context"])
                ask = replace(ask, fresh_since=fresh_since, last_try=found == 0)
            else:
                break
            answer = await self._lease(study_id, ask)
        return answer

    async def _lease(self, study_id: uuid.UUID, ask: Ask) -> dict[str, Any]:
        answer = await self.desk.submit(study_id, ask)
        for trial in answer["trials"]:
            self.owners.put(trial["id"], study_id)
        return answer

    async def _ask_once(self, study_id: uuid.UUID, ask: Ask, once: Once) -> bytes:
        """The shelf is filled first, so that one transaction can lease the trials and store the answer."""
        async with transaction(self.database) as connection:
            await once.replay(connection)
        await self._ask(study_id, ask)  # the same worker gets the same leases back below
        return await self.desk.submit_once(study_id, ask, once, _public)

    async def _study_id(self, study: str, project: str) -> uuid.UUID:
        try:
            return uuid.UUID(study)
        except ValueError:
            async with transaction(self.database) as connection:
                study_id = await resolve(connection, study, project)
            self.names.put((project, study), study_id)
            return study_id

    async def of_trial(self, trial_id: uuid.UUID, command: OfTrial, once: Once | None) -> Response:
        """Serves a word about a trial, in the queue of its study."""
        study_id = await self._owner(trial_id)
        if once is not None:
            answer: Any = await self._say_once(study_id, command, once)
        else:
            answer = await self._say(study_id, command)
        if isinstance(command, Tell):
            self.engine.nudge(study_id)
        return wire.Json(answer)

    async def _say(self, study_id: uuid.UUID, command: OfTrial) -> dict[str, Any]:
        """The desk's answer, with the decision that it calls for."""
        answer = await self.desk.submit(study_id, command)
        while "undecided" in answer:
            ((_, considered),) = (await self.deliberations.about(study_id, [answer["undecided"]])).items()
            answer = await self.desk.submit(study_id, Ruling(command.trial, command.lease, considered))
        return answer

    async def _say_once(self, study_id: uuid.UUID, command: OfTrial, once: Once) -> bytes:
        """What may call for a decision is said before; repeated with the key it changes nothing."""
        if not isinstance(command, Report | Heartbeat):
            return await self.desk.submit_once(study_id, command, once, lambda answer: answer)
        async with transaction(self.database) as connection:
            await once.replay(connection)
        answer = await self._say(study_id, command)
        return await self.desk.submit_once(study_id, command, once, lambda _: answer)

    async def _owner(self, trial_id: uuid.UUID) -> uuid.UUID:
        known = self.owners.get(trial_id)
        if known is None:
            async with transaction(self.database) as connection:
                known = await study_of(connection, trial_id)
            self.owners.put(trial_id, known)
        return known

    # ── news ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self, study_id: uuid.UUID) -> None:
        """A user changed the study: tell listeners, and think again."""
        self.announcer.touch(study_id)
        self.engine.nudge(study_id)

    def forget(self, study_id: uuid.UUID) -> None:
        """The study was deleted."""
        self.snapshots.forget(study_id)
        self.insights.forget(study_id)
        self.announcer.touch(study_id)


def _public(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("trials", "study_state", "retry_after")}


class _Recent(Generic[K]):
    """The study that a trial belongs to, or that a name means, for those seen last."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._known: OrderedDict[K, uuid.UUID] = OrderedDict()

    def get(self, key: K) -> uuid.UUID | None:
        return self._known.get(key)

    def put(self, key: K, study_id: uuid.UUID) -> None:
        self._known[key] = study_id
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def drop(self, key: K) -> None:
        self._known.pop(key, None)


def services(request: Request) -> Services:
    """The process's services, for a route."""
    found: Services = request.app.state.services
    return found
