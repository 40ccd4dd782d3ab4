"""Tree-structured Parzen estimators: where the good trials are dense and the others are not. Through Optuna."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .guided import guided_starts
from .model_free import best_trained, go_on
from .options import option
from .readings import best_and_latest, pending, read
from .scope import ANY_STUDY, Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from optuna.samplers import TPESampler

    from ..history import Study, Trial
    from ..space import Space
    from .base import Continue, Recommendation, Suggestion
    from .optuna_study import Copy
    from .readings import Reading

MOST_TRIALS = 1_000
"""Trials that are read, the better half of them the best of all: of more, Optuna would compare at most 25 with the
others and all but forget the old among these."""


@dataclass(frozen=True, slots=True)
class Tpe:
    """Parzen estimators of the good and of the other trials; the next is where their ratio is largest.

    Optuna's sampler in its recommended settings: multivariate for one objective, in groups of columns where there are
    conditions; independent for several, which it splits by dominance and hypervolume. What is running counts as bad.
    Starts with Sobol points.    Watanabe 2023, "Tree-structured Parzen estimator: understanding its algorithm
    components"; Ozaki et al. 2022 for several objectives.
    """

    name: ClassVar[str] = "tpe"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = ANY_STUDY

    warmup: int = option(10, "finished trials before the first estimate", low=1, high=1000)
    candidates: int = option(
        24, "points drawn from the good ones' estimate, of which the best is taken", low=1, high=1000
    )

    def is_light(self, study: Study) -> bool:
        return len(read(study)) < self.warmup

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        reading = read(study)
        if len(reading) < self.warmup:
            return sobol_starts(study, count, seed, {"policy": self.name, "phase": "warm-up"})
        if not reading.sound.any():
            why = {"policy": self.name, "phase": "fallback", "reason": "no trial has a finite value yet"}
            return sobol_starts(study, count, seed, why)
        kept = reading.kept(best_and_latest(reading.merits(), MOST_TRIALS))
        copy = self._copy(study, kept, seed)
        facts = {"observations": len(kept), "of": len(reading)}
        return guided_starts(study, count, seed, copy.ask, {"policy": self.name, **facts})

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)

    def _copy(self, study: Study, reading: Reading, seed: int) -> Copy:
        from .optuna_study import Copy

        space = study.search_space
        copy = Copy(space, len(study.objectives), self._sampler(space, len(study.objectives), seed))
        copy.add_finished(reading.rows, space.active(reading.rows), reading.ranks(), reading.violation)
        copy.add_running(pending(study)[-MOST_TRIALS:])
        return copy

    def _sampler(self, space: Space, objectives: int, seed: int) -> TPESampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import TPESampler

        grouped = objectives == 1 and any(parameter.when for parameter in space.parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna says so of `group`, for five years now
            return TPESampler(seed=seed % 2**32, n_startup_trials=1, n_ei_candidates=self.candidates, group=grouped)
