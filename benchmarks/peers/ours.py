"""Frazil's core, asked as its engine asks it; `options["policy"]` is the study's policy."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from protocol import Params, Task, Unsupported, Values, serve

from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.policies import Start, build
from frazil_tuner.space import Space

MODEL_FREE = ("random", "sobol", "grid")


class Ours:
    packages = ("frazil-server", "torch", "numpy", "scipy")

    def __init__(self, task: Task) -> None:
        policy = task.options["policy"]
        if policy["name"] not in MODEL_FREE:
            if task.constraints or len(task.objectives) > 1:
                raise Unsupported("the core has one objective and no constraints yet")
            import_module("frazil_tuner.surrogates")  # and torch with it, as in a worker process: not in the first ask
        space = Space.from_json([dict(parameter) for parameter in task.space])
        self.definition = Definition(space, tuple(Objective(metric) for metric in task.objectives), seed=task.seed)
        self.policy = build(policy, self.definition)
        self.seed = task.seed
        self.trials: list[Trial] = []
        self.asked: Sequence[Params] = ()

    def ask(self, count: int) -> Sequence[Params]:
        starts = self.policy.suggest(self.study, count, self.seed * 100_003 + len(self.trials))
        self.asked = [start.params for start in starts if isinstance(start, Start)]
        return self.asked

    def tell(self, outcomes: Sequence[Values]) -> None:
        self.load(self.asked, outcomes)

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None:
        for params, values in zip(points, outcomes, strict=True):
            self.trials.append(Trial(len(self.trials), params, TrialState.COMPLETED, values=values))

    def recommend(self) -> Params:
        recommended = self.policy.recommend(self.study)
        assert recommended is not None
        return self.trials[recommended.number].params

    @property
    def study(self) -> Study:
        return Study(self.definition, tuple(self.trials), version=len(self.trials))


if __name__ == "__main__":
    serve(Ours)
