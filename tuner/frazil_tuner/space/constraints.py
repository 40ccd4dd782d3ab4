"""A constraint on parameters: its text, the truth it stands for, and the parameters it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .fields import shown, text
from .grammar import Scope, read_truth
from .kinds.derived import Derived

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .truths import Truth


@dataclass(frozen=True, slots=True)
class Constraint:
    """It holds where one of `names` is not active: what is not there breaks no rule."""

    text: str
    truth: Truth
    names: tuple[str, ...]

    def complaint(self, point: Mapping[str, Any]) -> str:
        """What to say of a point that violates it."""
        facts = ", ".join(f"{name} = {shown(point[name])}" for name in self.names)
        return f"violates the constraint {shown(self.text)}: {facts}; change one of them"


def read_constraint(written: object, scope: Scope) -> Constraint:
    """The constraint over `scope` that `written` describes; ValueError with the remedy if it is none."""
    truth, named = read_truth(written, scope)
    derived = [kind for kind in map(scope.get, named) if isinstance(kind, Derived)]
    needed = [name for kind in derived for name in kind.needs]
    return Constraint(text(written), truth, tuple(dict.fromkeys([*named, *needed])))
