"""Acquisitions beside BoTorch's on the same models, and beside plain simulation where BoTorch has no equal."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from botorch.acquisition.joint_entropy_search import qJointEntropySearch
from botorch.acquisition.max_value_entropy_search import qLowerBoundMaxValueEntropy
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.preference import AnalyticExpectedUtilityOfBestOption
from botorch.models import PairwiseGP, SingleTaskGP
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.multi_objective.box_decompositions import NondominatedPartitioning
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal
from torch import Tensor

from frazil_tuner.acquisition import Outlook, Worth, worth_of
from frazil_tuner.acquisition.chebyshev import AUGMENTATION, SAMPLES, Compromise
from frazil_tuner.acquisition.draws import draw, drawn_optima
from frazil_tuner.acquisition.entropy import log_told_of_optimum, log_told_of_value
from frazil_tuner.acquisition.hypervolume import CONTENDERS, DRAWS, Boxes, _contend, _settled
from frazil_tuner.acquisition.lookahead import crossed, noise_variance
from frazil_tuner.pareto import reference_point
from frazil_tuner.space import Space
from frazil_tuner.surrogates import SURROGATES, Belief, Evidence

SPACE = Space.from_json([{"name": name, "type": "float", "low": 0, "high": 1} for name in "ab"])


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noise(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bumpy(x: Tensor) -> Tensor:
    return torch.sin(6 * x[:, 0]) + x[:, 1]


def sloped(x: Tensor) -> Tensor:
    return torch.cos(5 * x[:, 1]) - x[:, 0]


def believe(function: object, n: int = 10, scatter: float = 0.3) -> Belief:
    """A belief from n values of a function, measured with noise."""
    X = uniform(n)
    y = function(X) + scatter * noise(n)
    return SURROGATES["gp"].fit(Evidence(X, (y - y.mean()) / y.std(), torch.tensor([False, False])))


def outlook_of(*beliefs: Belief, seed: int = 0) -> Outlook:
    return Outlook(beliefs, SPACE, torch.Generator().manual_seed(seed), len(beliefs[0].points))


class Theirs:
    """A model of BoTorch's as a belief."""

    def __init__(self, model: Model, points: Tensor) -> None:
        self.model, self.points = model, points
        self.incumbent = self.posterior(points)[0].amax(1)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.model.posterior(x)
        return posterior.mean.mT, posterior.variance.mT.sqrt()

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.model.posterior(x)
        return posterior.mean[None, ..., 0], posterior.distribution.covariance_matrix[None]


class Ours(Model):
    """Our beliefs as a model of BoTorch's: independent outcomes side by side."""

    def __init__(self, *beliefs: Belief) -> None:
        super().__init__()
        self.beliefs = beliefs

    @property
    def num_outputs(self) -> int:
        return len(self.beliefs)

    def posterior(self, X: Tensor, **_: object) -> GPyTorchPosterior:
        jitter = 1e-10 * torch.eye(X.shape[-2], dtype=X.dtype)
        joints = [belief.joint(X.reshape(-1, *X.shape[-2:])) for belief in self.beliefs]
        normals = [
            MultivariateNormal(mean[0].reshape(X.shape[:-1]), (cov[0] + jitter).reshape(*X.shape[:-1], X.shape[-2]))
            for mean, cov in joints
        ]
        return GPyTorchPosterior(MultitaskMultivariateNormal.from_independent_mvns(normals))


@pytest.fixture(scope="module")
def gp() -> SingleTaskGP:
    """A Gaussian process of BoTorch's, noisy."""
    X = uniform(8)
    y = (bumpy(X) + 0.1 * noise(8))[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SingleTaskGP(X, (y - y.mean()) / y.std(), outcome_transform=None).eval()
    model.covar_module.lengthscale = 0.4
    model.likelihood.noise = 0.05
    return model


# ── entropies ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_told_of_the_highest_value_is_botorchs_gibbon(gp: SingleTaskGP) -> None:
    x, highest = uniform(20, seed=1), torch.tensor([1.6, 2.0, 3.5], dtype=torch.float64)
    theirs = qLowerBoundMaxValueEntropy(gp, uniform(5))
    theirs.posterior_max_values = highest[:, None]
    with torch.no_grad():
        ours = log_told_of_value(*Theirs(gp, x).posterior(x), torch.tensor(0.05), highest)
        assert ours.exp().mean(0).tolist() == pytest.approx(theirs(x[:, None]).tolist(), rel=1e-6)


def test_what_is_told_of_the_optimum_is_botorchs_joint_entropy(gp: SingleTaskGP) -> None:
    x, places, highest = uniform(20, seed=1), uniform(3, seed=2), torch.tensor([1.6, 2.0, 3.5], dtype=torch.float64)
    theirs = qJointEntropySearch(gp, places, highest[:, None], condition_noiseless=False)
    with torch.no_grad():
        at = crossed(Theirs(gp, x), x, places)
        at = replace(at, variances=at.variances + 0.05)  # without noise, their mean still knows f(x*) with noise only
        ours = log_told_of_optimum(at, torch.tensor(0.05), highest)
        assert ours.exp().mean(0).tolist() == pytest.approx(theirs(x[:, None]).tolist(), rel=1e-6)


def test_each_imagined_outcome_has_an_optimum_of_its_own() -> None:
    imagined = outlook_of(believe(bumpy)).imagine(uniform(2, seed=3), 4)
    optima, x = drawn_optima(imagined), uniform(6, seed=4)
    at = crossed(imagined.belief, x, optima.places)
    together = log_told_of_optimum(at, torch.tensor(0.1), optima.values)
    for s in range(4):
        alone = replace(
            at, mean=at.mean[s : s + 1], means=at.means[s : s + 1, s : s + 1], variances=at.variances[:, s : s + 1],
            covariance=at.covariance[..., s : s + 1],
        )  # fmt: skip
        expected = log_told_of_optimum(alone, torch.tensor(0.1), optima.values[s : s + 1])[0]
        assert torch.allclose(together[s], expected)


def test_drawn_optima_are_distributed_as_the_belief_says() -> None:
    outlook = outlook_of(believe(bumpy))
    x = uniform(12, seed=1)
    drawn = draw(outlook, x, 4_000).posterior(x)[0]
    mean, covariance = outlook.belief.joint(x[None])
    assert torch.allclose(drawn.mean(0), mean[0, 0], atol=0.05)
    assert torch.allclose(drawn.T.cov(), covariance[0, 0], atol=0.06)
    optima = drawn_optima(outlook)
    assert optima.places.shape == (16, 2)
    assert optima.values.min() > outlook.belief.incumbent.item() - 1


# ── one observation ahead ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scatter", [0.3, 0.8])
def test_the_noise_is_told_by_what_an_observation_teaches(scatter: float) -> None:
    outlook, x = outlook_of(believe(bumpy, 20, scatter)), uniform(30, seed=1)
    found = noise_variance(outlook, x).item()
    mean, sd = outlook.belief.posterior(x[:1])
    after = outlook.belief.imagine(x[:1], 40_000, outlook.rng).posterior(x[:1])[0]
    v = sd.item() ** 2
    assert (after - mean).square().mean().item() == pytest.approx(v**2 / (v + found), rel=0.03)
    assert found > 0.02
    assert noise_variance(outlook.imagine(uniform(3, seed=5), 4), x).item() == pytest.approx(found, rel=1e-4)


def simulated_rise(belief: Belief, x: Tensor, rivals: Tensor) -> float:
    """The mean rise of the largest posterior mean over rivals and x, in 20 000 imagined observations at x."""
    after = belief.imagine(x, 20_000, torch.Generator().manual_seed(1)).posterior(torch.cat([rivals, x]))[0]
    return (after.amax(1) - belief.posterior(rivals)[0].max()).mean().item()


def best_of(worth: Worth) -> Tensor:
    """Three points (3, 1, 2) of large worth."""
    x = uniform(50, seed=1)
    return x[worth(x).topk(3).indices][:, None]


def test_noisy_improvement_is_what_simulation_says() -> None:
    belief = believe(bumpy)
    worth = worth_of("noisy_ei", outlook_of(belief))
    for x in best_of(worth):
        assert worth(x).exp().item() == pytest.approx(simulated_rise(belief, x, belief.points), rel=0.03)


class Quiet:
    """A belief that expects no noise."""

    def __init__(self, belief: Belief) -> None:
        self.points, self.incumbent, self.posterior, self.joint = (
            belief.points, belief.incumbent, belief.posterior, belief.joint,
        )  # fmt: skip
        self.imagine = partial(belief.imagine, noiseless=True)


def test_without_noise_it_is_expected_improvement() -> None:
    noisy, x = believe(bumpy), uniform(50, seed=1)
    known = noisy.imagine(noisy.points, 1, torch.Generator().manual_seed(0), noiseless=True)
    ours, plain = (worth_of(name, outlook_of(Quiet(known)))(x) for name in ("noisy_ei", "log_ei"))
    assert ours.exp().tolist() == pytest.approx(plain.exp().tolist(), rel=1e-2, abs=1e-4)
    assert plain.exp().max() > 0.01


def test_the_knowledge_gradient_is_what_simulation_says() -> None:
    belief = believe(bumpy)
    worth = worth_of("knowledge_gradient", outlook_of(belief, seed=3))
    optima = drawn_optima(outlook_of(belief, seed=3)).places  # the same chance, so the same places
    mean, sd = belief.posterior(belief.points)
    rivals = torch.cat([optima, belief.points[(mean + sd)[0].topk(8).indices]])
    for x in best_of(worth):
        assert worth(x).exp().item() == pytest.approx(simulated_rise(belief, x, rivals), rel=0.03)


# ── several objectives ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_volume_won_from_a_known_front_is_botorchs(k: int) -> None:
    rng = torch.Generator().manual_seed(k)
    front = torch.rand(12, k, generator=rng, dtype=torch.float64)
    reference = torch.full((k,), 0.1, dtype=torch.float64)
    partitioning = NondominatedPartitioning(reference, front)
    beliefs = [believe(bumpy), believe(sloped), believe(lambda x: x[:, 0]), believe(lambda x: -x[:, 1])][:k]
    theirs = ExpectedHypervolumeImprovement(Ours(*beliefs), reference.tolist(), partitioning)
    x = uniform(10, seed=1)
    boxes = Boxes.above(front[None].numpy(), reference.numpy())
    mean, sd = (torch.cat(parts)[None] for parts in zip(*(b.posterior(x) for b in beliefs), strict=True))
    assert boxes.log_gain(mean, sd)[0].exp().tolist() == pytest.approx(theirs(x[:, None]).tolist(), rel=1e-6)


def test_the_logarithm_of_the_volume_won_is_finite_far_below_the_front_and_its_slope_exact() -> None:
    boxes = Boxes.above(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).double().numpy(), torch.zeros(2).double().numpy())
    mean = torch.tensor([[[-40.0, 0.5], [-60.0, 0.7]]], dtype=torch.float64, requires_grad=True)  # (1, k, m)
    sd = torch.tensor([[[0.1, 0.2], [0.1, 0.2]]], dtype=torch.float64)
    gain = boxes.log_gain(mean, sd)
    assert -1e6 < gain[0, 0].item() < -1e5
    assert torch.autograd.gradcheck(lambda mean: boxes.log_gain(mean, sd), (mean,))


def test_the_noisy_volume_won_is_botorchs_within_its_error() -> None:
    beliefs = believe(bumpy, 8), believe(sloped, 8)
    outlook = outlook_of(*beliefs)
    means = torch.stack([belief.posterior(belief.points)[0][0] for belief in beliefs], dim=1)
    theirs = qLogNoisyExpectedHypervolumeImprovement(
        Ours(*beliefs), reference_point(means.numpy()).tolist(), beliefs[0].points,
        sampler=SobolQMCNormalSampler(torch.Size([512]), seed=0), cache_root=False, prune_baseline=False,
    )  # fmt: skip
    x = uniform(8, seed=1)
    with torch.no_grad():
        each = [
            worth_of("log_hypervolume", replace(outlook, rng=torch.Generator().manual_seed(s)))(x) for s in range(40)
        ]
        ours = torch.stack(each).logsumexp(0) - math.log(40)
        expected = theirs(x[:, None])
    assert ours.exp().tolist() == pytest.approx(expected.exp().tolist(), rel=0.02, abs=1e-3)
    assert (expected.exp() > 0.01).sum() > 2


def test_fronts_are_drawn_among_the_points_that_may_be_on_them() -> None:
    belief = believe(bumpy)
    assert len(_settled(belief, uniform(3), torch.Generator().manual_seed(0)).incumbent) == DRAWS
    imagined = belief.imagine(uniform(2, seed=3), 4, torch.Generator().manual_seed(0))
    assert len(_settled(imagined, uniform(3), torch.Generator().manual_seed(0)).incumbent) == 4
    means = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-0.1, 0.9], [-0.5, -0.5], [-0.2, 0.8]]).double().numpy()
    sds = torch.full((5, 2), 0.1).double().numpy()
    assert _contend(means, sds).tolist() == [0, 1, 2, 4]  # the surely dominated one is left out
    many = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)).double().numpy()
    assert len(_contend(many, 10 + 0 * many)) == CONTENDERS


def test_pending_points_keep_their_place_in_the_volume() -> None:
    outlook, best = outlook_of(believe(bumpy), believe(sloped)), uniform(200, seed=6)
    alone = worth_of("log_hypervolume", outlook)(best)
    chosen = best[alone.argmax()][None]
    pending = worth_of("log_hypervolume", outlook.imagine(chosen, 8))
    assert pending(chosen).item() < alone.max().item() - 1


def test_a_compromise_is_its_formula() -> None:
    values = torch.tensor([[0.0, 10.0], [1.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64)
    compromise = Compromise.over(values, weights)
    assert compromise.reference.tolist() == pytest.approx([-0.1, -1.0])
    r = 0.25 * 0.6 / 1.1, 0.75 * 6.0 / 11.0
    assert compromise.of(torch.tensor([0.5, 5.0])).item() == pytest.approx(min(r) + AUGMENTATION * sum(r))


@pytest.mark.parametrize("paths", [1, 4])
def test_the_improvement_of_a_compromise_is_what_simulation_says(paths: int) -> None:
    outlook = outlook_of(believe(bumpy), believe(sloped)).imagine(uniform(2, seed=7), paths)
    beliefs = outlook.objectives
    worth = worth_of("chebyshev", replace(outlook, rng=torch.Generator().manual_seed(4)))
    rng = torch.Generator().manual_seed(4)
    weights = -torch.rand(2, generator=rng, dtype=torch.float64).log()
    seen = torch.stack([belief.posterior(belief.points)[0] for belief in beliefs], dim=-1)  # (S, n, k)
    compromise = Compromise.over(seen.mean(0), weights / weights.sum())
    best, x = compromise.of(seen).amax(1), uniform(40, seed=1)
    outcomes = torch.stack(
        [
            mean + sd * noise(5_000, seed)[:, None, None]
            for seed, (mean, sd) in enumerate(belief.posterior(x) for belief in beliefs)
        ],
        dim=-1,
    )  # (N, S, m, k)
    gains = (compromise.of(outcomes) - best[:, None]).clamp_min(0).mean((0, 1))
    clear = gains > 0.02
    assert clear.sum() > 3
    assert worth(x)[clear].exp().tolist() == pytest.approx(gains[clear].tolist(), rel=0.1)
    assert SAMPLES == 256


def test_each_call_of_chebyshev_seeks_another_compromise() -> None:
    outlook, x = outlook_of(believe(bumpy), believe(sloped)), uniform(300, seed=1)
    assert len({int(worth_of("chebyshev", outlook)(x).argmax()) for _ in range(6)}) > 2


# ── draws and preferences ────────────────────────────────────────────────────────────────────────────────────────────


def test_thompson_draws_are_distributed_as_the_belief_says() -> None:
    outlook, x = outlook_of(believe(bumpy)), uniform(2, seed=1)
    draws = torch.stack([worth_of("thompson", outlook)(x) for _ in range(40)])
    mean, sd = outlook.belief.posterior(x)
    assert ((draws.mean(0) - mean[0]) / sd[0]).abs().max() < 0.5
    assert (draws.std(0) / sd[0]).tolist() == pytest.approx([1, 1], abs=0.35)


def test_thompson_picks_among_imagined_outcomes() -> None:
    imagined = outlook_of(believe(bumpy)).imagine(uniform(1, seed=3), 4)
    at = imagined.belief.points[-1:]
    drawn = torch.cat([worth_of("thompson", imagined)(at) for _ in range(20)])
    assert drawn.std() > 0.7 * imagined.belief.posterior(at)[0].std()


def test_the_better_of_two_options_is_botorchs() -> None:
    points, x = uniform(6), uniform(15, seed=1)
    comparisons = torch.tensor([[0, 1], [2, 1], [2, 3], [4, 3], [0, 5]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PairwiseGP(points, comparisons).eval()
    belief = Theirs(model, points)
    favourite = points[model.posterior(points).mean[:, 0].argmax()][None]
    theirs = AnalyticExpectedUtilityOfBestOption(model, previous_winner=favourite)
    with torch.no_grad():
        ours = worth_of("eubo", outlook_of(belief))(x)
        assert ours.exp().tolist() == pytest.approx(theirs(x[:, None]).tolist(), rel=1e-6)
