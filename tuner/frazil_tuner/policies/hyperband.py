"""Hyperband without waiting: several ladders of successive halving, which begin at different rungs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from .brackets import Brackets
from .domain import domain_of
from .ladder import climb
from .model_free import best_seen
from .options import option
from .scope import Scope

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Decision, Recommendation, Suggestion


@dataclass(frozen=True, slots=True)
class Hyperband:
    """Successive halving from every rung: where short runs mislead, some trials are first judged later.

    Each trial belongs to a bracket that begins at one of the rungs and promotes as asha does, by itself. Trials are
    random; the brackets get about as many steps each.        Li et al. 2018, "Hyperband: a novel bandit-based approach
    to hyperparameter optimization"; asynchronous as in Li et al. 2020, section 3.3.
    """

    name: ClassVar[str] = "hyperband"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope()

    eta: int = option(3, "one in eta trials is promoted from each rung to the next, which lies eta times higher", low=2)

    def is_light(self, study: Study) -> bool:
        return True

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        brackets = Brackets(study, self.eta, self.name)
        return climb(brackets.ladders(), count, lambda n: self._starts(study, n, seed, brackets))

    def decide(self, study: Study, trial: Trial) -> Decision:
        return Brackets(study, self.eta, self.name).ladder_of(trial).judge(trial)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_seen(study)

    def _starts(self, study: Study, count: int, seed: int, brackets: Brackets) -> list[Suggestion]:
        points = islice(iter(domain_of(study, seed).take_random, None), count)
        return [
            point.start(until, {"policy": self.name, "rung": until})
            for point, until in zip(points, brackets.next_rungs(), strict=False)
        ]
