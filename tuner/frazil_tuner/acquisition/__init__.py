"""What knowing more would be worth, and where that is largest. Needs torch."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .log_ei import log_ei
from .maximise import Worth, evaluate, search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..surrogates import Belief

__all__ = ["ACQUISITIONS", "Worth", "evaluate", "log_ei", "search"]

ACQUISITIONS: Mapping[str, Callable[[Belief], Worth]] = MappingProxyType({"log_ei": log_ei})
"""Every acquisition by the name that policies give it: a belief in, the worth of each point out."""
