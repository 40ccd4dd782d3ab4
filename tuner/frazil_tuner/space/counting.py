"""How many points a space has, without listing them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .kinds.computed import Computed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .kinds import Kind
    from .parameter import Parameter

ENUMERABLE = 10_000
"""Finite spaces of at most so many points may be treated as the list of their points."""

MOST_STATES = 4_096
"""Beyond so many combinations of values that conditions still ask for, a space is called uncountable."""

State = tuple[tuple[str, Any], ...]
"""The values, in order, of the parameters that later conditions ask for; `...` for a value that none of them names."""


def count_points(parameters: Sequence[Parameter], kept: Mapping[str, Any]) -> int | None:
    """The number of points in which parameters have the values `kept`, constraints aside.

    None if some reachable parameter is a continuum, or the conditions are too entangled to count.

    Runs through the parameters once and keeps, for each combination of what later conditions ask for, the number of
    points so far: unconditional parameters multiply, and a million combinations of booleans nobody asks for cost
    nothing.
    """
    named, last_use = _asked(parameters)
    ways: Counter[State] = Counter({(): 1})
    for i, parameter in enumerate(parameters):
        extended: Counter[State] = Counter()
        for state, points in ways.items():
            if isinstance(parameter.kind, Computed) or not parameter.is_active(dict(state)):
                extended[state] += points
                continue
            if parameter.kind.size is None and parameter.name not in kept:
                return None
            known, only = named.get(parameter.name, set()), kept.get(parameter.name, ...)
            for addition, factor in _branches(parameter.name, parameter.kind, known, only):
                extended[state + addition] += points * factor
        ways = _forget(extended, {name for name, use in last_use.items() if use > i})
        if len(ways) > MOST_STATES:
            return None
    return ways.total()


def _asked(parameters: Sequence[Parameter]) -> tuple[dict[str, set[Any]], dict[str, int]]:
    """The values that conditions name, and the index of the last parameter that asks, by the name of the asked."""
    named: dict[str, set[Any]] = {}
    last_use: dict[str, int] = {}
    for i, parameter in enumerate(parameters):
        for parent, values in parameter.when:
            named.setdefault(parent, set()).update(values)
            last_use[parent] = i
    return named, last_use


def _branches(name: str, kind: Kind, named: set[Any], only: Any) -> list[tuple[State, int]]:
    """What the state gains, and by how many values, when a parameter takes each named value or any of the others.

    `only` is the value it keeps, `...` if it may take all.
    """
    size = kind.size or 0
    if not named:
        return [((), size if only is ... else 1)]
    if only is not ...:
        return [(((name, only if only in named else ...),), 1)]
    branches: list[tuple[State, int]] = [(((name, value),), 1) for value in sorted(named, key=repr)]
    return branches + ([(((name, ...),), size - len(named))] if size > len(named) else [])


def _forget(ways: Counter[State], needed: set[str]) -> Counter[State]:
    kept: Counter[State] = Counter()
    for state, points in ways.items():
        kept[tuple(entry for entry in state if entry[0] in needed)] += points
    return kept
