"""Outcomes that may not flatten a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frazil_tuner.numerics import EXTREME, tame

anything = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20).map(np.array)


@given(anything)
def test_outcomes_of_any_finite_scores_are_standard_and_small(scores: np.ndarray) -> None:
    outcomes = tame(scores).apply(scores)
    assert np.all(np.abs(outcomes) < 1e3)
    assert outcomes.mean() == pytest.approx(0, abs=1e-9)
    assert outcomes.std() == pytest.approx(1) or outcomes.std() < 1e-6


@given(anything)
def test_no_order_is_turned_round(scores: np.ndarray) -> None:
    ascending = np.sort(scores)
    assert np.all(np.diff(tame(scores).apply(ascending)) >= 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20, unique=True).map(np.array))
def test_a_belief_comes_back_in_the_units_of_the_scores(scores: np.ndarray) -> None:
    taming = tame(scores)
    spread = np.ptp(scores)
    for score, outcome in zip(scores, taming.apply(scores), strict=True):
        mean, _ = taming.invert(float(outcome), 0.0)
        assert mean == pytest.approx(score, abs=1e-6 * spread)


def test_within_the_knee_the_map_is_a_plain_standardisation() -> None:
    scores = np.array([1.0, 2.0, 4.0, 7.0])
    assert tame(scores).apply(scores) == pytest.approx((scores - scores.mean()) / scores.std())
    assert tame(scores).invert(0.5, 0.25) == pytest.approx((scores.mean() + 0.5 * scores.std(), 0.25 * scores.std()))


def test_one_wild_value_leaves_the_others_apart() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, -1e30])
    outcomes = tame(scores).apply(scores)
    assert np.all(np.diff(outcomes[:4]) > 0.005)
    assert outcomes[4] == outcomes.min()


def test_a_deviation_is_scaled_by_the_slope_beyond_the_knee() -> None:
    taming = tame(np.array([0.0, 1.0, 2.0, 3.0, -1e4]))
    at = float(taming.apply(np.array([-1e4]))[0])
    step = 1e-4
    slope = (taming.invert(at + step, 0.0)[0] - taming.invert(at - step, 0.0)[0]) / (2 * step)
    assert taming.invert(at, 2.0)[1] == pytest.approx(2.0 * slope, rel=1e-4)


def test_what_cannot_be_represented_is_bounded() -> None:
    taming = tame(np.array([-1e308, 0.0, 1e308]))
    mean, sd = taming.invert(1e6, 1e6)
    assert mean == EXTREME
    assert sd == EXTREME


def test_constant_scores_are_all_zero() -> None:
    assert tame(np.full(3, 7.0)).apply(np.full(3, 7.0)).tolist() == [0, 0, 0]
