"""The part of a space in which every constraint holds: samples of it, the way back to it, and whether it is empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .paving import NARROW, Cover, Paving, cover_of, pave, whole

if TYPE_CHECKING:
    from ..numerics import Floats
    from .rules import Rules
    from .truths import Mask

TRIAL = 256
"""Uniform rows that show whether the region needs to be looked for at all."""

ROOMY = 1 / 16
"""The share of feasible trial rows from which on draws from the whole cube are good enough."""

RARE = 1 / 200
"""Where fewer draws from the cover than that are feasible, samples are walks from feasible rows found before."""

BATCHES = (16, 64, 256, 1_024, 4_096)
"""Rows drawn, in turn, until there are enough feasible ones."""

LARGE = 4_096
"""Rows drawn at once where many are needed to find a few."""

ELITE = 64
"""Rows from which a hidden region is looked for, and feasible ones that are remembered."""

LEANING = 16
CENTRED = 3
CHILDREN = 8
ROUNDS = 64
STEPS = 12
"""Steps of a walk."""

SECTIONS = 8
"""Parts into which a segment is cut at a time: eight cost hardly more than two, and take a third of the rounds."""

BACK = np.array([0.0, 1e-8, 3e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
"""Parts of a segment to go back by, until rounding does no harm; in the end to where it came from."""

MARGIN = 1e-7
"""How far inside, in edges of the cube, a row is put so that rounding does not carry it out again."""

MOST_BLAMED = 12
"""More constraints than that are not searched for the fewest that contradict each other."""

FEW = 6
"""The same where nothing is proved: every question is a search."""

LENGTHY = 2_000
"""Steps of all formulas together, beyond which searches are shortened in proportion: no definition may hang."""


class Region:
    """The region of some rules; `snap` is the space's."""

    def __init__(self, rules: Rules, snap: Callable[[Floats], Floats]) -> None:
        self.rules = rules
        self._snap = snap
        self._columns = [column for _, column in rules.sides]
        self._thrift = 1 + rules.length // LENGTHY

    # ── sampling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Snapped feasible rows (n, d): uniform on the region by rejection, or, where it is thin, by walks in it."""
        found = [np.empty((0, self.rules.dimension))]
        missing = n
        for batch in BATCHES if self.acceptance >= RARE else ():
            if missing <= 0:
                break
            found.append(self._drawn(rng, max(batch, 2 * missing))[:missing])
            missing -= len(found[-1])
        if missing > 0:
            starts = self._seeds[rng.integers(len(self._seeds), size=missing)]
            found.append(self._walk(rng, starts, self._seeds, self._thrifty(STEPS)))
        return np.concatenate(found)

    @cached_property
    def acceptance(self) -> float:
        """The share of draws from the cover that are feasible, roughly."""
        return len(self._drawn(np.random.default_rng(0), 4 * TRIAL)) / (4 * TRIAL)

    @cached_property
    def cover(self) -> Cover:
        """The whole cube if that is good enough, else boxes from which every part without feasible points is cut."""
        if len(self._only_feasible(self._tried)) >= ROOMY * TRIAL or self._paving.boxes is None:
            return whole(self.rules)
        return cover_of(self.rules, self._paving.boxes)

    @cached_property
    def _paving(self) -> Paving:
        return pave(self.rules, self._thrift)

    @cached_property
    def _tried(self) -> Floats:
        return self._snap(np.random.default_rng(0).random((TRIAL, self.rules.dimension)))

    def _drawn(self, rng: np.random.Generator, n: int) -> Floats:
        """The feasible ones (at most n, d) of n draws from the cover."""
        return self._only_feasible(self._draw(rng, n))

    def _draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Snapped rows (n, d), uniform on the boxes of the cover."""
        rows = rng.random((n, self.rules.dimension))
        volumes = self.cover.volumes
        which = rng.choice(len(volumes), size=n, p=volumes / volumes.sum()) if len(volumes) > 1 else np.zeros(n, int)
        low, high = self.cover.low[which], self.cover.high[which]
        rows[:, self._columns] = low + rows[:, self._columns] * (high - low)
        return self._snap(rows)

    def _only_feasible(self, rows: Floats) -> Floats:
        return rows[self.rules.passes(rows)]

    # ── walking, where draws are hopeless ────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _seeds(self) -> Floats:
        """Feasible rows (at least one, d) to walk from: draws from the cover, or what a search finds."""
        rng = np.random.default_rng(1)
        found = [self._drawn(rng, LARGE) for _ in range(self._thrifty(ROUNDS) if self.acceptance > 0 else 0)]
        seeds = np.unique(np.concatenate([np.empty((0, self.rules.dimension)), *found]), axis=0)
        if len(seeds) >= ELITE:
            return seeds[rng.permutation(len(seeds))[: 4 * ELITE]]
        assert self.witness is not None
        seeds = np.concatenate([seeds, self._only_feasible(self._evolved(ELITE)), self.witness[None]])
        steps = self._thrifty(min(STEPS + 4 * len(self._columns), ROUNDS))
        return self._walk(rng, seeds[rng.integers(len(seeds), size=ELITE)], seeds, steps)

    def _walk(self, rng: np.random.Generator, rows: Floats, seeds: Floats, steps: int) -> Floats:
        """Feasible rows (n, d) after steps along chords (hit-and-run, Smith 1984).

        A step moves along the difference of two seeds (ter Braak 2006), along a random direction in some of the
        columns, or along one column, on either side; the interval shrinks towards the start until the row is feasible
        (Neal 2003).
        """
        for _ in range(steps):
            rows = self._step(rng, rows, self._directions(rng, len(rows), seeds))
        return rows

    def _directions(self, rng: np.random.Generator, n: int, seeds: Floats) -> Floats:
        """Directions (n, d) of each sort for a third of the rows."""
        d = self.rules.dimension
        first, second = (seeds[rng.integers(len(seeds), size=n)] for _ in range(2))
        some = rng.standard_normal((n, d)) * (rng.random((n, d)) < rng.random((n, 1)))
        sides = np.array(self._columns)[rng.integers(len(self._columns), size=n)]
        sorts = np.stack([1.5 * (first - second), some, np.eye(d)[sides]])
        chosen: Floats = sorts[rng.integers(3, size=n), np.arange(n)]
        return chosen

    def _step(self, rng: np.random.Generator, rows: Floats, directions: Floats) -> Floats:
        """Feasible rows (n, d), each somewhere on its chord, or where it was."""
        rows = rows.copy()
        low, high = np.full(len(rows), -1.0), np.ones(len(rows))
        waiting = np.arange(len(rows))
        for _ in range(ROUNDS // 2):
            at = low[waiting] + rng.random(len(waiting)) * (high - low)[waiting]
            straight = rows[waiting] + at[:, None] * directions[waiting]
            tried = self._snap(straight)
            arrived = self.rules.passes(tried) & ((straight >= 0) & (straight <= 1)).all(axis=1)
            rows[waiting[arrived]] = tried[arrived]
            waiting, at = waiting[~arrived], at[~arrived]
            if not len(waiting):
                break
            low[waiting] = np.where(at < 0, at, low[waiting])
            high[waiting] = np.where(at < 0, high[waiting], at)
        return rows

    # ── the way back ─────────────────────────────────────────────────────────────────────────────────────────────────

    def repair(self, rows: Floats, inside: Floats) -> Floats:
        """Feasible snapped rows (n, d): each of `rows`, or the last feasible one on the way to it from `inside`.

        `inside` (n, d) or (d,) must be feasible. Where the segment leaves the region more than once, it ends at one of
        the places.
        """
        start = np.broadcast_to(inside, rows.shape)
        best = self._snap(rows)
        lost = np.flatnonzero(~self.rules.feasible(best))
        if len(lost):
            best[lost] = self._way_back(start[lost], rows[lost])
        return best

    def _way_back(self, start: Floats, goals: Floats) -> Floats:
        """The last feasible rows (n, d) on the way from feasible rows to infeasible ones.

        The end is looked for before rounding: a segment is cut into `SECTIONS`, and the last that begins inside is cut
        again. From there it goes `BACK` until rounding leaves the row inside.
        """
        low, high = np.zeros((len(start), 1)), np.ones((len(start), 1))
        each = np.arange(len(start))
        while (high - low).max() > NARROW:
            marks = low + np.linspace(0.0, 1.0, SECTIONS + 1) * (high - low)
            kept = self._judged(start, goals, marks[:, 1:-1], self.rules.roughly)[1]
            last = np.where(kept.any(axis=1), SECTIONS - 1 - kept[:, ::-1].argmax(axis=1), 0)
            low, high = marks[each, last, None], marks[each, last + 1, None]
        marks = np.maximum(low - BACK, 0.0)
        tried, kept = self._judged(start, goals, marks, self.rules.feasible)
        found: Floats = tried[each, kept.argmax(axis=1)]
        return found

    def _judged(
        self, start: Floats, goals: Floats, marks: Floats, judge: Callable[[Floats], Mask]
    ) -> tuple[Floats, Mask]:
        """Snapped rows (n, m, d) at marks (n, m) of the segments, and which of them (n, m) are accepted."""
        straight = start[:, None] + marks[:, :, None] * (goals - start)[:, None]
        tried = self._snap(straight.reshape(-1, start.shape[1]))
        return tried.reshape(straight.shape), judge(tried).reshape(marks.shape)

    def slack(self, rows: Floats) -> Floats:
        """(n, c): not negative where each of the c smooth inequalities holds, 1 where it does not apply.

        right - left before rounding, over its typical slope near the boundary: about the distance to the boundary in
        edges of the cube.
        """
        return self.rules.slack(rows) / self._slack_scale

    def slack_slopes(self, rows: Floats) -> Floats:
        """The derivatives (n, c, d) of `slack` in continuous columns; 0 in other columns."""
        return self.rules.slopes(rows) / self._slack_scale[:, None]

    @cached_property
    def _slack_scale(self) -> Floats:
        """The median slope (c,) of the quarter of draws that are nearest to the boundary."""
        rows = self._draw(np.random.default_rng(0), TRIAL)
        slopes = np.linalg.norm(self.rules.slopes(rows), axis=2)  # (n, c)
        away = np.abs(self.rules.slack(rows)) / np.where(slopes > 0, slopes, np.nan)
        scales = []
        for slope, distance in zip(slopes.T, away.T, strict=True):
            known = np.flatnonzero(np.isfinite(distance) & np.isfinite(slope))
            near = known[np.argsort(distance[known], kind="stable")[: max(len(known) // 4, 1)]]
            scales.append(float(np.median(slope[near])) if len(near) else 1.0)
        return np.array(scales)

    def lean(self, rows: Floats) -> Floats:
        """Snapped rows (n, d) after Gauss-Newton steps towards the smooth inequalities they violate."""
        if not self.rules.smooth:
            return self._snap(rows)
        for _ in range(self._thrifty(ROUNDS // 4)):
            lack = np.minimum(self.slack(rows) - MARGIN, 0.0)  # (n, c)
            behind = (lack < 0).any(axis=1) & np.isfinite(lack).all(axis=1)
            if not behind.any():
                break
            slopes = np.where(lack[behind, :, None] < 0, self.slack_slopes(rows[behind]), 0.0)
            steps = np.einsum("ndc,nc->nd", np.linalg.pinv(np.nan_to_num(slopes)), -lack[behind])
            rows = rows.copy()
            rows[behind] = np.clip(rows[behind] + steps, 0.0, 1.0)
        return self._snap(rows)

    # ── whether there is anything ────────────────────────────────────────────────────────────────────────────────────

    @property
    def witness(self) -> Floats | None:
        """A feasible row (d,); None if there is none, or none that a long search finds."""
        if self._glance is not None or self._paving.boxes is None:
            return self._glance
        return self._hunt[0]

    def conflict(self) -> tuple[tuple[int, ...], bool]:
        """The constraints of an empty region that contradict each other, and whether that is proved.

        None of them can be left out, if they are at most `MOST_BLAMED`, or `FEW` without a proof.
        """
        if self._paving.boxes is None:
            blamed = self._paving.blamed
            return _fewest(blamed, lambda some: pave(self.rules.only(some), self._thrift).boxes is None), True
        suspects = self._hunt[1]
        found = _fewest(suspects, lambda some: self._only(some)._glance is None) if len(suspects) <= FEW else suspects
        return found, False

    @cached_property
    def _glance(self) -> Floats | None:
        """A feasible row (d,) among draws, or evolved from them; None if that finds none."""
        looks: tuple[Callable[[], Floats], ...] = (
            lambda: self._tried,
            lambda: self._draw(np.random.default_rng(0), self._thrifty(LARGE)),
            lambda: self._evolved(1),
        )
        for look in looks:
            feasible = self._only_feasible(look())
            if len(feasible):
                first: Floats = feasible[0]
                return first
            if self._paving.boxes is None:
                return None
        return None

    @cached_property
    def _hunt(self) -> tuple[Floats | None, tuple[int, ...]]:
        """A feasible row (d,), and if there is none, constraints that no row was found to meet.

        Begins with a constraint that the best row violates, and adds, as long as all of them can be met somewhere, one
        more that is violated there: of many constraints few are in the way.
        """
        row: Floats | None = self._evolved(1)[0]
        suspects: list[int] = []
        while row is not None and len(suspects) < min(MOST_BLAMED, len(self.rules.constraints)):
            violated = np.flatnonzero(~self.rules.holds(row[None])[0])
            if not len(violated):
                return row, ()
            suspects.append(int(violated[0]))
            row = self._only(suspects)._glance
        return None, tuple(sorted(suspects))

    def _thrifty(self, effort: int) -> int:
        """The part of an effort that long formulas leave."""
        return max(effort // self._thrift, 2)

    def _only(self, some: Sequence[int]) -> Region:
        return Region(self.rules.only(some), self._snap)

    def _evolved(self, wanted: int) -> Floats:
        """Rows (at most ELITE, d) of least violation: the best draws, pushed along slopes, then changed at random and
        selected until `wanted` are feasible.
        """
        rng = np.random.default_rng(0)
        rows = self._fittest(self._draw(rng, self._thrifty(LARGE)))
        pushed = [self.lean(rows[:LEANING]), *(self._centred(row) for row in rows[:CENTRED])]
        rows = self._fittest(np.concatenate([*pushed, rows]))
        for _ in range(self._thrifty(ROUNDS)):
            if len(self._only_feasible(rows)) >= wanted:
                break
            rows = self._fittest(np.concatenate([rows, self._children(rng, rows)]))
        return rows

    def _centred(self, row: Floats) -> Floats:
        """Snapped rows (n, d) from `row` (d,) to where the least slack of the smooth inequalities is largest.

        Linear programmes, one after the other, within shrinking steps; of linear inequalities the first is exact.
        """
        from scipy.optimize import linprog

        visited = [row]
        columns = self.rules.continuous_columns
        for reach in 0.5 ** np.arange(self._thrifty(6) if columns else 0):
            here = visited[-1]
            slack, slopes = self.slack(here[None])[0], self.slack_slopes(here[None])[0][:, columns]
            if not (np.isfinite(slack).all() and np.isfinite(slopes).all()):
                break
            bounds = [(max(x - reach, 0.0), min(x + reach, 1.0)) for x in here[columns]]
            answer = linprog(
                c=[*(0.0 for _ in columns), -1.0],
                A_ub=np.hstack([-slopes, np.ones((len(slack), 1))]),
                b_ub=slack - slopes @ here[columns],
                bounds=[*bounds, (None, 1.0)],
            )
            if answer.x is None:
                break
            moved = here.copy()
            moved[columns] = answer.x[:-1]
            visited.append(moved)
        return self._snap(np.clip(np.array(visited), 0.0, 1.0))

    def _children(self, rng: np.random.Generator, rows: Floats) -> Floats:
        """Changed rows (CHILDREN n, d): some columns moved at random, towards another row, or replaced."""
        parents = np.repeat(rows, CHILDREN, axis=0)
        n, d = parents.shape
        mates = rows[rng.integers(len(rows), size=n)]
        changed = rng.random((n, d)) < np.maximum(rng.random((n, 1)) ** 2, 1 / d)
        moves = np.stack([rng.standard_normal((n, d)), mates - parents, rng.random((n, d)) - parents])
        move = moves[rng.integers(3, size=n), np.arange(n)] * 10.0 ** rng.uniform(-4, 0, size=(n, 1))
        return self._snap(np.clip(parents + changed * move, 0.0, 1.0))

    def _fittest(self, rows: Floats) -> Floats:
        """The ELITE different rows of least violation."""
        different = np.unique(rows, axis=0)
        return different[np.argsort(self.rules.violation(different), kind="stable")[:ELITE]]


def _fewest(blamed: tuple[int, ...], contradictory: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
    """Constraints that are `contradictory`, without those that can be left out."""
    if len(blamed) > MOST_BLAMED or not contradictory(blamed):
        return blamed
    for one in blamed:
        fewer = tuple(i for i in blamed if i != one)
        if fewer and contradictory(fewer):
            blamed = fewer
    return blamed
