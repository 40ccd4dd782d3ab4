"""Bad input of every kind is a problem that names the field, and the study is as it was."""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from frazil_server.pages import write_token

EPOCHS = {"name": "epoch", "max": 10}
HUGE = 10**400
NAN = float("nan")
NUL, HALF = "a\0b", "a\ud800b"


def deep(levels: int) -> bytes:
    """JSON nested so deep that many readers give up."""
    return b'{"a":' * levels + b"1" + b"}" * levels


def real(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "type": "float", "low": 0.1, "high": 1.0} | fields


def choice(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "categorical", "choices": ["a", "b"]} | fields


# ── defining a study ─────────────────────────────────────────────────────────────────────────────────────────────────

SPACES: dict[str, tuple[Any, str]] = {
    "NaN": ([real(low=NAN)], "/space/0/low"),
    "infinity": ([real(high=float("inf"))], "/space/0/high"),
    "a huge integer": ([real(high=HUGE)], "/space/0/high"),
    "low = high": ([real(low=1.0)], "/space/0/low"),
    "low > high": ([choice("a"), real(low=2.0)], "/space/1/low"),
    "log of zero": ([real(low=0.0, log=True)], "/space/0/low"),
    "log of a negative bound": ([real(low=-1.0, log=True)], "/space/0/low"),
    "complement log of one": ([real(high=1.0, log="complement")], "/space/0/high"),
    "text for a number": ([real(low="0.1")], "/space/0/low"),
    "true for a number": ([real(low=True)], "/space/0/low"),
    "an integer's fraction": ([real(type="int", low=1.5, high=3)], "/space/0/low"),
    "a condition on nothing": ([real(when={"y": ["a"]})], "/space/0/when/y"),
    "a condition on a later one": ([real(when={"y": ["a"]}), choice("y")], "/space/0/when/y"),
    "a condition on itself": ([choice("y", when={"y": ["a"]})], "/space/0/when/y"),
    "a cycle": ([choice("y", when={"z": ["a"]}), choice("z", when={"y": ["a"]})], "/space/0/when/z"),
    "a condition without values": ([choice("y"), real(when={"y": []})], "/space/1/when/y"),
    "a condition on no choice": ([choice("y"), real(when={"y": ["c"]})], "/space/1/when/y/0"),
    "a condition that is a list": ([real(when=[])], "/space/0/when"),
    "no choices": ([choice("y", choices=[])], "/space/0/choices"),
    "choices twice": ([choice("y", choices=["a", "a"])], "/space/0/choices/1"),
    "choices that are objects": ([choice("y", choices=[{}, "a"])], "/space/0/choices/0"),
    "a choice with NUL": ([choice("y", choices=[NUL])], "/space/0/choices/0"),
    "a choice with half a character": ([choice("y", choices=["a", HALF])], "/space/0/choices/1"),
    "no name": ([{"type": "float", "low": 0, "high": 1}], "/space/0/name"),
    "a name with a slash": ([real(name="a/b")], "/space/0/name"),
    "a name with NUL": ([real(name=NUL)], "/space/0/name"),
    "a name with half a character": ([real(name=HALF)], "/space/0/name"),
    "a name that is a list": ([real(name=["x"])], "/space/0/name"),
    "one name twice": ([real(), real()], "/space/1/name"),
    "an unknown type": ([real(type="complex")], "/space/0/type"),
    "a type that is a list": ([real(type=["float"])], "/space/0/type"),
    "an unknown field": ([real(hihg=2)], "/space/0/hihg"),
    "a fixed NaN": ([{"name": "x", "type": "fixed", "value": NAN}], "/space/0/value"),
    "a fixed object": ([{"name": "x", "type": "fixed", "value": {"a": 1}}], "/space/0/value"),
    "a list for a parameter": ([[]], "/space/0"),
    "text for a parameter": (["x"], "/space/0"),
    "an object for the list": ({"x": real()}, "/space"),
    "no parameter": ([], "/space"),
    "10 000 parameters": ([real(name=f"x{i}") for i in range(10_000)], "/space"),
    "nothing": (None, "/space"),
}

FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "a name with a slash": ({"name": "a/b"}, "/name"),
    "a name with NUL": ({"name": NUL}, "/name"),
    "a name with half a character": ({"name": HALF}, "/name"),
    "a name with a line break": ({"name": "a\nb"}, "/name"),
    "a name of spaces": ({"name": " "}, "/name"),
    "a name that looks like an id": ({"name": str(uuid.uuid4())}, "/name"),
    "a name that looks like a folder": ({"name": ".."}, "/name"),
    "an endless name": ({"name": "x" * 129}, "/name"),
    "no name": ({"name": ""}, "/name"),
    "a number for a name": ({"name": 7}, "/name"),
    "a project with a slash": ({"project": "a/b"}, "/project"),
    "an unknown field": ({"nmae": "x"}, "/nmae"),
    "an unknown field with half a character": ({HALF: "x"}, ""),
    "no objectives": ({"objectives": []}, "/objectives"),
    "an object for objectives": ({"objectives": {"metric": "loss"}}, "/objectives"),
    "one objective twice": (
        {"objectives": [{"metric": "loss"}, {"metric": "loss", "direction": "maximize"}]},
        "/objectives/1/metric",
    ),
    "eleven objectives": ({"objectives": [{"metric": f"m{i}"} for i in range(11)]}, "/objectives"),
    "an objective by magic": ({"objectives": [{"metric": "loss", "by": "magic"}]}, "/objectives/0/by"),
    "a ranking beside an objective": (
        {"objectives": [{"metric": "loss"}, {"metric": "taste", "by": "comparison"}]},
        "/objectives/1/by",
    ),
    "an unknown direction": ({"objectives": [{"metric": "loss", "direction": "down"}]}, "/objectives/0/direction"),
    "a metric with a slash": ({"objectives": [{"metric": "a/b"}]}, "/objectives/0/metric"),
    "a listed metric with a slash": ({"metrics": ["a/b"]}, "/metrics/0"),
    "an outcome constraint without a bound": ({"outcome_constraints": ["size <= 1", "size"]}, "/outcome_constraints/1"),
    "an outcome constraint on text": ({"outcome_constraints": ["size <= small"]}, "/outcome_constraints/0"),
    "an outcome constraint beyond numbers": ({"outcome_constraints": ["size <= 1e999"]}, "/outcome_constraints/0"),
    "an outcome constraint of NaN": ({"outcome_constraints": ["size <= nan"]}, "/outcome_constraints/0"),
    "an outcome constraint on a slash": ({"outcome_constraints": ["a/b <= 1"]}, "/outcome_constraints/0"),
    "an outcome constraint of NUL": ({"outcome_constraints": [f"{NUL} <= 1"]}, "/outcome_constraints/0"),
    "an outcome constraint on nothing": ({"outcome_constraints": [""]}, "/outcome_constraints/0"),
    "an outcome constraint as an object": ({"outcome_constraints": [{"size": 1}]}, "/outcome_constraints/0"),
    "contradictory outcome constraints": (
        {"outcome_constraints": ["size <= 1", "time <= 2", "size >= 2"]},
        "/outcome_constraints/2",
    ),
    "too many outcome constraints": ({"outcome_constraints": ["size <= 1"] * 33}, "/outcome_constraints"),
    "a constraint that no point meets": ({"constraints": ["lr >= 2"]}, "/constraints/0"),
    "constraints that contradict each other": ({"constraints": ["lr >= 0.5", "lr <= 0.4"]}, "/constraints/1"),
    "a constraint on nothing": ({"constraints": ["rl <= 1"]}, "/constraints/0"),
    "a constraint that is none": ({"constraints": ["lr <= 1", "lr"]}, "/constraints/1"),
    "a constraint that is code": ({"constraints": ["__import__('os').getpid() <= lr"]}, "/constraints/0"),
    "an endless constraint": ({"constraints": ["lr + " * 300 + "lr <= 1"]}, "/constraints/0"),
    "a constraint of NUL": ({"constraints": [NUL]}, "/constraints/0"),
    "a constraint as a number": ({"constraints": [1]}, "/constraints/0"),
    "constraints as text": ({"constraints": "lr <= 1"}, "/constraints"),
    "a cost of nothing": ({"cost": 0}, "/cost"),
    "a negative cost": ({"cost": -1}, "/cost"),
    "a cost of NaN": ({"cost": NAN}, "/cost"),
    "an absurd cost": ({"cost": 1e300}, "/cost"),
    "a huge cost": ({"cost": HUGE}, "/cost"),
    "a cost of truth": ({"cost": True}, "/cost"),
    "a cost as a list": ({"cost": ["seconds"]}, "/cost"),
    "a cost with a slash": ({"cost": "a/b"}, "/cost"),
    "a relative that is not there": ({"related": ["never made"]}, "/related/0"),
    "a relative with NUL": ({"related": [NUL]}, "/related"),
    "relatives that are none": ({"related": []}, "/related"),
    "too many relatives": ({"related": ["x"] * 33}, "/related"),
    "relatives as a number": ({"related": 7}, "/related"),
    "relatives in words": ({"related": "similar"}, "/related"),
    "an absurd bound": ({"space": [real(high=1e300)]}, "/space/0/high"),
    "an absurd bound below": ({"space": [real(low=-1e300)]}, "/space/0/low"),
    "a prior outside": ({"space": [real(prior=7)]}, "/space/0/prior"),
    "a prior of NaN": ({"space": [real(prior=NAN)]}, "/space/0/prior"),
    "confidence in no prior": ({"space": [real(prior_confidence="high")]}, "/space/0/prior_confidence"),
    "an unknown confidence": ({"space": [real(prior=0.5, prior_confidence="sure")]}, "/space/0/prior_confidence"),
    "a prior that no choice is": ({"space": [choice("y", prior="c")]}, "/space/0/prior"),
    "an unknown role": ({"space": [real(role="extra")]}, "/space/0/role"),
    "a resource without a maximum": ({"resource": {"name": "epoch"}}, "/resource/max"),
    "a resource without steps": ({"resource": {"max": 0}}, "/resource/max"),
    "a resource upside down": ({"resource": {"min": 11, "max": 10}}, "/resource/min"),
    "a resource in fractions": ({"resource": {"max": 1.5}}, "/resource/max"),
    "a huge resource": ({"resource": {"max": HUGE}}, "/resource/max"),
    "an unknown kind": ({"resource": {"max": 2, "kind": "magic"}}, "/resource/kind"),
    "an unknown policy": ({"policy": {"name": "gradient"}}, "/policy/name"),
    "a policy's name as a list": ({"policy": {"name": []}}, "/policy/name"),
    "a policy as text": ({"policy": "asha"}, "/policy"),
    "an unknown option": ({"policy": {"name": "random", "eta": 3}}, "/policy/eta"),
    "an option out of bounds": ({"policy": {"name": "asha", "eta": 1}, "resource": EPOCHS}, "/policy/eta"),
    "an option that is NaN": ({"policy": {"name": "asha", "eta": NAN}, "resource": EPOCHS}, "/policy/eta"),
    "a huge option": ({"policy": {"name": "asha", "eta": HUGE}, "resource": EPOCHS}, "/policy/eta"),
    "a policy without its resource": ({"policy": {"name": "asha"}}, "/policy/name"),
    "no trials at all": ({"budget": {"trials": 0}}, "/budget/trials"),
    "a negative budget": ({"budget": {"trials": -1}}, "/budget/trials"),
    "a budget of NaN": ({"budget": {"seconds": NAN}}, "/budget/seconds"),
    "a budget of no time": ({"budget": {"seconds": 0}}, "/budget/seconds"),
    "a huge budget": ({"budget": {"seconds": HUGE}}, "/budget/seconds"),
    "a budget in words": ({"budget": {"trials": "10"}}, "/budget/trials"),
    "a budget of steps without a resource": ({"budget": {"resource": 10}}, "/budget/resource"),
    "an unknown budget": ({"budget": {"epochs": 10}}, "/budget/epochs"),
    "a budget as a list": ({"budget": [10]}, "/budget"),
    "a negative seed": ({"seed": -1}, "/seed"),
    "a huge seed": ({"seed": HUGE}, "/seed"),
    "a seed in words": ({"seed": "1"}, "/seed"),
    "metadata with NaN": ({"metadata": {"a": [1, {"b": NAN}]}}, "/metadata"),
    "metadata with NUL": ({"metadata": {"a": NUL}}, "/metadata"),
    "metadata with NUL in a key": ({"metadata": {NUL: 1}}, "/metadata"),
    "metadata with half a character": ({"metadata": {"a": [HALF]}}, "/metadata"),
    "metadata as a list": ({"metadata": []}, "/metadata"),
    "no candidates": ({"candidates": []}, "/candidates"),
    "a candidate outside the space": ({"candidates": [{"lr": 0.5}, {"lr": 5}]}, "/candidates/1/lr"),
    "a candidate of NaN": ({"candidates": [{"lr": NAN}]}, "/candidates/0/lr"),
    "a huge candidate": ({"candidates": [{"lr": HUGE}]}, "/candidates/0/lr"),
    "a candidate with another parameter": ({"candidates": [{"lr": 0.5, "x": 1}]}, "/candidates/0/x"),
    "candidates twice": ({"candidates": [{"lr": 1}, {"lr": 1.0}]}, "/candidates/1"),
    "a candidate as text": ({"candidates": ["0.5"]}, "/candidates/0"),
    "an unknown wish": ({"if_exists": "replace"}, "/if_exists"),
}


@pytest.fixture(scope="module")
def studies(house) -> Callable[[], Any]:
    """All studies there are, byte for byte."""
    house.create()
    return lambda: house.get("/studies?page_size=1000").content


@pytest.mark.parametrize("what", SPACES)
def test_a_space_that_contradicts_itself_is_refused(house, refused, studies, what):
    space, pointer = SPACES[what]
    before = studies()
    body = {"name": f"bad-{uuid.uuid4().hex}", "objectives": [{"metric": "loss"}], "space": space}
    response = house.post("/studies", body)
    refused(response, 422, response.json()["code"], pointer)
    assert studies() == before


@pytest.mark.parametrize("what", FIELDS)
def test_a_study_with_a_bad_field_is_refused(house, refused, studies, what):
    fields, pointer = FIELDS[what]
    before = studies()
    lr = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0}
    body = {"name": f"bad-{uuid.uuid4().hex}", "objectives": [{"metric": "loss"}], "space": [lr]} | fields
    response = house.post("/studies", body)
    refused(response, 422, response.json()["code"], pointer)
    assert studies() == before


def test_every_fault_of_a_space_is_named_at_once(house, refused):
    space = [real(low=5), choice("y", choices=[]), real(name="z", log=1)]
    body = {"name": "x", "objectives": [{"metric": "loss"}], "space": space}
    problem = refused(house.post("/studies", body), 422, "space_invalid", "/space/1/choices")
    assert {error["pointer"].split("/")[2] for error in problem["errors"]} == {"0", "1", "2"}


@pytest.mark.parametrize(
    "what",
    [
        "notes with NUL",
        "a negative budget",
        "a budget of NaN",
        "a huge budget",
        "an unknown policy",
        "metadata with NaN",
    ],
)
def test_a_patch_with_a_bad_field_is_refused(house, refused, what):
    fields, pointer = FIELDS.get(what, ({"notes": NUL}, "/notes"))
    study = house.create()
    response = house.patch(f"/studies/{study['id']}", fields)
    refused(response, 422, response.json()["code"], pointer)
    assert house.study(study) == study


# ── a study in mid-life ──────────────────────────────────────────────────────────────────────────────────────────────


class Life:
    """A study with a finished, a running, a paused and another worker's trial, to be left as it is."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.study = house.create(resource=EPOCHS, budget={"resource": 100}, metrics=["accuracy"])
        self.path = f"/studies/{self.study['id']}"
        finished, self.running, paused, self.other = house.ask(self.study, count=3)["trials"] + [
            house.lease(self.study, "other")
        ]
        assert house.tell(finished, 0.5).is_success
        assert house.report(self.running, 1, 2, 3).is_success
        assert house.say(paused, ":pause", checkpoint={"uri": "file:///c", "step": 0}).is_success
        self.finished = finished
        self.before = house.everything(self.study)

    def is_as_it_was(self) -> bool:
        return bool(self.house.everything(self.study) == self.before)


@pytest.fixture(scope="module")
def life(house) -> Life:
    return Life(house)


def entry(**fields: Any) -> dict[str, Any]:
    return {"step": 4, "metrics": {"loss": 0.1}} | fields


REPORTS: dict[str, tuple[dict[str, Any], int, str, str | None]] = {
    "a metric nobody declared":
        (entry(metrics={"loss": 1, "lost": 1}), 422, "metric_unknown", "/measurements/0/metrics/lost"),
    "a metric with a slash": (entry(metrics={"a/b": 1}), 422, "invalid", "/measurements/0/metrics/a~1b"),
    "a metric with NUL": (entry(metrics={NUL: 1}), 422, "invalid", f"/measurements/0/metrics/{NUL}"),
    "no metric": (entry(metrics={}), 422, "invalid", "/measurements/0/metrics"),
    "text for a value": (entry(metrics={"loss": "0.1"}), 422, "invalid", "/measurements/0/metrics/loss"),
    "true for a value": (entry(metrics={"loss": True}), 422, "invalid", "/measurements/0/metrics/loss"),
    "null for a value": (entry(metrics={"loss": None}), 422, "invalid", "/measurements/0/metrics/loss"),
    "a list for a value": (entry(metrics={"loss": [1]}), 422, "invalid", "/measurements/0/metrics/loss"),
    "NaN misspelt": (entry(metrics={"loss": "NaN"}), 422, "invalid", "/measurements/0/metrics/loss"),
    "a huge value": (entry(metrics={"loss": HUGE}), 422, "invalid", "/measurements/0/metrics/loss"),
    "a list for metrics": (entry(metrics=["loss"]), 422, "invalid", "/measurements/0/metrics"),
    "a step backwards": (entry(step=2, metrics={"accuracy": 1}), 409, "step_conflict", None),
    "another value for a step": (entry(step=3, metrics={"loss": 7}), 409, "step_conflict", None),
    "a step beyond the maximum": (entry(step=11), 422, "invalid", "/measurements/0/step"),
    "step 0": (entry(step=0), 422, "invalid", "/measurements/0/step"),
    "a negative step": (entry(step=-1), 422, "invalid", "/measurements/0/step"),
    "a step in words": (entry(step="4"), 422, "invalid", "/measurements/0/step"),
    "half a step": (entry(step=4.5), 422, "invalid", "/measurements/0/step"),
    "a huge step": (entry(step=HUGE), 422, "invalid", "/measurements/0/step"),
    "no step": ({"metrics": {"loss": 1}}, 422, "invalid", "/measurements/0/step"),
    "a negative time": (entry(elapsed=-1), 422, "invalid", "/measurements/0/elapsed"),
    "no time": (entry(elapsed=NAN), 422, "invalid", "/measurements/0/elapsed"),
    "a time in words": (entry(elapsed="31s"), 422, "invalid", "/measurements/0/elapsed"),
    "a huge time": (entry(elapsed=HUGE), 422, "invalid", "/measurements/0/elapsed"),
    "an unknown field": (entry(epoch=4), 422, "invalid", "/measurements/0/epoch"),
}  # fmt: skip


@pytest.mark.parametrize("what", REPORTS)
def test_a_bad_report_is_refused_and_stores_nothing(life, refused, what):
    measurement, status, code, pointer = REPORTS[what]
    refused(life.house.say(life.running, "/reports", measurements=[measurement]), status, code, pointer)
    assert life.is_as_it_was()


def test_one_bad_step_of_a_report_refuses_all_of_it(life, refused):
    for bad, pointer in [(entry(step=5, metrics={"lost": 1}), "/measurements/1/metrics/lost"),
                         (entry(step=3), "/measurements"),
                         (entry(metrics={"loss": 2}), "/measurements/1/metrics/loss")]:  # fmt: skip
        response = life.house.say(life.running, "/reports", measurements=[entry(), bad])
        refused(response, 422, response.json()["code"], pointer)
    refused(life.house.say(life.running, "/reports", measurements=[]), 422, "invalid", "/measurements")
    assert life.is_as_it_was()


def test_a_step_beyond_the_grant_is_a_conflict(house, must, refused):
    study = house.create(resource=EPOCHS, policy={"name": "asha"})
    trial = house.lease(study)
    assert trial["until_step"] == 1
    before = house.everything(study)
    refused(house.report(trial, 1, 2), 409, "step_conflict")
    assert house.everything(study) == before
    must(house.report(trial, 1))


WORDS: dict[str, tuple[str, dict[str, Any], int, str, str | None]] = {
    "told an unknown metric": (":tell", {"values": {"lost": 1}}, 422, "metric_unknown", "/values/lost"),
    "told text": (":tell", {"values": {"loss": "low"}}, 422, "invalid", "/values/loss"),
    "told a list": (":tell", {"values": {"loss": [1]}}, 422, "invalid", "/values/loss"),
    "told half an estimate": (":tell", {"values": {"loss": {"mean": 1}}}, 422, "invalid", "/values/loss/sem"),
    "told a negative error":
        (":tell", {"values": {"loss": {"mean": 1, "sem": -1}}}, 422, "invalid", "/values/loss/sem"),
    "told a huge value": (":tell", {"values": {"loss": HUGE}}, 422, "invalid", "/values/loss"),
    "told a slash": (":tell", {"values": {"a/b": 1}}, 422, "invalid", "/values/a~1b"),
    "told a state of its own": (":tell", {"state": "RUNNING"}, 422, "invalid", "/state"),
    "told a huge cost": (":tell", {"cost": HUGE}, 422, "invalid", "/cost"),
    "told a cost of NaN": (":tell", {"cost": NAN}, 422, "invalid", "/cost"),
    "told with NUL": (":tell", {"reason": NUL}, 422, "invalid", "/reason"),
    "told with half a character": (":tell", {"reason": HALF}, 400, "malformed", None),
    "a checkpoint of the future":
        (":heartbeat", {"checkpoint": {"uri": "c", "step": 4}}, 422, "invalid", "/checkpoint/step"),
    "a checkpoint of the past":
        (":pause", {"checkpoint": {"uri": "c", "step": -1}}, 422, "invalid", "/checkpoint/step"),
    "a checkpoint nowhere": (":pause", {"checkpoint": {"step": 3}}, 422, "invalid", "/checkpoint/uri"),
    "a checkpoint with NUL": (":pause", {"checkpoint": {"uri": NUL, "step": 3}}, 422, "invalid", "/checkpoint/uri"),
    "an endless checkpoint":
        (":pause", {"checkpoint": {"uri": "x" * 4097, "step": 3}}, 422, "invalid", "/checkpoint/uri"),
    "frozen elsewhere": (":pause", {"step": 7}, 409, "step_conflict", None),
    "an unknown field": (":release", {"why": "tired"}, 422, "invalid", "/why"),
}  # fmt: skip


@pytest.mark.parametrize("what", WORDS)
def test_a_bad_word_about_a_trial_changes_nothing(life, refused, what):
    word, body, status, code, pointer = WORDS[what]
    refused(life.house.say(life.running, word, **body), status, code, pointer)
    assert life.is_as_it_was()


@pytest.mark.parametrize("lease", ["made up", "", 7, None, NUL, ["x"], "x" * 129])
@pytest.mark.parametrize("word", ["/reports", ":heartbeat", ":pause", ":release", ":tell"])
def test_a_lease_that_is_none_opens_nothing(life, refused, lease, word):
    body = {"lease": lease} | ({"measurements": [entry(step=3)]} if word == "/reports" else {})
    response = life.house.post(f"/trials/{life.running['id']}{word}", body)
    if lease in ("made up", NUL):
        refused(response, 409, "lease_lost")
    else:
        refused(response, 422, "invalid", "/lease")
    assert life.is_as_it_was()


@pytest.mark.parametrize("word", ["/reports", ":heartbeat", ":pause", ":release", ":tell"])
def test_the_lease_of_another_trial_opens_nothing(life, refused, word):
    body = {"lease": life.other["lease"]["token"]} | ({"measurements": [entry(step=3)]} if word == "/reports" else {})
    refused(life.house.post(f"/trials/{life.running['id']}{word}", body), 409, "lease_lost")
    refused(life.house.post(f"/trials/{life.finished['id']}{word}", body), 409, "trial_finished")
    assert life.is_as_it_was()


ASKS: dict[str, tuple[Any, str]] = {
    "none": ({"count": 0}, "/count"),
    "too many": ({"count": 1001}, "/count"),
    "in words": ({"count": "1"}, "/count"),
    "a huge count": ({"count": HUGE}, "/count"),
    "a lease of no time": ({"lease_seconds": 0}, "/lease_seconds"),
    "a lease of NaN": ({"lease_seconds": NAN}, "/lease_seconds"),
    "an endless lease": ({"lease_seconds": 1e300}, "/lease_seconds"),
    "a worker with NUL": ({"worker": NUL}, "/worker"),
    "a worker without a name": ({"worker": ""}, "/worker"),
    "a worker as a number": ({"worker": 7}, "/worker"),
    "a context of a study without one": ({"context": {"gpu": "h200"}}, "/context/gpu"),
    "an unknown field": ({"n": 1}, "/n"),
    "a list": ([], ""),
    "text": ("ask", ""),
    "nothing": (None, ""),
}


@pytest.mark.parametrize("what", ASKS)
def test_a_bad_ask_hands_out_nothing(life, refused, what):
    body, pointer = ASKS[what]
    response = life.house.post(f"{life.path}/trials:ask", json.dumps(body).encode())
    refused(response, 422, response.json()["code"], pointer)
    assert life.is_as_it_was()


PARAMS: dict[str, tuple[Any, str]] = {
    "no parameter": ({}, "/params/lr"),
    "another parameter": ({"lr": 0.5, "x": 1}, "/params/x"),
    "another parameter with half a character": ({"lr": 0.5, HALF: 1}, f"/params/{HALF}"),
    "outside": ({"lr": 2}, "/params/lr"),
    "NaN": ({"lr": NAN}, "/params/lr"),
    "huge": ({"lr": HUGE}, "/params/lr"),
    "text": ({"lr": "0.5"}, "/params/lr"),
    "a list": ({"lr": [0.5]}, "/params/lr"),
    "no object": ([], "/params"),
}


@pytest.mark.parametrize("what", PARAMS)
def test_bad_params_are_not_enqueued(life, refused, what):
    params, pointer = PARAMS[what]
    response = life.house.post(f"{life.path}/trials", {"trials": [{"params": params}]})
    refused(response, 422, response.json()["code"], f"/trials/0{pointer}")
    assert life.is_as_it_was()


def test_more_trials_than_a_thousand_are_not_added_at_once(life, refused):
    trials = [{"params": {"lr": 0.5}}] * 1001
    refused(life.house.post(f"{life.path}/trials", {"trials": trials}), 422, "invalid", "/trials")
    refused(life.house.post(f"{life.path}/trials", {"trials": []}), 422, "invalid", "/trials")
    assert life.is_as_it_was()


QUERIES = [
    ("/trials?page_token=made-up", "page_token"),
    ("/trials?page_token=W10", "page_token"),  # []
    ("/trials?page_token=W3RydWVd", "page_token"),  # [true]
    ("/trials?page_token=WyJhIl0", "page_token"),  # ["a"]
    ("/trials?page_token=WzEsMl0", "page_token"),  # [1,2]
    ("/trials?page_token=WzEsMl0&order_by=objective", "page_token"),  # [1,2], of integers
    ("/trials?page_token=%00", "page_token"),
    ("/trials?page_token=" + "x" * 2000, "page_token"),
    ("/trials?page_size=0", "page_size"),
    ("/trials?page_size=1001", "page_size"),
    ("/trials?page_size=many", "page_size"),
    ("/trials?order_by=lr", "order_by"),
    ("/trials?order_by=%00", "order_by"),
    ("/trials?fields=curve", "fields"),
    ("/trials?fields=", "fields"),
    ("/trials?state=LOST", "state/0"),
    ("/curves?metric=lost", "metric"),
    ("/curves?metric=a/b", "metric"),
    ("/curves?metric=%00", "metric"),
    ("/curves?max_points=1", "max_points"),
    ("/curves?page_token=W3RydWVd", "page_token"),
    ("/events:list?page_token=WzEsdHJ1ZV0", "page_token"),  # [1,true]
]


@pytest.mark.parametrize(("query", "name"), QUERIES)
def test_a_bad_query_names_its_parameter(life, refused, query, name):
    response = life.house.get(life.path + query)
    refused(response, 422, response.json()["code"], f"/query/{name}")


@pytest.mark.parametrize("token", ["made-up", "W10", "WyJhIl0", "WzFd"])
def test_a_made_up_token_for_studies_is_refused(house, refused, token):
    refused(house.get(f"/studies?page_token={token}"), 422, "invalid", "/query/page_token")


def test_a_page_token_beyond_every_number_is_refused(life, refused):
    refused(life.house.get(f"{life.path}/trials?page_token={write_token([10**30])}"), 422, "invalid")


def test_a_curve_of_a_metric_nobody_declared_is_refused(life, refused):
    path = f"/trials/{life.running['id']}/curve"
    refused(life.house.get(f"{path}?metric=lost"), 422, "metric_unknown", "/query/metric")
    refused(life.house.get(f"{path}?metric=a/b"), 422, "invalid", "/query/metric")


CORRECTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "notes with NUL": ({"notes": NUL}, "/notes"),
    "notes with half a character": ({"notes": HALF}, "/notes"),
    "endless notes": ({"notes": "x" * 65_537}, "/notes"),
    "a tag with a slash": ({"tags": ["a", "b/c"]}, "/tags/1"),
    "too many tags": ({"tags": ["a"] * 65}, "/tags"),
    "excluded in words": ({"excluded": "yes"}, "/excluded"),
    "values of text": ({"values": {"loss": "x"}}, "/values/loss"),
    "params": ({"params": {"lr": 1}}, "/params"),
    "a state": ({"state": "FAILED"}, "/state"),
}


@pytest.mark.parametrize("what", CORRECTIONS)
def test_a_bad_correction_changes_nothing(life, refused, what):
    body, pointer = CORRECTIONS[what]
    refused(life.house.patch(f"/trials/{life.finished['id']}", body), 422, "invalid", pointer)
    assert life.is_as_it_was()


def test_a_client_s_clock_that_is_an_hour_off_means_nothing(house, must):
    """Only durations travel from client to server; leases and budgets follow the server's clock."""
    study = house.create(resource=EPOCHS)
    trial = house.lease(study, lease_seconds=60)
    for step, elapsed in ((1, 3600.0), (2, 0.0), (3, 1e12)):
        measurement = {"step": step, "metrics": {"loss": 1.0}, "elapsed": elapsed}
        answer = must(house.say(trial, "/reports", measurements=[measurement]))
    assert answer["decision"] == "continue"
    assert answer["lease_expires_at"] == trial["lease"]["expires_at"]
    must(house.get("/studies", headers={"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}))


# ── bodies that are none ─────────────────────────────────────────────────────────────────────────────────────────────

BODIES: list[tuple[bytes, int, str]] = [
    (b"", 422, "invalid"),
    (b'{"name": "x", "space": [{"na', 400, "malformed"),
    (b"name=x", 400, "malformed"),
    (b"\xff\xfe{}", 400, "malformed"),
    (b'{"name": "\xff"}', 400, "malformed"),
    (b"9" * 5000, 400, "malformed"),
    (deep(100_000), 400, "malformed"),
    (b"[" * 100_000, 400, "malformed"),
    (b"[]", 422, "invalid"),
    (b"null", 422, "invalid"),
    (b'"study"', 422, "invalid"),
    (b"7", 422, "invalid"),
]


@pytest.mark.parametrize("body", BODIES, ids=[f"{body[:16]!r}" for body, *_ in BODIES])
@pytest.mark.parametrize("method", ["create", "add", "change", "correct"])
def test_a_body_that_is_no_object_is_refused(life, refused, method, body):
    content, status, code = body
    verb, path = {
        "create": ("POST", "/studies"),
        "add": ("POST", f"{life.path}/trials"),
        "change": ("PATCH", life.path),
        "correct": ("PATCH", f"/trials/{life.finished['id']}"),
    }[method]
    refused(life.house.call(verb, path, content), status, code)
    assert life.is_as_it_was()


@pytest.mark.parametrize("levels", [50, 64, 150, 300, 800, 950, 1_200])
def test_deep_nesting_is_an_answer_and_never_a_crash(house, levels):
    lr = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0}
    frame = {"name": f"deep-{uuid.uuid4().hex}", "objectives": [{"metric": "loss"}], "space": [lr], "metadata": {}}
    for field, value in (("metadata", "@"), ("space", ["@"]), ("space", [lr | {"when": {"x": "@"}}]), ("policy", "@")):
        text = json.dumps(frame | {field: value}).replace('"@"', deep(levels).decode())
        response = house.post("/studies", text.encode())
        kept = field == "metadata" and levels < 65
        assert response.status_code in ((201,) if kept else (400, 422)), response.text
        if kept:
            assert house.get(f"/studies/{frame['name']}").json()["metadata"] == json.loads(deep(levels))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", None])
def test_a_body_that_is_not_called_json_is_an_unsupported_media_type(life, refused, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    for path in ("/studies", f"{life.path}/trials:ask", f"/trials/{life.running['id']}:release"):
        body = b'{"lease": "' + life.running["lease"]["token"].encode() + b'"}'
        refused(life.house.call("POST", path, content=body, headers=headers), 415, "unsupported_media_type")
    assert life.is_as_it_was()


# ── through a real socket ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["/studies", "/studies/x/trials:ask", "/studies/x/trials"])
def anywhere(request) -> str:
    return f"/api/v1{request.param}"


def head(path: str, host: str, length: int) -> bytes:
    """The head of a POST that announces `length` bytes."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_body_over_8_mb_is_refused_before_it_is_read(server_url, anywhere):
    host = server_url.removeprefix("http://")
    address, port = host.split(":")
    with socket.create_connection((address, int(port)), timeout=20) as connection:
        connection.sendall(head(anywhere, host, 9 * 2**20) + b"{")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        problem = json.loads(answer.read())
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")
    assert problem["code"] == "payload_too_large"


def test_a_body_over_8_mb_in_chunks_is_refused(api, refused, anywhere):
    chunks = (b"[" + b" " * 2**20 for _ in range(9))
    headers = {"Content-Type": "application/json"}
    response = api._send("POST", anywhere, content=chunks, headers=headers)
    refused(response, 413, "payload_too_large")


def test_a_body_of_just_under_8_mb_is_read(api, must):
    study = api.create(policy={"name": "sobol"}, metadata={"notes": "x" * (8 * 2**20 - 2_000)})
    assert len(study["metadata"]["notes"]) == 8 * 2**20 - 2_000
    assert api.call("DELETE", f"/studies/{study['id']}").status_code == 204


def test_a_client_that_hangs_up_in_mid_body_leaves_no_trace(api, server_url, anywhere):
    before = api.get("/studies?page_size=1000").content
    host = server_url.removeprefix("http://")
    address, port = host.split(":")
    with socket.create_connection((address, int(port)), timeout=20) as connection:
        connection.sendall(head(anywhere, host, 500) + b'{"name": "x", "spa')
    assert api.get("/studies?page_size=1000").content == before
