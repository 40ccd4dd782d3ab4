"""What the next steps of a run are worth: acquisitions over curves, each a function of an outlook and some options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ..curves import Where

if TYPE_CHECKING:
    from ..curves.base import Integers
    from ..numerics import Floats
    from .half_trained import Outlook

TAUS = (-4.0, -1.0)
"""Logarithms to base 10 of how much better than the best a run should be, in units of what was gained so far."""

BASKET = (10, 3)
"""How many runs, and how many new configurations, may be the best, for the entropy of which that is."""

DRAWS, LEVELS = 1024, 8
"""Joint draws, and levels of the next value, from which information is counted."""


@dataclass(frozen=True)
class Candidates:
    """k things to do next: configurations x (k, d), the index `owner` (k,) of the run, -1 for a new one, the step
    `last` (k,) at which it stands, and up to which it would be `granted` (k,).
    """

    x: Floats
    owner: Integers
    last: Integers
    granted: Integers

    def at(self, step: Integers) -> Where:
        return Where(self.x, self.owner, step)

    def part(self, rows: Integers) -> Candidates:
        return Candidates(self.x[rows], self.owner[rows], self.last[rows], self.granted[rows])


Acquisition = Callable[["Outlook", Candidates, np.random.Generator], "Floats"]
"""What each candidate (k,) is worth, ≥ 0; what is random about it is the same for all of them."""


def mfpi(outlook: Outlook, candidates: Candidates, rng: np.random.Generator) -> Floats:
    """The probability of being better, by a random amount, after a random number of steps.

        P(y(λ, min(b_λ + h, T)) > y_best + τ · gain),   h ~ U{1 … T},   log₁₀ τ ~ U(-4, -1)

    Rakotoarison et al. 2024 (arXiv 2404.16795), section 4: one h and one τ for all candidates. There the gain is the
    distance from the best score there can be, which we do not know: here it is what was gained since the first steps.
    """
    end = outlook.runs.curves.max_step
    horizon, tau = int(rng.integers(1, end + 1)), 10.0 ** rng.uniform(*TAUS)
    top, gain = outlook.standing.bar
    where = candidates.at(np.minimum(np.maximum(candidates.last + horizon, candidates.granted), end))
    return outlook.score.at(where).exceeding(top + tau * gain) * outlook.feasible(where)


def improvement(outlook: Outlook, candidates: Candidates, rng: np.random.Generator) -> Floats:
    """How much better than the best of the runs a candidate is expected to end: E max(y(λ, T) - max_n E y_n(T), 0)."""
    where = candidates.at(np.full(len(candidates.last), outlook.runs.curves.max_step))
    final = outlook.score.at(where, noisy=False)
    return final.improvement(outlook.standing.best_end) * outlook.feasible(where)


def entropy(outlook: Outlook, candidates: Candidates, rng: np.random.Generator) -> Floats:
    """What the next value of a candidate says about which of a basket of candidates ends best, in nats.

        H(A) - Σ_v p(v) H(A | y(λ, b_λ + g) in the v-th eighth),   A = argmax_{basket} y(T)

    counted over joint draws. Swersky, Snoek and Adams 2014, section 4.2, who take the expectation over fantasies
    instead. Candidates outside the basket, which is that of the largest expected improvements, are worth nothing.
    """
    promise = improvement(outlook, candidates, rng)
    order = np.argsort(-promise, kind="stable")
    begun = candidates.owner[order] >= 0
    basket = np.concatenate([order[begun][: BASKET[0]], order[~begun][: BASKET[1]]])
    chosen = candidates.part(basket)
    k, end = len(basket), np.full(len(basket), outlook.runs.curves.max_step)
    both = Where(np.tile(chosen.x, (2, 1)), np.tile(chosen.owner, 2), np.concatenate([end, chosen.granted]))
    draws = outlook.score.draws(both, DRAWS, rng)
    winner, next_ = draws[:, :k].argmax(1), draws[:, k:]
    worth = np.zeros(len(promise))
    worth[basket] = [information(winner, next_[:, i], k) for i in range(k)]
    return worth * outlook.feasible(candidates.at(np.full(len(promise), outlook.runs.curves.max_step)))


def information(winner: Integers, value: Floats, k: int) -> float:
    """Nats that the eighth in which a value (S,) lies says about a winner (S,) in {0 … k - 1}."""
    level = np.minimum(np.argsort(np.argsort(value, kind="stable"), kind="stable") * LEVELS // len(value), LEVELS - 1)
    table = np.zeros((LEVELS, k))
    np.add.at(table, (level, winner), 1.0 / len(value))
    apart = np.outer(table.sum(1), table.sum(0))
    held = table > 0
    return float((table[held] * np.log(table[held] / apart[held])).sum())


ACQUISITIONS: Mapping[str, Acquisition] = MappingProxyType(
    {"improvement": improvement, "mfpi": mfpi, "entropy": entropy}
)
"""Every acquisition over curves by its name."""
