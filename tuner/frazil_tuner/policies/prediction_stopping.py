"""Stopping by prediction: give up a run whose curve, as far as the others tell, will not beat the best."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .model_free import best_seen, trained
from .options import option
from .patience import Patience
from .scope import Scope
from .stopping import SUGGESTERS, Stopping

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Decision, Recommendation, Suggestion

MOST_TEACHERS = 200
"""Other runs that a prediction is learned from: those that were trained longest."""


@dataclass(frozen=True, slots=True)
class PredictionStopping:
    """Stop a run that with probability 1 - δ will not end better than the best that ran to the end.

        stop if  P(y(max) > y_best | curves, configurations) < δ

    The belief is the regression's, of the value at the end on the beginning of the curve and the configuration; before
    enough runs have come to the end, it is that values stay where they are, give or take what curves changed so far.
    Baker et al. 2017, "Accelerating neural architecture search using performance prediction", section 4.
    """

    name: ClassVar[str] = "prediction_stopping"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = True
    scope: ClassVar[Scope] = Scope()

    delta: float = option(0.05, "the probability of beating the best below which a run is stopped", low=0, high=0.5)
    suggester: str = option("bayes", "the policy that new trials come from", choices=tuple(SUGGESTERS))
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
        rule, patience = OutOfReach(self.delta), Patience(self.patience, self.train_metric)
        return Stopping(self.name, self.suggester, rule, patience, self.warmup, self.every)


@dataclass(frozen=True, slots=True)
class OutOfReach:
    delta: float

    def against(self, study: Study, trial: Trial) -> str | None:
        best = best_complete(study, trial)
        if best is None:
            return None
        chance, goal = chance_of_exceeding(study, trial, best), study.objective
        if chance >= self.delta:
            return None
        return f"it ends better than the best {goal.metric}, {goal.sign * best:.4g}, with probability {chance:.2g}"


def best_complete(study: Study, trial: Trial) -> float | None:
    """The best finite score of the other trials that ran to the maximum; None if there is none."""
    assert study.resource is not None
    scores = (
        other.score(study.objective)
        for other in study.trials
        if other.number != trial.number and not other.excluded and trained(study, other) == study.resource.max
    )
    return max((score for score in scores if score is not None and math.isfinite(score)), default=None)


def chance_of_exceeding(study: Study, trial: Trial, score: float) -> float:
    """The probability that a running trial, trained to the maximum, comes to more than a score."""
    from ..curves import Where, read_curves
    from ..curves.regression import Regression

    assert study.resource is not None
    curves = read_curves(replace(study, trials=(trial, *teachers(study, trial))), study.objective)
    where = Where(curves.x[:1], np.zeros(1, dtype=np.int64), np.array([study.resource.max]))
    return float(Regression().fit(curves).at(where).exceeding(score)[0])


def teachers(study: Study, trial: Trial) -> list[Trial]:
    """The other trials that were trained longest, in the order of their numbers."""
    known = [other for other in study.trials if other.number != trial.number and not other.excluded]
    longest = sorted(known, key=lambda other: other.last_step, reverse=True)[:MOST_TEACHERS]
    return sorted(longest, key=lambda other: other.number)
