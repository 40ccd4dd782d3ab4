"""What can be varied: parameters, their conditions and constraints, and their encoding to the unit cube. No torch."""

from .counting import ENUMERABLE
from .kinds import Column
from .parameter import Parameter
from .prior import Prior
from .space import Space

__all__ = ["ENUMERABLE", "Column", "Parameter", "Prior", "Space"]
