"""Performance profiles, on times whose profiles are counted by hand."""

from __future__ import annotations

import json
import math

import pytest

from frazil_tuner.insights import profiles

NEVER = math.inf


def test_a_profile_counts_the_problems_solved_within_a_multiple_of_the_fastest() -> None:
    found = profiles(
        {
            "one": {"a": [10.0], "b": [20.0]},
            "two": {"a": [30.0], "b": [15.0]},
            "three": {"a": [5.0], "b": [NEVER]},
            "four": {"a": [NEVER], "b": [NEVER]},
        }
    )
    assert found["taus"] == [1.0, 2.0]
    a, b = found["solvers"]
    assert (a["solver"], a["shares"], a["solved"], a["fastest"]) == ("a", [2 / 4, 3 / 4], 3, 2)
    assert (b["solver"], b["shares"], b["solved"], b["fastest"]) == ("b", [1 / 4, 2 / 4], 2, 1)
    assert found["problems"][2] == {"problem": "three", "times": {"a": 5.0, "b": None}}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_score_is_the_mean_of_the_profile_up_to_four() -> None:
    found = profiles({"one": {"a": [1.0], "b": [2.5]}, "two": {"a": [1.0], "b": [8.0]}})
    scores = {row["solver"]: row["score"] for row in found["solvers"]}
    assert scores == {"a": pytest.approx(1.0), "b": pytest.approx((4 - 2.5) / 3 / 2)}


def test_repeats_count_by_their_median_and_a_run_that_never_arrives_is_the_longest() -> None:
    found = profiles({"one": {"a": [1.0, NEVER, 3.0], "b": [2.0, NEVER, NEVER]}})
    assert found["problems"] == [{"problem": "one", "times": {"a": 3.0, "b": None}}]


def test_a_solver_that_was_not_tried_has_not_solved_the_problem() -> None:
    found = profiles({"one": {"a": [1.0]}, "two": {"a": [4.0], "b": [4.0]}})
    solved = {row["solver"]: row["solved"] for row in found["solvers"]}
    assert solved == {"a": 2, "b": 1}


def test_no_time_at_all_is_a_time() -> None:
    found = profiles({"one": {"a": [0.0], "b": [1.0]}})
    assert [row["solver"] for row in found["solvers"]] == ["a", "b"]
    assert all(math.isfinite(tau) for tau in found["taus"])
