"""Consensus-based optimisation: particles that drift to where the best of them agree, the wider the less they do."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count as counted
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .guided import guided_starts, on_columns
from .model_free import best_trained, go_on
from .options import option
from .readings import is_short, next_number, read, varied
from .scope import Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from ..history import Study, Trial
    from ..numerics import Floats
    from .base import Continue, Recommendation, Suggestion

DRIFT, NOISE = 0.5, 0.7
"""λ and σ of a step of length 1: squared distances shrink by (1 - λ)² + σ² = 0.74 at each, on average."""


@dataclass(frozen=True, slots=True)
class Cbo:
    """Particle i is every trial whose number is i modulo their count; its next point drifts to the consensus.

        x ← x - λ (x - c) + σ (x - c) ⊙ ξ,     c = Σ w_i p_i / Σ w_i,   w_i = exp(-focus r_i),   ξ ~ N(0, I)

    with p_i the best point that particle i has been at and r_i its rank, from 0 for the best to 1: only the order of
    values counts. An answer needs no memory. The first points are those of a Sobol sequence.    Pinnau et al. 2017;
    Carrillo et al. 2021 for the noise by coordinate; Riedl 2023 for the memory in p.
    """

    name: ClassVar[str] = "cbo"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope(serves_comparisons=True, handles_constraints=True, handles_unordered=False)

    particles: int = option(0, "how many there are; 0 stands for twice the dimension, from 10 to 40", low=0, high=1000)
    focus: float = option(15.0, "how much more the best particles weigh in the consensus", low=0, high=500)

    def is_light(self, study: Study) -> bool:
        return is_short(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        reading, columns = read(study), varied(study.search_space)
        particles = self.particles or min(max(2 * int(columns.sum()), 10), 40)
        if next_number(study) < particles or not reading.sound.any() or not columns.any():
            return sobol_starts(study, count, seed, {"policy": self.name, "phase": "warm-up"})
        rows, merits = reading.genes(study)[:, columns], reading.merits()
        whose = np.array([trial.number % particles for trial in reading.trials])
        consensus = self._consensus(rows, merits, whose)
        latest = dict(zip(whose.tolist(), rows, strict=True))
        turns, rng = counted(next_number(study)), np.random.default_rng(seed)

        def move() -> Floats:
            """The next particle in turn; one that has not come to anything yet starts somewhere."""
            x = latest.get(next(turns) % particles, rng.random((rows.shape[1],)))
            away = x - consensus
            moved: Floats = x - DRIFT * away + NOISE * away * rng.standard_normal(len(x))
            return np.clip(moved, 0.0, 1.0)

        why = {
            "policy": self.name,
            "particles": particles,
            "spread": float(np.std(list(latest.values()), axis=0).mean()),
        }
        return guided_starts(study, count, seed, on_columns(columns, move), why)

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)

    def _consensus(self, rows: Floats, merits: Floats, whose: np.ndarray) -> Floats:
        """c (d,), from the rows (n, d) of particles `whose` (n,)."""
        order = np.argsort(merits, kind="stable")
        best = np.array(list(dict(zip(whose[order].tolist(), order.tolist(), strict=True)).values()))
        best = best[np.argsort(-merits[best], kind="stable")]
        weights = np.exp(-self.focus * np.linspace(0.0, 1.0, len(best)))
        centre: Floats = weights @ rows[best] / weights.sum()
        return centre
