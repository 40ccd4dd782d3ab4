"""Frazil's core, asked as its engine asks it.

`options["policy"]` is the study's policy; `options["related"]`, where given, lists earlier studies to learn from, each
a list of [params, values] pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from protocol import Params, Task, Values, serve

from frazil_tuner.history import Definition, Earlier, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.policies import Start, build
from frazil_tuner.space import Space

MODEL_FREE = ("random", "sobol", "grid")


class Ours:
    packages = ("frazil-server", "torch", "numpy", "scipy")

    def __init__(self, task: Task) -> None:
        policy = task.options["policy"]
        if policy["name"] not in MODEL_FREE:
            for package in ("surrogates", "acquisition"):  # and torch with them, as in a worker process: in no ask
                import_module(f"frazil_tuner.{package}")
        self.definition = Definition(
            Space.from_json([dict(parameter) for parameter in task.space]),
            tuple(Objective(metric) for metric in task.objectives),
            seed=task.seed,
            outcome_constraints=tuple(OutcomeConstraint(metric, 0.0) for metric in task.constraints),
        )
        self.policy = build(policy, self.definition)
        self.seed = task.seed
        self.related = tuple(self._earlier(i, trials) for i, trials in enumerate(task.options.get("related", ())))
        self.trials: list[Trial] = []
        self.asked: Sequence[Params] = ()
        self.last_fit: Mapping[str, Any] | None = None

    def _earlier(self, number: int, trials: Sequence[tuple[Params, Values]]) -> Earlier:
        finished = tuple(finished_trial(i, params, values) for i, (params, values) in enumerate(trials))
        return Earlier(f"earlier-{number}", self.definition.objectives[0], finished)

    def ask(self, count: int) -> Sequence[Params]:
        starts = self.policy.suggest(self.study, count, self.seed * 100_003 + len(self.trials))
        self.asked = [start.params for start in starts if isinstance(start, Start)]
        self.last_fit = starts[-1].why.get("fit", self.last_fit)
        return self.asked

    def tell(self, outcomes: Sequence[Values]) -> None:
        self.load(self.asked, outcomes)

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None:
        for params, values in zip(points, outcomes, strict=True):
            self.trials.append(finished_trial(len(self.trials), params, values))

    def recommend(self) -> Params:
        recommended = self.policy.recommend(self.study)
        assert recommended is not None
        return self.trials[recommended.number].params

    @property
    def study(self) -> Study:
        trials = tuple(self.trials)
        return Study(self.definition, trials, version=len(trials), related=self.related, last_fit=self.last_fit)


def finished_trial(number: int, params: Params, values: Values) -> Trial:
    return Trial(number, params, TrialState.COMPLETED, values=values)


if __name__ == "__main__":
    serve(Ours)
