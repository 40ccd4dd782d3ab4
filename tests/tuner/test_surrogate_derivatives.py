"""Slopes that were told are known, and tell of the function between the points."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from frazil_tuner.surrogates import SURROGATES, Evidence, Slopes
from frazil_tuner.surrogates.derivatives import observed_kernel

LENGTHS = torch.tensor([0.4, 0.9, 0.7], dtype=torch.float64)
NAMES = torch.tensor([False, False, True])


def rows(x: Tensor, share: float, *along: float) -> Tensor:
    """Features of v f + e·∇f at points x (n, 3)."""
    tail = torch.tensor([share, *along], dtype=x.dtype).expand(len(x), -1)
    return torch.cat([x, tail], dim=1)


def points(n: int, seed: int) -> Tensor:
    X = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    X[:, 2] = X[:, 2].round()
    return X


def of_values(a: Tensor, b: Tensor) -> Tensor:
    return observed_kernel(rows(a, 1.0, 0, 0, 0), rows(b, 1.0, 0, 0, 0), LENGTHS, NAMES)


class TestKernel:
    """Its entries are derivatives of the kernel of values, here by autograd and finite differences."""

    @pytest.mark.parametrize("column", [0, 1])
    def test_of_a_slope_and_a_value(self, column: int) -> None:
        a, b = points(3, 1), points(4, 2)
        along = [float(j == column) for j in range(3)]
        (slope,) = torch.autograd.functional.jvp(
            lambda a: of_values(a, b), a, torch.eye(3).double()[column].expand(3, 3)
        )[1:]
        ours = observed_kernel(rows(a, 0.0, *along), rows(b, 1.0, 0, 0, 0), LENGTHS, NAMES)
        assert torch.allclose(ours, slope, atol=1e-10)
        assert torch.allclose(observed_kernel(rows(b, 1.0, 0, 0, 0), rows(a, 0.0, *along), LENGTHS, NAMES), slope.T)

    @pytest.mark.parametrize("here", [0, 1])
    @pytest.mark.parametrize("there", [0, 1])
    def test_of_two_slopes(self, here: int, there: int) -> None:
        a, b, step = points(3, 1), points(4, 2), 1e-6
        along, other = ([float(j == column) for j in range(3)] for column in (here, there))
        moved = step * torch.eye(3).double()[there]
        slopes = [
            observed_kernel(rows(a, 0.0, *along), rows(b + s * moved, 1.0, 0, 0, 0), LENGTHS, NAMES) for s in (1, -1)
        ]
        ours = observed_kernel(rows(a, 0.0, *along), rows(b, 0.0, *other), LENGTHS, NAMES)
        assert torch.allclose(ours, (slopes[0] - slopes[1]) / (2 * step), atol=1e-6)

    def test_of_mixtures_is_the_mixture(self) -> None:
        a, b = points(3, 1), points(4, 2)
        mixture = observed_kernel(rows(a, 2.0, 3.0, -1.0, 0), rows(b, 1.0, 0, 0, 0), LENGTHS, NAMES)
        parts = [
            observed_kernel(rows(a, *row), rows(b, 1.0, 0, 0, 0), LENGTHS, NAMES)
            for row in ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))
        ]
        assert torch.allclose(mixture, 2 * parts[0] + 3 * parts[1] - parts[2])

    def test_is_positive_semi_definite(self) -> None:
        x = points(6, 3)
        everything = torch.cat([rows(x, 1.0, 0, 0, 0), rows(x, 0.0, 1, 0, 0), rows(x, 0.0, 0, 1, 0)])
        assert torch.linalg.eigvalsh(observed_kernel(everything, everything, LENGTHS, NAMES)).min() > -1e-9


def function(X: Tensor) -> Tensor:
    return torch.sin(5 * X[:, 0]) + torch.cos(3 * X[:, 1])


def told(n: int, slopes: bool) -> Evidence:
    X = torch.rand(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    evidence = Evidence(X, function(X), torch.zeros(2, dtype=torch.bool))
    if not slopes:
        return evidence
    each = torch.arange(n)
    along = torch.cat([5 * torch.cos(5 * X[:, 0]), -3 * torch.sin(3 * X[:, 1])])
    return replace(evidence, slopes=Slopes(each.repeat(2), torch.arange(2).repeat_interleave(n), along))


def test_slopes_make_the_belief_surer_and_better_everywhere() -> None:
    x = torch.rand(200, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    (guess, doubt), (better, surer) = (
        SURROGATES["derivatives"].fit(told(8, slopes)).posterior(x) for slopes in (False, True)
    )
    assert surer.mean() < 0.5 * doubt.mean()
    assert (better - function(x)).square().mean() < 0.25 * (guess - function(x)).square().mean()


def test_the_slope_of_the_mean_is_the_one_that_was_told() -> None:
    evidence = told(8, slopes=True)
    x = evidence.X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(SURROGATES["derivatives"].fit(evidence).posterior(x)[0].sum(), x)
    assert evidence.slopes is not None
    assert slope.T.flatten().tolist() == pytest.approx(evidence.slopes.slopes.tolist(), abs=0.05)


def test_wrong_slopes_are_found_to_be_noisy() -> None:
    evidence = told(12, slopes=True)
    assert evidence.slopes is not None
    wrong = replace(evidence.slopes, slopes=evidence.slopes.slopes.flip(0) + 3)
    belief = SURROGATES["derivatives"].fit(replace(evidence, slopes=wrong))
    right = SURROGATES["derivatives"].fit(evidence)
    assert belief.fit["slope_noise"][0] > 10 * right.fit["slope_noise"][0]
