"""What is believed of a design over an environment nobody chooses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from frazil_tuner.surrogates import Evidence, GaussianProcess, Robust
from frazil_tuner.surrogates.robust import DRAWS, conditional_value_at_risk, value_at_risk

SCENARIOS = torch.linspace(0, 1, 10, dtype=torch.float64)[:, None]
ENVIRONMENT = torch.tensor([False, True])


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def function(X: Tensor) -> Tensor:
    """Best at 0.3 where the environment is mild, and the same in every environment at 0.8."""
    design, environment = X.T
    return 1 - (design - 0.3).square() - 12 * (0.8 - design).square() * (environment - 0.5).square()


def robust(risk: str = "expectation", level: float = 0.9, n: int = 60) -> Robust:
    X = uniform(n)
    belief = GaussianProcess().fit(Evidence(X, function(X), torch.zeros(2, dtype=torch.bool)))
    return Robust(belief, ENVIRONMENT, SCENARIOS, risk, level)


def everywhere(design: float) -> Tensor:
    return torch.cat([torch.full((10, 1), design, dtype=torch.float64), SCENARIOS], dim=1)


TRUE_RISKS = {
    "expectation": lambda values: values.mean(),
    "var": lambda values: values.sort().values[1],
    "cvar": lambda values: values.sort().values[:2].mean(),
}


@pytest.mark.parametrize("risk", TRUE_RISKS)
def test_a_design_is_judged_over_all_scenarios(risk: str) -> None:
    designs = torch.tensor([[0.3, 0.5], [0.5, 0.0], [0.8, 1.0]], dtype=torch.float64)
    mean, sd = robust(risk, level=0.85).posterior(designs)
    expected = [TRUE_RISKS[risk](function(everywhere(design))).item() for design in designs[:, 0].tolist()]
    assert mean[0].tolist() == pytest.approx(expected, abs=0.1)
    assert (sd > 0).all()


def test_the_value_and_the_conditional_value_at_risk_of_ten_outcomes() -> None:
    outcomes = torch.arange(10.0).flip(0)
    assert value_at_risk(outcomes, 0.9) == 1
    assert value_at_risk(outcomes, 0.5) == 5
    assert value_at_risk(outcomes, 0.01) == 9
    assert conditional_value_at_risk(outcomes, 0.9) == 0.5
    assert conditional_value_at_risk(outcomes, 0.5) == 2.5


def test_what_stands_in_the_environment_s_columns_makes_no_difference() -> None:
    belief = robust("cvar", n=10)
    one, other = torch.tensor([[0.4, 0.1]]).double(), torch.tensor([[0.4, 0.9]]).double()
    for a, b in zip(belief.posterior(one), belief.posterior(other), strict=True):
        assert torch.equal(a, b)


def test_the_expectation_is_exact() -> None:
    belief = robust(n=10)
    mean, covariance = belief.belief.joint(everywhere(0.4)[None])
    ours = belief.posterior(torch.tensor([[0.4, 0.0]]).double())
    assert ours[0].item() == pytest.approx(mean.mean().item())
    assert ours[1].item() == pytest.approx(covariance.mean().sqrt().item())


@pytest.mark.parametrize("risk", ["expectation", "var", "cvar"])
def test_its_posterior_is_the_diagonal_of_its_joint(risk: str) -> None:
    """For risks up to the chance of their draws, which are not the same for several points as for one."""
    belief, x = robust(risk, n=12), uniform(4, seed=3)
    (mean, sd), (joint, covariance) = belief.posterior(x), belief.joint(x.reshape(2, 2, 2))
    close = 1e-9 if risk == "expectation" else 0.6 / DRAWS**0.5
    assert torch.allclose(joint.flatten(1), mean, atol=close * sd.max())
    assert torch.allclose(
        covariance.diagonal(dim1=-2, dim2=-1).flatten(1).sqrt(), sd, rtol=max(close, 0.4 * close + 1e-9) * 5
    )


@pytest.mark.parametrize("risk", ["expectation", "var", "cvar"])
def test_it_can_be_differentiated(risk: str) -> None:
    belief, x = robust(risk, n=8), uniform(2, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: belief.posterior(x)[0], (x,), atol=1e-4)


def test_the_incumbent_is_the_best_design_tried_and_caution_prefers_the_steady_one() -> None:
    average, cautious = robust(), robust("var")
    for belief in (average, cautious):
        assert belief.incumbent.item() == pytest.approx(belief.posterior(belief.points)[0].max().item())
    designs = torch.stack([torch.linspace(0, 1, 21).double(), torch.zeros(21).double()], dim=1)
    chosen = [designs[belief.posterior(designs)[0].argmax(), 0].item() for belief in (average, cautious)]
    assert chosen == pytest.approx([0.57, 0.65], abs=0.06)
    assert chosen[0] < chosen[1]


def test_an_imagined_outcome_is_one_in_its_own_scenario() -> None:
    belief = robust(n=6)
    x = torch.tensor([[0.5, 0.05]], dtype=torch.float64)
    imagined = belief.imagine(x, 4, torch.Generator().manual_seed(0), noiseless=True)
    assert imagined.incumbent.shape == (4,)
    assert imagined.belief.posterior(x)[1].max() < 1e-3
    assert imagined.posterior(x)[1].max() > 1e-3
    assert (imagined.risk, imagined.level, imagined.fit) == (belief.risk, belief.level, belief.fit)


def test_long_lists_are_taken_in_parts() -> None:
    belief = robust("cvar", n=6)
    assert belief._rows_at_a_time() < 10_000
    x = uniform(10_000, seed=2)
    assert torch.allclose(belief.posterior(x)[0][:, -3:], belief.posterior(x[-3:])[0])
