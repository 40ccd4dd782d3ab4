"""Dominance and hypervolumes: against their definitions, brute force and BoTorch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume
from botorch.utils.multi_objective.pareto import is_non_dominated

from frazil_tuner.pareto import (
    MARGIN,
    diverse,
    free_boxes,
    hypervolume,
    non_dominated,
    r2,
    reference_point,
    simplex,
)


def sphere(n: int, k: int, seed: int = 0) -> np.ndarray:
    """Points (n, k) of the positive unit sphere: none dominates another."""
    points = np.abs(np.random.default_rng(seed).normal(size=(n, k)))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def lattice(total: int) -> np.ndarray:
    """All points of three whole coordinates ≥ 0 with a given sum: a front full of ties."""
    return np.array([(a, b, total - a - b) for a in range(total + 1) for b in range(total + 1 - a)], dtype=float)


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, frazil_tuner.pareto; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_front_is_botorchs(k: int) -> None:
    values = np.random.default_rng(1).integers(0, 6, size=(200, k)).astype(float)
    assert non_dominated(values).tolist() == is_non_dominated(torch.from_numpy(values), deduplicate=False).tolist()


def test_infinities_dominate_and_nan_does_not_count() -> None:
    values = np.array([[np.inf, 0.0], [1.0, 0.0], [-np.inf, np.inf], [np.nan, 5.0], [1e300, 1e-300]])
    assert non_dominated(values).tolist() == [True, False, True, False, True]
    assert non_dominated(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 10.0], [4.0, 0.0], [-50.0, -50.0]], [-0.4, -1.0]),  # the front's nadir less a tenth of its ranges
        ([[1.0, 2.0], [0.0, 2.0]], [1 - MARGIN, 2 - 2 * MARGIN]),  # one point: the range of all values, or its size
        ([[0.0, 0.0]], [-MARGIN, -MARGIN]),
    ],
)
def test_the_reference_point_lies_beyond_the_nadir(values: list[list[float]], expected: list[float]) -> None:
    assert reference_point(np.array(values)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_free_boxes_fill_the_free_space_once(k: int) -> None:
    fills_the_free_space_once(sphere(12, k) if k > 1 else np.array([[0.7]]), np.full(k, -0.1))


def test_free_boxes_bear_ties_and_an_empty_front() -> None:
    fills_the_free_space_once(lattice(4) / 4, np.full(3, -0.1))
    fills_the_free_space_once(lattice(4)[::-1] / 4, np.zeros(3))
    fills_the_free_space_once(np.empty((0, 3)), np.zeros(3))


def fills_the_free_space_once(front: np.ndarray, reference: np.ndarray) -> None:
    low, high = free_boxes(front, reference)
    points = reference + 1.5 * np.random.default_rng(0).random((3_000, len(reference)))
    inside = ((points[:, None] > low) & (points[:, None] < high)).all(2).sum(1)
    free = ~(points[:, None] <= front).all(2).any(1)
    assert inside.tolist() == free.astype(int).tolist()


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_the_hypervolume_is_botorchs(k: int) -> None:
    values = np.concatenate([sphere(15, k), 0.5 * sphere(5, k, seed=1), -sphere(3, k)])
    reference = np.linspace(0.05, 0.15, k)
    front = values[non_dominated(values)]
    theirs = Hypervolume(torch.from_numpy(reference)).compute(torch.from_numpy(front))
    assert hypervolume(values, reference) == pytest.approx(theirs, rel=1e-10)


def test_beyond_five_objectives_the_hypervolume_is_estimated() -> None:
    front = np.concatenate([np.tile([[1.0, 0.5]], (1, 3)), np.tile([[0.5, 1.0]], (1, 3))])
    assert hypervolume(front, np.zeros(6)) == pytest.approx(2 * 0.5**3 - 0.5**6, abs=0.01)


def test_the_hypervolume_bears_scales_copies_and_nothing() -> None:
    scales = np.array([1e300, 1e-300, 1.0])
    front = lattice(3) + 1
    plain = hypervolume(front, np.zeros(3))
    assert hypervolume(np.concatenate([front, front]) * scales, np.zeros(3)) == pytest.approx(plain)
    assert hypervolume(front, np.full(3, 10.0)) == 0
    assert hypervolume(np.empty((0, 3)), np.zeros(3)) == 0
    assert hypervolume(np.full((1, 2), 1e300), np.zeros(2)) == np.inf


def test_r2_is_its_formula_and_better_sets_have_less() -> None:
    ideal, reference = np.array([2.0, 10.0]), np.array([0.0, 0.0])
    share = simplex(256, 2)[:, 0]
    assert r2(np.array([[2.0, 0.0]]), ideal, reference) == pytest.approx((1 - share).mean())
    assert r2(ideal[None], ideal, reference) == r2(ideal[None] + 1, ideal, reference) == 0
    front = sphere(10, 2) * ideal
    assert r2(front, ideal, reference) < r2(front[:3], ideal, reference) < r2(front[:3] * 0.8, ideal, reference)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_weights_spread_evenly_over_the_simplex(k: int) -> None:
    weights = simplex(256, k)
    assert weights.min() >= 0
    assert weights.sum(1) == pytest.approx(np.ones(256))
    assert weights.mean(0) == pytest.approx(np.full(k, 1 / k), abs=0.02)


def test_diverse_points_are_on_the_front_and_far_apart() -> None:
    angles = np.concatenate([np.linspace(0, 0.05, 50), [np.pi / 4, np.pi / 2]])
    front = np.stack([1_000 * np.cos(angles), np.sin(angles)], axis=1)
    values = np.concatenate([front * 0.9, front])
    chosen = diverse(values, 3)
    assert set(chosen - 52) == {0, 50, 51}
    assert diverse(values, 1_000).tolist()[:3] == chosen.tolist()
    assert diverse(np.ones((4, 2)), 3).tolist() == [0]
    assert diverse(np.empty((0, 2)), 3).tolist() == []
