"""From the JSON list of the contract to parameters, with every fault named at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import Problem, SpaceInvalid, SpaceUnsupported
from .constraints import Constraint, read_constraint
from .expressions import HULLS, Formula
from .fields import LARGEST, Fields, pointer, shown, text
from .grammar import Unsupported, read_formula
from .kinds import KINDS, Kind
from .kinds.choices import Fixed
from .kinds.computed import Computed
from .kinds.derived import Derived
from .kinds.scheduled import Scheduled, read_scheduled
from .parameter import ROLES, Parameter
from .prior import CONFIDENCES, Belief, read_belief
from .rules import hulls_of

MOST_PARAMETERS = 1_000
LONGEST_NAME = 128
MOST_CONSTRAINTS = 256
LONGEST_TOGETHER = 16_000
"""Characters of all constraints together: what costs a minute to examine is refused at once."""

EXTRAS = ("role", "prior", "prior_confidence", "disabled", "value")
"""Fields that most parameters lack."""

When = tuple[tuple[str, tuple[Any, ...]], ...]
"""Conditions, as a parameter has them."""


class _Reading:
    """One reading: what was found so far. `kinds` has None for parameters whose own fields are at fault."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
        self.kinds: dict[str, Kind | Computed | None] = {}
        self.problems: list[Problem] = []

    def parameters(self, i: int, item: object) -> Iterator[Parameter]:
        """The parameter that an item describes, after those that it is made of."""
        parameter = self._parameter(i, item)
        if parameter is not None and isinstance(parameter.kind, Scheduled):
            yield from _parts_of(parameter)
        if parameter is not None:
            yield parameter

    def _parameter(self, i: int, item: object) -> Parameter | None:
        if not isinstance(item, Mapping):
            self.problems.append(Problem(pointer(i), f"must be an object with name and type, not {shown(item)}"))
            return None
        fields = Fields(item, pointer(i), self.problems)
        name = self._name(fields)
        kind = self._kind(fields, name)
        when = self._when(fields, i)
        extras = self._extras(fields, kind, when)
        fields.close()
        if name is not None:
            self.kinds.setdefault(name, kind)
        if name is None or kind is None:
            return None
        requires = kind.needs if isinstance(kind, Computed) else ()
        return Parameter(name, kind, when, requires, *extras)

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

    def _kind(self, fields: Fields, name: str | None) -> Kind | Computed | None:
        kind = fields.take("type")
        if kind == Derived.type:
            return self._derived(fields)
        if kind == Scheduled.type:
            return read_scheduled(fields, name or "", self.kinds)
        if isinstance(kind, str) and kind in KINDS:
            return KINDS[kind](fields)
        if fields.has("type"):
            known = ", ".join([*KINDS, Derived.type, Scheduled.type])
            fields.fail("type", f"unknown type {shown(kind)}; known are {known}")
            fields.ignore_rest()
        return None

    def _derived(self, fields: Fields) -> Derived | None:
        """A number over earlier parameters, finite wherever they are."""
        expression = fields.take("expression")
        if not fields.has("expression"):
            return None
        formula = fields.read("expression", lambda written: read_formula(written, self.kinds), expression, None)
        if formula is None:
            return None
        if fault := self._range_fault(formula):
            fields.fail("expression", fault)
        return Derived.over(expression, formula, self.kinds) if fields.sound else None

    def _range_fault(self, formula: Formula) -> str | None:
        hulls = hulls_of({name: kind for name, kind in self.kinds.items() if kind and not isinstance(kind, Computed)})
        with np.errstate(all="ignore"):
            low, high, defined = formula.run(HULLS, hulls)
        if np.all(defined) and np.min(low) >= -LARGEST and np.max(high) <= LARGEST:
            return None
        return "may be undefined or beyond ±1e150 somewhere in the space; avoid divisions by zero, and overflows"

    def _extras(self, fields: Fields, kind: Kind | Computed | None, when: When) -> tuple[str, Belief | None, Any]:
        """The role, the prior, and the value if this parameter is disabled."""
        if not any(map(fields.has, EXTRAS)):
            fields.ignore(*EXTRAS)
            return "tune", None, ...
        role = self._role(fields, kind, when)
        return role, self._prior(fields, kind, role), self._disabled(fields, kind)

    def _role(self, fields: Fields, kind: Kind | Computed | None, when: When) -> str:
        role = str(fields.one_of("role", tuple(ROLES), "tune"))
        if role != "tune" and isinstance(kind, Fixed | Computed):
            fields.fail("role", f'a parameter of type "{kind.type}" is not varied; leave "role" out')
        elif role != "tune" and when:
            fields.fail("role", f'"{role}" parameters are always there; leave "when" out')
        return role

    def _prior(self, fields: Fields, kind: Kind | Computed | None, role: str) -> Belief | None:
        prior, confidence = fields.take("prior", None), fields.one_of("prior_confidence", tuple(CONFIDENCES), "medium")
        if not fields.has("prior"):
            if fields.has("prior_confidence"):
                fields.fail("prior_confidence", 'says how sure the "prior" is; add one, or leave this out')
            return None
        if isinstance(kind, Fixed | Computed):
            fields.fail("prior", f'a parameter of type "{kind.type}" is not tuned; leave "prior" out')
        elif role != "tune":
            fields.fail("prior", f'a parameter of role "{role}" is not tuned; leave "prior" out')
        elif kind is not None:
            return fields.read("prior", lambda value: read_belief(value, confidence, kind), prior, None)
        return None

    def _disabled(self, fields: Fields, kind: Kind | Computed | None) -> Any:
        """The value that a disabled parameter keeps, `...` if this one is not disabled."""
        if isinstance(kind, Fixed | Computed):
            return ...
        if kind is None:
            fields.ignore("disabled", "value")
            return ...
        disabled = fields.one_of("disabled", (False, True), False)
        value = fields.take("value", ...)
        if disabled and value is ...:
            fields.fail("value", 'is missing: a disabled parameter keeps one value, add "value"')
        elif value is not ... and not disabled:
            fields.fail("value", 'belongs to disabled parameters only; add "disabled": true, or leave it out')
        elif disabled:
            return fields.read("value", kind.check, value, ...)
        return ...

    def _when(self, fields: Fields, i: int) -> When:
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
        if kind is None:
            return ()
        return tuple(fields.read(f"{at}/{j}", kind.check, value, None) for j, value in enumerate(values))

    def _parent_fault(self, i: int, parent: str) -> str | None:
        if parent not in self.names:
            return f"there is no parameter {shown(parent)}"
        j = self.names.index(parent)
        if j < i:
            kind = self.kinds.get(parent)
            infinite = isinstance(kind, Computed) or (kind is not None and kind.size is None)
            what = "is computed" if isinstance(kind, Computed) else "is a continuum"
            return f"{shown(parent)} {what} and cannot be a condition; use a discrete parameter" if infinite else None
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
    """The parameters `items` describes, those that a schedule is made of before it; SpaceInvalid with all faults."""
    reading = _Reading(_as_list(items))
    parameters = tuple(parameter for i, item in enumerate(reading.items) for parameter in reading.parameters(i, item))
    if reading.problems:
        raise SpaceInvalid(_sentence(reading.problems), problems=tuple(reading.problems))
    return parameters


def _parts_of(schedule: Parameter) -> Iterator[Parameter]:
    assert isinstance(schedule.kind, Scheduled)
    for name, kind, under in schedule.kind.parts_of_it:
        when = schedule.when if under is None else (*schedule.when, (schedule.kind.needs[0], under))
        yield Parameter(name, kind, when, part_of=schedule.name)


def read_constraints(texts: object, parameters: Sequence[Parameter]) -> tuple[Constraint, ...]:
    """The constraints that `texts` describes; SpaceInvalid with all faults, SpaceUnsupported if all are of that sort.

    Pointers start with "/constraints".
    """
    if not isinstance(texts, list | tuple):
        raise _refusal(f"must be a list of strings such as 'a + b <= 1', not {shown(texts)}", "/constraints")
    if len(texts) > MOST_CONSTRAINTS:
        raise _refusal(f"has {len(texts)} constraints; at most {MOST_CONSTRAINTS} are allowed", "/constraints")
    length = sum(len(written) for written in texts if isinstance(written, str))
    if length > LONGEST_TOGETHER:
        detail = f"has constraints of {length} characters; at most {LONGEST_TOGETHER} are allowed"
        raise _refusal(detail, "/constraints")
    problems: list[Problem] = []
    unsupported: list[Problem] = []
    read: list[Constraint] = []
    scope = {parameter.name: parameter.kind for parameter in parameters}
    for i, written in enumerate(texts):
        try:
            read.append(read_constraint(written, scope))
        except ValueError as fault:
            noted = unsupported if isinstance(fault, Unsupported) else problems
            noted.append(Problem(pointer("constraints", i), str(fault)))
    if problems:
        raise SpaceInvalid(_sentence(problems), problems=tuple(problems))
    if unsupported:
        raise SpaceUnsupported(_sentence(unsupported), problems=tuple(unsupported))
    return tuple(read)


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


def _refusal(detail: str, at: str = "") -> SpaceInvalid:
    return SpaceInvalid(f"the space {detail}", problems=(Problem(at, detail),))


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
