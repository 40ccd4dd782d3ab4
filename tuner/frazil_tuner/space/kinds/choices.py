"""Kinds that list their values: `categorical`, `ordinal` and `bool`; and `fixed`, whose list has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..fields import shown
from . import ladders
from .base import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ...numerics import Floats
    from ..fields import Fields

MOST_CHOICES = 1_000


@dataclass(frozen=True, slots=True)
class Listed:
    """Values in a row, encoded by their place in it. `field` is the JSON key of the list, None for an implied one."""

    type: str
    field: str | None
    column: Column
    items: tuple[Any, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        return (self.column,)

    @property
    def size(self) -> int:
        return len(self.items)

    @property
    def ladder(self) -> ladders.Ladder:
        return ladders.Even(len(self.items))

    def to_json(self) -> dict[str, Any]:
        return {self.field: list(self.items)} if self.field else {}

    def check(self, value: object) -> Any:
        return _item(value, self.items)

    def encode(self, values: Sequence[Any]) -> Floats:
        level = {item: i for i, item in enumerate(self.items)}
        return self.ladder.place(np.array([level[value] for value in values], dtype=np.int64))[:, None]

    def decode(self, u: Sequence[float]) -> Any:
        return self.items[min(int(u[0] * len(self.items)), len(self.items) - 1)]

    def snap(self, u: Floats) -> Floats:
        return ladders.snap(self.ladder, u)

    def matches(self, u: Floats, values: Sequence[Any]) -> NDArray[np.bool_]:
        return np.isin(u[:, 0], self.encode(values)[:, 0])

    def neighbours(self, u: Floats) -> Floats:
        step = ladders.others if self.column is Column.UNORDERED else ladders.strides
        return step(self.ladder, u)

    def values(self, resolution: int | None) -> Iterable[Any]:
        """Every name of an unordered list; an ordered one is thinned to the resolution."""
        if self.column is Column.UNORDERED:
            return self.items
        return [self.items[level] for level in ladders.spread(self.ladder, resolution)]

    @property
    def parts(self) -> tuple[str, ...]:
        return _parts(self.items)

    def measure(self, value: Any) -> tuple[float, ...]:
        return (float(value),)

    def numbers(self, u: Floats) -> Floats:
        return np.array(self.items, dtype=np.float64)[self.ladder.level(u)]

    def smooth(self, u: Floats) -> Floats:
        return self.numbers(u)

    def hull(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        levels, items = np.arange(len(self.items)), np.array(self.items, dtype=np.float64)
        inside = (levels >= low) & (levels < high)  # (m, len(items))
        least, most = (np.where(inside, items, far) for far in (np.inf, -np.inf))
        return least.min(axis=1, keepdims=True), most.max(axis=1, keepdims=True)

    def levels(self, u: Floats) -> ladders.Levels:
        return self.ladder.level(u[:, 0])

    def level(self, value: Any) -> int:
        return self.items.index(value)

    def edges(self, levels: Floats) -> Floats:
        return self.ladder.edge(levels)


@dataclass(frozen=True, slots=True)
class Fixed:
    """One value, passed on to every trial; it takes no column."""

    type: ClassVar[str] = "fixed"
    columns: ClassVar[tuple[Column, ...]] = ()
    size: ClassVar[int | None] = 1

    value: Any

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value}

    def check(self, value: object) -> Any:
        return _item(value, (self.value,))

    def encode(self, values: Sequence[Any]) -> Floats:
        return np.empty((len(values), 0))

    def decode(self, u: Sequence[float]) -> Any:
        return self.value

    def snap(self, u: Floats) -> Floats:
        return u

    def matches(self, u: Floats, values: Sequence[Any]) -> NDArray[np.bool_]:
        return np.full(len(u), self.value in values)

    def neighbours(self, u: Floats) -> Floats:
        return np.empty((0, 0))

    def values(self, resolution: int | None) -> Iterable[Any]:
        return (self.value,)

    @property
    def parts(self) -> tuple[str, ...]:
        return _parts((self.value,))

    def measure(self, value: Any) -> tuple[float, ...]:
        return (float(value),)

    def numbers(self, u: Floats) -> Floats:
        return np.full((len(u), 1), float(self.value))

    def smooth(self, u: Floats) -> Floats:
        return self.numbers(u)

    def hull(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        return self.numbers(low), self.numbers(low)

    def levels(self, u: Floats) -> ladders.Levels:
        return np.zeros(len(u), dtype=np.int64)

    def level(self, value: Any) -> int:
        return 0

    def edges(self, levels: Floats) -> Floats:
        return levels


def read_categorical(fields: Fields) -> Listed | None:
    items = fields.scalars("choices", MOST_CHOICES)
    return Listed("categorical", "choices", Column.UNORDERED, items) if fields.sound else None


def read_ordinal(fields: Fields) -> Listed | None:
    items = fields.scalars("values", MOST_CHOICES)
    return Listed("ordinal", "values", Column.ORDERED, items) if fields.sound else None


def read_bool(fields: Fields) -> Listed | None:
    return Listed("bool", None, Column.UNORDERED, (False, True)) if fields.sound else None


def read_fixed(fields: Fields) -> Fixed | None:
    value = fields.scalar("value")
    return Fixed(value) if fields.sound else None


def _parts(items: Sequence[Any]) -> tuple[str, ...]:
    """One number if all the values are numbers, else none: truth values are names."""
    return ("",) if all(isinstance(item, int | float) and not isinstance(item, bool) for item in items) else ()


def _item(value: object, items: Sequence[Any]) -> Any:
    """The item that equals `value`: 1.0 is 1, but true is not; ValueError if none does."""
    for item in items:
        if item == value and isinstance(item, bool) is isinstance(value, bool):
            return item
    raise ValueError(f"must be {' or '.join(map(repr, items[:20]))}, not {shown(value)}")
