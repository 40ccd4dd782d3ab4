"""What a cheap run is worth, against draws and integrals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from frazil_tuner.acquisition import Limit, Outlook
from frazil_tuner.acquisition import fidelity as through
from frazil_tuner.acquisition.draws import drawn_optima
from frazil_tuner.acquisition.entropy import log_information, log_narrowing
from frazil_tuner.acquisition.fidelity import FIDELITY_ACQUISITIONS, Prospect, seen_at, worth_per_cost
from frazil_tuner.acquisition.log_ei import log_ei_of_any
from frazil_tuner.space import Space
from frazil_tuner.surrogates import SURROGATES, Evidence
from frazil_tuner.surrogates.fidelity import FIDELITY_SURROGATES, AtFidelity, at

SPACE = Space.from_json([{"name": name, "type": "float", "low": 0, "high": 1} for name in "ab"])
SHARES = (0.1, 1.0)


def uniform(n: int, d: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def free(x: Tensor, share: float) -> Tensor:
    return torch.zeros_like(x[:, 0])


def prospect(noise: float = 0.0, high: int = 4, paths: int = 0) -> Prospect:
    """Twelve cheap runs and a few whole ones, of a function of many hills."""
    X = torch.cat([at(uniform(12), 0.1), at(uniform(high, seed=1), 1.0)])
    y = torch.sin(11 * X[:, 0]) + torch.cos(9 * X[:, 1]) + 0.4 * (X[:, 2] - 1) * (1 + torch.sin(7 * X[:, 0]))
    y = y + noise * torch.randn(len(X), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    told = Evidence(X, (y - y.mean()) / y.std(), torch.zeros(3, dtype=torch.bool))
    rng = torch.Generator().manual_seed(5)
    belief = FIDELITY_SURROGATES["linear_truncated"].fit(told)
    if paths:
        belief = belief.imagine(at(uniform(2, seed=8), 0.1), paths, rng)
    return Prospect(Outlook((AtFidelity(belief),), SPACE, rng, len(X)), belief, free)


@pytest.mark.parametrize("name", FIDELITY_ACQUISITIONS)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("paths", [0, 3])
def test_a_gain_is_finite_everywhere_and_its_slope_is_right(name: str, share: float, paths: int) -> None:
    gain = FIDELITY_ACQUISITIONS[name](prospect(paths=paths))
    seen = torch.cat([uniform(12), uniform(40, seed=2)])
    assert gain(seen, share).shape == (52,)
    assert gain(seen, share).isfinite().all()
    x = uniform(3, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gain(x, share), (x,), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["log_ei", "max_value_entropy"])
def test_a_whole_run_tells_more_of_its_point_than_a_cheap_one_and_a_cheap_one_tells_something(name: str) -> None:
    gain, x = FIDELITY_ACQUISITIONS[name](prospect()), uniform(30, seed=2)
    assert (gain(x, 1.0) > gain(x, 0.1)).all()
    assert (gain(x, 0.1) > -8).any()


@pytest.mark.parametrize("name", FIDELITY_ACQUISITIONS)
def test_once_told_a_cheap_run_tells_less(name: str) -> None:
    before, x = prospect(), torch.tensor([[0.9, 0.9]], dtype=torch.float64)
    told = before.belief.imagine(at(x, 0.1), 1, torch.Generator().manual_seed(0))
    after = replace(before, belief=told, target=replace(before.target, objectives=(AtFidelity(told),)))
    loss = [
        float(FIDELITY_ACQUISITIONS[name](before)(x, share) - FIDELITY_ACQUISITIONS[name](after)(x, share))
        for share in SHARES
    ]
    assert loss[0] > loss[1] + 0.5


def test_the_knowledge_gradient_is_the_mean_rise_over_all_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, rivals, noise = prospect(noise=0.3), uniform(5, seed=6), 0.02
    monkeypatch.setattr(through, "_rivals", lambda target: rivals)
    monkeypatch.setattr(through, "_noise", lambda prospect: torch.tensor(noise, dtype=torch.float64))
    x = torch.tensor([[0.4, 0.9], [0.9, 0.2]], dtype=torch.float64)
    for share in SHARES:
        gain = FIDELITY_ACQUISITIONS["knowledge_gradient"](scene)(x, share)
        for i in range(len(x)):
            here = torch.cat([rivals, x[i : i + 1]])
            rows = torch.cat([at(x[i : i + 1], share), at(here, 1.0)])
            mean, covariance = (moment[0, 0] for moment in scene.belief.joint(rows[None]))
            z = torch.from_numpy(norm.ppf((np.arange(100_000) + 0.5) / 100_000))[:, None]
            after = mean[1:] + z * covariance[0, 1:] / (covariance[0, 0] + noise).sqrt()
            expected = after.amax(1).mean() - mean[1:-1].max()
            assert float(gain[i].exp()) == pytest.approx(float(expected), rel=1e-3, abs=1e-7)


def test_expected_improvement_chooses_the_point_and_information_the_fidelity() -> None:
    scene, x = prospect(noise=0.3), uniform(6, seed=2)
    gain = FIDELITY_ACQUISITIONS["log_ei"](scene)
    improvement = log_ei_of_any(scene.target)(x)
    noise = through._noise(scene)
    for share in SHARES:
        seen = seen_at(scene.belief, x, share, noise)
        _, covariance = scene.belief.joint(torch.stack([at(x, share), at(x, 1.0)], dim=1))
        cov = covariance[0]
        left = cov[:, 1, 1] - cov[:, 0, 1].square() / (cov[:, 0, 0] + noise)
        nats = 0.5 * (cov[:, 1, 1] / left).log()
        assert torch.allclose(gain(x, share), improvement + nats.log(), atol=1e-6)
        assert torch.allclose(seen.mean, scene.belief.posterior(at(x, 1.0))[0])


def test_entropy_is_told_by_drawn_maxima_at_the_target() -> None:
    one, other = prospect(noise=0.3), prospect(noise=0.3)
    x, noise = uniform(6, seed=2), through._noise(one)
    highest = drawn_optima(one.target).values
    mean, sd = AtFidelity(one.belief).posterior(x)
    seen = seen_at(one.belief, x, 0.1, noise)
    nats = -0.5 * torch.log1p(-seen.log_share.exp() * log_narrowing((highest[:, None] - mean) / sd).exp())
    told = FIDELITY_ACQUISITIONS["max_value_entropy"](other)(x, 0.1)
    assert torch.allclose(told, nats.mean(0).log(), atol=1e-6)


def exact_information(rho: float, gamma: float) -> float:
    """H(z) - H(z | f ≤ f*) in nats, by a sum: p(z | f ≤ f*) = φ(z) Φ((γ - ρ z) / √(1 - ρ²)) / Φ(γ).

    Takeno et al. 2020, eq. (8)
    """
    z = np.linspace(-12, 12, 200_001)
    p = norm.pdf(z) * norm.cdf((gamma - rho * z) / math.sqrt(1 - rho**2)) / norm.cdf(gamma)
    entropy = -np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0)) * (z[1] - z[0])
    return float(0.5 * math.log(2 * math.pi * math.e) - entropy)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("gamma", [-2.0, 0.0, 1.0, 3.0])
def test_the_bound_on_entropy_lies_close_below_the_integral(rho: float, gamma: float) -> None:
    share = torch.tensor(2 * math.log(rho), dtype=torch.float64)
    bound = float(log_information(share + log_narrowing(torch.tensor(gamma, dtype=torch.float64))).exp())
    exact = exact_information(rho, gamma)
    assert bound <= exact * (1 + 1e-6) + 1e-9
    assert bound >= 0.5 * exact


@pytest.mark.parametrize("name", FIDELITY_ACQUISITIONS)
def test_worth_is_gain_per_price(name: str) -> None:
    def price(x: Tensor, share: float) -> Tensor:
        return 2.0 * x[:, 0] + math.log(share)

    x = uniform(6, seed=2)
    gain = FIDELITY_ACQUISITIONS[name](prospect())
    worth = worth_per_cost(name, replace(prospect(), price=price))
    for share in SHARES:
        assert torch.allclose(worth(x, share), gain(x, share) - 2.0 * x[:, 0] - math.log(share))


def test_what_is_probably_infeasible_is_worth_less() -> None:
    scene, x = prospect(), uniform(30, seed=2)
    X = uniform(20, seed=7)
    size = SURROGATES["gp"].fit(Evidence(X, 2 * X[:, 0] - 1, torch.zeros(2, dtype=torch.bool)))
    limited = replace(scene, target=replace(scene.target, limits=(Limit(size, 0.0),)))
    lost = worth_per_cost("log_ei", scene)(x, 1.0) - worth_per_cost("log_ei", limited)(x, 1.0)
    assert (lost[x[:, 0] < 0.4] > 2).all()
    assert (lost[x[:, 0] > 0.8] < 1).all()
    hopeless = Limit(size, 1.5)
    values = worth_per_cost("log_ei", replace(scene, target=replace(scene.target, limits=(hopeless,))))(x, 1.0)
    mean, sd = size.posterior(x)
    assert torch.allclose(values, torch.special.log_ndtr((mean[0] - 1.5) / sd[0]))
