"""Every answer of a bar distribution equals the integral that it stands for."""

import math

import pytest
import torch

from frazil_tuner.pfn.bars import FLOOR, Bars, Grid, bars, surprise

GRIDS = [Grid(0.0, 1.0, 40), Grid(-5.0, 5.0, 50, tails=0.7)]


@pytest.fixture(params=GRIDS, ids=["bounded", "tailed"])
def belief(request):
    rng = torch.Generator().manual_seed(3)
    p = torch.softmax(2.0 * torch.randn(6, request.param.bins, generator=rng, dtype=torch.float64), -1)
    return Bars(request.param, p)


def points(belief, count=400_001):
    """Points fine enough to integrate over, and the densities (6, count) there."""
    reach = 8 * belief.grid.tails
    y = torch.linspace(belief.grid.low - reach + 1e-9, belief.grid.high + reach - 1e-9, count, dtype=torch.float64)
    return y, belief_at(belief, y).log_density(y.expand(6, -1)).exp()


def belief_at(belief, y):
    return Bars(belief.grid, belief.p[:, None, :].expand(6, len(y), -1))


def levels(belief):
    return torch.linspace(belief.grid.low - belief.grid.tails, belief.grid.high + belief.grid.tails, 23).double()


def integral(y, values):
    return torch.trapezoid(values, y)


def test_the_density_integrates_to_one(belief):
    y, density = points(belief)
    assert torch.allclose(integral(y, density), torch.ones(6).double(), atol=1e-4)


def test_mean_and_variance_are_those_of_the_density(belief):
    y, density = points(belief)
    mean = integral(y, density * y)
    assert torch.allclose(belief.mean(), mean, atol=1e-3)
    assert torch.allclose(belief.variance(), integral(y, density * y * y) - mean**2, atol=1e-3)


def test_exceedance_and_expected_improvement_are_those_of_the_density(belief):
    y, density = points(belief)
    for best in levels(belief):
        at = best.expand(6)
        assert torch.allclose(belief.exceedance(at), integral(y, density * (y > best)), atol=2e-4)
        gain = integral(y, density * (y - best).clamp_min(0))
        assert torch.allclose(belief.expected_improvement(at), gain, atol=1e-3)


def test_quantiles_invert_the_distribution_function(belief):
    for level in (0.001, 0.05, 0.3, 0.5, 0.77, 0.95, 0.999):
        at = belief.quantile(level)
        assert torch.allclose(belief.cdf(at), torch.full((6,), level).double(), atol=1e-6)


def test_intervals_hold_their_mass_and_no_more_than_two_bins_besides(belief):
    for mass in (0.5, 0.9):
        low, high = belief.interval(mass)
        held = belief.cdf(high) - belief.cdf(low)
        assert (held >= mass - 1e-6).all()
        assert (held <= mass + 2 * belief.p.max(-1).values + 1e-6).all()


def test_the_worst_score_lies_in_the_interval_of_who_expects_it():
    p = torch.full((1, 40), 0.005 / 39).double()
    p[0, 0] = 0.995
    low, high = Bars(GRIDS[0], p).interval(0.9)
    assert low == 0
    assert high == pytest.approx(1 / 40)


def test_draws_follow_the_belief_and_their_generator(belief):
    drawn = belief.sample(20_000, torch.Generator().manual_seed(1))
    assert drawn.shape == (20_000, 6)
    assert torch.allclose(drawn.mean(0), belief.mean(), atol=6 * float(belief.variance().max() / 20_000) ** 0.5)
    assert torch.equal(drawn, belief.sample(20_000, torch.Generator().manual_seed(1)))


def test_a_surprise_is_bounded_and_equals_the_density_of_the_belief():
    for grid in GRIDS:
        logits = torch.zeros(4, grid.bins)
        logits[:, 7] = 200.0
        y = torch.tensor([grid.low, grid.high, 0.99 * grid.high, grid.low + 7.5 * grid.width])
        expected = -bars(grid, logits).log_density(y)
        assert torch.allclose(surprise(grid, logits, y), expected, atol=1e-5)
        assert surprise(grid, logits, y).max() < math.log(grid.bins / FLOOR) + 3.0
