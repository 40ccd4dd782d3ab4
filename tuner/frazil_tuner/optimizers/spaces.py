"""From optimizers to a conditional space with priors at their defaults, and to points that are worth a first try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Problem, Refused
from .catalogue import Entry, Tuned, entry_of

TUNE = ("essential", "full")


def space(names: Sequence[str], tune: str = "essential", *, restricted: bool = False) -> list[dict[str, Any]]:
    """The parameters of a space over these optimizers, as the contract has them.

    Of several, "optimizer" says which, and each has parameters of its own, lion_lr and so on; of one they are called lr
    and so on. Its default is the prior of each. Raises Refused for unknown ones, for none, and for those with a
    restriction that was not accepted by `restricted`.
    """
    if tune not in TUNE:
        raise _refused("tune", f'must be "essential" or "full", not {tune!r:.60}')
    entries = _entries(names)
    for entry in entries:
        if entry.restricted and not restricted:
            raise _refused("names", f"{entry.name} is offered on request only: {entry.restricted}; pass restricted")
    which = [entry.name for entry in entries]
    if len(entries) == 1:
        items: list[dict[str, Any]] = [{"name": "optimizer", "type": "fixed", "value": which[0]}]
    else:
        items = [{"name": "optimizer", "type": "categorical", "choices": which}]
    return items + [item for entry in entries for item in _items(entry, tune, alone=len(entries) == 1)]


def portfolio(names: Sequence[str], tune: str = "essential") -> list[dict[str, Any]]:
    """Points of `space(names, tune)` that are worth a first try: of each optimizer those that did well on many
    workloads at once, or its defaults. Round by round, so that the first few already have one of each.
    """
    entries = _entries(names)
    turns = [
        [_point(entry, given, tune, alone=len(entries) == 1) for given in entry.points or ({},)] for entry in entries
    ]
    rounds = max(len(points) for points in turns)
    ordered = [points[i] for i in range(rounds) for points in turns if i < len(points)]
    return [point for i, point in enumerate(ordered) if point not in ordered[:i]]


def _entries(names: Sequence[str]) -> list[Entry]:
    if not names:
        raise _refused("names", "must name at least one optimizer")
    if len(set(names)) < len(names):
        raise _refused("names", "must name each optimizer once")
    return [entry_of(name) for name in names]


def _tuned(entry: Entry, tune: str) -> list[Tuned]:
    return [tuned for tuned in entry.parameters if tune == "full" or tuned.essential]


def _items(entry: Entry, tune: str, *, alone: bool) -> list[dict[str, Any]]:
    when = {} if alone else {"when": {"optimizer": [entry.name]}}
    return [
        {
            "name": tuned.name if alone else f"{entry.name}_{tuned.name}",
            "type": tuned.kind, "low": tuned.low, "high": tuned.high, **({"log": tuned.log} if tuned.log else {}),
            "prior": tuned.default, "prior_confidence": "medium", **when,
        }
        for tuned in _tuned(entry, tune)
    ]  # fmt: skip


def _point(entry: Entry, given: Mapping[str, float], tune: str, *, alone: bool) -> dict[str, Any]:
    values = {
        tuned.name if alone else f"{entry.name}_{tuned.name}": _within(tuned, given.get(tuned.name, tuned.default))
        for tuned in _tuned(entry, tune)
    }
    return {"optimizer": entry.name, **values}


def _within(tuned: Tuned, value: float) -> float:
    return min(max(value, tuned.low), tuned.high)


def _refused(field: str, detail: str) -> Refused:
    return Refused(f"{field} {detail}", code="invalid", problems=(Problem(f"/{field}", detail),))
