"""Numeric kinds: `float` and `int`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..fields import integer, number, shown
from ..scales import RESOLUTION, SCALES, Scale
from . import ladders
from .base import Column, Continuum

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ...numerics import Floats
    from ..fields import Fields

LARGEST_INT = 10**12
"""Whole numbers beyond this are refused: their logarithms no longer tell neighbours apart."""


@dataclass(frozen=True, slots=True)
class Float(Continuum):
    """Any number in [low, high], on a linear, logarithmic or complement-logarithmic scale."""

    type: ClassVar[str] = "float"
    columns: ClassVar[tuple[Column, ...]] = (Column.CONTINUOUS,)
    size: ClassVar[int | None] = None
    parts: ClassVar[tuple[str, ...]] = ("",)

    low: float
    high: float
    log: bool | str = False

    @property
    def scale(self) -> Scale:
        return SCALES[self.log](self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log}

    def check(self, value: object) -> float:
        given = number(value)
        if not self.low <= given <= self.high:
            raise ValueError(f"must lie between {self.low} and {self.high}, not {shown(value)}")
        return given

    def encode(self, values: Sequence[Any]) -> Floats:
        x = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        return np.clip(self.scale.to_unit(x), 0.0, 1.0)[:, None]

    def decode(self, u: Sequence[float]) -> float:
        return self.scale.from_unit(float(u[0]))

    def stretch(self, value: float) -> float:
        """dx/du at a value: the parameter's units for an edge of the cube."""
        return float(self.scale.slope(np.array([value]))[0])

    def snap(self, u: Floats) -> Floats:
        return u

    def neighbours(self, u: Floats) -> Floats:
        return np.empty((0, 1))

    def values(self, resolution: int | None) -> Iterable[float]:
        if resolution is None:
            raise ValueError("a continuum has no list of all its values")
        ticks = np.linspace(0.0, 1.0, resolution) if resolution > 1 else [0.5]
        return list(dict.fromkeys(self.decode([u]) for u in ticks))

    def measure(self, value: Any) -> tuple[float, ...]:
        return (float(value),)

    def numbers(self, u: Floats) -> Floats:
        from_unit = self.scale.from_unit
        return np.array([[from_unit(x)] for x in u[:, 0].tolist()]).reshape(-1, 1)

    def smooth(self, u: Floats) -> Floats:
        return self.scale.unrounded(u)

    def hull(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        scale = self.scale
        least, most = scale.unrounded(low), scale.unrounded(high)
        down, up = (scale.slope(x) * 10.0**-RESOLUTION for x in (least, most))
        return np.clip(least - down, self.low, self.high), np.clip(most + up, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Int:
    """The whole numbers low, low + step … high, on a linear or logarithmic scale."""

    type: ClassVar[str] = "int"
    columns: ClassVar[tuple[Column, ...]] = (Column.ORDERED,)
    parts: ClassVar[tuple[str, ...]] = ("",)

    low: int
    high: int
    log: bool = False
    step: int = 1

    @property
    def size(self) -> int:
        return (self.high - self.low) // self.step + 1

    @property
    def ladder(self) -> ladders.Ladder:
        return ladders.Logarithmic(self.size, self.low, self.step) if self.log else ladders.Even(self.size)

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def check(self, value: object) -> int:
        given = integer(value)
        if not self.low <= given <= self.high:
            raise ValueError(f"must lie between {self.low} and {self.high}, not {shown(value)}")
        if excess := (given - self.low) % self.step:
            below = given - excess
            raise ValueError(
                f"must be {self.low} plus a multiple of {self.step}: {below} or {below + self.step}, not {given}"
            )
        return given

    def encode(self, values: Sequence[Any]) -> Floats:
        levels = (np.asarray(values, dtype=np.int64) - self.low) // self.step
        return self.ladder.place(np.clip(levels, 0, self.size - 1))[:, None]

    def decode(self, u: Sequence[float]) -> int:
        return self._value(self.ladder.level(np.asarray(u[:1]))[0])

    def stretch(self, value: float) -> float:
        """dx/du around a value: the parameter's units for an edge of the cube."""
        level = min(self.level(value), self.size - 2)
        below, above = self.ladder.place(np.array([level, level + 1]))
        return float(self.step / (above - below))

    def snap(self, u: Floats) -> Floats:
        return ladders.snap(self.ladder, u)

    def matches(self, u: Floats, values: Sequence[Any]) -> NDArray[np.bool_]:
        return np.isin(u[:, 0], self.encode(values)[:, 0])

    def neighbours(self, u: Floats) -> Floats:
        return ladders.strides(self.ladder, u)

    def values(self, resolution: int | None) -> Iterable[int]:
        return [self._value(level) for level in ladders.spread(self.ladder, resolution)]

    def measure(self, value: Any) -> tuple[float, ...]:
        return (float(value),)

    def numbers(self, u: Floats) -> Floats:
        return self._numbers(self.ladder.level(u))

    def smooth(self, u: Floats) -> Floats:
        return self.numbers(u)

    def hull(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        return self._numbers(low), self._numbers(high - 1)

    def levels(self, u: Floats) -> ladders.Levels:
        return self.ladder.level(u[:, 0])

    def level(self, value: Any) -> int:
        return (int(value) - self.low) // self.step

    def edges(self, levels: Floats) -> Floats:
        return self.ladder.edge(levels)

    def _numbers(self, levels: Any) -> Floats:
        return np.asarray(self.low + self.step * levels, dtype=np.float64)

    def _value(self, level: Any) -> int:
        return self.low + self.step * int(level)


def read_float(fields: Fields) -> Float | None:
    kind = Float(fields.number("low"), fields.number("high"), fields.one_of("log", tuple(SCALES), False))
    if fields.sound:
        _examine_range(kind.low, kind.high, fields)
    if fields.sound:
        _examine_scale(kind, fields)
    return kind if fields.sound else None


def read_int(fields: Fields) -> Int | None:
    low, high = fields.integer("low"), fields.integer("high")
    kind = Int(low, high, fields.one_of("log", (False, True), False), fields.integer("step", 1))
    if fields.sound:
        _examine_range(low, high, fields)
    if fields.sound:
        _examine_steps(kind, fields)
    return kind if fields.sound else None


def _examine_range(low: float, high: float, fields: Fields) -> None:
    if low >= high:
        fields.fail("low", f'must be below high, but {low} >= {high}; for a single value use type "fixed"')


def _examine_scale(kind: Float, fields: Fields) -> None:
    match kind.log:
        case True if kind.low < 1e-150:
            fields.fail("low", f'must be at least 1e-150 for a log scale, not {kind.low}; raise it or drop "log"')
        case "complement" if kind.low < 0:
            fields.fail("low", f"must be at least 0 for the complement scale, not {kind.low}")
        case "complement" if kind.high >= 1:
            fields.fail("high", f"must be below 1 for the complement scale, not {kind.high}; try 0.9999")
        case "complement" if 1 - kind.low == 1 - kind.high:
            fields.fail("low", 'is too near high for the complement scale; move it or drop "log"')


def _examine_steps(kind: Int, fields: Fields) -> None:
    for key, bound in (("low", kind.low), ("high", kind.high)):
        if abs(bound) > LARGEST_INT:
            fields.fail(key, f"must lie between -1e12 and 1e12, not {bound}")
    if kind.log and kind.low < 1:
        fields.fail("low", f'must be at least 1 for a log scale, not {kind.low}; raise it or drop "log"')
    if kind.step < 1:
        fields.fail("step", f"must be at least 1, not {kind.step}")
    elif excess := (kind.high - kind.low) % kind.step:
        fits = kind.high - excess
        remedy = f"set high to {fits}" if fits > kind.low else f"choose a step of at most {kind.high - kind.low}"
        fields.fail("step", f"{kind.step} does not lead from {kind.low} to {kind.high}; {remedy}")
