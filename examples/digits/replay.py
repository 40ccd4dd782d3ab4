"""What other ways of tuning would have cost: studies played again on curves that are known to their end.

A method has done as well from the moment on at which the configuration it recommends is as good, trained to the end, as
the one to be matched, and remains so. What is random about a method is played 20 times.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import numpy as np

from frazil_tuner.history import Definition, Objective, Resource
from frazil_tuner.policies import build
from frazil_tuner.space import Space

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from simulate import World, simulate

REPLAYS = 20
EVERY = 10  # epochs between looks at the recommendation


class Cost(NamedTuple):
    """Epochs until a method did as well: half of the replays took between `low` and `high`."""

    typical: float
    low: float
    high: float


def cost_of(
    policy: dict[str, Any], space: Space, candidates: Sequence[dict[str, Any]], losses: np.ndarray, target: float
) -> Cost:
    """What `policy` spends until it recommends one of the `candidates` whose last loss is at most `target`.

    `losses` (candidates, epochs) are their curves; four workers share the work.
    """
    epochs = losses.shape[1]
    spent = []
    for seed in range(REPLAYS):
        resource = Resource("epoch", epochs)
        definition = Definition(space, (Objective("val_loss"),), resource, tuple(candidates), seed)
        world = World(definition, {"val_loss": losses})
        marks = range(EVERY, losses.size + 1, EVERY)
        tuner = build(policy, definition)
        story = simulate(tuner, world, budget=losses.size, workers=4, seed=seed, marks=marks)
        path = [(mark, story.marks[mark].candidate) for mark in marks]
        ends = [(mark, np.inf if one is None else losses[one, -1]) for mark, one in path]
        spent.append(since([(mark, bool(end <= target)) for mark, end in ends]))
    low, _, high = quantiles(spent, n=4)
    return Cost(median(spent), low, high)


def since(path: Sequence[tuple[int, bool]]) -> float:
    """From when on all was well; infinite if it was not at the end."""
    start = float("inf")
    for mark, well in reversed(path):
        if not well:
            break
        start = mark
    return start
