"""The Gaussian process: equal to BoTorch's, and to what any surrogate promises."""

from __future__ import annotations

import math

import gpytorch
import pytest
import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import MaternKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.priors import LogNormalPrior
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence, FitFailed, Surrogate
from frazil_tuner.surrogates.gp import Hyperparameters, believe, kernel, log_evidence, log_prior, most_probable


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evidence(n: int, d: int = 2, unordered: tuple[int, ...] = (), seed: int = 0) -> Evidence:
    """Points of which the unordered columns have three names, and a smooth function of them."""
    X = uniform(n, d, seed)
    mask = torch.zeros(d, dtype=torch.bool)
    mask[list(unordered)] = True
    X[:, mask] = ((X[:, mask] * 3).floor() + 0.5) / 3
    y = torch.sin(4 * X).sum(1)
    return Evidence(X, (y - y.mean()) / y.std() if n > 1 else y * 0, mask)


class TestAgainstBotorch:
    LENGTHS, NOISE = torch.tensor([0.3, 0.7, 1.5]).double(), torch.tensor(0.02).double()

    @pytest.fixture
    def theirs(self) -> SingleTaskGP:
        seen = evidence(12, 3)
        lengths = LogNormalPrior(0.5 * math.log(3) - 0.5, 1.0)
        matern = MaternKernel(nu=2.5, ard_num_dims=3, lengthscale_prior=lengths)
        noise = GaussianLikelihood(LogNormalPrior(-6.0, 3.0))
        model = SingleTaskGP(seen.X, seen.y[:, None], None, noise, matern, outcome_transform=None)
        model.covar_module.lengthscale = self.LENGTHS
        model.likelihood.noise = self.NOISE
        model.mean_module.constant = believe(seen, Hyperparameters(self.LENGTHS, self.NOISE)).mean
        return model

    def test_posterior_means_and_deviations_are_equal(self, theirs: SingleTaskGP) -> None:
        x = uniform(7, 3, seed=1)
        mean, sd = believe(evidence(12, 3), Hyperparameters(self.LENGTHS, self.NOISE)).posterior(x)
        posterior = theirs.eval().posterior(x)
        assert mean[0].tolist() == pytest.approx(posterior.mean[:, 0].tolist(), abs=1e-8)
        assert sd.tolist() == pytest.approx(posterior.variance[:, 0].sqrt().tolist(), abs=1e-8)

    def test_the_likelihood_is_equal(self, theirs: SingleTaskGP) -> None:
        theirs.train()
        with gpytorch.settings.fast_computations(log_prob=False):
            joint = theirs.likelihood(theirs(theirs.train_inputs[0])).log_prob(theirs.train_targets)
        ours, _ = log_evidence(evidence(12, 3), Hyperparameters(self.LENGTHS, self.NOISE))
        assert ours.item() == pytest.approx(joint.item(), abs=1e-8)

    def test_the_prior_is_equal(self, theirs: SingleTaskGP) -> None:
        lengths = theirs.covar_module.lengthscale_prior.log_prob(self.LENGTHS).sum()
        noise = theirs.likelihood.noise_covar.noise_prior.log_prob(self.NOISE)
        ours, _ = log_prior(Hyperparameters(self.LENGTHS, self.NOISE))
        assert ours.item() == pytest.approx((lengths + noise).item(), abs=1e-6)


class TestKernel:
    def test_names_are_only_equal_or_different(self) -> None:
        unordered = torch.tensor([False, True])
        lengths = torch.tensor([0.5, 2.0], dtype=torch.float64)
        a = torch.tensor([[0.1, 0.25]], dtype=torch.float64)
        b = torch.tensor([[0.1, 0.25], [0.1, 0.5], [0.1, 0.75], [0.6, 0.75]], dtype=torch.float64)
        near, matern = math.exp(-0.5), (1 + math.sqrt(5) + 5 / 3) * math.exp(-math.sqrt(5))
        expected = [1.0, near, near, near * matern]
        assert kernel(a, b, lengths, unordered)[0].tolist() == pytest.approx(expected)

    def test_its_gradient_is_exact(self) -> None:
        seen = evidence(4, 3, unordered=(1,))
        lengths = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
        x = uniform(2, 3, seed=5).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, ls: kernel(seen.X, x, ls, seen.unordered), (x, lengths))

    @pytest.mark.parametrize("unordered", [(), (1,), (0, 1, 2)])
    def test_the_slopes_of_likelihood_and_prior_are_exact(self, unordered: tuple[int, ...]) -> None:
        seen, theta, step = evidence(9, 3, unordered), torch.tensor([-1.0, 0.3, 0.8, -3.0]).double(), 1e-5
        for density in (lambda hyper: log_evidence(seen, hyper), log_prior):
            _, slope = density(Hyperparameters(theta[:-1].exp(), theta[-1].exp()))
            for j in range(4):
                ends = [theta + sign * step * torch.eye(4).double()[j] for sign in (-1, 1)]
                below, above = (density(Hyperparameters(end[:-1].exp(), end[-1].exp()))[0] for end in ends)
                assert slope[j].item() == pytest.approx((above - below).item() / (2 * step), rel=1e-5, abs=1e-7)

    def test_the_best_fit_is_a_stationary_point(self) -> None:
        seen = evidence(15, 2, unordered=(1,))
        found = most_probable(seen)
        slope = log_evidence(seen, found)[1] + log_prior(found)[1]
        assert slope[:-1].abs().max() < 1e-2
        assert abs(slope[-1]) < 1e-2 or found.noise < 1.1e-6


class SurrogateContract:
    """What every surrogate promises; inherit, and name yours."""

    surrogate: Surrogate

    @pytest.mark.parametrize("n", [1, 2, 12])
    @pytest.mark.parametrize("unordered", [(), (1,), (0, 1)])
    def test_it_believes_after_any_number_of_observations(self, n: int, unordered: tuple[int, ...]) -> None:
        belief = self.surrogate.fit(evidence(n, 2, unordered))
        mean, sd = belief.posterior(evidence(5, 2, unordered, seed=1).X)
        assert mean.shape == (1, 5)
        assert belief.incumbent.shape == (1,)
        assert mean.isfinite().all()
        assert (sd > 0).all()

    def test_it_is_surer_where_it_has_looked(self) -> None:
        seen = evidence(10)
        belief = self.surrogate.fit(seen)
        far = torch.tensor([[3.0, -3.0]], dtype=torch.float64)
        assert belief.posterior(seen.X)[1].max() < 0.5 * belief.posterior(far)[1].item()

    def test_it_recalls_what_it_has_seen(self) -> None:
        seen = evidence(15)
        mean, _ = self.surrogate.fit(seen).posterior(seen.X)
        assert (mean[0] - seen.y).abs().max() < 0.1

    def test_permuted_evidence_gives_the_same_belief(self) -> None:
        seen, order = evidence(10), torch.randperm(10, generator=torch.Generator().manual_seed(3))
        x = uniform(5, 2, seed=1)
        one = self.surrogate.fit(seen).posterior(x)
        other = self.surrogate.fit(Evidence(seen.X[order], seen.y[order], seen.unordered)).posterior(x)
        for a, b in zip(one, other, strict=True):
            assert torch.allclose(a, b, atol=1e-4)

    def test_its_posterior_can_be_differentiated(self) -> None:
        belief = self.surrogate.fit(evidence(6))
        assert torch.autograd.gradcheck(belief.posterior, (uniform(3, 2, seed=2).requires_grad_(),))

    def test_imagined_outcomes_follow_the_belief(self) -> None:
        belief = self.surrogate.fit(evidence(6))
        x = uniform(2, 2, seed=4)
        mean, sd = belief.posterior(x)
        imagined, after = belief.imagine(x, 4_000, torch.Generator().manual_seed(0)).posterior(x)
        assert imagined.shape == (4_000, 2)
        assert torch.allclose(imagined.mean(0), mean[0], atol=0.05)
        assert torch.allclose(imagined.std(0), (sd.square() - after.square()).sqrt(), rtol=0.1, atol=0.01)

    def test_imagination_depends_on_its_generator_alone(self) -> None:
        belief, x = self.surrogate.fit(evidence(6)), uniform(2, 2, seed=4)
        torch.manual_seed(1)
        one = belief.imagine(x, 3, torch.Generator().manual_seed(7)).incumbent
        torch.manual_seed(2)
        assert torch.equal(one, belief.imagine(x, 3, torch.Generator().manual_seed(7)).incumbent)

    @pytest.mark.parametrize("outcome", [0.0, 1.0])
    def test_equal_outcomes_and_repeated_points_are_borne(self, outcome: float) -> None:
        X = evidence(3).X.repeat(4, 1)
        belief = self.surrogate.fit(Evidence(X, torch.full((12,), outcome).double(), torch.zeros(2, dtype=torch.bool)))
        assert belief.posterior(X)[0].max().item() == pytest.approx(outcome, abs=0.1)

    def test_numbers_that_mean_nothing_fail_cleanly(self) -> None:
        with pytest.raises(FitFailed):
            self.surrogate.fit(Evidence(evidence(3).X, torch.full((3,), math.nan).double(), evidence(3).unordered))


class TestGaussianProcess(SurrogateContract):
    surrogate = SURROGATES["gp"]
