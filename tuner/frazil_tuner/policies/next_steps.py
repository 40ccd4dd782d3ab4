"""What a step of a run is worth: acquisitions over curves, each a function of an outlook and of what could be done."""

from __future__ import annotations

import math
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


EARLY = 0.02
"""The share of a run after which half is known of where it ends. On real tables the ranks of what was seen after a
fiftieth of a run correlate with those at its end by .55 to .83, after a tenth by .83 to .95, half-way by .92 to 1.
"""


@dataclass(frozen=True)
class Candidates:
    """k things to do next: configurations x (k, d), the index `owner` (k,) of the run, -1 for a new one, the step
    `last` (k,) at which it stands, up to which it would be `granted` (k,), and what changing to it costs beside its
    steps, in steps, `extra` (k,).
    """

    x: Floats
    owner: Integers
    last: Integers
    granted: Integers
    extra: Floats

    @property
    def cost(self) -> Floats:
        """(k,), in steps."""
        cost: Floats = self.granted - self.last + self.extra
        return cost

    def at(self, step: Integers) -> Where:
        return Where(self.x, self.owner, step)

    def part(self, rows: Integers) -> Candidates:
        return Candidates(self.x[rows], self.owner[rows], self.last[rows], self.granted[rows], self.extra[rows])


Acquisition = Callable[["Outlook", Candidates, np.random.Generator], "Floats"]
"""What each candidate (k,) is worth, ≥ 0, for each step of its cost; what is random is the same for all of them."""


def knowledge(outlook: Outlook, candidates: Candidates, rng: np.random.Generator) -> Floats:
    """By how much the best expectation is expected to rise for knowing more of a candidate, at the pace that pays best.

        max_s (E max(m_s, b) - max(m, b)) / (s + extra),
        m_s = m + ρ_s (y(λ, T) - m),   ρ_s² = 1 - left(t + s) / left(t)

    m is where the run is expected to end now and m_s s steps later, b where the best of the others is expected to. To
    know more of the best run is worth what it may turn out to be worse than the second. Frazier and Powell 2010
    (doi 10.1287/deca.1100.0187), the KG(*) policy: since two steps can be worth more than twice what one is, s is one
    grant, two, four …
    """
    end = outlook.runs.curves.max_step
    where = candidates.at(np.full(len(candidates.last), end))
    final, (bars, leads) = outlook.score.at(where, noisy=False), outlook.standing.bars(candidates.owner)
    mean, before = final.mean, left(candidates.last / end)
    worth, grants = np.zeros(len(mean)), candidates.granted - candidates.last
    for times in 2 ** np.arange(math.ceil(math.log2(max(end / max(int(grants.min(initial=end)), 1), 1))) + 1):
        steps = np.minimum(times * grants, end - candidates.last)
        rho = np.sqrt(np.clip(1.0 - left((candidates.last + steps) / end) / before, 1e-9, 1.0))
        rise = rho * final.improvement(mean + (bars - mean) / rho)
        rise = np.where(leads, rise - (mean - bars), rise)
        worth = np.maximum(worth, rise / (steps + candidates.extra))
    return worth * outlook.feasible(where)


def left(share: Floats) -> Floats:
    """The part (k,) of the variance of where a run ends that is left when a share (k,) of it was seen."""
    variance: Floats = EARLY * np.maximum(1.0 - share, 1e-9) / (EARLY + share)
    return variance


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
    return outlook.score.at(where).exceeding(top + tau * gain) * outlook.feasible(where) / candidates.cost


def improvement(outlook: Outlook, candidates: Candidates, rng: np.random.Generator) -> Floats:
    """How much better than the best of the runs a candidate is expected to end: E max(y(λ, T) - max_n E y_n(T), 0)."""
    where = candidates.at(np.full(len(candidates.last), outlook.runs.curves.max_step))
    final = outlook.score.at(where, noisy=False)
    return final.improvement(outlook.standing.best_end) * outlook.feasible(where) / candidates.cost


def entropy(outlook: Outlook, candidates: Candidates, rng: np.random.Generator) -> Floats:
    """What the next value of a candidate says about which of a basket of candidates ends best, in nats.

        H(A) - Σ_v p(v) H(A | y(λ, b_λ + g) in the v-th eighth),   A = argmax_{basket} y(T)

    counted over joint draws. Swersky, Snoek and Adams 2014, section 4.2, who take the expectation over fantasies
    instead. Candidates outside the basket, which is that of the largest expected improvements, are worth nothing.
    """
    promise = improvement(outlook, candidates, rng) * candidates.cost
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
    at_end = candidates.at(np.full(len(promise), outlook.runs.curves.max_step))
    return worth * outlook.feasible(at_end) / candidates.cost


def information(winner: Integers, value: Floats, k: int) -> float:
    """Nats that the eighth in which a value (S,) lies says about a winner (S,) in {0 … k - 1}."""
    level = np.minimum(np.argsort(np.argsort(value, kind="stable"), kind="stable") * LEVELS // len(value), LEVELS - 1)
    table = np.zeros((LEVELS, k))
    np.add.at(table, (level, winner), 1.0 / len(value))
    apart = np.outer(table.sum(1), table.sum(0))
    held = table > 0
    return float((table[held] * np.log(table[held] / apart[held])).sum())


ACQUISITIONS: Mapping[str, Acquisition] = MappingProxyType(
    {"knowledge": knowledge, "improvement": improvement, "mfpi": mfpi, "entropy": entropy}
)
"""Every acquisition over curves by its name."""
