"""The percentile rule: give up what has never been as good as the best so many percent at the present step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .ladder import rung_score
from .median import best_by
from .model_free import best_seen
from .options import option
from .patience import Patience
from .scope import Scope
from .stopping import SUGGESTERS, Stopping, others

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Decision, Recommendation, Suggestion


@dataclass(frozen=True, slots=True)
class Percentile:
    """Stop a run whose best value so far is worse than what the best `percentile` percent have at the same step.

    The others are all that came so far, stopped ones included, at least `startup` of them; failed and diverged ones
    are the worst. With 50 this is Optuna's median rule.        Akiba et al. 2019, "Optuna"; its `PercentilePruner`
    looks at completed trials alone, and so raises its bar with every one of them.
    """

    name: ClassVar[str] = "percentile"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope()

    percentile: float = option(25.0, "percent of the trials at a step that go on", low=0, high=100)
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
        rule, patience = BelowPercentile(self.percentile, self.startup), Patience(self.patience, self.train_metric)
        return Stopping(self.name, self.suggester, rule, patience, self.warmup, self.every)


@dataclass(frozen=True, slots=True)
class BelowPercentile:
    percentile: float
    startup: int

    def against(self, study: Study, trial: Trial) -> str | None:
        step, goal = trial.last_step, study.objective
        found = (rung_score(other, goal, step) for other in others(study, trial, step))
        scores = sorted((score for score in found if score is not None), reverse=True)
        if len(scores) < self.startup:
            return None
        bar, best = scores[max(math.ceil(len(scores) * self.percentile / 100), 1) - 1], best_by(trial, goal, step)
        if best >= bar:
            return None
        share = f"the best {self.percentile:g} % have {goal.sign * bar:.4g}"
        return f"its best {goal.metric} by step {step} is {goal.sign * best:.4g}; {share}"
