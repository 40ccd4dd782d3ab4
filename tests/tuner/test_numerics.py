"""Outcomes that may not flatten a model."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frazil_tuner.numerics import BENDS, EXTREME, FAR, NEAR, log_h, tame

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


@pytest.mark.parametrize("bend", BENDS[1:])
class TestBends:
    SCORES = np.array([-40.0, -9.0, -3.0, -2.5, -1.0, 0.0, 0.5])

    def test_a_bent_scale_keeps_the_order_and_comes_back(self, bend: tuple[float, float]) -> None:
        taming = tame(self.SCORES, *bend)
        outcomes = taming.apply(self.SCORES)
        assert np.all(np.diff(outcomes) > 0)
        assert [outcomes.mean(), outcomes.std()] == pytest.approx([0, 1])
        assert [taming.invert(float(y), 0.0)[0] for y in outcomes] == pytest.approx(self.SCORES.tolist(), abs=1e-9)

    def test_its_slope_is_exact_and_steepest_at_the_best(self, bend: tuple[float, float]) -> None:
        taming = tame(self.SCORES, *bend)
        inner = self.SCORES[:-1]
        exact = (taming.apply(inner + 1e-6) - taming.apply(inner - 1e-6)) / 2e-6
        assert taming.slope(inner) == pytest.approx(exact, rel=1e-6)
        assert np.exp(taming.log_slope(inner[1:])) / taming.slope(inner[1:]) == pytest.approx(taming.spread)
        assert np.all(np.diff(taming.slope(inner)) > 0)

    def test_beliefs_beyond_the_best_stay_finite(self, bend: tuple[float, float]) -> None:
        mean, sd = tame(self.SCORES, *bend).invert(1e3, 1.0)
        assert 0.5 <= mean < 1e4
        assert np.isfinite(sd)


def test_the_log_of_a_normal_gain_agrees_with_many_digits() -> None:
    z = [-1e150, -1e8, FAR - 1e-9, FAR, FAR + 1e-9, -5.0, NEAR - 1e-9, NEAR, NEAR + 1e-9, 0.0, 3.0, 40.0]
    with mpmath.workdps(400):
        exact = [float(mpmath.log(mpmath.npdf(x) + x * mpmath.ncdf(x))) if x > -1e7 else None for x in z]
    for x, ours, theirs in zip(z, log_h(np.array(z)), exact, strict=True):
        assert ours == pytest.approx(-(x**2) / 2 if theirs is None else theirs, rel=1e-10)


def test_what_cannot_be_represented_is_bounded() -> None:
    taming = tame(np.array([-1e308, 0.0, 1e308]))
    mean, sd = taming.invert(1e6, 1e6)
    assert mean == EXTREME
    assert sd == EXTREME


def test_constant_scores_are_all_zero() -> None:
    assert tame(np.full(3, 7.0)).apply(np.full(3, 7.0)).tolist() == [0, 0, 0]
