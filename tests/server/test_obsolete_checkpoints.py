"""Checkpoints that nobody will need again are told once, and never one that somebody might."""

from __future__ import annotations

import pytest

from frazil_server.trials import settle

EPOCHS = {"name": "epoch", "max": 9}


@pytest.fixture
def study(house):
    """With grants up to steps 1, 3 and 9."""
    return house.create(resource=EPOCHS, policy={"name": "asha"})


def saved(trial, step, name=None):
    return {"uri": name or f"s3://{trial['number']}-{step}", "step": step}


def told(house, must, study):
    """What a worker who reaches the end of its first grant is told."""
    trial = house.lease(study, "inspector")
    answer = must(house.report(trial, 1, value=1e9))
    must(house.say(trial, ":pause", step=1))
    return answer["obsolete_checkpoints"]


def freeze(house, must, trial, step, name=None):
    must(house.say(trial, ":pause", step=step, checkpoint=saved(trial, step, name)))


def test_what_a_later_checkpoint_supersedes_is_obsolete_and_told_once(house, must, study):
    trial = house.lease(study)
    answer = must(house.report(trial, 1, value=1.0, checkpoint=saved(trial, 1)))
    assert answer["obsolete_checkpoints"] == []
    must(house.say(trial, ":pause", step=1, checkpoint=saved(trial, 1, "s3://again")))
    assert told(house, must, study) == ["s3://0-1"]
    assert told(house, must, study) == []


def test_the_worker_that_supersedes_is_told_at_once(house, must, study):
    trial = house.lease(study)
    must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0)))
    assert must(house.report(trial, 1, checkpoint=saved(trial, 1)))["obsolete_checkpoints"] == ["s3://0-0"]


def test_a_checkpoint_named_by_a_heartbeat_supersedes_as_well(house, must, study):
    trial = house.lease(study)
    must(house.report(trial, 1, value=1.0))
    for name in ("a", "b", "b", "c"):
        must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 1, name)))
    assert told(house, must, study) == ["a", "b"]
    assert told(house, must, study) == []


def test_a_name_that_is_used_again_is_not_obsolete(house, must, study):
    trial = house.lease(study)
    for name in ("a", "b", "a"):
        must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0, name)))
    assert told(house, must, study) == ["b"]
    must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0, "c")))
    assert told(house, must, study) == ["a"]


@pytest.mark.parametrize("state", ["PRUNED", "FAILED", "INFEASIBLE", "COMPLETED"])
def test_a_finished_trial_needs_no_checkpoint(house, must, study, state):
    trial = house.lease(study)
    must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0)))
    must(house.report(trial, 1))
    must(house.tell(trial, 0.5, state=state))
    assert told(house, must, study) == ["s3://0-0"]


@pytest.mark.parametrize(("state", "obsolete"), [("COMPLETED", []), ("PRUNED", ["s3://0-1"])])
def test_the_checkpoint_that_holds_what_a_completed_trial_came_to_is_kept(house, must, study, state, obsolete):
    trial = house.lease(study)
    must(house.report(trial, 1, checkpoint=saved(trial, 1)))
    must(house.tell(trial, 0.5, state=state))
    assert told(house, must, study) == obsolete


def test_what_the_last_model_superseded_is_obsolete(house, must, study):
    trial = house.lease(study)
    for name in ("a", "b"):
        must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0, name)))
    must(house.tell(trial, 0.5))
    assert house.trial(trial)["state"] == "COMPLETED"
    assert told(house, must, study) == ["a"]


def test_the_last_model_is_kept_though_its_name_was_obsolete_before(house, must, study):
    trial = house.lease(study)
    for name in ("a", "b", "a"):
        must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0, name)))
    must(house.tell(trial, 0.5))
    assert told(house, must, study) == ["b"]


def test_a_frozen_or_lost_trial_needs_its_checkpoint(house, must, study):
    frozen, lost = house.lease(study, "v"), house.lease(study, "w")
    must(house.report(frozen, 1, value=2.0))
    must(house.say(frozen, ":pause", step=1, checkpoint=saved(frozen, 1)))
    must(house.say(lost, ":heartbeat", checkpoint=saved(lost, 0)))
    house.clock.advance(3600)
    assert told(house, must, study) == []


def test_a_trial_that_its_workers_kill_needs_none_either(house, must, study):
    trial = house.lease(study)
    must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0)))
    for _ in range(3):
        house.clock.advance(3600)
        house.ask(study, "next")
    assert house.trial(trial)["state"] == "FAILED"
    assert told(house, must, study) == ["s3://0-0"]


def test_no_answer_tells_too_many(house, must, study, monkeypatch):
    monkeypatch.setattr(settle, "MOST_OBSOLETE", 3)
    trial = house.lease(study)
    for i in range(6):
        must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0, str(i))))
    assert told(house, must, study) == ["0", "1", "2"]
    assert told(house, must, study) == ["3", "4"]


def test_every_study_is_told_of_its_own(house, must, study):
    other = house.create(resource=EPOCHS, policy={"name": "asha"})
    trial = house.lease(other)
    must(house.say(trial, ":heartbeat", checkpoint=saved(trial, 0)))
    must(house.tell(trial, 0.5, state="PRUNED"))
    assert told(house, must, study) == []
    assert told(house, must, other) == ["s3://0-0"]
