"""The numerics of look-ahead and entropies against many digits, at every switch of regime."""

from __future__ import annotations

from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch

from frazil_tuner.acquisition.entropy import LOWEST, log_information, log_narrowing
from frazil_tuner.acquisition.lookahead import LEAST_SLOPE, NOTHING, log_expected_rise

EPS = 1e-9


def value_and_slope(function: object, z: float) -> tuple[float, float]:
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = function(at)
    value.backward()
    return value.item(), at.grad.item()


@pytest.mark.parametrize("z", [LOWEST, LOWEST + EPS, -8.0, -1 - EPS, -1.0, -1 + EPS, 0.0, 1.0, 5.0, 9.0, 40.0, 1e4])
def test_log_narrowing_agrees_with_many_digits(z: float) -> None:
    def exact(z: mpmath.mpf) -> mpmath.mpf:
        """log(φ (φ + z Φ) / Φ²); φ by logarithm, or it would vanish."""
        log_density = -(z**2) / 2 - mpmath.log(2 * mpmath.pi) / 2
        return log_density + mpmath.log(mpmath.npdf(z) + z * mpmath.ncdf(z)) - 2 * mpmath.log(mpmath.ncdf(z))

    with mpmath.workdps(60):
        expected, slope = exact(mpmath.mpf(z)), mpmath.diff(exact, mpmath.mpf(z), h=mpmath.mpf("1e-20"))
    ours, gradient = value_and_slope(log_narrowing, z)
    assert ours == pytest.approx(float(expected), rel=1e-11, abs=2e-12)
    assert gradient == pytest.approx(float(slope), rel=1e-6, abs=1e-9)


def test_log_narrowing_stays_where_it_is_further_down() -> None:
    assert value_and_slope(log_narrowing, -1e8) == (value_and_slope(log_narrowing, LOWEST)[0], 0.0)


@pytest.mark.parametrize("z", [-1e300, -1e5, -25.0, -20 - EPS, -20.0, -20 + EPS, -5.0, -0.5, -1e-3, -1e-6])
def test_log_information_agrees_with_many_digits(z: float) -> None:
    with mpmath.workdps(60):
        big = mpmath.mpf(max(z, -1e3))
        nats = -mpmath.log1p(-mpmath.exp(big)) / 2
        slope = mpmath.exp(big) / (1 - mpmath.exp(big)) / 2 / nats
    ours, gradient = value_and_slope(log_information, z)
    assert ours == pytest.approx(float(mpmath.log(nats)) if z > -1e3 else z + np.log(0.5), rel=1e-12)
    assert gradient == pytest.approx(float(slope), rel=1e-7)


def test_information_is_finite_where_everything_is_told() -> None:
    assert log_information(torch.tensor([0.0, 1e-3], dtype=torch.float64)).isfinite().all()


def expected_rise(heights: list[float], slopes: list[float]) -> float:
    """log(E max_i (a_i + b_i Z) - max_i a_i) by integration between all crossings, with many digits."""
    with mpmath.workdps(50):
        lines = [(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(heights, slopes, strict=True)]
        cuts = sorted({(a - c) / (d - b) for a, b in lines for c, d in lines if d > b})
        ends = [-mpmath.inf, *cuts, mpmath.inf]
        top = max(a for a, _ in lines)
        total = mpmath.mpf(0)
        for low, high in pairwise(ends):
            middle = (max(low, mpmath.mpf(-1e9)) + min(high, mpmath.mpf(1e9))) / 2
            a, b = max(lines, key=lambda line: line[0] + line[1] * middle)
            density = mpmath.npdf(low) - mpmath.npdf(high)
            weight = mpmath.ncdf(high) - mpmath.ncdf(low)
            if low > 0:
                weight = mpmath.ncdf(-low) - mpmath.ncdf(-high)
            total += (a - top) * weight + b * density
        return float(mpmath.log(total))


LINES = {
    "two": ([0.0, 0.0], [0.0, 1.0]),
    "several": ([0.0, 0.5, -1.0, 0.4, 0.1], [0.3, -0.5, 2.0, 0.1, 0.31]),
    "a useless one": ([0.0, -5.0, 0.2], [0.0, 0.5, 1.0]),
    "far below": ([0.0, -9.0], [0.0, 1.0]),
    "copies": ([0.0, 0.3, 0.3, 0.0, 0.3], [0.1, 0.7, 0.7, 0.1, 0.7]),
    "parallel": ([0.0, 1.0, 0.5, 0.2], [0.5, 0.5, 0.5, 1.0]),
    "through one point": ([0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]),
    "nearly parallel": ([0.0, 1e-8, 0.1], [0.0, 1e-7, 0.5]),
}


@pytest.mark.parametrize("name", LINES)
def test_the_expected_rise_of_lines_agrees_with_integration(name: str) -> None:
    heights, slopes = (torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in LINES[name])
    ours = log_expected_rise(heights, slopes)
    assert ours.item() == pytest.approx(expected_rise(*LINES[name]), rel=1e-9)
    order = torch.arange(len(heights)).flip(0)
    assert log_expected_rise(heights[order], slopes[order]).item() == pytest.approx(ours.item(), rel=1e-9)


def test_rows_of_lines_are_wrapped_each_for_itself() -> None:
    rng = torch.Generator().manual_seed(0)
    heights, slopes = torch.randn(2, 40, 9, generator=rng, dtype=torch.float64)
    together = log_expected_rise(heights, slopes)
    assert torch.allclose(together, torch.stack([log_expected_rise(*row) for row in zip(heights, slopes, strict=True)]))
    assert together[3].item() == pytest.approx(expected_rise(heights[3].tolist(), slopes[3].tolist()), rel=1e-9)


def test_the_slopes_of_the_expected_rise_are_exact() -> None:
    heights, slopes = (torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in LINES["several"])
    assert torch.autograd.gradcheck(log_expected_rise, (heights, slopes))


def test_the_rise_of_a_line_a_million_deviations_below_has_a_logarithm() -> None:
    heights = torch.tensor([0.0, -1e6], dtype=torch.float64, requires_grad=True)
    rise = log_expected_rise(heights, torch.tensor([0.0, 1.0], dtype=torch.float64))
    rise.backward()
    assert rise.item() == pytest.approx(-5e11, rel=1e-9)
    assert heights.grad.tolist() == pytest.approx([-1e6, 1e6], rel=1e-6)


def test_parallel_lines_rise_by_nothing() -> None:
    heights = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    rise = log_expected_rise(heights, torch.tensor([0.2, 0.2, 0.2 + LEAST_SLOPE / 2], dtype=torch.float64))
    rise.backward()
    assert rise.item() == pytest.approx(NOTHING)
    assert heights.grad.tolist() == [0, 0, 0]
