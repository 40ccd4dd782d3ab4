"""Nothing a client sends, in any order, any number of times, may corrupt a study.

Hypothesis plays workers that ask, report, repeat themselves, fall asleep past their leases, come back with old tokens,
freeze, release and tell, on a real database and with a clock of its own. After each move the books must balance.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from frazil_server.app import create_app
from frazil_server.settings import Settings
from frazil_server.trials.commands import Sweep

MAX_STEP = 9
LEASE_SECONDS = 60


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class World:
    """A server in this process, driven from synchronous code, with a clock that only moves when it is told to."""

    def __init__(self, database_url: str) -> None:
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.app = create_app(Settings(database_url=database_url, engine_prewarm=False, sweep_seconds=1e6), self.clock)
        self.lifespan = self.app.router.lifespan_context(self.app)
        self.runner.run(self.lifespan.__aenter__())
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app), base_url="http://127.0.0.1/api/v1", timeout=30
        )

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        response = self.runner.run(self.client.request(method, path, json=body, headers=headers))
        assert response.status_code < 500, response.text
        return response

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        async def run() -> list[Any]:
            async with self.app.state.engine.begin() as connection:
                return list((await connection.execute(text(statement), parameters)).all())

        return self.runner.run(run())

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.run(self.lifespan.__aexit__(None, None, None))
        self.runner.close()


@dataclass
class Lease:
    """What a worker believes about the trial it holds."""

    trial: str
    token: str
    worker: str
    start: int
    step: int
    until: int
    expires: datetime
    last_body: dict[str, Any] | None = None
    last_answer: dict[str, Any] | None = None
    returned: bool = False


class Workers(RuleBasedStateMachine):
    """Workers of one study. `held` are leases that a client has no reason to doubt, `lost` those that it should not
    have.
    """

    world: World

    @initialize(policy=st.sampled_from(["asha", "random"]), steps=st.integers(20, 90), trials=st.integers(3, 12))
    def a_study(self, policy: str, steps: int, trials: int) -> None:
        self.held: dict[str, Lease] = {}
        self.lost: list[Lease] = []
        self.told: dict[str, dict[str, Any]] = {}
        self.facts: dict[tuple[str, int], float] = {}
        self.spent = 0
        self.serial = 0
        self.steps, self.trials = steps, trials
        body = {
            "name": f"machine-{uuid.uuid4().hex}",
            "space": [{"name": "x", "type": "float", "low": 0.0, "high": 1.0}],
            "objectives": [{"metric": "loss"}],
            "resource": {"name": "epoch", "max": MAX_STEP},
            "policy": {"name": policy},
            "budget": {"resource": steps, "trials": trials},
            "seed": 1,
        }
        response = self.world.call("POST", "/studies", body)
        assert response.status_code == 201, response.text
        self.study = response.json()["id"]

    # ── moves ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(worker=st.sampled_from(["ann", "bob", "cem"]), count=st.integers(1, 3))
    def ask(self, worker: str, count: int) -> None:
        self._expire()
        body = {"worker": worker, "count": count, "lease_seconds": LEASE_SECONDS}
        self._leased(worker, self.world.call("POST", f"/studies/{self.study}/trials:ask", body).json())

    @rule(worker=st.sampled_from(["ann", "bob"]))
    def ask_and_replay(self, worker: str) -> None:
        self._expire()
        key, body = uuid.uuid4().hex, {"worker": worker, "lease_seconds": LEASE_SECONDS}
        path, header = f"/studies/{self.study}/trials:ask", {"Idempotency-Key": key}
        first = self.world.call("POST", path, body, **header)
        again = self.world.call("POST", path, body, **header)
        assert again.content == first.content
        assert again.headers["Idempotent-Replayed"] == "true"
        self._leased(worker, first.json())

    def _leased(self, worker: str, answer: dict[str, Any]) -> None:
        mine = [lease for lease in self.held.values() if lease.worker == worker]
        ids = [trial["id"] for trial in answer["trials"]]
        assert len(set(ids)) == len(ids)
        assert {lease.trial for lease in mine} >= set(ids) or {lease.trial for lease in mine} <= set(ids)
        for trial in answer["trials"]:
            known = self.held.get(trial["id"])
            if known is not None:
                assert known.worker == worker, "a trial was leased to two workers"
                assert known.token == trial["lease"]["token"]
                known.expires = self.world.clock.now + timedelta(seconds=LEASE_SECONDS)
                continue
            checkpoint = trial["checkpoint"]
            assert trial["from_step"] == (checkpoint["step"] if checkpoint else 0)
            assert trial["from_step"] < trial["until_step"] <= MAX_STEP
            assert trial["id"] not in self.told, "a finished trial was handed out"
            self.held[trial["id"]] = Lease(
                trial["id"], trial["lease"]["token"], worker, trial["from_step"], trial["from_step"],
                trial["until_step"], self.world.clock.now + timedelta(seconds=LEASE_SECONDS),
            )  # fmt: skip

    @precondition(lambda self: self.held)
    @rule(data=st.data(), count=st.integers(1, 4), diverges=st.booleans(), checkpoint=st.booleans())
    def report(self, data: st.DataObject, count: int, diverges: bool, checkpoint: bool) -> None:
        lease = self._choose(data)
        steps = range(lease.step + 1, lease.step + 1 + count)
        self.serial += 1
        values = {step: 1.0 / step + self.serial * 1e-6 for step in steps}
        measurements = [{"step": s, "metrics": {"loss": "nan" if diverges else v}} for s, v in values.items()]
        body: dict[str, Any] = {"lease": lease.token, "measurements": measurements}
        if checkpoint:
            body["checkpoint"] = {"uri": f"file:///{lease.trial}/{steps[-1]}", "step": steps[-1]}
        response = self.world.call("POST", f"/trials/{lease.trial}/reports", body)
        if self._is_over(lease):
            assert response.json()["code"] == "lease_lost"
            self._late(lease, values, diverges)
        elif steps[-1] > lease.until:
            assert response.status_code in (409, 422), response.text
            assert response.json()["code"] in ("step_conflict", "invalid")
        else:
            assert response.status_code == 200, response.text
            self._accepted(lease, body, response.json(), values, diverges)

    def _accepted(
        self, lease: Lease, body: dict[str, Any], answer: dict[str, Any], values: dict[int, float], diverges: bool
    ) -> None:
        self.spent += len(values)
        lease.step = max(values)
        lease.expires = self.world.clock.now + timedelta(seconds=LEASE_SECONDS)
        lease.last_body, lease.last_answer = body, answer
        if answer["decision"] == "continue":
            assert lease.step < answer["until_step"] <= MAX_STEP
            lease.until = answer["until_step"]
        for step, value in values.items():
            self.facts.setdefault((lease.trial, step), float("nan") if diverges else value)

    def _late(self, lease: Lease, values: dict[int, float], diverges: bool) -> None:
        """What a lost worker measured is kept where nobody had measured before; the database says what was kept."""
        self.held.pop(lease.trial, None)
        if lease not in self.lost:
            self.lost.append(lease)

    @precondition(lambda self: any(lease.last_body for lease in self.held.values()))
    @rule(data=st.data())
    def report_the_same_again(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from([x for x in self.held.values() if x.last_body]))
        if self._is_over(lease):
            return
        before = self._curve(lease.trial)
        response = self.world.call("POST", f"/trials/{lease.trial}/reports", lease.last_body)
        assert response.status_code == 200, response.text
        lease.expires = self.world.clock.now + timedelta(seconds=LEASE_SECONDS)
        assert lease.last_answer is not None
        if lease.last_answer["decision"] != "continue":
            assert response.json()["decision"] == lease.last_answer["decision"]
        assert str(self._curve(lease.trial)) == str(before)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def contradict_yourself(self, data: st.DataObject) -> None:
        lease = self._choose(data)
        if self._is_over(lease) or lease.step == lease.start or (lease.trial, lease.step) not in self.facts:
            return
        if self._measured_by_an_earlier_attempt(lease):
            return
        body = {"lease": lease.token, "measurements": [{"step": lease.step, "metrics": {"loss": 123.0}}]}
        response = self.world.call("POST", f"/trials/{lease.trial}/reports", body)
        assert response.json()["code"] == "step_conflict"

    @precondition(lambda self: self.lost)
    @rule(data=st.data(), word=st.sampled_from(["reports", "heartbeat", "pause", "release", "tell"]))
    def speak_with_a_lost_lease(self, data: st.DataObject, word: str) -> None:
        lease = data.draw(st.sampled_from(self.lost))
        body: dict[str, Any] = {"lease": lease.token}
        if word == "reports":
            body["measurements"] = [{"step": min(lease.step + 1, MAX_STEP), "metrics": {"loss": 5.0}}]
        path = f"/trials/{lease.trial}/reports" if word == "reports" else f"/trials/{lease.trial}:{word}"
        before = self.world.rows("SELECT state, step, lease_token FROM trials WHERE id = :id", id=lease.trial)
        response = self.world.call("POST", path, body)
        if not (response.status_code == 200 and word in ("pause", "release") and lease.returned):
            assert response.status_code == 409, response.text
            assert response.json()["code"] in ("lease_lost", "trial_finished")
        after = self.world.rows("SELECT state, step, lease_token FROM trials WHERE id = :id", id=lease.trial)
        if not self._someone_slept():
            assert after == before

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        lease = self._choose(data)
        response = self.world.call("POST", f"/trials/{lease.trial}:heartbeat", {"lease": lease.token})
        if self._is_over(lease):
            assert response.json()["code"] == "lease_lost"
            self._lose(lease)
        else:
            assert response.status_code == 200
            lease.expires = self.world.clock.now + timedelta(seconds=LEASE_SECONDS)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), saved=st.booleans())
    def pause(self, data: st.DataObject, saved: bool) -> None:
        lease = self._choose(data)
        checkpoint = {"uri": f"file:///{lease.trial}", "step": lease.step} if saved else None
        body = {"lease": lease.token, "step": lease.step, "checkpoint": checkpoint}
        self._given_back(lease, self.world.call("POST", f"/trials/{lease.trial}:pause", body))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = self._choose(data)
        self._given_back(lease, self.world.call("POST", f"/trials/{lease.trial}:release", {"lease": lease.token}))

    def _given_back(self, lease: Lease, response: httpx2.Response) -> None:
        if self._is_over(lease):
            assert response.json()["code"] == "lease_lost"
        else:
            assert response.status_code == 200, response.text
            lease.returned = True
        self._lose(lease)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), state=st.sampled_from(["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"]))
    def tell(self, data: st.DataObject, state: str) -> None:
        lease = self._choose(data)
        body = {"lease": lease.token, "state": state, "values": {"loss": 0.5}}
        response = self.world.call("POST", f"/trials/{lease.trial}:tell", body)
        if self._is_over(lease):
            assert response.json()["code"] == "lease_lost"
        else:
            assert response.status_code == 200, response.text
            self.told[lease.trial] = body
        self._lose(lease)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        trial = data.draw(st.sampled_from(sorted(self.told)))
        same = self.told[trial]
        assert self.world.call("POST", f"/trials/{trial}:tell", same).status_code == 200
        other = same | {"values": {"loss": 0.75}}
        assert self.world.call("POST", f"/trials/{trial}:tell", other).json()["code"] == "trial_finished"

    @rule(seconds=st.sampled_from([5, 30, 61, 500]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.now += timedelta(seconds=seconds)

    @rule()
    def the_sweeper_comes(self) -> None:
        self.world.runner.run(self.world.app.state.services.desk.submit(uuid.UUID(self.study), Sweep()))
        self._expire()

    @rule(state=st.sampled_from(["paused", "active"]))
    def the_user_changes_the_study(self, state: str) -> None:
        assert self.world.call("PATCH", f"/studies/{self.study}", {"state": state}).status_code == 200

    # ── the model's memory ───────────────────────────────────────────────────────────────────────────────────────────

    def _choose(self, data: st.DataObject) -> Lease:
        return data.draw(st.sampled_from(list(self.held.values())))

    def _is_over(self, lease: Lease) -> bool:
        return lease.expires <= self.world.clock.now

    def _lose(self, lease: Lease) -> None:
        self.held.pop(lease.trial, None)
        self.lost.append(lease)

    def _expire(self) -> None:
        for lease in [lease for lease in self.held.values() if self._is_over(lease)]:
            self._lose(lease)

    def _someone_slept(self) -> bool:
        return any(self._is_over(lease) for lease in self.held.values())

    def _curve(self, trial: str) -> list[Any]:
        return self.world.rows("SELECT step, value FROM measurements WHERE trial_id = :id ORDER BY step", id=trial)

    def _measured_by_an_earlier_attempt(self, lease: Lease) -> bool:
        query = """SELECT m.attempt <> t.attempt FROM measurements m JOIN trials t ON t.id = m.trial_id
            WHERE t.id = :id AND m.step = :step"""
        return any(row[0] for row in self.world.rows(query, id=lease.trial, step=lease.step))

    # ── the books ────────────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def counts_are_true_and_budgets_held(self) -> None:
        query = """SELECT s.*, (SELECT jsonb_object_agg(state, n) FROM
            (SELECT state, count(*) AS n FROM trials WHERE study_id = s.id GROUP BY state) c) AS counted,
            (SELECT coalesce(sum(until_step - step), 0) FROM trials WHERE study_id = s.id AND state = 'RUNNING') AS
            reserved FROM studies s WHERE s.id = :study"""
        (study,) = self.world.rows(query, study=self.study)
        for state in ("QUEUED", "RUNNING", "PAUSED", "COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"):
            assert getattr(study, state.lower()) == (study.counted or {}).get(state, 0), state
        assert study.steps_used == self.spent + study.reserved
        assert study.steps_used <= self.steps
        assert study.started <= self.trials

    @invariant()
    def every_trial_makes_sense(self) -> None:
        rows = self.world.rows("SELECT * FROM trials WHERE study_id = :study ORDER BY number", study=self.study)
        assert [row.number for row in rows] == list(range(len(rows)))
        for row in rows:
            assert (row.state == "RUNNING") == (row.lease_token is not None)
            assert row.from_step <= row.step <= row.last_step <= MAX_STEP
            assert row.until_step is None or row.step <= row.until_step <= MAX_STEP
            assert row.checkpoint_step is None or row.checkpoint_step <= row.last_step
            assert row.state != "QUEUED" or row.ready, "a queued trial that nobody would ever be given"
            held = self.held.get(str(row.id))
            if held is not None and not self._is_over(held):
                assert row.lease_token == held.token, "somebody else took a live lease"

    @invariant()
    def facts_never_change(self) -> None:
        query = """SELECT m.trial_id, m.step, m.value FROM measurements m JOIN trials t ON t.id = m.trial_id
            WHERE t.study_id = :study"""
        stored = {(str(row.trial_id), row.step): row.value for row in self.world.rows(query, study=self.study)}
        for key, value in self.facts.items():
            assert key in stored, "an acknowledged report was lost"
            if key not in self.late_or_earlier(stored, value, key):
                assert stored[key] == pytest.approx(value, nan_ok=True)

    @staticmethod
    def late_or_earlier(
        stored: dict[tuple[str, int], float], value: float, key: tuple[str, int]
    ) -> set[tuple[str, int]]:
        """A step first told by a lost worker (5.0) keeps that value."""
        return {key} if stored[key] == 5.0 else set()

    def teardown(self) -> None:
        """Whatever was left lying about can be taken up again by somebody."""
        if not hasattr(self, "study"):
            return
        self.world.clock.now += timedelta(seconds=10 * LEASE_SECONDS)
        patch = {"state": "active", "budget": {"resource": 10**6, "trials": 10**6}}
        assert self.world.call("PATCH", f"/studies/{self.study}", patch).status_code == 200
        body = {"worker": "last", "count": 100, "lease_seconds": LEASE_SECONDS}
        answer = self.world.call("POST", f"/studies/{self.study}/trials:ask", body).json()
        query = (
            "SELECT number FROM trials WHERE study_id = :study AND (state = 'QUEUED' OR (state = 'PAUSED' AND ready))"
        )
        assert self.world.rows(query, study=self.study) == [], "a trial waits that nobody is given"
        assert len(answer["trials"]) == 100, (len(answer["trials"]), answer["study_state"])


def test_no_order_of_words_corrupts_a_study(database_url: str) -> None:
    world = World(database_url)
    machine = type("Machine", (Workers,), {"world": world})
    limits = settings(
        max_examples=30, stateful_step_count=40, deadline=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )  # fmt: skip
    try:
        run_state_machine_as_test(machine, settings=limits)
    finally:
        world.close()
