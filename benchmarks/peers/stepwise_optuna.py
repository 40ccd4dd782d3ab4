"""Optuna's samplers with its pruners; `options` names both.

What the sampler suggests is moved to the nearest free candidate before the trial has it, so the sampler learns of the
configuration that was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from protocol import Task
from stepwise import STOP, Lookup, Verdict, Work, serve


class Snapped(BaseSampler):
    """A sampler whose points are candidates. The study it is given is the pruner's view of it, as always."""

    def __init__(self, inner: BaseSampler, lookup: Lookup) -> None:
        self.inner, self.lookup = inner, lookup
        self.taken: dict[int, int] = {}
        self.space: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in lookup.names}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        together = self.inner.infer_relative_search_space(study, trial)
        point = dict(self.inner.sample_relative(study, trial, together)) if together else {}
        for name in self.lookup.names:
            if name not in point:
                point[name] = self.inner.sample_independent(study, trial, name, self.space[name])
        self.taken[trial.number] = self.lookup.take(point)
        return self.lookup.point(self.taken[trial.number])

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, domain: BaseDistribution) -> float:
        raise AssertionError("every parameter is part of the relative search space")

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.inner.after_trial(study, trial, state, values)


class Optuna:
    packages = ("optuna", "numpy", "scipy")

    def __init__(self, task: Task) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.last = task.options["max"]
        inner = getattr(optuna.samplers, task.options["sampler"])(seed=task.seed)
        self.sampler = Snapped(inner, Lookup(task))
        given = task.options["pruner"]
        pruner = getattr(optuna.pruners, given["name"])(**given.get("arguments", {}))
        self.study = optuna.create_study(
            study_name=f"table-{task.seed}", sampler=self.sampler, pruner=pruner, direction="minimize"
        )
        self.trials: dict[int, optuna.Trial] = {}

    def next(self) -> Work | None:
        if not self.sampler.lookup.free.any():
            return None
        trial = self.study.ask(self.sampler.space)
        self.trials[trial.number] = trial
        return trial.number, self.sampler.taken[trial.number], 1

    def step(self, key: int, step: int, value: float) -> Verdict:
        trial = self.trials[key]
        trial.report(value, step)
        if step == self.last:
            self.study.tell(trial, value)
            return STOP
        if trial.should_prune():
            self.study.tell(trial, state=TrialState.PRUNED)
            return STOP
        return "continue", step + 1


if __name__ == "__main__":
    serve(Optuna)
