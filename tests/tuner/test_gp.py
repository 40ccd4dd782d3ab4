"""The lean Gaussian process: equal to GPyTorch's and BoTorch's, with slopes that are exact."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.models import SingleTaskGP
from gpytorch.kernels import Kernel, MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from torch import Tensor

from frazil_tuner.acquisition import Outlook, worth_of
from frazil_tuner.acquisition.log_ei import log_ei_of_any
from frazil_tuner.acquisition.maximise import sloped
from frazil_tuner.space import Space
from frazil_tuner.surrogates import Evidence, FitFailed
from frazil_tuner.surrogates.gp import (
    GaussianBelief,
    GaussianProcess,
    Likelihood,
    believe,
    cholesky,
    likelihood_of,
    log_prior,
    most_probable,
)
from frazil_tuner.surrogates.kernels import Covariance, Hyperparameters, matern52

HYPER = Hyperparameters(np.array([0.3, 0.7, 1.5]), joint=1.3, additive=0.6, noise=0.02)
FLOATS = Space.from_json([{"name": f"x{j}", "type": "float", "low": 0, "high": 1} for j in range(3)])


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evidence(
    n: int, d: int = 3, unordered: tuple[int, ...] = (), seed: int = 0, noise: Tensor | None = None
) -> Evidence:
    """Points of which the unordered columns have three names, and a smooth function of them."""
    X = uniform(n, d, seed)
    mask = torch.zeros(d, dtype=torch.bool)
    mask[list(unordered)] = True
    X[:, mask] = ((X[:, mask] * 3).floor() + 0.5) / 3
    y = torch.sin(4 * X).sum(1)
    return Evidence(X, (y - y.mean()) / y.std() if n > 1 else y * 0, mask, noise)


def slope_of(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    ends = np.eye(len(at)) * step
    return np.array([(function(at + end) - function(at - end)) / (2 * step) for end in ends])


class TestAgainstBotorch:
    """Ours is the sum of a Matérn kernel of all columns and the mean of one for each, with scales shorter by √d."""

    @pytest.fixture
    def theirs(self) -> SingleTaskGP:
        seen = evidence(12)
        together = ScaleKernel(MaternKernel(nu=2.5, ard_num_dims=3)).double()
        together.base_kernel.lengthscale = torch.from_numpy(HYPER.lengths)
        together.outputscale = HYPER.joint
        kernel: Kernel = together
        for j, length in enumerate(HYPER.lengths):
            alone = ScaleKernel(MaternKernel(nu=2.5, active_dims=[j])).double()
            alone.base_kernel.lengthscale = length / math.sqrt(3)
            alone.outputscale = HYPER.additive / 3
            kernel = kernel + alone
        likelihood = GaussianLikelihood().double()
        likelihood.noise = HYPER.noise
        model = SingleTaskGP(seen.X, seen.y[:, None], None, likelihood, kernel, outcome_transform=None).double()
        model.mean_module.constant = torch.tensor(believe(seen, HYPER).mean).double()
        return model

    def test_posterior_means_and_deviations_are_equal(self, theirs: SingleTaskGP) -> None:
        x = uniform(7, 3, seed=1)
        mean, sd = believe(evidence(12), HYPER).posterior(x)
        posterior = theirs.eval().posterior(x)
        assert mean[0].tolist() == pytest.approx(posterior.mean[:, 0].tolist(), abs=1e-8)
        assert sd[0].tolist() == pytest.approx(posterior.variance[:, 0].sqrt().tolist(), abs=1e-8)

    def test_joint_covariances_are_equal(self, theirs: SingleTaskGP) -> None:
        x = uniform(6, 3, seed=1).reshape(2, 3, 3)
        mean, covariance = believe(evidence(12), HYPER).joint(x)
        posterior = theirs.eval().posterior(x)
        assert torch.allclose(mean[0], posterior.mean[..., 0], atol=1e-8)
        assert torch.allclose(covariance[0], posterior.distribution.covariance_matrix, atol=1e-8)

    def test_the_likelihood_is_equal(self, theirs: SingleTaskGP) -> None:
        theirs.train()
        joint = theirs.likelihood(theirs(theirs.train_inputs[0])).log_prob(theirs.train_targets)
        assert likelihood_of(evidence(12))(HYPER)[0] == pytest.approx(joint.item(), abs=1e-6)

    def test_the_log_expected_improvement_and_its_slope_are_equal(self, theirs: SingleTaskGP) -> None:
        belief, x = believe(evidence(12), HYPER), uniform(5, 3, seed=2).requires_grad_()
        outlook = Outlook((belief,), FLOATS, torch.Generator(), 12)
        value, slope = sloped(worth_of("log_ei", outlook), x.detach().numpy())
        reference = LogExpectedImprovement(theirs.eval(), belief.incumbent.item())(x[:, None])
        assert value.tolist() == pytest.approx(reference.tolist(), rel=1e-6)
        assert np.allclose(slope, torch.autograd.grad(reference.sum(), x)[0].numpy(), rtol=1e-6, atol=1e-8)


class TestCovariance:
    def test_names_are_only_equal_or_different(self) -> None:
        hyper = Hyperparameters(np.array([0.5, 2.0]), joint=2.0, additive=3.0, noise=1.0)
        a = np.array([[0.1, 0.25]])
        b = np.array([[0.1, 0.25], [0.1, 0.5], [0.1, 0.75], [0.6, 0.75]])
        name = math.exp(-0.5)
        number, alone = (float(matern52(np.array([s]))[0][0]) for s in (1.0, 2.0))
        expected = [
            5.0,
            2 * name + 1.5 * (1 + name),
            2 * name + 1.5 * (1 + name),
            2 * name * number + 1.5 * (alone + name),
        ]
        assert Covariance(hyper, np.array([False, True]))(a, b)[0].tolist() == pytest.approx(expected)

    def test_the_correlation_is_that_of_the_book(self) -> None:
        r = math.sqrt(5 * 0.7)
        assert matern52(np.array([0.7]))[0][0] == pytest.approx((1 + r + r**2 / 3) * math.exp(-r))

    @pytest.mark.parametrize("unordered", [(), (1,), (0, 1, 2)])
    @pytest.mark.parametrize("given", [False, True])
    def test_the_slopes_of_the_likelihood_are_exact(self, unordered: tuple[int, ...], given: bool) -> None:
        noise = torch.tensor([0.1, math.nan, 0.3] * 3).double() if given else None
        likelihood = likelihood_of(evidence(9, 3, unordered, noise=noise))
        theta = HYPER.theta
        _, slope = likelihood(HYPER)
        assert slope == pytest.approx(
            slope_of(lambda at: likelihood(Hyperparameters.at(at))[0], theta), rel=1e-5, abs=1e-7
        )

    def test_the_slope_of_the_prior_is_exact(self) -> None:
        theta = HYPER.theta
        assert log_prior(theta)[1] == pytest.approx(slope_of(lambda at: log_prior(at)[0], theta), rel=1e-6)

    def test_the_best_fit_is_a_stationary_point(self) -> None:
        likelihood = likelihood_of(evidence(15, 2, unordered=(1,)))
        found = most_probable(likelihood, 2, {})
        slope = likelihood(found)[1] + log_prior(found.theta)[1]
        assert np.abs(slope[:-1]).max() < 0.05
        assert abs(slope[-1]) < 0.05 or found.noise < 1.1e-6

    def test_a_remembered_fit_is_where_the_next_one_starts(self) -> None:
        seen = evidence(21)
        likelihood = Counted(seen.X.numpy(), seen.y.numpy(), None, seen.unordered.numpy())
        first = most_probable(likelihood, 3, {})
        cold, likelihood.calls = likelihood.calls, 0
        again = most_probable(likelihood, 3, {"theta": first.theta})
        assert likelihood.calls < cold / 3
        assert again.theta == pytest.approx(first.theta, abs=0.1)

    def test_once_in_a_while_a_fit_starts_afresh(self) -> None:
        astray = np.array([6.0, 6.0, 6.0, 0.0, -8.0, 2.0])
        likelihood = likelihood_of(evidence(20))
        assert most_probable(likelihood, 3, {"theta": astray}).theta == pytest.approx(
            most_probable(likelihood, 3, {}).theta, abs=0.1
        )


class Counted(Likelihood):
    """A likelihood that counts how often it is asked."""

    calls = 0

    def __call__(self, hyper: Hyperparameters) -> tuple[float, np.ndarray]:
        self.calls += 1
        return super().__call__(hyper)


class TestBelief:
    def imagined(self, unordered: tuple[int, ...] = ()) -> GaussianBelief:
        belief = believe(evidence(9, 3, unordered), HYPER)
        after = belief.imagine(evidence(2, 3, unordered, seed=5).X, 4, torch.Generator().manual_seed(1))
        assert isinstance(after, GaussianBelief)
        return after

    def test_the_slopes_of_posterior_and_joint_are_exact(self) -> None:
        belief, x = self.imagined(), uniform(4, 3, seed=2).requires_grad_()
        assert torch.autograd.gradcheck(belief.posterior, (x,))
        assert torch.autograd.gradcheck(lambda x: belief.joint(x.reshape(2, 2, 3)), (x,))

    @pytest.mark.parametrize("unordered", [(), (1,)])
    def test_the_lean_improvement_is_the_one_with_automatic_slopes(self, unordered: tuple[int, ...]) -> None:
        outlook = Outlook((self.imagined(unordered),), FLOATS, torch.Generator(), 9)
        rows = evidence(6, 3, unordered, seed=3).X.numpy()
        lean, automatic = sloped(worth_of("log_ei", outlook), rows), sloped(log_ei_of_any(outlook), rows)
        assert lean[0] == pytest.approx(automatic[0], rel=1e-9)
        assert np.allclose(lean[1], automatic[1], rtol=1e-8, atol=1e-10)

    def test_given_noise_is_believed(self) -> None:
        exact, vague = (
            GaussianProcess().fit(evidence(12, noise=torch.full((12,), variance).double())) for variance in (1e-6, 1.0)
        )
        seen = evidence(12)
        assert (exact.posterior(seen.X)[0][0] - seen.y).abs().max() < 0.05
        assert (vague.posterior(seen.X)[0][0] - seen.y).abs().max() > 0.3


def test_a_matrix_that_no_jitter_helps_fails_cleanly() -> None:
    with pytest.raises(FitFailed):
        cholesky(np.full((3, 3), -5.0), np.ones(3))
    with pytest.raises(FitFailed):
        GaussianProcess().fit(
            Evidence(uniform(3, 2), torch.full((3,), math.nan).double(), torch.zeros(2, dtype=torch.bool))
        )
