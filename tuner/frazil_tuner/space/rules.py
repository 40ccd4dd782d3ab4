"""The constraints of a space as questions about rows, points and boxes. Nothing here looks for anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..numerics import Floats
from .expressions import Hull, Variable
from .truths import Bounds, Boxes, Comparison, Mask, Values, conjuncts, every

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .constraints import Constraint
    from .kinds import Kind
    from .parameter import Parameter

STRIDE = 1e-6
"""Half the distance of the central differences that make slopes of scales."""


class Place(NamedTuple):
    """A parameter with values of its own, its columns, and the value it keeps (`...`: none)."""

    parameter: Parameter
    kind: Kind
    run: slice
    kept: Any

    @property
    def is_continuous(self) -> bool:
        """Whether it is free, and a continuum."""
        return self.kind.size is None and self.kept is ...


Ends = tuple[Floats, Floats]
"""The lower and upper ends (m, k) of boxes: parts of the unit interval in continuous columns, runs of levels in the
others, which begin with the first and end before the second."""


def hulls_of(kinds: Mapping[str, Kind]) -> dict[Variable, Hull]:
    """Least and largest numbers () of each parameter that has any."""
    hulls: dict[Variable, Hull] = {}
    for name, kind in kinds.items():
        if kind.parts:
            sides = np.zeros((1, len(kind.columns))), np.full((1, len(kind.columns)), float(kind.size or 1))
            low, high = kind.hull(*sides)
            hulls |= {Variable(name, i): Hull(low[0, i], high[0, i], np.True_) for i in range(len(kind.parts))}
    return hulls


Reader = Callable[["Kind", Floats], Floats]
"""Makes numbers (n, len(parts)) of the columns (n, len(columns)) of a kind."""


def _exact(kind: Kind, u: Floats) -> Floats:
    return kind.numbers(u)


def _smooth(kind: Kind, u: Floats) -> Floats:
    return kind.smooth(u)


class Rules:
    """Constraints over the places of a space of `dimension` columns.

    Rows are judged by the values that `decode` gives for them, to the last bit, unless it says otherwise.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        places: Mapping[str, Place],
        constraints: Sequence[Constraint],
        dimension: int,
    ) -> None:
        self.constraints = tuple(constraints)
        self.dimension = dimension
        self._places = places
        self._needed = _with_ancestors(parameters, [name for constraint in constraints for name in constraint.names])
        formulas = [formula for constraint in constraints for formula in constraint.truth.formulas]
        self._numbered = {variable.name for formula in formulas for variable in formula.variables}
        self._matched = {name for constraint in constraints for name in constraint.truth.labels}
        self._leveled = self._matched | {parent for parameter in self._needed for parent, _ in parameter.when}
        self.length = sum(len(formula.steps) for formula in formulas) + 8 * len(constraints)

    def only(self, some: Sequence[int]) -> Rules:
        """Some of the constraints."""
        return Rules(self._needed, self._places, [self.constraints[i] for i in some], self.dimension)

    # ── membership ───────────────────────────────────────────────────────────────────────────────────────────────────

    def holds(self, rows: Floats, numbers_of: Reader = _exact) -> Mask:
        """Which constraints hold (n, c) at rows (n, d)."""
        values, active = self._look(rows, numbers_of)
        with np.errstate(all="ignore"):
            return _columns(
                [constraint.truth.holds(values) | ~_all(active, constraint.names) for constraint in self.constraints],
                len(rows),
            )

    def feasible(self, rows: Floats) -> Mask:
        """Where (n,) all constraints hold at rows (n, d)."""
        return every(self.holds(rows))

    def roughly(self, rows: Floats) -> Mask:
        """Where (n,) all constraints hold before rounding."""
        return every(self.holds(rows, _smooth))

    def passes(self, rows: Floats) -> Mask:
        """Where (n,) all constraints hold before and after rounding: `feasible`, but for a sliver, and much faster
        where few do.
        """
        passed = self.roughly(rows)
        passed[passed] = self.feasible(rows[passed])
        return passed

    def violation(self, rows: Floats) -> Floats:
        """How far (n,) rows are from the region before rounding: for each constraint 0 where it holds, else up to 1."""
        values, active = self._look(rows, _smooth)
        total = np.zeros(len(rows))
        with np.errstate(all="ignore"):
            for constraint in self.constraints:
                total += np.where(_all(active, constraint.names), constraint.truth.violation(values), 0.0)
        return total

    def holds_for(self, points: Sequence[Mapping[str, Any]]) -> Mask:
        """Which constraints hold (n, c) at points (n,), by their values as they are."""
        active = {
            parameter.name: np.array([parameter.name in point for point in points], dtype=bool)
            for parameter in self._needed
        }
        numbers: dict[Variable, Floats] = {}
        levels: dict[str, NDArray[np.int64]] = {}
        for name in self._numbered:
            kind = self._places[name].kind
            absent = (np.nan,) * len(kind.parts)
            measured = np.array([kind.measure(point[name]) if name in point else absent for point in points])
            numbers |= {Variable(name, i): measured[:, i] for i in range(len(kind.parts))}
        for name in self._matched:
            kind = self._places[name].kind
            levels[name] = np.array([kind.level(point[name]) if name in point else 0 for point in points])
        with np.errstate(all="ignore"):
            return _columns(
                [
                    constraint.truth.holds(Values(numbers, levels)) | ~_all(active, constraint.names)
                    for constraint in self.constraints
                ],
                len(points),
            )

    def _look(self, rows: Floats, numbers_of: Reader) -> tuple[Values, dict[str, Mask]]:
        """What constraints need to know of rows, and which parameters are active there (n,)."""
        numbers: dict[Variable, Floats] = {}
        levels: dict[str, NDArray[np.int64]] = {}
        active: dict[str, Mask] = {}
        for parameter in self._needed:
            alive = np.ones(len(rows), dtype=bool)
            for parent, wanted in parameter.when:
                kind = self._places[parent].kind
                alive &= active[parent] & np.isin(levels[parent], [kind.level(value) for value in wanted])
            active[parameter.name] = alive & _all(active, parameter.requires)
            place = self._places.get(parameter.name)
            if place is not None:
                self._read(place, rows[:, place.run], numbers_of, numbers, levels)
        return Values(numbers, levels), active

    def _read(
        self,
        place: Place,
        u: Floats,
        numbers_of: Reader,
        numbers: dict[Variable, Floats],
        levels: dict[str, NDArray[np.int64]],
    ) -> None:
        name, kind = place.parameter.name, place.kind
        free = place.kept is ...
        if name in self._numbered:
            found = numbers_of(kind, u) if free else np.tile(kind.measure(place.kept), (len(u), 1))
            numbers |= {Variable(name, i): found[:, i] for i in range(len(kind.parts))}
        if name in self._leveled:
            levels[name] = kind.levels(u) if free else np.full(len(u), kind.level(place.kept))

    # ── smooth inequalities ──────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def smooth(self) -> tuple[tuple[Constraint, Comparison], ...]:
        """The inequalities between continuous functions that all must hold, of some continuous parameter."""
        return tuple(
            (constraint, part)
            for constraint in self.constraints
            for part in conjuncts(constraint.truth)
            if isinstance(part, Comparison) and part.is_smooth and self._is_continuous(part)
        )

    def slack(self, rows: Floats) -> Floats:
        """right - left (n, c) of the smooth inequalities before rounding; 1 where one does not apply."""
        values, active = self._look(rows, _smooth)
        with np.errstate(all="ignore"):
            columns = [
                np.where(_all(active, constraint.names), part.slack(values), 1.0) for constraint, part in self.smooth
            ]
        return _columns(columns, len(rows))

    def slopes(self, rows: Floats) -> Floats:
        """The derivatives (n, c, d) of the slack in continuous columns; 0 in others, and where one does not apply."""
        values, active = self._look(rows, _smooth)
        slopes = np.zeros((len(rows), len(self.smooth), self.dimension))
        scales = {name: _scale_slopes(place.kind, rows[:, place.run]) for name, place in self._continua.items()}
        with np.errstate(all="ignore"):
            for i, (constraint, part) in enumerate(self.smooth):
                applies = np.broadcast_to(_all(active, constraint.names), len(rows))
                for variable, slope in part.slopes(values).items():
                    if variable.name in scales:
                        rise = np.broadcast_to(slope, len(rows))[:, None] * scales[variable.name][:, variable.part]
                        slopes[:, i, self._places[variable.name].run] += np.where(applies[:, None], rise, 0.0)
        return slopes

    @cached_property
    def _continua(self) -> Mapping[str, Place]:
        """The free continuous parameters that smooth inequalities depend on."""
        names = {variable.name for _, part in self.smooth for variable in part.variables}
        return {name: self._places[name] for name in sorted(names) if self._places[name].is_continuous}

    @cached_property
    def continuous_columns(self) -> list[int]:
        """The columns in which slack has slopes."""
        runs = [place.run for place in self._continua.values()]
        return [column for run in runs for column in range(run.start, run.stop)]

    def _is_continuous(self, part: Comparison) -> bool:
        return any(self._places[variable.name].is_continuous for variable in part.variables)

    # ── boxes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def sides(self) -> list[tuple[Place, int]]:
        """The columns of boxes: those of needed parameters that are free, with the places they belong to."""
        places = [self._places[parameter.name] for parameter in self._needed if parameter.name in self._places]
        free = [place for place in places if place.kept is ...]
        return [(place, column) for place in free for column in range(place.run.start, place.run.stop)]

    @cached_property
    def concerns(self) -> Mask:
        """Which sides (c, k) matter to which constraint, directly or by switching a parameter on and off."""
        concerned = [
            {parameter.name for parameter in _with_ancestors(self._needed, constraint.names)}
            for constraint in self.constraints
        ]
        return np.array([[place.parameter.name in names for place, _ in self.sides] for names in concerned], dtype=bool)

    def bounds(self, boxes: Ends) -> Bounds:
        """Where (m, c) constraints can hold, and where they must."""
        hulls, can_be, must_be = self._survey(*boxes)
        cans, musts = [], []
        with np.errstate(all="ignore"):
            for constraint in self.constraints:
                bounds = constraint.truth.bounds(hulls)
                cans.append(bounds.can | ~_all(must_be, constraint.names))
                musts.append(bounds.must | ~_all(can_be, constraint.names))
        return Bounds(_columns(cans, len(boxes[0])), _columns(musts, len(boxes[0])))

    def _survey(self, low: Floats, high: Floats) -> tuple[Boxes, dict[str, Mask], dict[str, Mask]]:
        """What constraints need to know of boxes, and which parameters may and must be active there (m,)."""
        spans = {name: self._span(self._places[name], low, high) for name in self._leveled}
        numbers: dict[Variable, Hull] = {}
        for name in self._numbered:
            numbers |= self._hulls(self._places[name], low, high)
        can_be: dict[str, Mask] = {}
        must_be: dict[str, Mask] = {}
        for parameter in self._needed:
            can, must = _all(can_be, parameter.requires), _all(must_be, parameter.requires)
            for parent, wanted in parameter.when:
                begin, end = spans[parent]
                levels = np.array([self._places[parent].kind.level(value) for value in wanted])
                matching = ((begin[:, None] <= levels) & (levels < end[:, None])).sum(axis=1)
                can = can & can_be[parent] & (matching > 0)
                must = must & must_be[parent] & (matching == end - begin)
            can_be[parameter.name] = np.broadcast_to(can, len(low))
            must_be[parameter.name] = np.broadcast_to(must, len(low))
        held = {name: _within(spans[name], self._places[name].kind.size or 0) for name in self._matched}
        return Boxes(numbers, held), can_be, must_be

    @cached_property
    def _sides_of(self) -> Mapping[str, list[int]]:
        """The sides of boxes by the parameter they belong to; none for what is fixed or kept."""
        sides: dict[str, list[int]] = {parameter.name: [] for parameter in self._needed}
        for side, (place, _) in enumerate(self.sides):
            sides[place.parameter.name].append(side)
        return sides

    def _span(self, place: Place, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """The levels (m,) of a parameter in boxes: from the first to before the second."""
        sides = self._sides_of[place.parameter.name]
        if sides:
            return low[:, sides[0]], high[:, sides[0]]
        level = np.full(len(low), 0.0 if place.kept is ... else place.kind.level(place.kept))
        return level, level + 1

    def _hulls(self, place: Place, low: Floats, high: Floats) -> dict[Variable, Hull]:
        """The numbers of a parameter in boxes."""
        sides, kind, name = self._sides_of[place.parameter.name], place.kind, place.parameter.name
        if place.kept is ...:
            least, most = kind.hull(low[:, sides], high[:, sides])
        else:
            least = most = np.tile(kind.measure(place.kept), (len(low), 1))
        return {Variable(name, i): Hull(least[:, i], most[:, i], np.True_) for i in range(len(kind.parts))}


def _within(span: tuple[Floats, Floats], size: int) -> Mask:
    """Which of `size` levels lie in spans (m,): (m, size)."""
    levels, (begin, end) = np.arange(size), span
    mask: Mask = (levels >= begin[:, None]) & (levels < end[:, None])
    return mask


def _scale_slopes(kind: Kind, u: Floats) -> Floats:
    """The derivatives (n, len(parts), len(columns)) of a kind's numbers before rounding, by central differences."""
    columns = []
    for column in range(u.shape[1]):
        below, above = u.copy(), u.copy()
        below[:, column] = np.maximum(u[:, column] - STRIDE, 0.0)
        above[:, column] = np.minimum(u[:, column] + STRIDE, 1.0)
        run = (above - below)[:, [column]]
        columns.append((kind.smooth(above) - kind.smooth(below)) / run)
    return np.stack(columns, axis=2)


def _with_ancestors(parameters: Sequence[Parameter], names: Sequence[str]) -> tuple[Parameter, ...]:
    """The parameters of these names and all that they depend on, in their order."""
    wanted = set(names)
    found = []
    for parameter in reversed(parameters):
        if parameter.name in wanted:
            found.append(parameter)
            wanted |= {parent for parent, _ in parameter.when} | set(parameter.requires)
    return tuple(reversed(found))


def _all(masks: Mapping[str, Mask], names: Sequence[str]) -> Any:
    """Where all of the masks of these names are set."""
    kept: Any = np.True_
    for name in names:
        kept = kept & masks[name]
    return kept


def _columns(parts: Sequence[NDArray[Any]], n: int) -> NDArray[Any]:
    """Arrays (n,) or () side by side: (n, len(parts))."""
    return np.array([np.broadcast_to(part, n) for part in parts]).reshape(len(parts), n).T
