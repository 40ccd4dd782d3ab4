"""How a range lies on the unit interval: evenly, in logarithm, or in the logarithm of one minus the number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..numerics import Floats

RESOLUTION = 8
"""Numbers are rounded to a decimal no coarser than 10^-RESOLUTION of the unit interval. The rounding is wider than
every error of log and exp, so a number survives the way to the unit interval and back, on any machine, and reads well
besides."""


class Scale(Protocol):
    """A monotone map between [low, high] and [0, 1]."""

    def to_unit(self, x: Floats) -> Floats:
        """Numbers (n,) within the range to the unit interval (n,)."""
        ...

    def from_unit(self, u: float) -> float:
        """The inverse, rounded to a short decimal within the range; `u` in [0, 1]."""
        ...

    def unrounded(self, u: Floats) -> Floats:
        """The inverse (n,) before its rounding, smooth in `u` (n,)."""
        ...

    def slope(self, x: Floats) -> Floats:
        """dx/du (n,) at numbers (n,): rounding moves them by less than 10^-RESOLUTION of it."""
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """u = (x - low) / (high - low)"""

    low: float
    high: float

    def to_unit(self, x: Floats) -> Floats:
        return (x - self.low) / (self.high - self.low)

    def from_unit(self, u: float) -> float:
        span = self.high - self.low
        return _rounded(self.low + u * span, span, self.low, self.high)

    def unrounded(self, u: Floats) -> Floats:
        return self.low + u * (self.high - self.low)

    def slope(self, x: Floats) -> Floats:
        return np.full_like(x, self.high - self.low)


@dataclass(frozen=True, slots=True)
class Log:
    """u = log(x / low) / log(high / low), low > 0; by log1p and expm1, so that a narrow range keeps its digits."""

    low: float
    high: float

    @property
    def _span(self) -> float:
        return math.log1p((self.high - self.low) / self.low)

    def to_unit(self, x: Floats) -> Floats:
        return np.log1p((x - self.low) / self.low) / self._span

    def from_unit(self, u: float) -> float:
        x = self.low + self.low * math.expm1(u * self._span)
        return _rounded(x, x * self._span, self.low, self.high)

    def unrounded(self, u: Floats) -> Floats:
        return np.asarray(self.low + self.low * np.expm1(u * self._span))

    def slope(self, x: Floats) -> Floats:
        return x * self._span


@dataclass(frozen=True, slots=True)
class Complement:
    """u = log((1 - low) / (1 - x)) / log((1 - low) / (1 - high)), 0 ≤ low < high < 1: for 0.9, 0.99, 0.999 …

    Numbers are told apart down to 1e-14, some ninety spacings of floats near one.
    """

    low: float
    high: float

    FINEST: ClassVar[float] = 1e-14

    @property
    def _span(self) -> float:
        return math.log((1.0 - self.low) / (1.0 - self.high))

    def to_unit(self, x: Floats) -> Floats:
        return np.log((1.0 - self.low) / (1.0 - x)) / self._span

    def from_unit(self, u: float) -> float:
        rest = (1.0 - self.low) * math.exp(-u * self._span)
        slope = max(rest * self._span, self.FINEST * 10**RESOLUTION)
        return _rounded(1.0 - rest, slope, self.low, self.high)

    def unrounded(self, u: Floats) -> Floats:
        return np.asarray(1.0 - (1.0 - self.low) * np.exp(-u * self._span))

    def slope(self, x: Floats) -> Floats:
        return np.asarray(np.maximum((1.0 - x) * self._span, self.FINEST * 10**RESOLUTION))


SCALES: Mapping[bool | str, type[Linear] | type[Log] | type[Complement]] = MappingProxyType(
    {False: Linear, True: Log, "complement": Complement}
)
"""The `log` field of the contract to the scale it names."""


def _rounded(x: float, slope: float, low: float, high: float) -> float:
    """`x` to the longest decimal step of at most 10^-RESOLUTION · `slope`, slope = dx/du, and within [low, high]."""
    digits = RESOLUTION - math.floor(math.log10(slope))
    return min(max(round(x, digits), low), high)
