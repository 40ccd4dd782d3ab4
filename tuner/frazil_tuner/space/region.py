"""The part of a space in which every constraint holds: membership, distance, sampling, and proof that it is empty.

Points are rows of the unit cube here, and judged by the values that `decode` gives for them, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

TRIAL = 256
"""Uniform rows that show whether the region needs to be looked for at all."""

ROOMY = 1 / 16
"""The share of feasible trial rows from which on draws from the whole cube are good enough."""

RARE = 1 / 500
"""Where fewer draws from the cover than that are feasible, samples walk from feasible ones instead."""

MOST_BOXES = 4_096
MOST_SPLITS = 64
NARROW = 1e-9
"""The width at which a continuous side of a box is not split any more."""

ELITE = 32
"""Rows from which a hidden region is looked for."""

ROUNDS = 64
CHILDREN = 16
BATCHES = (16, 64, 256, 1_024, 4_096)
"""Rows drawn, in turn, until there are enough feasible ones."""

STRIDE = 1e-6
"""Half the distance of the central differences that make slopes."""

MARGIN = 1e-7
"""How far inside, in edges of the cube, a row is put so that rounding does not carry it out again."""

MOST_BLAMED = 12
"""More constraints than that are not searched for the fewest that contradict each other."""


class Place(NamedTuple):
    """A parameter with values of its own, its columns, and the value it keeps (`...`: none)."""

    parameter: Parameter
    kind: Kind
    run: slice
    kept: Any


@dataclass(frozen=True, slots=True)
class Cover:
    """Boxes (m, k) that hold the whole region, in the unit interval of the columns that constraints ask for."""

    low: Floats
    high: Floats

    @property
    def volumes(self) -> Floats:
        volumes: Floats = np.prod(self.high - self.low, axis=1)
        return volumes


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


class Region:
    """Constraints over the places of a space of `dimension` columns; `snap` is the space's."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        places: Mapping[str, Place],
        constraints: Sequence[Constraint],
        snap: Callable[[Floats], Floats],
        dimension: int,
    ) -> None:
        self._constraints = tuple(constraints)
        self._places = places
        self._snap = snap
        self._dimension = dimension
        self._needed = _with_ancestors(parameters, [name for constraint in constraints for name in constraint.names])
        variables = {
            v for constraint in constraints for formula in constraint.truth.formulas for v in formula.variables
        }
        self._numbered = {variable.name for variable in variables}
        self._matched = {name for constraint in constraints for name in constraint.truth.labels}
        self._leveled = self._matched | {parent for parameter in self._needed for parent, _ in parameter.when}

    # ── membership ───────────────────────────────────────────────────────────────────────────────────────────────────

    def holds(self, rows: Floats, numbers_of: Reader = _exact) -> Mask:
        """Which constraints hold (n, c) at rows (n, d)."""
        values, active = self._look(rows, numbers_of)
        with np.errstate(all="ignore"):
            return _columns(
                [constraint.truth.holds(values) | ~_all(active, constraint.names) for constraint in self._constraints],
                len(rows),
            )

    def feasible(self, rows: Floats) -> Mask:
        """Where (n,) all constraints hold at rows (n, d)."""
        return every(self.holds(rows))

    def passes(self, rows: Floats) -> Mask:
        """Where (n,) all constraints hold before and after rounding: `feasible`, but for a sliver, and much faster
        where few do.
        """
        passed = every(self.holds(rows, _smooth))
        passed[passed] = self.feasible(rows[passed])
        return passed

    def violation(self, rows: Floats) -> Floats:
        """How far (n,) rows are from the region before rounding: for each constraint 0 where it holds, else up to 1."""
        values, active = self._look(rows, _smooth)
        total = np.zeros(len(rows))
        with np.errstate(all="ignore"):
            for constraint in self._constraints:
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
                    for constraint in self._constraints
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

    # ── smooth constraints ───────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def smooth(self) -> tuple[tuple[Constraint, Comparison], ...]:
        """The inequalities between continuous functions that all must hold, of some continuous parameter."""
        return tuple(
            (constraint, part)
            for constraint in self._constraints
            for part in conjuncts(constraint.truth)
            if isinstance(part, Comparison) and part.is_smooth and self._is_continuous(part)
        )

    def slack(self, rows: Floats) -> Floats:
        """(n, c): not negative where each of the c smooth inequalities holds, 1 where it does not apply.

        right - left before rounding, over its typical slope near the boundary: about the distance to the boundary in
        edges of the cube.
        """
        return self._raw_slack(rows) / self._slack_scale

    def slack_slopes(self, rows: Floats) -> Floats:
        """The slopes (n, c, d) of the slack in continuous columns, by central differences; 0 in other columns."""
        return self._raw_slopes(rows) / self._slack_scale[:, None]

    @cached_property
    def _slack_scale(self) -> Floats:
        rows = self.draw_from(self.cover, np.random.default_rng(0), TRIAL)
        slopes = np.linalg.norm(self._raw_slopes(rows), axis=2)  # (n, c)
        away = np.abs(self._raw_slack(rows)) / np.where(slopes > 0, slopes, np.nan)
        scales = []
        for slope, distance in zip(slopes.T, away.T, strict=True):
            known = np.flatnonzero(np.isfinite(distance) & np.isfinite(slope))
            near = known[np.argsort(distance[known], kind="stable")[: max(len(known) // 4, 1)]]
            scales.append(np.median(slope[near]) if len(near) else 1.0)
        return np.array(scales)

    def _raw_slack(self, rows: Floats) -> Floats:
        values, active = self._look(rows, _smooth)
        with np.errstate(all="ignore"):
            columns = [
                np.where(_all(active, constraint.names), part.slack(values), 1.0) for constraint, part in self.smooth
            ]
        return _columns(columns, len(rows))

    def _raw_slopes(self, rows: Floats) -> Floats:
        slopes = np.zeros((len(rows), len(self.smooth), self._dimension))
        for column in self._continuous_columns:
            below, above = rows.copy(), rows.copy()
            below[:, column] = np.maximum(rows[:, column] - STRIDE, 0.0)
            above[:, column] = np.minimum(rows[:, column] + STRIDE, 1.0)
            rise = self._raw_slack(above) - self._raw_slack(below)
            slopes[:, :, column] = rise / (above - below)[:, column, None]
        return slopes

    @cached_property
    def _continuous_columns(self) -> list[int]:
        """The columns that smooth inequalities depend on."""
        names = {variable.name for _, part in self.smooth for variable in part.variables}
        places = [self._places[name] for name in sorted(names)]
        return [
            column
            for place in places
            if place.kept is ... and place.kind.size is None
            for column in range(place.run.start, place.run.stop)
        ]

    def _is_continuous(self, part: Comparison) -> bool:
        places = [self._places[variable.name] for variable in part.variables]
        return any(place.kind.size is None and place.kept is ... for place in places)

    # ── sampling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Snapped feasible rows (n, d): uniform on the region by rejection, or, where it is thin, by a walk in it."""
        found = [np.empty((0, self._dimension))]
        missing = n
        for batch in BATCHES if self.acceptance >= RARE else ():
            if missing <= 0:
                break
            rows = self.draw_from(self.cover, rng, max(batch, 2 * missing))
            found.append(rows[self.passes(rows)][:missing])
            missing -= len(found[-1])
        if missing > 0:
            found.append(self._walk(rng, missing))
        return np.concatenate(found)

    def draw_from(self, cover: Cover, rng: np.random.Generator, n: int) -> Floats:
        """Snapped rows (n, d), uniform on the boxes of a cover."""
        rows = rng.random((n, self._dimension))
        volumes = cover.volumes
        which = rng.choice(len(volumes), size=n, p=volumes / volumes.sum())
        columns = self._columns
        rows[:, columns] = cover.low[which] + rows[:, columns] * (cover.high - cover.low)[which]
        return self._snap(rows)

    @cached_property
    def acceptance(self) -> float:
        """The share of draws from the cover that are feasible, roughly."""
        rows = self.draw_from(self.cover, np.random.default_rng(0), 4 * TRIAL)
        return float(self.passes(rows).mean())

    def _walk(self, rng: np.random.Generator, n: int) -> Floats:
        """Feasible rows (n, d) after steps of hit-and-run (Smith 1984), the chord found by shrinking (Neal 2003).

        Every step aims at a random row, in all columns or in a few, and comes back along the chord until it is
        feasible.
        """
        assert self.witness is not None
        rows = np.tile(self.witness, (n, 1))
        for _ in range(ROUNDS // 4):
            goals = np.where(rng.random(rows.shape) < rng.random((n, 1)), rng.random(rows.shape), rows)
            waiting, reach = np.arange(n), np.ones((n, 1))
            origin = rows.copy()
            for _ in range(ROUNDS // 2):
                tried = self._snap(origin[waiting] + reach * (goals - origin)[waiting])
                arrived = self.passes(tried)
                rows[waiting[arrived]] = tried[arrived]
                waiting = waiting[~arrived]
                if not len(waiting):
                    break
                reach = reach[~arrived] * rng.random((len(waiting), 1))
        return rows

    def repair(self, rows: Floats, inside: Floats) -> Floats:
        """Feasible snapped rows (n, d): each of `rows`, or the last feasible one on the way to it from `inside`.

        `inside` (n, d) or (d,) must be feasible. Bisection: where the segment leaves the region more than once it ends
        at one of the places.
        """
        start = np.broadcast_to(inside, rows.shape)
        low, high = np.zeros((len(rows), 1)), np.ones((len(rows), 1))
        best = self._snap(rows)
        feasible = self.feasible(best)
        low[feasible] = 1.0
        best[~feasible] = self._snap(start)[~feasible]
        for _ in range(ROUNDS):
            middle = (low + high) / 2
            tried = self._snap(start + middle * (rows - start))
            kept = self.feasible(tried)
            best[kept & ~feasible] = tried[kept & ~feasible]
            low, high = np.where(kept[:, None], middle, low), np.where(kept[:, None], high, middle)
            if (high - low).max(initial=0.0, where=~feasible[:, None]) < NARROW:
                break
        return best

    def lean(self, rows: Floats) -> Floats:
        """Snapped rows (n, d) after Gauss-Newton steps towards the smooth inequalities they violate."""
        if not self.smooth:
            return self._snap(rows)
        for _ in range(ROUNDS // 4):
            lack = np.minimum(self.slack(rows) - MARGIN, 0.0)  # (n, c)
            behind = (lack < 0).any(axis=1) & np.isfinite(lack).all(axis=1)
            if not behind.any():
                break
            slopes = np.where(lack[behind, :, None] < 0, self.slack_slopes(rows[behind]), 0.0)
            steps = np.einsum("ndc,nc->nd", np.linalg.pinv(np.nan_to_num(slopes)), -lack[behind])
            rows = rows.copy()
            rows[behind] = np.clip(rows[behind] + steps, 0.0, 1.0)
        return self._snap(rows)

    # ── finding the region ───────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def witness(self) -> Floats | None:
        """A feasible row (d,); None if there is none, or none that a long search finds."""
        for look in (self._tried, self._covered, self._evolved):
            rows = look(np.random.default_rng(0))
            feasible = self.passes(rows)
            if feasible.any():
                found: Floats = rows[feasible.argmax()]
                return found
            if self._boxes[0] is None:
                return None
        return None

    def conflict(self) -> tuple[tuple[int, ...], bool]:
        """The constraints of an empty region that contradict each other, and whether that is proved.

        None of them can be left out, if they are at most `MOST_BLAMED`.
        """
        boxes, blamed = self._boxes
        if boxes is None:
            return self._fewest(blamed, lambda some: self._pave(some)[0] is None), True
        return self._fewest(self._suspects(), lambda some: self._only(some).witness is None), False

    def _suspects(self) -> tuple[int, ...]:
        """Constraints that no point was found to meet: those that the best row violates, and, as long as all of them
        can be met somewhere, one more that is violated there.
        """
        row: Floats | None = self._evolved(np.random.default_rng(0))[0]
        suspects: list[int] = []
        while row is not None:
            violated = np.flatnonzero(~self.holds(row[None])[0])
            suspects.append(int(next(i for i in violated if i not in suspects)))
            row = self._only(suspects).witness
        return tuple(sorted(suspects))

    def _fewest(self, blamed: tuple[int, ...], contradictory: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
        """Constraints that are `contradictory`, without those that can be left out."""
        if len(blamed) > MOST_BLAMED or not contradictory(blamed):
            return blamed
        for one in blamed:
            fewer = tuple(i for i in blamed if i != one)
            if fewer and contradictory(fewer):
                blamed = fewer
        return blamed

    def _only(self, some: Sequence[int]) -> Region:
        kept = [self._constraints[i] for i in some]
        return Region(self._needed, self._places, kept, self._snap, self._dimension)

    @cached_property
    def cover(self) -> Cover:
        """The whole cube if that is good enough, else boxes from which every part without feasible points is cut."""
        rows = self._tried(np.random.default_rng(0))
        whole = Cover(np.zeros((1, len(self._columns))), np.ones((1, len(self._columns))))
        if self.passes(rows).mean() >= ROOMY:
            return whole
        boxes, _ = self._boxes
        return Cover(self._to_cube(boxes[0]), self._to_cube(boxes[1])) if boxes is not None else whole

    def _tried(self, rng: np.random.Generator) -> Floats:
        return self._snap(rng.random((TRIAL, self._dimension)))

    def _covered(self, rng: np.random.Generator) -> Floats:
        return self.draw_from(self.cover, rng, MOST_BOXES)

    @cached_property
    def _boxes(self) -> tuple[tuple[Floats, Floats] | None, tuple[int, ...]]:
        return self._pave(tuple(range(len(self._constraints))))

    def _evolved(self, rng: np.random.Generator) -> Floats:
        """Rows (n, d) of little violation: the best draws, pushed along slopes, then changed at random and selected."""
        rows = self._best(self._covered(rng))
        rows = self._best(np.concatenate([self.lean(rows), rows]))
        for _ in range(ROUNDS):
            if self.passes(rows[:1])[0]:
                break
            parents = np.repeat(rows, CHILDREN, axis=0)
            mates = rows[rng.integers(len(rows), size=len(parents))]
            changed = rng.random(parents.shape) < rng.random((len(parents), 1))
            reach = 10.0 ** rng.uniform(-4, 0, size=(len(parents), 1))
            noise = np.where(rng.random((len(parents), 1)) < 0.5, rng.standard_normal(parents.shape), mates - parents)
            children = self._snap(np.clip(parents + changed * reach * noise, 0.0, 1.0))
            rows = self._best(np.concatenate([rows, children]))
        return rows

    def _best(self, rows: Floats) -> Floats:
        return rows[np.argsort(self.violation(rows), kind="stable")[:ELITE]]

    # ── boxes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _sides(self) -> list[tuple[Place, int]]:
        """The columns of boxes: those of needed parameters that are free, with the places they belong to."""
        places = [self._places[parameter.name] for parameter in self._needed if parameter.name in self._places]
        return [
            (place, column)
            for place in places
            if place.kept is ...
            for column in range(place.run.start, place.run.stop)
        ]

    @property
    def _columns(self) -> list[int]:
        return [column for _, column in self._sides]

    @cached_property
    def _concerns(self) -> Mask:
        """Which sides (c, k) matter to which constraint, directly or by switching a parameter on and off."""
        concerned = [
            {parameter.name for parameter in _with_ancestors(self._needed, constraint.names)}
            for constraint in self._constraints
        ]
        return np.array(
            [[place.parameter.name in names for place, _ in self._sides] for names in concerned], dtype=bool
        )

    def _pave(self, some: tuple[int, ...]) -> tuple[tuple[Floats, Floats] | None, tuple[int, ...]]:
        """Boxes that hold every point where the constraints `some` hold, None if that is no point; and those to blame.

        Branch and prune (Jaulin et al. 2001): boxes in which some constraint cannot hold are dropped, those in which
        all must hold are kept, the others are halved along the longest side that matters.
        """
        sizes = np.array([float(place.kind.size or 1) for place, _ in self._sides])
        pending = np.zeros((1, len(sizes))), sizes[None]
        kept: list[tuple[Floats, Floats]] = []
        blamed: dict[int, None] = {}
        for _ in range(MOST_SPLITS):
            bounds = self._bounds(pending, some)
            alive = every(bounds.can)
            _blame(~bounds.can[~alive], some, blamed)
            decided = every(bounds.must)
            kept.append(_pick(pending, alive & decided))
            pending, undecided = _pick(pending, alive & ~decided), ~bounds.must[alive & ~decided]
            if self._is_fine(kept, pending):
                break
            small, pending = self._split(pending, undecided @ self._concerns[list(some)])
            kept.append(small)
            if not len(pending[0]):
                break
        low, high = (np.concatenate(ends) for ends in zip(*kept, pending, strict=True))
        return ((low, high) if len(low) else None), tuple(blamed)

    def _is_fine(self, kept: list[tuple[Floats, Floats]], pending: tuple[Floats, Floats]) -> bool:
        """Whether no more splits are worth their while: half the volume is certain, or there are too many boxes."""
        certain = sum(self._volume(boxes) for boxes in kept)
        many = sum(len(low) for low, _ in kept) + 2 * len(pending[0]) > MOST_BOXES
        return many or certain >= self._volume(pending)

    def _volume(self, boxes: tuple[Floats, Floats]) -> float:
        return float(Cover(*map(self._to_cube, boxes)).volumes.sum())

    def _split(
        self, boxes: tuple[Floats, Floats], matters: Mask
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """The boxes that are too small to be split, and the halves of the others."""
        low, high = boxes
        discrete = np.array([place.kind.size is not None for place, _ in self._sides])
        divisible = matters & (high - low > np.where(discrete, 1.0, NARROW))
        lengths = np.where(divisible, self._to_cube(high) - self._to_cube(low), -1.0)
        side = lengths.argmax(axis=1)
        large = lengths.max(axis=1, initial=-1.0) > -1.0
        small, (low, high), side = _pick(boxes, ~large), _pick(boxes, large), side[large]
        every = np.arange(len(low))
        middle = (low[every, side] + high[every, side]) / 2
        middle = np.where(discrete[side], np.floor(middle), middle)
        left, right = high.copy(), low.copy()
        left[every, side], right[every, side] = middle, middle
        return small, (np.concatenate([low, right]), np.concatenate([left, high]))

    def _to_cube(self, ends: Floats) -> Floats:
        """Ends of boxes (m, k) on the unit interval."""
        turned = ends.copy()
        for side, (place, _) in enumerate(self._sides):
            if place.kind.size is not None:
                turned[:, side] = place.kind.edges(ends[:, side])
        return turned

    def _bounds(self, boxes: tuple[Floats, Floats], some: tuple[int, ...]) -> Bounds:
        """Where (m, len(some)) constraints can hold, and where they must."""
        hulls, can_be, must_be = self._survey(*boxes)
        cans, musts = [], []
        with np.errstate(all="ignore"):
            for constraint in (self._constraints[i] for i in some):
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
                levels = [self._places[parent].kind.level(value) for value in wanted]
                matching = sum((begin <= level) & (level < end) for level in levels)
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
        for side, (place, _) in enumerate(self._sides):
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


def _pick(boxes: tuple[Floats, Floats], which: Mask) -> tuple[Floats, Floats]:
    return boxes[0][which], boxes[1][which]


def _blame(violated: Mask, some: tuple[int, ...], blamed: dict[int, None]) -> None:
    """Add to `blamed` as few constraints as explain why boxes (m,) were dropped: each violates (m, len(some)) some."""
    known = [i for i, constraint in enumerate(some) if constraint in blamed]
    violated = violated[~violated[:, known].any(axis=1)]
    while len(violated):
        worst = int(violated.sum(axis=0).argmax())
        blamed[some[worst]] = None
        violated = violated[~violated[:, worst]]
