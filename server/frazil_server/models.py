"""Every table, so that migrations and their checks see all of them."""

from .database import Base
from .events.models import Event
from .studies.models import Candidates, IdempotencyKey, Project, Study
from .suggestions.models import Suggestion
from .trials.models import Measurement, Trial

__all__ = ["Base", "Candidates", "Event", "IdempotencyKey", "Measurement", "Project", "Study", "Suggestion", "Trial"]
