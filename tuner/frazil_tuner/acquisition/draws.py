"""Where the optimum may lie: draws of the whole function, and where each is largest. Needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .feasibility import PROBABLE, different, feasible_points, log_feasibility

if TYPE_CHECKING:
    from ..surrogates import Belief
    from .outlook import Outlook

SPREAD, LEADERS, NEARBY = 192, 4, 16
"""Places at which a function is drawn: points all over the space, and points around each of the best points seen."""

DRAWS = 16
"""Functions drawn from a single belief. From a belief with S imagined outcomes one is drawn for each."""


@dataclass(frozen=True, slots=True)
class Optima:
    """The maxima `values` (D,) of D drawn functions, and the places (D, d) where they are."""

    places: Tensor
    values: Tensor


@torch.no_grad()
def drawn_optima(outlook: Outlook) -> Optima:
    """The largest value of each drawn function at the anchors and seen points that are probably feasible.

    One is drawn for each imagined outcome, `DRAWS` if there is only one.
    """
    drawn = draw(outlook, anchors(outlook), DRAWS)
    places = drawn.points
    probable = log_feasibility(outlook)(places) >= math.log(PROBABLE)
    best = torch.where(probable, drawn.posterior(places)[0], -math.inf).max(1)
    return Optima(places[best.indices], best.values)


def draw(outlook: Outlook, x: Tensor, count: int) -> Belief:
    """The objective drawn without noise at x (a, d): once for each imagined outcome, `count` times if there is one."""
    belief = outlook.belief
    paths = len(belief.incumbent)
    return belief.imagine(x, count if paths == 1 else paths, outlook.rng, noiseless=True)


@torch.no_grad()
def anchors(outlook: Outlook) -> Tensor:
    """Different points (a, d) of the space among which the optimum may be: all over it, and around the best seen."""
    rng, space, best = outlook.rng, outlook.space, leaders(outlook, LEADERS)
    wide = space.sample(np.random.default_rng(chance(rng)), SPREAD)
    reach = 10.0 ** -(1 + 2 * torch.rand(NEARBY, len(best), 1, generator=rng, dtype=torch.float64))
    near = best + reach * torch.randn(NEARBY, *best.shape, generator=rng, dtype=torch.float64)
    rows = np.concatenate([wide, space.snap(near.flatten(0, 1).numpy())])
    return different(torch.from_numpy(rows[space.feasible(rows)]))


@torch.no_grad()
def leaders(outlook: Outlook, count: int, optimism: float = 1.0) -> Tensor:
    """Of the feasible points seen, different ones (at most count, d): of the largest mean + optimism · deviation."""
    belief = outlook.belief
    points = feasible_points(outlook)
    mean, sd = belief.posterior(points)
    promise = (mean + optimism * sd).mean(0)
    best: Tensor = points[promise.topk(min(count, len(points))).indices]
    return best


def chance(rng: torch.Generator) -> int:
    """A seed for chance of another kind."""
    return int(torch.randint(2**31, (), generator=rng))
