"""A trial is branched: another one goes on from where it stands, with parameters of its own."""

from __future__ import annotations

import json

import pytest

LR = {"name": "lr", "type": "float", "low": 0, "high": 1}
DROPOUT = {"name": "dropout", "type": "float", "low": 0, "high": 1}
EPOCHS = {"name": "epoch", "max": 10}
SCHEDULE = {"name": "plan", "type": "schedule", "kinds": ["constant", "linear", "wsd"], "peak": "lr"}


@pytest.fixture
def study(house):
    """Its policy grants up to steps 3 and 9, and goes on with the best of three."""
    return house.create(space=[LR, DROPOUT], resource={"name": "epoch", "max": 9, "min": 3}, policy={"name": "asha"})


@pytest.fixture
def trunk(house, must, study):
    """A trial that is frozen at step 3, with a curve."""
    trial = house.lease(study, "trunk")
    for step in (1, 2, 3):
        house.report(trial, step, value=1.0 / step, checkpoint={"uri": f"s3://trunk-{step}", "step": step})
    must(house.say(trial, ":pause", step=3))
    return trial


def add(house, study, **branch):
    return house.post(f"/studies/{study['id']}/trials", {"trials": [{"params": {}, **branch}]})


def branched(house, must, study, **branch):
    return must(add(house, study, **branch))["trials"][0]


def curve(house, must, trial):
    (found,) = must(house.get(f"/trials/{trial['id']}/curve"))["curves"]
    return [(point["step"], point["value"]) for point in found["points"]]


def test_a_branch_goes_on_from_its_parent_s_checkpoint_with_its_curve(house, must, study, trunk):
    before = house.study(study)["steps_used"]
    added = branched(house, must, study, parent=trunk["number"], params={"dropout": 0.5}, tags=["cooldown"])
    assert (added["state"], house.study(study)["steps_used"]) == ("PAUSED", before)
    leased = house.lease(study, "branch")
    assert leased["number"] == added["number"]
    assert leased["params"] == {"lr": trunk["params"]["lr"], "dropout": 0.5}
    assert (leased["from_step"], leased["until_step"], leased["max_step"]) == (3, 9, 9)
    assert leased["checkpoint"] == {"uri": "s3://trunk-3", "step": 3}
    assert leased["why"] == {"policy": "user", "phase": "branch", "parent": trunk["number"], "from_step": 3}
    assert curve(house, must, leased) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    answer = must(house.report(leased, 9, value=0.01))
    assert answer["decision"] == "stop"
    must(house.tell(leased))
    assert house.study(study)["steps_used"] == before + 6
    assert house.study(study)["best"] == {"number": added["number"], "value": 0.01}
    assert curve(house, must, trunk) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert house.trial(trunk)["state"] == "PAUSED"


def test_a_branch_begins_at_any_step_of_which_a_checkpoint_was_kept(house, must, study, trunk):
    early = {"uri": "s3://kept-2", "step": 2}
    added = branched(house, must, study, parent=trunk["number"], checkpoint=early, until_step=5)
    leased = house.lease(study, "branch")
    assert (leased["from_step"], leased["until_step"], leased["checkpoint"]) == (2, 5, early)
    assert curve(house, must, added) == [(1, 1.0), (2, 0.5)]
    assert house.trial(added)["objective"] == 0.5


def test_a_trunk_serves_many_horizons(house, must):
    study = house.create(space=[LR, SCHEDULE], resource=EPOCHS, policy={"name": "random"})
    trunk = house.lease(study, "trunk")
    house.report(trunk, 1, 2, 3, 4, checkpoint={"uri": "s3://4", "step": 4})
    must(house.say(trunk, ":release"))
    short = {"kind": "wsd", "peak": 0.1, "total_steps": 6, "decay_steps": 2, "decay_shape": "linear"}
    cooldown = {"kind": "table", "peak": 0.1, "total_steps": 10, "multipliers": [1, 1, 1, 1, 0.5, 0, 0, 0, 0, 0]}
    refused = add(house, study, parent=trunk["number"], params={"lr": 0.1, "plan": short})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].startswith("/trials/0/params/plan")
    branch = {"parent": trunk["number"], "params": {"lr": 0.1, "plan": cooldown}, "until_step": 6}
    added = must(add(house, study, **branch))["trials"][0]
    params = house.trial(added)["params"]
    assert params["plan"]["multipliers"] == cooldown["multipliers"]


def test_what_a_branch_was_branched_from_is_remembered_when_it_is_thawed(house, must, study, trunk):
    early = {"uri": "s3://kept-2", "step": 2}
    branched(house, must, study, parent=trunk["number"], checkpoint=early, until_step=3)
    branch = house.lease(study, "branch")
    house.report(branch, 3, value=0.01, checkpoint={"uri": "s3://branch-3", "step": 3})
    must(house.say(branch, ":pause", step=3))
    other = house.lease(study, "other")
    house.report(other, 3, value=2.0)
    must(house.say(other, ":pause", step=3))
    thawed = house.lease(study, "again")
    assert (thawed["number"], thawed["from_step"], thawed["until_step"]) == (branch["number"], 3, 9)
    assert thawed["why"]["policy"] == "asha"
    assert (thawed["why"]["parent"], thawed["why"]["from_step"]) == (trunk["number"], 2)


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────────────


def told(house, must, study):
    """What a worker who reaches the end of its first grant is told."""
    trial = house.lease(study, "inspector")
    answer = must(house.report(trial, 3, value=1e9))
    must(house.say(trial, ":pause", step=3))
    return answer["obsolete_checkpoints"]


def test_a_checkpoint_that_a_branch_still_needs_is_not_obsolete(house, must, study):
    trunk = house.lease(study, "trunk")
    house.report(trunk, 2, value=1.0, checkpoint={"uri": "s3://trunk-2", "step": 2})
    branched(house, must, study, parent=trunk["number"])
    branch = house.lease(study, "branch")
    must(house.report(trunk, 3, value=0.5, checkpoint={"uri": "s3://trunk-3", "step": 3}))
    assert told(house, must, study) == []
    must(house.report(branch, 9, value=0.1, checkpoint={"uri": "s3://branch-9", "step": 9}))
    must(house.tell(branch))
    assert told(house, must, study) == ["s3://trunk-2"]


def test_a_checkpoint_that_its_parent_still_needs_is_not_obsolete(house, must, study, trunk):
    assert told(house, must, study) == []  # the trunk's earlier ones were told to itself
    branched(house, must, study, parent=trunk["number"])
    branch = house.lease(study, "branch")
    answer = must(house.report(branch, 9, value=0.5, checkpoint={"uri": "s3://branch-9", "step": 9}))
    assert answer["obsolete_checkpoints"] == []
    must(house.tell(branch))
    assert told(house, must, study) == []
    assert house.trial(trunk)["checkpoint"]["uri"] == "s3://trunk-3"


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("branch", "field"),
    [
        ({"parent": 99}, "parent"),
        ({"parent": 0, "state": "COMPLETED", "values": {"loss": 1}}, "state"),
        ({"parent": 0, "params": {"lr": 7}}, "params/lr"),
        ({"parent": 0, "params": {"width": 7}}, "params/width"),
        ({"parent": 0, "checkpoint": {"uri": "s3://x", "step": 4}}, "checkpoint/step"),
        ({"parent": 0, "until_step": 3}, "until_step"),
        ({"parent": 0, "until_step": 10}, "until_step"),
        ({"params": {"lr": 0.5, "dropout": 0}, "until_step": 5}, "until_step"),
        ({"params": {"lr": 0.5, "dropout": 0}, "checkpoint": {"uri": "s3://x", "step": 1}}, "checkpoint"),
    ],
)
def test_what_cannot_be_branched_is_refused_and_nothing_is_added(house, refused, study, trunk, branch, field):
    response = add(house, study, **branch)
    refused(response, 422, response.json()["code"], f"/trials/0/{field}")
    assert house.study(study)["trials"] == 1


def test_a_run_without_a_checkpoint_or_without_an_end_cannot_be_branched(house, refused, study):
    house.report(house.lease(study), 1)
    problem = refused(add(house, study, parent=0), 422, "invalid", "/trials/0/parent")
    assert "checkpoint" in problem["detail"]
    for resource in None, {"name": "samples", "max": 9, "kind": "restart"}:
        other = house.create(resource=resource)
        house.lease(other)
        refused(add(house, other, parent=0), 422, "invalid", "/trials/0/parent")


def test_candidates_are_tried_once(house, refused, must):
    study = house.create(resource=EPOCHS, candidates=[{"lr": 0.1}, {"lr": 0.2}])
    trial = house.lease(study)
    house.report(trial, 1, checkpoint={"uri": "s3://1", "step": 1})
    refused(add(house, study, parent=0), 422, "invalid", "/trials/0/parent")


def test_branches_travel_with_the_study(house, must, study, trunk):
    branched(house, must, study, parent=trunk["number"], params={"dropout": 0.5})
    lines = house.get(f"/studies/{study['id']}/export?format=jsonl").text
    exported = [json.loads(line) for line in lines.splitlines()]
    found = next(line for line in exported if line.get("number") == 1)
    assert found["why"]["parent"] == trunk["number"]
    assert found["checkpoint"] == {"uri": "s3://trunk-3", "step": 3}


# ── branches that a policy orders ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def population(house):
    return house.create(
        space=[LR, DROPOUT],
        resource=EPOCHS,
        policy={"name": "pbt", "population": 4, "interval": 2, "truncation": 0.3},
    )


def freeze_all(house, must, study, *, checkpoints=True):
    """Trains four trials to the end of their first interval; the last one is given up."""
    for number in range(4):
        trial = house.lease(study, f"w{number}")
        saved = {"checkpoint": {"uri": f"s3://{number}", "step": 2}} if checkpoints else {}
        answer = must(house.report(trial, 1, 2, value=1.0 + number, **saved))
        if answer["decision"] == "stop":
            must(house.tell(trial, state="PRUNED"))
        else:
            must(house.say(trial, ":pause", step=2))


def test_the_worst_of_a_population_is_replaced_by_a_branch_of_the_best(house, must, population):
    freeze_all(house, must, population)
    branch = house.lease(population, "again")
    assert (branch["number"], branch["from_step"], branch["until_step"]) == (4, 2, 4)
    why = branch["why"]
    assert (why["policy"], why["phase"], why["from_step"]) == ("pbt", "explore", 2)
    parent = why["parent"]
    assert parent in (0, 1)
    assert branch["checkpoint"] == {"uri": f"s3://{parent}", "step": 2}
    assert curve(house, must, branch) == [(1, 1.0 + parent), (2, 1.0 + parent)]
    assert house.trial(branch)["objective"] == 1.0 + parent
    assert must(house.report(branch, 3, 4, value=0.1))["decision"] == "pause"
    resumed = house.lease(population, "other")
    assert resumed["number"] < 3
    assert resumed["why"]["phase"] == "exploit"


def test_params_of_a_run_without_a_checkpoint_are_trained_from_the_start(house, must, population):
    freeze_all(house, must, population, checkpoints=False)
    branch = house.lease(population, "again")
    assert (branch["from_step"], branch["checkpoint"]) == (0, None)
    assert branch["why"]["from_step"] == 0
    assert must(house.get(f"/trials/{branch['id']}/curve"))["curves"] == []


def test_a_branch_that_waits_on_the_shelf_is_handed_out_as_one(house, must, population):
    """Suggestions are computed ahead where asks come in numbers: what is left over waits."""
    freeze_all(house, must, population)
    trials = house.ask(population, count=3, worker="many")["trials"]
    assert [trial["why"]["phase"] for trial in trials] == ["explore", "exploit", "exploit"]
    assert len({trial["number"] for trial in trials}) == 3
