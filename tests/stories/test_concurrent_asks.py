"""Sixteen who ask at once."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import frazil

from ..conftest import Server

MANY = 16


@pytest.fixture(scope="module")
def pair(postgres_url, server_url):
    """The URLs of two servers over one database."""
    second = Server(postgres_url)
    yield [server_url, second.url]
    second.stop()


@pytest.fixture(params=[1, 2], ids=["one server", "two servers"])
def urls(request, pair):
    return pair[: request.param]


@pytest.fixture
def ask_at_once(urls):
    """Has sixteen clients ask at one moment, spread over the servers; returns all trials that they got."""
    doors = [frazil.Client(url, patience=30.0) for url in urls]

    def ask(study, count=1):
        studies = [door.study(study.name) for door in doors]
        together = threading.Barrier(MANY)

        def one(mine):
            together.wait()
            return mine.ask(count, lease_seconds=600.0)

        with ThreadPoolExecutor(MANY) as pool:
            answers = pool.map(one, itertools.islice(itertools.cycle(studies), MANY))
            return [trial for trials in answers for trial in trials]

    yield ask
    for door in doors:
        door.close()


@pytest.mark.parametrize("policy", ["random", "asha", "bayes"])
def test_no_trial_is_handed_out_twice_nor_more_than_the_budget_has(urls, create, ask_at_once, policy):
    study = create(urls[0], resource=frazil.Resource("epoch", max=9), policy=policy, budget={"trials": 20})
    got = ask_at_once(study)
    assert sorted(trial.number for trial in got) == list(range(MANY))
    assert len({str(trial.params) for trial in got}) == MANY
    got += ask_at_once(study)
    assert sorted(trial.number for trial in got) == list(range(20))
    assert study.refresh().info["counts"]["RUNNING"] == 20


def test_no_more_steps_are_granted_than_the_budget_has(urls, create, ask_at_once):
    study = create(urls[0], resource=frazil.Resource("epoch", max=7), budget={"resource": 40})
    grants = [trial.until_step - trial.from_step for trial in ask_at_once(study)]
    assert sorted(grants) == [5, 7, 7, 7, 7, 7]
    assert ask_at_once(study) == []
    assert study.refresh().info["steps_used"] == 40


def test_paused_trials_are_thawed_once_each(urls, create, ask_at_once):
    study = create(urls[0], resource=frazil.Resource("epoch", max=9))
    for trial in ask_at_once(study):
        trial.report(1, wait=True, loss=1.0)
        trial.freeze("file:///1")
    thawed = ask_at_once(study)
    assert sorted(trial.number for trial in thawed) == list(range(MANY))
    assert {trial.from_step for trial in thawed} == {1}


def test_several_trials_an_ask(urls, create, ask_at_once):
    study = create(urls[0], budget={"trials": 50})
    got = ask_at_once(study, count=5)
    assert sorted(trial.number for trial in got) == list(range(50))


def test_candidates_are_handed_out_once_each(urls, create, ask_at_once):
    study = create(urls[0], candidates=[{"lr": 0.1, "momentum": m / 100} for m in range(10)])
    got = ask_at_once(study)
    assert len({str(trial.params) for trial in got}) == len(got) == 10
