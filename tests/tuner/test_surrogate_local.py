"""Of a long history the rows that matter are taken, always the same, and quickly."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from frazil_tuner.surrogates import Evidence, GaussianProcess, Local, Slopes
from frazil_tuner.surrogates.local import relevant
from frazil_tuner.surrogates.selection import best_and_spread, best_first, evenly, rows_of


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def told(n: int, d: int = 10) -> Evidence:
    X = uniform(n, d)
    return Evidence(X, -(X - 0.3).square().sum(1), torch.zeros(d, dtype=torch.bool))


class TestChoice:
    X, UNORDERED = uniform(1000, 3), torch.zeros(3, dtype=torch.bool)
    Y = -(uniform(1000, 3) - 0.4).square().sum(1)

    def test_the_best_their_surroundings_and_some_of_everything_are_taken_once(self) -> None:
        rows = relevant(self.X, self.Y, self.UNORDERED, 100)
        assert len(set(rows.tolist())) == 100
        assert set(self.Y.argsort(descending=True)[:25].tolist()) <= set(rows.tolist())
        distance = (self.X - self.X[self.Y.argmax()]).square().sum(1)
        assert set(distance.argsort()[:50].tolist()) <= set(rows.tolist())
        assert self.Y[rows].min() == self.Y.min()

    def test_few_are_all_taken(self) -> None:
        assert relevant(self.X, self.Y, self.UNORDERED, 1000).tolist() == list(range(1000))

    def test_the_order_of_the_evidence_makes_no_difference(self) -> None:
        equal = self.Y.round(decimals=1)
        order = torch.randperm(1000, generator=torch.Generator().manual_seed(1))
        one = self.X[relevant(self.X, equal, self.UNORDERED, 60)]
        other = self.X[order][relevant(self.X[order], equal[order], self.UNORDERED, 60)]
        assert torch.equal(one, other)

    def test_names_are_far_apart_or_equal(self) -> None:
        X = torch.cat([torch.linspace(0, 1, 40)[:, None], torch.arange(40)[:, None] % 2 * 0.1], dim=1).double()
        y = torch.zeros(40).double()
        y[0] = 1
        near = relevant(X, y, torch.tensor([False, True]), 8)
        assert (X[near[2:6], 1] == X[0, 1]).all()
        assert set(relevant(X, y, torch.tensor([False, False]), 8)[2:6].tolist()) != set(near[2:6].tolist())


def test_best_and_spread_has_both_halves_and_evenly_both_ends() -> None:
    y = torch.arange(100.0).double()
    assert best_and_spread(y[:, None], y, 5).tolist() == [99, 98, 97, 96, 0]
    assert best_first(torch.tensor([[2.0], [1.0]]), torch.zeros(2)).tolist() == [1, 0]
    assert evenly(torch.arange(10), 4).tolist() == [0, 3, 6, 9]
    assert evenly(torch.arange(3), 4).tolist() == [0, 1, 2]


def test_chosen_rows_keep_all_that_was_known_of_them() -> None:
    evidence = Evidence(
        X=torch.arange(4.0)[:, None],
        y=torch.arange(4.0),
        unordered=torch.tensor([False]),
        noise=torch.arange(4.0) / 10,
        active=torch.eye(4, 1, dtype=torch.bool),
        slopes=Slopes(torch.tensor([0, 2, 3]), torch.tensor([0, 0, 0]), torch.tensor([5.0, 6.0, 7.0])),
        tasks=torch.tensor([0, 0, 1, 1]),
        rankings=(torch.tensor([3, 1, 2]), torch.tensor([0, 1])),
    )
    part = rows_of(evidence, torch.tensor([3, 2]))
    assert part.X[:, 0].tolist() == part.y.tolist() == [3, 2]
    assert part.noise is not None
    assert part.noise.tolist() == [torch.tensor(0.3), torch.tensor(0.2)]
    assert part.active is not None
    assert not part.active.any()
    assert part.tasks is not None
    assert part.tasks.tolist() == [1, 1]
    assert part.slopes is not None
    assert part.slopes.rows.tolist() == [1, 0]
    assert part.slopes.slopes.tolist() == [6, 7]
    assert [ranking.tolist() for ranking in part.rankings] == [[0, 1]]


def test_ten_thousand_observations_cost_little_more_than_a_thousand() -> None:
    def seconds(n: int) -> float:
        evidence, costs = told(n), []
        for _ in range(2):
            start = time.process_time()
            Local(GaussianProcess()).fit(evidence)
            costs.append(time.process_time() - start)
        return min(costs)

    assert seconds(10_000) < 2 * seconds(1_000)


def test_the_model_of_a_part_knows_where_it_is_good() -> None:
    belief = Local(GaussianProcess(), most=200).fit(told(3000, d=3))
    assert len(belief.points) == 200
    x = 0.3 + 0.1 * (uniform(50, 3, seed=3) - 0.5)
    mean, sd = belief.posterior(x)
    assert torch.allclose(mean[0], -(x - 0.3).square().sum(1), atol=0.01)
    assert sd.max() < 0.05
