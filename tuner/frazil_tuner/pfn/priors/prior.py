"""One call for training: a batch of tasks of a kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch

from ..configs import Config
from ..studies import Tasks
from .curves import Curves, draw_curves
from .draws import Draws
from .observed import least_steps, observe, runs_for
from .static import draw_studies
from .tables import Pool, draw_real

Prior = Callable[[Draws, int, int, int, bool], Tasks]
"""(draws, batch, length of contexts, questions, padded) → tasks."""


def prior_of(config: Config, tables: Pool | None) -> Prior:
    """The prior of a network. Without `tables` no task has real curves."""
    if config.shape.kind == "static":
        return draw_studies

    def draw(draws: Draws, batch: int, length: int, questions: int, padded: bool) -> Tasks:
        real = 0 if tables is None else round(config.real * batch)
        runs = sum(runs_for(length))
        curves = draw_curves(draws, batch - real, runs, least_steps(length))
        if tables is not None and real:
            curves = mixed(draws, curves, draw_real(draws, tables, real, runs))
        return observe(draws, curves, length, questions, padded)

    return draw


def mixed(draws: Draws, one: Curves, two: Curves) -> Curves:
    """The tasks of both, in random order."""
    order = draws.uniform(len(one.y) + len(two.y)).argsort()
    pairs = {field.name: (getattr(one, field.name), getattr(two, field.name)) for field in fields(Curves)}
    return Curves(**{name: torch.cat(pair)[order] for name, pair in pairs.items()})
