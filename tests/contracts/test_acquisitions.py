"""What every acquisition promises, whatever it is. A new one inherits `AcquisitionContract` and names itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from frazil_tuner.acquisition import ACQUISITIONS, Limit, Outlook, Worth, worth_of
from frazil_tuner.space import Column, Space
from frazil_tuner.surrogates import SURROGATES, Belief, Evidence

SPACE = Space.from_json(
    [
        {"name": "x", "type": "float", "low": 0, "high": 1},
        {"name": "kind", "type": "categorical", "choices": ["a", "b", "c"]},
    ]
)
NAMES = Space.from_json([{"name": name, "type": "categorical", "choices": list("pqr")} for name in "ab"])

Function = Callable[[Tensor], Tensor]


def rows(n: int, space: Space = SPACE, seed: int = 0) -> Tensor:
    """Snapped points (n, d) of a space."""
    u = torch.rand(n, space.dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.from_numpy(space.snap(u.numpy()))


def believe(X: Tensor, y: Tensor, space: Space = SPACE) -> Belief:
    unordered = torch.tensor([column is Column.UNORDERED for column in space.columns])
    return SURROGATES["gp"].fit(Evidence(X, y, unordered))


def slope(x: Tensor) -> Tensor:
    """An objective that rises along the first column."""
    return 2 * x[:, 0] - 1


def noisy_slope(x: Tensor) -> Tensor:
    """The same, measured with noise."""
    return slope(x) + 0.3 * torch.randn(len(x), generator=torch.Generator().manual_seed(len(x)), dtype=torch.float64)


class AcquisitionContract:
    """Inherit, and say which acquisition."""

    name: ClassVar[str]

    def outlook(self, X: Tensor, space: Space = SPACE, function: Function = slope) -> Outlook:
        """Beliefs from the values of a function at X: as many objectives as it takes, turned bit by bit."""
        count = ACQUISITIONS[self.name].objectives[0]
        beliefs = tuple(believe(X, function(X) + i * 0.3 * torch.sin(4 * X[:, 0]), space) for i in range(count))
        return Outlook(beliefs, space, torch.Generator().manual_seed(3), len(X))

    def values(self, outlook: Outlook, x: Tensor) -> Tensor:
        """The worth of x, after checking what holds for every one."""
        worth = worth_of(self.name, outlook)
        values = worth(x)
        assert values.shape == (len(x),)
        assert values.dtype == torch.float64
        assert not values.isnan().any()
        assert not (values == torch.inf).any()
        self.check_slope(worth, x)
        return values

    def check_slope(self, worth: Worth, x: Tensor) -> None:
        x = x[:5].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(worth(x).sum(), x)
        assert gradient.isfinite().all()

    def test_it_is_in_the_table(self) -> None:
        assert self.name in ACQUISITIONS

    @pytest.mark.parametrize("space", [SPACE, NAMES], ids=["mixed", "names"])
    @pytest.mark.parametrize(("n", "m"), [(1, 20), (2, 1), (12, 2000)])
    def test_any_number_of_points_has_a_worth_after_any_number_of_observations(
        self, n: int, m: int, space: Space
    ) -> None:
        self.values(self.outlook(rows(n, space), space), rows(m, space, seed=1))

    def test_a_point_s_worth_does_not_depend_on_its_company(self) -> None:
        worth, x = worth_of(self.name, self.outlook(rows(8))), rows(150, seed=1)
        assert torch.allclose(worth(x)[[3, 117]], worth(x[[3, 117]]), rtol=1e-6, atol=1e-9)

    def test_repeated_and_seen_points_are_borne(self) -> None:
        X = rows(3).repeat(4, 1)
        self.values(self.outlook(X), X)

    @pytest.mark.parametrize("outcome", [0.0, 1.0, -3.0])
    def test_equal_outcomes_are_borne(self, outcome: float) -> None:
        def constant(x: Tensor) -> Tensor:
            return torch.full_like(x[:, 0], outcome)

        self.values(self.outlook(rows(6), function=constant), rows(20, seed=1))

    def test_single_precision_points_are_borne(self) -> None:
        X = (rows(10).float() * 1e-4).double()  # so near each other that their covariance is singular
        self.values(self.outlook(X), X + 1e-9)

    @pytest.mark.parametrize("paths", [1, 4])
    def test_what_is_running_may_be_imagined(self, paths: int) -> None:
        self.values(self.outlook(rows(8)).imagine(rows(3, seed=2), paths), rows(20, seed=1))

    def test_the_better_and_uncertain_beats_the_worse_and_known(self) -> None:
        X = torch.cat([rows(12), rows(12, seed=5)])
        X[:, 0] *= 0.6
        outlook = self.outlook(X)
        promising, known = torch.tensor([[1.0, X[0, 1]]]).double(), X[X[:, 0].argmin()][None]
        values = self.values(outlook, torch.cat([promising, known]))
        assert values[0] > values[1]

    def test_it_is_repeated_exactly_by_its_generator(self) -> None:
        outlook, x = self.outlook(rows(8)), rows(5, seed=1)
        torch.manual_seed(1)
        one = worth_of(self.name, replace(outlook, rng=torch.Generator().manual_seed(9)))(x)
        before = torch.manual_seed(2).get_state()
        assert torch.equal(one, worth_of(self.name, replace(outlook, rng=torch.Generator().manual_seed(9)))(x))
        assert torch.equal(before, torch.get_rng_state())

    def test_its_gradient_is_that_of_its_value(self) -> None:
        worth, x = worth_of(self.name, self.outlook(rows(8))), rows(6, seed=1).requires_grad_()
        (gradient,) = torch.autograd.grad(worth(x).sum(), x)
        step = torch.tensor([1e-5, 0.0], dtype=torch.float64)
        with torch.no_grad():
            numeric = (worth(x + step) - worth(x - step)) / 2e-5
        assert torch.allclose(gradient[:, 0], numeric, rtol=1e-3, atol=1e-5)

    def with_parts(self, bound: float) -> Outlook:
        """An outlook with everything: a limit on the second of two outcomes, pending points, cost and prior."""
        X = rows(20)
        limit = Limit(believe(X, -noisy_slope(X)), bound)
        outlook = replace(self.outlook(X, function=noisy_slope), limits=(limit,)).imagine(rows(2, seed=2), 4)
        return replace(outlook, cost=believe(X, X[:, 0]), prior=lambda x: -x[:, 0].square())

    def test_limits_cost_and_prior_weigh_in(self) -> None:
        full, x = self.with_parts(0.0), rows(30, seed=1)
        values = self.values(full, x)
        for missing in ({"limits": ()}, {"cost": None}, {"prior": None}):
            partial = replace(full, rng=torch.Generator().manual_seed(3), **missing)
            assert not torch.allclose(values, self.values(partial, x))

    def test_the_infeasible_is_worth_less(self) -> None:
        outlook = replace(self.with_parts(0.0), cost=None, prior=None)
        x = rows(100, seed=1)
        best, free = (x[self.values(o, x).argmax(), 0] for o in (outlook, replace(outlook, limits=())))
        assert best < 0.7
        assert best < free

    def test_it_looks_for_feasibility_where_nothing_is_feasible(self) -> None:
        outlook = replace(self.with_parts(50.0), cost=None, prior=None)
        x = rows(100, seed=1)
        best = x[self.values(outlook, x).argmax()]
        mean, _ = outlook.limits[0].belief.posterior(best[None])
        assert mean.mean() > 0


def test_every_acquisition_keeps_the_contract() -> None:
    kept = {contract.name for contract in AcquisitionContract.__subclasses__()}
    assert kept == set(ACQUISITIONS)


class TestLogEi(AcquisitionContract):
    name = "log_ei"


class TestUcb(AcquisitionContract):
    name = "ucb"


class TestNoisyEi(AcquisitionContract):
    name = "noisy_ei"


class TestThompson(AcquisitionContract):
    name = "thompson"


class TestKnowledgeGradient(AcquisitionContract):
    name = "knowledge_gradient"


class TestMaxValueEntropy(AcquisitionContract):
    name = "max_value_entropy"


class TestJointEntropy(AcquisitionContract):
    name = "joint_entropy"


class TestLogHypervolume(AcquisitionContract):
    name = "log_hypervolume"


class TestChebyshev(AcquisitionContract):
    name = "chebyshev"


class TestEubo(AcquisitionContract):
    name = "eubo"
