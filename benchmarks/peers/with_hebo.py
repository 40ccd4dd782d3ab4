"""HEBO; its `GeneralBO` where there are constraints or several objectives, as its documentation has it.

It knows no conditions: a conditional space is given flat.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.optimizers.general import GeneralBO
from hebo.optimizers.hebo import HEBO
from protocol import Params, Task, Values, serve


class Hebo:
    packages = ("HEBO", "torch", "numpy", "scipy")

    def __init__(self, task: Task) -> None:
        warnings.simplefilter("ignore")
        np.random.seed(task.seed)  # parts of it draw from the global generators
        torch.manual_seed(task.seed)
        self.task = task
        self.metrics = [*task.objectives, *task.constraints]
        space = DesignSpace().parse([parameter(item) for item in task.space])
        many = len(self.metrics) > 1
        self.optimizer = (
            GeneralBO(space, num_obj=len(task.objectives), num_constr=len(task.constraints))
            if many
            else HEBO(space, scramble_seed=task.seed)
        )
        self.asked: pd.DataFrame = pd.DataFrame()
        self.best: tuple[float, Params] | None = None

    def ask(self, count: int) -> Sequence[Params]:
        self.asked = self.optimizer.suggest(n_suggestions=count)
        return [self.task.active(plain(row)) for row in self.asked.to_dict("records")]

    def tell(self, outcomes: Sequence[Values]) -> None:
        self.optimizer.observe(
            self.asked, np.array([[values[metric] for metric in self.metrics] for values in outcomes])
        )

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None:
        self.asked = pd.DataFrame([dict(params) for params in points])
        self.tell(outcomes)

    def recommend(self) -> Params:
        """Its documentation's `best_x`: the best observed one."""
        return self.task.active(plain(self.optimizer.best_x.to_dict("records")[0]))


def plain(row: Mapping[str, Any]) -> Params:
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}


def parameter(item: Mapping[str, Any]) -> dict[str, Any]:
    if item["type"] == "categorical":
        return {"name": item["name"], "type": "cat", "categories": item["choices"]}
    kind = {"float": ("num", "pow"), "int": ("int", "pow_int")}[item["type"]][item["log"]]
    return {"name": item["name"], "type": kind, "lb": item["low"], "ub": item["high"]}


if __name__ == "__main__":
    serve(Hebo)
