"""The protocol of a model of learning curves: what was seen of many in, a belief about any of their values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..numerics import Floats

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Curves:
    """n curves, N observations of them, in any order; a curve may have none.

    `x` (n, d) are the configurations, rows of the unit cube; `unordered` (d,) marks the columns whose values are only
    equal or different. `owner`, `step`, `score` (N,): which curve, at which whole step, and the value there, larger is
    better, in any unit; -inf where NaN or an infinity was measured. `dead` (n,): failed, infeasible, or diverged for
    good; such a curve has the worst score from its end on, whatever it said before. No curve runs beyond `max_step`.
    `floor` is the worst score there can be, where the caller knows one: -inf and all below count as that.
    """

    x: Floats
    owner: Integers
    step: Integers
    score: Floats
    dead: Mask
    max_step: int
    unordered: Mask
    floor: float | None = None

    @property
    def size(self) -> int:
        """The number of curves."""
        return len(self.x)

    def extended(self, where: Where, score: Floats) -> Curves:
        """With more observations, `score` (m,) at `where`; each new curve among them takes a row of its own."""
        fresh, owner = where.named(self.size)
        return Curves(
            np.concatenate([self.x, where.x[fresh]]),
            np.concatenate([self.owner, owner]),
            np.concatenate([self.step, where.step]),
            np.concatenate([self.score, score]),
            np.concatenate([self.dead, np.zeros(len(fresh), dtype=bool)]),
            self.max_step,
            self.unordered,
            self.floor,
        )


@dataclass(frozen=True, slots=True)
class Where:
    """m places at which values are asked for: configurations `x` (m, d), the index `owner` (m,) of the curve, or -1 for
    one not begun, and whole steps `step` (m,). Equal configurations not begun are the same curve.
    """

    x: Floats
    owner: Integers
    step: Integers

    def part(self, rows: Mask) -> Where:
        return Where(self.x[rows], self.owner[rows], self.step[rows])

    def named(self, known: int) -> tuple[Integers, Integers]:
        """Of each new curve one place (k,), and the owners (m,) with the new curves numbered from `known` on."""
        owner = self.owner.astype(np.int64)
        fresh = np.flatnonzero(owner < 0)
        if not len(fresh):
            return fresh, owner
        _, first, index = np.unique(self.x[fresh], axis=0, return_index=True, return_inverse=True)
        owner[fresh] = known + index.ravel()
        return fresh[first], owner


class Predictive(Protocol):
    """What is believed of m values, each by itself, in the units of the scores."""

    @property
    def mean(self) -> Floats: ...

    @property
    def sd(self) -> Floats:
        """(m,) > 0."""
        ...

    def log_density(self, score: Floats) -> Floats:
        """The logarithm (m,) of the density at one score for each place, (m,)."""
        ...

    def quantile(self, q: float) -> Floats:
        """The scores (m,) that are not exceeded with probability q in (0, 1)."""
        ...

    def exceeding(self, threshold: Floats | float) -> Floats:
        """P(score > threshold) (m,); a threshold for all, or for each its own (m,)."""
        ...

    def improvement(self, threshold: Floats | float) -> Floats:
        """E max(score - threshold, 0) (m,); a threshold for all, or for each its own (m,)."""
        ...


class CurveBelief(Protocol):
    """A joint belief about all values of all curves, seen and unseen."""

    @property
    def fit(self) -> Mapping[str, Any]:
        """What the next fit may start from: JSON-able, a few numbers."""
        ...

    def at(self, where: Where, *, noisy: bool = True) -> Predictive:
        """Marginal beliefs, of values as they would be measured, or with `noisy` off of the curve beneath them."""
        ...

    def draws(self, where: Where, count: int, rng: np.random.Generator) -> Floats:
        """Values (count, m) drawn jointly, as they would be measured."""
        ...

    def given(self, where: Where, score: Floats) -> CurveBelief:
        """The belief if `score` (m,) had been seen there as well, nothing learned anew: for what is still running."""
        ...


class CurveModel(Protocol):
    """A frozen value: a model and how it is fitted."""

    def fit(self, curves: Curves, start: Mapping[str, Any] | None = None) -> CurveBelief:
        """The belief after N ≥ 0 observations, the same for permuted ones up to rounding; `start` is an earlier `fit`.

        Raises `surrogates.FitFailed` where the numbers are too ill-conditioned.
        """
        ...
