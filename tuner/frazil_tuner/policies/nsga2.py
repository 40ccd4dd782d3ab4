"""A genetic algorithm for several objectives: parents from the best front, children by crossover. Through Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .guided import guided_starts
from .model_free import best_trained, go_on
from .options import option
from .readings import best_and_latest, read
from .scope import ANY_STUDY, Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Continue, Recommendation, Suggestion
    from .optuna_study import Copy
    from .readings import Reading

MOST_TRIALS = 1_000
"""Trials among which parents are looked for, the better half of them the best of all."""


@dataclass(frozen=True, slots=True)
class Nsga2:
    """The best `population` trials, by non-domination and crowding distance, are the parents of the next ones.

    Parents come from everything seen, not from the last generation only, so an answer needs no memory and no child
    waits for its generation to end. A parameter that was inactive in a parent has a neutral gene there, drawn at
    random. Starts with Sobol points.    Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm".
    """

    name: ClassVar[str] = "nsga2"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = ANY_STUDY

    population: int = option(50, "parents, and Sobol points to start with", low=2, high=500)

    def is_light(self, study: Study) -> bool:
        return len(read(study)) < self.population

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        reading = read(study)
        if len(reading) < self.population:
            return sobol_starts(study, count, seed, {"policy": self.name, "phase": "warm-up"})
        kept = reading.kept(best_and_latest(reading.merits(), MOST_TRIALS))
        copy = self._copy(study, kept, seed)
        why = {"policy": self.name, "parents": self.population, "observations": len(kept), "of": len(reading)}
        return guided_starts(study, count, seed, copy.ask, why)

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)

    def _copy(self, study: Study, reading: Reading, seed: int) -> Copy:
        from optuna.samplers import NSGAIISampler

        from .optuna_study import Copy

        sampler = NSGAIISampler(population_size=self.population, seed=seed % 2**32)
        copy = Copy(study.search_space, len(study.objectives), sampler)
        genes = reading.genes(study)
        copy.add_finished(genes, np.ones_like(genes, dtype=bool), reading.ranks(), reading.violation)
        return copy
