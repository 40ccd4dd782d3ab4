"""`python -m frazil_server`."""

from .cli import app

app()
