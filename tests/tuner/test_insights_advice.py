"""Advice on stopping, and regret under contexts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import Conflict, Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.insights import advice, regret
from frazil_tuner.space import Space

LINE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
LOSS = Objective("loss")


def told(xs: Any, scale: float = 1.0, limits: tuple[str, ...] = (), **more: Any) -> Study:
    trials = tuple(
        Trial(
            i, {"x": float(x)}, TrialState.COMPLETED, values={"loss": scale * (x - 0.4) ** 2, "size": float(x)}, **more
        )
        for i, x in enumerate(xs)
    )
    return Study(Definition(LINE, (LOSS,), outcome_constraints=tuple(map(OutcomeConstraint.parse, limits))), trials)


def test_a_study_whose_optimum_is_found_may_stop() -> None:
    answer = advice(told([*np.linspace(0, 1, 12), 0.39, 0.4, 0.41, 0.4001]))
    assert answer["advice"] == "stop"
    assert answer["regret_bound"] <= answer["threshold"]
    assert answer["sentence"].startswith("Stop: with 90 % confidence no configuration betters loss by more than")
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_a_study_that_has_not_looked_where_the_optimum_is_goes_on() -> None:
    answer = advice(told(np.linspace(0.7, 1, 12)))
    assert answer["advice"] == "continue"
    assert answer["expected_gain"] > 0
    assert answer["regret_bound"] > answer["threshold"]
    assert "may still be bettered by up to" in answer["sentence"]
    assert answer["observations"] == 12


def test_gain_and_bound_are_in_the_metrics_units() -> None:
    one, thousand = (advice(told(np.linspace(0.7, 1, 12), scale)) for scale in (1.0, 1000.0))
    for name in ("expected_gain", "regret_bound", "threshold"):
        assert thousand[name] == pytest.approx(1000 * one[name], rel=0.05)


def test_the_tolerance_is_the_users() -> None:
    given = told(np.linspace(0.7, 1, 12))
    assert advice(given, 1e6)["advice"] == "stop"
    assert advice(given, 1e6)["threshold"] == 1e6
    found = told([*np.linspace(0, 1, 12), 0.39, 0.4, 0.41, 0.4001])
    assert advice(found, 1e-12)["advice"] == "continue"


def test_what_would_not_show_in_the_noise_does_not_matter() -> None:
    answer = advice(told(np.linspace(0, 1, 12), sems={"loss": 0.5}))
    assert answer["threshold"] == pytest.approx(0.5)


def test_as_long_as_nothing_is_within_bounds_the_study_goes_on() -> None:
    answer = advice(told(np.linspace(0.7, 1, 12), limits=("size <= 0.1",)))
    assert (answer["advice"], answer["expected_gain"], answer["regret_bound"]) == ("continue", None, None)
    assert "outcome constraints" in answer["sentence"]


@pytest.mark.parametrize("tolerance", [0, -1, "1", float("nan")])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance: Any) -> None:
    with pytest.raises(Refused) as caught:
        advice(told(np.linspace(0, 1, 12)), tolerance)
    assert [problem.pointer for problem in caught.value.problems] == ["/tolerance"]


@pytest.mark.parametrize("ask", [advice, regret])
def test_several_objectives_are_refused(ask: Any) -> None:
    given = told(np.linspace(0, 1, 12))
    several = replace(given, definition=Definition(LINE, (LOSS, Objective("size"))))
    with pytest.raises(Refused) as caught:
        ask(several)
    assert caught.value.problems[0].pointer == "/objectives"


def test_nobody_is_advised_before_ten_trials() -> None:
    with pytest.raises(Conflict, match="ask again after 6 more"):
        advice(told([0.1, 0.2, 0.3, 0.4]))


# ── regret ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SERVED = Space.from_json(
    [
        {"name": "x", "type": "float", "low": 0, "high": 1},
        {"name": "load", "type": "categorical", "choices": ["day", "night"], "role": "context"},
    ]
)
BEST = {"day": 0.2, "night": 0.8}


def served(pulls: list[tuple[str, float]], sign: float = 1.0) -> Study:
    objective = LOSS if sign > 0 else Objective("loss", "maximize")
    trials = tuple(
        Trial(i, {"x": x, "load": load}, TrialState.COMPLETED, values={"loss": sign * (x - BEST[load]) ** 2})
        for i, (load, x) in enumerate(pulls)
    )
    return Study(Definition(SERVED, (objective,)), trials)


PULLS = [(load, x) for x in np.linspace(0, 1, 12).tolist() for load in ("day", "night")]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_regret_is_against_the_best_of_each_context_and_adds_up(sign: float) -> None:
    answer = regret(served(PULLS, sign))
    true = [(x - BEST[load]) ** 2 for load, x in PULLS]
    assert [row["regret"] for row in answer["trials"]] == pytest.approx(true, abs=0.03)
    np.testing.assert_allclose(
        [row["cumulative"] for row in answer["trials"]], np.cumsum([row["regret"] for row in answer["trials"]])
    )
    assert answer["cumulative"] == answer["trials"][-1]["cumulative"]
    assert answer["mean_regret"] == pytest.approx(answer["cumulative"] / 24)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_each_context_names_its_best_configuration() -> None:
    contexts = regret(served(PULLS))["contexts"]
    assert [(row["context"], row["trials"]) for row in contexts] == [({"load": "day"}, 12), ({"load": "night"}, 12)]
    for row in contexts:
        assert row["best"]["load"] == row["context"]["load"]
        assert row["best"]["x"] == pytest.approx(BEST[row["context"]["load"]], abs=0.08)
        assert row["expected"] == pytest.approx(0, abs=0.03)


def test_a_service_that_has_learned_regrets_little() -> None:
    learned = [("day", 0.2), ("night", 0.8)] * 5
    rows = regret(served([*PULLS, *learned]))["trials"]
    assert np.mean([row["regret"] for row in rows[-10:]]) < 0.1 * np.mean([row["regret"] for row in rows[:24]])


def test_without_a_context_all_trials_share_the_empty_one() -> None:
    (context,) = regret(told(np.linspace(0, 1, 12)))["contexts"]
    assert (context["context"], context["trials"]) == ({}, 12)
    with pytest.raises(Conflict):
        regret(told([]))
