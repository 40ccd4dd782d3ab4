"""Several beliefs at once, each as likely as the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .base import Belief


@dataclass(frozen=True, slots=True)
class Mixture:
    """The members of an ensemble, the most probable first, as one belief of S posteriors: those of its members."""

    members: tuple[Belief, ...]
    fit: Mapping[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> Tensor:
        return self.members[0].points

    @property
    def incumbent(self) -> Tensor:
        return torch.cat([member.incumbent for member in self.members])

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._all(lambda member: member.posterior(x))

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._all(lambda member: member.joint(x))

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> Mixture:
        """The paths are dealt out among the members; where there are fewer, the most probable members have them."""
        shares = [len(range(i, paths, len(self.members))) for i in range(len(self.members))]
        imagined = [
            member.imagine(x, share, rng, noiseless=noiseless)
            for member, share in zip(self.members, shares, strict=True)
            if share
        ]
        return Mixture(tuple(imagined), self.fit)

    def _all(self, ask: Callable[[Belief], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Means (S, …) and spreads (S, …): the spread of a member whose paths share one is repeated."""
        answers = [ask(member) for member in self.members]
        spreads = [spread.expand(len(mean), *spread.shape[1:]) for mean, spread in answers]
        return torch.cat([mean for mean, _ in answers]), torch.cat(spreads)
