"""Many quasi-Newton ascents at once: each as good as a library's own, none outside the cube, none lower than before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from frazil_tuner.acquisition.ascent import ascend

EVERYWHERE = np.ones((6, 3), dtype=bool)


def starts(k: int = 6, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((k, d))


def valley(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minus a banana-shaped valley, with its slope."""
    a, b, c = x.T
    value = -(10 * (b - a**2) ** 2 + (0.6 - a) ** 2 + (c - 0.3) ** 2)
    slope = np.stack([40 * a * (b - a**2) + 2 * (0.6 - a), -20 * (b - a**2), -2 * (c - 0.3)], axis=1)
    return value, slope


def test_every_row_reaches_what_a_library_reaches_from_there() -> None:
    rows, values = ascend(valley, starts(), EVERYWHERE, 60)
    for start, row, value in zip(starts(), rows, values, strict=True):
        theirs = minimize(
            lambda x: (-valley(x[None])[0][0], -valley(x[None])[1][0]),
            start,
            jac=True,
            bounds=[(0, 1)] * 3,
            method="L-BFGS-B",
        )
        assert value == pytest.approx(-theirs.fun, abs=1e-3)
        assert row == pytest.approx([0.6, 0.36, 0.3], abs=0.05)


def test_rows_do_not_disturb_each_other() -> None:
    together, _ = ascend(valley, starts(), EVERYWHERE, 25)
    alone = [ascend(valley, start[None], EVERYWHERE[:1], 25)[0][0] for start in starts()]
    assert together == pytest.approx(np.array(alone), abs=1e-12)


def test_a_maximum_on_the_border_is_reached_and_not_left() -> None:
    rows, values = ascend(lambda x: (x.sum(1), np.ones_like(x)), starts(), EVERYWHERE, 30)
    assert np.array_equal(rows, np.ones_like(rows))
    assert values.tolist() == [3.0] * 6


def test_coordinates_that_are_not_free_stay() -> None:
    free = EVERYWHERE.copy()
    free[:, 1] = False
    rows, _ = ascend(valley, starts(), free, 30)
    assert np.array_equal(rows[:, 1], starts()[:, 1])
    assert not np.array_equal(rows[:, 2], starts()[:, 2])


def test_no_row_ends_lower_even_where_the_slope_lies() -> None:
    def lying(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = valley(x)
        return value, -slope

    _, values = ascend(lying, starts(), EVERYWHERE, 20)
    assert np.all(values >= valley(starts())[0])


def test_rows_without_a_worth_are_left_alone() -> None:
    def torn(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = valley(x)
        value[0] = np.nan
        return value, slope

    rows, values = ascend(torn, starts(), EVERYWHERE, 20)
    assert np.array_equal(rows[0], starts()[0])
    assert values[0] == -np.inf
    assert values[1] > valley(starts())[0][1]
