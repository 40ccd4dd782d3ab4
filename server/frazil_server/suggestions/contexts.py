"""The context of an ask: what the client finds around it and cannot choose, while the rest is optimised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frazil_tuner.errors import Problem, Refused
from frazil_tuner.history import Params
from frazil_tuner.space import Space
from frazil_tuner.space.fields import pointer


def read_context(space: Space, given: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical context, in the order of the space.

    Raises `Refused` (context_invalid), naming every key that is missing, unknown or has a bad value.
    """
    kinds = {parameter.name: parameter.kind for parameter in space.parameters if parameter.role == "context"}
    problems = [Problem(pointer("context", name), _unknown(space, name)) for name in given if name not in kinds]
    context = {}
    for name, kind in kinds.items():
        try:
            context[name] = kind.check(given[name])
        except KeyError:
            problems.append(Problem(pointer("context", name), "missing: an ask says what the context is"))
        except ValueError as fault:
            problems.append(Problem(pointer("context", name), str(fault)))
    if problems:
        first = problems[0]
        raise Refused(f"{first.pointer}: {first.detail}.", code="context_invalid", problems=tuple(problems))
    return context


def _unknown(space: Space, name: str) -> str:
    names = space.names_of("context")
    if not names:
        return 'this study has no context; give a parameter "role": "context" in its space'
    return f"no parameter of the context; it has {', '.join(names)}"


def suits(params: Params, context: Mapping[str, Any]) -> bool:
    """Whether a configuration was made for this context."""
    return all(params.get(name) == value for name, value in context.items())
