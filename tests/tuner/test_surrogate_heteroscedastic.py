"""Noise that depends on the context is found where it is, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from frazil_tuner.surrogates import Evidence
from frazil_tuner.surrogates.heteroscedastic import Heteroscedastic

DEVIATIONS = {"quiet": 0.02, "loud": 0.6}


def told(n: int = 80, *, by_name: bool) -> Evidence:
    """A function of the first column, with noise by the second: larger in its upper half, or at its one name."""
    rng = torch.Generator().manual_seed(3)
    X = torch.rand(n, 2, generator=rng, dtype=torch.float64)
    if by_name:
        X[:, 1] = 0.25 + 0.5 * X[:, 1].round()
    deviation = torch.where(X[:, 1] > 0.5, DEVIATIONS["loud"], DEVIATIONS["quiet"])
    y = torch.sin(5 * X[:, 0]) + deviation * torch.randn(n, generator=rng, dtype=torch.float64)
    return Evidence(X, y, torch.tensor([False, by_name]), varies=torch.tensor([False, True]))


def learned(evidence: Evidence, *rows: tuple[float, float]) -> Tensor:
    belief = Heteroscedastic().fit(evidence)
    return belief.model.noise(torch.tensor(rows, dtype=torch.float64), belief.values).sqrt()


@pytest.mark.parametrize("by_name", [True, False])
def test_the_noise_is_learned_for_each_context(by_name: bool) -> None:
    quiet, loud, elsewhere = learned(told(by_name=by_name), (0.2, 0.25), (0.2, 0.75), (0.9, 0.75)).tolist()
    assert loud > 4 * quiet
    assert loud == elsewhere
    assert loud == pytest.approx(DEVIATIONS["loud"], rel=0.6)


def test_a_name_never_seen_has_the_usual_noise() -> None:
    quiet, loud, new = learned(told(by_name=True), (0.2, 0.25), (0.2, 0.75), (0.2, 0.5)).tolist()
    assert quiet < new < loud


def test_columns_that_are_no_context_have_no_say() -> None:
    evidence = told(by_name=False)
    deviations = learned(Evidence(evidence.X, evidence.y, evidence.unordered), (0.1, 0.1), (0.9, 0.9))
    assert deviations[0] == deviations[1]


def test_imagined_outcomes_are_as_noisy_as_their_context() -> None:
    belief = Heteroscedastic().fit(told(by_name=False))
    x = torch.tensor([[0.5, 0.05], [0.5, 0.95]], dtype=torch.float64)
    drawn = belief.imagine(x, 2_000, torch.Generator().manual_seed(0)).seen.outcomes[:, -2:].std(0)
    assert drawn[1] > 4 * drawn[0]
