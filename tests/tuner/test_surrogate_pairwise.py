"""Utilities learned from rankings: Laplace's approximation as BoTorch has it."""

from __future__ import annotations

import warnings

import pytest
import torch
from botorch.models.pairwise_gp import PairwiseGP
from gpytorch.kernels import MaternKernel, ScaleKernel
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence
from frazil_tuner.surrogates.general import ExactBelief, gaps_between, mixed
from frazil_tuner.surrogates.pairwise import Pairwise, _as_values, _model, _utilities, contests, log_evidence

ORDERED = torch.zeros(2, dtype=torch.bool)


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def utility(X: Tensor) -> Tensor:
    return -(X - 0.4).square().sum(1)


def ranked(X: Tensor, *rankings: Tensor) -> Evidence:
    return Evidence(
        X, torch.zeros(len(X), dtype=torch.float64), torch.zeros(X.shape[1], dtype=torch.bool), rankings=rankings
    )


def by_utility(X: Tensor) -> Tensor:
    return utility(X).argsort(descending=True)


class TestAgainstBotorch:
    VALUES = {
        "lengths": torch.tensor([0.4, 0.8]).double(),
        "joint": torch.tensor([3.0]).double(),
        "additive": torch.tensor([1e-300]).double(),
    }

    def test_the_posterior_is_equal(self) -> None:
        X = uniform(8)
        pairs = torch.tensor([[0, 1], [1, 2], [0, 5], [3, 4], [6, 7], [7, 2], [2, 0]])
        D = contests(tuple(pairs), 8)
        model = _model(ORDERED)
        K = model.kernel(X, X, self.VALUES)
        ours = ExactBelief.given(model, self.VALUES, _as_values(X, D, _utilities(K, D)), X)

        kernel = ScaleKernel(MaternKernel(nu=2.5, ard_num_dims=2))
        kernel.base_kernel.lengthscale, kernel.outputscale = self.VALUES["lengths"], self.VALUES["joint"][0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = PairwiseGP(X, pairs, covar_module=kernel.double(), xtol=1e-12, maxfev=1000).double().eval()
            posterior = theirs.posterior(uniform(5, seed=3))
        mean, covariance = ours.joint(uniform(5, seed=3)[None])
        assert mean[0, 0].tolist() == pytest.approx(posterior.mean[:, 0].tolist(), abs=1e-5)
        assert torch.allclose(covariance[0, 0], posterior.covariance_matrix, atol=1e-4)


def test_the_slope_of_the_evidence_is_exact() -> None:
    X = uniform(6)
    D = contests((by_utility(X), torch.tensor([0, 3])), 6)

    def evidence(lengths: Tensor, joint: Tensor, additive: Tensor) -> Tensor:
        values = {"lengths": lengths, "joint": joint, "additive": additive}
        return log_evidence(mixed(gaps_between(X, X, ORDERED), values, ORDERED), D)

    scales = [torch.tensor(values).double().requires_grad_() for values in ([0.4, 0.9], [2.0], [1.0])]
    assert torch.autograd.gradcheck(evidence, scales, atol=1e-5)


def test_a_ranking_is_its_pairs_one_two_and_four_places_apart() -> None:
    D = contests((torch.tensor([4, 2, 0, 1, 3]), torch.tensor([1, 2])), 5)
    pairs = {(row.argmax().item(), row.argmin().item()) for row in D}
    assert pairs == {(4, 2), (2, 0), (0, 1), (1, 3), (4, 0), (2, 1), (0, 3), (4, 3), (1, 2)}
    assert len(D) == 9
    assert (D.sum(1) == 0).all()


def test_the_order_of_unseen_points_is_foretold() -> None:
    X, x = uniform(20), uniform(100, seed=5)
    mean, _ = SURROGATES["pairwise"].fit(ranked(X, by_utility(X))).posterior(x)
    ranks = [values.argsort().argsort().double() for values in (mean[0], utility(x))]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.95


def test_the_more_often_points_are_compared_the_surer_their_difference() -> None:
    X = uniform(6)

    def doubt(rankings: int) -> float:
        belief = Pairwise().fit(ranked(X, *[by_utility(X)] * rankings))
        values = {
            "lengths": torch.ones(2).double(),
            "joint": torch.ones(1).double(),
            "additive": torch.ones(1).double(),
        }
        fixed = ExactBelief.given(
            belief.model,
            values,
            _as_values(
                X, D := contests((by_utility(X),) * rankings, 6), _utilities(belief.model.kernel(X, X, values), D)
            ),
            X,
        )
        covariance = fixed.joint(X[None, :2])[1][0, 0]
        return float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])

    assert doubt(8) < doubt(1) < doubt(0)


def test_contradictions_make_the_utility_flat() -> None:
    X = uniform(6)
    forth, back = by_utility(X), by_utility(X).flip(0)
    torn = SURROGATES["pairwise"].fit(ranked(X, forth, back)).posterior(X)[0]
    sure = SURROGATES["pairwise"].fit(ranked(X, forth, forth)).posterior(X)[0]
    assert torn.std() < 0.1 * sure.std()


def test_overwhelming_agreement_is_borne() -> None:
    X = uniform(10)
    mean, sd = SURROGATES["pairwise"].fit(ranked(X, *[by_utility(X)] * 12)).posterior(X)
    assert mean.isfinite().all()
    assert sd.isfinite().all()
    assert mean[0].argsort(descending=True).tolist() == by_utility(X).tolist()
