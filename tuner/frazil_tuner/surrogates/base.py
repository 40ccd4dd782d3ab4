"""The protocol of a surrogate: evidence in, a belief about the function out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FitFailed(ArithmeticError):
    """No belief can be formed: the numbers are too ill-conditioned. Answer without a model and say so."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen: points X (n, d) in the unit cube and outcomes y (n,), float64, standardised, larger is better.

    `unordered` (d,) marks the columns whose values are only equal or different.
    """

    X: Tensor
    y: Tensor
    unordered: Tensor


class Belief(Protocol):
    """A posterior over functions, possibly several: one for each of S imagined outcomes of what is still running."""

    @property
    def incumbent(self) -> Tensor:
        """The largest posterior mean (S,) at the points seen or imagined."""
        ...

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means (S, m) and deviations (m,) > 0 of the noiseless function at x (m, d); differentiable in x."""
        ...

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator) -> Belief:
        """The belief if x (p, d) had been evaluated: `paths` outcomes drawn jointly from this belief, where S = 1."""
        ...


class Surrogate(Protocol):
    """A frozen value: a model and how it is fitted."""

    def fit(self, evidence: Evidence) -> Belief:
        """The belief after n ≥ 1 observations, the same for permuted evidence up to rounding. Raises FitFailed."""
        ...
