"""Of many columns the few that matter are found, and none is given up before it was looked at."""

from __future__ import annotations

import torch
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence

AXES = (7, 23, 41)


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def function(X: Tensor) -> Tensor:
    return 2 * torch.sin(3 * X[:, AXES]).sum(1) - 4


def told(n: int) -> Evidence:
    X = uniform(n)
    return Evidence(X, function(X), torch.zeros(50, dtype=torch.bool))


def test_the_columns_that_matter_have_the_shortest_scales() -> None:
    belief = SURROGATES["sparse"].fit(told(60))
    assert set(torch.tensor(belief.fit["theta"][:50]).argsort()[:3].tolist()) == set(AXES)


def test_it_foretells_functions_of_few_columns() -> None:
    x = uniform(300, seed=9)
    mean, _ = SURROGATES["sparse"].fit(told(60)).posterior(x)
    assert torch.corrcoef(torch.stack([mean[0], function(x)]))[0, 1] > 0.9


def test_after_few_observations_it_is_less_sure_than_the_plain_process_of_columns_it_has_not_seen_move() -> None:
    """The tried points differ in ten of the fifty columns; the question is what the other forty do."""
    X = torch.full((12, 50), 0.5, dtype=torch.float64)
    X[:, :10] = uniform(12)[:, :10]
    evidence = Evidence(X, torch.sin(3 * X[:, :10]).sum(1), torch.zeros(50, dtype=torch.bool))
    elsewhere = X[:1].repeat(20, 1)
    elsewhere[:, 10:] = uniform(20, seed=2)[:, 10:]
    doubts = {name: SURROGATES[name].fit(evidence).posterior(elsewhere)[1].mean().item() for name in ("sparse", "gp")}
    assert doubts["sparse"] > 1.3 * doubts["gp"]
