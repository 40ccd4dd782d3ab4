"""A scrambled Sobol sequence: random search that does not cluster."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from scipy.stats import qmc

from .domain import Point, domain_of
from .model_free import best_trained, full_grant, go_on
from .scope import ANY_STUDY, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..history import Definition, Study, Trial
    from ..numerics import Floats
    from .base import Continue, Recommendation, Suggestion, Why


@dataclass(frozen=True, slots=True)
class Sobol:
    """The next points of a low-discrepancy sequence scrambled by the study's seed, each trained to the end."""

    name: ClassVar[str] = "sobol"
    ages: ClassVar[bool] = False
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = ANY_STUDY

    def is_light(self, study: Study) -> bool:
        return True

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        return sobol_starts(study, count, seed, {"policy": self.name})

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)


def sobol_starts(study: Study, count: int, seed: int, why: Why) -> list[Suggestion]:
    """Starts at the next `count` points of the study's sequence, or fewer when the domain is exhausted.

    The place in the sequence is the number of trials and shelved suggestions, so the answer needs no memory. `seed`
    only picks the replacements of points that a finite space has already seen.
    """
    index = len(study.trials) + len(study.shelved)
    return [point.start(full_grant(study.resource), why) for point in islice(_points(study, index, seed), count)]


def _points(study: Study, index: int, seed: int) -> Iterator[Point]:
    domain = domain_of(study, seed)
    for u in _sequence(study.definition, index):
        point = domain.take_nearest(u)
        if point is None:
            return
        yield point


def _sequence(definition: Definition, index: int) -> Iterator[Floats]:
    """The points (dimension,) of the scrambled sequence from `index` on; empty points for a space without columns."""
    engine = qmc.Sobol(max(definition.space.dimension, 1), scramble=True, rng=definition.seed)
    if index:  # scipy refuses to go forward by nothing
        engine.fast_forward(index)
    while True:
        yield engine.random(1)[0, : definition.space.dimension]
