"""A schedule as a value: read from JSON with every fault named, evaluated at any step, written back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Problem, Refused
from .kinds import DECAY_SHAPES, KINDS

if TYPE_CHECKING:
    from ..numerics import Floats

COMMON = ("kind", "peak", "total_steps", "warmup_steps", "round")
SHARES = {"warmup": "warmup_steps", "decay": "decay_steps", "cycle": "cycle_steps"}
"""Fields that give a share of the run, and the field in steps that each stands for."""

DIGITS = 6
"""Decimals of a step, so that shares of a run survive the way to steps and back."""

LARGEST_STEP, LARGEST_MULTIPLIER = 1e12, 1e6
MOST_ENTRIES = 10_000


class ScheduleInvalid(Refused):
    """A description that is no schedule."""

    code = "schedule_invalid"


@dataclass(frozen=True, slots=True)
class Schedule:
    """`options` are the fields of its kind in steps, the common ones among them; `peak` is what multipliers multiply,
    None where the client knows. `round`: values are rounded to its multiples, at least one, as batch sizes are.
    """

    kind: str
    options: Mapping[str, Any]
    peak: float | None = None
    round: float | None = None

    @classmethod
    def of(cls, described: object) -> Schedule:
        """The schedule that JSON describes. Raises ScheduleInvalid with a pointer to each fault."""
        return _Reading(described).schedule()

    @property
    def total_steps(self) -> float:
        return float(self.options["total_steps"])

    def multipliers(self, steps: Floats | Sequence[float]) -> Floats:
        """m(t) (n,) at steps (n,), none of them negative."""
        t = np.asarray(steps, dtype=np.float64)
        kind, warmup = KINDS[self.kind], self.options["warmup_steps"]
        last = self.total_steps if kind.ends else math.inf
        after = kind.shape(np.clip(t, warmup, last), self.options)
        m: Floats = np.where(t < warmup, self._rising(t), after)
        return m

    def values(self, steps: Floats | Sequence[float]) -> Floats:
        """The peak times the multipliers (n,); without a peak the multipliers."""
        values: Floats = (1.0 if self.peak is None else self.peak) * self.multipliers(steps)
        if self.round is None:
            return values
        rounded: Floats = np.maximum(np.floor(values / self.round + 0.5), 1.0) * self.round
        return rounded

    def to_json(self) -> dict[str, Any]:
        """`Schedule.of(schedule.to_json()) == schedule`."""
        peak = {} if self.peak is None else {"peak": self.peak}
        whole = {} if self.round is None else {"round": _tidy(self.round)}
        return {"kind": self.kind, **peak, **{name: _tidy(value) for name, value in self.options.items()}, **whole}

    def extended(self, total_steps: float) -> Schedule:
        """The schedule of a run of another length: `KINDS[kind].longer` says what that means.

        Raises ScheduleInvalid where the run would end before its warm-up does.
        """
        options, grown = dict(self.options), total_steps / self.total_steps
        if "milestones" in options:
            options["milestones"] = [step * grown for step in options["milestones"]]
        if "multipliers" in options:
            short = math.ceil(total_steps / options["every"]) - len(options["multipliers"])
            options["multipliers"] = [*options["multipliers"], *[options["multipliers"][-1]] * max(short, 0)]
        return Schedule.of({**self.to_json(), **options, "total_steps": total_steps})

    def scaled(self, steps_per_unit: float) -> Schedule:
        """The same schedule where a unit of its steps, an epoch say, is so many steps."""
        options = {name: _times(name, value, steps_per_unit) for name, value in self.options.items()}
        return Schedule.of({**self.to_json(), **options})

    def _rising(self, t: Floats) -> Floats:
        warmup = self.options["warmup_steps"] or 1.0
        if self.kind != "one_cycle":
            return np.asarray(np.minimum((t + 1.0) / warmup, 1.0), dtype=np.float64)
        start = self.options["start"]
        return np.asarray(start + (1 - start) * (1 - np.cos(np.pi * np.minimum(t / warmup, 1.0))) / 2)


def _times(name: str, value: Any, factor: float) -> Any:
    match name:
        case "points":
            return [[step * factor, multiplier] for step, multiplier in value]
        case "milestones":
            return [step * factor for step in value]
        case "every":
            return value * factor
    return value * factor if name.endswith("_steps") else value


def _tidy(value: Any) -> Any:
    """Whole numbers as such, tuples as lists."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [_tidy(item) for item in value] if isinstance(value, tuple | list) else value


class _Reading:
    """One reading: what was found so far."""

    def __init__(self, described: object) -> None:
        self.problems: list[Problem] = []
        if not isinstance(described, Mapping):
            self.fail("", f'must be an object such as {{"kind": "linear", "total_steps": 1000}}, not {described!r:.60}')
            self.stop()
        self.given: Mapping[str, Any] = described if isinstance(described, Mapping) else {}
        self.total = 1.0

    def fail(self, field: str, detail: str) -> None:
        self.problems.append(Problem(f"/{field}" if field else "", detail))

    def stop(self) -> None:
        if self.problems:
            first = self.problems[0]
            detail = f"the schedule's {first.pointer[1:] or 'description'} {first.detail}"
            raise ScheduleInvalid(detail, problems=tuple(self.problems))

    def schedule(self) -> Schedule:
        name = self.given.get("kind", "linear")
        if not isinstance(name, str) or name not in KINDS:
            self.fail("kind", f"is unknown: {name!r:.60}; there are {', '.join(KINDS)}")
        self.stop()
        kind = KINDS[name]
        self.refuse_unknown(
            {*COMMON, "warmup", *kind.fields, *(s for s, long in SHARES.items() if long in kind.fields)}
        )
        total = self.number("total_steps", ..., low=0.0, above=True, high=LARGEST_STEP)
        self.stop()
        self.total = total or 1.0
        options: dict[str, Any] = {"total_steps": self.total}
        options["warmup_steps"] = self.steps("warmup_steps", kind.fields.get("warmup", 0.0))
        if options["warmup_steps"] >= self.total:
            self.fail(
                "warmup_steps" if "warmup_steps" in self.given else "warmup",
                f"takes {options['warmup_steps']:g} steps, and the run has {self.total:g}; warm up for less",
            )
        for field, default in kind.fields.items():
            if field != "warmup":
                options[field] = READERS[field](self, field, default, options)
        peak = self.number("peak", None, low=0.0, above=True, high=1e30)
        whole = self.number("round", None, low=0.0, above=True, high=1e12)
        self.refuse_contradictions(name, options)
        self.stop()
        return Schedule(name, options, peak, whole)

    def refuse_unknown(self, known: set[str]) -> None:
        for field in self.given:
            if field not in known:
                self.fail(
                    str(field), f'is no field of this kind; "{self.given.get("kind", "linear")}" has {_list(known)}'
                )

    def refuse_contradictions(self, name: str, options: Mapping[str, Any]) -> None:
        if name == "exponential" and options["final"] == 0:
            self.fail("final", 'must be above 0: an exponential never comes to 0; take "linear", or a small share')
        if "decay_steps" in options and options["warmup_steps"] + options["decay_steps"] > self.total:
            self.fail("decay_steps", f"and the warm-up take more than the {self.total:g} steps of the run; shorten one")

    def number(self, field: str, default: Any, *, low: float, high: float, above: bool = False) -> Any:
        value = self.given.get(field, default)
        if value is ...:
            self.fail(field, f'is missing: add "{field}"')
            return None
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.fail(field, f"must be a finite number, not {value!r:.60}")
            return None
        if value < low or value > high or (above and value == low):
            self.fail(field, f"must be {'above' if above else 'at least'} {low:g} and at most {high:g}, not {value:g}")
            return None
        return float(value)

    def steps(self, field: str, default: float | None) -> float:
        """A number of steps, or the share of the run that stands for it."""
        share = next(short for short, long in SHARES.items() if long == field)
        if field in self.given and share in self.given:
            self.fail(share, f'says again what "{field}" does; give one of them')
        if field in self.given:
            return self.number(field, 0.0, low=0.0, high=LARGEST_STEP) or 0.0
        return round((self.number(share, default, low=0.0, high=1.0) or 0.0) * self.total, DIGITS)

    def numbers(self, field: str, default: Any) -> list[float]:
        """A list of finite numbers that are not negative."""
        value = self.given.get(field, default)
        if value is ...:
            self.fail(field, f'is missing: add "{field}"')
            return []
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_ENTRIES:
            self.fail(field, f"must be a list of 1 to {MOST_ENTRIES} numbers, not {value!r:.60}")
            return []
        for i, item in enumerate(value):
            if isinstance(item, bool) or not isinstance(item, int | float) or not 0 <= item <= LARGEST_STEP:
                self.fail(f"{field}/{i}", f"must be a finite number that is not negative, not {item!r:.60}")
                return []
        return [float(item) for item in value]


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _share(reading: _Reading, field: str, default: Any, options: Mapping[str, Any]) -> Any:
    return reading.number(field, default, low=0.0, high=1.0)


def _length(reading: _Reading, field: str, default: Any, options: Mapping[str, Any]) -> Any:
    steps = reading.steps(field, default)
    if steps <= 0:
        reading.fail(field, "must be more than 0 steps")
    return steps


def _timescale(reading: _Reading, field: str, default: Any, options: Mapping[str, Any]) -> Any:
    steps = reading.number(field, default, low=0.0, above=True, high=LARGEST_STEP)
    return max(options["warmup_steps"], 1.0) if steps is None else steps


def _milestones(reading: _Reading, field: str, default: Any, options: Mapping[str, Any]) -> Any:
    if field not in reading.given:
        return tuple(round(share * reading.total, DIGITS) for share in default)
    steps = reading.numbers(field, default)
    if any(b <= a for a, b in pairwise(steps)):
        reading.fail(field, "must ascend")
    return tuple(steps)


def _points(reading: _Reading, field: str, default: Any, options: Mapping[str, Any]) -> Any:
    value = reading.given.get(field)
    pairs = value if isinstance(value, list | tuple) else ()
    if not pairs or len(pairs) > MOST_ENTRIES or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        reading.fail(field, f"must be a list of 1 to {MOST_ENTRIES} pairs [step, multiplier]")
        return ()
    flat = _Reading({"numbers": [item for pair in pairs for item in pair]})
    numbers = flat.numbers("numbers", ...)
    reading.problems += [Problem(f"/{field}", problem.detail) for problem in flat.problems]
    points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if any(b[0] <= a[0] for a, b in pairwise(points)):
        reading.fail(field, "must have ascending steps")
    return points


def _multipliers(reading: _Reading, field: str, default: Any, options: Mapping[str, Any]) -> Any:
    entries = tuple(reading.numbers(field, default))
    every = reading.number("every", 1.0, low=0.0, above=True, high=LARGEST_STEP) or 1.0
    reach = len(entries) * every
    if entries and reach < reading.total * (1 - 1e-9):
        needed = math.ceil(reading.total / every)
        reading.fail(field, f'reach to step {reach:g} of {reading.total:g}; give {needed} of them, or a larger "every"')
    if any(entry > LARGEST_MULTIPLIER for entry in entries):
        reading.fail(field, f"must be at most {LARGEST_MULTIPLIER:g}")
    return entries


def _decay_shape(reading: _Reading, field: str, default: Any, options: Mapping[str, Any]) -> Any:
    value = reading.given.get(field, default)
    if value not in DECAY_SHAPES:
        reading.fail(field, f"must be one of {', '.join(DECAY_SHAPES)}, not {value!r:.60}")
    return value


READERS = MappingProxyType(
    {
        "final": _share,
        "start": _share,
        "power": lambda r, f, d, o: r.number(f, d, low=0.0, above=True, high=100.0),
        "gamma": lambda r, f, d, o: r.number(f, d, low=0.0, above=True, high=1.0),
        "growth": lambda r, f, d, o: r.number(f, d, low=1.0, high=100.0),
        "every": lambda r, f, d, o: r.number(f, d, low=0.0, above=True, high=LARGEST_STEP),
        "decay_steps": _length,
        "cycle_steps": _length,
        "timescale_steps": _timescale,
        "milestones": _milestones,
        "points": _points,
        "multipliers": _multipliers,
        "decay_shape": _decay_shape,
    }
)
"""How each field of a kind is read: from a reading, its name, its default and what was read before."""
