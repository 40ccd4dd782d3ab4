"""The protocol of a parameter kind: the values a parameter may take, and the columns that stand for them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ...numerics import Floats
    from .ladders import Levels


class Column(Enum):
    """What a model may make of a column: a continuum, steps in an order, or names that are only equal or different."""

    CONTINUOUS = "continuous"
    ORDERED = "ordered"
    UNORDERED = "unordered"


class Kind(Protocol):
    """A frozen value. `columns` says how many columns of the cube it takes, and of which sort; `size` counts its
    values.

    A kind of finite size has at most one column, a ladder of `size` levels. `parts` names the numbers that expressions
    may use of it: one without a name, one for each component, or none where the values are no numbers.

    A new kind is a class with these members and a reader in `KINDS`.
    """

    @property
    def type(self) -> str: ...

    @property
    def columns(self) -> tuple[Column, ...]: ...

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuum."""
        ...

    @property
    def parts(self) -> tuple[str, ...]: ...

    def to_json(self) -> dict[str, Any]:
        """The fields its reader reads, without name, type and when."""
        ...

    def check(self, value: object) -> Any:
        """The canonical form of a value given from outside; ValueError with the remedy if it is none of this kind."""
        ...

    def encode(self, values: Sequence[Any]) -> Floats:
        """Canonical values (n,) to the columns (n, len(columns)) in the unit cube."""
        ...

    def decode(self, u: Sequence[float]) -> Any:
        """One value from its columns, each in [0, 1]; `decode(encode([v])[0]) == v` for every v that `decode` gives."""
        ...

    def snap(self, u: Floats) -> Floats:
        """The nearest columns (n, len(columns)) that stand for a value exactly."""
        ...

    def matches(self, u: Floats, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Which rows of snapped columns `u` stand for one of `values` (n,). Only for kinds of finite size."""
        ...

    def neighbours(self, u: Floats) -> Floats:
        """Snapped columns (m, len(columns)) one discrete step away from `u` (len(columns),); none in a continuum."""
        ...

    def values(self, resolution: int | None) -> Iterable[Any]:
        """The values of a grid with at most `resolution` numbers on a numeric axis; with None, every value."""
        ...

    def measure(self, value: Any) -> tuple[float, ...]:
        """The numbers (len(parts),) of a canonical value."""
        ...

    def numbers(self, u: Floats) -> Floats:
        """The numbers (n, len(parts)) of what `decode` gives for the rows `u`, to the last bit."""
        ...

    def smooth(self, u: Floats) -> Floats:
        """`numbers` before their rounding: differentiable in continuous columns."""
        ...

    def hull(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """The least and largest numbers (m, len(parts)) in boxes (m, len(columns)), or a little beyond.

        A box is a part of the unit interval in continuous columns, and a run low ≤ level < high in the others.
        """
        ...

    def levels(self, u: Floats) -> Levels:
        """The levels (n,) of rows `u`. Only for kinds of finite size, like the two that follow."""
        ...

    def level(self, value: Any) -> int:
        """The level of a canonical value."""
        ...

    def edges(self, levels: Floats) -> Floats:
        """The places (m,) on the unit interval where levels (m,) begin, 0 for the first and 1 after the last."""
        ...


class Continuum:
    """What kinds of infinite size cannot answer."""

    __slots__ = ()

    def matches(self, u: Floats, values: Sequence[Any]) -> NDArray[np.bool_]:
        raise TypeError("a continuum has no values to match")

    def levels(self, u: Floats) -> Levels:
        raise TypeError("a continuum has no levels")

    def level(self, value: Any) -> int:
        raise TypeError("a continuum has no levels")

    def edges(self, levels: Floats) -> Floats:
        raise TypeError("a continuum has no levels")
