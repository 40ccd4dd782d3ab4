"""The table of parameter kinds: a name of the contract, and the reader that makes a `Kind` of the JSON fields."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .base import Column, Kind
from .choices import read_bool, read_categorical, read_fixed, read_ordinal
from .numbers import read_float, read_int
from .simplex import read_simplex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..fields import Fields

__all__ = ["KINDS", "Column", "Kind"]

KINDS: Mapping[str, Callable[[Fields], Kind | None]] = MappingProxyType(
    {
        "float": read_float,
        "int": read_int,
        "categorical": read_categorical,
        "ordinal": read_ordinal,
        "bool": read_bool,
        "fixed": read_fixed,
        "simplex": read_simplex,
    }
)
"""A reader notes every fault in the fields, and answers None if there is one."""
