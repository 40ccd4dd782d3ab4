"""Options of a policy: the fields of its dataclass, described once, read and shown from that one description."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Problem
from ..space.fields import integer, number, pointer, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..history import Definition

    Objection = Callable[[Any, Definition], str | None]

T = TypeVar("T", int, float, bool, str)

TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
"""The Python type of an option's default to the name that JSON Schema gives it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an option may be, beyond its type; `objection` says what speaks against a value in a study."""

    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    objection: Objection | None = None


def option(
    default: T,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    objection: Objection | None = None,
) -> T:
    """A dataclass field that is an option of a policy; its type is that of the default."""
    limits = Limits(description, low, high, tuple(choices), objection)
    made: T = field(default=default, metadata={"limits": limits})
    return made


def describe_options(policy: type[Any]) -> list[dict[str, Any]]:
    """JSON-able descriptions of the options of a policy class, in the order of its fields."""
    return [_describe(entry, limits) for entry, limits in _options(policy).values()]


def read_options(policy: type[Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The canonical options among `given`, and what is wrong with the others."""
    known = _options(policy)
    options: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in given.items():
        try:
            options[key] = _read(known, key, value)
        except ValueError as fault:
            problems.append(Problem(pointer(key), str(fault)))
    return options, problems


def objections(policy: Any, definition: Definition) -> Iterator[Problem]:
    """What speaks against the options of a policy in a study."""
    for name, (_, limits) in _options(type(policy)).items():
        detail = limits.objection(getattr(policy, name), definition) if limits.objection else None
        if detail is not None:
            yield Problem(pointer(name), detail)


def _options(policy: type[Any]) -> dict[str, tuple[Field[Any], Limits]]:
    return {entry.name: (entry, entry.metadata["limits"]) for entry in fields(policy) if "limits" in entry.metadata}


def _describe(entry: Field[Any], limits: Limits) -> dict[str, Any]:
    assert entry.default is not MISSING
    bounds = {"minimum": limits.low, "maximum": limits.high, "choices": list(limits.choices) or None}
    return {
        "name": entry.name,
        "type": TYPES[type(entry.default)],
        "default": entry.default,
        "description": limits.description,
        **{key: value for key, value in bounds.items() if value is not None},
    }


def _read(known: Mapping[str, tuple[Field[Any], Limits]], key: str, value: object) -> Any:
    """The canonical value of option `key`; ValueError with the remedy."""
    if key not in known:
        raise ValueError(f"unknown option; known here: {', '.join(known) or 'none'}")
    entry, limits = known[key]
    canonical = _READERS[type(entry.default)](value)
    if limits.choices and canonical not in limits.choices:
        raise ValueError(f"must be one of {', '.join(limits.choices)}, not {shown(value)}")
    if limits.low is not None and canonical < limits.low:
        raise ValueError(f"must be at least {limits.low}, not {shown(value)}")
    if limits.high is not None and canonical > limits.high:
        raise ValueError(f"must be at most {limits.high}, not {shown(value)}")
    return canonical


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {shown(value)}")
    return value


_READERS: Mapping[type, Callable[[object], Any]] = {bool: _boolean, int: integer, float: number, str: _string}
