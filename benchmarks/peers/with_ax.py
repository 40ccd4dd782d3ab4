"""Ax by its `Client`, at its defaults: a few Sobol points, then BoTorch, chosen to suit the task.

Its hierarchies are trees, in which no parameter has two conditions: a conditional space is given flat.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from protocol import Params, Task, Values, serve


class Ax:
    packages = ("ax-platform", "botorch", "torch", "numpy")

    def __init__(self, task: Task) -> None:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        self.task = task
        self.client = Client(random_seed=task.seed)
        self.client.configure_experiment([parameter(item) for item in task.space])
        self.client.configure_optimization(
            ", ".join(f"-{metric}" for metric in task.objectives),
            outcome_constraints=[f"{metric} <= 0" for metric in task.constraints],
        )
        self.asked: Sequence[int] = ()

    def ask(self, count: int) -> Sequence[Params]:
        trials = self.client.get_next_trials(count)
        self.asked = list(trials)
        return [self.task.active(params) for params in trials.values()]

    def tell(self, outcomes: Sequence[Values]) -> None:
        for trial, values in zip(self.asked, outcomes, strict=True):
            self.client.complete_trial(trial, dict(values))

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None:
        self.asked = [self.client.attach_trial(dict(params)) for params in points]
        self.tell(outcomes)

    def recommend(self) -> Params:
        return self.client.get_best_parameterization()[0]


def parameter(item: Mapping[str, Any]) -> RangeParameterConfig | ChoiceParameterConfig:
    if item["type"] == "categorical":
        return ChoiceParameterConfig(item["name"], item["choices"], "str", is_ordered=False)
    scaling = "log" if item["log"] else "linear"
    return RangeParameterConfig(item["name"], (item["low"], item["high"]), item["type"], scaling=scaling)


if __name__ == "__main__":
    serve(Ax)
