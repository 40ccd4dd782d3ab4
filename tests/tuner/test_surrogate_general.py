"""The machinery of the composite surrogates: equal to BoTorch's posterior and likelihood, slopes included."""

from __future__ import annotations

import math

import gpytorch
import pytest
import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import MaternKernel, ScaleKernel
from torch import Tensor

from frazil_tuner.surrogates import Evidence, FitFailed, GaussianProcess
from frazil_tuner.surrogates.general import (
    NOISE,
    SIGNALS,
    ExactBelief,
    Model,
    Prior,
    Seen,
    Values,
    cholesky,
    cholesky_many,
    fit_outcomes,
    gaps_between,
    length_prior,
    log_evidence,
    mixed,
)

NAMES = torch.tensor([False, False, True])


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points(n: int, seed: int = 0) -> Tensor:
    """Two numbers and a name of three."""
    X = uniform(n, 3, seed)
    X[:, 2] = ((X[:, 2] * 3).floor() + 0.5) / 3
    return X


def plain(unordered: Tensor) -> Model:
    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return mixed(gaps_between(a, b, unordered), values, unordered)

    return Model(kernel, (length_prior(len(unordered)), *SIGNALS, NOISE), lambda x: x)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class TestAgainstBotorch:
    """Given noise, and only the joint part of the kernel."""

    X, VALUES = uniform(12, 3), {"lengths": numbers(0.3, 0.7, 1.5), "joint": numbers(1.7), "additive": numbers(1e-300)}
    Y, NOISES = torch.sin(5 * uniform(12, 3)).sum(1), 0.01 + 0.1 * uniform(12, 1, seed=3)[:, 0]

    @pytest.fixture
    def ours(self) -> ExactBelief:
        unordered = torch.zeros(3, dtype=torch.bool)
        seen = Seen.of(Evidence(self.X, self.Y, unordered, noise=self.NOISES), self.X)
        return ExactBelief.given(plain(unordered), self.VALUES, seen, self.X)

    @pytest.fixture
    def theirs(self, ours: ExactBelief) -> SingleTaskGP:
        kernel = ScaleKernel(MaternKernel(nu=2.5, ard_num_dims=3))
        noise = self.NOISES[:, None]
        model = SingleTaskGP(self.X, self.Y[:, None], noise, covar_module=kernel, outcome_transform=None)
        model.covar_module.base_kernel.lengthscale = self.VALUES["lengths"]
        model.covar_module.outputscale = self.VALUES["joint"][0]
        model.mean_module.constant = ours.mean
        return model

    def test_the_posterior_is_equal(self, ours: ExactBelief, theirs: SingleTaskGP) -> None:
        x = uniform(7, 3, seed=1)
        posterior = theirs.eval().posterior(x)
        mean, covariance = ours.joint(x[None])
        assert mean[0, 0].tolist() == pytest.approx(posterior.mean[:, 0].tolist(), abs=1e-6)
        assert torch.allclose(covariance[0, 0], posterior.covariance_matrix, atol=1e-6)

    def test_the_likelihood_is_equal(self, ours: ExactBelief, theirs: SingleTaskGP) -> None:
        theirs.train()
        with gpytorch.settings.fast_computations(log_prob=False):
            joint = theirs.likelihood(theirs(theirs.train_inputs[0])).log_prob(theirs.train_targets)
        theta = torch.cat([*self.VALUES.values(), numbers(0.1)]).log()
        assert log_evidence(ours.model, ours.seen, theta)[0].item() == pytest.approx(joint.item(), abs=1e-6)


class TestSlopes:
    def test_of_the_covariance_in_gaps_scales_and_variances(self) -> None:
        gaps = gaps_between(points(4), points(3, seed=1), NAMES)
        values = [numbers(0.4, 0.8, 1.2), numbers(1.3), numbers(0.6)]

        def covariances(ordered: Tensor, *values: Tensor) -> Tensor:
            named = dict(zip(("lengths", "joint", "additive"), values, strict=True))
            return mixed(torch.cat([ordered, gaps[2:]]), named, NAMES)

        inputs = [(gaps[:2] + 0.01).requires_grad_(), *(value.requires_grad_() for value in values)]
        assert torch.autograd.gradcheck(covariances, inputs)

    def test_of_the_likelihood(self) -> None:
        model, seen = plain(NAMES), Seen.of(Evidence(points(9), torch.arange(9) / 4.0, NAMES), points(9))
        theta, step = numbers(-1.0, 0.3, 0.8, -0.5, -1.0, -3.0), 1e-5
        _, slope = log_evidence(model, seen, theta)
        for j, unit in enumerate(torch.eye(6, dtype=torch.float64)):
            below, above = (log_evidence(model, seen, theta + sign * step * unit)[0] for sign in (-1, 1))
            assert slope[j].item() == pytest.approx((above - below).item() / (2 * step), rel=1e-5, abs=1e-7)


def test_without_more_to_say_it_believes_what_the_lean_process_believes() -> None:
    X = points(20)
    evidence = Evidence(X, torch.sin(5 * X).sum(1), NAMES, noise=torch.full((20,), 0.01, dtype=torch.float64))
    lean = GaussianProcess().fit(evidence)
    hyper = lean.covariance.hyper
    values = {"lengths": numbers(*hyper.lengths), "joint": numbers(hyper.joint), "additive": numbers(hyper.additive)}
    ours = ExactBelief.given(plain(NAMES), values, Seen.of(evidence, X), X)
    for one, other in zip(ours.posterior(points(6, seed=4)), lean.posterior(points(6, seed=4)), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_scales_found_are_the_most_probable_ones() -> None:
    X = points(25)
    evidence = Evidence(X, torch.sin(4 * X).sum(1), NAMES)
    model = plain(NAMES)
    belief = fit_outcomes(model, evidence)
    theta = torch.from_numpy(model.theta(belief.fit))
    centre, spread = (torch.from_numpy(model.spread_out(field)) for field in ("centre", "spread"))

    def height(theta: Tensor) -> float:
        z = (theta - centre) / spread
        return float(log_evidence(model, belief.seen, theta)[0] - 0.5 * z @ z)

    for unit in torch.eye(len(theta), dtype=torch.float64):
        assert height(theta) > max(height(theta + 0.5 * unit), height(theta - 0.5 * unit)) - 0.05


def test_hyperparameters_survive_their_way_to_json_and_back() -> None:
    model = Model(
        lambda a, b, v: a @ b.mT, (Prior("a", 2, 0.0, 1.0), Prior("b", 1, 0.0, 1.0, positive=False)), lambda x: x
    )
    theta = numbers(0.3, -1.2, -0.7)
    assert model.theta({name: value.tolist() for name, value in model.values(theta).items()}) == pytest.approx(
        theta.numpy()
    )
    assert model.theta({"a": [1.0, 0.0], "b": [1.0]}) is None
    assert model.theta({"a": [1.0]}) is None


def test_sums_of_values_are_told_like_values() -> None:
    """Two outcomes, f(0) + f(1) and f(0), say what f(1) and f(0) say."""
    X, unordered = numbers(0.0, 1.0)[:, None], torch.tensor([False])
    model, values = plain(unordered), {"lengths": numbers(0.5), "joint": numbers(1.0), "additive": numbers(0.5)}
    little, level = torch.full((2,), 1e-10, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    apart = Seen(X, numbers(0.3, 0.9)[None], little, level)
    together = Seen(X, numbers(1.2, 0.3)[None], little, level, numbers(1, 1, 1, 0).reshape(2, 2))
    x = uniform(4, 1)
    one, other = (ExactBelief.given(model, values, seen, X) for seen in (apart, together))
    for a, b in zip(one.posterior(x), other.posterior(x), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    imagined = other.imagine(x, 3, torch.Generator().manual_seed(0), noiseless=True)
    assert imagined.posterior(x)[1].max() < 1e-3


def test_a_matrix_that_rounding_has_spoiled_is_mended_and_another_refused() -> None:
    one = torch.ones(3, 3, dtype=torch.float64)
    assert torch.allclose(cholesky(one) @ cholesky(one).T, one, atol=1e-3)
    many = cholesky_many(one.expand(2, 3, 3))
    assert torch.allclose(many @ many.mT, one, atol=1e-3)
    for spoiled in (-one, one * math.nan):
        with pytest.raises(FitFailed):
            cholesky(spoiled)
    with pytest.raises(FitFailed):
        cholesky_many(-torch.eye(3, dtype=torch.float64)[None] - one)
