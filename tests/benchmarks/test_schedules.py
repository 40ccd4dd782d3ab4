"""The problems of the benchmark of schedules have the slopes of their losses, and a small comparison ends."""

from __future__ import annotations

import numpy as np
import pytest
from schedules import PROBLEMS, compare, train


@pytest.mark.parametrize("name", PROBLEMS)
def test_slopes_are_those_of_the_losses(name):
    problem, rng = PROBLEMS[name](), np.random.default_rng(0)
    w, rows = problem.start(rng) + 0.01 * rng.standard_normal(len(problem.start(rng))), np.arange(64)
    direction = rng.standard_normal(len(w))
    ahead, behind = (problem.loss(w + step * direction, rows) for step in (1e-6, -1e-6))
    assert problem.slope(w, rows) @ direction == pytest.approx((ahead - behind) / 2e-6, rel=1e-3, abs=1e-5)


def test_all_schedules_are_compared_over_the_same_seeds():
    found = compare(PROBLEMS["absolute"](), 60, 2)
    assert set(found) == {"constant", "cosine", "linear", "refined"}
    assert all(len(losses) == 2 and np.isfinite(losses).all() for _, losses in found.values())


def test_a_schedule_and_a_peak_are_what_is_trained_with():
    problem = PROBLEMS["hinge"]()
    still, norms = train(problem, np.zeros(5), 1.0, 0)
    moved, _ = train(problem, np.ones(5), 0.1, 0)
    assert len(norms) == 5
    assert still == problem.loss(np.zeros(65), np.arange(problem.rows)) > moved
    assert train(problem, np.full(5, 0.5), 0.2, 0)[0] == pytest.approx(moved)
