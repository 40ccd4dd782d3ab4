"""Truth values over a space: comparisons and their combinations, of points, of boxes, and how far from true."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .expressions import HULLS, JUMPING, PLAIN, Formula, Hull, Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..numerics import Floats

Mask = NDArray[np.bool_]

TINY = 1e-12
"""The least violation of what does not hold."""


class Values(NamedTuple):
    """Points: their numbers (n,), and the levels (n,) of what is compared by name."""

    numbers: Mapping[Variable, Floats]
    levels: Mapping[str, NDArray[np.int64]]


class Boxes(NamedTuple):
    """Boxes of points: hulls of their numbers (m,), and which levels (m, size) they hold."""

    numbers: Mapping[Variable, Hull]
    levels: Mapping[str, Mask]


class Bounds(NamedTuple):
    """Where something holds for some point of a box (m,), and where for all of them; the first may err, never the
    second.
    """

    can: Any
    must: Any


class Truth(Protocol):
    """Something that holds or does not. What is undefined does not hold. Use within `np.errstate(all="ignore")`."""

    @property
    def labels(self) -> frozenset[str]:
        """The parameters that are compared by name."""
        ...

    @property
    def formulas(self) -> tuple[Formula, ...]: ...

    def holds(self, values: Values) -> Mask: ...

    def bounds(self, boxes: Boxes) -> Bounds: ...

    def violation(self, values: Values) -> Floats:
        """0 where it holds, up to 1 where it is far from that."""
        ...


class Relation(NamedTuple):
    """What a comparison means for numbers and for hulls."""

    holds: Callable[[Any, Any], Any]
    bounds: Callable[[Hull, Hull], Bounds]
    excess: Callable[[Any, Any], Any]


def _equal(a: Hull, b: Hull) -> Bounds:
    overlap = (a.low <= b.high) & (b.low <= a.high)
    return Bounds(overlap, (a.low == a.high) & (b.low == b.high) & (a.low == b.low))


def _different(a: Hull, b: Hull) -> Bounds:
    equal = _equal(a, b)
    return Bounds(~equal.must, ~equal.can)


RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        "<=": Relation(
            np.less_equal, lambda a, b: Bounds(a.low <= b.high, a.high <= b.low), lambda a, b: np.maximum(a - b, 0)
        ),
        "<": Relation(np.less, lambda a, b: Bounds(a.low < b.high, a.high < b.low), lambda a, b: np.maximum(a - b, 0)),
        "==": Relation(np.equal, _equal, lambda a, b: np.abs(a - b)),
        "!=": Relation(np.not_equal, _different, lambda a, b: np.abs(a) + np.abs(b)),
    }
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """left ≤ right, and so on, for numbers."""

    relation: str
    left: Formula
    right: Formula

    @property
    def labels(self) -> frozenset[str]:
        return frozenset()

    @property
    def variables(self) -> frozenset[Variable]:
        return self.left.variables | self.right.variables

    @property
    def formulas(self) -> tuple[Formula, ...]:
        return self.left, self.right

    @property
    def is_smooth(self) -> bool:
        return self.relation in ("<=", "<") and not any(f.operations & JUMPING for f in self.formulas)

    def holds(self, values: Values) -> Mask:
        left, right = self._sides(values)
        kept: Mask = RELATIONS[self.relation].holds(left, right) & ~np.isnan(left) & ~np.isnan(right)
        return kept

    def bounds(self, boxes: Boxes) -> Bounds:
        left, right = (formula.run(HULLS, boxes.numbers) for formula in self.formulas)
        can, must = RELATIONS[self.relation].bounds(left, right)
        return Bounds(can, must & left.defined & right.defined)

    def violation(self, values: Values) -> Floats:
        left, right = self._sides(values)
        relative = RELATIONS[self.relation].excess(left, right) / (np.abs(left) + np.abs(right) + TINY)
        missed = np.where(np.isfinite(relative), np.maximum(relative, TINY), 1.0)
        return np.where(self.holds(values), 0.0, missed)

    def slack(self, values: Values) -> Floats:
        """right - left: not negative where it holds, if it is smooth."""
        left, right = self._sides(values)
        difference: Floats = right - left
        return difference

    def slopes(self, values: Values) -> dict[Variable, Any]:
        """The derivatives (n,) of the slack by each variable."""
        left, right = (formula.slopes(values.numbers) for formula in self.formulas)
        return {variable: right.get(variable, 0.0) - left.get(variable, 0.0) for variable in self.variables}

    def _sides(self, values: Values) -> tuple[Floats, Floats]:
        left, right = (formula.run(PLAIN, values.numbers) for formula in self.formulas)
        return left, right


class Labels(NamedTuple):
    """A code for each level of parameter `name`; without a name, the single code of a literal."""

    name: str | None
    codes: tuple[int, ...]

    def among(self, levels: Mapping[str, NDArray[np.int64]]) -> Any:
        """The codes (n,)."""
        return self.codes[0] if self.name is None else np.array(self.codes)[levels[self.name]]

    def possible(self, levels: Mapping[str, Mask], size: int) -> Mask:
        """Which of `size` codes (m, size) are possible."""
        one_hot = np.eye(size, dtype=bool)[list(self.codes)]
        return one_hot if self.name is None else levels[self.name] @ one_hot


@dataclass(frozen=True, slots=True)
class Match:
    """left is, or is not, the same value as right; for names, truth values and null."""

    same: bool
    left: Labels
    right: Labels

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(side.name for side in (self.left, self.right) if side.name is not None)

    @property
    def formulas(self) -> tuple[Formula, ...]:
        return ()

    def holds(self, values: Values) -> Mask:
        equal: Mask = np.equal(self.left.among(values.levels), self.right.among(values.levels))
        return equal if self.same else ~equal

    def bounds(self, boxes: Boxes) -> Bounds:
        size = max(*self.left.codes, *self.right.codes) + 1
        left, right = (side.possible(boxes.levels, size) for side in (self.left, self.right))
        can = (left & right).any(axis=1)
        must = can & (left.sum(axis=1) == 1) & (right.sum(axis=1) == 1)
        return Bounds(can, must) if self.same else Bounds(~must, ~can)

    def violation(self, values: Values) -> Floats:
        return np.where(self.holds(values), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Truth, ...]

    @property
    def labels(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.labels for part in self.parts))

    @property
    def formulas(self) -> tuple[Formula, ...]:
        return tuple(formula for part in self.parts for formula in part.formulas)

    def holds(self, values: Values) -> Mask:
        return reduce(np.logical_and, [part.holds(values) for part in self.parts])

    def bounds(self, boxes: Boxes) -> Bounds:
        parts = [part.bounds(boxes) for part in self.parts]
        return Bounds(*(reduce(np.logical_and, column) for column in zip(*parts, strict=True)))

    def violation(self, values: Values) -> Floats:
        total = reduce(np.add, [part.violation(values) for part in self.parts])
        return total / len(self.parts)


@dataclass(frozen=True, slots=True)
class OneOf:
    """At least one part holds."""

    parts: tuple[Truth, ...]

    @property
    def labels(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.labels for part in self.parts))

    @property
    def formulas(self) -> tuple[Formula, ...]:
        return tuple(formula for part in self.parts for formula in part.formulas)

    def holds(self, values: Values) -> Mask:
        return reduce(np.logical_or, [part.holds(values) for part in self.parts])

    def bounds(self, boxes: Boxes) -> Bounds:
        parts = [part.bounds(boxes) for part in self.parts]
        return Bounds(*(reduce(np.logical_or, column) for column in zip(*parts, strict=True)))

    def violation(self, values: Values) -> Floats:
        return reduce(np.minimum, [part.violation(values) for part in self.parts])


def conjuncts(truth: Truth) -> Iterator[Truth]:
    """What all must hold for `truth` to hold."""
    if isinstance(truth, All):
        for part in truth.parts:
            yield from conjuncts(part)
    else:
        yield truth


def every(mask: Mask) -> Mask:
    """Where (n,) all of a row (n, c) holds."""
    rows: Mask = np.logical_and.reduce(mask, axis=1)
    return rows
