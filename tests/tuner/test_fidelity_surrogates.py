"""Models of several fidelities, against formulas written out another way."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from botorch.models.kernels import DownsamplingKernel, ExponentialDecayKernel, LinearTruncatedFidelityKernel
from gpytorch.kernels import MaternKernel
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence, Unsuited
from frazil_tuner.surrogates.fidelity import FIDELITY_SURROGATES, AtFidelity, at
from frazil_tuner.surrogates.fidelity.augmented import downsampling, exponential_decay, linear_truncated
from frazil_tuner.surrogates.fidelity.autoregressive import autoregressive_model
from frazil_tuner.surrogates.fidelity.base import Conditioned, _telling, levels_of, nearest
from frazil_tuner.surrogates.general import ExactBelief, Seen, Values, gaps_between, mixed

ORDERED = torch.zeros(1, dtype=torch.bool)
SHARES = torch.tensor([0.05, 0.2, 0.5, 0.9], dtype=torch.float64)


def uniform(n: int, d: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(**values: float | list[float]) -> Values:
    return {name: torch.tensor(value, dtype=torch.float64).reshape(-1) for name, value in values.items()}


def forrester(x: Tensor) -> Tensor:
    return (6 * x - 2).square() * torch.sin(12 * x - 4)


def evidence(low: Tensor, high: Tensor, function: Callable[[Tensor, float], Tensor], share: float = 0.5) -> Evidence:
    """Values of f(x, s) at points (n,) of a low share and of the full resource."""
    X = torch.cat([at(low[:, None], share), at(high[:, None], 1.0)])
    y = torch.cat([function(low, share), function(high, 1.0)])
    return Evidence(X, (y - y.mean()) / y.std(), torch.zeros(2, dtype=torch.bool))


# ── kernels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_downsampling_kernel_is_botorch_s() -> None:
    theirs = DownsamplingKernel().double()
    theirs.power, theirs.offset = 0.7, 1.3
    expected = theirs(SHARES[:, None], SHARES[1:, None]).to_dense().detach()
    assert torch.allclose(downsampling(SHARES, SHARES[1:], numbers(power=0.7, weight=1.3)), expected)


def test_the_exponential_decay_kernel_is_botorch_s() -> None:
    theirs = ExponentialDecayKernel().double()
    theirs.power, theirs.offset, theirs.lengthscale = 0.7, 1.3, 0.4
    expected = theirs(SHARES[:, None], SHARES[1:, None]).to_dense().detach()
    assert torch.allclose(exponential_decay(SHARES, SHARES[1:], numbers(power=0.7, weight=1.3, scale=0.4)), expected)


def test_the_linear_truncated_kernel_is_botorch_s_where_the_power_is_one() -> None:
    rows, plain = torch.cat([uniform(4), SHARES[:, None]], dim=1), MaternKernel(active_dims=[0]).double()
    theirs = LinearTruncatedFidelityKernel([1], 2, covar_module_unbiased=plain, covar_module_biased=plain).double()
    theirs.power = 1.0
    k = plain(rows).to_dense()
    expected = theirs(rows).to_dense().detach()
    assert torch.allclose(k + linear_truncated(SHARES, SHARES, numbers(curved=1.0)) * k, expected)


def test_between_whole_powers_botorch_s_linear_truncated_kernel_is_no_covariance_and_ours_is_one() -> None:
    s = torch.linspace(0, 0.99, 20, dtype=torch.float64)
    error = torch.outer(1 - s, 1 - s)
    assert torch.linalg.eigvalsh(error * (1 + torch.outer(s, s)) ** 0.5).min() < -1e-4
    for weight in (0.1, 1.0, 30.0):
        assert torch.linalg.eigvalsh(linear_truncated(s, s, numbers(curved=weight))).min() > -1e-12


@pytest.mark.parametrize("name", FIDELITY_SURROGATES)
def test_what_is_believed_of_many_points_at_many_fidelities_is_a_covariance(name: str) -> None:
    low, high = uniform(9, seed=3)[:, 0], uniform(4, seed=4)[:, 0]
    belief = FIDELITY_SURROGATES[name].fit(evidence(low, high, lambda x, s: forrester(x) + (1 - s) * 8 * x))
    _, covariance = belief.joint(uniform(40, 2, seed=5)[None])
    assert torch.linalg.eigvalsh(covariance[0, 0]).min() > -1e-8 * covariance.max()


def test_a_cheap_run_errs_by_nothing_at_the_target() -> None:
    one, s = torch.ones(1, dtype=torch.float64), SHARES
    assert torch.equal(linear_truncated(one, s, numbers(curved=2.0)), torch.zeros(1, 4, dtype=torch.float64))
    assert float(linear_truncated(s[:1], s[:1], numbers(curved=2.0))) > 0.9


# ── autoregressive ───────────────────────────────────────────────────────────────────────────────────────────────────


def plain(a: Tensor, b: Tensor, lengths: float, joint: float, additive: float) -> Tensor:
    return mixed(gaps_between(a, b, ORDERED), numbers(lengths=lengths, joint=joint, additive=additive), ORDERED)


def test_the_autoregressive_posterior_is_that_of_le_gratiet_s_recursion() -> None:
    """Without noise, and with the high points among the low ones, level after level gives what the joint one gives:

    mean_1 = ρ mean_0 + m_δ,  var_1 = ρ² var_0 + v_δ,  δ fitted to y_1 - ρ y_0         Le Gratiet 2013, eqs. (9), (10)
    """
    low, ratio, level, noise = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None], 1.7, 0.3, 1e-8
    high, x = low[::3], uniform(11)
    z0, z1 = 0.5 * forrester(low)[:, 0] / 5, forrester(high)[:, 0] / 5
    values = numbers(
        lengths=0.3, joint=1.2, additive=0.4, ratio=ratio, lengths_1=0.6, joint_1=0.2, additive_1=0.1, level_1=level,
        noise=noise,
    )  # fmt: skip
    model = autoregressive_model(ORDERED, torch.tensor([0.5, 1.0], dtype=torch.float64))
    rows = torch.cat([at(low, 0.5), at(high, 1.0)])
    unknown = torch.full((len(rows),), math.nan, dtype=torch.float64)
    seen = Seen(model.features(rows), torch.cat([z0, z1])[None], unknown, torch.ones_like(unknown))
    belief = ExactBelief.given(model, values, seen, rows, torch.zeros((), dtype=torch.float64))
    mean, sd = AtFidelity(belief).posterior(x)

    def krige(points: Tensor, z: Tensor, k: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        K = k(points, points) + noise * torch.eye(len(points), dtype=torch.float64)
        across = k(x, points)
        gain = torch.linalg.solve(K, across.mT).mT
        return gain @ z, k(x, x).diagonal() - (gain * across).sum(1)

    mean_0, variance_0 = krige(low, z0, lambda a, b: plain(a, b, 0.3, 1.2, 0.4))
    mean_d, variance_d = krige(high, z1 - ratio * z0[::3], lambda a, b: plain(a, b, 0.6, 0.2, 0.1) + level)
    assert torch.allclose(mean[0], ratio * mean_0 + mean_d, atol=1e-4)
    assert torch.allclose(sd[0].square(), ratio**2 * variance_0 + variance_d, atol=1e-5)


def test_three_levels_reach_each_other_by_products_of_their_ratios() -> None:
    model = autoregressive_model(ORDERED, torch.tensor([0.1, 0.3, 1.0], dtype=torch.float64))
    values = {prior.name: torch.full((prior.size,), 0.5, dtype=torch.float64) for prior in model.priors} | numbers(
        ratio=[2.0, 3.0]
    )
    rows = at(torch.full((3, 1), 0.4, dtype=torch.float64), 1.0)
    rows[:, 1] = torch.tensor([0.1, 0.3, 1.0])
    k = model.kernel(model.features(rows), model.features(rows), values)
    first, other = 1.0, 1.5  # joint + additive, and a level beside them
    expected = [
        [first, 2 * first, 6 * first],
        [2 * first, 4 * first + other, 12 * first + 3 * other],
        [6 * first, 12 * first + 3 * other, 36 * first + 9 * other + other],
    ]
    assert torch.allclose(k, torch.tensor(expected, dtype=torch.float64))


# ── what they learn ──────────────────────────────────────────────────────────────────────────────────────────────────

MARKS = torch.linspace(0.02, 0.98, 50, dtype=torch.float64)
LOW, HIGH = torch.linspace(0, 1, 13, dtype=torch.float64), torch.tensor([0.0, 0.4, 0.6, 1.0], dtype=torch.float64)


def error(name: str, function: Callable[[Tensor, float], Tensor], low: Tensor = LOW, high: Tensor = HIGH) -> float:
    """The root mean square error at the target, in deviations of the target; "gp" learns from the target alone."""
    told = evidence(low, high, function)
    y = torch.cat([function(low, 0.5), function(high, 1.0)])
    truth = (function(MARKS, 1.0) - y.mean()) / y.std()
    if name == "gp":
        told = Evidence(told.X[len(low) :, :1], told.y[len(low) :], ORDERED)
        mean, _ = SURROGATES["gp"].fit(told).posterior(MARKS[:, None])
    else:
        mean, _ = AtFidelity(FIDELITY_SURROGATES[name].fit(told)).posterior(MARKS[:, None])
    return float((mean[0] - truth).square().mean().sqrt() / truth.std())


def linear_below(x: Tensor, s: float) -> Tensor:
    """Forrester, Sobester and Keane 2007: half the function and a straight line."""
    return forrester(x) if s == 1 else 0.5 * forrester(x) + 10 * (x - 0.5) - 5


def bent_below(x: Tensor, s: float) -> Tensor:
    """Perdikaris et al. 2017, sec. 3(a): the target is a product of the point with the square of the low fidelity."""
    low = torch.sin(8 * math.pi * x)
    return low if s < 1 else (x - math.sqrt(2)) * low.square()


@pytest.mark.parametrize("name", FIDELITY_SURROGATES)
def test_cheap_runs_tell_of_the_target(name: str) -> None:
    assert error(name, linear_below) < 0.75 * error("gp", linear_below)


def test_co_kriging_recovers_a_linear_relation() -> None:
    five = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert error("autoregressive", linear_below, high=five) < 0.1 < 0.3 < error("gp", linear_below, high=five)


def test_a_bent_relation_takes_a_nonlinear_model() -> None:
    many = torch.linspace(0, 1, 50, dtype=torch.float64), torch.linspace(0, 1, 14, dtype=torch.float64)
    assert error("nonlinear_autoregressive", bent_below, *many) < 0.4 * error("autoregressive", bent_below, *many)


def test_the_nonlinear_model_s_moments_are_those_of_draws_passed_through_its_levels() -> None:
    belief = FIDELITY_SURROGATES["nonlinear_autoregressive"].fit(evidence(LOW[::2], HIGH, linear_below))
    x, rng = torch.tensor([[0.13], [0.31], [0.87]], dtype=torch.float64), torch.Generator().manual_seed(1)
    lower, upper = belief.steps  # type: ignore[attr-defined]
    mean, sd = lower.posterior(x)
    drawn = mean + sd * torch.randn(4_000, 3, generator=rng, dtype=torch.float64)
    features = torch.cat([x.expand(4_000, -1, -1), drawn[..., None]], dim=-1).reshape(-1, 2)
    m, s = upper.posterior(features)
    values = (m + s * torch.randn(m.shape, generator=rng, dtype=torch.float64)).reshape(4_000, 3)
    mean, sd = AtFidelity(belief).posterior(x)
    assert torch.allclose(mean[0], values.mean(0), atol=0.05)
    assert torch.allclose(sd[0], values.std(0), rtol=0.15)
    _, both = belief.joint(torch.stack([at(x, 0.5), at(x, 1.0)], dim=1))
    shared = ((drawn - drawn.mean(0)) * (values - values.mean(0))).mean(0)
    assert torch.allclose(both[0, :, 0, 1], shared, rtol=0.2, atol=2e-3)


def test_the_nonlinear_model_waits_for_a_run_with_the_full_resource() -> None:
    told = evidence(LOW, HIGH, linear_below)
    cheap = Evidence(told.X[:13], told.y[:13], told.unordered)
    with pytest.raises(Unsuited, match="full resource"):
        FIDELITY_SURROGATES["nonlinear_autoregressive"].fit(cheap)


# ── what they share ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_view_at_a_fidelity_is_the_belief_there() -> None:
    belief = FIDELITY_SURROGATES["linear_truncated"].fit(evidence(LOW, HIGH, linear_below))
    x = uniform(5)
    for share in (0.5, 1.0):
        view = AtFidelity(belief, share)
        assert torch.equal(view.posterior(x)[0], belief.posterior(at(x, share))[0])
        assert torch.equal(view.joint(x[None])[1], belief.joint(at(x, share)[None])[1])
        assert view.points.shape == (17, 1)
        assert view.incumbent.item() == view.posterior(view.points)[0].max().item()
        imagined = view.imagine(x, 3, torch.Generator().manual_seed(0), noiseless=True)
        assert imagined.posterior(x)[1].max() < 1e-3
    assert not torch.equal(AtFidelity(belief, 0.5).posterior(x)[0], AtFidelity(belief).posterior(x)[0])


def test_a_belief_conditioned_afterwards_is_the_one_conditioned_at_once() -> None:
    belief = FIDELITY_SURROGATES["linear_truncated"].fit(evidence(LOW, HIGH, linear_below))
    x, marks, noise = uniform(3, 2), uniform(6, 2, seed=9), 0.01
    after = Conditioned.on(belief, x, 2, torch.Generator().manual_seed(4), noise)
    mean, covariance = (moment[:, 0] for moment in belief.joint(x[None]))
    outcomes = mean + after.pulls @ (covariance[0] + noise * torch.eye(3, dtype=torch.float64))
    assert isinstance(belief, ExactBelief)
    seen = belief.seen.and_values(x, outcomes, torch.full((3,), noise, dtype=torch.float64))
    at_once = ExactBelief.given(belief.model, belief.values, seen, torch.cat([belief.points, x]), belief.mean)
    for ours, theirs in zip(after.joint(marks[None]), at_once.joint(marks[None]), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    assert torch.allclose(after.posterior(marks)[1], at_once.posterior(marks)[1], atol=1e-6)
    again = after.imagine(marks[:2], 2, torch.Generator().manual_seed(5), noiseless=True)
    assert again.posterior(marks[:2])[1].max() < 1e-3
    assert again.posterior(marks[2:])[1].max() > 1e-2


def test_levels_are_the_shares_seen_and_the_target_s_and_others_count_as_the_nearest() -> None:
    told = Evidence(at(uniform(6), 0.2), torch.zeros(6), torch.zeros(2, dtype=torch.bool))
    assert levels_of(told).tolist() == [0.2, 1.0]
    assert nearest(torch.tensor([0.1, 0.59, 0.61, 1.0], dtype=torch.float64), levels_of(told)).tolist() == [0, 0, 1, 1]
    told.X[:, 1] = torch.linspace(0.1, 0.6, 6)
    assert len(levels_of(told)) == 5
    assert levels_of(told)[-1] == 1


def test_of_many_rows_half_of_those_that_teach_scales_are_the_target_s() -> None:
    X = torch.cat([at(uniform(90), 0.1), at(uniform(30, seed=1), 1.0)])
    told = Evidence(X, torch.arange(120.0).double(), torch.zeros(2, dtype=torch.bool))
    for most, high in ((50, 25), (100, 30), (200, 30)):
        rows = _telling(told, most)
        assert len(rows.unique()) == min(most, 120)
        assert int((X[rows, 1] == 1).sum()) == high
