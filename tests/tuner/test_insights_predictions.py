"""Predictions at points and on slices, and their calibration."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import Conflict, Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.insights import calibration, predictions, slices
from frazil_tuner.insights.predictions import _noise, _posterior
from frazil_tuner.policies.modelling import model
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]},
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True},
        {"name": "beta", "type": "float", "low": 0, "high": 1, "when": {"optimizer": ["adamw"]}},
    ]
)
LINE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
SCORE = Objective("score", "maximize")
ADAMW = {"optimizer": "adamw", "lr": 0.01, "beta": 0.5}


def score(p: Any) -> float:
    return float(100 - 10 * (np.log10(p["lr"]) + 2) ** 2 - (5 if p["optimizer"] == "sgd" else 4 * p["beta"]))


def study(n: int = 30, limits: tuple[str, ...] = ()) -> Study:
    rng = np.random.default_rng(0)
    points = [SPACE.draw(rng) for _ in range(n)]
    trials = tuple(
        Trial(i, p, TrialState.COMPLETED, values={"score": score(p), "size": 1000 * p["lr"] ** 0.25})
        for i, p in enumerate(points)
    )
    constraints = tuple(map(OutcomeConstraint.parse, limits))
    return Study(Definition(SPACE, (SCORE,), outcome_constraints=constraints), trials)


def noisy(n: int, sd: float, **more: Any) -> Study:
    rng = np.random.default_rng(0)
    xs = rng.random(n)
    values = np.sin(6 * xs) + sd * rng.standard_normal(n)
    trials = tuple(
        Trial(i, {"x": x}, TrialState.COMPLETED, values={"loss": y}, **more)
        for i, (x, y) in enumerate(zip(xs.tolist(), values.tolist(), strict=True))
    )
    return Study(Definition(LINE, (Objective("loss"),)), trials)


# ── points ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_predictions_are_in_the_metrics_own_units_and_direction() -> None:
    points = [ADAMW, {"optimizer": "sgd", "lr": 0.1}]
    answer = predictions(study(), points)
    assert answer["points"] == points
    believed = answer["metrics"]["score"]
    assert believed["mean"] == pytest.approx([score(point) for point in points], abs=2.5)
    assert all(0 < sd < 10 for sd in believed["sd"])
    assert answer["feasible"] is None
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_constrained_metrics_are_predicted_too_and_how_probable_it_is_to_meet_them() -> None:
    answer = predictions(study(limits=("size <= 400",)), [{"optimizer": "sgd", "lr": lr} for lr in (1e-3, 0.3)])
    assert answer["metrics"]["size"]["mean"] == pytest.approx([1000 * 1e-3**0.25, 1000 * 0.3**0.25], rel=0.1)
    assert answer["feasible"][0] > 0.9
    assert answer["feasible"][1] < 0.1


def test_points_that_do_not_fit_are_all_named() -> None:
    with pytest.raises(Refused) as caught:
        predictions(study(), [ADAMW, {**ADAMW, "lr": 9}, {"optimizer": "sgd", "lr": 0.1, "beta": 0.5}])
    assert [problem.pointer for problem in caught.value.problems] == ["/points/1/lr", "/points/2/beta"]
    with pytest.raises(Refused, match="must be 1 to 1000 points, not 0"):
        predictions(study(), [])


@pytest.mark.parametrize("ask", [lambda s: predictions(s, [ADAMW]), lambda s: slices(s, ["lr"], ADAMW), calibration])
def test_before_there_is_a_model_the_answer_is_to_wait(ask: Any) -> None:
    with pytest.raises(Conflict, match="finished trials") as caught:
        ask(study(1))
    assert caught.value.code == "too_few_trials"


# ── slices ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slice_goes_along_one_parameter_and_keeps_the_others() -> None:
    answer = slices(study(), ["lr"], ADAMW, resolution=5)
    (axis,) = answer["axes"]
    assert axis == {"name": "lr", "values": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]}
    assert answer["points"] == [{**ADAMW, "lr": lr} for lr in axis["values"]]
    means = answer["metrics"]["score"]["mean"]
    assert int(np.argmax(means)) == 2
    assert answer["metrics"] == predictions(study(), answer["points"])["metrics"]


def test_the_base_itself_is_on_the_slice() -> None:
    answer = slices(study(), ["lr"], {**ADAMW, "lr": 0.02}, resolution=3)
    assert answer["axes"][0]["values"] == [1e-4, 1e-2, 0.02, 1.0]


def test_a_slice_along_two_parameters_has_the_last_fastest_and_switches_branches() -> None:
    answer = slices(study(), ["optimizer", "lr"], {"optimizer": "sgd", "lr": 0.01}, resolution=3)
    assert [axis["values"] for axis in answer["axes"]] == [["adamw", "sgd"], [1e-4, 1e-2, 1.0]]
    assert answer["points"][1] == {"optimizer": "adamw", "lr": 0.01, "beta": 0.5}
    assert answer["points"][4] == {"optimizer": "sgd", "lr": 0.01}
    assert len(answer["metrics"]["score"]["sd"]) == 6


def test_without_a_base_the_slice_goes_through_the_best_trial() -> None:
    given = study()
    best = max(given.trials, key=lambda trial: trial.values["score"])
    assert slices(given, ["lr"])["base"] == best.params


@pytest.mark.parametrize(
    ("parameters", "base", "resolution", "pointer", "detail"),
    [
        (["speed"], None, 5, "/parameters/0", "the space has optimizer, lr, beta"),
        ([], None, 5, "/parameters", "one or two different"),
        (["lr", "lr"], None, 5, "/parameters", "one or two different"),
        (["lr", "beta", "optimizer"], None, 5, "/parameters", "one or two different"),
        (["lr"], None, 1, "/resolution", "between 2 and 101"),
        (["lr", "optimizer"], None, 33, "/resolution", "between 2 and 32"),
        (["beta"], {"optimizer": "sgd", "lr": 0.1}, 5, "/base", "choose a base with optimizer = 'adamw'"),
        (["lr"], {"optimizer": "sgd", "lr": 7}, 5, "/base/lr", "must lie between"),
    ],
)
def test_a_slice_that_cannot_be_made_is_refused(
    parameters: list[str], base: Any, resolution: int, pointer: str, detail: str
) -> None:
    with pytest.raises(Refused) as caught:
        slices(study(), parameters, base, resolution)
    (problem,) = caught.value.problems
    assert problem.pointer == pointer
    assert detail in problem.detail


# ── calibration ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_that_fits_is_calibrated() -> None:
    answer = calibration(noisy(60, 0.2))
    assert (answer["metric"], answer["folds"], len(answer["trials"])) == ("loss", 20, 60)
    residuals = np.array([trial["residual"] for trial in answer["trials"]])
    assert 0.7 < residuals.std() < 1.4
    assert 0.35 < answer["coverage"]["0.5"] < 0.65
    assert answer["coverage"]["0.95"] > 0.85
    assert 0.15 < answer["rmse"] < 0.3
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_rows_are_in_order_and_in_the_metrics_units() -> None:
    given = study(12)
    answer = calibration(given)
    assert [row["number"] for row in answer["trials"]] == list(range(12))
    assert [row["value"] for row in answer["trials"]] == pytest.approx([t.values["score"] for t in given.trials])
    row = answer["trials"][3]
    assert row["residual"] == pytest.approx((row["value"] - row["mean"]) / row["sd"], rel=0.05)


def test_the_log_score_is_the_density_in_the_metrics_units() -> None:
    """Ten times the units, log 10 less."""
    given = noisy(14, 0.2)
    scaled = replace(given, trials=tuple(replace(t, values={"loss": 10 * t.values["loss"]}) for t in given.trials))
    assert calibration(scaled)["log_score"] == pytest.approx(calibration(given)["log_score"] - np.log(10), abs=0.02)
    row = calibration(given)["trials"]
    expected = [-0.5 * r["residual"] ** 2 - np.log(r["sd"]) - 0.5 * np.log(2 * np.pi) for r in row]
    assert calibration(given)["log_score"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_no_trial_is_predicted_by_a_model_that_has_seen_it() -> None:
    """One value far off its neighbours: left out, it is a surprise; seen, it would not be."""
    given = noisy(30, 0.01)
    odd = replace(given.trials[7], values={"loss": given.trials[7].values["loss"] + 0.5})
    spoilt = replace(given, trials=(*given.trials[:7], odd, *given.trials[8:]))
    row = calibration(spoilt)["trials"][7]
    assert row["value"] - row["mean"] == pytest.approx(0.5, abs=0.2)


def test_the_noise_of_an_outcome_is_read_from_what_it_would_teach() -> None:
    given = noisy(60, 0.3)
    part = model(given).objectives[0]
    rows = np.array([[0.2], [0.8]])
    noise = _noise(part.belief, rows, _posterior(part.belief, rows)[1])
    assert noise[0] == pytest.approx(noise[1], rel=1e-3)
    assert noise[0] == pytest.approx((0.3 / np.std([t.values["loss"] for t in given.trials])) ** 2, rel=0.3)


def test_a_metric_can_be_named_and_an_unknown_one_is_refused() -> None:
    answer = calibration(study(12, limits=("size <= 400",)), "size")
    assert answer["metric"] == "size"
    assert answer["trials"][0]["value"] == pytest.approx(study(1).trials[0].values["size"])
    with pytest.raises(Refused, match="decided by score"):
        calibration(study(12), "size")
