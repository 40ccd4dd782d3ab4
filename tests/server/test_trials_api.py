"""The life of trials over HTTP: asked for, reported, frozen, thawed, lost, told, added, listed and corrected."""

from __future__ import annotations

import asyncio
import math
import uuid
from datetime import timedelta

import pytest

from frazil_server.trials.commands import Ask, Heartbeat, Release, Tell
from frazil_server.trials.rules import Told
from frazil_tuner.history import TrialState

EPOCHS = {"name": "epoch", "max": 10}
MAXIMIZE = [{"metric": "loss", "direction": "maximize"}]
BEST = [{"metric": "loss", "summary": "best"}]


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_ask_leases_as_many_new_trials_as_it_counts(house):
    study = house.create(resource=EPOCHS)
    answer = house.ask(study, "host:1", count=3, lease_seconds=90)
    assert [trial["number"] for trial in answer["trials"]] == [0, 1, 2]
    assert (answer["study_state"], answer["retry_after"]) == ("active", None)
    trial = answer["trials"][1]
    assert (trial["state"], trial["from_step"], trial["until_step"], trial["max_step"]) == ("RUNNING", 0, 10, 10)
    assert trial["checkpoint"] is None
    assert 0.001 <= trial["params"]["lr"] <= 1.0
    assert trial["lease"]["expires_at"] == (house.clock.now + timedelta(seconds=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert trial["why"]["policy"] == "random"
    assert {"seed", "data_version"} <= set(trial["why"])
    stored = house.trial(trial)
    assert (stored["worker"], stored["attempt"], stored["state"]) == ("host:1", 1, "RUNNING")
    assert "lease" not in stored
    assert trial["lease"]["token"] not in house.get(f"/studies/{study['id']}/trials").text, "a token is its holder's"


def test_a_worker_that_asks_again_gets_its_live_leases_back_and_then_new_ones(house):
    study = house.create()
    first = house.ask(study, "a", count=2)["trials"]
    house.clock.advance(60)
    again = house.ask(study, "a", count=3)["trials"]
    assert [t["lease"]["token"] for t in again[:2]] == [t["lease"]["token"] for t in first]
    assert again[0]["lease"]["expires_at"] > first[0]["lease"]["expires_at"]
    assert [t["number"] for t in again] == [0, 1, 2]
    assert house.lease(study, "b")["number"] == 3


def test_equal_asks_of_one_worker_at_the_same_moment_are_one_ask_repeated(house, must):
    study = house.create()
    path = f"/api/v1/studies/{study['id']}/trials:ask"

    async def both():
        words = [house.client.post(path, json={"worker": "a", "count": count}) for count in (1, 2, 1)]
        return await asyncio.gather(*words, house.client.post(path, json={"worker": "b"}))

    *a, b = [[t["number"] for t in must(answer)["trials"]] for answer in house.run(both())]
    assert a == [[0], [0, 1], [0]]
    assert b == [2]


def test_workers_without_a_name_never_share_a_trial(house, must):
    study = house.create()
    path = f"/studies/{study['id']}/trials:ask"
    numbers = [must(house.post(path, {}))["trials"][0]["number"] for _ in range(3)]
    assert numbers == [0, 1, 2]


def test_candidates_are_handed_out_once_each_and_then_the_study_is_completed(house):
    candidates = [{"lr": 0.5}, {"lr": 0.25}, {"lr": 0.125}]
    study = house.create(candidates=candidates)
    assert study["candidates"] == 3
    trials = house.ask(study, count=5)["trials"]
    assert sorted(trial["params"]["lr"] for trial in trials) == [0.125, 0.25, 0.5]
    assert {house.trial(trial)["candidate"] for trial in trials} == {0, 1, 2}
    for trial in trials:
        house.tell(trial, 1.0)
    assert house.ask(study)["study_state"] == "completed"


# ── reporting ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_extends_the_lease_and_stores_every_metric(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study, lease_seconds=50)
    house.clock.advance(40)
    measured = [
        {"step": 1, "metrics": {"loss": 0.5, "grad_norm": 3.0}, "elapsed": 1.5},
        {"step": 2, "metrics": {"loss": "nan", "accuracy": "-inf"}},
    ]
    answer = must(house.say(trial, "/reports", measurements=measured))
    assert (answer["decision"], answer["until_step"], answer["schedule"]) == ("continue", 10, None)
    house.clock.advance(49)
    assert must(house.say(trial, ":heartbeat"))["lease_expires_at"] > answer["lease_expires_at"]
    curves = must(house.get(f"/trials/{trial['id']}/curve"))["curves"]
    assert curves == [
        {"metric": "accuracy", "points": [{"step": 2, "value": "-inf", "elapsed": None}]},
        {"metric": "grad_norm", "points": [{"step": 1, "value": 3.0, "elapsed": 1.5}]},
        {"metric": "loss", "points": [{"step": 1, "value": 0.5, "elapsed": 1.5},
                                      {"step": 2, "value": "nan", "elapsed": None}]},
    ]  # fmt: skip
    assert house.trial(trial)["last_step"] == 2


def test_a_repeated_report_gets_the_same_answer_and_changes_nothing(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study)
    first = must(house.report(trial, 1, 2))
    before = house.study(study)
    assert must(house.report(trial, 1, 2)) == first
    assert house.curve(trial) == [(1, 1.0), (2, 0.5)]
    assert house.study(study) == before


def test_a_report_without_a_decision_leaves_the_study_s_row_alone(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study)
    before = house.study(study)
    must(house.report(trial, 1))
    assert house.study(study) == before


def test_a_run_that_reaches_the_maximum_is_told_to_stop_and_its_curve_is_its_value(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study)
    answer = must(house.report(trial, *range(1, 11)))
    assert (answer["decision"], answer["until_step"]) == ("stop", 10)
    assert must(house.tell(trial)) == {"id": trial["id"], "number": 0, "state": "COMPLETED", "study_state": "active"}
    stored = house.trial(trial)
    assert (stored["objective"], stored["values"], stored["last_step"]) == (0.1, {}, 10)
    assert stored["finished_at"] is not None


# ── freezing and thawing ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_paused_trial_resumes_where_it_stopped(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study, "a")
    must(house.report(trial, 1, 2, 3, 4))
    must(house.say(trial, ":pause", step=4, checkpoint={"uri": "s3://c/3", "step": 3}))
    frozen = house.trial(trial)
    assert (frozen["state"], frozen["checkpoint"]) == ("PAUSED", {"uri": "s3://c/3", "step": 3})
    thawed = house.lease(study, "b")
    assert thawed["id"] == trial["id"]
    assert (thawed["from_step"], thawed["until_step"]) == (3, 10)
    assert thawed["checkpoint"] == {"uri": "s3://c/3", "step": 3}
    assert thawed["lease"]["token"] != trial["lease"]["token"]
    must(house.report(thawed, 4, value=9.0))
    assert house.curve(trial) == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)], "what was measured first stays"
    assert house.study(study)["steps_used"] == 4 + 7, "step 4 was trained twice"


def test_a_released_trial_without_a_checkpoint_starts_again_from_the_beginning(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study, "a")
    must(house.report(trial, 1, 2))
    assert must(house.say(trial, ":release"))["state"] == "QUEUED"
    again = house.lease(study, "b")
    assert (again["id"], again["from_step"], again["checkpoint"]) == (trial["id"], 0, None)
    assert house.curve(trial) == [(1, 1.0), (2, 0.5)]


def test_a_trial_of_a_restart_resource_begins_anew_in_spite_of_its_checkpoint(house, must):
    study = house.create(resource=EPOCHS | {"kind": "restart"})
    trial = house.lease(study)
    must(house.report(trial, 1, 2))
    must(house.say(trial, ":pause", checkpoint={"uri": "file:///c", "step": 2}))
    again = house.lease(study)
    assert (again["id"], again["from_step"], again["checkpoint"]) == (trial["id"], 0, None)


def test_a_checkpoint_noted_by_a_report_or_a_heartbeat_is_where_the_next_worker_begins(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study, "a", lease_seconds=10)
    must(house.report(trial, 1, 2, checkpoint={"uri": "file:///2", "step": 2}))
    must(house.report(trial, 3, 4))
    must(house.say(trial, ":heartbeat", checkpoint={"uri": "file:///3", "step": 3}))
    house.clock.advance(11)
    again = house.lease(study, "b")
    assert (again["id"], again["from_step"], again["checkpoint"]["uri"]) == (trial["id"], 3, "file:///3")


def test_asha_pauses_the_worse_and_thaws_what_deserves_it(house, must):
    study = house.create(resource=EPOCHS | {"max": 9}, policy={"name": "asha", "eta": 3})
    trials = house.ask(study, "a", count=3)["trials"]
    assert {trial["until_step"] for trial in trials} == {1}
    for value, trial in zip((3.0, 1.0, 2.0), trials, strict=True):
        answer = must(house.report(trial, 1, value=value))
        assert answer == must(house.report(trial, 1, value=value)), "asked twice, decided once"
        if answer["decision"] == "pause":
            must(house.say(trial, ":pause", checkpoint={"uri": "file:///c", "step": 1}))
    assert answer["decision"] == "pause"
    thawed = house.lease(study, "b")
    assert (thawed["number"], thawed["from_step"], thawed["until_step"]) == (1, 1, 3)


@pytest.mark.parametrize(("state", "decision"), [("paused", "pause"), ("stopped", "stop")])
def test_a_study_paused_or_stopped_in_mid_run_says_so_to_its_runs(house, must, state, decision):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study)
    must(house.report(trial, 1))
    must(house.patch(f"/studies/{study['id']}", {"state": state}))
    assert must(house.say(trial, ":heartbeat"))["decision"] == decision
    answer = must(house.report(trial, 2))
    assert (answer["decision"], state in answer["reason"]) == (decision, True)
    if decision == "stop":
        assert must(house.tell(trial, state="PRUNED"))["state"] == "PRUNED"
    else:
        must(house.say(trial, ":pause", checkpoint={"uri": "file:///c", "step": 2}))
        must(house.patch(f"/studies/{study['id']}", {"state": "active"}))
        assert house.lease(study)["from_step"] == 2, "it goes on without asking the policy"


# ── losing a worker ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("checkpoint", [None, {"uri": "file:///c", "step": 2}])
def test_a_lost_worker_s_trial_goes_back_in_line_with_its_curve(house, must, refused, checkpoint):
    study = house.create(resource=EPOCHS, budget={"trials": 1})
    trial = house.lease(study, "a", lease_seconds=30)
    must(house.report(trial, 1, 2, checkpoint=checkpoint))
    house.clock.advance(29.9)
    assert house.ask(study, "b")["trials"] == [], "the lease still holds"
    house.clock.advance(0.1)
    refused(house.tell(trial, 0.5), 409, "lease_lost")
    assert house.trial(trial)["state"] == ("QUEUED" if checkpoint is None else "PAUSED")
    assert house.curve(trial) == [(1, 1.0), (2, 0.5)]
    again = house.lease(study, "b")
    assert (again["id"], again["from_step"]) == (trial["id"], 0 if checkpoint is None else 2)
    kinds = [event["kind"] for event in must(house.get(f"/studies/{study['id']}/events:list"))["items"]]
    assert kinds[-2:] == ["trial.lost", "trial.resumed"]


def test_a_lease_that_ran_out_is_handed_out_by_the_very_next_ask(house):
    study = house.create(budget={"trials": 1})
    trial = house.lease(study, "a", lease_seconds=5)
    house.clock.advance(6)
    assert house.lease(study, "b")["id"] == trial["id"]
    assert house.study(study)["state"] == "active"


def test_every_word_of_an_old_holder_is_a_clean_lease_lost(house, must, refused):
    study = house.create(resource=EPOCHS)
    old = house.lease(study, "a", lease_seconds=5)
    house.clock.advance(6)
    new = house.lease(study, "b")
    assert new["id"] == old["id"]
    before = house.everything(study)
    for word, body in {":heartbeat": {}, ":pause": {}, ":release": {}, ":tell": {"values": {"loss": 1}}}.items():
        refused(house.say(old, word, **body), 409, "lease_lost")
    assert house.everything(study) == before
    must(house.report(new, 1))


@pytest.mark.parametrize("key", [None, "k-1"])
def test_facts_that_come_late_are_kept_where_nobody_has_reported_yet(house, must, refused, key):
    study = house.create(resource=EPOCHS)
    old = house.lease(study, "a", lease_seconds=5)
    must(house.report(old, 1))
    house.clock.advance(6)
    measured = [{"step": s, "metrics": {"loss": 7.0}} for s in (1, 2)]
    body = {"lease": old["lease"]["token"], "measurements": measured}
    headers = {} if key is None else {"Idempotency-Key": key}
    refused(house.post(f"/trials/{old['id']}/reports", body, headers=headers), 409, "lease_lost")
    assert house.curve(old) == [(1, 1.0), (2, 7.0)]
    new = house.lease(study, "b")
    must(house.report(new, 1, 2, 3))
    assert house.curve(old) == [(1, 1.0), (2, 7.0), (3, 1 / 3)]


def test_a_trial_that_loses_three_workers_without_progress_has_failed(house, must):
    study = house.create(resource=EPOCHS, budget={"trials": 1})
    for _ in range(3):
        trial = house.lease(study, lease_seconds=1)
        house.clock.advance(2)
    assert house.ask(study)["study_state"] == "completed"
    stored = house.trial(trial)
    assert (stored["state"], stored["attempt"]) == ("FAILED", 3)
    assert "3 times in a row without progress" in stored["reason"]
    assert house.study(study)["steps_used"] == 0


def test_progress_forgives_earlier_losses(house, must):
    study = house.create(resource=EPOCHS, budget={"trials": 1})
    for step in (None, None, 1, None, None):
        trial = house.lease(study, lease_seconds=1)
        if step:
            must(house.report(trial, step, checkpoint={"uri": "file:///c", "step": 1}))
        house.clock.advance(2)
    assert house.lease(study)["id"] == trial["id"]


def in_one_batch(house, study, *commands):
    """What the desk answers to commands that wait together, and are served by one transaction."""

    async def submit():
        desk, study_id = house.app.state.services.desk, uuid.UUID(study["id"])
        return await asyncio.gather(*[desk.submit(study_id, command) for command in commands], return_exceptions=True)

    return house.run(submit())


def lease_of(trial):
    return uuid.UUID(trial["id"]), trial["lease"]["token"]


def test_a_trial_released_in_the_same_batch_is_handed_out_and_the_study_goes_on(house):
    study = house.create(budget={"trials": 1})
    trial = house.lease(study, "a")
    released, answer = in_one_batch(house, study, Release(*lease_of(trial)), Ask("b", 1, 60.0))
    assert released["state"] == "QUEUED"
    assert [str(leased["id"]) for leased in answer["trials"]] == [trial["id"]]
    assert answer["study_state"] == "active"


def test_each_word_of_a_batch_is_answered_as_if_it_had_come_alone(house):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study, lease_seconds=60)
    told = Told(TrialState.PRUNED)
    alive, ended, late = in_one_batch(
        house, study, Heartbeat(*lease_of(trial)), Tell(*lease_of(trial), told), Heartbeat(*lease_of(trial))
    )
    assert (alive["decision"], alive["lease_expires_at"]) == ("continue", house.clock.now + timedelta(seconds=60))
    assert ended["state"] == "PRUNED"
    assert late.code == "trial_finished"


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_budget_of_trials_is_never_exceeded_and_resumptions_are_free(house, must):
    study = house.create(resource=EPOCHS, budget={"trials": 2})
    assert len(house.ask(study, "a", count=5)["trials"]) == 2
    (first, _) = house.ask(study, "a", count=2)["trials"]
    must(house.say(first, ":release"))
    assert [trial["id"] for trial in house.ask(study, "b", count=5)["trials"]] == [first["id"]]
    assert house.study(study)["started"] == 2


def test_a_budget_of_steps_clips_the_last_grant_and_pauses_at_its_end(house, must):
    study = house.create(resource=EPOCHS, budget={"resource": 14})
    first, second = house.ask(study, count=3)["trials"]
    assert (first["until_step"], second["until_step"]) == (10, 4)
    assert house.study(study)["steps_used"] == 14
    answer = must(house.report(second, 1, 2, 3, 4))
    assert (answer["decision"], "budget" in answer["reason"]) == ("pause", True)
    must(house.say(second, ":pause", checkpoint={"uri": "file:///c", "step": 4}))
    must(house.report(first, 1, 2, 3))
    must(house.tell(first, state="PRUNED"))
    assert house.study(study)["steps_used"] == 7, "seven granted steps came back"
    again = house.lease(study)
    assert (again["id"], again["from_step"], again["until_step"]) == (second["id"], 4, 10)


def test_a_budget_of_seconds_counts_from_the_first_ask_on_the_server_s_clock(house, must):
    study = house.create(resource=EPOCHS, budget={"seconds": 100})
    house.clock.advance(1000)
    first = house.lease(study, "a", lease_seconds=500)
    house.clock.advance(99)
    assert house.lease(study, "b", lease_seconds=500)["number"] == 1
    house.clock.advance(1)
    assert house.ask(study, "c")["trials"] == []
    assert must(house.report(first, 1))["decision"] == "continue", "the present grant may be used"
    assert must(house.report(first, *range(1, 11)))["decision"] == "stop"


# ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_told_twice_alike_is_told_once_and_otherwise_a_conflict(house, must, refused):
    study = house.create()
    trial = house.lease(study)
    first = must(house.tell(trial, {"mean": 0.5, "sem": 0.1}, cost=12.5, reason="done"))
    before = house.everything(study)
    assert must(house.tell(trial, {"mean": 0.5, "sem": 0.1}, cost=12.5, reason="done")) == first
    refused(house.tell(trial, 0.6), 409, "trial_finished")
    refused(house.tell(trial, 0.5, state="FAILED"), 409, "trial_finished")
    refused(house.report(trial, 1), 409, "trial_finished")
    assert house.everything(study) == before
    stored = house.trial(trial)
    assert stored["values"] == {"loss": {"mean": 0.5, "sem": 0.1}}
    assert (stored["objective"], stored["cost"], stored["reason"]) == (0.5, 12.5, "done")


def test_a_completed_trial_needs_its_objective_from_somewhere(house, must, refused):
    study = house.create()
    trial = house.lease(study)
    must(house.say(trial, "/reports", measurements=[{"step": 1, "metrics": {"lr": 0.1}}]))
    refused(house.tell(trial), 422, "value_missing", "/values/loss")
    assert house.trial(trial)["state"] == "RUNNING"
    must(house.tell(trial, state="FAILED", reason="out of memory"))
    assert house.trial(trial)["objective"] is None


def test_a_diverged_value_is_kept_but_never_the_best(house, must):
    study = house.create(objectives=MAXIMIZE)
    for value in (0.5, "nan", "inf"):
        must(house.tell(house.lease(study), value))
    items = must(house.get(f"/studies/{study['id']}/trials"))["items"]
    assert [trial["objective"] for trial in items] == [0.5, "nan", "inf"]
    best = must(house.get(f"/studies/{study['id']}/best"))
    assert best["observed"]["trial"]["number"] == 0
    assert best["recommended"]["mean"] == {"loss": 0.5}


# ── adding ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_enqueued_trial_is_the_next_to_be_handed_out(house, must):
    study = house.create(resource=EPOCHS, policy={"name": "asha"})
    given = {"params": {"lr": 0.5}, "notes": "the paper's", "tags": ["paper", "baseline"]}
    (added,) = must(house.post(f"/studies/{study['id']}/trials", {"trials": [given]}))["trials"]
    assert (added["number"], added["state"], added["study_state"]) == (0, "QUEUED", "active")
    trial = house.lease(study)
    assert (trial["id"], trial["params"], trial["from_step"], trial["until_step"]) == (added["id"], {"lr": 0.5}, 0, 1)
    stored = house.trial(trial)
    assert (stored["notes"], stored["tags"], stored["why"]) == (given["notes"], given["tags"], {"policy": "user"})


def curve(*values):
    return [{"step": step, "metrics": {"loss": value}} for step, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("objective", "trial", "value"),
    [
        ({}, {"curve": curve(3.0, 1.0, 2.0)}, 2.0),
        ({"summary": "best"}, {"curve": curve(3.0, 1.0, 2.0)}, 1.0),
        ({"summary": "best", "direction": "maximize"}, {"curve": curve(2.0, 3.0, 1.0)}, 3.0),
        ({"summary": "best"}, {"curve": curve(3.0, "-inf", "nan")}, 3.0),
        ({}, {"curve": curve(3.0, "nan")}, "nan"),
        ({}, {"curve": curve(3.0), "values": {"loss": 0.5}}, 0.5),
        ({}, {"values": {"loss": {"mean": 0.25, "sem": 0.0}}}, 0.25),
        ({}, {"values": {"loss": "inf"}}, "inf"),
        ({}, {"values": {"loss": 0.5}, "state": "INFEASIBLE"}, None),
        ({}, {"curve": curve(0.5), "state": "PRUNED"}, 0.5),
    ],
)
def test_a_finished_trial_is_added_with_its_curve_and_its_value_is_the_objective_s(
    house, must, objective, trial, value
):
    study = house.create(objectives=[{"metric": "loss"} | objective], resource=EPOCHS)
    body = {"trials": [{"params": {"lr": 0.5}, "state": "COMPLETED"} | trial]}
    (added,) = must(house.post(f"/studies/{study['id']}/trials", body))["trials"]
    stored = house.trial(added)
    assert stored["objective"] == value
    assert stored["state"] == trial.get("state", "COMPLETED")
    points = [(point["step"], point["metrics"]["loss"]) for point in trial.get("curve", [])]
    assert house.curve(added) == points
    assert stored["last_step"] == len(points)
    assert (house.study(study)["steps_used"], house.study(study)["started"]) == (0, 0)


def test_trials_are_added_all_or_none(house, refused):
    study = house.create(resource=EPOCHS)
    before = house.everything(study)
    good = {"params": {"lr": 0.5}}
    for bad, pointer in [
        ({"params": {"lr": 5}}, "/trials/1/params/lr"),
        ({"params": {}}, "/trials/1/params/lr"),
        (good | {"values": {"loss": 1}}, "/trials/1/values"),
        (good | {"state": "COMPLETED"}, "/trials/1/values/loss"),
        (good | {"state": "COMPLETED", "curve": [{"step": 11, "metrics": {"loss": 1}}]}, "/trials/1/curve/0/step"),
        (good | {"state": "PRUNED", "curve": curve(1.0) + curve(2.0)}, "/trials/1/curve/1/metrics/loss"),
        (good | {"state": "RUNNING"}, "/trials/1/state"),
    ]:
        response = house.post(f"/studies/{study['id']}/trials", {"trials": [good, bad]})
        assert response.status_code == 422
        refused(response, 422, response.json()["code"], pointer)
    assert house.everything(study) == before


def test_added_candidates_are_taken_and_each_stands_for_one_trial(house, must, refused):
    study = house.create(candidates=[{"lr": 0.5}, {"lr": 0.25}])
    path = f"/studies/{study['id']}/trials"
    must(house.post(path, {"trials": [{"params": {"lr": 0.5}, "state": "COMPLETED", "values": {"loss": 1}}]}))
    refused(house.post(path, {"trials": [{"params": {"lr": 0.5}}]}), 422, "invalid", "/trials/0/params")
    refused(house.post(path, {"trials": [{"params": {"lr": 0.1}}]}), 422, "invalid", "/trials/0/params")
    refused(house.post(path, {"trials": [{"params": {"lr": 0.25}}] * 2}), 422, "invalid", "/trials/1/params")
    assert [trial["params"] for trial in house.ask(study, count=5)["trials"]] == [{"lr": 0.25}]


@pytest.mark.parametrize("state", ["stopped", "completed"])
def test_nothing_is_enqueued_into_a_study_that_has_ended(house, must, refused, state):
    study = house.create(budget={"trials": 1})
    house.tell(house.lease(study), 0.5)
    assert house.ask(study)["study_state"] == "completed"
    if state == "stopped":
        must(house.patch(f"/studies/{study['id']}", {"state": "stopped"}))
    refused(house.post(f"/studies/{study['id']}/trials", {"trials": [{"params": {"lr": 1}}]}), 409, "study_not_active")


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def listed(house, must):
    """A study of seven trials, five of them finished, one with a value that is not finite; ties among the others."""
    study = house.create()
    trials = [
        {"params": {"lr": 0.5}, "state": "COMPLETED", "values": {"loss": value}} for value in (3, 1, "nan", 2, 1)
    ] + [{"params": {"lr": 0.1}}, {"params": {"lr": 0.2}}]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": trials}))
    return study


@pytest.mark.parametrize(
    ("query", "numbers", "total"),
    [
        ("", [0, 1, 2, 3, 4, 5, 6], 7),
        ("order_by=-number", [6, 5, 4, 3, 2, 1, 0], 7),
        ("order_by=objective", [1, 4, 3, 0], 7),
        ("order_by=-objective", [0, 3, 4, 1], 7),
        ("state=QUEUED", [5, 6], 2),
        ("state=COMPLETED&order_by=-number", [4, 3, 2, 1, 0], 5),
        ("state=FAILED", [], 0),
    ],
)
def test_trials_are_listed_in_any_order_on_pages_of_any_size(house, must, listed, query, numbers, total):
    for size in (1, 2, 100):
        found, token = [], None
        while True:
            after = f"&page_token={token}" if token else ""
            page = must(house.get(f"/studies/{listed['id']}/trials?{query}&page_size={size}{after}"))
            found += [trial["number"] for trial in page["items"]]
            assert page["total"] == total
            token = page["next_page_token"]
            if token is None:
                break
            assert len(page["items"]) == size
        assert found == numbers


def test_a_list_shows_the_fields_that_are_asked_for(house, must, listed):
    page = must(house.get(f"/studies/{listed['id']}/trials?fields=number,params&page_size=1"))
    assert page["items"] == [{"number": 0, "params": {"lr": 0.5}}]
    full = must(house.get(f"/studies/{listed['id']}/trials?page_size=1"))["items"][0]
    assert full == house.trial(full)


def test_the_best_is_the_best_seen_and_the_one_to_use(house, must):
    study = house.create(objectives=BEST, resource=EPOCHS)
    path = f"/studies/{study['id']}/best"
    assert must(house.get(path)) == {"observed": None, "recommended": None, "advice": None, "pareto": None}
    flash, steady = (house.lease(study, worker) for worker in "ab")
    must(house.report(flash, 1, value=0.1))
    must(house.tell(flash, state="PRUNED"))
    must(house.report(steady, *range(1, 11)))
    must(house.tell(steady, 0.2))
    best = must(house.get(path))
    assert best["observed"]["trial"] == house.trial(flash)
    assert best["observed"]["values"] == {"loss": 0.1}
    assert best["recommended"]["trial"]["number"] == steady["number"], "it was trained to the end"
    assert best["recommended"]["mean"] == {"loss": 0.2}


# ── correcting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_corrected_value_counts_and_the_old_one_stays_in_the_audit_log(house, must, refused):
    study = house.create()
    running, trial = house.ask(study, count=2)["trials"]
    must(house.tell(trial, 0.1))
    before = house.study(study)["data_version"]
    corrected = must(house.patch(f"/trials/{trial['id']}", {"values": {"loss": 0.9}, "notes": "typing error"}))
    assert (corrected["values"], corrected["objective"], corrected["notes"]) == ({"loss": 0.9}, 0.9, "typing error")
    assert house.study(study)["data_version"] > before
    event = must(house.get(f"/studies/{study['id']}/events:list"))["items"][-1]
    assert (event["kind"], event["trial"]) == ("trial.corrected", trial["number"])
    assert event["data"] == {"values": {"loss": 0.9}, "before": {"loss": 0.1}, "notes": "typing error"}
    refused(house.patch(f"/trials/{running['id']}", {"values": {"loss": 1}}), 409, "trial_state")
    refused(house.patch(f"/trials/{trial['id']}", {"values": {"lost": 1}}), 422, "metric_unknown", "/values/lost")


def test_an_excluded_trial_is_forgotten_and_can_be_brought_back(house, must):
    study = house.create()
    for value in (0.1, 0.5):
        trial = house.lease(study)
        must(house.tell(trial, value))
    path = f"/studies/{study['id']}"
    best = must(house.get(f"{path}/best"))["observed"]["trial"]
    must(house.patch(f"/trials/{best['id']}", {"excluded": True, "tags": ["bad data"]}))
    assert house.trial(best) == best | {"excluded": True, "tags": ["bad data"]}
    now = must(house.get(f"{path}/best"))
    assert now["observed"]["trial"]["number"] == now["recommended"]["trial"]["number"] == 1
    must(house.patch(f"/trials/{best['id']}", {"excluded": False, "tags": []}))
    assert must(house.get(f"{path}/best"))["observed"]["trial"] == best
    assert math.isclose(must(house.get(f"{path}/best"))["recommended"]["mean"]["loss"], 0.1)


def test_the_seconds_that_come_with_reports_can_be_the_cost(house):
    study = house.create(resource=EPOCHS, policy={"name": "freeze_thaw"}, cost="elapsed")
    trial = house.lease(study)
    measurement = {"step": 1, "metrics": {"loss": 1.0}, "elapsed": 2.5}
    assert house.say(trial, "/reports", measurements=[measurement]).is_success
    services = house.app.state.services
    _, seen = house.run(services.snapshots.committed(services.database, uuid.UUID(study["id"])))
    assert seen.trials[0].curves == {"loss": ((1, 1.0),), "elapsed": ((1, 2.5),)}
