"""What has no values of its own, but is computed from other parameters of a point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .base import Column


class Computed:
    """Not a `Kind`: it travels with the parameters that it `needs` and takes no column."""

    __slots__ = ()

    type: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]] = ()
    parts: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """The parameters it is computed from."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    def compute(self, point: Mapping[str, Any]) -> Any:
        """The value at a point that has all it needs."""
        raise NotImplementedError

    def confirm(self, given: object, point: Mapping[str, Any]) -> Any:
        """The canonical value; ValueError with the remedy if another one is `given`, `...` for none."""
        raise NotImplementedError

    def check(self, value: object) -> Any:
        """ValueError: nobody sets it by itself."""
        raise NotImplementedError
