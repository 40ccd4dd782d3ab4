"""Who computes model-based suggestions, and when.

Asks that wait for one study become one joint batch; a tell fills the shelf in the background. The work itself happens
in worker processes (`workers.py`), here or in another container; between them stands only the shelf, a table in
Postgres.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import structlog
from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from frazil_tuner.errors import FrazilError, TryLater
from frazil_tuner.history import Params, Study
from frazil_tuner.policies import Branch, Policy, Recommendation, Resume, Suggestion, build
from frazil_tuner.policies.sobol import Sobol

from ..database import transaction
from ..events.announcer import Announcer
from ..suggestions.seeds import seed_of
from ..trials.ledger import Ledger
from ..trials.records import StudyRecord
from .snapshots import Snapshots
from .workers import Workers

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LOCK = text("SELECT pg_advisory_lock(hashtextextended(:study, 0))")
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:study, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:study, 0))")
_FRESH = text(
    """SELECT count(*) FROM suggestions WHERE study_id = :study AND (NOT :ages OR data_version >= :version)
    AND context = CAST(:context AS jsonb)"""
)
_SWEEP = text("DELETE FROM suggestions WHERE study_id = :study AND :ages AND data_version < :version")
_SHELVE = text(
    """INSERT INTO suggestions (study_id, trial_number, params, candidate, until_step, data_version, context, why)
    SELECT CAST(:study AS uuid), trial_number, params, candidate, until_step, :version, CAST(:context AS jsonb), why
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(trial_number int, params jsonb, candidate int, until_step int, why jsonb)
    WHERE EXISTS (SELECT FROM studies WHERE id = CAST(:study AS uuid) AND version = :edition)"""
)
_KEEP_FIT = text(
    """INSERT INTO study_fits (study_id, data_version, fit)
    SELECT id, :version, CAST(:fit AS jsonb) FROM studies WHERE id = :study AND version = :edition
    ON CONFLICT (study_id) DO UPDATE SET data_version = excluded.data_version, fit = excluded.fit
    WHERE study_fits.data_version <= excluded.data_version"""
)


_LONGEST_REASON = 500


def compute(policy: Mapping[str, Any], study: Study, count: int, seed: int) -> list[Suggestion]:
    """The policy's suggestions; where it fails, points that fill the space, which say so. Runs in a worker process."""
    try:
        return build(policy, study.definition).suggest(study, count, seed)
    except Exception as failure:  # noqa: BLE001  (whatever is stored, who asks gets something to train)
        why = {"phase": "fallback", "reason": f"{type(failure).__name__}: {failure}"[:_LONGEST_REASON]}
        return [replace(suggestion, why=why) for suggestion in Sobol().suggest(study, count, seed)]


def recommend(study: Study, policy: Mapping[str, Any]) -> Recommendation | None:
    """Runs in a worker process."""
    return build(policy, study.definition).recommend(study)


class Elsewhere(TryLater):
    """Another process is at it."""


class Engine(Protocol):
    """Fills shelves and answers for models. `replenish` returns how many fresh suggestions it found or made for asks
    in `context`; `consult` calls a function of the core in a worker process.
    """

    async def replenish(self, study_id: uuid.UUID, count: int, context: Params) -> int: ...
    async def consult(self, function: Callable[..., T], *args: Any) -> T: ...
    def nudge(self, study_id: uuid.UUID) -> None: ...
    def describe(self) -> dict[str, Any]: ...
    async def close(self) -> None: ...


@dataclass(slots=True)
class _Demand:
    """Who waits for one study's shelf in one context, each for so many suggestions; and whether one more should lie
    there.
    """

    context: Params
    waiters: list[tuple[int, asyncio.Future[int]]] = field(default_factory=list)
    nudged: bool = False
    filler: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        return sum(count for count, waiter in self.waiters if not waiter.done()) + self.nudged


class LocalEngine:
    """Computes in this machine's worker processes.

    One that `defers` leaves a study to any other process that is at it, with `Elsewhere`: for workers, which all hear
    the same demands. Otherwise it waits for its turn.
    """

    def __init__(
        self,
        database: AsyncEngine,
        snapshots: Snapshots,
        announcer: Announcer,
        workers: Workers,
        *,
        defers: bool = False,
    ) -> None:
        self._database = database
        self._snapshots = snapshots
        self._announcer = announcer
        self.workers = workers
        self._defers = defers
        self._demands: dict[tuple[uuid.UUID, str], _Demand] = {}
        self._model_based: set[uuid.UUID] = set()
        # A fill holds one connection for its lock and needs a second: all at once, they would wait for each other.
        self._turns = asyncio.Semaphore(workers.count)

    async def replenish(self, study_id: uuid.UUID, count: int, context: Params) -> int:
        """Waits until the shelf has been filled for this and all other present demands in this context; returns what
        was found or made, or 1 if it may have been made for others: then it is time to look at the shelf again.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._demand(study_id, context).waiters.append((count, done))
        return await done

    def nudge(self, study_id: uuid.UUID) -> None:
        """Something was learned: computes the next suggestion ahead of the ask, for studies that need a model and whose
        asks are all alike.
        """
        if study_id in self._model_based:
            self._demand(study_id, {}).nudged = True

    def _demand(self, study_id: uuid.UUID, context: Params) -> _Demand:
        """The demand for a study, to be added to at once: its filler has been started."""
        key = (study_id, _text(context))
        demand = self._demands.setdefault(key, _Demand(context))
        if demand.filler is None:
            demand.filler = asyncio.create_task(self._fill_all(key, demand))
        return demand

    async def _fill_all(self, key: tuple[uuid.UUID, str], demand: _Demand) -> None:
        """Fills until nothing is wanted. Who comes during a fill is woken by it too, to see what it has brought."""
        while count := demand.count:
            waiters, demand.waiters, demand.nudged = demand.waiters, [], False
            try:
                made = await self._fill(key[0], count, demand.context)
            except Exception as error:  # noqa: BLE001  (whoever waits must hear of it)
                _fail(waiters, error)
            else:
                _wake(waiters, made)
            latecomers, demand.waiters = demand.waiters, []
            _wake(latecomers, 1)
        del self._demands[key]

    async def _fill(self, study_id: uuid.UUID, count: int, context: Params) -> int:
        """One fill, under an advisory lock: the processes that fill a study's shelf for one context take turns."""
        study = {"study": f"{study_id} {_text(context)}"}
        autocommit = self._database.execution_options(isolation_level="AUTOCOMMIT")
        async with self._turns, autocommit.connect() as connection:
            if not self._defers:
                await connection.execute(_LOCK, study)
            elif not (await connection.execute(_TRY_LOCK, study)).scalar_one():
                raise Elsewhere("Another process computes for this study.", retry_after=1.0)
            try:
                return await self._fill_locked(study_id, count, context)
            finally:
                await connection.execute(_UNLOCK, study)

    async def _fill_locked(self, study_id: uuid.UUID, count: int, context: Params) -> int:
        async with transaction(self._database) as connection:
            ledger = await Ledger.open(connection, study_id, lock=False)
            look = await self._snapshots.look(connection, ledger.study)
            study = await self._snapshots.to_fit(connection, ledger.study, look, context)
            policy = self._snapshots.policy(ledger.study, look.definition)
            fresh = await _fresh(connection, ledger.study, policy, context)
        self._snapshots.remember(study_id, look)
        if fresh >= count or policy.is_light(study) or ledger.study.state != "active":
            return fresh
        if not context:
            self._model_based.add(study_id)
        return fresh + await self._compute(ledger.study, policy, study, count - fresh)

    async def _compute(self, record: StudyRecord, policy: Policy, study: Study, count: int) -> int:
        """Puts suggestions on the shelf, unless a user has edited the study meanwhile."""
        seed = seed_of(study.definition.seed, study.version, record.next_number + len(study.shelved))
        suggestions = await self.workers.run(compute, record.policy, study, count, seed)
        rows = [_row(suggestion, policy, seed, study.version) for suggestion in suggestions]
        for reason in {row["why"].get("reason") for row in rows if row["why"].get("phase") == "fallback"}:
            log.warning("suggested_without_model", study=str(record.id), version=study.version, reason=reason)
        at = {"study": record.id, "version": study.version, "edition": record.version}
        async with transaction(self._database) as connection:
            await connection.execute(_SWEEP, at | {"ages": policy.ages})
            if rows:
                shelved = {"context": _text(study.context), "rows": to_json(rows).decode()}
                await connection.execute(_SHELVE, at | shelved)
            if fit := next((row["why"]["fit"] for row in reversed(rows) if "fit" in row["why"]), None):
                await connection.execute(_KEEP_FIT, at | {"fit": to_json(fit).decode()})
        self._announcer.touch(record.id)
        return len(rows)

    async def consult(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a function of the core in a worker process."""
        return await self.workers.run(function, *args)

    def describe(self) -> dict[str, Any]:
        waiting = sum(demand.count for demand in self._demands.values())
        return {
            "executor": "local",
            "workers": self.workers.count,
            "device": self.workers.device,
            "waiting": waiting,
        }

    async def close(self) -> None:
        """Gives up what is under way, and its connections."""
        await end([demand.filler for demand in self._demands.values() if demand.filler])
        self.workers.close()


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels tasks and waits until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _wake(waiters: Sequence[tuple[int, asyncio.Future[int]]], made: int) -> None:
    for _, waiter in waiters:
        if not waiter.done():
            waiter.set_result(made)


def _fail(waiters: Sequence[tuple[int, asyncio.Future[int]]], error: Exception) -> None:
    if not isinstance(error, FrazilError):
        log.error("fill_failed", exc_info=error)
        error = TryLater("The engine could not compute a suggestion; the log says why.", retry_after=5.0)
    for _, waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


async def _fresh(connection: AsyncConnection, study: StudyRecord, policy: Policy, context: Params) -> int:
    parameters = {
        "study": study.id, "ages": policy.ages, "version": study.data_version, "context": _text(context)
    }  # fmt: skip
    count: int = (await connection.execute(_FRESH, parameters)).scalar_one()
    return count


def _text(context: Params) -> str:
    """Equal for equal contexts, which have the order of the space."""
    return to_json(context).decode()


def _row(suggestion: Suggestion, policy: Policy, seed: int, version: int) -> dict[str, Any]:
    why = {"policy": policy.name, **suggestion.why, "seed": seed, "data_version": version}
    if isinstance(suggestion, Resume):
        return {"trial_number": suggestion.number, "until_step": suggestion.until, "why": why}
    if isinstance(suggestion, Branch):
        number, params = suggestion.number, suggestion.params
        return {"trial_number": number, "params": params, "until_step": suggestion.until, "why": why}
    return {
        "params": suggestion.params,
        "candidate": suggestion.candidate,
        "until_step": suggestion.until,
        "why": why,
    }
