"""What policies that only compare read from a study."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.policies.readings import best_and_latest, read, strengths
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "x", "type": "float", "low": 0, "high": 1},
        {"name": "task", "type": "categorical", "choices": list("abcd")},
    ]
)
LOSS, SIZE = Objective("loss"), Objective("size", "maximize")
COMPLETED, FAILED, RUNNING = TrialState.COMPLETED, TrialState.FAILED, TrialState.RUNNING


def trial(number: int, state: TrialState = COMPLETED, task: str = "a", **values: float) -> Trial:
    return Trial(number, {"x": number / 100, "task": task}, state, values=values)


def study(*trials: Trial, limits: tuple[str, ...] = (), objectives: Any = (LOSS,), **more: Any) -> Study:
    constraints = tuple(map(OutcomeConstraint.parse, limits))
    return Study(Definition(SPACE, objectives, outcome_constraints=constraints), trials, **more)


def test_only_trials_that_ended_with_a_value_or_a_failure_are_read() -> None:
    given = study(
        trial(0, loss=1.0),
        trial(1, RUNNING, loss=0.5),
        trial(2),
        trial(3, FAILED),
        replace(trial(4, loss=0.1), excluded=True),
    )
    reading = read(given)
    assert [t.number for t in reading.trials] == [0, 3]
    assert reading.sound.tolist() == [True, False]
    assert reading.rows[:, 0].tolist() == [0.0, 0.03]


def test_trials_within_bounds_come_before_those_out_of_them_and_failures_come_last() -> None:
    given = study(
        trial(0, loss=1.0, size=3),
        trial(1, loss=0.0, size=9),
        trial(2, loss=2.0, size=5),
        trial(3, FAILED),
        trial(4, loss=0.5, size=6),
        trial(5, loss=math.nan, size=1),
        limits=("size <= 5",),
    )
    merits = read(given).merits()
    assert np.argsort(-merits, kind="stable")[:4].tolist() == [0, 2, 4, 1]
    assert merits[3] == merits[5] == 1.5


def test_each_constraint_counts_in_units_of_its_worst_case() -> None:
    given = study(
        trial(0, loss=0, size=2e9, rows=1),
        trial(1, loss=0, size=1, rows=3),
        trial(2, loss=0, size=1e9, rows=2),
        trial(3, loss=0, size=1),
        limits=("size <= 1", "rows <= 1"),
    )
    assert read(given).violation.tolist() == pytest.approx([1, 1, 1, 1])


def test_of_several_objectives_the_trials_that_fewest_others_beat_in_all_come_first() -> None:
    given = study(
        trial(0, loss=1, size=1),
        trial(1, loss=2, size=2),
        trial(2, loss=3, size=1.5),
        trial(3, loss=4, size=0),
        objectives=(LOSS, SIZE),
    )
    reading = read(given)
    assert reading.merits().tolist() == [3.5, 3.5, 2, 1]
    assert reading.ranks()[:, 0].tolist() == [4, 3, 2, 1]


def test_strengths_follow_the_rankings_and_stay_finite() -> None:
    strength = strengths([(3, 1, 7), (1, 7), (3, 7)])
    assert sorted(strength, key=strength.__getitem__) == [7, 1, 3]
    assert all(math.isfinite(value) for value in strengths([(0, 1)] * 500).values())
    assert strengths([(4,)]) == {}


def test_one_win_and_one_loss_are_a_draw() -> None:
    strength = strengths([(0, 1), (1, 0)])
    assert strength[0] == pytest.approx(strength[1]) == pytest.approx(0.0)


def test_strengths_solve_the_equation_of_the_model() -> None:
    """Two numbers, one win: with a win and a loss against 1 each, 2 = γ₁ (2 / (γ₁ + 1) + 1 / (γ₁ + γ₂)) and so on."""
    g = {number: math.exp(value) for number, value in strengths([(0, 1)]).items()}
    assert g[0] * (2 / (g[0] + 1) + 1 / (g[0] + g[1])) == pytest.approx(2)
    assert g[1] * (2 / (g[1] + 1) + 1 / (g[0] + g[1])) == pytest.approx(1)


def test_a_preference_study_is_read_from_its_rankings() -> None:
    preference = Objective("taste", "maximize", by="comparison")
    given = study(*map(trial, range(4)), objectives=(preference,), rankings=((2, 0), (0, 3)))
    reading = read(given)
    assert [t.number for t in reading.trials] == [0, 2, 3]
    assert reading.merits().tolist() == [2, 3, 1]


def test_under_a_context_the_trials_of_others_count_only_while_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil_tuner.policies.readings.AT_HAND", 3)
    trials = [trial(i, task="b" if i % 2 else "a", loss=i) for i in range(10)]
    reading = read(study(*trials, context={"task": "b"}))
    assert [t.number for t in reading.trials] == [1, 3, 5, 7, 9]
    assert reading.rows.shape == (5, 2)
    reading = read(study(*trials[:4], context={"task": "b"}))
    assert [t.number for t in reading.trials] == [0, 1, 3]


def test_of_too_many_the_best_and_the_latest_are_kept() -> None:
    merits = np.array([9.0, 0, 8, 1, 2, 3, 4])
    assert best_and_latest(merits, 4).tolist() == [0, 2, 5, 6]
    assert best_and_latest(merits, 7).tolist() == list(range(7))
