"""OSS Vizier's default algorithm, GP-UCB-PE, as a designer: what its service runs, without the service.

Its conditional spaces are refused by this algorithm: such a space is given flat.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from protocol import Params, Task, Unsupported, Values, serve
from vizier import algorithms, pyvizier
from vizier._src.algorithms.designers.gp_ucb_pe import VizierGPUCBPEBandit


class Vizier:
    packages = ("google-vizier", "jax", "equinox", "numpy")

    def __init__(self, task: Task) -> None:
        if task.constraints:
            raise Unsupported("the designer takes no outcome constraints")
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        self.task = task
        problem = pyvizier.ProblemStatement()
        for item in task.space:
            ADD[item["type"]](problem.search_space.root, item)
        for metric in task.objectives:
            goal = pyvizier.ObjectiveMetricGoal.MINIMIZE
            problem.metric_information.append(pyvizier.MetricInformation(metric, goal=goal))
        self.designer = VizierGPUCBPEBandit(problem, rng=jax.random.PRNGKey(task.seed))
        self.told: list[tuple[float, Params]] = []
        self.asked: list[pyvizier.Trial] = []
        self.count = 0

    def ask(self, count: int) -> Sequence[Params]:
        self.asked = [suggestion.to_trial(self._number()) for suggestion in self.designer.suggest(count)]
        return [self.task.active(trial.parameters.as_dict()) for trial in self.asked]

    def _number(self) -> int:
        self.count += 1
        return self.count

    def tell(self, outcomes: Sequence[Values]) -> None:
        for trial, values in zip(self.asked, outcomes, strict=True):
            trial.complete(pyvizier.Measurement(dict(values)))
            self.told.append((values[self.task.objectives[0]], self.task.active(trial.parameters.as_dict())))
        self.designer.update(algorithms.CompletedTrials(self.asked), algorithms.ActiveTrials())

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None:
        self.asked = [pyvizier.Trial(self._number(), parameters=dict(params)) for params in points]
        self.tell(outcomes)

    def recommend(self) -> Params:
        """As its client's `optimal_trials`: the best observed one."""
        return min(self.told, key=lambda pair: pair[0])[1]


def scale(item: Mapping[str, Any]) -> pyvizier.ScaleType:
    return pyvizier.ScaleType.LOG if item["log"] else pyvizier.ScaleType.LINEAR


ADD: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "categorical": lambda root, item: root.add_categorical_param(item["name"], item["choices"]),
    "float": lambda root, item: root.add_float_param(item["name"], item["low"], item["high"], scale_type=scale(item)),
    "int": lambda root, item: root.add_int_param(item["name"], item["low"], item["high"], scale_type=scale(item)),
}


if __name__ == "__main__":
    serve(Vizier)
