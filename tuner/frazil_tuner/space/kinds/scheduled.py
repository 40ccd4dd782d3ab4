"""`schedule`: a whole schedule as a parameter, composed of conditional numbers that the tuner varies.

    {"name": "lr_schedule", "type": "schedule", "kinds": ["linear", "wsd"], "peak": "lr", "warmup": [0, 0.2]}

becomes lr_schedule/kind, lr_schedule/warmup and, where the kind is "wsd", lr_schedule/decay: parameters like others.
Names given by users have no slash.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...schedules import KINDS, Schedule
from ...schedules.schedule import LARGEST_STEP, ScheduleInvalid
from ..fields import number, shown
from .choices import Fixed, Listed
from .computed import Computed
from .numbers import Float

if TYPE_CHECKING:
    from ...numerics import Floats
    from ..fields import Fields
    from .base import Kind

SUGGESTED = tuple(name for name, kind in KINDS.items() if ... not in kind.fields.values())
"""Kinds that a few numbers describe; tables and pieces are only taken from outside."""


@dataclass(frozen=True, slots=True)
class Part:
    """A number of a schedule: the field in `steps` for which it is a share of the run, if it is one; its range where
    the user gives none, a pair, or one number where it is not varied; and the ends it may have.
    """

    steps: str | None
    default: float | tuple[float, float]
    low: float
    high: float


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "warmup": Part("warmup_steps", 0.0, 0.0, 0.9),
        "final": Part(None, 0.0, 0.0, 1.0),
        "decay": Part("decay_steps", (0.05, 0.5), 0.01, 1.0),
        "power": Part(None, (0.5, 2.0), 0.05, 20.0),
        "gamma": Part(None, (0.05, 0.5), 1e-3, 1.0),
        "cycle": Part("cycle_steps", (0.1, 0.5), 0.01, 1.0),
    }
)
"""Every number by the field of the contract that gives its range."""

LEAST_FINAL = 1e-3
"""Where an exponential ends that should come to less."""

STEPS, TRIES = 64, 5
"""Where a foreign schedule is compared with ours, and how many values of each number are tried."""


def has(kind: str, part: str) -> bool:
    """Whether a kind of schedule has such a number."""
    return part == "warmup" or (PARTS[part].steps or part) in KINDS[kind].fields


@dataclass(frozen=True, slots=True)
class Scheduled(Computed):
    """`name` is the parameter's; `ranges` has a pair for each number that is varied, or the number."""

    type: ClassVar[str] = "schedule"

    name: str
    kinds: tuple[str, ...]
    total: float
    peak: str | None
    ranges: tuple[tuple[str, float | tuple[float, float]], ...]

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"{self.name}/kind",)

    @property
    def parts_of_it(self) -> Iterator[tuple[str, Kind, tuple[str, ...] | None]]:
        """The parameters it is made of: name, kind, and the kinds of schedule under which it is there, None for all."""
        kinds = Fixed(self.kinds[0]) if len(self.kinds) == 1 else _choice(self.kinds)
        yield f"{self.name}/kind", kinds, None
        for part, span in self.ranges:
            under = tuple(kind for kind in self.kinds if has(kind, part))
            if under:
                varied = Float(*span, False) if isinstance(span, tuple) else Fixed(span)
                yield f"{self.name}/{part}", varied, None if under == self.kinds else under

    def to_json(self) -> dict[str, Any]:
        ranges = {part: list(span) if isinstance(span, tuple) else span for part, span in self.ranges}
        peak = {} if self.peak is None else {"peak": self.peak}
        return {"kinds": list(self.kinds), "total": self.total, **peak, **ranges}

    def compute(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The schedule that the numbers of a point make."""
        described = {part: point[key] for part in PARTS if (key := f"{self.name}/{part}") in point}
        return self._with_peak(self._made({**described, "kind": point[f"{self.name}/kind"]}), point)

    def confirm(self, given: object, point: Mapping[str, Any]) -> dict[str, Any]:
        """The schedule of the numbers, which were read from what is given; one of another kind is kept as it is."""
        computed = self.compute(point)
        if given is ...:
            return computed
        schedule = self._read(given)
        own = computed.get("peak")
        if schedule.peak is not None and own is not None and abs(schedule.peak - own) > 1e-9 * own:
            raise ValueError(f"has the peak {schedule.peak:g}, but {self.peak} = {own:g}; leave the peak out")
        return computed if schedule.kind in self.kinds else self._with_peak(schedule, point)

    def check(self, value: object) -> Any:
        raise ValueError("is a whole schedule and cannot be kept at one value; give numbers in place of its ranges")

    def split(self, given: object) -> dict[str, Any]:
        """The numbers of a schedule given from outside, by the names of their parameters; of a foreign kind those of
        the one of ours that is most like it. ValueError with the remedy.
        """
        if isinstance(given, Mapping) and given.get("kind") in self.kinds:
            return self._named(self._numbers(self._read(given)))
        return self._named(_nearest(self, json.dumps(self._read(given).to_json())))

    def _named(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{self.name}/{part}": value for part, value in numbers.items()}

    def _read(self, given: object) -> Schedule:
        if not isinstance(given, Mapping):
            raise ValueError(f"must be a schedule such as {self._example()}, not {shown(given)}")
        try:
            schedule = Schedule.of({"total_steps": self.total, **given})
        except ScheduleInvalid as fault:
            first = fault.problems[0]
            raise ValueError(f"{first.pointer[1:] or 'the description'} {first.detail}") from None
        if schedule.total_steps != self.total:
            raise ValueError(f"has {schedule.total_steps:g} total_steps, and a run here {self.total:g}; leave them out")
        if schedule.kind in SUGGESTED and schedule.kind not in self.kinds:
            raise ValueError(f"has kind {schedule.kind!r}; must be {' or '.join(self.kinds)}, or a table or piecewise")
        return schedule

    def _example(self) -> str:
        return shown({"kind": self.kinds[0], "warmup_steps": 0})

    def _numbers(self, schedule: Schedule) -> dict[str, Any]:
        fields = schedule.options
        shares = {
            part: fields[spec.steps] / self.total
            for part, spec in PARTS.items()
            if spec.steps is not None and spec.steps in fields
        }
        others = {part: fields[part] for part, spec in PARTS.items() if spec.steps is None and part in fields}
        if schedule.kind == "exponential" and others["final"] <= LEAST_FINAL:
            others["final"] = min(others["final"], self._lowest_final())
        named = {part for part, _ in self.ranges}
        return {"kind": schedule.kind, **{p: v for p, v in {**shares, **others}.items() if p in named}}

    def _lowest_final(self) -> float:
        span = dict(self.ranges)["final"]
        return span[0] if isinstance(span, tuple) else span

    def _made(self, numbers: Mapping[str, Any]) -> Schedule:
        if numbers["kind"] == "exponential":
            numbers = {**numbers, "final": max(numbers["final"], LEAST_FINAL)}
        return Schedule.of({**numbers, "total_steps": self.total})

    def distance(self, numbers: Mapping[str, Any], wanted: Floats) -> float:
        """The mean distance of the multipliers from those `wanted` (STEPS,), evenly over the run."""
        try:
            found = self._made(numbers).multipliers(self.places())
        except ScheduleInvalid:
            return np.inf
        return float(np.abs(found - wanted).mean())

    def places(self) -> Floats:
        """Steps (STEPS,) evenly over the run."""
        return np.linspace(0.0, self.total, STEPS, endpoint=False)

    def family(self) -> Iterator[dict[str, Any]]:
        """Schedules of ours, spread over their ranges."""
        for kind in self.kinds:
            axes = [(part, span) for part, span in self.ranges if has(kind, part)]
            values = [np.linspace(*span, TRIES).tolist() if isinstance(span, tuple) else [span] for _, span in axes]
            for numbers in itertools.product(*values):
                yield {"kind": kind, **dict(zip((part for part, _ in axes), numbers, strict=True))}

    def _with_peak(self, schedule: Schedule, point: Mapping[str, Any]) -> dict[str, Any]:
        described = schedule.to_json()
        if self.peak is not None and self.peak in point:
            described["peak"] = point[self.peak]
        return described


@lru_cache(256)
def _nearest(kind: Scheduled, foreign: str) -> Mapping[str, Any]:
    """The numbers of the schedule of ours that is most like a foreign one."""
    wanted = Schedule.of(json.loads(foreign)).multipliers(kind.places())
    return min(kind.family(), key=lambda numbers: kind.distance(numbers, wanted))


def _choice(kinds: tuple[str, ...]) -> Listed:
    from .base import Column

    return Listed("categorical", "choices", Column.UNORDERED, kinds)


def read_scheduled(fields: Fields, name: str, known: Mapping[str, Any]) -> Scheduled | None:
    """A reader like those of kinds; `known` are the parameters that came before."""
    kinds = tuple(fields.scalars("kinds", len(SUGGESTED))) if fields.has("kinds") else ("linear",)
    fields.take("kinds", None)
    for i, kind in enumerate(kinds):
        if kind not in SUGGESTED:
            fields.fail(f"kinds/{i}", f"is {shown(kind)}; what can be suggested is {', '.join(SUGGESTED)}")
    total = fields.take("total", None)
    if total is None:
        fields.fail("total", 'is missing: add "total", the steps of a run, or give the study a resource')
    elif fields.read("total", number, total, 0.0) <= 0 or total > LARGEST_STEP:
        fields.fail("total", f"must be above 0 and at most {LARGEST_STEP:g}, not {shown(total)}")
    peak = fields.take("peak", None)
    if peak is not None and getattr(known.get(peak) if isinstance(peak, str) else None, "type", None) != "float":
        fields.fail("peak", f"must name a float parameter that comes before, not {shown(peak)}")
    given = {part: _range(fields, part) for part in PARTS}
    ranges = tuple((part, span) for part, span in given.items() if any(has(k, part) for k in kinds if k in KINDS))
    if fields.sound and _crowded(dict(ranges), kinds):
        fields.fail("decay", "and the warm-up may take more than the whole run together; lower the end of one of them")
    return Scheduled(name, kinds, float(total), peak, ranges) if fields.sound else None


def _range(fields: Fields, part: str) -> float | tuple[float, float]:
    """A pair, or one number where nothing is to be varied."""
    spec, given = PARTS[part], fields.take(part, None)
    if given is None:
        return spec.default
    ends = list(given) if isinstance(given, list | tuple) else [given]
    if not 1 <= len(ends) <= 2:
        fields.fail(part, f"must be one number, or a lowest and a highest one, not {shown(given)}")
        return spec.low
    read = [fields.read(part, number, end, spec.low) for end in ends]
    low, high = read[0], read[-1]
    if not spec.low <= low <= high <= spec.high:
        fields.fail(part, f"must lie between {spec.low:g} and {spec.high:g}, the lower end first, not {shown(given)}")
    return low if low == high else (low, high)


def _crowded(ranges: Mapping[str, float | tuple[float, float]], kinds: tuple[str, ...]) -> bool:
    """Whether some warm-up and some decay are longer than the run together."""
    if "wsd" not in kinds:
        return False
    ends = [span[-1] if isinstance(span, tuple) else span for span in (ranges["warmup"], ranges["decay"])]
    return sum(ends) > 1.0
