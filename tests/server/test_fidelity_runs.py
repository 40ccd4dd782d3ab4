"""A study of a resource that cannot be resumed: its trials wait between runs, and are trained again with more."""

from __future__ import annotations

import pytest

from frazil_server.engine.engine import LocalEngine

from .conftest import new_database
from .laboratory import Bench, Laboratory

DATA = {"name": "data", "min": 1, "max": 9, "kind": "restart"}
LR = {"name": "lr", "type": "float", "low": 0.0, "high": 1.0}
CANDIDATES = [{"lr": i / 10} for i in range(6)]


@pytest.fixture(scope="module")
def lab(postgres_url):
    lab = Laboratory(new_database(postgres_url))
    services = lab.services
    services.engine = LocalEngine(services.database, services.snapshots, services.announcer, Bench())
    yield lab
    lab.close()


def test_every_candidate_waits_between_its_runs_and_is_trained_again_from_the_start(lab, must):
    study = lab.create(space=[LR], candidates=CANDIDATES, resource=DATA, policy={"name": "multi_fidelity"})
    runs, steps, spent = [], {number: [] for number in range(6)}, 0
    while trials := lab.ask(study, "w")["trials"]:
        (trial,) = trials
        runs.append(trial)
        assert trial["from_step"] == 0
        until, lr = trial["until_step"], trial["params"]["lr"]
        answer = must(lab.report(trial, until, value=(lr - 0.3) ** 2 + 1 / until))
        spent += until
        steps[trial["number"]].append(until)
        if until == 9:
            assert answer["decision"] == "stop"
            must(lab.tell(trial, state="COMPLETED"))
        else:
            assert answer["decision"] == "pause"
            assert must(lab.say(trial, ":pause"))["state"] == "PAUSED"
    assert [run["until_step"] for run in runs[:6]] == [1, 1, 3, 9, 1, 1]
    assert all(ran == sorted(set(ran)) and ran[-1] == 9 for ran in steps.values())
    assert runs[6]["number"] < 6, "a trial is trained again: no candidate is left"
    assert [point[0] for point in lab.curve(runs[0])] == steps[0]
    assert runs[-1]["why"]["policy"] == "multi_fidelity"
    assert lab.study(study)["steps_used"] == spent
