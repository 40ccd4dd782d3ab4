"""The same posterior on another device; and that the device is chosen as asked, and by measuring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from frazil_tuner import device
from frazil_tuner.surrogates import Evidence, accelerated
from frazil_tuner.surrogates.accelerated import chosen, is_worth_it, measured, moments
from frazil_tuner.surrogates.gp import GaussianBelief, believe
from frazil_tuner.surrogates.kernels import Hyperparameters

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(autouse=True)
def nothing_chosen_yet() -> Iterator[None]:
    chosen.cache_clear()
    yield
    chosen.cache_clear()


def belief(unordered: tuple[int, ...] = ()) -> GaussianBelief:
    rng = np.random.default_rng(0)
    mask = torch.zeros(3, dtype=torch.bool)
    mask[list(unordered)] = True
    X = torch.from_numpy(rng.random((9, 3)))
    X[:, mask] = ((X[:, mask] * 3).floor() + 0.5) / 3
    hyper = Hyperparameters(np.array([0.3, 0.7, 1.5]), joint=1.3, additive=0.6, noise=0.02)
    return believe(Evidence(X, torch.sin(4 * X).sum(1), mask), hyper)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("unordered", [(), (1,), (0, 1, 2)])
def test_moments_are_the_same_on_every_device(
    name: str, unordered: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = belief(unordered)
    x = np.concatenate([np.random.default_rng(1).random((20, 3)), ours.X])
    monkeypatch.setattr(accelerated, "AT_ONCE", 27 * 7)  # several parts, the last one shorter
    for here, there in zip(ours.own_moments(x), moments(ours, x, name), strict=True):
        assert here == pytest.approx(there, abs=1e-9)


def test_long_lists_go_to_the_device_and_short_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil_tuner.surrogates.gp.chosen", lambda: accelerated.Device("cpu", crossover=270))
    monkeypatch.setattr(accelerated, "chosen", lambda: accelerated.Device("cpu", crossover=270))
    sent = []
    monkeypatch.setattr(
        "frazil_tuner.surrogates.gp.moments", lambda b, x, name: sent.append(len(x)) or b.own_moments(x)
    )
    ours = belief()
    ours.moments(np.zeros((9, 3)))
    ours.moments(np.zeros((10, 3)))
    assert sent == [10]
    assert [is_worth_it(269), is_worth_it(270)] == [False, True]


def test_the_processor_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAZIL_DEVICE", "cpu")
    networks = ["curve-large", "curve-small", "static-small"]
    expected = {"device": "cpu", "crossover": None, "torch": torch.__version__}
    assert device.report() == {**expected, "networks": networks, "damaged_networks": {}}


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAZIL_DEVICE", "cuda")
    with pytest.raises(RuntimeError, match="finds no GPU"):
        device.report()


def test_the_crossover_is_where_the_device_begins_to_win(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, 2.0, 1.0, 2.0, 2.0, 1.0])  # there, here: from the longest list down
    monkeypatch.setattr(accelerated, "_seconds", lambda work: next(seconds))
    assert measured("cpu", 20, 2) == sorted(accelerated.TRIED)[-2]
    monkeypatch.setattr(accelerated, "_seconds", lambda work: 1.0)
    assert measured("cpu", 20, 2) is None
