"""A schedule is changed in flight: its worker is told with the next answer, and what it was before is kept."""

from __future__ import annotations

import pytest

LR = {"name": "lr", "type": "float", "low": 0.001, "high": 1, "log": True}
PLAN = {"name": "plan", "type": "schedule", "kinds": ["constant", "linear", "cosine"], "peak": "lr"}
EPOCHS = {"name": "epoch", "max": 10}
COSINE = {"kind": "cosine", "total_steps": 10}


@pytest.fixture
def study(house):
    return house.create(space=[LR, PLAN], resource=EPOCHS, policy={"name": "random"})


@pytest.fixture
def trial(house, must, study):
    """A running trial with a constant schedule."""
    given = {"lr": 0.1, "plan": {"kind": "constant"}}
    must(house.post(f"/studies/{study['id']}/trials", {"trials": [{"params": given}]}))
    return house.lease(study, "w")


def change(house, trial, **schedules):
    return house.patch(f"/trials/{trial['id']}", {"schedules": schedules})


def test_the_worker_is_told_with_every_answer_until_it_gives_the_lease_back(house, must, study, trial):
    assert must(house.report(trial, 1))["schedule"] is None
    changed = must(change(house, trial, plan=COSINE))
    plan = changed["params"]["plan"]
    assert (plan["kind"], plan["peak"]) == ("cosine", 0.1)
    for answer in (house.report(trial, 2), house.report(trial, 3), house.say(trial, ":heartbeat")):
        assert must(answer)["schedule"] == {"plan": plan}
    must(house.say(trial, ":pause", step=3, checkpoint={"uri": "s3://3", "step": 3}))
    again = house.lease(study, "other")
    assert (again["number"], again["params"]["plan"]) == (trial["number"], plan)
    assert must(house.report(again, 4))["schedule"] is None


def test_what_it_was_before_is_kept_with_the_step(house, must, study, trial):
    house.report(trial, 1, 2)
    before = trial["params"]["plan"]
    must(change(house, trial, plan=COSINE))
    stored = house.trial(trial)
    assert stored["why"]["rescheduled"] == [{"step": 2, "before": {"plan": before}}]
    house.report(trial, 3)
    must(change(house, trial, plan={"kind": "linear", "total_steps": 10}))
    assert [item["step"] for item in house.trial(trial)["why"]["rescheduled"]] == [2, 3]
    events = must(house.get(f"/studies/{study['id']}/events:list?trial={trial['number']}"))["items"]
    (first, second) = [event["data"] for event in events if event["kind"] == "trial.rescheduled"]
    assert (first["before"], first["after"]) == ({"plan": before}, {"plan": stored["params"]["plan"]})
    assert second["before"] == first["after"]


def test_the_same_schedule_again_changes_nothing(house, must, study, trial):
    version = house.study(study)["data_version"]
    must(change(house, trial, plan=trial["params"]["plan"]))
    assert "rescheduled" not in house.trial(trial)["why"]
    assert must(house.report(trial, 1))["schedule"] is None
    assert house.study(study)["data_version"] == version


def test_a_frozen_trial_goes_on_with_its_new_schedule(house, must, study, trial):
    house.report(trial, 1)
    must(house.say(trial, ":pause", step=1, checkpoint={"uri": "s3://1", "step": 1}))
    must(change(house, trial, plan=COSINE))
    assert house.lease(study, "other")["params"]["plan"]["kind"] == "cosine"


@pytest.mark.parametrize(
    ("schedules", "pointer"),
    [
        ({"lr": {"kind": "linear"}}, "/schedules/lr"),
        ({"other": {"kind": "linear"}}, "/schedules/other"),
        ({"plan": {"kind": "wiggle"}}, "/schedules/plan"),
        ({"plan": {"kind": "linear", "warmup_steps": 20, "total_steps": 10}}, "/schedules/plan"),
        ({}, "/schedules"),
    ],
)
def test_what_is_no_schedule_of_the_trial_is_refused_and_nothing_changes(house, refused, trial, schedules, pointer):
    before = house.trial(trial)
    response = house.patch(f"/trials/{trial['id']}", {"schedules": schedules})
    refused(response, 422, response.json()["code"], pointer)
    assert house.trial(trial) == before


def test_a_finished_trial_keeps_its_schedule(house, must, refused, trial):
    house.report(trial, 1)
    must(house.tell(trial))
    refused(change(house, trial, plan=COSINE), 409, "trial_finished")
