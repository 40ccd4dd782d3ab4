"""A search space: parameters in order, conditions and constraints among them, and the unit cube that stands for it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Problem, SpaceInvalid
from .counting import ENUMERABLE, count_points
from .edits import edited_items
from .fields import pointer, shown
from .kinds.computed import Computed
from .kinds.numbers import Float, Int
from .kinds.scheduled import Scheduled
from .prior import Prior, prior_of
from .reading import read_constraints, read_parameters
from .region import Region
from .rules import Place, Rules
from .truths import every

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..numerics import Floats
    from .constraints import Constraint
    from .kinds import Column, Kind
    from .parameter import Parameter

INACTIVE = 0.5
"""What stands in the columns of a parameter that is not active: the centre, equally far from all its values."""

PATIENCE = 256
"""Draws from the prior before the constraints are said to leave little of it."""

FRUITLESS = 100_000
"""Steps without a point after which a grid on a constrained space ends."""


@dataclass(frozen=True)
class Space:
    """An immutable search space. Two spaces are equal if their parameters are, in the same order, their constraints
    and what they hold.

    Points are dicts of canonical values, active parameters only, in the order of the space. The unit cube has a run
    of columns for each parameter; the columns of inactive ones are `INACTIVE` in what `encode` gives and ignored by
    `decode`. A schedule is one value of a point, and a run of columns for each number that it is made of.

    Whatever the space makes, by `draw`, `draw_prior`, `sample`, `neighbours`, `grid` or `repair`, meets every
    constraint exactly, in the users' units. `decode` and `snap` take rows as they are; ask `feasible`.

    Parameters that are disabled, or `held` by name and value, keep one value in all that the space makes. `encode`
    and `active` judge points and rows by what is in them: earlier trials may differ.
    """

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...] = ()
    held: tuple[tuple[str, Any], ...] = field(default=(), hash=False)

    @classmethod
    def from_json(cls, items: object, constraints: object = ()) -> Space:
        """The space that a list of parameter objects describes, with constraints such as "layers * width <= 2048".

        Raises SpaceInvalid with every fault and its pointer ("/0/low", "/constraints/0"), and the constraints to
        blame if no point meets them; or SpaceUnsupported if the only faults are features to come.
        """
        parameters = read_parameters(items)
        space = cls(parameters, read_constraints(constraints, parameters))
        return _examined(json.dumps([space.to_json(), space.constraints_json()])) if space.constraints else space

    def to_json(self) -> list[dict[str, Any]]:
        """The canonical description: `from_json(to_json(), constraints_json())` equals a space that holds nothing."""
        return [parameter.to_json() for parameter in self.parameters if parameter.part_of is None]

    def constraints_json(self) -> list[str]:
        """The constraints as they were written."""
        return [constraint.text for constraint in self.constraints]

    def __reduce__(self) -> tuple[Any, ...]:
        return Space, (self.parameters, self.constraints, self.held)

    # ── variants ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def hold(self, values: Mapping[str, Any]) -> Space:
        """The same space in which the named parameters keep these values, wherever they are active.

        Raises SpaceInvalid with a pointer ("/lr") for each value that does not fit, and for constraints that no point
        with these values meets.
        """
        kinds = {parameter.name: parameter.kind for parameter in self.parameters}
        canonical: dict[str, Any] = dict(self.held)
        problems: list[Problem] = []
        for name, value in values.items():
            try:
                canonical[name] = kinds[name].check(value) if name in kinds else self._unknown()
            except ValueError as fault:
                problems.append(Problem(pointer(name), str(fault)))
        if problems:
            raise SpaceInvalid(_summary("the values do not fit the space", problems), problems=tuple(problems))
        held = Space(self.parameters, self.constraints, tuple(canonical.items()))
        held.refuse_if_empty()
        return held

    def edited(self, changes: object) -> Space:
        """The space after changes in mid-study, each a part of a parameter's description: {"name": "lr", "high": 1.0}.

        Ranges may widen, choices and values be added, parameters be disabled at a value and enabled again. Every point
        of this space stays a point that the new one encodes. Raises SpaceInvalid with pointers into `changes`.
        """
        return Space.from_json(edited_items(self.parameters, changes), self.constraints_json())

    def names_of(self, role: str) -> tuple[str, ...]:
        """The parameters of a role: "tune", "context" or "environment"."""
        return tuple(parameter.name for parameter in self.parameters if parameter.role == role)

    def columns_of(self, role: str) -> NDArray[np.bool_]:
        """Which columns (dimension,) belong to parameters of a role."""
        mask = np.zeros(self.dimension, dtype=bool)
        for parameter, _, run in self._runs:
            mask[run] = parameter.role == role
        return mask

    def stretch(self, name: str, value: float) -> tuple[int, float]:
        """The column of a float or int parameter, and dx/du at `value`: its units for an edge of the cube."""
        (kind, run), *_ = [(kind, run) for parameter, kind, run in self._runs if parameter.name == name]
        if not isinstance(kind, Float | Int):
            raise TypeError(f"{name} has no derivative: it is neither a float nor an int")
        return run.start, kind.stretch(value)

    @cached_property
    def is_conditional(self) -> bool:
        """Whether some parameter is there under conditions only."""
        return any(parameter.when for parameter in self.parameters)

    # ── size ─────────────────────────────────────────────────────────────────────────────────────────────────────────

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
        """How many different points there are; None if infinitely many, or if it would take too long to count them.

        Of a constrained space points are counted by listing them, if they are at most `ENUMERABLE` without the
        constraints.
        """
        unconstrained = self._unconstrained
        if not self.constraints or unconstrained is None:
            return unconstrained
        return sum(1 for _ in self.grid(None)) if unconstrained <= ENUMERABLE else None

    @cached_property
    def is_finite(self) -> bool:
        """Whether the points could be listed, however many there are: no continuum can be reached."""
        kinds = [kind for parameter, kind, _ in self._runs if parameter.name not in self.kept]
        return self._unconstrained is not None or all(kind.size is not None for kind in kinds)

    @cached_property
    def _unconstrained(self) -> int | None:
        return count_points(self.parameters, self.kept)

    # ── points ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, params: object) -> dict[str, Any]:
        """The canonical form of a point given from outside; what is fixed, derived, disabled or held is filled in.

        Raises SpaceInvalid with a pointer ("/lr") for every unknown, missing, inactive or impossible value, and for
        every constraint that the point violates.
        """
        if not isinstance(params, Mapping):
            fault = Problem("", f"must be an object, not {shown(params)}")
            raise SpaceInvalid(_summary("params do not fit the space", [fault]), problems=(fault,))
        params, problems = self._taken_apart(params)
        faulty = {problem.pointer[1:] for problem in problems}
        problems += [
            Problem(pointer(name), f"no such parameter; the space has {self._listed()}")
            for name in params
            if name not in self._names
        ]
        point: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name in faulty or parameter.part_of in faulty:
                continue
            try:
                parameter.admit(params, point, self.kept)
            except ValueError as fault:
                at = pointer(parameter.name) if parameter.part_of is None else f"/{parameter.name}"
                problems.append(Problem(at, str(fault)))
        problems = problems or self._violations(point)
        if problems:
            raise SpaceInvalid(_summary("params do not fit the space", problems), problems=tuple(problems))
        return self._without_parts(point)

    def key(self, params: Mapping[str, Any]) -> Hashable:
        """Equal for equal points, different for different ones."""
        if self._mixtures:
            params = {**params, **{n: k.measure(params[n]) for n, k in self._mixtures.items() if n in params}}
        if self._schedules:
            params = {**params, **{n: json.dumps(params[n]) for n in self._schedules if n in params}}
        return tuple([params.get(name, ...) for name in self._names])

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """A point from the uniform distribution on the unit cube, or on its feasible part."""
        return self.decode(self.sample(rng, 1)[0] if self.constraints else rng.random(self.dimension))

    def draw_prior(self, rng: np.random.Generator) -> dict[str, Any]:
        """A point from the distribution that `prior` describes, of the feasible ones; without a prior as `draw`."""
        if self.prior is None:
            return self.draw(rng)
        rows = self.snap(self.prior.draw(rng, PATIENCE if self.constraints else 1))
        feasible = self.feasible(rows)
        return self.decode(rows[feasible.argmax()]) if feasible.any() else self.draw(rng)

    def decode(self, u: Floats) -> dict[str, Any]:
        """The point whose cell holds `u` (dimension,), clipped to the unit cube."""
        clipped = np.clip(u, 0.0, 1.0).tolist()
        kept = self.kept
        point: dict[str, Any] = {}
        for parameter, run in self._layout:
            if parameter.is_active(point):
                name = parameter.name
                point[name] = kept[name] if name in kept else parameter.value(clipped[run], point)
        return self._without_parts(point)

    def encode(self, params: Mapping[str, Any]) -> Floats:
        """The coordinates (dimension,) of a point; `decode(encode(p)) == p` for every p that `decode` gives."""
        u: Floats = self.encode_many([params])[0]
        return u

    def encode_many(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """The unit-cube coordinates (n, dimension) of canonical points (n,)."""
        u = np.full((len(points), self.dimension), INACTIVE)
        points = [self.with_parts(point) for point in points] if self._schedules else points
        for parameter, kind, run in self._runs:
            name = parameter.name
            try:
                u[:, run] = kind.encode([point[name] for point in points])
            except KeyError:
                active = np.array([name in point for point in points], dtype=bool)
                u[active, run] = kind.encode([point[name] for point in points if name in point])
        return u

    def grid(self, resolution: int | None) -> Iterator[dict[str, Any]]:
        """The feasible points of a grid with at most `resolution` values on each numeric axis, the last parameter
        fastest.

        With None every point of a finite space. ValueError for a continuum without resolution. On a constrained space
        the grid ends early where `FRUITLESS` steps in a row led to no point.
        """
        axes: dict[str, list[Any]] = {}
        stack: list[tuple[int, dict[str, Any]]] = [(0, {})]
        fruitless = 0
        while stack and fruitless < FRUITLESS:
            depth, point = stack.pop()
            fruitless += bool(self.constraints)
            if depth == len(self.parameters):
                fruitless = 0
                yield self._without_parts(point)
                continue
            parameter = self.parameters[depth]
            values = self._axis(parameter, point, axes, resolution) if parameter.is_active(point) else None
            points = [point] if values is None else [{**point, parameter.name: value} for value in values]
            stack.extend((depth + 1, extended) for extended in reversed(self._not_refuted(depth, points)))

    def _axis(
        self, parameter: Parameter, point: Mapping[str, Any], axes: dict[str, list[Any]], resolution: int | None
    ) -> list[Any]:
        """The values of one axis of a grid; `axes` remembers those that do not depend on the point."""
        if isinstance(parameter.kind, Computed):
            return [parameter.kind.compute(point)]
        if parameter.name in self.kept:
            return [self.kept[parameter.name]]
        if parameter.name not in axes:
            axes[parameter.name] = list(parameter.kind.values(resolution))
        return axes[parameter.name]

    def _not_refuted(self, depth: int, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The unfinished points, given up to parameter `depth`, that no constraint decided by now refutes."""
        due = self._due.get(depth) if self.constraints else None
        if not due:
            return points
        feasible = every(self._region.rules.holds_for(points)[:, due])
        return [point for point, kept in zip(points, feasible, strict=True) if kept]

    # ── rows of the unit cube ────────────────────────────────────────────────────────────────────────────────────────

    def snap(self, u: Floats) -> Floats:
        """The nearest rows (n, dimension) that encode a point, up to the rounding of continua."""
        clipped = np.clip(u, 0.0, 1.0)
        if self.kept:
            columns, values = self._pins
            clipped[:, columns] = values
        snapped = np.full_like(clipped, INACTIVE)
        for _, kind, run, active in self._activity(clipped):
            snapped[active, run] = kind.snap(clipped[active, run])
        return snapped

    def active(self, u: Floats) -> NDArray[np.bool_]:
        """Which columns (n, dimension) of the points at rows `u` belong to active parameters."""
        mask = np.zeros(u.shape, dtype=bool)
        for _, _, run, active in self._activity(u):
            mask[:, run] = active[:, None]
        return mask

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Snapped feasible rows (n, dimension), uniform on the unit cube or its feasible part.

        Where that part is tiny the rows come from a walk within it: spread, but neither independent nor exactly
        uniform.
        """
        return self._region.sample(rng, n) if self.constraints else self.snap(rng.random((n, self.dimension)))

    def neighbours(self, u: Floats) -> Floats:
        """Feasible snapped rows (m, dimension): each changes one active discrete parameter of the point at `u`
        (dimension,), and where smooth constraints ask for it continuous ones as well.

        The columns of parameters that the change switches on keep what `u` has there.
        """
        active = self.active(u[None])[0]
        rows = [np.empty((0, self.dimension))]
        for parameter, kind, run in self._runs:
            if kind.columns and active[run.start] and parameter.name not in self.kept:
                moves = kind.neighbours(u[run])
                changed = np.repeat(u[None], len(moves), axis=0)
                changed[:, run] = moves
                rows.append(changed)
        return self._feasible_part(np.concatenate(rows))

    def feasible(self, rows: Floats) -> NDArray[np.bool_]:
        """Whether the points (n,) at snapped rows meet every constraint: exactly what `check` says of `decode(row)`."""
        return self._region.rules.feasible(rows) if self.constraints else np.ones(len(rows), dtype=bool)

    def slack(self, rows: Floats) -> Floats:
        """How far (n, c) snapped rows are inside each of the c smooth inequalities, negative outside.

        Those are ≤, <, ≥ and > between continuous functions of at least one continuous parameter, joined by "and".
        About the distance to the boundary in edges of the cube, differentiable in continuous columns; 1 where an
        inequality does not apply. The other constraints are for `feasible` to judge.
        """
        return self._region.slack(rows) if self.constraints else np.empty((len(rows), 0))

    def slack_slopes(self, rows: Floats) -> Floats:
        """The derivatives (n, c, dimension) of `slack` in continuous columns, 0 in others; good to some 1e-9."""
        return self._region.slack_slopes(rows) if self.constraints else np.empty((len(rows), 0, self.dimension))

    def repair(self, rows: Floats, inside: Floats) -> Floats:
        """Feasible snapped rows (n, dimension): `rows`, each pulled back towards a feasible row as far as needed.

        `inside` (n, dimension) or (dimension,) must be feasible: the answer lies on the segment between.
        """
        return self._region.repair(rows, inside) if self.constraints else self.snap(rows)

    def _feasible_part(self, rows: Floats) -> Floats:
        snapped = self.snap(rows)
        if not self.constraints or not len(rows):
            return snapped
        leaned = self._region.lean(snapped)
        return leaned[self.feasible(leaned)]

    def _activity(self, u: Floats) -> Iterator[tuple[Parameter, Kind, slice, NDArray[np.bool_]]]:
        """Each parameter with its columns and the rows (n,) of `u` in which it is active."""
        known: dict[str, tuple[Kind, Floats, NDArray[np.bool_]]] = {}
        for parameter, kind, run in self._runs:
            active = np.ones(len(u), dtype=bool)
            for parent, values in parameter.when:
                other, snapped, parent_active = known[parent]
                active &= parent_active & other.matches(snapped, values)
            if parameter.name in self._parents:
                known[parameter.name] = (kind, kind.snap(u[:, run]), active)
            yield parameter, kind, run, active

    # ── what is known once ───────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def prior(self) -> Prior | None:
        """The density of the optimum that the parameters' priors make; None if there are none."""
        beliefs = {
            run.start: (parameter.prior, kind) for parameter, kind, run in self._runs if parameter.prior is not None
        }
        return prior_of(beliefs, self.dimension) if beliefs else None

    @cached_property
    def kept(self) -> Mapping[str, Any]:
        """The value of each parameter that is disabled or held."""
        disabled = {parameter.name: parameter.disabled for parameter in self.parameters}
        enabled = {name: value for name, value in disabled.items() if value is not ...}
        return MappingProxyType({**enabled, **dict(self.held)})

    @cached_property
    def _layout(self) -> tuple[tuple[Parameter, slice], ...]:
        ends = np.cumsum([len(parameter.kind.columns) for parameter in self.parameters])
        starts = [0, *ends[:-1]]
        return tuple(zip(self.parameters, map(slice, map(int, starts), map(int, ends)), strict=True))

    @cached_property
    def _runs(self) -> tuple[tuple[Parameter, Kind, slice], ...]:
        """The parameters that have values of their own, with their columns."""
        return tuple(
            (parameter, parameter.kind, run)
            for parameter, run in self._layout
            if not isinstance(parameter.kind, Computed)
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def _parents(self) -> frozenset[str]:
        return frozenset(parent for parameter in self.parameters for parent, _ in parameter.when)

    @cached_property
    def _mixtures(self) -> Mapping[str, Kind]:
        """The parameters whose values are objects."""
        return {parameter.name: kind for parameter, kind, _ in self._runs if len(kind.parts) > 1}

    @cached_property
    def _schedules(self) -> Mapping[str, Scheduled]:
        return {p.name: p.kind for p in self.parameters if isinstance(p.kind, Scheduled)}

    @cached_property
    def _part_names(self) -> frozenset[str]:
        return frozenset(parameter.name for parameter in self.parameters if parameter.part_of is not None)

    @cached_property
    def _pins(self) -> tuple[list[int], Floats]:
        """The columns of what is kept, and what stands in them."""
        pinned = [(run, kind.encode([self.kept[p.name]])[0]) for p, kind, run in self._runs if p.name in self.kept]
        columns = [column for run, _ in pinned for column in range(run.start, run.stop)]
        return columns, np.concatenate([np.empty(0), *(values for _, values in pinned)])

    @cached_property
    def held_columns(self) -> NDArray[np.bool_]:
        """Which columns (dimension,) are kept at one value."""
        mask = np.zeros(self.dimension, dtype=bool)
        mask[self._pins[0]] = True
        return mask

    @cached_property
    def _region(self) -> Region:
        places = {
            parameter.name: Place(parameter, kind, run, self.kept.get(parameter.name, ...))
            for parameter, kind, run in self._runs
        }
        return Region(Rules(self.parameters, places, self.constraints, self.dimension), self.snap)

    @cached_property
    def _due(self) -> Mapping[int, list[int]]:
        """The constraints by the index of their last parameter."""
        due: dict[int, list[int]] = {}
        for i, constraint in enumerate(self.constraints):
            due.setdefault(max(map(self._names.index, constraint.names)), []).append(i)
        return due

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def refuse_if_empty(self) -> None:
        """SpaceInvalid with the constraints to blame if no point meets them all."""
        if not self.constraints or self._region.witness is not None:
            return
        blamed, proved = self._region.conflict()
        others = ", ".join(shown(self.constraints[i].text) for i in blamed)
        held = (
            f" with {', '.join(f'{name} = {shown(value)}' for name, value in self.kept.items())}" if self.kept else ""
        )
        why = "no point of the space" if proved else "a long search found no point of the space that"
        detail = f"{why} meets {others}{held}; loosen or drop one of them, or widen the ranges they speak of"
        problems = tuple(Problem(pointer("constraints", i), detail) for i in blamed)
        raise SpaceInvalid(_summary("the constraints contradict each other", problems), problems=problems)

    def refuse_if_priors_conflict(self) -> None:
        """SpaceInvalid if no feasible point has the values that all priors expect."""
        beliefs = {p.name: p.prior.value for p, _, _ in self._runs if p.prior is not None and p.prior.weights is None}
        try:
            self.hold(beliefs)
        except SpaceInvalid as contradiction:
            detail = f"the priors expect the optimum where it cannot be: {contradiction.detail}"
            places = [pointer(i, "prior") for i, name in enumerate(self._names) if name in beliefs]
            raise SpaceInvalid(detail, problems=tuple(Problem(place, detail) for place in places)) from None

    def _violations(self, point: Mapping[str, Any]) -> list[Problem]:
        """A problem for each constraint that a canonical point violates, at the first of its parameters."""
        if not self.constraints:
            return []
        met = self._region.rules.holds_for([point])[0]
        violated = [constraint for constraint, holds in zip(self.constraints, met, strict=True) if not holds]
        return [Problem(pointer(constraint.names[0]), constraint.complaint(point)) for constraint in violated]

    def with_parts(self, point: Mapping[str, Any]) -> Mapping[str, Any]:
        """The point with the numbers that its schedules are made of, under the names of their parameters."""
        for name, kind in self._schedules.items():
            if name in point:
                point = {**kind.split(point[name]), **point}
        return point

    def _taken_apart(self, params: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Problem]]:
        """The same of what is given from outside, and what is wrong with its schedules."""
        problems: list[Problem] = []
        for name, kind in self._schedules.items():
            if name in params:
                try:
                    params = {**params, **kind.split(params[name])}
                except ValueError as fault:
                    problems.append(Problem(f"/{name}", str(fault)))
        return params, problems

    def _without_parts(self, point: dict[str, Any]) -> dict[str, Any]:
        return {name: point[name] for name in point if name not in self._part_names} if self._schedules else point

    def _listed(self) -> str:
        return ", ".join([parameter.name for parameter in self.parameters if parameter.part_of is None][:20])

    def _unknown(self) -> Any:
        raise ValueError(f"no such parameter; the space has {self._listed()}")


@lru_cache(maxsize=64)
def _examined(document: str) -> Space:
    """The space of a canonical description, made sure to have a point; remembered, because that may take a while."""
    items, constraints = json.loads(document)
    parameters = read_parameters(items)
    space = Space(parameters, read_constraints(constraints, parameters))
    space.refuse_if_empty()
    if space.prior is not None:
        space.refuse_if_priors_conflict()
    return space


def _summary(what: str, problems: Sequence[Problem]) -> str:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{what}: {first.pointer or 'the value'} {first.detail}{more}"
