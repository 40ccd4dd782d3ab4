"""From the JSON list of the contract to parameters, with every fault named at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..errors import Problem, SpaceInvalid, SpaceUnsupported
from .fields import Fields, pointer, shown, text
from .kinds import KINDS, Kind
from .parameter import Parameter

MOST_PARAMETERS = 1_000
LONGEST_NAME = 128

TYPES_TO_COME: Mapping[str, str] = MappingProxyType(
    {name: f'type "{name}" is not supported yet' for name in ("simplex", "schedule")}
)
FIELDS_TO_COME: Mapping[str, str] = MappingProxyType(
    {name: f'"{name}" is not supported yet; leave it out' for name in ("prior", "prior_confidence")}
)


class _Reading:
    """One reading: what was found so far. `kinds` has None for parameters whose own fields are at fault."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
        self.kinds: dict[str, Kind | None] = {}
        self.problems: list[Problem] = []
        self.to_come: list[Problem] = []

    def parameter(self, i: int, item: object) -> Parameter | None:
        if not isinstance(item, Mapping):
            self.problems.append(Problem(pointer(i), f"must be an object with name and type, not {shown(item)}"))
            return None
        fields = Fields(item, pointer(i), self.problems)
        name = self._name(fields)
        kind = self._kind(fields)
        when = self._when(fields, i)
        fields.close(FIELDS_TO_COME, self.to_come)
        if name is not None:
            self.kinds.setdefault(name, kind)
        return Parameter(name, kind, when) if name is not None and kind is not None else None

    def _name(self, fields: Fields) -> str | None:
        name = fields.take("name")
        if not fields.sound:
            return None
        if fault := _name_fault(name):
            fields.fail("name", fault)
            return None
        if name in self.kinds:
            fields.fail("name", f"{shown(name)} is taken by an earlier parameter; rename one of them")
        return str(name)

    def _kind(self, fields: Fields) -> Kind | None:
        kind = fields.take("type")
        if isinstance(kind, str) and kind in KINDS:
            return KINDS[kind](fields)
        if isinstance(kind, str) and kind in TYPES_TO_COME:
            self.to_come.append(Problem(fields.pointer("type"), TYPES_TO_COME[kind]))
            fields.ignore_rest()
        elif fields.has("type"):
            fields.fail("type", f"unknown type {shown(kind)}; known are {', '.join(KINDS)}")
            fields.ignore_rest()
        return None

    def _when(self, fields: Fields, i: int) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        conditions = fields.take("when", {})
        if not isinstance(conditions, Mapping):
            fields.fail("when", f'must be an object such as {{"optimizer": ["adamw"]}}, not {shown(conditions)}')
            return ()
        return tuple((parent, self._values(fields, i, parent, values)) for parent, values in conditions.items())

    def _values(self, fields: Fields, i: int, parent: str, values: object) -> tuple[Any, ...]:
        """The values of one condition, canonical in the kind of its parent."""
        at = pointer("when", parent)[1:]
        if fault := self._parent_fault(i, parent):
            fields.fail(at, fault)
            return ()
        if not isinstance(values, list | tuple) or not values:
            fields.fail(at, f"must be a list of the values under which this parameter is active, not {shown(values)}")
            return ()
        kind = self.kinds[parent]
        return (
            tuple(fields.read(f"{at}/{j}", kind.check, value, None) for j, value in enumerate(values)) if kind else ()
        )

    def _parent_fault(self, i: int, parent: str) -> str | None:
        if parent not in self.names:
            return f"there is no parameter {shown(parent)}"
        j = self.names.index(parent)
        if j < i:
            kind = self.kinds.get(parent)
            infinite = kind is not None and kind.size is None
            return (
                f"{shown(parent)} is a continuum and cannot be a condition; use a discrete parameter"
                if infinite
                else None
            )
        if i in self._ancestors(j):
            return f"a cycle: {shown(parent)} itself depends on {shown(self.names[i])}; remove one of the conditions"
        return f"{shown(parent)} comes later; put it before {shown(self.names[i])}"

    def _ancestors(self, j: int) -> set[int]:
        """The indices of everything that parameter `j` depends on, itself included."""
        found: set[int] = set()
        waiting = [j]
        while waiting:
            k = waiting.pop()
            if k not in found:
                found.add(k)
                when = self.items[k].get("when")
                waiting += [self.names.index(p) for p in (when if isinstance(when, Mapping) else ()) if p in self.names]
        return found


def read_parameters(items: object) -> tuple[Parameter, ...]:
    """The parameters `items` describes; SpaceInvalid with all faults, SpaceUnsupported if all are features to come."""
    reading = _Reading(_as_list(items))
    parameters = [reading.parameter(i, item) for i, item in enumerate(reading.items)]
    if reading.problems:
        raise SpaceInvalid(_sentence(reading.problems), problems=tuple(reading.problems))
    if reading.to_come:
        raise SpaceUnsupported(_sentence(reading.to_come), problems=tuple(reading.to_come))
    return tuple(parameter for parameter in parameters if parameter is not None)


def _as_list(items: object) -> Sequence[Any]:
    if not isinstance(items, list | tuple):
        raise _refusal(
            f'must be a list of parameters such as [{{"name": "lr", "type": "float", ...}}], not {shown(items)}'
        )
    if not items:
        raise _refusal("must have at least one parameter")
    if len(items) > MOST_PARAMETERS:
        raise _refusal(f"has {len(items)} parameters; at most {MOST_PARAMETERS} are allowed")
    return items


def _refusal(detail: str) -> SpaceInvalid:
    return SpaceInvalid(f"the space {detail}", problems=(Problem("", detail),))


def _name_fault(name: object) -> str | None:
    try:
        written = text(name)
    except ValueError as fault:
        return str(fault)
    if not 1 <= len(written) <= LONGEST_NAME:
        return f"must have 1 to {LONGEST_NAME} characters, not {len(written)}"
    if "/" in written or not written.isprintable():
        return f"must not contain slashes or control characters: {shown(written)}"
    return None


def _sentence(problems: Sequence[Problem]) -> str:
    first = problems[0]
    return f"{first.pointer} {first.detail}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
