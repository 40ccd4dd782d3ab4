"""A server in memory that speaks the contract, behind the SDK's transport seam: decides by script, fails on demand."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

import frazil

Decide = Callable[[int, int], str]
"""(trial number, step) → "continue", "pause" or "stop"; asked at the end of a grant."""


@dataclass
class FakeTrial:
    number: int
    params: dict[str, Any]
    state: str = "QUEUED"
    step: int = 0
    until: int | None = None
    lease: str | None = None
    worker: str | None = None
    leases: int = 0
    checkpoint: dict[str, Any] | None = None
    curve: dict[int, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, Any] | None = None


class FakeServer:
    """`count` trials of `max_step` steps, granted `grant` at a time; `max_step=None`: a study without a resource."""

    def __init__(self, count: int = 1, max_step: int | None = 6, grant: int = 3, decide: Decide | None = None) -> None:
        self.max_step, self.grant = max_step, grant
        self.decide = decide or (lambda number, step: "continue")
        self.trials = [FakeTrial(number, {"lr": 0.1 * (number + 1)}) for number in range(count)]
        self.state = "active"
        self.objectives = [{"metric": "loss", "direction": "minimize", "summary": "last"}]
        self.client: frazil.Client
        self.requests: list[httpx2.Request] = []
        self.faults: list[httpx2.Response | Exception] = []
        self.lost_answers = 0
        self.obsolete: dict[int, list[str]] = {}  # what a report of a step is told
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.faults:
            return raised_or_returned(self.faults.pop(0))
        if request.url.path.endswith("/reports"):
            self.gate.wait()
        answer = self.answer(request)
        if self.lost_answers:
            self.lost_answers -= 1
            raise httpx2.ReadError("connection reset")
        return answer

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else {}
        path = request.url.path.removeprefix("/api/v1")
        if path == "/studies":
            return httpx2.Response(201, json=self.info(body["name"]))
        if path.endswith("trials:ask"):
            return httpx2.Response(200, json=self.ask(body))
        if match := re.fullmatch(r"/trials/trial-(\d+)[:/](\w+)", path):
            trial = self.trials[int(match[1])]
            if trial.told == {**body, "lease": None}:
                return httpx2.Response(200, json={})
            if trial.lease is None or trial.lease != body["lease"]:
                return problem(409, "lease_lost", "This lease has run out.")
            return httpx2.Response(200, json=getattr(self, match[2])(trial, body))
        if request.method == "PATCH":
            self.state = body["state"]
        return httpx2.Response(200, json=self.info("study"))

    def info(self, name: str) -> dict[str, Any]:
        return {"id": "s", "name": name, "state": self.state, "objectives": self.objectives}

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        held = [trial for trial in self.trials if trial.lease and trial.worker == body["worker"]]
        free = [trial for trial in self.trials if trial.state in ("QUEUED", "PAUSED")]
        grants = [self.handed_out(trial, body["worker"]) for trial in (held + free)[: body["count"]]]
        if not grants and not any(trial.state == "RUNNING" for trial in self.trials) and self.state == "active":
            self.state = "completed"
        return {"trials": grants, "study_state": self.state, "retry_after": None if grants else 0.01}

    def handed_out(self, trial: FakeTrial, worker: str) -> dict[str, Any]:
        start = trial.checkpoint["step"] if trial.checkpoint else 0
        if trial.state != "RUNNING":
            trial.leases += 1
            trial.state, trial.worker, trial.lease = "RUNNING", worker, f"lease-{trial.number}-{trial.leases}"
            trial.step, trial.until = start, self.max_step and min(start + self.grant, self.max_step)
        return {
            "id": f"trial-{trial.number}",
            "number": trial.number,
            "state": "RUNNING",
            "params": trial.params,
            "from_step": start,
            "until_step": trial.until,
            "max_step": self.max_step,
            "checkpoint": trial.checkpoint,
            # An hour behind: a client that compared it with its own clock would think the lease gone.
            "lease": {"token": trial.lease, "expires_at": "2020-01-01T00:00:00Z"},
            "why": {"policy": "script"},
        }

    def reports(self, trial: FakeTrial, body: dict[str, Any]) -> dict[str, Any]:
        for entry in body["measurements"]:
            trial.curve[entry["step"]] = entry["metrics"]
            trial.step = entry["step"]
        decision = "continue"
        if trial.step == self.max_step:
            decision = "stop"
        elif trial.step == trial.until:
            decision = self.decide(trial.number, trial.step)
            if decision == "continue" and self.max_step:
                trial.until = min(trial.step + self.grant, self.max_step)
        if self.state == "stopped":
            decision = "stop"
        answer = {"decision": decision, "until_step": trial.until, "reason": f"script says {decision}"}
        return {**answer, "schedule": None, "obsolete_checkpoints": self.obsolete.pop(trial.step, [])}

    def heartbeat(self, trial: FakeTrial, body: dict[str, Any]) -> dict[str, Any]:
        decision = "stop" if self.state == "stopped" else "continue"
        return {"decision": decision, "until_step": trial.until, "reason": f"the study is {self.state}"}

    def tell(self, trial: FakeTrial, body: dict[str, Any]) -> dict[str, Any]:
        trial.state, trial.lease, trial.told = body["state"], None, {**body, "lease": None}
        return {}

    def pause(self, trial: FakeTrial, body: dict[str, Any]) -> dict[str, Any]:
        assert body["step"] == trial.step
        trial.state, trial.lease, trial.checkpoint = "PAUSED", None, body["checkpoint"]
        return {}

    def release(self, trial: FakeTrial, body: dict[str, Any]) -> dict[str, Any]:
        trial.state, trial.lease = "QUEUED" if trial.checkpoint is None else "PAUSED", None
        return {}

    def take_away(self, number: int) -> None:
        """Another worker gets the trial and finishes it."""
        trial = self.trials[number]
        trial.state, trial.worker, trial.lease = "COMPLETED", "another", None

    def bodies(self, ending: str) -> list[dict[str, Any]]:
        """What was sent to paths with this ending, in order."""
        return [json.loads(request.content) for request in self.requests if request.url.path.endswith(ending)]


def raised_or_returned(fault: httpx2.Response | Exception) -> httpx2.Response:
    if isinstance(fault, Exception):
        raise fault
    return fault


def problem(status: int, code: str, detail: str, **more: Any) -> httpx2.Response:
    """An answer as RFC 9457 has it."""
    document = {"type": "about:blank", "status": status, "code": code, "detail": detail, "request_id": "r-1", **more}
    return httpx2.Response(status, json=document, headers={"content-type": "application/problem+json"})


@pytest.fixture(name="problem")
def _problem() -> Callable[..., httpx2.Response]:
    return problem


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[FakeServer, frazil.Study]]]:
    """Makes a server by script, and a study on it."""
    servers: list[FakeServer] = []

    def start(patience: float = 5.0, **script: Any) -> tuple[FakeServer, frazil.Study]:
        server = FakeServer(**script)
        servers.append(server)
        server.client = frazil.Client("http://frazil.test", patience=patience, transport=httpx2.MockTransport(server))
        study = server.client.create_study("study", space={"lr": frazil.Float(0.1, 1.0)}, minimize="loss")
        return server, study

    yield start
    for server in servers:
        server.client.close()
