"""The tables of real curves are read as their README says; small ones are made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tables import LCBENCH, TASKSET, Table, load, scores

ADAM = [[0.9, 0.999, 1e-8, 1e-5, 1e-6, 1e-4, 1e-3, 1e-6], [0.0, 0.5, 1e2, 1e-3, 1e1, 1e-8, 1e-8, 1e-4]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for family in ("lcbench", "taskset"):
        (tmp_path / family).mkdir()
    Y = np.array([[2.0, 1.0, 0.5], [4.0, 3.0, np.nan]])
    mlp = np.array([[512, 1e-3, 0.9, 1e-5, 3, 64, 0.2], [16, 1e-4, 0.1, 1e-1, 1, 1024, 0.0]])
    np.savez(tmp_path / "lcbench" / "small.npz", X=mlp, Y=Y)
    names = np.array([item["name"] for item in TASKSET])
    np.savez(tmp_path / "taskset" / "lstm.npz", X=np.array(ADAM), hyperparameters=names, Y_valid=Y.astype(np.float32))
    return tmp_path


def test_every_family_is_found_and_one_can_be_picked(data: Path) -> None:
    assert [(table.name, table.family) for table in load(data)] == [("small", "lcbench"), ("lstm", "taskset")]
    assert [table.name for table in load(data, "taskset")] == ["lstm"]


def test_the_column_before_training_gives_the_baseline_and_goes(data: Path) -> None:
    for table in load(data):
        assert table.baseline == 3.0
        assert table.losses[0].tolist() == [1.0, 0.5]
        assert np.isnan(table.losses[1, 1])


def test_candidates_are_params_of_the_space(data: Path) -> None:
    table = load(data, "lcbench")[0]
    assert table.candidates[0] == {**dict(zip([p["name"] for p in LCBENCH], table.X[0], strict=True)), "num_layers": 3}
    assert [type(table.candidates[0][name]) for name in ("batch_size", "max_dropout")] == [int, float]
    assert table.space.encode_many(table.candidates).shape == (2, 7)


def test_a_diverged_run_has_the_worst_score_and_the_regret_of_no_training(data: Path) -> None:
    table: Table = load(data, "lcbench")[0]
    assert table.scores[1].tolist() == pytest.approx([1 - 3.0 / 3.45, 0.0])
    assert [table.regret(0), table.regret(1)] == [0.0, 1.0]
    assert scores(np.array([np.inf, 1e30, 0.0]), 2.0).tolist() == [0.0, 0.0, 1.0]
