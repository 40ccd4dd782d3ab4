"""The median rule: give up what has never been as good as the others were on average."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from .model_free import best_seen
from .options import option
from .patience import Patience
from .scope import Scope
from .stopping import SUGGESTERS, Stopping, others

if TYPE_CHECKING:
    from ..history import Objective, Study, Trial
    from .base import Decision, Recommendation, Suggestion

_value = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Median:
    """Stop a run whose best value so far is worse than the median of the others' averages up to the same step.

        stop at s if  max_{s' ≤ s} y(s') < median over the others of  (1/s) Σ_{s' ≤ s} y_i(s')

    The others are all that came so far, stopped ones included, at least `startup` of them; failed and diverged ones
    have the worst average.        Golovin et al. 2017, "Google Vizier", section 3.2.2.
    """

    name: ClassVar[str] = "median"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope()

    suggester: str = option("bayes", "the policy that new trials come from", choices=tuple(SUGGESTERS))
    startup: int = option(3, "trials that must have come as far before one is stopped there", low=1)
    warmup: int = option(0, "the step at which a run is judged first", low=0)
    every: int = option(0, "steps between two judgements of a run; 0 stands for the resource's min", low=0)
    patience: int = option(
        0, "steps for which a run is spared from where train_metric came to rest, or from its best; 0: none", low=0
    )
    train_metric: str = option("", "a metric of the training data; patience then waits for delayed generalisation")

    def is_light(self, study: Study) -> bool:
        return self._stopping.is_light(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        return self._stopping.suggest(study, count, seed)

    def decide(self, study: Study, trial: Trial) -> Decision:
        return self._stopping.decide(study, trial)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_seen(study)

    @property
    def _stopping(self) -> Stopping:
        patience = Patience(self.patience, self.train_metric)
        return Stopping(self.name, self.suggester, BelowMedian(self.startup), patience, self.warmup, self.every)


@dataclass(frozen=True, slots=True)
class BelowMedian:
    startup: int

    def against(self, study: Study, trial: Trial) -> str | None:
        step, goal = trial.last_step, study.objective
        averages = [running_average(other, goal, step) for other in others(study, trial, step)]
        if len(averages) < self.startup:
            return None
        bar, best = median(averages), best_by(trial, goal, step)
        if best >= bar:
            return None
        return f"its best {goal.metric} by step {step} is {goal.sign * best:.4g}; others average {goal.sign * bar:.4g}"


def running_average(trial: Trial, objective: Objective, step: int) -> float:
    """The mean score up to a step, larger is better; -inf if the trial failed, or diverged by then."""
    if trial.state.worst:
        return -math.inf
    curve = trial.curves[objective.metric]
    length = bisect_right(curve, (step, math.inf))
    mean = sum(map(_value, curve[:length])) / length
    if not math.isfinite(mean):  # one value is not, or the sum was too large: divided first, it is not
        mean = sum(value / length for _, value in curve[:length])
    return objective.sign * mean if math.isfinite(mean) else -math.inf


def best_by(trial: Trial, objective: Objective, step: int) -> float:
    """The best score up to a step; -inf if none is finite."""
    curve = trial.curves[objective.metric]
    scores = (objective.sign * value for _, value in curve[: bisect_right(curve, (step, math.inf))])
    return max((score for score in scores if math.isfinite(score)), default=-math.inf)
