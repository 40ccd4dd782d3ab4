"""What a study has taught, for people: trade-offs, importances, predictions, advice, regret, and what to do next. Pure
functions of a study with JSON-able answers. Importing this imports no torch.
"""

from __future__ import annotations

from .advice import advice
from .extrapolation import extrapolation
from .importances import METHODS, importances
from .invariance import invariance
from .pareto import pareto
from .predictions import calibration, predictions, slices
from .profiles import profiles
from .ranking import ranking
from .regret import regret
from .scaling import scaling

__all__ = [
    "METHODS",
    "advice",
    "calibration",
    "extrapolation",
    "importances",
    "invariance",
    "pareto",
    "predictions",
    "profiles",
    "ranking",
    "regret",
    "scaling",
    "slices",
]
