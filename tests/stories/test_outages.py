"""The server dies without a word, and comes back."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

import frazil

from .conftest import engine_workers, eventually, the_books_balance

OUTAGE = 0.5


@pytest.fixture
def embedded(tmp_path_factory):
    """A folder for an embedded PostgreSQL, which is stopped afterwards, whoever started it."""
    folder = tmp_path_factory.mktemp("data")
    yield folder
    for process in processes_in(folder):
        process.send_signal(signal.SIGQUIT)
    psutil.wait_procs(processes_in(folder), timeout=20)


def processes_in(folder):
    """The postmaster of the embedded PostgreSQL in this folder."""
    pid_file = folder / "postgres" / "postmaster.pid"
    if not pid_file.exists() or not psutil.pid_exists(pid := int(pid_file.read_text().split()[0])):
        return []
    return [psutil.Process(pid)]


@pytest.mark.parametrize("database_dies_too", [False, True])
def test_a_killed_server_loses_no_acknowledged_report_and_the_clients_carry_on(
    embedded, serve, create, hire, database_dies_too
):
    server = serve("", FRAZIL_DATA_DIR=str(embedded))
    study = create(server.url, resource=frazil.Resource("epoch", max=9), policy="asha", budget={"resource": 200})
    workers = [hire(server.url, study) for _ in range(4)]
    eventually(lambda: sum(len(worker.diary("acknowledged")) for worker in workers) >= 40, "40 acknowledged reports")
    (postmaster,) = processes_in(embedded)
    server.kill()
    if database_dies_too:
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)
    time.sleep(OUTAGE)
    so_far = sum(len(worker.diary("acknowledged")) for worker in workers)
    assert so_far < 200, "the study was over before the server was killed"
    server.start()
    for worker in workers:
        worker.finish()
    records = the_books_balance(study, workers)
    assert study.state == "completed"
    assert study.info["steps_used"] == sum(record["last_step"] for record in records) == 200


def test_a_server_that_is_told_to_end_leaves_no_process_behind(embedded, serve):
    server = serve("", FRAZIL_DATA_DIR=str(embedded), FRAZIL_ENGINE_PREWARM="true")
    family = processes_in(embedded) + eventually(lambda: engine_workers(server), "a worker process")
    server.stop()
    assert server.process.returncode == 128 + signal.SIGTERM
    assert psutil.wait_procs(family, timeout=10)[1] == []


def test_a_server_that_was_killed_leaves_only_the_database_and_the_next_one_takes_care_of_that(embedded, serve):
    server = serve("", FRAZIL_DATA_DIR=str(embedded), FRAZIL_ENGINE_PREWARM="true")
    workers = eventually(lambda: engine_workers(server), "a worker process")
    (postmaster,) = processes_in(embedded)
    server.kill()
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    server.start()
    assert processes_in(embedded) == [postmaster]
    server.stop()
    assert psutil.wait_procs([postmaster], timeout=10)[1] == []
