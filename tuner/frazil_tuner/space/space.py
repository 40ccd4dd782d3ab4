"""A search space: parameters in order, conditions among them, and the unit cube that stands for it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Problem, SpaceInvalid
from .counting import count_points
from .fields import pointer, shown
from .reading import read_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..numerics import Floats
    from .kinds import Column, Kind
    from .parameter import Parameter

INACTIVE = 0.5
"""What stands in the columns of a parameter that is not active: the centre, equally far from all its values."""


@dataclass(frozen=True)
class Space:
    """An immutable search space. Two spaces are equal if their parameters are, in the same order.

    Points are dicts of canonical values, active parameters only, in the order of the space. The unit cube has a run
    of columns for each parameter; the columns of inactive ones are `INACTIVE` in what `encode` gives and ignored by
    `decode`.
    """

    parameters: tuple[Parameter, ...]

    @classmethod
    def from_json(cls, items: object) -> Space:
        """The space that a list of parameter objects describes.

        Raises SpaceInvalid with every fault and its pointer, or SpaceUnsupported if the only faults are features to
        come.
        """
        return cls(read_parameters(items))

    def to_json(self) -> list[dict[str, Any]]:
        """The canonical description: `from_json(to_json())` equals this space."""
        return [parameter.to_json() for parameter in self.parameters]

    def __reduce__(self) -> tuple[Any, ...]:
        return Space, (self.parameters,)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """What each column of the cube is, (dimension,)."""
        return tuple(column for parameter in self.parameters for column in parameter.kind.columns)

    @property
    def dimension(self) -> int:
        """How many columns the cube has."""
        return len(self.columns)

    @cached_property
    def cardinality(self) -> int | None:
        """How many different points there are; None if infinitely many, or too entangled to be counted."""
        return count_points(self.parameters)

    @cached_property
    def _runs(self) -> tuple[tuple[Parameter, slice], ...]:
        ends = np.cumsum([len(parameter.kind.columns) for parameter in self.parameters])
        starts = [0, *ends[:-1]]
        return tuple(zip(self.parameters, map(slice, map(int, starts), map(int, ends)), strict=True))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def check(self, params: object) -> dict[str, Any]:
        """The canonical form of a point given from outside; absent fixed parameters are filled in.

        Raises SpaceInvalid with a pointer ("/lr") for every unknown, missing, inactive or impossible value.
        """
        if not isinstance(params, Mapping):
            fault = Problem("", f"must be an object, not {shown(params)}")
            raise SpaceInvalid(_summary("params do not fit the space", [fault]), problems=(fault,))
        problems = [
            Problem(pointer(name), f"no such parameter; the space has {', '.join(self._names[:20])}")
            for name in params
            if name not in self._names
        ]
        point: dict[str, Any] = {}
        for parameter in self.parameters:
            try:
                parameter.admit(params, point)
            except ValueError as fault:
                problems.append(Problem(pointer(parameter.name), str(fault)))
        if problems:
            raise SpaceInvalid(_summary("params do not fit the space", problems), problems=tuple(problems))
        return point

    def key(self, params: Mapping[str, Any]) -> Hashable:
        """Equal for equal points, different for different ones."""
        return tuple([params.get(name, ...) for name in self._names])

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """A point from the uniform distribution on the unit cube."""
        return self.decode(rng.random(self.dimension))

    def decode(self, u: Floats) -> dict[str, Any]:
        """The point whose cell holds `u` (dimension,), clipped to the unit cube."""
        clipped = np.clip(u, 0.0, 1.0).tolist()
        point: dict[str, Any] = {}
        for parameter, run in self._runs:
            if parameter.is_active(point):
                point[parameter.name] = parameter.kind.decode(clipped[run])
        return point

    def encode(self, params: Mapping[str, Any]) -> Floats:
        """The coordinates (dimension,) of a point; `decode(encode(p)) == p` for every p that `decode` gives."""
        u: Floats = self.encode_many([params])[0]
        return u

    def encode_many(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """The unit-cube coordinates (n, dimension) of canonical points (n,)."""
        u = np.full((len(points), self.dimension), INACTIVE)
        for parameter, run in self._runs:
            raw = [point.get(parameter.name, ...) for point in points]
            active = np.array([value is not ... for value in raw], dtype=bool)
            u[active, run] = parameter.kind.encode([value for value in raw if value is not ...])
        return u

    def snap(self, u: Floats) -> Floats:
        """The nearest rows (n, dimension) that encode a point, up to the rounding of continua."""
        clipped = np.clip(u, 0.0, 1.0)
        snapped = np.full_like(clipped, INACTIVE)
        for parameter, run, active in self._activity(clipped):
            snapped[active, run] = parameter.kind.snap(clipped[active, run])
        return snapped

    def active(self, u: Floats) -> NDArray[np.bool_]:
        """Which columns (n, dimension) of the points at rows `u` belong to active parameters."""
        mask = np.zeros(u.shape, dtype=bool)
        for _, run, active in self._activity(u):
            mask[:, run] = active[:, None]
        return mask

    def neighbours(self, u: Floats) -> Floats:
        """Snapped rows (m, dimension): each changes one active discrete parameter of the point at `u` (dimension,).

        The columns of parameters that the change switches on keep what `u` has there.
        """
        active = self.active(u[None])[0]
        rows = [np.empty((0, self.dimension))]
        for parameter, run in self._runs:
            if parameter.kind.columns and active[run.start]:
                moves = parameter.kind.neighbours(u[run])
                changed = np.repeat(u[None], len(moves), axis=0)
                changed[:, run] = moves
                rows.append(changed)
        return self.snap(np.concatenate(rows))

    def grid(self, resolution: int | None) -> Iterator[dict[str, Any]]:
        """The points of a grid with at most `resolution` values on each numeric axis, the last parameter fastest.

        With None every point of a finite space. ValueError for a continuum without resolution.
        """
        axes: dict[str, list[Any]] = {}
        stack: list[tuple[int, dict[str, Any]]] = [(0, {})]
        while stack:
            depth, point = stack.pop()
            if depth == len(self.parameters):
                yield point
                continue
            parameter = self.parameters[depth]
            if not parameter.is_active(point):
                stack.append((depth + 1, point))
                continue
            if parameter.name not in axes:
                axes[parameter.name] = list(parameter.kind.values(resolution))
            values = reversed(axes[parameter.name])
            stack.extend((depth + 1, {**point, parameter.name: value}) for value in values)

    def _activity(self, u: Floats) -> Iterator[tuple[Parameter, slice, NDArray[np.bool_]]]:
        """Each parameter with its columns and the rows (n,) of `u` in which it is active."""
        known: dict[str, tuple[Kind, Floats, NDArray[np.bool_]]] = {}
        for parameter, run in self._runs:
            active = np.ones(len(u), dtype=bool)
            for parent, values in parameter.when:
                kind, snapped, parent_active = known[parent]
                active &= parent_active & kind.matches(snapped, values)
            known[parameter.name] = (parameter.kind, parameter.kind.snap(u[:, run]), active)
            yield parameter, run, active


def _summary(what: str, problems: Sequence[Problem]) -> str:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{what}: {first.pointer or 'the value'} {first.detail}{more}"
