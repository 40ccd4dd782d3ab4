"""The demo's network: what is frozen goes on as if it had never stopped."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from frazil.space import described_space

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("digits_model", EXAMPLE / "model.py")
    module = sys.modules["digits_model"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def replay():
    spec = importlib.util.spec_from_file_location("digits_replay", EXAMPLE / "replay.py")
    module = sys.modules["digits_replay"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits(model, tmp_path_factory):
    import torch

    file = tmp_path_factory.mktemp("digits") / "digits.pt"
    model.prepare_digits(file)
    return torch.load(file)


OF_OPTIMIZER = {
    "adamw": {"beta2": 0.99},
    "sgd": {"momentum": 0.9, "nesterov": True},
    "rmsprop": {"alpha": 0.99},
}


@pytest.mark.parametrize("optimizer", OF_OPTIMIZER)
def test_a_run_that_was_frozen_gives_the_numbers_of_one_that_was_not(model, digits, tmp_path, optimizer):
    rest = {"lr": 0.01, "weight_decay": 1e-4, "width": 16, "dropout": 0.2, "batch_size": 256}
    params = {"optimizer": optimizer, **rest, **OF_OPTIMIZER[optimizer]}
    whole = model.Run(params, digits)
    uninterrupted = [whole.train_epoch(epoch) for epoch in (1, 2, 3)]
    first, second = model.Run(params, digits), model.Run(params, digits)
    first.train_epoch(1)
    second.load(first.save(tmp_path / "a checkpoint.pt"))
    assert [second.train_epoch(epoch) for epoch in (2, 3)] == uninterrupted[1:]


def test_no_digit_is_both_trained_on_and_validated(digits):
    seen = {tuple(row) for row in digits["x"].tolist()}
    assert len(digits["x"]) + len(digits["x_val"]) == 1797
    assert not any(tuple(row) in seen for row in digits["x_val"].tolist())


def test_every_choice_can_be_built_and_the_defaults_lie_in_the_space(model):
    from frazil_tuner.space import Space

    space = Space.from_json(described_space(model.SPACE))
    assert set(OF_OPTIMIZER) == set(model.SPACE["optimizer"])
    space.check(model.DEFAULTS)


@pytest.mark.parametrize(
    ("well", "start"), [("", None), ("-", None), ("+", 10), ("-+", 20), ("+-+", 30), ("++-", None), ("-++", 20)]
)
def test_a_method_has_done_as_well_from_when_on_it_never_fell_back(replay, well, start):
    path = [(10 * i, sign == "+") for i, sign in enumerate(well, 1)]
    assert replay.since(path) == (float("inf") if start is None else start)


@pytest.mark.parametrize("policy", ["random", "asha"])
def test_what_another_method_would_have_cost_is_counted_on_the_same_curves(replay, policy):
    from frazil_tuner.space import Space

    space = Space.from_json([{"name": "x", "type": "float", "low": 0.0, "high": 1.0}])
    candidates = [{"x": i / 20} for i in range(20)]
    losses = np.array([[1 + point["x"] + 1 / epoch for epoch in range(1, 10)] for point in candidates])
    easy, hard, never = (
        replay.cost_of({"name": policy}, space, candidates, losses, target)
        for target in (losses[9, -1], losses[0, -1], 0.0)
    )
    assert 10 <= easy.low <= easy.typical <= easy.high < losses.size
    assert easy.typical < hard.typical <= losses.size
    assert never.typical == float("inf")
