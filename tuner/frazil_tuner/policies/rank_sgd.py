"""Gradient steps from rankings alone: for studies that can only say which of some trials is better."""

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

if TYPE_CHECKING:
    from ..history import Study, Trial
    from ..numerics import Floats
    from .base import Continue, Recommendation, Suggestion

SLOWING = 5.0
"""Rounds after which radius and step have shrunk by √2: radius / √(1 + round / SLOWING)."""


@dataclass(frozen=True, slots=True)
class RankSgd:
    """Rounds of pairs of points on either side of a centre, which then moves as their order says.

        x_{±i} = c ± radius ξ_i,  ξ_i ~ N(0, I)              c ← c + step · mean (x_better - x_worse) over ordered pairs

    Only the order counts: from comparisons, or from values. Round r is the trials with numbers from 2 r pairs on; its
    directions come from the study's seed and the centre from replaying the rounds before, so an answer needs no memory.
    Tang et al. 2023, "Zeroth-order optimization meets human feedback", eq. (7), on antithetic points.
    """

    name: ClassVar[str] = "rank_sgd"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = False
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope(serves_comparisons=True, handles_constraints=True, handles_unordered=False)

    pairs: int = option(4, "pairs of points in a round", low=1, high=500)
    radius: float = option(0.15, "how far the first points lie from the centre, in edges of the cube", low=1e-6, high=1)
    step: float = option(1.0, "how far the centre moves, in mean differences of better and worse", low=1e-3, high=10)

    def is_light(self, study: Study) -> bool:
        return is_short(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        columns = varied(study.search_space)
        centres = self._centres(study, columns)
        turns = counted(next_number(study))

        def propose() -> Floats:
            return self._point(study, centres, next(turns))

        why = {
            "policy": self.name,
            "round": next_number(study) // (2 * self.pairs),
            "centre": centres[-1].round(6).tolist(),
        }
        return guided_starts(study, count, seed, on_columns(columns, propose), why)

    def decide(self, study: Study, trial: Trial) -> Continue:
        return go_on(study)

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)

    def _point(self, study: Study, centres: list[Floats], number: int) -> Floats:
        """The point (d,) of a trial number: a centre, and a direction or its opposite."""
        turn, place = divmod(number, 2 * self.pairs)
        centre = centres[min(turn, len(centres) - 1)]
        directions = np.random.default_rng([study.definition.seed, turn]).standard_normal((self.pairs, len(centre)))
        shift: Floats = self._radius(turn) * directions[place // 2]
        point: Floats = centre - shift if place % 2 else centre + shift
        return np.clip(point, 0.0, 1.0)

    def _centres(self, study: Study, columns: np.ndarray) -> list[Floats]:
        """The centre (d,) of every round up to the next trial's; a round with nothing to compare moves none."""
        reading = read(study)
        rows, merits = reading.genes(study)[:, columns], reading.merits()
        turns = np.array([trial.number // (2 * self.pairs) for trial in reading.trials], dtype=int)
        centres = [np.full(int(columns.sum()), 0.5)]
        for turn in range(next_number(study) // (2 * self.pairs)):
            seen = turns == turn
            moved = centres[-1] + self.step * ascent(rows[seen], merits[seen], self._radius(turn))
            centres.append(np.clip(moved, 0.0, 1.0))
        return centres

    def _radius(self, turn: int) -> float:
        return self.radius / float(np.sqrt(1 + turn / SLOWING))


def ascent(rows: Floats, merits: Floats, longest: float) -> Floats:
    """The mean of x_better - x_worse (d,) over all pairs of rows (k, d) that `merits` (k,) tell apart, not longer than
    `longest` in any column; 0 where there are none.
    """
    wins = np.sign(merits[:, None] - merits[None, :]).sum(1)  # won minus lost comparisons of each
    pairs = np.count_nonzero(merits[:, None] != merits[None, :]) / 2
    mean: Floats = wins @ rows / max(pairs, 1)
    return np.clip(mean, -longest, longest)
