"""NePS by its ask-and-tell interface; `options["algorithm"]` names an optimizer, `options["arguments"]` its arguments.

A trial has the configuration of its candidate, so the optimizer learns of what was trained; going on from a checkpoint
costs the difference. A diverged loss is told as a large one.
"""

from __future__ import annotations

import math
import random

import neps
import numpy as np
import torch
from neps.optimizers import algorithms
from protocol import Task
from stepwise import PAUSE, STOP, Lookup, Verdict, Work, serve

DIVERGED = 1e9


class Neps:
    packages = ("neural-pipeline-search", "torch", "numpy")

    def __init__(self, task: Task) -> None:
        random.seed(task.seed)
        np.random.seed(task.seed)
        torch.manual_seed(task.seed)
        self.last = task.options["max"]
        self.lookup = Lookup(task)
        parameters = {name: neps.Float(lower=0.0, upper=1.0) for name in self.lookup.names}
        space = type("Table", (neps.PipelineSpace,), {**parameters, "epoch": neps.IntegerFidelity(1, self.last)})
        make = getattr(algorithms, task.options["algorithm"])
        self.optimizer = neps.AskAndTell(make(space(), **task.options.get("arguments", {})))
        self.keys: dict[str, int] = {}
        self.grants: dict[int, neps.Trial] = {}

    def next(self) -> Work | None:
        if not self.lookup.free.any():
            return None
        trial = self.optimizer.ask()
        before, until = trial.metadata.previous_trial_id, int(trial.config["epoch"])
        key = len(self.grants) if before is None else self.keys[before]
        self.keys[trial.metadata.id], self.grants[key] = key, trial
        if before is not None:
            return key, None, until
        candidate = self.lookup.take(trial.config)
        trial.config.update(self.lookup.point(candidate))
        return key, candidate, until

    def step(self, key: int, step: int, value: float) -> Verdict:
        """The optimizer hears of the ends of grants."""
        trial = self.grants[key]
        if step == int(trial.config["epoch"]):
            self.optimizer.tell(trial, value if math.isfinite(value) else DIVERGED)
        return STOP if step == self.last else PAUSE


if __name__ == "__main__":
    serve(Neps)
