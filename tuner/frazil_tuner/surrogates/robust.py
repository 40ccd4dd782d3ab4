"""What a belief about a point says of it when part of the point isn't ours to choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from scipy.stats import norm, qmc
from torch import Tensor

from .base import Belief
from .general import LEAST_VARIANCE, cholesky_many

DRAWS = 64
"""Draws of the function over the scenarios from which a risk's mean and covariance are taken."""

MOST_NUMBERS = 4_000_000
"""Numbers of one tensor of draws, so that a long list of points fits in memory."""

Risk = Callable[[Tensor, float], Tensor]
"""What counts (…,) of outcomes (…, w) over w scenarios, given a level in (0, 1); larger is better."""


def value_at_risk(outcomes: Tensor, level: float) -> Tensor:
    """The largest value that a share `level` of the scenarios keeps or exceeds."""
    w = outcomes.shape[-1]
    return outcomes.sort(dim=-1).values[..., w - _kept(w, level)]


def conditional_value_at_risk(outcomes: Tensor, level: float) -> Tensor:
    """The mean of the value at risk and all that is worse: of the worst share 1 - level of the scenarios."""
    w = outcomes.shape[-1]
    return outcomes.sort(dim=-1).values[..., : w - _kept(w, level) + 1].mean(-1)


def _kept(w: int, level: float) -> int:
    """How many of w scenarios make up a share `level` of them: at least 1."""
    return max(math.ceil(level * w - 1e-9), 1)


RISKS: Mapping[str, Risk] = MappingProxyType({"var": value_at_risk, "cvar": conditional_value_at_risk})
"""The risks that are no linear function of the outcomes. Cakmak et al. 2020, §2."""


@dataclass(frozen=True, slots=True)
class Robust:
    """The belief about a risk of f(x, w) over scenarios w of the columns (d,) that aren't ours to choose.

    `scenarios` (w, columns) are equally likely; what stands in those columns of a point makes no difference. Under
    "expectation" the belief is exact. Under "var" and "cvar" it is normal with the mean and covariance of the risk of
    `DRAWS` draws of f from fixed normal numbers: deterministic, differentiable, and rough where few draws decide.
    """

    belief: Belief
    columns: Tensor
    scenarios: Tensor
    risk: str = "expectation"
    level: float = 0.9

    @property
    def points(self) -> Tensor:
        return self.belief.points

    @property
    def incumbent(self) -> Tensor:
        with torch.no_grad():
            return self.posterior(self.points)[0].amax(1)

    @property
    def fit(self) -> Mapping[str, Any]:
        return self.belief.fit

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        parts = [self.joint(part[:, None]) for part in torch.split(x, self._rows_at_a_time())]
        means = torch.cat([mean[:, :, 0] for mean, _ in parts], dim=1)
        variances = torch.cat([covariance[:, :, 0, 0] for _, covariance in parts], dim=1)
        return means, variances.clamp_min(LEAST_VARIANCE).sqrt()

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b, q, _ = x.shape
        mean, covariance = self.belief.joint(self._over_scenarios(x))
        w = len(self.scenarios)
        if self.risk == "expectation":
            return mean.reshape(-1, b, q, w).mean(-1), covariance.reshape(-1, b, q, w, q, w).mean((-3, -1))
        draws = mean[:, None] + _draws(cholesky_many(covariance), q * w)  # (S, DRAWS, b, q w)
        risks = RISKS[self.risk](draws.reshape(-1, DRAWS, b, q, w), self.level)
        centred = (risks - risks.mean(1, keepdim=True)).movedim(1, -1)  # (S, b, q, DRAWS)
        return risks.mean(1), centred @ centred.mT / (DRAWS - 1)

    def imagine(self, x: Tensor, paths: int, rng: torch.Generator, *, noiseless: bool = False) -> Robust:
        """The belief if the points x (p, d) had been evaluated as they stand, with the scenario each of them holds."""
        imagined = self.belief.imagine(x, paths, rng, noiseless=noiseless)
        return Robust(imagined, self.columns, self.scenarios, self.risk, self.level)

    def _over_scenarios(self, x: Tensor) -> Tensor:
        """The points (b, q w, d): each of x (b, q, d) in every scenario."""
        b, q, d = x.shape
        w = len(self.scenarios)
        everywhere = torch.zeros(w, d, dtype=x.dtype)
        everywhere[:, self.columns] = self.scenarios
        return torch.where(self.columns, everywhere, x[:, :, None].expand(b, q, w, d)).reshape(b, q * w, d)

    def _rows_at_a_time(self) -> int:
        w = len(self.scenarios)
        return max(MOST_NUMBERS // (len(self.belief.incumbent) * w * max(w, DRAWS)), 1)


def _draws(L: Tensor, size: int) -> Tensor:
    """Draws (S, DRAWS, b, size) of normals with factors L (S, b, size, size) and mean 0."""
    return torch.einsum("sbij,rj->srbi", L, _normal_numbers(size))


@cache
def _normal_numbers(size: int) -> Tensor:
    """Quasi-random standard normal numbers (DRAWS, size), always the same."""
    uniform = qmc.Sobol(size, scramble=True, rng=0).random(DRAWS)
    return torch.from_numpy(norm.ppf(uniform.clip(1e-9, 1 - 1e-9)))
