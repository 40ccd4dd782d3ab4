"""What a study has taught, computed in worker processes: with no connection held meanwhile, and once for all who ask.

An answer is a pure function of the study at one version of its data, so it is kept until the data change.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frazil_tuner.history import Study
from frazil_tuner.policies import Policy

from .. import wire
from ..database import transaction
from ..engine.engine import end
from ..studies.service import resolve
from ..trials.records import StudyRecord

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..services import Services


@dataclass(frozen=True, slots=True)
class Sight:
    """A study at one moment: its record, its policy, and what the core is told of it."""

    record: StudyRecord
    policy: Policy
    study: Study

    @property
    def is_light(self) -> bool:
        """Whether its policy needs no model at present."""
        return self.policy.is_light(self.study)


async def see(service: Services, reference: str, project: str) -> Sight:
    """The study that a path names, read in a short transaction of its own. Raises `NotFound`."""
    async with transaction(service.database) as connection:
        study_id = await resolve(connection, reference, project)
    record, study = await service.snapshots.committed(service.database, study_id)
    return Sight(record, service.snapshots.policy(record, study.definition), study)


class Insights:
    """Answers by study, version, question and arguments; the ones asked for last are kept."""

    def __init__(self, engine: Engine, capacity: int = 256) -> None:
        self._engine = engine
        self._capacity = capacity
        self._answers: OrderedDict[tuple[Any, ...], asyncio.Task[Any]] = OrderedDict()

    async def ask(self, sight: Sight, function: Callable[..., Any], *args: Any) -> Any:
        """`function(study, *args)` from a worker, as it travels. Raises what the core raises."""
        record = sight.record
        key = (record.id, record.version, record.data_version, function.__qualname__, json.dumps(args))
        task = self._answers.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.create_task(self._compute(function, sight.study, *args))
            self._answers[key] = task
            self._forget_some()
        self._answers.move_to_end(key)
        return await asyncio.shield(task)  # others may wait for it too

    async def _compute(self, function: Callable[..., Any], *args: Any) -> Any:
        return spelled(await self._engine.consult(function, *args))

    def _forget_some(self) -> None:
        done = [key for key, task in self._answers.items() if task.done()]
        for key in done[: max(0, len(self._answers) - self._capacity)]:
            del self._answers[key]

    def forget(self, study_id: uuid.UUID) -> None:
        """The study was deleted."""
        for key in [key for key, task in self._answers.items() if key[0] == study_id and task.done()]:
            del self._answers[key]

    async def close(self) -> None:
        await end(tuple(self._answers.values()))


def spelled(value: Any) -> Any:
    """Plain data with NaN and infinities as the contract spells them."""
    if isinstance(value, float):
        return wire.number(value)
    if isinstance(value, dict):
        return {name: spelled(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [spelled(item) for item in value]
    return value
