"""Every table, so that migrations and their checks see all of them."""

from .comparisons.models import Comparison
from .database import Base
from .events.models import Event
from .studies.models import Candidates, IdempotencyKey, Project, Study
from .suggestions.models import Fit, Suggestion
from .trials.models import Improvement, Measurement, ObsoleteCheckpoint, Trial

__all__ = [
    "Base",
    "Candidates",
    "Comparison",
    "Event",
    "Fit",
    "IdempotencyKey",
    "Improvement",
    "Measurement",
    "ObsoleteCheckpoint",
    "Project",
    "Study",
    "Suggestion",
    "Trial",
]
