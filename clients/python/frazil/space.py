"""What can be varied, what training consumes and what is optimised: the definition of a study, as plain values.

Nothing is checked here. The server refuses a wrong definition when the study is created, and names each field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

Scalar = str | int | float | bool | None
When = Mapping[str, Scalar | Sequence[Scalar]]
"""A condition: other parameters, and the values they must have: {"optimizer": ["sgd", "rmsprop"]} or {"amp": True}."""
Scale = bool | Literal["complement"]
"""False: linear. True: logarithmic. "complement": the logarithm of one minus the value, for 0.9 … 0.9999."""


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in [low, high]."""

    low: float
    high: float
    log: Scale = False
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in [low, high], in steps of `step` from `low`."""

    low: int
    high: int
    log: Scale = False
    step: int = 1
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of `choices`, which have no order."""

    choices: Sequence[Scalar]
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Ordinal:
    """One of `values`, in the order in which they stand."""

    values: Sequence[Scalar]
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Bool:
    """True or False."""

    when: When | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always `value`: it travels with every trial and is never varied."""

    value: Scalar
    when: When | None = None


Parameter = Float | Int | Categorical | Ordinal | Bool | Fixed
Space = Mapping[str, Parameter | Sequence[Scalar] | Scalar]
"""Parameters by name. A list stands for `Categorical`, a single value for `Fixed`."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What training consumes, in whole steps named `name`: a trial runs from step 1 to `max`.

    `min` is the smallest grant worth handing out. "resumable": a frozen trial goes on from its checkpoint. "restart":
    more of the resource means training again from the beginning.
    """

    name: str
    max: int
    min: int = 1
    kind: Literal["resumable", "restart"] = "resumable"


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric, the way it should go, and which value of a learning curve counts."""

    metric: str
    direction: Literal["minimize", "maximize"] = "minimize"
    summary: Literal["last", "best"] = "last"


def described(value: Parameter | Resource | Objective) -> dict[str, Any]:
    """The contract's JSON for one value."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def described_space(space: Space) -> list[dict[str, Any]]:
    """The contract's list of parameters, in the order of the mapping."""
    return [_described_parameter(name, _as_parameter(given)) for name, given in space.items()]


def _described_parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    described_fields = described(parameter)
    when = described_fields.pop("when")
    condition = {"when": {other: _as_list(values) for other, values in when.items()}} if when else {}
    return {"name": name, "type": type(parameter).__name__.lower(), **described_fields, **condition}


def _as_parameter(given: Parameter | Sequence[Scalar] | Scalar) -> Parameter:
    if isinstance(given, Parameter):
        return given
    if isinstance(given, Sequence) and not isinstance(given, str):
        return Categorical(given)
    return Fixed(given)


def _as_list(values: Scalar | Sequence[Scalar]) -> list[Scalar]:
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
