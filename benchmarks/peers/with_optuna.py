"""Optuna by its ask-and-tell interface; `options["sampler"]` names the sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from protocol import Params, Task, Values, serve


class Optuna:
    packages = ("optuna", "numpy", "scipy")

    def __init__(self, task: Task) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        name = task.options["sampler"]
        if name == "GPSampler":
            import scipy.optimize  # noqa: F401  (what the sampler would import in its first ask)
            import torch  # noqa: F401
        self.task = task
        sampler = getattr(optuna.samplers, name)(seed=task.seed)
        self.study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(task.objectives))
        self.distributions = {parameter["name"]: distribution(parameter) for parameter in task.space}
        self.asked: list[optuna.Trial] = []

    def ask(self, count: int) -> Sequence[Params]:
        self.asked = [self.study.ask() for _ in range(count)]
        return [self._params(trial) for trial in self.asked]

    def _params(self, trial: optuna.Trial) -> Params:
        """Define-by-run: a parameter is suggested where its condition holds."""
        point: dict[str, Any] = {}
        for parameter in self.task.space:
            if all(point.get(parent) in values for parent, values in parameter.get("when", {}).items()):
                point[parameter["name"]] = SUGGEST[parameter["type"]](trial, parameter)
        return point

    def tell(self, outcomes: Sequence[Values]) -> None:
        for trial, values in zip(self.asked, outcomes, strict=True):
            for metric in self.task.constraints:
                trial.set_constraint(metric, values[metric])
            self.study.tell(trial, [values[metric] for metric in self.task.objectives])

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None:
        self.study.add_trials(
            [
                optuna.create_trial(
                    params=dict(params),
                    distributions={name: self.distributions[name] for name in params},
                    values=[values[metric] for metric in self.task.objectives],
                    constraints={metric: values[metric] for metric in self.task.constraints},
                )
                for params, values in zip(points, outcomes, strict=True)
            ]
        )

    def recommend(self) -> Params:
        return self.study.best_trial.params


SUGGEST: Mapping[str, Callable[[optuna.Trial, Mapping[str, Any]], Any]] = {
    "categorical": lambda trial, p: trial.suggest_categorical(p["name"], p["choices"]),
    "float": lambda trial, p: trial.suggest_float(p["name"], p["low"], p["high"], log=p["log"]),
    "int": lambda trial, p: trial.suggest_int(p["name"], p["low"], p["high"], log=p["log"]),
}


def distribution(parameter: Mapping[str, Any]) -> BaseDistribution:
    if parameter["type"] == "categorical":
        return CategoricalDistribution(parameter["choices"])
    kind = {"float": FloatDistribution, "int": IntDistribution}[parameter["type"]]
    return kind(parameter["low"], parameter["high"], log=parameter["log"])


if __name__ == "__main__":
    serve(Optuna)
