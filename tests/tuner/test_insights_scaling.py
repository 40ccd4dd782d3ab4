"""Scaling rules between batch sizes, learned from trials whose rule is known."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import Conflict, Refused
from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.insights import scaling
from frazil_tuner.insights.scaling import transferred
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 1e-4, "high": 10.0, "log": True},
        {"name": "batch_size", "type": "ordinal", "values": [8, 16, 32, 64]},
        {"name": "momentum", "type": "float", "low": 0.0, "high": 0.9},
        {"name": "kind", "type": "categorical", "choices": ["a", "b"]},
        {"name": "bias", "type": "float", "low": -1, "high": 1},
    ]
)
SAMPLES = 4096
EIGENVALUES = np.logspace(-1.5, 0, 12)


def sgd_on_a_quadratic(lr: float, batch: int) -> float:
    """The expected loss after one pass over SAMPLES with gradient noise of variance 1 / batch: exact, by recursion."""
    shrink = (1 - lr * EIGENVALUES) ** 2
    square = np.ones_like(EIGENVALUES)
    with np.errstate(all="ignore"):
        for _ in range(SAMPLES // batch):
            square = shrink * square + lr**2 / batch
        loss = float(0.5 * (EIGENVALUES * square).sum())
    return loss if loss < 1e6 else math.inf


def by_rule(exponent: float) -> Any:
    return lambda lr, batch: (math.log(lr) - math.log(0.1) - exponent * math.log(batch / 32)) ** 2


def study(loss: Any, n: int = 40, seed: int = 0, space: Space = SPACE) -> Study:
    rng = np.random.default_rng(seed)
    points = [space.draw(rng) for _ in range(n)]
    trials = [
        Trial(i, p, TrialState.COMPLETED, values={"loss": loss(p["lr"], p["batch_size"])}) for i, p in enumerate(points)
    ]
    return Study(Definition(space, (Objective("loss"),)), tuple(trials))


@pytest.mark.parametrize(("rule", "exponent"), [("none", 0.0), ("square_root", 0.5), ("linear", 1.0)])
def test_the_rule_that_made_the_trials_is_found_and_others_are_not(rule: str, exponent: float) -> None:
    found = scaling(study(by_rule(exponent)), "lr", "batch_size")
    assert found["exponent"] == pytest.approx(exponent, abs=0.1)
    assert found["low"] <= found["exponent"] <= found["high"]
    assert [name for name, it in found["rules"].items() if it["holds"]] == [rule]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("seed", range(3))
def test_a_rate_carried_to_a_larger_batch_loses_at_most_half_of_what_it_loses_unscaled(seed: int) -> None:
    found = scaling(study(sgd_on_a_quadratic, seed=seed), "lr", "batch_size")
    assert found["exponent"] == pytest.approx(1.0, abs=0.2)
    assert not found["rules"]["none"]["holds"]
    rates = np.logspace(-3, 1, 401)
    at_32 = min(rates, key=lambda lr: sgd_on_a_quadratic(lr, 32))
    best, unscaled, scaled = (
        sgd_on_a_quadratic(lr, 256)
        for lr in (
            min(rates, key=lambda lr: sgd_on_a_quadratic(lr, 256)),
            at_32,
            transferred(at_32, 32, 256, found["exponent"]),
        )
    )
    assert unscaled - best > 0.01
    assert scaled - best <= 0.5 * (unscaled - best)


def test_where_little_is_known_no_rule_is_ruled_out() -> None:
    rng = np.random.default_rng(0)
    found = scaling(study(lambda lr, batch: rng.normal(), n=14), "lr", "batch_size")
    assert all(it["holds"] for it in found["rules"].values())
    assert found["high"] - found["low"] > 1.0


def test_the_best_trial_is_carried_to_every_batch_size() -> None:
    given = study(by_rule(1.0))
    found = scaling(given, "lr", "batch_size")
    best = min(given.trials, key=lambda trial: trial.values["loss"])
    assert found["incumbent"]["trial"] == best.number
    assert found["incumbent"]["batch"] == pytest.approx(best.params["batch_size"])
    assert found["incumbent"]["value"] == pytest.approx(best.params["lr"])
    assert [item["batch"] for item in found["transferred"]] == [8, 16, 32, 64]
    for item in found["transferred"]:
        expected = best.params["lr"] * (item["batch"] / best.params["batch_size"]) ** found["exponent"]
        assert item["value"] == pytest.approx(min(expected, found["ceiling"]))


def test_nothing_is_carried_beyond_what_was_seen_to_go_well() -> None:
    given = study(by_rule(1.0))
    found = scaling(given, "lr", "batch_size")
    losses = sorted(trial.values["loss"] for trial in given.trials)
    well = [trial.params["lr"] for trial in given.trials if trial.values["loss"] < losses[20]]
    assert found["ceiling"] == pytest.approx(max(well))
    assert all(item["value"] <= found["ceiling"] * (1 + 1e-12) for item in found["transferred"])


def test_where_training_diverges_does_not_decide_the_rule() -> None:
    def loss(lr: float, batch: int) -> float:
        return math.nan if lr > 1.0 else by_rule(1.0)(lr, batch)

    found = scaling(study(loss, n=60), "lr", "batch_size")
    assert found["observations"] < 60
    assert found["used"] <= found["observations"] / 2 + 1
    assert found["exponent"] == pytest.approx(1.0, abs=0.1)
    assert found["incumbent"]["value"] <= 1.0


def test_batch_sizes_may_be_a_range() -> None:
    space = Space.from_json(
        [
            {"name": "lr", "type": "float", "low": 1e-4, "high": 10.0, "log": True},
            {"name": "batch_size", "type": "int", "low": 8, "high": 64, "log": True},
        ]
    )
    found = scaling(study(by_rule(0.5), space=space), "lr", "batch_size")
    assert found["exponent"] == pytest.approx(0.5, abs=0.1)
    assert len(found["transferred"]) == found["batches"]


@pytest.mark.parametrize(
    ("parameter", "batch", "code", "pointer"),
    [
        ("rate", "batch_size", "parameter_unknown", "/parameter"),
        ("lr", "size", "parameter_unknown", "/batch"),
        ("bias", "batch_size", "parameter_unsuited", "/parameter"),
        ("lr", "momentum", "parameter_unsuited", "/batch"),
        ("lr", "kind", "parameter_unsuited", "/batch"),
        ("lr", "lr", "parameter_unsuited", "/batch"),
    ],
)
def test_what_has_no_scale_is_refused(parameter: str, batch: str, code: str, pointer: str) -> None:
    with pytest.raises(Refused) as refused:
        scaling(study(by_rule(1.0)), parameter, batch)
    assert (refused.value.code, refused.value.problems[0].pointer) == (code, pointer)


def test_too_few_trials_and_a_single_batch_size_are_said() -> None:
    with pytest.raises(Conflict, match="12 finished trials"):
        scaling(study(by_rule(1.0), n=11), "lr", "batch_size")
    given = study(by_rule(1.0))
    alike = tuple(trial for trial in given.trials * 3 if trial.params["batch_size"] == 16)
    with pytest.raises(Conflict, match="the same batch_size"):
        scaling(Study(given.definition, alike), "lr", "batch_size")
