"""The protocol of a surrogate: evidence in, a belief about the function out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..space import Space


class Unsuited(Exception):
    """The evidence speaks against the assumptions of this surrogate: take another."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """Derivatives that were observed: `slopes` (k,) of the outcome along columns `columns` (k,) at rows `rows` (k,) of
    X, in outcomes per edge of the unit cube.
    """

    rows: Tensor
    columns: Tensor
    slopes: Tensor


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen: points X (n, d) in the unit cube and outcomes y (n,), float64, standardised, larger is better.

    `unordered` (d,) marks the columns whose values are only equal or different. The rest is there if it was seen:
    `noise` (n,) variances of the outcomes, NaN where unknown; `active` (n, d) the columns that are active in each
    point; `slopes`; `tasks` (n,) the study each row comes from, 0 for the present one; `rankings`, each a tensor of row
    indices, best first, in place of outcomes (y is then 0); `varies` (d,) the context columns on which the noise may
    depend. `start` is what an earlier fit of the same surrogate remembered (`Belief.fit`); with `observations`, the
    number of those that the study has, and `settled` if that fit was to these very outcomes.
    """

    X: Tensor
    y: Tensor
    unordered: Tensor
    noise: Tensor | None = None
    active: Tensor | None = None
    slopes: Slopes | None = None
    tasks: Tensor | None = None
    rankings: tuple[Tensor, ...] = ()
    varies: Tensor | None = None
    space: Space | None = None
    start: Mapping[str, Any] = field(default_factory=dict)


class Belief(Protocol):
    """A posterior over functions, possibly several: one for each of S imagined outcomes of what is still running.

    Tensors that go in and come out live on the CPU, wherever the model lives; all are float64.
    """

    @property
    def points(self) -> Tensor:
        """The points (n, d) seen or imagined in the present study."""
        ...

    @property
    def incumbent(self) -> Tensor:
        """The largest posterior mean (S,) at those points."""
        ...

    @property
    def fit(self) -> Mapping[str, Any]:
        """What the next fit may start from: JSON-able, a few numbers per column."""
        ...

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means (S, m) and deviations (S or 1, m) > 0 of the noiseless function at x (m, d); differentiable in x."""
        ...

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means (S, b, q) and covariances (S or 1, b, q, q) of the noiseless function at x (b, q, d)."""
        ...

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> Belief:
        """The belief if x (p, d) had been evaluated: `paths` outcomes drawn jointly from this belief, where S = 1, or
        one for each of what was imagined before, where S = paths.

        With `noiseless` what is drawn are values of the function itself, known exactly from then on: with many points
        its mean is then a draw of the whole function.
        """
        ...


class Surrogate(Protocol):
    """A frozen value: a model and how it is fitted."""

    def fit(self, evidence: Evidence) -> Belief:
        """The belief after n ≥ 1 observations, the same for permuted evidence up to rounding.

        Raises FitFailed, or Unsuited where the evidence speaks against this surrogate.
        """
        ...
