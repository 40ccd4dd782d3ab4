"""Schedules: what multiplies a learning rate, a batch size or a sequence length while a run goes on. Needs no torch."""

from .kinds import KINDS
from .refinement import refined
from .schedule import Schedule

__all__ = ["KINDS", "Schedule", "refined"]
