"""What every surrogate promises, whatever it is. A new one inherits `SurrogateContract` and names itself."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Belief, Evidence, FitFailed, Slopes, Surrogate
from frazil_tuner.surrogates.fidelity import FIDELITY_SURROGATES
from frazil_tuner.surrogates.selection import rows_of


def uniform(n: int, d: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def function(X: Tensor) -> Tensor:
    return torch.sin(4 * X).sum(1)


def standard(y: Tensor) -> Tensor:
    return (y - y.mean()) / y.std() if len(y) > 1 else y * 0


class SurrogateContract:
    """Inherit, and say which surrogate. `complete` adds what its evidence has beyond points and outcomes."""

    name: ClassVar[str]
    recalls: ClassVar[float] = 0.1

    @property
    def surrogate(self) -> Surrogate:
        return SURROGATES[self.name]

    def complete(self, evidence: Evidence) -> Evidence:
        return evidence

    def evidence(self, n: int, unordered: tuple[int, ...] = (), d: int = 2) -> Evidence:
        """Points of which the unordered columns have three names, and a smooth function of them."""
        X, mask = uniform(n, d), torch.zeros(d, dtype=torch.bool)
        mask[list(unordered)] = True
        X[:, mask] = ((X[:, mask] * 3).floor() + 0.5) / 3
        return self.complete(Evidence(X, standard(function(X)), mask))

    def fit(self, n: int = 10, **options: Any) -> Belief:
        return self.surrogate.fit(self.evidence(n, **options))

    @pytest.mark.parametrize("n", [1, 2, 12])
    @pytest.mark.parametrize("unordered", [(), (1,), (0, 1)])
    def test_it_believes_after_any_number_of_observations(self, n: int, unordered: tuple[int, ...]) -> None:
        evidence = self.evidence(n, unordered)
        belief = self.surrogate.fit(evidence)
        mean, sd = belief.posterior(evidence.X[:1].repeat(5, 1))
        S = len(belief.incumbent)
        assert mean.shape == (S, 5)
        assert sd.shape in {(S, 5), (1, 5)}
        assert mean.isfinite().all()
        assert (sd > 0).all()
        assert torch.equal(belief.points, evidence.X)

    def test_the_incumbent_is_the_largest_mean_at_the_points(self) -> None:
        belief = self.fit()
        assert belief.incumbent.tolist() == pytest.approx(belief.posterior(belief.points)[0].amax(1).tolist())

    def test_it_knows_good_points_from_bad_ones(self) -> None:
        evidence = self.evidence(15)
        mean = self.surrogate.fit(evidence).posterior(evidence.X)[0].mean(0)
        assert torch.corrcoef(torch.stack([mean, function(evidence.X)]))[0, 1] > 0.9

    def test_permuted_evidence_gives_the_same_belief(self) -> None:
        evidence, x = self.evidence(10), uniform(5, seed=1)
        permuted = rows_of(evidence, torch.randperm(10, generator=rng(3)))
        one, other = self.surrogate.fit(evidence).posterior(x), self.surrogate.fit(permuted).posterior(x)
        for a, b in zip(one, other, strict=True):
            assert torch.allclose(a, b, atol=1e-3)

    def test_its_posterior_is_the_diagonal_of_its_joint(self) -> None:
        belief, x = self.fit(6, unordered=(1,)), self.evidence(12, (1,)).X
        (mean, sd), (joint, covariance) = belief.posterior(x), belief.joint(x.reshape(3, 4, 2))
        assert torch.allclose(joint.flatten(1), mean)
        assert torch.allclose(covariance.diagonal(dim1=-2, dim2=-1).flatten(1), sd.square(), atol=1e-9)

    def test_its_joint_covariances_are_positive_semi_definite(self) -> None:
        _, covariance = self.fit(8).joint(uniform(30, seed=2)[None])
        assert torch.linalg.eigvalsh(covariance).min() > -1e-9
        assert torch.allclose(covariance, covariance.mT)

    def test_posterior_and_joint_can_be_differentiated(self) -> None:
        belief, x = self.fit(6), uniform(4, seed=2).requires_grad_()
        assert torch.autograd.gradcheck(belief.posterior, (x,))
        assert torch.autograd.gradcheck(belief.joint, (x.detach().reshape(2, 2, 2).requires_grad_(),))

    def test_imagined_outcomes_follow_the_belief(self) -> None:
        belief, x = self.fit(6), uniform(2, seed=4)
        imagined = belief.imagine(x, 4_000, rng())
        mean, sd = belief.posterior(x)
        after, _ = imagined.posterior(x)
        _, left = imagined.posterior(x)
        assert after.shape == (4_000, 2)
        assert imagined.incumbent.shape == (4_000,)
        assert imagined.points.tolist() == torch.cat([belief.points, x]).tolist()
        within = (sd.square() - left[:: 4_000 // len(sd)][: len(sd)].square()).mean(0)
        assert torch.allclose(after.mean(0), mean.mean(0), atol=0.06)
        assert torch.allclose(after.std(0), (within + mean.var(0, correction=0)).sqrt(), rtol=0.1, atol=0.01)

    def test_the_function_imagined_without_noise_is_known(self) -> None:
        x = uniform(3, seed=4)
        belief = self.fit(6)
        imagined = belief.imagine(x, 5, rng(), noiseless=True)
        mean, sd = imagined.posterior(x)
        assert sd.amax() < 1e-3
        assert len({round(value, 9) for value in mean[:, 0].tolist()}) == 5
        again = imagined.joint(x[None])[0]
        assert again.shape == (5, 1, 3)

    def test_imagination_depends_on_its_generator_alone(self) -> None:
        belief, x = self.fit(6), uniform(2, seed=4)
        torch.manual_seed(1)
        one = belief.imagine(x, 3, rng(7)).incumbent
        torch.manual_seed(2)
        assert torch.equal(one, belief.imagine(x, 3, rng(7)).incumbent)
        assert not torch.equal(one, belief.imagine(x, 3, rng(8)).incumbent)

    @pytest.mark.parametrize("spacing", [1e-4, 1e-8, 1e-16])
    def test_points_close_together_are_borne(self, spacing: float) -> None:
        X = 0.3 + spacing * torch.arange(20, dtype=torch.float64)[:, None].expand(20, 2)
        y = standard(torch.arange(20, dtype=torch.float64) % 2)
        belief = self.surrogate.fit(self.complete(Evidence(X, y, torch.zeros(2, dtype=torch.bool))))
        mean, sd = belief.posterior(X)
        assert mean.abs().max() < 3
        assert sd.isfinite().all()
        assert belief.imagine(X, 2, rng(), noiseless=True).incumbent.isfinite().all()

    def test_points_that_mean_nothing_fail_cleanly(self) -> None:
        evidence = self.evidence(3)
        with pytest.raises(FitFailed):
            self.surrogate.fit(replace(evidence, X=torch.full_like(evidence.X, math.nan)))

    def test_what_it_remembers_is_json_and_gives_the_same_belief_sooner(self) -> None:
        evidence, x = self.evidence(25), uniform(5, seed=1)
        cold, cold_cost = self.timed(evidence)
        remembered: Mapping[str, Any] = json.loads(json.dumps(dict(cold.fit), allow_nan=False))
        warm, warm_cost = self.timed(replace(evidence, start=remembered))
        for a, b in zip(cold.posterior(x), warm.posterior(x), strict=True):
            assert torch.allclose(a, b, atol=0.02)
        assert warm_cost < 0.8 * cold_cost

    def timed(self, evidence: Evidence) -> tuple[Belief, float]:
        """The belief and the CPU seconds of the quicker of two fits."""
        costs = []
        for _ in range(2):
            start = time.process_time()
            belief = self.surrogate.fit(evidence)
            costs.append(time.process_time() - start)
        return belief, min(costs)

    @pytest.mark.parametrize("start", [{"theta": [1.0], "members": []}, {"lengths": [1.0, -1.0, 2.0]}])
    def test_memories_of_another_shape_are_ignored(self, start: dict[str, Any]) -> None:
        evidence, x = self.evidence(8), uniform(5, seed=1)
        one, other = self.surrogate.fit(evidence), self.surrogate.fit(replace(evidence, start=start))
        assert torch.allclose(one.posterior(x)[0], other.posterior(x)[0], atol=1e-6)


class OutcomeContract(SurrogateContract):
    """What a surrogate promises besides, whose belief is about outcomes that were measured."""

    def test_it_recalls_what_it_has_seen(self) -> None:
        evidence = self.evidence(15)
        mean, _ = self.surrogate.fit(evidence).posterior(evidence.X)
        assert (mean - evidence.y).abs().max() < self.recalls

    def test_it_is_surer_where_it_has_looked(self) -> None:
        corner = self.complete(replace(self.evidence(10), X=uniform(10) / 4))
        belief = self.surrogate.fit(corner)
        far = torch.ones(1, 2, dtype=torch.float64)
        assert (belief.posterior(corner.X)[1].amax(1) < 0.8 * belief.posterior(far)[1][:, 0]).all()

    @pytest.mark.parametrize("outcome", [0.0, 1.0])
    def test_equal_outcomes_and_repeated_points_are_borne(self, outcome: float) -> None:
        evidence = self.evidence(3)
        equal = replace(evidence, X=evidence.X.repeat(4, 1), y=torch.full((12,), outcome, dtype=torch.float64))
        mean, sd = self.surrogate.fit(self.complete(equal)).posterior(evidence.X)
        assert (mean - outcome).abs().max() < 0.1
        assert sd.isfinite().all()

    def test_outcomes_that_mean_nothing_fail_cleanly(self) -> None:
        evidence = self.evidence(3)
        with pytest.raises(FitFailed):
            self.surrogate.fit(replace(evidence, y=torch.full_like(evidence.y, math.nan)))

    def test_it_believes_less_what_is_said_to_be_noisy(self) -> None:
        evidence = self.evidence(12)
        wild = evidence.y.clone()
        wild[3] += 5
        noise = torch.full_like(wild, math.nan)
        noise[3] = 100.0
        trusting = self.surrogate.fit(replace(evidence, y=wild, noise=torch.full_like(wild, 1e-4)))
        doubting = self.surrogate.fit(replace(evidence, y=wild, noise=noise))
        here = evidence.X[3:4]
        assert (trusting.posterior(here)[0].mean() - wild[3]).abs() < 0.5
        assert (doubting.posterior(here)[0].mean() - evidence.y[3]).abs() < 1.5


class TestGaussianProcess(OutcomeContract):
    name = "gp"


class TestSparse(OutcomeContract):
    name = "sparse"


class TestTree(OutcomeContract):
    name = "tree"


class TestWarped(OutcomeContract):
    name = "warped"


class TestHeteroscedastic(OutcomeContract):
    """The noise may depend on the last column."""

    name = "heteroscedastic"

    def complete(self, evidence: Evidence) -> Evidence:
        return replace(evidence, varies=torch.tensor([False, True]))


class TestDerivatives(OutcomeContract):
    """Where there is an ordered first column, its slope is told at every other point."""

    name = "derivatives"

    def complete(self, evidence: Evidence) -> Evidence:
        if evidence.unordered[0] or len(evidence.y) == 1:
            return evidence
        rows = torch.arange(0, len(evidence.y), 2)
        scale = torch.where(evidence.y.std() > 0, 1 / function(evidence.X).std(), 0.0)
        slopes = 4 * torch.cos(4 * evidence.X[rows, 0]) * scale
        return replace(evidence, slopes=Slopes(rows, torch.zeros_like(rows), slopes))


class TestMultiTask(OutcomeContract):
    name = "multi_task"


class TestLocal(OutcomeContract):
    name = "local"


class TestPairwise(SurrogateContract):
    """What is told is one ranking by outcome; the utility has a scale of its own."""

    name = "pairwise"

    def complete(self, evidence: Evidence) -> Evidence:
        ranking = evidence.y.argsort(descending=True)
        return replace(evidence, y=torch.zeros_like(evidence.y), rankings=(ranking,) if len(ranking) > 1 else ())


class FidelityContract(OutcomeContract):
    """The last column is the share of a resource; the first may be unordered."""

    @property
    def surrogate(self) -> Surrogate:
        return FIDELITY_SURROGATES[self.name]

    def evidence(self, n: int, unordered: tuple[int, ...] = (), d: int = 2) -> Evidence:
        return super().evidence(n, (0,) if unordered else (), d)

    def complete(self, evidence: Evidence) -> Evidence:
        X, shares = evidence.X.clone(), torch.tensor([1.0, 1 / 9, 1 / 3], dtype=torch.float64)
        X[:, -1] = shares[torch.arange(len(X)) % 3]
        y = standard(function(X)) if evidence.y.unique().numel() > 2 else evidence.y
        return replace(evidence, X=X, y=y)


class TestLinearTruncated(FidelityContract):
    name = "linear_truncated"


class TestDownsampling(FidelityContract):
    name = "downsampling"


class TestExponentialDecay(FidelityContract):
    name = "exponential_decay"


class TestAutoregressive(FidelityContract):
    name = "autoregressive"


class TestNonlinearAutoregressive(FidelityContract):
    name = "nonlinear_autoregressive"


class TestCoregional(FidelityContract):
    name = "coregional"


def test_every_surrogate_is_held_to_the_contract() -> None:
    suites = [*OutcomeContract.__subclasses__(), TestPairwise]
    assert sorted(suite.name for suite in suites if suite is not FidelityContract) == sorted(SURROGATES)
    assert sorted(suite.name for suite in FidelityContract.__subclasses__()) == sorted(FIDELITY_SURROGATES)
