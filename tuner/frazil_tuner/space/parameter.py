"""A parameter: a name, a kind, the conditions under which it is there, and who chooses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .fields import shown
from .kinds.choices import Fixed
from .kinds.computed import Computed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .kinds import Kind
    from .prior import Belief

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "tune": "chosen by the tuner",
        "context": "given by whoever asks",
        "environment": "varies outside anybody's control once the model is in use",
    }
)
"""Who chooses a parameter's value."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """`when` pairs earlier parameters with the values under which this one is active; all of them must hold.

    A parameter also needs the earlier ones in `requires` to be active. `prior` says where its optimum is expected,
    `disabled` is the value that a disabled parameter keeps, `...` for one that is not disabled. One that is `part_of` a
    schedule was not described by itself.
    """

    name: str
    kind: Kind | Computed
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    requires: tuple[str, ...] = ()
    role: str = "tune"
    prior: Belief | None = None
    disabled: Any = field(default=..., hash=False)
    part_of: str | None = None

    def is_active(self, point: Mapping[str, Any]) -> bool:
        """Whether the parameter is active, given the active ones before it."""
        if not self.when and not self.requires:
            return True
        met = all(point.get(parent, ...) in values for parent, values in self.when)
        return met and all(name in point for name in self.requires)

    def value(self, u: Sequence[float], point: Mapping[str, Any]) -> Any:
        """The value that its columns `u` stand for, given the values before it."""
        return self.kind.compute(point) if isinstance(self.kind, Computed) else self.kind.decode(u)

    def admit(self, given: Mapping[str, Any], point: dict[str, Any], kept: Mapping[str, Any]) -> None:
        """Move this parameter's value from `given` into `point`, canonical; ValueError with the remedy if it cannot.

        Values that nobody needs to give are filled in: fixed and derived ones, and those that the space has `kept`.
        """
        if not self.is_active(point):
            if self.name in given:
                raise ValueError(f"is not active here, leave it out; it needs {self._needs()}")
        elif isinstance(self.kind, Computed):
            point[self.name] = self.kind.confirm(given.get(self.name, ...), point)
        elif self.name in given:
            point[self.name] = self.kind.check(given[self.name])
        elif self.name in kept:
            point[self.name] = kept[self.name]
        elif isinstance(self.kind, Fixed):
            point[self.name] = self.kind.value
        else:
            raise ValueError("is missing: every active parameter needs a value")

    def to_json(self) -> dict[str, Any]:
        item = {"name": self.name, "type": self.kind.type, **self.kind.to_json()}
        if self.when:
            item["when"] = {parent: list(values) for parent, values in self.when}
        if self.role != "tune":
            item["role"] = self.role
        if self.prior is not None:
            item |= self.prior.to_json()
        return item if self.disabled is ... else {**item, "disabled": True, "value": self.disabled}

    def _needs(self) -> str:
        conditions = [f"{parent} = {' or '.join(map(shown, values))}" for parent, values in self.when]
        return " and ".join([*conditions, *self.requires])
