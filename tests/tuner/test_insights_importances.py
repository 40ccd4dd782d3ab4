"""Importances by every method, on functions whose shares are known."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import Conflict, Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.insights import METHODS, importances
from frazil_tuner.insights.importances import sobol_indices
from frazil_tuner.space import Space

CUBE = Space.from_json(
    [
        {"name": "strong", "type": "float", "low": 0, "high": 1},
        {"name": "idle", "type": "float", "low": 0, "high": 1},
        {"name": "weak", "type": "float", "low": 0, "high": 1},
        {"name": "seed", "type": "fixed", "value": 1},
    ]
)
WIDE = Space.from_json(
    [{"name": name, "type": "float", "low": 0, "high": 1} for name in ("strong", "weak", *(f"p{i}" for i in range(60)))]
)
LOSS, SIZE = Objective("loss"), Objective("size")


def study(n: int, space: Space = CUBE, objectives: Any = (LOSS,), limits: tuple[str, ...] = (), **more: Any) -> Study:
    """Trials whose loss depends on `strong` most and on `weak` a little, and whose size depends on `weak` alone."""
    rng = np.random.default_rng(more.pop("seed", 0))
    points = [space.draw(rng) for _ in range(n)]
    trials = tuple(
        Trial(i, p, TrialState.COMPLETED, values={"loss": loss(p), "size": p["weak"]}) for i, p in enumerate(points)
    )
    return Study(Definition(space, objectives, outcome_constraints=tuple(map(OutcomeConstraint.parse, limits))), trials)


def loss(p: Any) -> float:
    return float(4 * (p["strong"] - 0.3) ** 2 + 0.5 * (p["weak"] - 0.5) ** 2)


@pytest.mark.parametrize("method", METHODS)
def test_the_strong_parameter_comes_before_the_weak_and_the_idle(method: str) -> None:
    answer = importances(study(60), method)
    shares = answer["importances"]
    assert set(shares) == {"strong", "weak", "idle"}
    assert shares["strong"] > 0.5
    assert shares["idle"] < 0.3
    assert sum(shares.values()) == pytest.approx(1)
    assert (answer["method"], answer["because"], answer["metric"]) == (method, "named by the user", "loss")
    assert answer["observations"] == 60
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


@pytest.mark.parametrize("method", METHODS)
def test_another_metric_has_importances_of_its_own(method: str) -> None:
    answer = importances(study(60, objectives=(LOSS, SIZE)), method, "size")
    assert answer["metric"] == "size"
    assert answer["importances"]["weak"] > 0.6


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_makes_a_difference_nothing_matters(method: str) -> None:
    flat = study(15)
    flat = Study(flat.definition, tuple(Trial(t.number, t.params, t.state, values={"loss": 1.0}) for t in flat.trials))
    assert set(importances(flat, method)["importances"].values()) == {0.0}


def test_sobol_indices_of_a_known_function() -> None:
    """Ishigami: S = 0.3139, 0.4424, 0; T = 0.5576, 0.4424, 0.2437."""

    def ishigami(u: np.ndarray) -> np.ndarray:
        x = np.pi * (2 * u - 1)
        return np.asarray(np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0]))

    first, total = sobol_indices(ishigami, CUBE, 0)
    assert list(first.values()) == pytest.approx([0.3139, 0.4424, 0.0], abs=0.03)
    assert list(total.values()) == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.03)
    again, _ = sobol_indices(ishigami, CUBE, 1)
    assert again != first


def test_what_a_name_switches_on_counts_for_the_name() -> None:
    space = Space.from_json(
        [
            {"name": "on", "type": "bool"},
            {"name": "x", "type": "float", "low": 0, "high": 1, "when": {"on": [True]}},
        ]
    )
    first, total = sobol_indices(lambda u: u[:, 1], space, 0)  # an inactive x stands at 0.5
    assert first["on"] == pytest.approx(0, abs=0.03)
    assert total["on"] == pytest.approx(0.5, abs=0.05)
    assert total["x"] == pytest.approx(1.0, abs=0.05)


def test_a_component_of_a_mixture_is_part_of_its_parameter() -> None:
    space = Space.from_json(
        [
            {"name": "mixture", "type": "simplex", "components": ["web", "code", "books"]},
            {"name": "x", "type": "float", "low": 0, "high": 1},
        ]
    )
    rng = np.random.default_rng(0)
    points = [space.draw(rng) for _ in range(40)]
    trials = tuple(
        Trial(i, p, TrialState.COMPLETED, values={"loss": p["mixture"]["code"]}) for i, p in enumerate(points)
    )
    for method in METHODS:
        shares = importances(Study(Definition(space, (LOSS,)), trials), method)["importances"]
        assert set(shares) == {"mixture", "x"}
        assert shares["mixture"] > 0.6


@pytest.mark.parametrize(
    ("given", "method", "reason"),
    [
        (study(20), "sobol", "makes the most of"),
        (study(320), "ped_anova", "more than 300 trials"),
        (study(12, space=WIDE), "ped_anova", "more than 50 parameters"),
        (study(20, objectives=(LOSS, SIZE)), "ped_anova", "more than one metric"),
        (study(20, limits=("size <= 0.5",)), "ped_anova", "more than one metric"),
    ],
    ids=["few", "many", "wide", "several objectives", "constraints"],
)
def test_the_method_follows_from_the_study_and_says_why(given: Study, method: str, reason: str) -> None:
    answer = importances(given)
    assert answer["method"] == method
    assert reason in answer["because"]


def test_several_objectives_matter_together() -> None:
    shares = importances(study(200, objectives=(LOSS, SIZE)))["importances"]
    assert min(shares, key=shares.__getitem__) == "idle"


def test_interactions_are_what_the_total_index_has_beyond_the_first() -> None:
    answer = importances(study(40), "sobol")
    for name, interaction in answer["interactions"].items():
        assert interaction == pytest.approx(max(answer["total"][name] - answer["first_order"][name], 0))


def test_a_forest_grows_on_so_many_trials_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[sobol_indices.__module__], "MOST_FOREST", 50)
    answer = importances(study(120), "fanova")
    assert answer["observations"] == 50
    assert answer["importances"]["strong"] > 0.5


def test_unknown_names_are_refused() -> None:
    with pytest.raises(Refused) as caught:
        importances(study(20), "shap")
    assert (caught.value.code, caught.value.problems[0].pointer) == ("method_unknown", "/method")
    assert "known are auto, ped_anova, fanova, sobol" in caught.value.detail
    with pytest.raises(Refused) as caught:
        importances(study(20), "auto", "speed")
    assert (caught.value.code, caught.value.problems[0].pointer) == ("metric_unknown", "/metric")
    assert "decided by loss" in caught.value.detail


@pytest.mark.parametrize("method", METHODS)
def test_too_few_trials_are_a_conflict_that_says_how_many_are_missing(method: str) -> None:
    with pytest.raises(Conflict, match="ask again after 4 more") as caught:
        importances(study(6), method)
    assert caught.value.code == "too_few_trials"
    diverged = study(12)
    trials = tuple(Trial(t.number, t.params, t.state, values={"loss": math.nan}) for t in diverged.trials)
    with pytest.raises(Conflict):
        importances(Study(diverged.definition, trials), method)
