"""An engine in another process: demands go out, answers come back, and the shelf stands between."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from frazil_server.database import create_engine
from frazil_server.engine import remote
from frazil_server.engine.engine import LocalEngine
from frazil_server.engine.remote import Attendant
from frazil_server.engine.snapshots import Snapshots
from frazil_server.events.announcer import Announcer
from frazil_tuner.errors import TryLater

from .conftest import new_database
from .laboratory import Bench, Laboratory


class Front(Laboratory):
    """An API process without an engine of its own."""

    @contextlib.asynccontextmanager
    async def worker(self, bench):
        """A worker's parts, with connections and memory of their own."""
        database = create_engine(self.database_url, 4)
        announcer = Announcer(database, self.database_url)
        engine = LocalEngine(database, Snapshots(), announcer, bench, defers=True)
        attendant = Attendant(database, announcer, engine)
        async with announcer.running():
            await asyncio.sleep(0.3)  # until it listens
            yield engine
        await attendant.close()
        await engine.close()
        await database.dispose()


@pytest.fixture(scope="module")
def front(postgres_url):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAZIL_ENGINE", "remote")
        front = Front(new_database(postgres_url))
    yield front
    front.close()


@pytest.fixture
def impatient(monkeypatch):
    """Demands are repeated, and given up, sooner."""
    monkeypatch.setattr(remote, "REPEAT", 0.3)
    monkeypatch.setattr(remote, "TRIES", 20)


def test_asks_are_served_by_a_worker_elsewhere(front):
    study, bench = front.modelled(), Bench()

    async def story():
        async with front.worker(bench):
            return await asyncio.gather(*(front.take(study, f"w{i}") for i in range(8)))

    trials = [trial for trials in front.run(story()) for trial in trials]
    assert len({str(trial["params"]) for trial in trials}) == 8
    assert {trial["why"]["policy"] for trial in trials} == {"bayes"}


def test_two_workers_share_the_demands_without_doing_them_twice(front):
    study, first, second = front.modelled(), Bench(), Bench()

    async def story():
        async with front.worker(first), front.worker(second):
            return await front.take(study, count=3)

    assert len(front.run(story())) == 3
    assert [count for _, count in first.fits + second.fits] == [3]


def test_a_demand_whose_worker_died_is_taken_up_by_another(front, impatient):
    study, dying, bench = front.modelled(), Bench(), Bench()

    async def story():
        dying.hold()
        asking = asyncio.create_task(front.take(study))
        async with front.worker(dying) as engine:
            await dying.begun(1)
            filler = engine._demands[study, "{}"].filler
            filler.cancel()  # as its death would, this frees its lock and leaves the demand unanswered
            await asyncio.wait([filler])
        async with front.worker(bench):
            return await asking

    assert len(front.run(story())) == 1
    assert (len(dying.fits), len(bench.fits)) == (1, 1)


def test_without_a_worker_an_ask_is_told_to_try_later(front, impatient, monkeypatch):
    monkeypatch.setattr(remote, "TRIES", 2)
    study = front.modelled()
    with pytest.raises(TryLater, match="frazil-server worker") as caught:
        front.run(front.take(study))
    assert caught.value.retry_after == 5.0


def test_a_fit_that_fails_elsewhere_is_an_answer_too(front):
    study, bench = front.modelled(), Bench()
    bench.failure = ArithmeticError("not positive definite")

    async def story():
        async with front.worker(bench):
            with pytest.raises(TryLater, match="its log says why"):
                await front.take(study)
            bench.failure = None
            return await front.take(study)

    assert len(front.run(story())) == 1


def test_after_a_tell_the_worker_fills_the_shelf_ahead_of_the_ask(front):
    study, bench = front.modelled(), Bench()

    async def story():
        async with front.worker(bench):
            (trial,) = await front.take(study)
            await front.finish(trial)
            await bench.begun(2)

    front.run(story())
    assert [count for _, count in bench.fits] == [1, 1]


def test_a_study_whose_candidates_are_used_up_is_completed(front):
    study, bench = front.modelled(candidates=[{"lr": 0.1}, {"lr": 0.2}]), Bench()

    async def story():
        async with front.worker(bench):
            (trial,) = await front.take(study, count=5)
            await front.finish(trial)
            return await front.take(study)

    assert front.run(story()) == []
    assert front.study({"id": study})["state"] == "completed"


def test_the_server_says_that_its_engine_is_elsewhere(front):
    assert front.get("/system").json()["engine"]["executor"] == "remote"


def test_what_people_ask_of_a_model_is_answered_without_a_worker_elsewhere(front):
    """By a worker process of the server's own, which starts when it is first needed."""
    study = front.create(policy={"name": "bayes", "warmup": 4})
    trials = [{"params": {"lr": 0.1 * i}, "state": "COMPLETED", "values": {"loss": i % 5}} for i in range(1, 11)]
    assert front.post(f"/studies/{study['id']}/trials", {"trials": trials}).is_success
    best = front.get(f"/studies/{study['id']}/best").json()
    assert best["recommended"]["sd"]["loss"] > 0
    assert front.get(f"/studies/{study['id']}/importances").json()["importances"] == {"lr": 1.0}
