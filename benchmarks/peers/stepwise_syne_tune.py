"""Syne Tune's schedulers as its tuner calls them; `options["scheduler"]` names one of its baselines.

A trial has the configuration of its candidate, so the searcher learns of what was trained. A diverged loss is told as a
large one, since searchers of Syne Tune sort and fit what they are told.
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np
from protocol import Task
from stepwise import PAUSE, STOP, Lookup, Verdict, Work, serve
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import uniform
from syne_tune.optimizer import baselines
from syne_tune.optimizer.scheduler import SchedulerDecision

DIVERGED = 1e9


class SyneTune:
    packages = ("syne-tune", "numpy")

    def __init__(self, task: Task) -> None:
        np.random.seed(task.seed)
        self.last = task.options["max"]
        self.lookup = Lookup(task)
        self.scheduler = getattr(baselines, task.options["scheduler"])(
            config_space={name: uniform(0.0, 1.0) for name in self.lookup.names},
            metric="loss",
            time_attr="epoch",
            max_t=self.last,
            random_seed=task.seed,
        )
        self.trials: dict[int, Trial] = {}

    def next(self) -> Work | None:
        suggestion = self.scheduler.suggest() if self.lookup.free.any() else None
        if suggestion is None:
            return None
        candidate = self.lookup.take(suggestion.config)
        key = len(self.trials)
        self.trials[key] = Trial(key, self.lookup.point(candidate), datetime.now())
        self.scheduler.on_trial_add(self.trials[key])
        return key, candidate, 1

    def step(self, key: int, step: int, value: float) -> Verdict:
        trial, result = self.trials[key], {"loss": value if math.isfinite(value) else DIVERGED, "epoch": step}
        decision = self.scheduler.on_trial_result(trial, result)
        if step == self.last:
            self.scheduler.on_trial_complete(trial, result)
            return STOP
        if decision == SchedulerDecision.CONTINUE:
            return "continue", step + 1
        self.scheduler.on_trial_remove(trial)
        return STOP if decision == SchedulerDecision.STOP else PAUSE


if __name__ == "__main__":
    serve(SyneTune)
