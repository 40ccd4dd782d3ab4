"""Decisions that take a model: made between two transactions, with nothing locked meanwhile."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import psycopg
import pytest

from frazil_server.database import plain_url
from frazil_server.engine.deliberation import MOST_AT_ONCE, Deliberations
from frazil_server.engine.engine import LocalEngine
from frazil_server.trials.commands import Considered, Heartbeat, Report, Ruling, Tell
from frazil_server.trials.rules import Checkpoint, Measured, Told
from frazil_tuner import policies
from frazil_tuner.errors import Conflict
from frazil_tuner.history import TrialState
from frazil_tuner.policies import Asha, Continue, Pause, Start, Stop
from frazil_tuner.policies.scope import Scope

from .conftest import new_database
from .laboratory import Laboratory, until

EPOCHS = {"name": "epoch", "min": 2, "max": 10}
PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Ponder:
    """Runs go on with a loss below .5, wait below 2, are given up below 9; about others it breaks."""

    name: ClassVar[str] = "ponder"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = True
    scope: ClassVar[Scope] = Scope()

    def is_light(self, study):
        return True

    def suggest(self, study, count, seed):
        return [Start({"lr": 0.5}, 2) for _ in range(count)]

    def decide(self, study, trial):
        loss = trial.value("loss")
        if loss is None or loss < 0.5:
            return Continue(trial.last_step + 3, f"still falling after {trial.last_step}")
        if loss < 2:
            return Pause("others are worth more")
        if loss < 9:
            return Stop("hopeless")
        raise RuntimeError("a singular matrix")

    def recommend(self, study):
        return None


class Council:
    """Where models are consulted, instead of in a worker process: a thread of this one. Each takes a permit."""

    count = 1
    device: ClassVar[dict[str, Any]] = {"setting": "cpu"}

    def __init__(self) -> None:
        self.consulted: list[list[int]] = []  # the numbers of trials
        self.starts: list[Any] = []
        self.failure: Exception | None = None
        self._permits = asyncio.Semaphore(1_000)

    async def run(self, function: Callable[..., Any], study: Any, policy: Any, numbers: Any) -> Any:
        self.consulted.append(list(numbers))
        self.starts.append(study.last_fit)
        await self._permits.acquire()
        if self.failure:
            raise self.failure
        return await asyncio.to_thread(function, study, policy, numbers)

    def hold(self) -> None:
        self._permits = asyncio.Semaphore(0)

    def permit(self, count: int = 1) -> None:
        for _ in range(count):
            self._permits.release()

    async def asked(self, times: int) -> None:
        async def look():
            return len(self.consulted) >= times

        await until(look)

    def close(self) -> None:
        """No processes to end."""


class Lab(Laboratory):
    def furnish(self, patience=PATIENCE):
        services, self.council = self.services, Council()
        services.engine = LocalEngine(services.database, services.snapshots, services.announcer, self.council)
        services.deliberations = Deliberations(
            services.database, services.snapshots, services.engine, turns=1, patience=patience
        )

    def begun(self, count=1, **definition):
        """A study, and so many trials leased from it up to step 2."""
        study = self.create(policy={"name": "ponder"}, **{"resource": EPOCHS, **definition})
        return study, [self.lease(study, f"w{i}") for i in range(count)]

    async def serve(self, command):
        """The answer to a command, as a client gets it."""
        answer = await asyncio.wait_for(self.services.of_trial(command.trial, command, None), 20)
        return json.loads(answer.body)

    def at_once(self, *commands):
        async def story():
            return await asyncio.gather(*map(self.serve, commands), return_exceptions=True)

        return self.run(story())

    def thinking(self, command, meanwhile):
        """The answer to a command during whose deliberation `meanwhile`, a coroutine function, runs to its end."""

        async def story():
            asked = len(self.council.consulted)
            self.council.hold()
            answer = asyncio.create_task(self.serve(command))
            await self.council.asked(asked + 1)
            found = await meanwhile()
            self.council.permit(100)
            return await answer, found

        return self.run(story())


@pytest.fixture(scope="module")
def built(postgres_url):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policies, "POLICIES", MappingProxyType({**policies.POLICIES, "ponder": Ponder}))
        lab = Lab(new_database(postgres_url))
        yield lab
        lab.close()


@pytest.fixture
def lab(built):
    built.furnish()
    return built


def report(trial, step, loss):
    return Report(uuid.UUID(trial["id"]), trial["lease"]["token"], (Measured(step, {"loss": loss}),))


def tell(trial):
    return Tell(uuid.UUID(trial["id"]), trial["lease"]["token"], Told(TrialState.COMPLETED, {"loss": 0.1}))


@pytest.mark.parametrize(
    ("loss", "decision", "until_step", "reason"),
    [
        (0.1, "continue", 5, "still falling after 2"),
        (1.0, "pause", 2, "others are worth more"),
        (5.0, "stop", 2, "hopeless"),
    ],
)
def test_a_report_at_the_end_of_a_grant_waits_for_the_worker(lab, loss, decision, until_step, reason):
    study, (trial,) = lab.begun()
    (first,), (answer,) = lab.at_once(report(trial, 1, loss)), lab.at_once(report(trial, 2, loss))
    assert first["decision"] == "continue"
    assert (answer["decision"], answer["until_step"], answer["reason"]) == (decision, until_step, reason)
    assert lab.council.consulted == [[0]]
    assert lab.study(study)["steps_used"] == until_step


def test_those_who_wait_together_are_decided_on_one_snapshot(lab):
    study, trials = lab.begun(5)
    answers = lab.at_once(*(report(trial, 2, 0.1 * (i + 1) if i < 3 else 1.0) for i, trial in enumerate(trials)))
    assert [answer["decision"] for answer in answers] == ["continue"] * 3 + ["pause"] * 2
    assert [sorted(numbers) for numbers in lab.council.consulted] == [[0, 1, 2, 3, 4]]
    assert lab.study(study)["steps_used"] == 3 * 5 + 2 * 2


def test_a_crowd_is_shared_among_several_consultations(lab):
    _, trials = lab.begun(MOST_AT_ONCE + 3)
    answers = lab.at_once(*(report(trial, 2, 1.0) for trial in trials))
    assert [answer["decision"] for answer in answers] == ["pause"] * len(trials)
    assert [len(numbers) for numbers in lab.council.consulted] == [MOST_AT_ONCE, 3]


def test_nothing_is_locked_meanwhile(lab):
    study, (first, second) = lab.begun(2)

    async def meanwhile():
        url = plain_url(lab.database_url)
        async with await psycopg.AsyncConnection.connect(url) as connection:
            for table in ("studies WHERE id", "trials WHERE study_id"):
                await connection.execute(f"SELECT FROM {table} = %s FOR UPDATE NOWAIT", [study["id"]])
        held = lab.services.database.pool.checkedout()
        return held, await lab.serve(report(second, 1, 0.1)), await lab.take(uuid.UUID(study["id"]), "another")

    answer, (held, reported, taken) = lab.thinking(report(first, 2, 0.1), meanwhile)
    assert held == 0
    assert (reported["decision"], answer["decision"]) == ("continue", "continue")
    assert [trial["number"] for trial in taken] == [2]


def test_a_lease_that_is_lost_meanwhile_is_lost(lab):
    study, (trial,) = lab.begun()

    async def meanwhile():
        lab.clock.advance(3600)
        (again,) = await lab.take(uuid.UUID(study["id"]), "another")
        return again

    with pytest.raises(Conflict) as caught:
        lab.thinking(report(trial, 2, 0.1), meanwhile)
    assert caught.value.code == "lease_lost"
    assert lab.curve(trial) == [(2, 0.1)]
    assert lab.trial(trial)["attempt"] == 2


def test_a_trial_that_is_finished_meanwhile_is_finished(lab):
    study, (trial,) = lab.begun()
    with pytest.raises(Conflict) as caught:
        lab.thinking(report(trial, 2, 0.1), lambda: lab.serve(tell(trial)))
    assert caught.value.code == "trial_finished"
    assert lab.study(study)["steps_used"] == 2


@pytest.mark.parametrize(("state", "decision"), [("paused", "pause"), ("stopped", "stop")])
def test_what_a_user_says_of_the_study_meanwhile_outranks_the_policy(lab, state, decision):
    study, (trial,) = lab.begun()

    async def meanwhile():
        await lab.client.patch(f"/api/v1/studies/{study['id']}", json={"state": state})

    answer, _ = lab.thinking(report(trial, 2, 0.1), meanwhile)
    assert answer["decision"] == decision
    assert "study" in answer["reason"]


def test_a_budget_that_is_spent_meanwhile_is_not_exceeded(lab):
    study, (trial,) = lab.begun(budget={"resource": 5})

    async def meanwhile():
        return [await lab.take(uuid.UUID(study["id"]), f"v{i}") for i in range(2)]

    answer, taken = lab.thinking(report(trial, 2, 0.1), meanwhile)
    assert [trials[0]["until_step"] for trials in taken] == [2, 1]
    assert (answer["decision"], answer["reason"]) == ("pause", "the study's budget is used up")
    assert lab.study(study)["steps_used"] == 5


def test_a_report_repeated_meanwhile_is_decided_once(lab):
    study, (trial,) = lab.begun()

    async def meanwhile():
        repeated = asyncio.create_task(lab.serve(report(trial, 2, 0.1)))
        await asyncio.sleep(0.2)
        return repeated

    answer, repeated = lab.thinking(report(trial, 2, 0.1), meanwhile)
    again = lab.run(asyncio.wait_for(repeated, 10))
    assert [(a["decision"], a["until_step"]) for a in (answer, again)] == [("continue", 5)] * 2
    assert lab.study(study)["steps_used"] == 5


def test_a_decision_about_a_trial_that_has_moved_on_is_void(lab, monkeypatch):
    study, (trial,) = lab.begun()
    (answer,) = lab.at_once(report(trial, 2, 0.1))
    assert answer["until_step"] == 5
    deliberations, late = lab.services.deliberations, [Considered(2, 2, Stop("late"))]
    considered = deliberations.about

    async def about(study_id, numbers):
        return {0: late.pop()} if late else await considered(study_id, numbers)

    monkeypatch.setattr(deliberations, "about", about)
    (answer,) = lab.at_once(report(trial, 5, 0.2))
    assert (answer["decision"], answer["until_step"]) == ("continue", 8)
    assert late == []
    assert lab.study(study)["steps_used"] == 8


def test_a_policy_that_breaks_costs_nobody_more_than_a_quantum(lab):
    _, trials = lab.begun(2)
    broken, fine = lab.at_once(report(trials[0], 2, 10.0), report(trials[1], 2, 1.0))
    assert (broken["decision"], broken["until_step"]) == ("continue", 4)
    assert "a singular matrix" in broken["reason"]
    assert fine["decision"] == "pause"


def test_a_quantum_ends_at_the_maximum(lab):
    _, (trial,) = lab.begun(resource={"name": "epoch", "min": 2, "max": 3})
    (answer,) = lab.at_once(report(trial, 2, 10.0))
    assert (answer["decision"], answer["until_step"]) == ("continue", 3)


def test_a_worker_that_dies_costs_nobody_more_than_a_quantum(lab):
    _, (trial,) = lab.begun()
    lab.council.failure = ConnectionError("gone")
    (answer,) = lab.at_once(report(trial, 2, 1.0))
    assert (answer["decision"], answer["until_step"]) == ("continue", 4)
    assert "gone" in answer["reason"]


def test_nobody_waits_for_ever(lab):
    _, (trial,) = lab.begun()

    async def story():
        lab.council.hold()
        answer = await lab.serve(report(trial, 2, 1.0))
        lab.council.permit(100)
        return answer

    answer = lab.run(story())
    assert (answer["decision"], answer["until_step"]) == ("continue", 4)
    assert f"{PATIENCE:g} s" in answer["reason"]
    (answer,) = lab.at_once(report(trial, 4, 1.0))
    assert answer["decision"] == "pause"


def test_the_model_starts_where_the_last_one_ended(lab):
    study, (trial,) = lab.begun()
    fit = """INSERT INTO study_fits (study_id, data_version, fit) VALUES (:study, 0, '{"theta": [1.5]}')"""
    lab.sql(fit, study=study["id"])
    lab.at_once(report(trial, 2, 1.0))
    assert lab.council.starts == [{"theta": [1.5]}]


def test_the_policy_considers_what_waits_in_line(lab, must):
    study, _ = lab.begun(0)
    must(lab.post(f"/studies/{study['id']}/trials", {"trials": [{"params": {"lr": 0.5}}] * 2}))
    trials = lab.ask(study, "w", count=2)["trials"]
    assert [(trial["number"], trial["until_step"]) for trial in trials] == [(0, 3), (1, 3)]
    assert lab.council.consulted == [[0, 1]]


@pytest.mark.parametrize(("loss", "state"), [(1.0, "PAUSED"), (5.0, "PRUNED")])
def test_what_the_policy_would_rather_leave_in_line_is_left(lab, must, loss, state):
    study, (trial,) = lab.begun()
    study_id = uuid.UUID(study["id"])
    lab.run(lab.client.patch(f"/api/v1/studies/{study_id}", json={"state": "paused"}))
    lab.at_once(report(trial, 2, loss))
    must(lab.say(trial, ":pause", step=2, checkpoint={"uri": "s3://there", "step": 2}))
    lab.run(lab.client.patch(f"/api/v1/studies/{study_id}", json={"state": "active"}))
    (other,) = lab.ask(study, "another")["trials"]
    assert other["number"] == 1
    assert lab.council.consulted == [[0]]
    assert lab.trial(trial)["state"] == state


def test_an_answer_under_a_key_is_stored_with_its_decision(lab, must):
    _, (trial,) = lab.begun()
    body = {"lease": trial["lease"]["token"], "measurements": [{"step": 2, "metrics": {"loss": 0.1}}]}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = lab.post(f"/trials/{trial['id']}/reports", body, headers=headers)
    assert must(first)["reason"] == "still falling after 2"
    again = lab.post(f"/trials/{trial['id']}/reports", body, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    assert lab.council.consulted == [[0]]


def test_policies_without_a_model_consult_nobody(lab, must):
    study = lab.create(policy={"name": "asha"}, resource={"name": "epoch", "max": 9})
    trial = lab.lease(study)
    assert must(lab.report(trial, 1))["reason"].startswith("rank 1 of 1")
    assert lab.council.consulted == []


def test_a_server_with_its_engine_elsewhere_consults_a_worker_of_its_own(postgres_url, must):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAZIL_ENGINE", "remote")
        patch.setattr(Asha, "deliberates", True)
        lab = Laboratory(new_database(postgres_url))
        lab.services.deliberations._patience = 60.0  # the first answer takes a new process
        trial = lab.lease(lab.create(policy={"name": "asha"}, resource={"name": "epoch", "max": 9}))
        answer = must(lab.report(trial, 1))
        lab.close()
    assert answer["reason"] == "rank 1 of 1 at step 1; the best 0 go on"
    assert answer["decision"] == "pause"


def test_a_checkpoint_that_is_named_again_in_the_same_moment_is_not_called_obsolete(lab):
    study, (first, second) = lab.begun(2)
    study_id, desk = uuid.UUID(study["id"]), lab.services.desk
    identity = {"trial": uuid.UUID(first["id"]), "lease": first["lease"]["token"]}
    ruling = Ruling(uuid.UUID(second["id"]), second["lease"]["token"], Considered(2, 2, Continue(4)))

    async def story():
        for name in ("a", "b"):
            await desk.submit(study_id, Heartbeat(**identity, checkpoint=Checkpoint(name, 0)))
        await desk.submit(study_id, report(second, 2, 0.1))
        again = Heartbeat(**identity, checkpoint=Checkpoint("a", 0))
        return await asyncio.gather(desk.submit(study_id, again), desk.submit(study_id, ruling))

    told = [uri for answer in lab.run(story()) for uri in answer["obsolete_checkpoints"]]
    assert told == ["b"]
