"""What the stories are told with: servers, and training processes that can be watched and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import frazil

from ..conftest import Server
from .training import SPACE, whole_curve

TRAINING = Path(__file__).with_name("training.py")

Line = dict[str, Any]


def eventually(look: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """What `look` finds, once that is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.02)
    return found


class Worker:
    """A process that runs training.py."""

    def __init__(self, url: str, study: frazil.Study, folder: Path, options: dict[str, Any]) -> None:
        self._log = folder / f"{uuid.uuid4().hex}.log"
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not True]
        given += [f"--{name}" for name, value in options.items() if value is True]
        command = [sys.executable, str(TRAINING), study.name, str(self._log), str(folder), *given]
        self.process = subprocess.Popen(command, env={**os.environ, "FRAZIL_URL": url}, stderr=subprocess.PIPE)

    def diary(self, *words: str) -> list[Line]:
        """What it has done so far, or of that only what these words name."""
        text = self._log.read_text() if self._log.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if not words or line["word"] in words]

    def reaches(self, step: int, *, trial: int | None = None) -> None:
        """Waits until it has been acknowledged this step (of trial number `trial`)."""
        eventually(
            lambda: any(
                line["step"] >= step and trial in (None, line["number"]) for line in self.diary("acknowledged")
            ),
            f"step {step}",
        )

    def end(self, number: int, code: int) -> None:
        self.process.send_signal(number)
        self.finish(code)

    def kill(self) -> None:
        self.end(signal.SIGKILL, -signal.SIGKILL)

    def finish(self, code: int = 0, seconds: float = 60.0) -> None:
        """Waits for its end, which must come by itself and with this exit code."""
        _, complaints = self.process.communicate(timeout=seconds)
        assert self.process.returncode == code, complaints.decode()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own."""
    servers: list[Server] = []

    def start(database_url: str, **environment: str) -> Server:
        servers.append(Server(database_url, **environment))
        return servers[-1]

    yield start
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.stop()


@pytest.fixture
def hire(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts training processes, which share a folder for their checkpoints."""
    workers: list[Worker] = []

    def start(url: str, study: frazil.Study, **options: Any) -> Worker:
        workers.append(Worker(url, study, tmp_path, options))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.communicate()


@pytest.fixture
def create() -> Iterator[Callable[..., frazil.Study]]:
    """Makes a study on a server; what is not said is small."""
    clients: list[frazil.Client] = []

    def make(url: str, **given: Any) -> frazil.Study:
        clients.append(frazil.Client(url, patience=30.0))
        definition = {"space": SPACE, "minimize": "loss", "policy": "random", "seed": 1}
        return clients[-1].create_study(f"story-{uuid.uuid4().hex}", **{**definition, **given})

    yield make
    for client in clients:
        client.close()


def engine_workers(server: Server) -> list[psutil.Process]:
    """The processes in which a server has its models fitted."""
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def alike(one: list[tuple[int, float]], other: list[tuple[int, float]]) -> bool:
    """Whether two curves are the same to the last bit, also where both have diverged: NaN is a fact."""
    return [(step, repr(float(value))) for step, value in one] == [(step, repr(float(value))) for step, value in other]


def the_books_balance(
    study: frazil.Study, workers: list[Worker], uninterrupted: Callable[..., Any] = whole_curve
) -> list[dict[str, Any]]:
    """Nothing lost, nothing counted wrong, every curve as an uninterrupted run would have measured it.

    Returns the trials.
    """
    records = list(study.refresh().records())
    curves = {record["id"]: study.curve(record["id"], "loss") for record in records}
    for record in records:
        assert alike(curves[record["id"]], uninterrupted(record["params"], record["last_step"]))
    for line in (line for worker in workers for line in worker.diary("acknowledged")):
        assert alike([curves[line["trial"]][line["step"] - 1]], [(line["step"], line["loss"])])
    counted = {state: sum(record["state"] == state for record in records) for state in study.info["counts"]}
    assert study.info["counts"] == counted
    assert sorted(record["number"] for record in records) == list(range(len(records)))
    return records
