"""SMAC3 by its ask-and-tell interface: the hyperparameter facade, and ParEGO where there are several objectives.

It knows no outcome constraints.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ConfigSpace import (
    AndConjunction,
    Categorical,
    Configuration,
    ConfigurationSpace,
    Float,
    InCondition,
    Integer,
)
from ConfigSpace.hyperparameters import Hyperparameter
from protocol import Params, Task, Unsupported, Values, serve
from smac import HyperparameterOptimizationFacade as Facade
from smac import Scenario
from smac.multi_objective import ParEGO
from smac.runhistory import TrialInfo, TrialValue


class Smac:
    packages = ("smac", "ConfigSpace", "numpy", "scipy")

    def __init__(self, task: Task) -> None:
        if task.constraints:
            raise Unsupported("SMAC3 has no outcome constraints")
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        self.task = task
        self.space = space_of(task)
        scenario = Scenario(
            self.space,
            objectives=list(task.objectives),
            deterministic=True,
            n_trials=task.budget,
            seed=task.seed,
            output_directory=tempfile.mkdtemp(),
        )
        several = {"multi_objective_algorithm": ParEGO(scenario)} if len(task.objectives) > 1 else {}
        self.smac = Facade(scenario, target, **several, logging_level=False)
        self.asked: list[TrialInfo] = []

    def ask(self, count: int) -> Sequence[Params]:
        self.asked = [self.smac.ask() for _ in range(count)]
        return [dict(info.config) for info in self.asked]

    def tell(self, outcomes: Sequence[Values]) -> None:
        for info, values in zip(self.asked, outcomes, strict=True):
            self.smac.tell(info, TrialValue(cost=[values[metric] for metric in self.task.objectives]))

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None:
        self.asked = [TrialInfo(Configuration(self.space, values=dict(params))) for params in points]
        self.tell(outcomes)

    def recommend(self) -> Params:
        return dict(self.smac.intensifier.get_incumbent())


def target(config: Configuration, seed: int) -> float:
    raise AssertionError("ask and tell do without")


def space_of(task: Task) -> ConfigurationSpace:
    space = ConfigurationSpace(seed=task.seed)
    for item in task.space:
        space.add(parameter(item))
    for item in task.space:
        conditions = [
            InCondition(space[item["name"]], space[parent], values) for parent, values in item.get("when", {}).items()
        ]
        if conditions:
            space.add(AndConjunction(*conditions) if len(conditions) > 1 else conditions[0])
    return space


def parameter(item: Mapping[str, Any]) -> Hyperparameter:
    if item["type"] == "categorical":
        return Categorical(item["name"], item["choices"])
    kind = {"float": Float, "int": Integer}[item["type"]]
    return kind(item["name"], (item["low"], item["high"]), log=item["log"])


if __name__ == "__main__":
    serve(Smac)
