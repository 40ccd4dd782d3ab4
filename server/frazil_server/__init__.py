"""Frazil's service: studies, trials and curves in Postgres, suggestions over REST."""

__version__ = "0.1.0"
