"""Where the optimum is expected: what people say of single parameters, and the density over the unit cube it makes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtri

from .fields import number, shown
from .kinds import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..numerics import Floats
    from .kinds import Kind


class Confidence(NamedTuple):
    """A word in numbers.

    `sd` is the deviation of a normal around the expected value, in edges of the unit interval: of an lr between 1e-5
    and 1e-1 it is a factor of 100, 10 or 2.5. `odds` of the expected name to each other one. Given weights are raised
    to the `power`.
    """

    sd: float
    odds: float
    power: float


CONFIDENCES: Mapping[str, Confidence] = MappingProxyType(
    {
        "low": Confidence(0.5, 2.0, 0.5),
        "medium": Confidence(0.25, 4.0, 1.0),
        "high": Confidence(0.1, 10.0, 2.0),
    }
)

DOUBT = 0.01
"""The share of a choice's probability that is spread evenly: no weight of zero rules a choice out."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is said of one parameter: an expected canonical value, or weights of its choices; and how surely."""

    value: Any
    weights: tuple[float, ...] | None
    confidence: str

    def __hash__(self) -> int:
        return hash((self.weights, self.confidence))

    def to_json(self) -> dict[str, Any]:
        return {"prior": self.value, "prior_confidence": self.confidence}

    def log_weights(self, kind: Kind) -> Floats:
        """The log probability (size,) of each choice."""
        words = CONFIDENCES[self.confidence]
        if self.weights is None:
            weights = np.ones(kind.size or 1)
            weights[kind.level(self.value)] = words.odds
        else:
            weights = (np.array(self.weights) / max(self.weights)) ** words.power
        return np.asarray(np.log((1 - DOUBT) * weights / weights.sum() + DOUBT / len(weights)))


def read_belief(value: object, confidence: str, kind: Kind) -> Belief:
    """The belief that JSON describes; ValueError with the remedy."""
    if isinstance(value, Mapping) and Column.UNORDERED in kind.columns:
        weights = _read_weights(value, kind)
        return Belief(dict(value), weights, confidence)
    return Belief(kind.check(value), None, confidence)


def _read_weights(given: Mapping[Any, Any], kind: Kind) -> tuple[float, ...]:
    """The weight of each choice, 0 where none is given. Choices that are no strings are named by their JSON."""
    levels = {_spelled(choice): level for level, choice in enumerate(kind.values(None))}
    weights = [0.0] * len(levels)
    for choice, weight in given.items():
        if _spelled(choice) not in levels:
            raise ValueError(f"there is no choice {shown(choice)}; there are {', '.join(list(levels)[:20])}")
        weights[levels[_spelled(choice)]] = _weight(choice, weight)
    if not any(weights):
        raise ValueError("must have a weight above 0")
    return tuple(weights)


def _weight(choice: object, weight: object) -> float:
    given = number(weight)
    if given < 0:
        raise ValueError(f"the weight of {shown(choice)} must not be negative, but is {shown(weight)}")
    return given


def _spelled(choice: object) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice)


@dataclass(frozen=True, slots=True)
class Prior:
    """The density of the optimum over the unit cube: a product over columns, 1 in columns nothing is known of.

    Ordered and continuous columns: a normal with `centre` (d,) and `sd` (d,) cut off at 0 and 1; sd is infinite where
    nothing is known. Unordered columns: `log_levels` maps the column to the log (size,) of the weight of each level,
    over their mean; level i of n is the interval from i / n to (i + 1) / n.
    """

    centre: Floats
    sd: Floats
    log_levels: Mapping[int, Floats]

    @property
    def mode(self) -> Floats:
        """The most probable point (d,); the middle of the columns nothing is known of."""
        mode = self.centre.copy()
        for column, weights in self.log_levels.items():
            mode[column] = (int(np.argmax(weights)) + 0.5) / len(weights)
        return mode

    @property
    def log_norm(self) -> Floats:
        """The log (d,) of ∫ exp(-(u - centre)² / 2 sd²) du over [0, 1]; 0 where nothing is known."""
        known = np.isfinite(self.sd)
        sd = np.where(known, self.sd, 1.0)
        low, high = (log_ndtr((end - self.centre) / sd) for end in (0.0, 1.0))
        area = high + np.log1p(-np.exp(low - high)) + np.log(sd * math.sqrt(2 * math.pi))
        return np.where(known, area, 0.0)

    def log_density(self, rows: Floats, active: NDArray[np.bool_]) -> Floats:
        """The log density (n,) at snapped rows (n, d); columns that are not `active` (n, d) say nothing."""
        terms = -0.5 * ((rows - self.centre) / self.sd) ** 2 - self.log_norm
        for column, weights in self.log_levels.items():
            level = np.clip((rows[:, column] * len(weights)).astype(np.int64), 0, len(weights) - 1)
            terms[:, column] = weights[level]
        total: Floats = np.where(active, terms, 0.0).sum(axis=1)
        return total

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Rows (n, d) from the density, not snapped."""
        u = rng.random((n, len(self.sd)))
        known = np.isfinite(self.sd)
        low, high = (np.exp(log_ndtr((end - self.centre[known]) / self.sd[known])) for end in (0.0, 1.0))
        u[:, known] = self.centre[known] + self.sd[known] * ndtri(low + u[:, known] * (high - low))
        for column, weights in self.log_levels.items():
            cumulated = np.cumsum(np.exp(weights) / len(weights))
            level = np.searchsorted(cumulated, u[:, column] * cumulated[-1], side="right")
            u[:, column] = (np.minimum(level, len(weights) - 1) + 0.5) / len(weights)
        return np.clip(u, 0.0, 1.0)


def prior_of(beliefs: Mapping[int, tuple[Belief, Kind]], dimension: int) -> Prior:
    """The density that beliefs make; each has its kind, under the index of its first column."""
    centre, sd = np.full(dimension, 0.5), np.full(dimension, np.inf)
    log_levels: dict[int, Floats] = {}
    for first, (belief, kind) in beliefs.items():
        run = slice(first, first + len(kind.columns))
        if kind.columns == (Column.UNORDERED,):
            log_levels[first] = belief.log_weights(kind) + math.log(kind.size or 1)
        else:
            centre[run] = kind.encode([belief.value])[0]
            sd[run] = CONFIDENCES[belief.confidence].sd
    return Prior(centre, sd, MappingProxyType(log_levels))
