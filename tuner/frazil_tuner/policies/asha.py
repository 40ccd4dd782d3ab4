"""Asynchronous successive halving, by promotion: many short runs, and at every rung the best of them go on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from .domain import domain_of
from .ladder import Ladder, climb, rungs_of
from .model_free import best_seen
from .options import option
from .scope import Scope

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Decision, Recommendation, Suggestion


@dataclass(frozen=True, slots=True)
class Asha:
    """Train random configurations up to the first rung; of each rung's trials the best 1/eta go on to the next.

    Rungs lie at min · eta^k steps below the maximum. A trial that reaches one goes on at once if it is among the best
    floor(n / eta) of the n trials seen there, and is paused otherwise; a paused one is thawed when later arrivals
    lift it among them. Promotion never waits for a rung to fill.        Li et al. 2020, "A System for Massively
    Parallel Hyperparameter Tuning", algorithm 2, with pauses in place of new ranks.
    """

    name: ClassVar[str] = "asha"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope()

    eta: int = option(3, "one in eta trials is promoted from each rung to the next, which lies eta times higher", low=2)

    def is_light(self, study: Study) -> bool:
        return True

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        ladder = self._ladder(study)
        return climb([ladder], count, lambda n: self._starts(study, n, seed, ladder.rungs[0]))

    def decide(self, study: Study, trial: Trial) -> Decision:
        return self._ladder(study).judge(trial)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_seen(study)

    def _ladder(self, study: Study) -> Ladder:
        if study.resource is None:
            raise ValueError("asha needs a resource")
        return Ladder(study, study.trials, rungs_of(study.resource, self.eta), self.eta, self.name)

    def _starts(self, study: Study, count: int, seed: int, until: int) -> list[Suggestion]:
        points = islice(iter(domain_of(study, seed).take_random, None), count)
        return [point.start(until, {"policy": self.name, "rung": until}) for point in points]
