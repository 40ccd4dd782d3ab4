"""Limits, cost and prior against their formulas, and against BoTorch's constrained expected improvement."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from botorch.acquisition.analytic import LogConstrainedExpectedImprovement, UpperConfidenceBound
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultitaskMultivariateNormal
from torch import Tensor

from frazil_tuner.acquisition import ACQUISITIONS, Limit, Outlook, worth_of
from frazil_tuner.acquisition.feasibility import feasible_points, incumbent, log_feasibility
from frazil_tuner.acquisition.modifiers import PRIOR_WEIGHT, SOFTNESS, log_softplus
from frazil_tuner.space import Space
from frazil_tuner.surrogates import SURROGATES, Belief, Evidence

SPACE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
X = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
x = torch.linspace(0.03, 0.97, 9, dtype=torch.float64)[:, None]


def believe(y: Tensor) -> Belief:
    return SURROGATES["gp"].fit(Evidence(X, y, torch.tensor([False])))


OBJECTIVE = believe(torch.tensor([-1.0, 0.5, -0.4, 0.3, 1.2, -0.7, 0.1], dtype=torch.float64))
SLACK = believe(torch.tensor([1.1, 0.6, -0.3, 0.9, -0.2, -0.9, -1.2], dtype=torch.float64))
GOOD = SLACK.posterior(X)[0][0] >= 0.1


def outlook(**parts: object) -> Outlook:
    return Outlook((OBJECTIVE,), SPACE, torch.Generator(), parts.pop("observations", 7), **parts)


class Ours(Model):
    """Our beliefs as a model of BoTorch's, independent outcomes side by side."""

    num_outputs = 2

    def posterior(self, X: Tensor, **_: object) -> GPyTorchPosterior:
        means, sds = zip(*(belief.posterior(X[:, 0]) for belief in (OBJECTIVE, SLACK)), strict=True)
        mean = torch.cat(means).T[:, None]
        variance = torch.cat(sds).T.square()
        return GPyTorchPosterior(MultitaskMultivariateNormal(mean, torch.diag_embed(variance)))


def test_log_ei_under_a_limit_is_botorchs() -> None:
    limited = outlook(limits=(Limit(SLACK, 0.1),))
    best = incumbent(limited).item()
    theirs = LogConstrainedExpectedImprovement(Ours(), best, objective_index=0, constraints={1: (0.1, None)})
    assert worth_of("log_ei", limited)(x).tolist() == pytest.approx(theirs(x[:, None]).tolist(), rel=1e-6)


def test_the_bound_is_botorchs() -> None:
    class One(Ours):
        num_outputs = 1

        def posterior(self, X: Tensor, **_: object) -> object:
            mean, sd = OBJECTIVE.posterior(X[:, 0])
            return type("Normal", (), {"mean": mean.T[..., None], "variance": sd.T[..., None].square()})

    theirs = UpperConfidenceBound(One(), beta=9.0)(x[:, None])
    assert worth_of("ucb", outlook(beta=3.0))(x).tolist() == pytest.approx(theirs.tolist(), rel=1e-9)


def test_the_incumbent_is_the_best_of_the_feasible_points() -> None:
    limited = outlook(limits=(Limit(SLACK, 0.1),))
    assert torch.equal(feasible_points(limited), X[GOOD])
    mean, _ = OBJECTIVE.posterior(X)
    assert incumbent(limited).item() == pytest.approx(mean[0, GOOD].max().item())
    assert incumbent(limited).item() < incumbent(outlook()).item()


def test_a_point_is_feasible_from_even_odds_on() -> None:
    mean, sd = SLACK.posterior(X[4:5])
    for deviations, feasible in ((0.1, False), (-0.1, True)):
        bound = (mean + deviations * sd).item()
        assert (X[4] in feasible_points(outlook(limits=(Limit(SLACK, bound),)))) is feasible


def test_limits_multiply() -> None:
    both = log_feasibility(outlook(limits=(Limit(SLACK, 0.1), Limit(OBJECTIVE, 0.5))))(x)
    each = [log_feasibility(outlook(limits=(limit,)))(x) for limit in (Limit(SLACK, 0.1), Limit(OBJECTIVE, 0.5))]
    assert torch.allclose(both, sum(each))


def test_feasibility_is_averaged_over_imagined_outcomes() -> None:
    imagined = SLACK.imagine(x[1:3], 4, torch.Generator().manual_seed(0))
    mean, sd = imagined.posterior(x)
    expected = torch.special.ndtr((mean - 0.1) / sd).mean(0)
    log_probability = log_feasibility(outlook(limits=(Limit(imagined, 0.1),)))(x)
    assert log_probability.exp().tolist() == pytest.approx(expected.tolist())
    assert ((expected > 0.1) & (expected < 0.9)).any()


def test_feasibility_alone_counts_while_no_point_is_feasible() -> None:
    hopeless = outlook(limits=(Limit(SLACK, 5.0),))
    assert len(feasible_points(hopeless)) == 0
    for name in ACQUISITIONS:
        assert torch.equal(worth_of(name, hopeless)(x), log_feasibility(hopeless)(x))


def test_cost_divides_the_gain() -> None:
    dear = worth_of("log_ei", outlook(cost=SLACK))(x) - worth_of("log_ei", outlook())(x)
    assert torch.allclose(dear, -SLACK.posterior(x)[0][0])


def test_a_prior_fades_with_the_observations() -> None:
    for n in (1, 7, 100):
        prior = worth_of("log_ei", outlook(prior=lambda x: -x[:, 0], observations=n))(x)
        assert torch.allclose(prior - worth_of("log_ei", outlook())(x), -x[:, 0] * PRIOR_WEIGHT / n)
    assert worth_of("log_ei", outlook(prior=lambda x: -x[:, 0], observations=0))(x).isfinite().all()


def test_a_bound_with_factors_is_the_log_of_its_gain_and_keeps_its_order() -> None:
    flat = outlook(prior=lambda x: torch.zeros(len(x), dtype=x.dtype))
    bound, gain = worth_of("ucb", outlook())(x), worth_of("ucb", flat)(x)
    assert torch.equal(bound.argsort(), gain.argsort())
    above = bound - incumbent(flat) > 0.3
    assert above.any()
    assert gain[above].exp().tolist() == pytest.approx(((bound - incumbent(flat)) / SOFTNESS)[above].tolist(), rel=1e-6)


@pytest.mark.parametrize(
    "z", [-1e200, -1e8, -700.0, -30.0 - 1e-9, -30.0, -30.0 + 1e-9, -1.0, 0.0, 5.0, 39.0, 41.0, 1e9]
)
def test_log_softplus_agrees_with_many_digits(z: float) -> None:
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = log_softplus(at)
    value.backward()
    with mpmath.workdps(60):
        big = mpmath.mpf(max(z, -1e3))
        soft = mpmath.log1p(mpmath.exp(big))
        expected, slope = mpmath.log(soft), 1 / (1 + mpmath.exp(-big)) / soft
    assert value.item() == pytest.approx(float(expected) if z > -1e3 else z, rel=1e-12)
    assert at.grad is not None
    assert at.grad.item() == pytest.approx(float(slope), rel=1e-10)
    assert math.isfinite(value.item())
