"""Edits of a space in mid-study: under If-Match, trials kept, the shelf cleared, and seen by every process."""

from __future__ import annotations

import uuid

import pytest

from frazil_server.trials.ledger import Ledger

LR = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0, "log": True}
OPTIMIZER = {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]}
WIDTH = {"name": "width", "type": "int", "low": 1, "high": 4}
SPACE = [LR, OPTIMIZER, WIDTH]


@pytest.fixture
def study(house):
    study = house.create(space=SPACE, constraints=["width * lr <= 3"])
    assert house.tell(house.lease(study), 0.5).is_success
    return house.study(study)


def edit(house, study, *changes, match="*"):
    headers = {} if match is None else {"If-Match": match}
    return house.patch(f"/studies/{study['id']}", {"space": list(changes)}, headers=headers)


def parameters(study) -> dict:
    return {item["name"]: item for item in study["space"]}


def test_a_range_widens_a_choice_is_added_and_a_parameter_disabled(house, must, study):
    changes = [
        {"name": "lr", "high": 2.0},
        {"name": "optimizer", "choices": ["adamw", "sgd", "lion"]},
        {"name": "width", "disabled": True, "value": 1},
    ]
    edited = must(edit(house, study, *changes, match=f'"{study["version"]}"'))
    now = parameters(edited)
    assert (now["lr"]["high"], now["optimizer"]["choices"]) == (2.0, ["adamw", "sgd", "lion"])
    assert (edited["version"], edited["constraints"]) == (study["version"] + 1, study["constraints"])
    assert edited["data_version"] > study["data_version"]
    assert house.study(study) == edited
    trials = house.ask(study, count=30)["trials"]
    assert {trial["params"]["width"] for trial in trials} == {1}
    assert {trial["params"]["optimizer"] for trial in trials} == {"adamw", "sgd", "lion"}
    must(
        house.post(
            f"/studies/{study['id']}/trials", {"trials": [{"params": {"lr": 1.5, "optimizer": "lion", "width": 1}}]}
        )
    )


def test_earlier_trials_are_kept_as_they_were(house, must, study):
    before = must(house.get(f"/studies/{study['id']}/trials"))
    must(edit(house, study, {"name": "width", "high": 9}))
    assert must(house.get(f"/studies/{study['id']}/trials")) == before


def test_an_edit_is_an_event_that_says_what_changed(house, must, study):
    must(edit(house, study, {"name": "lr", "high": 2.0}))
    last = must(house.get(f"/studies/{study['id']}/events:list"))["items"][-1]
    assert (last["kind"], last["data"]) == ("study.changed", {"space": [{"name": "lr", "high": 2.0}]})


def test_an_edit_must_say_which_version_it_edits(house, refused, study):
    refused(edit(house, study, {"name": "lr", "high": 2.0}, match=None), 428, "precondition_required")
    refused(edit(house, study, {"name": "lr", "high": 2.0}, match='"7"'), 412, "precondition_failed")
    assert house.study(study) == study


def test_the_shelf_is_cleared_and_the_last_fit_forgotten(house, must, study):
    statement = """INSERT INTO suggestions (study_id, params, data_version, why)
        VALUES (:id, '{"lr": 0.5, "optimizer": "sgd", "width": 3}', 99, '{}')"""
    house.sql(statement, id=study["id"])
    house.sql("INSERT INTO study_fits (study_id, data_version, fit) VALUES (:id, 1, '{}')", id=study["id"])
    must(edit(house, study, {"name": "lr", "high": 2.0}))
    assert house.sql("SELECT 1 FROM suggestions WHERE study_id = :id", id=study["id"]) == []
    assert house.sql("SELECT 1 FROM study_fits WHERE study_id = :id", id=study["id"]) == []


def test_another_process_sees_the_new_space_too(house, must):
    """One whose memory of the study is warm."""
    study = house.create(space=[WIDTH], policy={"name": "grid"})
    other = type(house)(house.database_url)
    try:
        path = f"/studies/{study['id']}"
        assert [trial["params"]["width"] for trial in other.ask(study, "a", count=9)["trials"]] == [1, 2, 3, 4]
        must(edit(house, study, {"name": "width", "high": 6}))
        assert [trial["params"]["width"] for trial in other.ask(study, "b", count=9)["trials"]] == [5, 6]
        body = {"trials": [{"params": {"width": 6}}]}
        must(house.post(f"{path}/trials", body))
    finally:
        other.close()


def test_a_study_that_was_exhausted_goes_on_in_a_wider_space(house, must):
    study = house.create(space=[WIDTH], policy={"name": "grid"})
    for trial in house.ask(study, count=9)["trials"]:
        must(house.tell(trial, 0.5))
    assert house.ask(study)["study_state"] == "completed"
    must(edit(house, study, {"name": "width", "high": 5}))
    assert house.lease(study)["params"] == {"width": 5}


def test_the_snapshot_keeps_its_trials_across_an_edit(house, must, study):
    services = house.app.state.services

    async def look():
        async with services.database.begin() as connection:
            ledger = await Ledger.open(connection, uuid.UUID(study["id"]), lock=False)
            seen = await services.snapshots.look(connection, ledger.study)
        services.snapshots.remember(ledger.study.id, seen)
        return seen

    before = house.run(look())
    must(edit(house, study, {"name": "lr", "high": 2.0}))
    after = house.run(look())
    assert after.trials == before.trials
    assert (after.definition.space.to_json()[0]["high"], before.definition.space.to_json()[0]["high"]) == (2.0, 1.0)
    assert house.run(look()).definition is after.definition, "and is kept from then on"


EDITS = {
    "narrower": ({"name": "lr", "high": 0.5}, "/space/0/high"),
    "a choice less": ({"name": "optimizer", "choices": ["adamw"]}, "/space/0/choices"),
    "another type": ({"name": "lr", "type": "int"}, "/space/0/type"),
    "another scale": ({"name": "lr", "log": False}, "/space/0/log"),
    "no such parameter": ({"name": "rl", "high": 2}, "/space/0/name"),
    "an absurd bound": ({"name": "lr", "high": 1e300}, "/space/0/high"),
    "a bound of NaN": ({"name": "lr", "high": float("nan")}, "/space/0/high"),
    "a bound in words": ({"name": "lr", "high": "2"}, "/space/0/high"),
    "disabled at nothing": ({"name": "width", "disabled": True, "value": 77}, "/space/0/value"),
    "no object": ("lr", "/space/0"),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_would_leave_trials_outside_is_refused(house, refused, study, what):
    change, pointer = EDITS[what]
    before = house.everything(study)
    refused(edit(house, study, change), 422, "space_invalid", pointer)
    assert house.everything(study) == before


def test_an_edit_without_changes_is_refused(house, refused, study):
    refused(edit(house, study), 422, "invalid", "/space")


def test_candidates_have_no_space_to_edit(house, refused):
    study = house.create(candidates=[{"lr": 0.5}, {"lr": 0.25}])
    refused(edit(house, study, {"name": "lr", "high": 2.0}), 422, "invalid", "/space")
