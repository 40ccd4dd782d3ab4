"""Hyperband whose new trials come from a model, fitted to the highest rung that enough trials have reached."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ..history import TrialState
from .base import Start
from .bayes import Bayes
from .brackets import Brackets
from .ladder import climb, rung_score
from .model_free import best_seen
from .options import option
from .random import Random
from .scope import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..history import Study, Trial
    from .base import Decision, Recommendation, Suggestion

SUGGESTER, RANDOM = Bayes(), Random()


@dataclass(frozen=True, slots=True)
class Bohb:
    """Hyperband's brackets, and Bayesian optimisation at one rung for what to start.

    The model sees each trial as it was at the highest rung that at least d + 3 trials have reached, and what has not
    come so far as pending, if it is running. Before there is such a rung, trials are random.
    Falkner et al. 2018, "BOHB", with our Gaussian process in place of kernel densities, as in Klein et al. 2020,
    "Model-based asynchronous hyperparameter and neural architecture search".
    """

    name: ClassVar[str] = "bohb"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope()

    eta: int = option(3, "one in eta trials is promoted from each rung to the next, which lies eta times higher", low=2)

    def is_light(self, study: Study) -> bool:
        rung = telling_rung(study, Brackets(study, self.eta, self.name).rungs)
        return SUGGESTER.is_light(as_of(study, rung))

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        brackets = Brackets(study, self.eta, self.name)
        return climb(brackets.ladders(), count, lambda n: self._starts(study, n, seed, brackets))

    def decide(self, study: Study, trial: Trial) -> Decision:
        return Brackets(study, self.eta, self.name).ladder_of(trial).judge(trial)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_seen(study)

    def _starts(self, study: Study, count: int, seed: int, brackets: Brackets) -> list[Suggestion]:
        """What the model would train, each up to the first rung of its bracket; random trials as long as it is none."""
        rung = telling_rung(study, brackets.rungs)
        view = as_of(study, rung)
        suggester = RANDOM if SUGGESTER.is_light(view) else SUGGESTER
        wanted = suggester.suggest(view, count, seed)
        return [
            replace(start, until=until, why={**start.why, "policy": self.name, "rung": until, "learned_at": rung})
            for start, until in zip(wanted, brackets.next_rungs(), strict=False)
            if isinstance(start, Start)
        ]


def telling_rung(study: Study, rungs: Sequence[int]) -> int:
    """The highest rung with enough finite scores for a model; the lowest if there is none."""
    enough = study.space.dimension + 3
    trials = [trial for trial in study.trials if not trial.excluded]
    for rung in reversed(rungs):
        known = (rung_score(trial, study.objective, rung) for trial in trials if trial.last_step >= rung)
        if sum(score is not None and math.isfinite(score) for score in known) >= enough:
            return rung
    return rungs[0]


def as_of(study: Study, rung: int) -> Study:
    """The study as if training ended at a rung: trials that came so far are complete, with the value they had there.

    Of the others the running ones are pending; those that stopped or pause below say nothing, but stay taken.
    """
    return replace(study, trials=tuple(_as_of(study, trial, rung) for trial in study.trials))


def _as_of(study: Study, trial: Trial, rung: int) -> Trial:
    if trial.state.worst:
        return trial
    goal = study.objective
    score = rung_score(trial, goal, rung) if trial.last_step >= rung else None
    if score is not None:
        return replace(trial, state=TrialState.COMPLETED, values={goal.metric: goal.sign * score}, curves={})
    waits = trial.state.finished or trial.state.paused
    return replace(trial, excluded=trial.excluded or waits)
