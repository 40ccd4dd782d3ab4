"""Schedules over REST: evaluated, refined, suggested, and taken from outside."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from frazil_tuner.schedules import Schedule

GOLDEN = json.loads((Path(__file__).parents[1] / "contracts" / "schedules.json").read_text())
LR = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0, "log": True}
SCHEDULE = {"name": "lr_schedule", "type": "schedule", "kinds": ["linear", "wsd"], "peak": "lr", "warmup": [0.0, 0.2]}
EPOCHS = {"name": "epoch", "max": 10}
NORMS = [math.exp(-i / 20) + 0.5 for i in range(100)]


def test_a_schedule_is_evaluated_as_everywhere(api):
    for vector in GOLDEN:
        body = {"schedule": {**vector["schedule"], "peak": 2.0}, "steps": vector["steps"]}
        found = api.post("/schedules:evaluate", body).json()
        assert found["multipliers"] == pytest.approx(vector["multipliers"], abs=1e-12)
        assert found["values"] == pytest.approx([2 * m for m in vector["multipliers"]], abs=1e-12)
        assert Schedule.of(found["schedule"]).to_json() == found["schedule"]


def test_a_faulty_schedule_is_refused_with_a_pointer(api):
    response = api.post("/schedules:evaluate", {"schedule": {"kind": "linear", "total_steps": -1}, "steps": [0]})
    assert response.status_code == 422
    assert response.json()["code"] == "schedule_invalid"
    assert response.json()["errors"][0]["pointer"] == "/schedule/total_steps"


def test_norms_become_a_refined_schedule(api):
    found = api.post("/schedules:refine", {"norms": NORMS, "peak": 0.1, "total_steps": 1000, "entries": 50}).json()
    schedule = Schedule.of(found["schedule"])
    assert (schedule.kind, schedule.peak, schedule.total_steps) == ("table", 0.1, 1000)
    assert len(found["schedule"]["multipliers"]) == 50


@pytest.mark.parametrize(
    ("norms", "pointer"),
    [([], "/norms"), ([1.0] * 20, "/norms"), ([*NORMS, "nan"], "/norms/100"), ([0, *NORMS], "/norms/0")],
)
def test_norms_that_teach_nothing_are_refused(api, norms, pointer):
    response = api.post("/schedules:refine", {"norms": norms})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


def test_a_trial_is_handed_its_schedule_as_long_as_the_resource(api):
    study = api.create(space=[LR, SCHEDULE], resource=EPOCHS, policy={"name": "random"})
    assert study["space"][1]["total"] == 10
    (trial,) = api.ask(study)["trials"]
    value = trial["params"]["lr_schedule"]
    assert set(trial["params"]) == {"lr", "lr_schedule"}
    assert value["peak"] == trial["params"]["lr"]
    assert value["total_steps"] == 10


def test_a_thawed_trial_goes_on_with_the_same_schedule(api):
    study = api.create(space=[LR, SCHEDULE], resource=EPOCHS, policy={"name": "asha"})
    (trial,) = api.ask(study)["trials"]
    api.report(trial, 1)
    api.post(f"/trials/{trial['id']}:pause", {"lease": trial["lease"]["token"], "step": 1, "checkpoint": None})
    again = api.get(f"/trials/{trial['id']}").json()
    assert again["params"] == trial["params"]


def test_a_refined_schedule_is_enqueued_with_a_trial_of_its_own(api):
    study = api.create(space=[LR, SCHEDULE], resource=EPOCHS, policy={"name": "random"})
    table = api.post("/schedules:refine", {"norms": NORMS, "total_steps": 10, "entries": 10}).json()["schedule"]
    added = api.post(f"/studies/{study['id']}/trials", {"trials": [{"params": {"lr": 0.1, "lr_schedule": table}}]})
    assert added.status_code == 201, added.text
    (trial,) = api.ask(study)["trials"]
    assert trial["params"]["lr_schedule"] == {**table, "peak": 0.1, "warmup_steps": 0}


def test_a_schedule_without_a_length_is_refused_and_so_is_a_value_that_does_not_fit(api):
    refused = api.post("/studies", {"name": "x", "space": [LR, SCHEDULE], "objectives": [{"metric": "loss"}]})
    assert refused.json()["errors"][0]["pointer"] == "/space/1/total"
    study = api.create(space=[LR, SCHEDULE], resource=EPOCHS, policy={"name": "random"})
    trial = {"params": {"lr": 0.1, "lr_schedule": {"kind": "linear", "warmup": 0.5}}}
    refused = api.post(f"/studies/{study['id']}/trials", {"trials": [trial]})
    assert refused.json()["errors"][0]["pointer"] == "/trials/0/params/lr_schedule/warmup"


def test_the_model_says_how_much_a_schedule_matters_and_goes_along_its_numbers(api):
    study = api.create(space=[LR, SCHEDULE], resource=EPOCHS, policy={"name": "bayes"})
    trials = [
        {
            "params": {"lr": 0.01 * (1 + i), "lr_schedule": {"kind": "linear", "warmup": 0.2 * (i * 7 % 12) / 12}},
            "state": "COMPLETED", "values": {"loss": (i * 7 % 12) / 12},
        }
        for i in range(12)
    ]  # fmt: skip
    assert api.post(f"/studies/{study['id']}/trials", {"trials": trials}).status_code == 201
    found = api.get(f"/studies/{study['id']}/predictions", params={"slice": "lr_schedule/warmup"})
    assert found.status_code == 200, found.text
    means = found.json()["metrics"]["loss"]["mean"]
    assert means[-1] > means[0] + 0.3
    assert {"lr", "lr_schedule"} == set(found.json()["points"][0])
