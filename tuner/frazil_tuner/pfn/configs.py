"""The networks there are, as a table, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .bars import Grid

Kind = Literal["curve", "static"]

HELD_OUT = ("jasmine", "higgs", "Fashion-MNIST", "IRNN64_relu_last_bs128", "VRNN64_tanh_avg_bs128")
"""Ends of the names of the tables that no network sees in training: acceptance is measured on them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A network: `layers` blocks of width `width`, `heads` heads and `hidden` units, answering on `grid`.

    `identity` is the dimension of the random vectors that tell curves apart.
    """

    kind: Kind
    width: int
    hidden: int
    layers: int
    heads: int
    grid: Grid
    identity: int = 32


@dataclass(frozen=True, slots=True)
class Stage:
    """From a share of the training time on: lengths of contexts, each with its probability."""

    since: float
    lengths: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Config:
    """A network and its training: `tokens` observations and half as many questions in each step, whatever the length
    of the contexts. Contexts of the shortest length are padded, from 1 observation on; longer ones are full. The tasks
    of `portion` steps are drawn at once: drawing is a thousand small operations, whatever the number of tasks.
    """

    name: str
    shape: Shape
    stages: tuple[Stage, ...]
    tokens: int
    rate: float
    warmup: float = 0.03
    weight_decay: float = 0.01
    real: float = 0.25
    portion: int = 8
    stored: Literal["float32", "bfloat16"] = "float32"
    seed: int = 1


SCORES = Grid(0.0, 1.0, 1000)
OUTCOMES = Grid(-6.0, 6.0, 600, tails=2.0)

CURVE_STAGES = (
    Stage(0.0, {128: 0.5, 256: 0.5}),
    Stage(0.25, {128: 0.3, 256: 0.3, 512: 0.4}),
    Stage(0.55, {128: 0.25, 256: 0.2, 512: 0.25, 1024: 0.3}),
)
STATIC_STAGES = (Stage(0.0, {64: 0.6, 128: 0.4}), Stage(0.3, {64: 0.4, 128: 0.3, 256: 0.3}))

CONFIGS: Mapping[str, Config] = {
    config.name: config
    for config in (
        Config("curve-small", Shape("curve", 128, 384, 6, 4, SCORES), CURVE_STAGES, tokens=32768, rate=4e-3),
        Config(
            "curve-large",
            Shape("curve", 384, 1024, 6, 6, SCORES, identity=64),
            CURVE_STAGES,
            tokens=32768,
            rate=2e-3,
            stored="bfloat16",
        ),
        Config("static-small", Shape("static", 128, 384, 6, 4, OUTCOMES), STATIC_STAGES, tokens=32768, rate=4e-3),
    )
}
