"""Derivatives that a client tells: stored as they are, refused by name where they make no sense."""

from __future__ import annotations

import pytest

from frazil_server.wire import canonical

SPACE = [
    {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]},
    {"name": "lr", "type": "float", "low": 0.001, "high": 1.0},
    {"name": "layers", "type": "int", "low": 1, "high": 8},
    {"name": "momentum", "type": "float", "low": 0, "high": 1, "when": {"optimizer": ["sgd"]}},
    {"name": "data", "type": "fixed", "value": 2},
]
ADAMW = {"optimizer": "adamw", "lr": 0.1, "layers": 2}
SGD = {"optimizer": "sgd", "lr": 0.1, "layers": 2, "momentum": 0.9}
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def study(house):
    return house.create(space=SPACE, outcome_constraints=["latency <= 5"], metrics=["accuracy"])


def lease(house, study, params):
    assert house.post(f"/studies/{study['id']}/trials", {"trials": [{"params": params}]}).is_success
    return house.lease(study)


VALUES = {"loss": {"mean": 0.5, "sem": 0.1}, "latency": 3}
GRADIENTS = {"loss": {"lr": -0.25, "momentum": 3}, "latency": {"layers": 1e100}}


def test_derivatives_are_stored_by_metric_and_parameter(house, must, study):
    trial = lease(house, study, SGD)
    must(house.say(trial, ":tell", values=VALUES, gradients=GRADIENTS, cost=2.5))
    told = house.trial(trial)
    assert canonical(told["gradients"]) == canonical(GRADIENTS)
    assert (told["values"], told["cost"]) == (VALUES, 2.5)


def test_a_tell_repeated_with_its_derivatives_is_one(house, must, refused, study):
    trial = lease(house, study, SGD)
    for _ in range(2):
        must(house.say(trial, ":tell", values=VALUES, gradients=GRADIENTS))
    for other in ({}, {"loss": {"lr": -0.25}}):
        refused(house.say(trial, ":tell", values=VALUES, gradients=other), 409, "trial_finished")
    assert canonical(house.trial(trial)["gradients"]) == canonical(GRADIENTS)


def test_finished_trials_are_added_with_derivatives(house, must, refused, study):
    done = {"params": ADAMW, "state": "COMPLETED", "values": VALUES, "gradients": {"loss": {"lr": 2}}}
    path = f"/studies/{study['id']}/trials"
    (added,) = must(house.post(path, {"trials": [done]}))["trials"]
    assert house.trial(added)["gradients"] == {"loss": {"lr": 2}}
    bad = done | {"gradients": {"loss": {"momentum": 2}}}
    refused(house.post(path, {"trials": [done, bad]}), 422, "gradient_invalid", "/trials/1/gradients/loss/momentum")
    queued = {"params": ADAMW, "gradients": {"loss": {"lr": 2}}}
    refused(house.post(path, {"trials": [queued]}), 422, "invalid", "/trials/0/values")
    assert house.study(study)["trials"] == 1


@pytest.mark.parametrize(
    ("gradients", "code", "pointer"),
    [
        ({"lost": {"lr": 1}}, "gradient_invalid", "/gradients/lost"),
        ({"accuracy": {"lr": 1}}, "gradient_invalid", "/gradients/accuracy"),
        ({"loss": {"rl": 1}}, "gradient_invalid", "/gradients/loss/rl"),
        ({"loss": {"lr": 1, "optimizer": 1}}, "gradient_invalid", "/gradients/loss/optimizer"),
        ({"loss": {"data": 1}}, "gradient_invalid", "/gradients/loss/data"),
        ({"loss": {"momentum": 1}}, "gradient_invalid", "/gradients/loss/momentum"),
        ({"loss": {"lr": NAN}}, "invalid", "/gradients/loss/lr"),
        ({"loss": {"lr": INF}}, "invalid", "/gradients/loss/lr"),
        ({"loss": {"lr": 1e300}}, "invalid", "/gradients/loss/lr"),
        ({"loss": {"lr": 10**400}}, "invalid", "/gradients/loss/lr"),
        ({"loss": {"lr": "steep"}}, "invalid", "/gradients/loss/lr"),
        ({"loss": {"lr": True}}, "invalid", "/gradients/loss/lr"),
        ({"loss": {"lr": None}}, "invalid", "/gradients/loss/lr"),
        ({"loss": {}}, "invalid", "/gradients/loss"),
        ({"loss": 1}, "invalid", "/gradients/loss"),
        ({"a/b": {"lr": 1}}, "invalid", "/gradients/a~1b"),
        ([], "invalid", "/gradients"),
    ],
)
def test_a_derivative_that_makes_no_sense_is_refused_by_name(house, refused, study, gradients, code, pointer):
    trial = lease(house, study, ADAMW)
    before = house.everything(study)
    refused(house.say(trial, ":tell", values=VALUES, gradients=gradients), 422, code, pointer)
    assert house.everything(study) == before
