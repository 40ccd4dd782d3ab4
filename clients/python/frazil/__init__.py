"""Frazil's client: ask what to train next, report as it trains, freeze it when told, and thaw it anywhere."""

from . import optimizers as optimizers
from . import schedules as schedules
from .client import Client
from .errors import (
    Conflict,
    Denied,
    FrazilError,
    Invalid,
    LeaseLost,
    NotFound,
    Overloaded,
    Problem,
    StepConflict,
    StudyConflict,
    StudyNotActive,
    TrialFinished,
    TryLater,
    Unreachable,
)
from .knowledge import (
    Advice,
    Best,
    Calibration,
    Foretold,
    Front,
    Importances,
    Observed,
    Prediction,
    Recommended,
    Regret,
    Scaling,
)
from .space import Bool, Categorical, Derived, Fixed, Float, Int, Objective, Ordinal, Resource, Schedule, Simplex
from .study import Study
from .trial import Checkpoint, Trial

__version__ = "0.1.0"

__all__ = [
    "Advice",
    "Best",
    "Bool",
    "Calibration",
    "Categorical",
    "Checkpoint",
    "Client",
    "Conflict",
    "Denied",
    "Derived",
    "Fixed",
    "Float",
    "Foretold",
    "FrazilError",
    "Front",
    "Importances",
    "Int",
    "Invalid",
    "LeaseLost",
    "NotFound",
    "Objective",
    "Observed",
    "Ordinal",
    "Overloaded",
    "Prediction",
    "Problem",
    "Recommended",
    "Regret",
    "Resource",
    "Scaling",
    "Schedule",
    "Simplex",
    "StepConflict",
    "Study",
    "StudyConflict",
    "StudyNotActive",
    "Trial",
    "TrialFinished",
    "TryLater",
    "Unreachable",
]
