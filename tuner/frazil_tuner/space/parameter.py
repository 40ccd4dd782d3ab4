"""A parameter: a name, a kind, and the conditions under which it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .fields import shown
from .kinds.choices import Fixed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .kinds import Kind


@dataclass(frozen=True, slots=True)
class Parameter:
    """`when` pairs earlier parameters with the values under which this one is active; all of them must hold."""

    name: str
    kind: Kind
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def is_active(self, point: Mapping[str, Any]) -> bool:
        """Whether the parameter is active, given the active ones before it."""
        return all(point.get(parent, ...) in values for parent, values in self.when)

    def admit(self, given: Mapping[str, Any], point: dict[str, Any]) -> None:
        """Move this parameter's value from `given` into `point`, canonical; ValueError with the remedy if it cannot."""
        if not self.is_active(point):
            if self.name in given:
                raise ValueError(f"is not active here, leave it out; it needs {self._needs()}")
        elif self.name in given:
            point[self.name] = self.kind.check(given[self.name])
        elif isinstance(self.kind, Fixed):
            point[self.name] = self.kind.value
        else:
            raise ValueError("is missing: every active parameter needs a value")

    def to_json(self) -> dict[str, Any]:
        item = {"name": self.name, "type": self.kind.type, **self.kind.to_json()}
        if self.when:
            item["when"] = {parent: list(values) for parent, values in self.when}
        return item

    def _needs(self) -> str:
        return " and ".join(f"{parent} = {' or '.join(map(shown, values))}" for parent, values in self.when)
