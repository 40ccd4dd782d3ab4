"""The catalogue of optimizers: data, the spaces that they make, and points to start from. Needs no torch."""

from .catalogue import Entry, catalogue, entry_of
from .spaces import portfolio, space

__all__ = ["Entry", "catalogue", "entry_of", "portfolio", "space"]
