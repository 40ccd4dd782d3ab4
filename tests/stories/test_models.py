"""Studies that need a model, with the real worker processes that fit it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import frazil

from .conftest import engine_workers, eventually, the_books_balance

WARM_UP = 4  # dimension + 2


def on_the_shelf(database_url):
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT count(*) FROM suggestions").fetchone()[0]


def test_the_first_answers_need_no_model_and_the_later_ones_lie_ready(database_url, serve, create):
    server = serve(database_url)
    study = create(server.url, policy="bayes")
    first = study.ask(count=WARM_UP)
    assert [trial.why["phase"] for trial in first] == ["warm-up"] * WARM_UP
    assert engine_workers(server) == [], "nothing was fitted for these"
    for trial in first:
        trial.tell(loss=trial.params["lr"])
    fitted = [study.ask()]
    assert len(engine_workers(server)) == 1
    for _ in range(3):
        fitted[-1].tell(loss=fitted[-1].params["lr"])
        eventually(lambda: on_the_shelf(database_url), "a filled shelf")
        fitted.append(study.ask())
        assert fitted[-1].why["data_version"] == study.refresh().info["data_version"]
    assert {trial.why["acquisition"] for trial in fitted} == {"log_ei"}
    assert len({str(trial.params) for trial in first + fitted}) == WARM_UP + 4
    assert len(engine_workers(server)) == 1
    fitted[-1].release()


def test_a_worker_killed_in_mid_fit_costs_a_retry_and_no_error(database_url, serve, create):
    server = serve(database_url)
    study = create(server.url, policy="bayes")
    for trial in study.ask(count=WARM_UP):
        trial.tell(loss=trial.params["lr"])
    with frazil.Client(server.url, patience=0.0) as strict, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(strict.study(study.name).ask)
        (victim,) = eventually(lambda: engine_workers(server), "a fit")
        eventually(lambda: sum(victim.cpu_times()[:2]) > 0.5 or asking.done(), "some work")
        assert not asking.done(), "the fit was over too soon"
        victim.kill()
        trial = asking.result(60)
        assert trial.why["acquisition"] == "log_ei"
        assert [worker.pid for worker in engine_workers(server)] not in ([], [victim.pid])
        trial.release()


def test_processes_finish_a_model_based_study(database_url, serve, create, hire):
    server = serve(database_url)
    study = create(server.url, policy="bayes", resource=frazil.Resource("epoch", max=3), budget={"trials": 14})
    workers = [hire(server.url, study) for _ in range(3)]
    for worker in workers:
        worker.finish()
    records = the_books_balance(study, workers)
    assert (study.state, study.info["counts"]["COMPLETED"]) == ("completed", 14)
    assert len({str(record["params"]) for record in records}) == 14
    assert study.best.recommended.sd["loss"] > 0


class Fitter:
    """A `frazil-server worker` in a process of its own."""

    def __init__(self, database_url):
        environment = {**os.environ, "FRAZIL_DATABASE_URL": database_url}
        command = [sys.executable, "-m", "frazil_server", "worker"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    def end(self, number):
        self.process.send_signal(number)
        _, self.log = self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def fit(database_url):
    fitters = []

    def start():
        fitters.append(Fitter(database_url))
        return fitters[-1]

    yield start
    for fitter in fitters:
        if fitter.process.poll() is None:
            fitter.end(signal.SIGKILL)


def test_two_servers_leave_their_models_to_a_worker_and_outlive_it(database_url, serve, create, hire, fit):
    servers = [serve(database_url, FRAZIL_ENGINE="remote") for _ in range(2)]
    study = create(servers[0].url, policy="bayes", resource=frazil.Resource("epoch", max=3), budget={"trials": 20})
    workers = [hire(server.url, study, step_seconds=0.1) for server in servers]
    fitter = fit()

    def modelled():
        return sum("acquisition" in record["why"] for record in study.records())

    eventually(lambda: modelled() >= 2, "the first fits", 60)
    fitter.end(signal.SIGKILL)
    second = fit()
    for worker in workers:
        worker.finish()
    records = the_books_balance(study, workers)
    assert (study.state, study.info["counts"]["COMPLETED"]) == ("completed", 20)
    assert modelled() > 12
    assert len({str(record["params"]) for record in records}) == 20
    assert [engine_workers(server) for server in servers] == [[], []]
    assert second.end(signal.SIGTERM) == 0, second.log.decode()
