"""What an acquisition may look at: the beliefs of a study, bundled. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..space import Space
    from ..surrogates import Belief

Worth = Callable[[Tensor], Tensor]
"""The worth (m,) of trying each of the points (m, d); larger is better, differentiable in continuous columns."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A constraint on an outcome: a belief about its slack, in outcomes, and the bound above which it is satisfied."""

    belief: Belief
    bound: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """Beliefs about everything a study measures, and what else weighs in the choice of the next point.

    `objectives` has one belief each, larger is better; `limits` one for each outcome constraint (and one for success
    itself, where trials have failed); `cost` is a belief about the logarithm of the cost, in units of which an outcome
    is `cost_scale`; `prior` the log density (m,)
    of the user's prior on the optimum. `space` is the space searched, `observations` how many finished trials the
    beliefs rest on, `beta` the weight of the deviation in confidence bounds, `rng` the source of chance.
    """

    objectives: tuple[Belief, ...]
    space: Space
    rng: torch.Generator
    observations: int
    limits: tuple[Limit, ...] = ()
    cost: Belief | None = None
    cost_scale: float = 1.0
    prior: Worth | None = None
    beta: float = 2.0

    @property
    def belief(self) -> Belief:
        """The belief about the only, or first, objective."""
        return self.objectives[0]

    def imagine(self, x: Tensor, paths: int) -> Outlook:
        """The outlook if x (p, d) had been evaluated: every belief imagines its own outcomes there."""
        return replace(
            self,
            objectives=tuple(belief.imagine(x, paths, self.rng) for belief in self.objectives),
            limits=tuple(replace(limit, belief=limit.belief.imagine(x, paths, self.rng)) for limit in self.limits),
        )
