"""What a study is made of, as the SDK describes it: every kind is read back by the space of the core."""

from __future__ import annotations

import json
from typing import Any

import pytest

import frazil
from frazil.space import described_space
from frazil_tuner.space import Space

SPACE: dict[str, Any] = {
    "optimizer": frazil.Categorical(
        ["adamw", "sgd", 3, None], prior={"adamw": 3, 3: 1, None: 2}, prior_confidence="low", role="tune"
    ),
    "lr": frazil.Float(1e-5, 1e-1, log=True, prior=1e-3, prior_confidence="high"),
    "layers": frazil.Int(2, 8, step=2, prior=4),
    "width": frazil.Ordinal([64, 128], role="environment"),
    "dropout": frazil.Float(0, 0.5, role="context"),
    "nesterov": frazil.Bool(when={"optimizer": "sgd"}, prior={True: 2, False: 1}),
    "mixture": frazil.Simplex(["web", "code"], prior={"web": 0.75, "code": 0.25}),
    "steps": frazil.Derived("layers * width", when={"optimizer": ["sgd", 3]}),
    "schedule": frazil.Schedule(["linear", "wsd"], peak="lr", warmup=(0, 0.2), total=50),
    "seed": 0,
    "norm": ["batch", "layer"],
}


def test_every_kind_is_described_with_what_was_said_and_nothing_else() -> None:
    assert described_space(SPACE) == [
        {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd", 3, None],
         "prior": {"adamw": 3, 3: 1, None: 2}, "prior_confidence": "low"},
        {"name": "lr", "type": "float", "low": 1e-5, "high": 1e-1, "log": True, "prior": 1e-3,
         "prior_confidence": "high"},
        {"name": "layers", "type": "int", "low": 2, "high": 8, "log": False, "step": 2, "prior": 4},
        {"name": "width", "type": "ordinal", "values": [64, 128], "role": "environment"},
        {"name": "dropout", "type": "float", "low": 0, "high": 0.5, "log": False, "role": "context"},
        {"name": "nesterov", "type": "bool", "when": {"optimizer": ["sgd"]}, "prior": {True: 2, False: 1}},
        {"name": "mixture", "type": "simplex", "components": ["web", "code"], "prior": {"web": 0.75, "code": 0.25}},
        {"name": "steps", "type": "derived", "expression": "layers * width", "when": {"optimizer": ["sgd", 3]}},
        {"name": "schedule", "type": "schedule", "kinds": ["linear", "wsd"], "peak": "lr", "warmup": (0, 0.2),
         "total": 50},
        {"name": "seed", "type": "fixed", "value": 0},
        {"name": "norm", "type": "categorical", "choices": ["batch", "layer"]},
    ]  # fmt: skip


def test_the_core_reads_what_the_sdk_describes() -> None:
    space = Space.from_json(json.loads(json.dumps(described_space(SPACE))), ["mixture.web <= 0.8", "steps <= 512"])
    assert space.names_of("context") == ("dropout",)
    assert space.names_of("environment") == ("width",)
    assert space.prior is not None
    assert sorted(space.prior.log_levels) == [0, 5]
    assert space.prior.log_levels[5][1] > space.prior.log_levels[5][0]


@pytest.mark.parametrize("kind", [frazil.Categorical(["a", "b"]), frazil.Ordinal([1, 2]), frazil.Bool()])
def test_what_has_no_prior_says_none(kind: Any) -> None:
    (described,) = described_space({"x": kind})
    assert not {"prior", "prior_confidence", "role", "when"} & described.keys()


@pytest.mark.parametrize(("kind", "prior"), [(frazil.Bool(prior=False), False), (frazil.Int(0, 2, prior=0), 0)])
def test_a_prior_may_be_false_or_zero(kind: Any, prior: object) -> None:
    assert described_space({"x": kind})[0]["prior"] == prior
