"""Changes of a space in mid-study: whatever keeps every earlier point a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import Problem, SpaceInvalid
from .fields import pointer, shown
from .kinds.choices import Fixed
from .kinds.derived import Derived
from .kinds.numbers import Int
from .kinds.scheduled import Scheduled
from .reading import read_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .parameter import Parameter


def _may_fall(old: Any, new: Any) -> str | None:
    return None if new <= old else f"may only fall in mid-study, from {old}: trials may lie below {new}"


def _may_rise(old: Any, new: Any) -> str | None:
    return None if new >= old else f"may only rise in mid-study, from {old}: trials may lie above {new}"


def _may_gain(old: Sequence[Any], new: Sequence[Any]) -> str | None:
    lost = [value for value in old if not any(_same(value, other) for other in new)]
    return f"must keep {shown(lost[0])}: trials may have it" if lost else None


def _may_be_filled(old: Sequence[Any], new: Sequence[Any]) -> str | None:
    rest = iter(new)
    lost = [value for value in old if not any(_same(value, other) for other in rest)]
    return f"must keep {shown(lost[0])} in its place in the order" if lost else None


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) is isinstance(b, bool)


WIDENINGS: Mapping[str, Callable[[Any, Any], str | None]] = MappingProxyType(
    {"low": _may_fall, "high": _may_rise, "choices": _may_gain, "values": _may_be_filled}
)
"""A field that may change in mid-study, and what is wrong with a change of it, if anything."""

ENDS, LISTS = ("low", "high"), ("choices", "values")
SWITCHES = ("disabled", "value")


def edited_items(parameters: Sequence[Parameter], changes: object) -> list[dict[str, Any]]:
    """The description of a space after `changes`. SpaceInvalid with pointers into them for what is no widening."""
    if not isinstance(changes, list | tuple):
        example = {"name": "lr", "high": 1.0}
        raise _refusal([Problem("", f"must be a list of changes such as {shown(example)}, not {shown(changes)}")])
    before = {parameter.name: parameter for parameter in parameters if parameter.part_of is None}
    items = {name: parameter.to_json() for name, parameter in before.items()}
    problems = [fault for i, change in enumerate(changes) for fault in _apply(items, i, change)]
    if problems:
        raise _refusal(problems)
    after = _read(list(items.values()), changes)
    problems = [fault for i, change in enumerate(changes) for fault in _examine(before, after, i, change)]
    if problems:
        raise _refusal(problems)
    return [parameter.to_json() for parameter in after.values()]


def _apply(items: dict[str, dict[str, Any]], i: int, change: object) -> Iterator[Problem]:
    """Merge a change into the item it names; or say why it cannot be."""
    if not isinstance(change, Mapping):
        yield Problem(pointer(i), f"must be an object with a name and what changes, not {shown(change)}")
        return
    name = change.get("name")
    item = items.get(name) if isinstance(name, str) else None
    if item is None:
        known = ", ".join(list(items)[:20])
        yield Problem(pointer(i, "name"), f"there is no parameter {shown(name)}; there are {known}")
        return
    possible = _possible(item)
    for key in change:
        if key != "name" and key not in possible:
            remedy = f"what may change here is {', '.join(possible) or 'nothing'}; for anything else start a new study"
            yield Problem(pointer(i, key), f"cannot change in mid-study; {remedy}")
        elif (
            key in LISTS and isinstance(change[key], list | tuple) and (fault := WIDENINGS[key](item[key], change[key]))
        ):
            yield Problem(pointer(i, key), fault)
    item |= change
    if change.get("disabled") is False and "value" not in change:
        item.pop("value", None)


def _possible(item: Mapping[str, Any]) -> list[str]:
    """The fields of an item that may change."""
    varied = item["type"] not in (Fixed.type, Derived.type, Scheduled.type)
    return [*(field for field in WIDENINGS if field in item), *SWITCHES] if varied else []


def _read(items: list[dict[str, Any]], changes: Sequence[Any]) -> dict[str, Parameter]:
    """The parameters of merged items, by name; what is wrong with them is said of the change it comes from."""
    try:
        return {parameter.name: parameter for parameter in read_parameters(items) if parameter.part_of is None}
    except SpaceInvalid as refusal:
        origin = {change["name"]: i for i, change in enumerate(changes)}
        problems = []
        for problem in refusal.problems:
            _, index, *rest = problem.pointer.split("/")
            name = items[int(index)]["name"]
            at = "/".join(["", str(origin[name]), *rest]) if name in origin else ""
            problems.append(Problem(at, problem.detail if at else f"then {shown(name)} {problem.detail}"))
        raise _refusal(problems) from None


def _examine(
    before: Mapping[str, Parameter], after: Mapping[str, Parameter], i: int, change: Mapping[str, Any]
) -> Iterator[Problem]:
    """What of a change would leave earlier points outside."""
    old, new = before[change["name"]].to_json(), after[change["name"]].to_json()
    for key in change:
        fault = WIDENINGS[key](old[key], new[key]) if key in ENDS else None
        if key == "low" and fault is None:
            fault = _off_the_ladder(before[change["name"]], after[change["name"]])
        if fault is not None:
            yield Problem(pointer(i, key), fault)


def _off_the_ladder(old: Parameter, new: Parameter) -> str | None:
    """Whether the steps of an `int` no longer meet the earlier values."""
    if isinstance(old.kind, Int) and isinstance(new.kind, Int) and (old.kind.low - new.kind.low) % old.kind.step:
        return f"must be {old.kind.low} minus a multiple of {old.kind.step}, so that earlier values stay in the space"
    return None


def _refusal(problems: list[Problem]) -> SpaceInvalid:
    first = problems[0]
    return SpaceInvalid(f"the space cannot change so: {first.pointer} {first.detail}", problems=tuple(problems))
