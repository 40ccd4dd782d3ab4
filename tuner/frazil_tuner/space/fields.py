"""Reading JSON objects field by field: every fault is noted with its pointer, and the reading goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LARGEST = 1e150
"""Numbers beyond ±1e150 are refused: ranges and ratios of such numbers overflow a float."""

_ABSENT: Any = object()

T = TypeVar("T")


def pointer(*parts: object) -> str:
    """The JSON pointer (RFC 6901) to a nested field."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def shown(value: object) -> str:
    """`value` as a message shows it, never longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def number(value: object) -> float:
    """`value` as a float; ValueError with the reason for anything that is not a finite number within ±1e150."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {shown(value)}")
    if not (abs(value) < 2 * LARGEST and abs(float(value)) <= LARGEST):  # the integer 10¹⁵⁰ is above the float 1e150
        raise ValueError(f"must be a finite number between -1e150 and 1e150, not {shown(value)}")
    return float(value)


def integer(value: object) -> int:
    """`value` as an int; 3.0 is one, "3" and true are not."""
    exact = number(value)
    if not exact.is_integer():
        raise ValueError(f"must be a whole number, not {shown(value)}")
    return int(exact)


def text(value: object) -> str:
    """A string that JSON and databases can carry: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {shown(value)}")
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"must not contain NUL or lone surrogates: {shown(value)}")
    return value


def scalar(value: object) -> str | int | float | bool | None:
    """A JSON scalar; a number among them must be finite."""
    match value:
        case None | bool():
            return value
        case int() | float():
            number(value)
            return value
        case str():
            return text(value)
    raise ValueError(f"must be a string, a number, true, false or null, not {shown(value)}")


class Fields:
    """One JSON object while it is read. After a fault readers return a harmless stand-in; ask `sound` before use."""

    def __init__(self, item: Mapping[str, Any], at: str, problems: list[Problem]) -> None:
        self._item = item
        self._at = at
        self._problems = problems
        self._known: list[str] = []
        self._ignoring = False
        self.sound = True

    def has(self, key: str) -> bool:
        return key in self._item

    def pointer(self, key: str) -> str:
        """The pointer to a field of this object."""
        return self._at + pointer(key)

    def ignore(self, *keys: str) -> None:
        """These keys are known, but nothing can be said of them here."""
        self._known += keys

    def ignore_rest(self) -> None:
        """The remaining keys belong to something unknown: `close` will not judge them."""
        self._ignoring = True

    def fail(self, path: str, detail: str) -> None:
        """Note a fault of the field at `path`, relative to this object ("low", "choices/3")."""
        self.sound = False
        self._problems.append(Problem(f"{self._at}/{path}", detail))

    def take(self, key: str, default: Any = _ABSENT) -> Any:
        """The raw value of `key`, or the default; a missing required key is a fault."""
        self._known.append(key)
        if key in self._item:
            return self._item[key]
        if default is _ABSENT:
            self.fail(key, f'is missing: add "{key}"')
            return None
        return default

    def number(self, key: str) -> float:
        """A required finite number."""
        value = self.take(key)
        return self.read(key, number, value, 0.0) if self.has(key) else 0.0

    def integer(self, key: str, default: Any = _ABSENT) -> int:
        """A whole number."""
        value = self.take(key, default)
        return self.read(key, integer, value, 0) if self.has(key) or value is not None else 0

    def one_of(self, key: str, allowed: Sequence[Any], default: Any) -> Any:
        """One of `allowed`, told apart by type as well: 1 is not true."""
        value = self.take(key, default)
        if any(type(value) is type(option) and value == option for option in allowed):
            return value
        self.fail(key, f"must be one of {', '.join(map(json.dumps, allowed))}, not {shown(value)}")
        return default

    def scalar(self, key: str) -> Any:
        """A required JSON scalar."""
        value = self.take(key)
        return self.read(key, scalar, value, None) if self.has(key) else None

    def scalars(self, key: str, longest: int) -> tuple[Any, ...]:
        """A required list of 1 to `longest` different JSON scalars."""
        values = self.take(key)
        if not self.has(key):
            return ()
        if not isinstance(values, list | tuple) or not values:
            self.fail(key, f"must be a list with at least one value, not {shown(values)}")
            return ()
        if len(values) > longest:
            self.fail(key, f"has {len(values)} values; at most {longest} are allowed")
            return ()
        read = [self.read(f"{key}/{i}", scalar, value, None) for i, value in enumerate(values)]
        if self.sound:
            self._no_twins(key, read)
        return tuple(read)

    def close(self) -> None:
        """After the last field: whatever is left over is unknown."""
        for key in self._item:
            if key not in self._known and not self._ignoring:
                self.fail(pointer(key)[1:], f"unknown key {shown(key)}; known here: {', '.join(self._known)}")

    def _no_twins(self, key: str, values: Sequence[Any]) -> None:
        first: dict[Any, int] = {}
        for i, value in enumerate(values):
            if first.setdefault(value, i) != i:
                self.fail(
                    f"{key}/{i}", f"{shown(value)} repeats value {first[value]} of the list; name each value once"
                )

    def read(self, path: str, reader: Callable[[object], T], value: object, stand_in: T) -> T:
        """What `reader` makes of `value`; a ValueError is a fault of the field at `path`."""
        try:
            return reader(value)
        except ValueError as fault:
            self.fail(path, str(fault))
            return stand_in
