"""What earlier studies have seen, as the policy of a later one gets it: placed in its space, and read again on news."""

from __future__ import annotations

import uuid

import pytest

from frazil_server.engine import relatives
from frazil_server.insights.service import see

X = {"name": "x", "type": "float", "low": 0.0, "high": 1.0}
Y = {"name": "y", "type": "int", "low": 0, "high": 9}
LOSS = [{"metric": "loss"}]


def done(x, value=None, **more):
    values = {} if value is None else {"loss": value}
    return {"params": {"x": x, "y": 3}, "state": "COMPLETED", "values": values} | more


@pytest.fixture
def project() -> str:
    return f"project-{uuid.uuid4().hex}"


@pytest.fixture
def earlier(house, must, project):
    study = house.create(project=project, space=[X, Y])
    trials = [done(0.1, 0.5), done(0.2, {"mean": 0.25, "sem": 0.1}), done(0.3, "nan"), done(0.9, 0.75)]
    failed = [{"params": {"x": 0.4, "y": 1}, "state": "FAILED"}, {"params": {"x": 0.5, "y": 1}}]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": trials + failed}))
    return study


def related(house, study):
    sight = house.run(see(house.app.state.services, study["id"], "default"))
    return sight.study.related


def test_finished_trials_of_an_earlier_study_are_placed_in_the_present_space(house, project, earlier):
    study = house.create(project=project, space=[X | {"high": 0.5}], related=[earlier["name"]])
    (found,) = related(house, study)
    assert (found.name, found.objective.metric) == (earlier["name"], "loss")
    assert [(trial.number, trial.params, trial.values) for trial in found.trials] == [
        (0, {"x": 0.1}, {"loss": 0.5}),
        (1, {"x": 0.2}, {"loss": 0.25}),
    ], "without what failed, diverged, waits, or lies outside"


def test_what_this_space_forbids_is_left_out(house, project, earlier):
    study = house.create(project=project, space=[X, Y], constraints=["x * y <= 0.5"], related=[earlier["id"]])
    (found,) = related(house, study)
    assert [trial.number for trial in found.trials] == [0]


def test_a_curve_counts_as_its_study_says(house, must, project):
    best = [{"metric": "acc", "direction": "maximize", "summary": "best"}]
    earlier = house.create(project=project, space=[X], objectives=best, resource={"max": 3})
    curve = [{"step": s, "metrics": {"acc": value}} for s, value in ((1, 0.5), (2, 0.9), (3, 0.7))]
    body = {"trials": [{"params": {"x": 0.5}, "state": "COMPLETED", "curve": curve}]}
    must(house.post(f"/studies/{earlier['id']}/trials", body))
    (found,) = related(house, house.create(project=project, space=[X], objectives=LOSS, related="equal"))
    assert found.objective.sign == 1
    assert [trial.score(found.objective) for trial in found.trials] == [0.9]


def test_earlier_studies_are_read_again_when_they_learn_or_go(house, must, project, earlier):
    other = house.create(project=project, space=[X, Y])
    study = house.create(project=project, space=[X, Y], related=[earlier["name"], other["name"]])
    first = related(house, study)
    assert related(house, study)[0] is first[0], "nothing has changed"
    must(house.post(f"/studies/{other['id']}/trials", {"trials": [done(0.7, 0.1)]}))
    assert [len(found.trials) for found in related(house, study)] == [3, 1]
    assert house.call("DELETE", f"/studies/{earlier['id']}").status_code == 204
    assert [found.name for found in related(house, study)] == [other["name"]]


def test_a_wider_space_takes_in_what_lay_outside(house, must, project, earlier):
    study = house.create(project=project, space=[X | {"high": 0.5}, Y], related=[earlier["name"]])
    assert [trial.number for trial in related(house, study)[0].trials] == [0, 1]
    change = {"space": [{"name": "x", "high": 1.0}]}
    must(house.patch(f"/studies/{study['id']}", change, headers={"If-Match": "*"}))
    assert [trial.number for trial in related(house, study)[0].trials] == [0, 1, 3]


def test_of_a_long_study_the_best_and_the_last_are_taken(house, must, project, monkeypatch):
    monkeypatch.setattr(relatives, "MOST_TRIALS", 6)
    earlier = house.create(project=project, space=[X, Y])
    losses = [0.1, 0.9, 0.2, 0.8, 0.7, 0.3, 0.6, 0.5, 0.4, 0.05]
    trials = [done(i / 10, loss) for i, loss in enumerate(losses)]
    must(house.post(f"/studies/{earlier['id']}/trials", {"trials": trials}))
    (found,) = related(house, house.create(project=project, space=[X, Y], related="equal"))
    assert [trial.number for trial in found.trials] == [0, 2, 7, 8, 9]
