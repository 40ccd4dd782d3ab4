"""The protocol of a parameter kind: the values a parameter may take, and the columns that stand for them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ...numerics import Floats


class Column(Enum):
    """What a model may make of a column: a continuum, steps in an order, or names that are only equal or different."""

    CONTINUOUS = "continuous"
    ORDERED = "ordered"
    UNORDERED = "unordered"


class Kind(Protocol):
    """A frozen value. `columns` says how many columns of the cube it takes, and of which sort; `size` counts its
    values.

    A new kind is a class with these members and a reader in `KINDS`; nothing else of the space knows the kinds apart.
    """

    @property
    def type(self) -> str: ...

    @property
    def columns(self) -> tuple[Column, ...]: ...

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuum."""
        ...

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
