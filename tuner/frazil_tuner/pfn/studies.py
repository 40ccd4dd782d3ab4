"""What a network reads and what it is asked: batches of studies, as tensors.

| symbol | meaning |
| --- | --- |
| B | studies in a batch |
| n, m | observations of a study, questions about it, padded to the longest |
| D = 16 | columns of the unit cube, padded |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

COLUMNS = 16
"""Columns D a network reads. A category of k levels is k columns: 1/√2 at the level chosen, 0 elsewhere."""

UNSEEN = -1
"""The curve of a configuration that was not observed."""


class _Batch:
    def to(self, device: torch.device | str) -> Self:
        return self._each(lambda tensor: tensor.to(device))

    def part(self, start: int, stop: int) -> Self:
        """The studies from `start` to before `stop`."""
        return self._each(lambda tensor: tensor[start:stop])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        changed = {name: None if tensor is None else change(tensor) for name, tensor in tensors.items()}
        return replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Context(_Batch):
    """What was observed: `y` (B, n) at configurations `x` (B, n, D) in the unit cube.

    `active` (B, D) are the columns in use. `present` (B, n): False is padding; None is no padding; every study has at
    least one observation. The order of the observations means nothing. Of curves also: `t` (B, n) in (0, 1] is the
    share of the `steps` (B,) that a full run takes, and `curve` (B, n) a number in [0, n) that the observations of one
    run have in common; y is a score in [0, 1]. Without curves y has mean 0 and deviation 1.
    """

    x: Tensor
    y: Tensor
    active: Tensor
    present: Tensor | None = None
    t: Tensor | None = None
    curve: Tensor | None = None
    steps: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Queries(_Batch):
    """What is asked: the outcome at `x` (B, m, D); of curves at time `t` (B, m) of run `curve` (B, m), or UNSEEN.

    `noiseless` (B, m), without curves: the function itself is asked for, not an observation of it.
    """

    x: Tensor
    t: Tensor | None = None
    curve: Tensor | None = None
    noiseless: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Tasks:
    """Studies with the answers `target` (B, m): what a prior draws and a network learns from."""

    context: Context
    queries: Queries
    target: Tensor

    def part(self, start: int, stop: int) -> Tasks:
        """The studies from `start` to before `stop`."""
        return Tasks(self.context.part(start, stop), self.queries.part(start, stop), self.target[start:stop])
