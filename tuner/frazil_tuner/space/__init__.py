"""What can be varied: parameters, their conditions, and their encoding to the unit cube. No torch."""

from .kinds import Column
from .parameter import Parameter
from .space import Space

__all__ = ["Column", "Parameter", "Space"]
