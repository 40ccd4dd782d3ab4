"""What we believe of learning curves: models fitted to what was seen of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .base import CurveBelief, CurveModel, Curves, Predictive, Where
from .gp import FreezeThaw
from .guard import Guarded
from .last import Last
from .newcomers import WithNewcomers
from .pfn import PriorFitted
from .predictive import Mixture
from .reading import observed_trials, read_curves
from .regression import Regression

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CURVE_MODELS",
    "CurveBelief",
    "CurveModel",
    "Curves",
    "FreezeThaw",
    "Guarded",
    "Last",
    "Mixture",
    "Predictive",
    "PriorFitted",
    "Regression",
    "Where",
    "WithNewcomers",
    "observed_trials",
    "read_curves",
]

CURVE_MODELS: Mapping[str, CurveModel] = MappingProxyType(
    {
        "gp": FreezeThaw(),
        "pfn": PriorFitted(),
        "guarded": WithNewcomers(Guarded()),
        "regression": Regression(),
        "last": Last(),
    }
)
"""Every model of curves by the name that policies give it."""
