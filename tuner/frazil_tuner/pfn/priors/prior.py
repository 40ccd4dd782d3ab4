"""One call for training: a batch of tasks of a kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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
            curves = joined(curves, draw_real(draws, tables, real, runs))
        return observe(draws, curves, length, questions, padded)

    return draw


def joined(one: Curves, two: Curves) -> Curves:
    def both(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second])

    return Curves(
        both(one.x, two.x),
        both(one.active, two.active),
        both(one.y, two.y),
        both(one.t, two.t),
        both(one.steps, two.steps),
        both(one.moments, two.moments),
    )
