"""A server in the tests' own process whose fits can be counted, held up and made to fail."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from frazil_server.trials.commands import Ask, Tell
from frazil_server.trials.rules import Told
from frazil_tuner.history import TrialState

from .conftest import House

BAYES = {"name": "bayes", "warmup": 1}


class Bench:
    """Where fits take place, instead of in worker processes: a thread of this one. Each is noted and takes a permit."""

    count = 1
    device = {"setting": "cpu"}

    def __init__(self) -> None:
        self.fits: list[tuple[int, int]] = []  # data version, number of suggestions
        self.shelved: list[int] = []  # suggestions that wait meanwhile
        self.starts: list[Any] = []  # where the fit starts
        self.failure: Exception | None = None
        self._permits = asyncio.Semaphore(1_000)

    async def run(self, function: Callable[..., Any], policy: Any, study: Any, count: int, seed: int) -> Any:
        self.fits.append((study.version, count))
        self.shelved.append(len(study.shelved))
        self.starts.append(study.last_fit)
        await self._permits.acquire()
        if self.failure:
            raise self.failure
        return await asyncio.to_thread(function, policy, study, count, seed)

    def hold(self) -> None:
        """From now on no fit ends before it is permitted to."""
        self._permits = asyncio.Semaphore(0)

    def permit(self, fits: int = 1) -> None:
        for _ in range(fits):
            self._permits.release()

    async def begun(self, fits: int) -> None:
        """Waits until so many fits have begun."""
        await until(lambda: self._have_begun(fits))

    async def _have_begun(self, fits: int) -> bool:
        return len(self.fits) >= fits

    def close(self) -> None:
        """No processes to end."""


class Laboratory(House):
    """A server whose services are spoken to directly, by several at once."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.services = self.app.state.services

    def modelled(self, **definition: Any) -> uuid.UUID:
        """The id of a study with enough finished trials for a fit."""
        study = self.create(policy=BAYES, **definition)
        self.tell(self.lease(study, "warm-up"), 0.5)
        return uuid.UUID(study["id"])

    async def take(self, study_id: uuid.UUID, worker: str = "w", count: int = 1) -> list[Any]:
        """The trials that an ask is answered with."""
        asking = self.services.ask(str(study_id), "default", Ask(worker, count, 60.0), None)
        answer = await asyncio.wait_for(asking, 30)
        trials: list[Any] = json.loads(answer.body)["trials"]
        return trials

    async def finish(self, trial: dict[str, Any], loss: float = 0.4) -> None:
        trial_id = uuid.UUID(trial["id"])
        told = Told(TrialState.COMPLETED, {"loss": loss})
        await self.services.of_trial(trial_id, Tell(trial_id, trial["lease"]["token"], told), None)

    async def shelf(self, study_id: uuid.UUID) -> list[int]:
        """The data versions of what lies on the shelf."""
        async with self.app.state.engine.begin() as connection:
            statement = f"SELECT data_version FROM suggestions WHERE study_id = '{study_id}' ORDER BY id"
            return list((await connection.exec_driver_sql(statement)).scalars())


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    """What `look` finds, once it finds something."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(0.01)
    return found
