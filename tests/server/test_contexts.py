"""Asks in a context: what the client finds around it is fixed, the rest is suggested, and contexts do not mix."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from .conftest import new_database
from .laboratory import BAYES, Bench, Laboratory

GPU = {"name": "gpu", "type": "categorical", "choices": ["h100", "h200"], "role": "context"}
LOAD = {"name": "load", "type": "float", "low": 0.0, "high": 1.0, "role": "context"}
USERS = {"name": "users", "type": "int", "low": 1, "high": 9, "role": "context"}
LR = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0, "log": True}
SPACE = [GPU, LR, LOAD, USERS]
ONE = {"gpu": "h100", "load": 0.25, "users": 3}
OTHER = {"gpu": "h200", "load": 0.5, "users": 4}


def fixed(trial) -> dict:
    return {name: value for name, value in trial["params"].items() if name != "lr"}


@pytest.mark.parametrize("policy", ["random", "sobol", "bayes"])
def test_what_is_suggested_has_the_context_of_the_ask(house, policy):
    study = house.create(space=SPACE, policy={"name": policy})
    first = house.ask(study, "a", count=3, context=ONE)["trials"]
    second = house.ask(study, "b", context=OTHER | {"users": 4.0})["trials"]
    assert [fixed(trial) for trial in first + second] == [ONE] * 3 + [OTHER]
    assert len({trial["params"]["lr"] for trial in first + second}) == 4


def test_an_ask_repeated_in_its_context_gets_its_trials_again_and_another_gets_others(house):
    study = house.create(space=SPACE)
    first = house.ask(study, "w", count=2, context=ONE)["trials"]
    assert [t["id"] for t in house.ask(study, "w", count=2, context=ONE)["trials"]] == [t["id"] for t in first]
    other = house.lease(study, "w", context=OTHER)
    assert other["id"] not in {trial["id"] for trial in first}
    assert house.lease(study, "w", context=OTHER)["id"] == other["id"]


def test_an_ask_is_repeated_under_its_key_with_its_context(house):
    study = house.create(space=SPACE)
    path, key = f"/studies/{study['id']}/trials:ask", {"Idempotency-Key": uuid.uuid4().hex}
    answers = [house.post(path, {"worker": "w", "context": ONE}, headers=key) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert fixed(answers[0].json()["trials"][0]) == ONE


def test_what_waits_in_line_waits_for_its_context(house, must):
    study = house.create(space=SPACE)
    enqueued = [{"lr": 0.5, **OTHER}, {"lr": 0.25, **ONE}]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": [{"params": params} for params in enqueued]}))
    assert house.lease(study, "a", context=ONE)["number"] == 1
    given_back = house.lease(study, "b", context=OTHER)
    assert given_back["number"] == 0
    must(house.say(given_back, ":release"))
    assert house.lease(study, "a2", context=ONE)["number"] == 2
    assert house.lease(study, "b2", context=OTHER)["number"] == 0


def test_asks_in_many_contexts_at_once_each_get_their_own(house, must):
    study = house.create(space=SPACE, budget={"trials": 10})
    path = f"/api/v1/studies/{study['id']}/trials:ask"
    contexts = [ONE | {"load": i / 16} for i in range(12)]

    async def ask(i):
        return await house.client.post(path, json={"worker": f"w{i % 3}", "context": contexts[i]})

    async def story():
        return await asyncio.gather(*map(ask, range(12)))

    answers = [must(answer)["trials"] for answer in house.run(story())]
    assert [len(trials) for trials in answers].count(1) == 10, "as many as the budget has"
    assert all(fixed(trial) == contexts[i] for i, trials in enumerate(answers) for trial in trials)
    assert house.study(study)["started"] == 10


def test_a_context_that_is_used_up_is_not_the_end_of_the_study(house, must):
    space = [GPU, {"name": "width", "type": "ordinal", "values": [1, 2]}]
    study = house.create(space=space, policy={"name": "grid"}, budget={"trials": 3})
    for trial in house.ask(study, "a", count=5, context={"gpu": "h100"})["trials"]:
        must(house.tell(trial, 0.5))
    assert house.study(study)["counts"]["COMPLETED"] == 2
    answer = house.ask(study, "a", context={"gpu": "h100"})
    assert (answer["trials"], answer["study_state"]) == ([], "active")
    must(house.tell(house.lease(study, "a", context={"gpu": "h200"}), 0.5))
    assert house.ask(study, "a", context={"gpu": "h200"})["study_state"] == "completed", "the budget is spent"


ASKS = {
    "no context": (None, ["/context/gpu", "/context/load", "/context/users"]),
    "missing keys": ({"load": 0.5}, ["/context/gpu", "/context/users"]),
    "an unknown key": (ONE | {"cpu": 1}, ["/context/cpu"]),
    "a parameter that is asked for": (ONE | {"lr": 0.5}, ["/context/lr"]),
    "an unknown choice": (ONE | {"gpu": "a100"}, ["/context/gpu"]),
    "a value outside": (ONE | {"load": 1.5}, ["/context/load"]),
    "text for a number": (ONE | {"load": "0.5"}, ["/context/load"]),
    "NaN": (ONE | {"load": float("nan")}, ["/context/load"]),
    "an absurd value": (ONE | {"load": 1e300}, ["/context/load"]),
    "half a user": (ONE | {"users": 2.5}, ["/context/users"]),
    "an object": (ONE | {"gpu": {"name": "h100"}}, ["/context/gpu"]),
    "an endless context": (ONE | {"gpu": "x" * 5_000}, ["/context"]),
    "a list": ([1], ["/context"]),
    "text": ("h100", ["/context"]),
}


@pytest.fixture(scope="module")
def contextual(house):
    study = house.create(space=SPACE)
    house.tell(house.lease(study, context=ONE), 0.5)
    return study


@pytest.mark.parametrize("what", ASKS)
def test_a_context_that_does_not_fit_is_refused_by_name(house, refused, contextual, what):
    context, pointers = ASKS[what]
    before = house.everything(contextual)
    response = house.post(f"/studies/{contextual['id']}/trials:ask", {"worker": "w", "context": context})
    problem = refused(response, 422, "invalid" if pointers == ["/context"] else "context_invalid")
    assert sorted(error["pointer"] for error in problem["errors"]) == pointers
    assert house.everything(contextual) == before


def test_a_study_without_context_refuses_one(house, refused):
    study = house.create()
    body = {"worker": "w", "context": {"gpu": "h100"}}
    problem = refused(house.post(f"/studies/{study['id']}/trials:ask", body), 422, "context_invalid", "/context/gpu")
    assert '"role": "context"' in problem["detail"]
    assert house.lease(study, context={})["number"] == 0
    assert house.lease(study, "other", context=None)["number"] == 1


def test_one_bad_context_does_not_disturb_the_asks_beside_it(house):
    study = house.create(space=SPACE)
    path = f"/api/v1/studies/{study['id']}/trials:ask"

    async def story():
        bodies = [{"worker": "a", "context": ONE}, {"worker": "b"}, {"worker": "c", "context": OTHER}]
        return await asyncio.gather(*(house.client.post(path, json=body) for body in bodies))

    assert [answer.status_code for answer in house.run(story())] == [200, 422, 200]


# ── with a model ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Lab(Laboratory):
    def furnish(self):
        self.bench = Bench()
        self.engine = self.services.engine
        self.engine.workers = self.bench

    def warmed(self):
        study = self.create(space=SPACE, policy=BAYES)
        self.tell(self.lease(study, "warm-up", context=ONE), 0.5)
        return study


@pytest.fixture(scope="module")
def lab(postgres_url):
    lab = Lab(new_database(postgres_url))
    lab.furnish()
    yield lab
    lab.close()


def test_a_suggestion_made_for_one_context_is_not_served_in_another(lab):
    study = lab.warmed()
    lab.run(lab.engine.replenish(uuid.UUID(study["id"]), 2, ONE))
    fits = len(lab.bench.fits)
    assert fixed(lab.lease(study, "a", context=OTHER)) == OTHER
    assert len(lab.bench.fits) == fits + 1
    mine = lab.ask(study, "b", count=2, context=ONE)["trials"]
    assert [fixed(trial) for trial in mine] == [ONE] * 2
    assert len(lab.bench.fits) == fits + 1, "these lay on the shelf"


def test_what_lies_on_the_shelf_for_one_context_is_pending_for_all(lab):
    study = lab.warmed()
    lab.run(lab.engine.replenish(uuid.UUID(study["id"]), 3, ONE))
    lab.run(lab.engine.replenish(uuid.UUID(study["id"]), 2, OTHER))
    assert lab.bench.shelved[-2:] == [0, 3]


def test_nothing_is_computed_ahead_where_the_context_is_not_known(lab):
    study = lab.warmed()
    trial = lab.lease(study, "a", context=ONE)
    fits = len(lab.bench.fits)

    async def story():
        await lab.finish(trial)
        await asyncio.sleep(0.3)
        return await lab.shelf(uuid.UUID(study["id"]))

    assert lab.run(story()) == []
    assert len(lab.bench.fits) == fits
    assert fixed(lab.lease(study, "a", context=OTHER)) == OTHER
