"""Random search: hard to fool, and the yardstick for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from .domain import domain_of
from .model_free import best_trained, full_grant, go_on
from .scope import ANY_STUDY, Scope

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Continue, Recommendation, Suggestion


@dataclass(frozen=True, slots=True)
class Random:
    """Independent draws from the space, each trained to the end."""

    name: ClassVar[str] = "random"
    ages: ClassVar[bool] = False
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = ANY_STUDY

    def is_light(self, study: Study) -> bool:
        return True

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        points = islice(iter(domain_of(study, seed).take_random, None), count)
        return [point.start(full_grant(study.resource), {"policy": self.name}) for point in points]

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)
