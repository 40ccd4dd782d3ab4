"""CMA-ES: an evolution strategy that learns the shape of the valley it is in. Through the library behind Optuna's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .guided import guided_starts, on_columns
from .model_free import best_trained, go_on
from .options import option
from .readings import read, varied
from .scope import Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from ..history import Study, Trial
    from .base import Continue, Recommendation, Suggestion


@dataclass(frozen=True, slots=True)
class Cmaes:
    """Points from a normal distribution whose mean, step size and shape follow the better half of each generation.

    The distribution is found by replaying the finished trials, so an answer needs no memory. Whole numbers and levels
    are rounded. Restarts with twice the population when it has converged.    Hansen 2016, "The CMA evolution strategy".
    """

    name: ClassVar[str] = "cmaes"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope(serves_comparisons=True, handles_constraints=True, handles_unordered=False)

    population: int = option(0, "trials of a generation; 0 stands for 4 + 3 log dimension", low=0, high=1000)

    def is_light(self, study: Study) -> bool:
        return not len(read(study))

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        reading, columns = read(study), varied(study.search_space)
        if not columns.any() or not reading.sound.any():
            return sobol_starts(study, count, seed, {"policy": self.name, "phase": "warm-up"})
        from .evolution import replay

        rows, losses = reading.genes(study)[:, columns], -reading.merits()
        distribution, restarts = replay(rows, losses, self.population, study.definition.seed)
        distribution.reseed_rng(seed % 2**32)
        facts = {"generation": distribution.generation, "restarts": restarts, "spread": distribution.spread}
        propose = on_columns(columns, distribution.ask)
        return guided_starts(study, count, seed, propose, {"policy": self.name, **facts})

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)
