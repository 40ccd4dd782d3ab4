"""`derived`: a number computed from earlier parameters; it travels with them and takes no column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..expressions import SORTS, Formula, Variable, plainly
from ..fields import number, shown
from .computed import Computed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .base import Kind

AGREEMENT = 1e-9
"""How far, relatively, a given value may be from the computed one."""


@dataclass(frozen=True, slots=True)
class Derived(Computed):
    """The value of `formula`, written `expression`, over numbers of other parameters, an int if it must be whole.

    `sources` says where each variable is in a point: under a name, and
    under a component of what is there.
    """

    type: ClassVar[str] = "derived"
    parts: ClassVar[tuple[str, ...]] = ("",)

    expression: str
    formula: Formula
    sources: tuple[tuple[Variable, str | None], ...]
    whole: bool

    @classmethod
    def over(cls, expression: str, formula: Formula, scope: Mapping[str, Kind | Computed | None]) -> Derived:
        """The derived kind whose formula names parameters of `scope`."""
        found = {variable: scope[variable.name] for variable in sorted(formula.variables)}
        kinds = {variable: kind for variable, kind in found.items() if kind and not isinstance(kind, Computed)}
        sources = tuple((variable, kind.parts[variable.part] or None) for variable, kind in kinds.items())
        sort = formula.run(SORTS, {variable: _sort(kind) for variable, kind in kinds.items()})
        return cls(expression, formula, sources, sort > 0)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(variable.name for variable, _ in self.sources))

    def to_json(self) -> dict[str, Any]:
        return {"expression": self.expression}

    def compute(self, point: Mapping[str, Any]) -> int | float:
        values = {
            variable: float(point[variable.name] if component is None else point[variable.name][component])
            for variable, component in self.sources
        }
        value = float(plainly(self.formula, values))
        return int(value) if self.whole else value

    def confirm(self, given: object, point: Mapping[str, Any]) -> int | float:
        """The computed value; ValueError if another one is `given`, `...` for none."""
        value = self.compute(point)
        if given is not ... and not math.isclose(number(given), value, rel_tol=AGREEMENT, abs_tol=AGREEMENT**2):
            raise ValueError(f"is computed: {self.expression} = {value} here, not {shown(given)}; leave it out")
        return value

    def check(self, value: object) -> Any:
        raise ValueError(f"is computed as {self.expression}; set what it is computed from")


def _sort(kind: Kind) -> int:
    """2 for natural numbers, 1 for whole ones, 0 for others; by the ends of an `int`, by every value of a list."""
    if kind.size is None:
        return 0
    values = list(kind.values(2 if kind.type == "int" else None))
    return 0 if not all(isinstance(value, int) for value in values) else 2 if min(values) >= 0 else 1
