"""The warp is Kumaraswamy's, and finds where a function is rough."""

from __future__ import annotations

import torch
from botorch.models.transforms.input import Warp
from gpytorch.priors import LogNormalPrior
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence
from frazil_tuner.surrogates.warped import WARP_SPREAD, warp


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_botorch_s() -> None:
    a, b = torch.tensor([0.5, 2.0]).double(), torch.tensor([1.5, 0.7]).double()
    theirs = Warp(d=2, indices=[0, 1], bounds=torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double())
    theirs.concentration1, theirs.concentration0 = torch.nn.Parameter(a), torch.nn.Parameter(b)
    x = uniform(20, 2)
    assert torch.allclose(warp(x, a, b), theirs(x), atol=1e-6)


def test_without_shape_it_changes_nothing_and_at_the_ends_it_has_a_slope() -> None:
    one, x = torch.ones(2).double(), uniform(5, 2)
    assert torch.allclose(warp(x, one, one), x, atol=1e-6)
    ends = torch.tensor([[0.0, 1.0]]).double().requires_grad_()
    (slope,) = torch.autograd.grad(warp(ends, one / 2, one / 2).sum(), ends)
    assert slope.isfinite().all()
    assert (slope > 0).all()


def test_its_prior_prefers_the_identity_as_botorch_advises() -> None:
    prior = LogNormalPrior(0.0, WARP_SPREAD)
    assert prior.log_prob(torch.tensor(1.0)) > prior.log_prob(torch.tensor(3.0))


def test_a_function_that_is_rough_at_one_end_is_foretold_better() -> None:
    def function(X: Tensor) -> Tensor:
        return torch.sin(12 * X[:, 0] ** 0.3) + 0.3 * X[:, 1]

    X, x = uniform(30, 2), uniform(300, 2, seed=5)
    mask = torch.zeros(2, dtype=torch.bool)
    errors = {}
    for name in ("gp", "warped"):
        belief = SURROGATES[name].fit(Evidence(X, function(X), mask))
        errors[name] = (belief.posterior(x)[0][0] - function(x)).square().mean().sqrt().item()
    assert errors["warped"] < 0.7 * errors["gp"]


def test_names_are_not_warped() -> None:
    X = uniform(12, 2)
    X[:, 1] = X[:, 1].round()
    belief = SURROGATES["warped"].fit(Evidence(X, torch.sin(4 * X).sum(1), torch.tensor([False, True])))
    assert len(belief.fit["warp_low"]) == len(belief.fit["warp_high"]) == 1
    assert len(belief.fit["lengths"]) == 2
