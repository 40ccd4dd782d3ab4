"""Grid search: every combination once, then no more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from .domain import domain_of
from .model_free import best_trained, full_grant, go_on
from .options import option
from .scope import ANY_STUDY, Scope

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Continue, Recommendation, Suggestion


@dataclass(frozen=True, slots=True)
class Grid:
    """The points of a regular grid in order, each trained to the end; the study runs dry when all have been tried."""

    name: ClassVar[str] = "grid"
    ages: ClassVar[bool] = False
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = ANY_STUDY

    resolution: int = option(
        5, "the most values tried on each numeric axis, evenly spread with both ends", low=1, high=1000
    )

    def is_light(self, study: Study) -> bool:
        return True

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        points = islice(domain_of(study, seed).grid(self.resolution), count)
        return [point.start(full_grant(study.resource), {"policy": self.name}) for point in points]

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)
