"""What we believe of a function's values: models fitted to what was seen. Needs torch."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .base import Belief, Evidence, FitFailed, Surrogate
from .gp import GaussianProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SURROGATES", "Belief", "Evidence", "FitFailed", "GaussianProcess", "Surrogate"]

SURROGATES: Mapping[str, Surrogate] = MappingProxyType({"gp": GaussianProcess()})
"""Every surrogate by the name that policies give it."""
