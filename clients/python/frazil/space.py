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
Role = Literal["tune", "context", "environment"]
"""Who chooses the value: the tuner, whoever asks, or nobody once the model is in use."""
Confidence = Literal["low", "medium", "high"]
"""How sure a prior is; without a word it counts as "medium"."""


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in [low, high]. `prior` is where the best value is expected."""

    low: float
    high: float
    log: Scale = False
    when: When | None = None
    prior: float | None = None
    prior_confidence: Confidence | None = None
    role: Role = "tune"


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in [low, high], in steps of `step` from `low`. `prior` is where the best value is expected."""

    low: int
    high: int
    log: Scale = False
    step: int = 1
    when: When | None = None
    prior: int | None = None
    prior_confidence: Confidence | None = None
    role: Role = "tune"


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of `choices`, which have no order. `prior` is the choice that is expected to be best, or weights of choices:
    {"adamw": 3, "sgd": 1}.
    """

    choices: Sequence[Scalar]
    when: When | None = None
    prior: Scalar | Mapping[Scalar, float] = None
    prior_confidence: Confidence | None = None
    role: Role = "tune"


@dataclass(frozen=True, slots=True)
class Ordinal:
    """One of `values`, in the order in which they stand. `prior` is the value that is expected to be best."""

    values: Sequence[Scalar]
    when: When | None = None
    prior: Scalar = None
    prior_confidence: Confidence | None = None
    role: Role = "tune"


@dataclass(frozen=True, slots=True)
class Bool:
    """True or False. `prior` is what is expected to be better, or weights of both."""

    when: When | None = None
    prior: bool | Mapping[bool, float] | None = None
    prior_confidence: Confidence | None = None
    role: Role = "tune"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always `value`: it travels with every trial and is never varied."""

    value: Scalar
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Simplex:
    """Weights of `components` that sum to one, such as the shares of data sets in a mixture: {"web": 0.7, "code": 0.3}.

    `prior` is the mixture that is expected to be best. In constraints a weight is written `mixture.web`.
    """

    components: Sequence[str]
    when: When | None = None
    prior: Mapping[str, float] | None = None
    prior_confidence: Confidence | None = None
    role: Role = "tune"


@dataclass(frozen=True, slots=True)
class Derived:
    """A number computed from earlier parameters, "batch * accumulation": it travels with every trial, and constraints
    may use it.
    """

    expression: str
    when: When | None = None


Span = float | tuple[float, float]
"""A number, or the lowest and the highest of those that are tried."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A whole schedule, of one of `kinds`, that multiplies the parameter named `peak`.

    `total` is how many steps a run has, the resource's maximum if not said. Shares of the run: `warmup`, `decay` (of
    "wsd"), `cycle` (of "sgdr"); shares of the peak: `final`; `power` (of "polynomial"), `gamma` (of "step"). What
    `trial.params` has is a value for `frazil.schedules`.
    """

    kinds: Sequence[str] = ("linear",)
    peak: str | None = None
    warmup: Span | None = None
    final: Span | None = None
    decay: Span | None = None
    power: Span | None = None
    gamma: Span | None = None
    cycle: Span | None = None
    total: float | None = None
    when: When | None = None


Parameter = Float | Int | Categorical | Ordinal | Bool | Fixed | Simplex | Derived | Schedule
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
    """A metric, the way it should go, and which value of a learning curve counts.

    With `by="comparison"` it is learned from rankings of trials (`Study.compare`), which then need no value.
    """

    metric: str
    direction: Literal["minimize", "maximize"] = "minimize"
    summary: Literal["last", "best"] = "last"
    by: Literal["value", "comparison"] = "value"


def described(value: Parameter | Resource | Objective) -> dict[str, Any]:
    """The contract's JSON for one value."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def described_space(space: Space) -> list[dict[str, Any]]:
    """The contract's list of parameters, in the order of the mapping."""
    return [_described_parameter(name, _as_parameter(given)) for name, given in space.items()]


_UNSAID: Mapping[str, Any] = {
    **dict.fromkeys(("when", "prior", "prior_confidence")), "role": "tune",
    **dict.fromkeys(("peak", "warmup", "final", "decay", "power", "gamma", "cycle", "total")),
}  # fmt: skip
"""Fields that are left out where they have this value."""


def _described_parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    said = {key: value for key, value in described(parameter).items() if key not in _UNSAID or value != _UNSAID[key]}
    if "when" in said:
        said["when"] = {other: _as_list(values) for other, values in said["when"].items()}
    return {"name": name, "type": type(parameter).__name__.lower(), **said}


def _as_parameter(given: Parameter | Sequence[Scalar] | Scalar) -> Parameter:
    if isinstance(given, Parameter):
        return given
    if isinstance(given, Sequence) and not isinstance(given, str):
        return Categorical(given)
    return Fixed(given)


def _as_list(values: Scalar | Sequence[Scalar]) -> list[Scalar]:
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
