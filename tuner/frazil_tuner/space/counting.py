"""How many points a space has, without listing them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .parameter import Parameter

MOST_STATES = 4_096
"""Beyond so many combinations of values that conditions still ask for, a space is called uncountable."""

State = tuple[tuple[str, Any], ...]
"""The values, in order, of the parameters that later conditions ask for; `...` for a value that none of them names."""


def count_points(parameters: Sequence[Parameter]) -> int | None:
    """The number of points; None if some reachable parameter is a continuum, or the conditions are too entangled to
    count.

    Runs through the parameters once and keeps, for each combination of what later conditions ask for, the number of
    points so far: unconditional parameters multiply, and a million combinations of booleans nobody asks for cost
    nothing.
    """
    named, last_use = _asked(parameters)
    ways: Counter[State] = Counter({(): 1})
    for i, parameter in enumerate(parameters):
        extended: Counter[State] = Counter()
        for state, points in ways.items():
            if not parameter.is_active(dict(state)):
                extended[state] += points
                continue
            if parameter.kind.size is None:
                return None
            for addition, factor in _branches(parameter, named.get(parameter.name, set())):
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


def _branches(parameter: Parameter, named: set[Any]) -> list[tuple[State, int]]:
    """What the state gains, and by how many values, when `parameter` takes each named value or any of the others."""
    size = parameter.kind.size or 0
    if not named:
        return [((), size)]
    branches: list[tuple[State, int]] = [(((parameter.name, value),), 1) for value in sorted(named, key=repr)]
    return branches + ([(((parameter.name, ...),), size - len(named))] if size > len(named) else [])


def _forget(ways: Counter[State], needed: set[str]) -> Counter[State]:
    kept: Counter[State] = Counter()
    for state, points in ways.items():
        kept[tuple(entry for entry in state if entry[0] in needed)] += points
    return kept
