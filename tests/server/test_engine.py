"""Who computes suggestions, and when: one batch for all who wait, the shelf filled ahead of the ask, nothing stale."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid

import pytest

from frazil_server.database import create_engine
from frazil_server.engine.engine import Elsewhere, LocalEngine
from frazil_tuner.errors import TryLater

from .conftest import new_database
from .laboratory import Bench, Laboratory, until

LR = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0}
N = {"name": "n", "type": "int", "low": 1, "high": 9}


class Lab(Laboratory):
    """A server whose engine computes on a bench."""

    def furnish(self):
        """A new bench, and an engine that knows of nothing."""
        self.bench = Bench()
        self.services.engine = self.engine = self.make_engine(self.services.database)

    def make_engine(self, database, **options):
        return LocalEngine(database, self.services.snapshots, self.services.announcer, self.bench, **options)


@pytest.fixture(scope="module")
def built(postgres_url):
    lab = Lab(new_database(postgres_url))
    yield lab
    lab.close()


@pytest.fixture
def lab(built):
    built.furnish()
    yield built
    built.bench.permit(len(built.bench.fits))


def test_all_who_wait_for_one_shelf_are_served_by_one_fit(lab):
    study = lab.modelled()

    async def story():
        return await asyncio.gather(*(lab.engine.replenish(study, count, {}) for count in (1, 2, 3)))

    assert lab.run(story()) == [6, 6, 6]
    assert [count for _, count in lab.bench.fits] == [6]
    assert len(lab.run(lab.shelf(study))) == 6


def test_sixteen_asks_at_once_cost_at_most_two_fits_and_get_sixteen_trials(lab):
    study = lab.modelled()

    async def story():
        return await asyncio.gather(*(lab.take(study, f"w{i}") for i in range(16)))

    trials = [trial for trials in lab.run(story()) for trial in trials]
    assert len({str(trial["params"]) for trial in trials}) == 16
    assert sorted(trial["number"] for trial in trials) == list(range(1, 17))
    assert len(lab.bench.fits) <= 2
    assert sum(count for _, count in lab.bench.fits) == 16


def test_after_a_tell_the_shelf_is_filled_ahead_of_the_ask(lab):
    study = lab.modelled()

    async def story():
        (trial,) = await lab.take(study)
        await lab.finish(trial)
        await until(lambda: lab.shelf(study))
        fits = len(lab.bench.fits)
        lab.bench.hold()
        (ready,) = await asyncio.wait_for(lab.take(study), 10)
        return fits, ready

    fits, ready = lab.run(story())
    assert len(lab.bench.fits) == fits
    assert ready["why"]["policy"] == "bayes"
    assert ready["why"]["data_version"] == lab.study({"id": study})["data_version"]


def test_a_suggestion_made_before_the_last_tell_is_not_served_after_it(lab):
    study = lab.modelled()

    async def story():
        first, second = await lab.take(study, count=2)
        await lab.finish(first)
        (stale,) = await until(lambda: lab.shelf(study))
        lab.bench.hold()
        await lab.finish(second)
        asking = asyncio.create_task(lab.take(study))
        await asyncio.sleep(0.3)
        assert not asking.done()
        lab.bench.permit()
        (trial,) = await asyncio.wait_for(asking, 10)
        return stale, trial["why"]["data_version"], await lab.shelf(study)

    stale, served, shelf = lab.run(story())
    assert served > stale
    assert stale not in shelf


def test_an_ask_is_content_with_the_data_that_it_found(lab):
    study = lab.modelled()

    async def story():
        (other,) = await lab.take(study, "other")
        lab.bench.hold()
        asking = asyncio.create_task(lab.take(study))
        await lab.bench.begun(2)
        await lab.finish(other)  # the fit under way knows nothing of this
        lab.bench.permit()
        (trial,) = await asyncio.wait_for(asking, 10)
        lab.bench.permit()
        return trial

    assert lab.run(story())["why"]["data_version"] == lab.bench.fits[1][0] < lab.study({"id": study})["data_version"]


def test_an_ask_that_comes_during_a_fit_does_not_wait_for_the_next(lab):
    study = lab.modelled()

    async def story():
        first, second = await lab.take(study, "other", count=2)
        lab.bench.hold()
        await lab.finish(first)
        await lab.bench.begun(2)
        asking = asyncio.create_task(lab.take(study))
        await asyncio.sleep(0.2)
        await lab.finish(second)
        lab.bench.permit()
        (trial,) = await asyncio.wait_for(asking, 10)
        lab.bench.permit()
        return trial

    assert lab.run(story())["why"]["data_version"] == lab.bench.fits[1][0]


HISTORIES = {
    "absurd values": [1e300, -1e300, 1e308, 0.5, 5e-324],
    "no finite value": ["nan", "inf", "-inf", "nan", "inf"],
    "infinities among others": [0.5, "inf", 0.25, "-inf", 0.75],
    "one value over and over": [0.5] * 5,
    "estimates without error and with an absurd one": [{"mean": 0.5, "sem": s} for s in (0, 1e300, 1e-300, 1e150, 1)],
}


@pytest.mark.parametrize("what", HISTORIES)
def test_whatever_is_stored_the_next_ask_is_answered(lab, must, what):
    study = lab.create(policy={"name": "bayes", "warmup": 4}, space=[LR, N])
    trials = [
        {"params": {"lr": 0.1 * i, "n": i}, "state": "COMPLETED", "values": {"loss": value}}
        for i, value in enumerate(HISTORIES[what], 1)
    ]
    must(lab.post(f"/studies/{study['id']}/trials", {"trials": trials}))
    trial = lab.lease(study)
    assert 0 < trial["params"]["lr"] <= 1
    assert trial["why"]["policy"] == "bayes"
    assert len(lab.bench.fits) == 1
    assert must(lab.get(f"/studies/{study['id']}/best"))


def test_whatever_happened_to_trials_the_next_ask_is_answered(lab, must):
    for facts in (
        {"state": "FAILED"},
        {"state": "INFEASIBLE"},
        {"state": "COMPLETED", "values": {"loss": 1}, "gradients": {"loss": {"lr": 1e150, "n": -1e150}}},
        {"state": "COMPLETED", "values": {"loss": 1e300}, "gradients": {"loss": {"lr": 5e-324}}},
    ):
        study = lab.create(policy={"name": "bayes", "warmup": 4}, space=[LR, N])
        trials = [{"params": {"lr": 0.1 * i, "n": i}, **facts} for i in range(1, 7)]
        must(lab.post(f"/studies/{study['id']}/trials", {"trials": trials}))
        assert lab.lease(study)["why"]["policy"] == "bayes"


def test_numbers_as_large_as_a_space_may_have_are_learned_from(lab, must):
    """JSONB writes 1e120 as an integer of 121 digits."""
    huge = {"name": "lr", "type": "float", "low": 1e100, "high": 1e150, "log": True}
    study = lab.create(policy={"name": "bayes", "warmup": 4}, space=[huge])
    trials = [
        {"params": {"lr": 10.0 ** (100 + 9 * i)}, "state": "COMPLETED", "values": {"loss": i}} for i in range(1, 6)
    ]
    must(lab.post(f"/studies/{study['id']}/trials", {"trials": trials}))
    assert [trial["why"].get("phase") for trial in lab.ask(study, count=2)["trials"]] == [None, None]


def test_rankings_that_contradict_each_other_are_survived(lab, must):
    study = lab.create(policy={"name": "bayes"}, objectives=[{"metric": "taste", "by": "comparison"}], space=[LR, N])
    for trial in lab.ask(study, count=5)["trials"]:
        must(lab.tell(trial))
    for ranking in ([0, 1, 2], [2, 1, 0], [1, 0], [0, 1], [3, 4, 0], [4, 3, 0]):
        must(lab.post(f"/studies/{study['id']}/comparisons", {"ranking": ranking}))
    trial = lab.lease(study)
    assert (trial["why"]["policy"], trial["why"]["surrogate"]) == ("bayes", "pairwise")


def test_what_was_computed_for_the_space_before_an_edit_is_not_shelved(lab):
    study = lab.modelled()
    path, wider = f"/studies/{study}", {"space": [{"name": "lr", "high": 1e9}]}

    async def story():
        lab.bench.hold()
        asking = asyncio.create_task(lab.take(study))
        await lab.bench.begun(1)
        edited = await lab.client.patch(f"/api/v1{path}", json=wider, headers={"If-Match": "*"})
        assert edited.is_success
        lab.bench.permit(9)
        (trial,) = await asyncio.wait_for(asking, 30)
        return trial

    trial = lab.run(story())
    assert len(lab.bench.fits) == 2
    assert trial["why"]["data_version"] == lab.bench.fits[1][0] > lab.bench.fits[0][0]


def test_the_next_fit_starts_where_the_last_one_ended(lab):
    study = lab.modelled()
    lab.run(lab.take(study))
    (first,) = lab.sql("SELECT data_version, fit FROM study_fits WHERE study_id = :id", id=study)
    assert first.fit
    assert lab.bench.starts == [None]
    lab.run(lab.take(study, "another"))
    assert lab.bench.starts == [None, first.fit]


def test_policies_without_a_model_take_no_worker(lab):
    for policy in ("random", "sobol", "grid"):
        study = lab.create(policy={"name": policy}, space=[{"name": "n", "type": "int", "low": 1, "high": 99}])
        lab.tell(lab.lease(study), 0.5)
        assert lab.lease(study)["number"] == 1
    assert lab.bench.fits == []


def test_the_first_trials_of_a_model_based_policy_take_no_worker(lab):
    study = lab.create(policy={"name": "bayes"})
    assert len(lab.ask(study, count=4)["trials"]) == 4
    assert lab.bench.fits == []


def test_a_fit_that_fails_is_an_answer_to_try_later_and_the_next_one_counts(lab):
    study = lab.modelled()
    lab.bench.failure = ArithmeticError("not positive definite")
    with pytest.raises(TryLater, match="could not compute") as caught:
        lab.run(lab.take(study))
    assert caught.value.retry_after == 5.0
    lab.bench.failure = None
    assert lab.run(lab.take(study))


def test_a_study_whose_candidates_are_used_up_is_completed(lab):
    study = lab.modelled(candidates=[{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}])

    async def story():
        for trial in await lab.take(study, count=9):
            await lab.finish(trial)
        return await lab.take(study)

    assert lab.run(story()) == []
    found = lab.study({"id": study})
    assert (found["state"], found["counts"]["COMPLETED"]) == ("completed", 3)


def test_an_ask_that_gives_up_waiting_does_not_take_the_study_for_finished(lab, monkeypatch):
    study = lab.modelled()
    monkeypatch.setattr("frazil_server.services._PROMPT_ROUNDS", 0)
    for headers in ({}, {"Idempotency-Key": "once"}):
        answer = lab.post(f"/studies/{study}/trials:ask", {"worker": "w"}, headers=headers).json()
        assert (answer["trials"], answer["study_state"], answer["retry_after"]) == ([], "active", 1.0)


def test_the_processes_that_fill_one_shelf_take_turns(lab):
    study = lab.modelled()

    async def story():
        other = lab.make_engine(lab.services.database)
        lab.bench.hold()
        mine = asyncio.create_task(lab.engine.replenish(study, 1, {}))
        await lab.bench.begun(1)
        theirs = asyncio.create_task(other.replenish(study, 1, {}))
        await asyncio.sleep(0.3)
        assert not theirs.done()
        lab.bench.permit()
        return await asyncio.wait_for(asyncio.gather(mine, theirs), 10)

    assert lab.run(story()) == [1, 1]
    assert len(lab.bench.fits) == 1, "the second found on the shelf what the first had put there"


def test_an_engine_that_defers_leaves_a_study_to_whoever_is_at_it(lab):
    study = lab.modelled()

    async def story():
        other = lab.make_engine(lab.services.database, defers=True)
        lab.bench.hold()
        mine = asyncio.create_task(lab.engine.replenish(study, 1, {}))
        await lab.bench.begun(1)
        with pytest.raises(Elsewhere):
            await asyncio.wait_for(other.replenish(study, 1, {}), 10)
        lab.bench.permit(2)
        return await mine, await other.replenish(study, 2, {})

    assert lab.run(story()) == (1, 2)


def test_more_studies_than_connections_do_not_block_each_other(lab):
    studies = [lab.modelled() for _ in range(4)]

    async def story():
        database = create_engine(lab.database_url, 2)
        engine = lab.make_engine(database)
        try:
            return await asyncio.wait_for(asyncio.gather(*(engine.replenish(study, 1, {}) for study in studies)), 15)
        finally:
            await database.dispose()

    assert lab.run(story()) == [1, 1, 1, 1]


def test_a_suggestion_can_be_made_again_from_its_seed_and_the_fit_before_it(lab):
    study = lab.modelled()
    lab.run(lab.engine.replenish(study, 2, {}))
    rows = lab.sql("SELECT params, why FROM suggestions WHERE study_id = :study ORDER BY id", study=study)
    for table in ("suggestions", "study_fits"):
        lab.sql(f"DELETE FROM {table} WHERE study_id = :study", study=study)
    lab.run(lab.engine.replenish(study, 2, {}))
    assert rows == lab.sql("SELECT params, why FROM suggestions WHERE study_id = :study ORDER BY id", study=study)
    assert [row.why["data_version"] for row in rows] == [lab.bench.fits[0][0]] * 2


NO_TORCH = """
import asyncio, sys, httpx2
from frazil_server.app import create_app
from frazil_server.settings import Settings

async def main():
    app = create_app(Settings(database_url=sys.argv[1], engine_prewarm=False))
    door = httpx2.ASGITransport(app)
    http = httpx2.AsyncClient(transport=door, base_url="http://127.0.0.1")
    async with app.router.lifespan_context(app), http:
        for policy in ("random", "sobol", "grid", "asha", "bayes", "auto"):
            definition = {
                "name": policy, "space": [{"name": "n", "type": "int", "low": 1, "high": 99}],
                "objectives": [{"metric": "loss"}], "resource": {"name": "epoch", "max": 9}, "policy": {"name": policy},
            }
            assert (await http.post("/api/v1/studies", json=definition)).status_code == 201
            asked = await http.post(f"/api/v1/studies/{policy}/trials:ask", json={"worker": "w"})
            assert len(asked.json()["trials"]) == 1
        assert (await http.get("/api/v1/policies")).status_code == 200
    print(sorted({"torch", "botorch", "gpytorch", "linear_operator"} & set(sys.modules)))

asyncio.run(main())
"""


def test_a_process_that_serves_the_api_never_imports_torch(database_url):
    command = [sys.executable, "-c", NO_TORCH, database_url]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    assert said.splitlines()[-1] == "[]"


def test_a_policy_is_told_what_waits_on_the_shelf_and_up_to_which_step(lab):
    study = lab.create(resource={"name": "epoch", "max": 9})
    first, second = lab.ask(study, count=2)["trials"]
    for row in ("NULL, '{\"lr\": 0.25}', 3", f"{second['number']}, NULL, 9", "NULL, '{\"lr\": 0.5}', NULL"):
        lab.sql(
            f"""INSERT INTO suggestions (study_id, trial_number, params, until_step, data_version, why)
            VALUES ('{study["id"]}', {row}, 0, '{{}}')"""
        )
    snapshots, database = lab.services.snapshots, lab.services.database
    _, seen = lab.run(snapshots.committed(database, uuid.UUID(study["id"])))
    assert dict(zip((params["lr"] for params in seen.shelved), seen.shelved_until, strict=True)) == {0.25: 3, 0.5: None}
    assert seen.thawing == (second["number"],)
    assert len(seen.trials) == first["number"] + 2


def test_a_study_of_many_pages_is_read_whole_and_then_only_what_changed(lab, monkeypatch):
    monkeypatch.setattr("frazil_server.engine.snapshots._PAGE", 3)
    study = lab.create(resource={"name": "epoch", "max": 9})
    added = [
        {"params": {"lr": 0.1}, "state": "COMPLETED", "curve": [{"step": 1, "metrics": {"loss": i}}]} for i in range(9)
    ]
    assert lab.post(f"/studies/{study['id']}/trials", {"trials": added}).is_success
    snapshots, database, study_id = lab.services.snapshots, lab.services.database, uuid.UUID(study["id"])

    def losses():
        _, seen = lab.run(snapshots.committed(database, study_id))
        assert [trial.number for trial in seen.trials] == list(range(len(seen.trials)))
        return [trial.value("loss") for trial in seen.trials]

    assert losses() == list(range(9))
    fifth = lab.get(f"/studies/{study['id']}/trials", params={"number": 5}).json()["items"][0]
    assert lab.patch(f"/trials/{fifth['id']}", {"values": {"loss": 50}}).is_success
    assert lab.post(f"/studies/{study['id']}/trials", {"trials": added[:4]}).is_success
    assert losses() == [0, 1, 2, 3, 4, 50, 6, 7, 8, 0, 1, 2, 3]
