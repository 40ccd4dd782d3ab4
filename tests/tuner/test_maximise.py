"""The maximiser of an acquisition: mixed, conditional, and never outside the space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from frazil_tuner.acquisition import evaluate, search
from frazil_tuner.acquisition.maximise import CHUNK
from frazil_tuner.space import Space

MIXED = Space.from_json(
    [
        {"name": "kind", "type": "categorical", "choices": ["a", "b", "c", "d"]},
        {"name": "n", "type": "int", "low": 0, "high": 200},
        {"name": "x", "type": "float", "low": -1, "high": 1},
        {"name": "y", "type": "float", "low": -1, "high": 1, "when": {"kind": ["c"]}},
    ]
)
NOWHERE = np.empty((0, 4))


def hill(top: np.ndarray) -> object:
    """A worth with its only maximum at `top`; narrow enough that no Sobol point lies on it."""
    return lambda x: -((x - torch.from_numpy(top)) ** 2).sum(1) * 100


def best(worth: object, seeds: np.ndarray = NOWHERE, space: Space = MIXED, seed: int = 0) -> np.ndarray:
    return search(worth, space, seeds, np.random.default_rng(seed))[0]


@pytest.mark.parametrize("kind", ["a", "c"])
def test_the_top_of_a_mixed_hill_is_found(kind: str) -> None:
    point = {"kind": kind, "n": 137, "x": 0.123, **({"y": -0.777} if kind == "c" else {})}
    found = MIXED.decode(best(hill(MIXED.encode(point))))
    assert (found["kind"], found["n"]) == (kind, 137)
    assert found["x"] == pytest.approx(0.123, abs=1e-4)
    assert found.get("y") == (pytest.approx(-0.777, abs=1e-4) if kind == "c" else None)


def test_a_seed_leads_to_a_peak_too_narrow_for_chance() -> None:
    top = MIXED.encode({"kind": "b", "n": 3, "x": 0.5})

    def peak(x: Tensor) -> Tensor:
        return torch.exp(-((x - torch.from_numpy(top)) ** 2).sum(1) * 1e6)

    beside = MIXED.encode({"kind": "b", "n": 3, "x": 0.501})[None]
    assert best(peak, beside)[2] == pytest.approx(top[2], abs=1e-4)


def test_every_row_is_a_point_of_the_space_and_the_best_comes_first() -> None:
    def worth(x: Tensor) -> Tensor:
        return (torch.sin(9 * x) * 3).sum(1)

    rows = search(worth, MIXED, NOWHERE, np.random.default_rng(0))
    assert np.allclose(MIXED.snap(rows), rows)
    assert np.all((rows >= 0) & (rows <= 1))
    assert np.all(np.diff(evaluate(worth, rows)) <= 0)


def test_a_maximum_on_the_border_is_reached() -> None:
    found = MIXED.decode(best(lambda x: x[:, 2] * 5))
    assert found["x"] == 1


def test_purely_discrete_and_purely_continuous_spaces_are_searched() -> None:
    ints = Space.from_json([{"name": f"i{k}", "type": "int", "low": 0, "high": 999} for k in range(3)])
    top = ints.encode({"i0": 1, "i1": 500, "i2": 998})
    assert ints.decode(best(hill(top), np.empty((0, 3)), ints)) == {"i0": 1, "i1": 500, "i2": 998}
    floats = Space.from_json([{"name": f"x{k}", "type": "float", "low": 0, "high": 1} for k in range(3)])
    top = np.array([0.1, 0.5, 0.9])
    assert best(hill(top), np.empty((0, 3)), floats) == pytest.approx(top, abs=1e-4)


def test_a_search_is_repeated_exactly_by_its_seed_and_leaves_global_chance_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    worth = hill(MIXED.encode({"kind": "b", "n": 10, "x": 0.0}))
    assert np.array_equal(best(worth, seed=5), best(worth, seed=5))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_a_worth_of_nan_is_never_the_best() -> None:
    def worth(x: Tensor) -> Tensor:
        return torch.where(x[:, 2] > 0.5, torch.nan, x[:, 2])

    assert best(worth)[2] <= 0.5


def test_long_lists_are_evaluated_in_chunks_and_in_order() -> None:
    sizes = []

    def worth(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x[:, 0]

    rows = np.linspace(0, 1, 2 * CHUNK + 7)[:, None]
    assert np.array_equal(evaluate(worth, rows), rows[:, 0])
    assert sizes == [CHUNK, CHUNK, 7]


def test_nothing_has_no_worth() -> None:
    assert evaluate(lambda x: x[:, 0], np.empty((0, 2))).shape == (0,)
