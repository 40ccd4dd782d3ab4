"""Decisions that take a model: computed in worker processes, between two transactions of the write path.

    report ──▶ transaction: the points are stored, the answer is "undecided"
               deliberation: a snapshot of what is committed, a worker, no lock and no connection held meanwhile
               transaction: the ruling, void if the trial has moved on ──▶ answer

Whatever happens in between, a lost lease, a repeated report, an edit of the study, is seen by the second transaction.
A process that dies in between leaves a trial at the end of its grant; the repeated report is decided like the first.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from frazil_tuner.history import Study, Trial
from frazil_tuner.policies import Continue, Decision, build

from ..trials.commands import Considered
from .engine import Engine, end
from .snapshots import Snapshots

if TYPE_CHECKING:
    from ..trials.records import StudyRecord

log = structlog.get_logger(__name__)

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds after which a client is told to go on without a decision."""

MOST_AT_ONCE = 16
"""Decisions that one worker makes on one snapshot; more are shared among the workers."""

_LONGEST_REASON = 500


def decide(study: Study, policy: Mapping[str, Any], numbers: Sequence[int]) -> list[Decision]:
    """The policy's decisions about trials; where it fails, to go on, which says so. Runs in a worker process."""
    built = build(policy, study.definition)
    decisions: list[Decision] = []
    for trial in (study.trials[number] for number in numbers):
        try:
            decisions.append(built.decide(study, trial))
        except Exception as failure:  # noqa: BLE001  (whatever is stored, who reports is answered)
            decisions.append(go_on(study, trial, f"undecided: {type(failure).__name__}: {failure}"))
    return decisions


def go_on(study: Study, trial: Trial, reason: str) -> Continue:
    """For the smallest quantum, after which the policy is asked again."""
    assert study.resource is not None
    reached = max(trial.until_step or 0, trial.last_step)
    return Continue(min(reached + study.resource.min, study.resource.max), reason[:_LONGEST_REASON])


@dataclass(slots=True, weakref_slot=True)
class _Docket:
    """The trials of one study that wait for a decision; `turns` are as many as there are workers."""

    turns: asyncio.Semaphore
    waiting: dict[int, asyncio.Future[Considered]] = field(default_factory=dict)


class Deliberations:
    """Decides about trials where that takes a model. Those that wait together are decided on one snapshot."""

    def __init__(
        self, database: AsyncEngine, snapshots: Snapshots, engine: Engine, *, turns: int, patience: float = PATIENCE
    ) -> None:
        self._database = database
        self._snapshots = snapshots
        self._engine = engine
        self._turns = turns
        self._patience = patience
        self._dockets: WeakValueDictionary[uuid.UUID, _Docket] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def about(self, study_id: uuid.UUID, numbers: Collection[int]) -> dict[int, Considered]:
        """The decisions about trials, by number. Raises what the database raises, never what a policy does."""
        docket = self._dockets.get(study_id)
        if docket is None:
            docket = self._dockets[study_id] = _Docket(asyncio.Semaphore(self._turns))
        for number in numbers:
            if number not in docket.waiting:
                docket.waiting[number] = asyncio.get_running_loop().create_future()
        wanted = [docket.waiting[number] for number in numbers]
        self._run(self._serve(study_id, docket))
        # Others may wait for the same trial: who hangs up must not take its decision along.
        return dict(zip(numbers, await asyncio.gather(*map(asyncio.shield, wanted)), strict=True))

    async def _serve(self, study_id: uuid.UUID, docket: _Docket) -> None:
        """Decides for those who wait when its turn comes, unless they have been served by an earlier one."""
        async with docket.turns:
            numbers = list(docket.waiting)[:MOST_AT_ONCE]
            decisions = [docket.waiting.pop(number) for number in numbers]
            try:
                considered = await self._consider(study_id, numbers) if numbers else []
            except Exception as error:  # noqa: BLE001  (whoever waits must hear of it)
                for decision in decisions:
                    decision.set_exception(error)
            else:
                for decision, found in zip(decisions, considered, strict=True):
                    decision.set_result(found)
            if docket.waiting:
                self._run(self._serve(study_id, docket))

    async def _consider(self, study_id: uuid.UUID, numbers: Sequence[int]) -> list[Considered]:
        record, study = await self._snapshots.committed(self._database, study_id)
        trials = [study.trials[number] for number in numbers]
        decisions = await self._decide(record, study, numbers)
        return [
            Considered(trial.until_step, trial.last_step, decision)
            for trial, decision in zip(trials, decisions, strict=True)
        ]

    async def _decide(self, record: StudyRecord, study: Study, numbers: Sequence[int]) -> list[Decision]:
        """The worker's decisions; to go on where it fails or takes too long. One that is late ends by itself."""
        consulting = self._run(self._engine.consult(decide, study, record.policy, numbers))
        done, _ = await asyncio.wait([consulting], timeout=self._patience)
        if not done:
            reason = f"undecided: the policy took more than {self._patience:g} s"
        elif error := consulting.exception():
            reason = f"undecided: {type(error).__name__}: {error}"
        else:
            return consulting.result()
        log.warning("undecided", study=str(record.id), trials=list(numbers), reason=reason)
        return [go_on(study, study.trials[number], reason) for number in numbers]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # has been heard: by those who wait, or nobody waits any more

    async def close(self) -> None:
        await end(tuple(self._tasks))
