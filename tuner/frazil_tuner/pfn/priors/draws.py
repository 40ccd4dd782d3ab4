"""Chance for the priors: a generator with the few distributions they need, and random functions of the inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..studies import COLUMNS


@dataclass(frozen=True, slots=True)
class Draws:
    """Independent draws on the device of a generator."""

    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        return self.generator.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int, mean: float = 0.0, sd: float = 1.0) -> Tensor:
        return mean + sd * torch.randn(shape, generator=self.generator, device=self.device)

    def log_normal(self, *shape: int, median: float, sd: float) -> Tensor:
        return median * self.normal(*shape, sd=sd).exp()

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return self.uniform(*shape, low=math.log(low), high=math.log(high)).exp()

    def whole(self, *shape: int, low: int, high: int) -> Tensor:
        """Whole numbers in [low, high)."""
        return torch.randint(low, high, shape, generator=self.generator, device=self.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """True with a probability."""
        return torch.rand(shape, generator=self.generator, device=self.device) < probability


def uniform_of(z: Tensor) -> Tensor:
    """The probability integral transform of a standard normal."""
    answer: Tensor = torch.special.ndtr(z)
    return answer


def bent(u: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The monotone map 1 - (1 - u^a)^b of [0, 1] onto itself; straight for a = b = 1.      Kumaraswamy 1980"""
    inner = u.clamp(1e-7, 1.0 - 1e-7)
    answer = 1.0 - torch.exp(b * torch.log1p(-torch.exp(a * inner.log()).clamp_max(1.0 - 1e-7)))
    return torch.where((u > 0) & (u < 1), answer, u)


def inputs(draws: Draws, batch: int, points: int) -> tuple[Tensor, Tensor]:
    """Configurations (batch, points, D) in the unit cube and the columns in use (batch, D).

    1 to 16 columns; some of them ordered levels, some tasks with a category as one-hot columns; in half of the tasks a
    part of the points crowds around a centre, as those do that a tuner chose.
    """
    x = draws.uniform(batch, points, COLUMNS)
    centre = draws.uniform(batch, 1, COLUMNS)
    spread = draws.log_uniform(batch, 1, 1, low=0.03, high=0.5)
    crowd = draws.uniform(batch, points, 1) < draws.uniform(batch, 1, 1) * draws.chance(0.5, batch, 1, 1)
    x = torch.where(crowd, (centre + spread * draws.normal(batch, points, COLUMNS)).clamp(0.0, 1.0), x)
    levels = draws.whole(batch, 1, COLUMNS, low=2, high=9)
    level = ((x * levels).floor().clamp_max(levels - 1) + 0.5) / levels
    x = torch.where(draws.chance(0.2, batch, 1, COLUMNS), level, x)
    count = (1 + (COLUMNS * draws.uniform(batch, 1) ** 1.5).long()).clamp_max(COLUMNS)
    active = torch.arange(COLUMNS, device=x.device) < count
    return _with_category(draws, x, count), active


def _with_category(draws: Draws, x: Tensor, count: Tensor) -> Tensor:
    """In a fifth of the tasks the first 2 to 5 columns become one category, if there are so many."""
    batch, points, _ = x.shape
    levels = draws.whole(batch, 1, low=2, high=6)
    has = draws.chance(0.2, batch, 1) & (count >= levels)
    place = torch.arange(COLUMNS, device=x.device)
    within = has & (place < levels)  # (B, D)
    chosen = draws.uniform(batch, points, COLUMNS).masked_fill(~within[:, None], -1.0).argmax(-1, keepdim=True)
    hot = (place == chosen) * math.sqrt(0.5)
    return torch.where(within[:, None], hot, x)


def shuffled(draws: Draws, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """The same columns in random places; those not in use become 0."""
    order = draws.uniform(len(x), COLUMNS).argsort(-1)
    x = (x * active[:, None]).gather(2, order[:, None].expand_as(x))
    return x, active.gather(1, order)


def relevance(draws: Draws, active: Tensor) -> Tensor:
    """Which columns (batch, D) matter: each in use with probability 0.7, and in 19 tasks of 20 the first one."""
    batch = len(active)
    relevant = active & draws.chance(0.7, batch, COLUMNS)
    relevant[:, 0] |= draws.chance(0.95, batch)
    return relevant


@dataclass(frozen=True, slots=True)
class Nets:
    """Random tanh networks, one for each task, from configurations to standard normal numbers.

        h₀ = √12 (x - ½),   h_k = tanh(g W_k h_{k-1} + c b_k) for 2 to 4 layers,   z = W h / |h|

    W, b standard normal over √fan-in: so every z is N(0, 1) over tasks, and near configurations have near z. Each input
    has a length-scale of its own, and is irrelevant with probability 0.3.
    """

    first: Tensor
    offset: Tensor
    inner: Tensor
    biases: Tensor
    depth: Tensor
    last: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """z (B, points, outputs) at x (B, points, D)."""
        h = torch.tanh(torch.baddbmm(self.offset, (x - 0.5) * math.sqrt(12.0), self.first))
        for layer in range(len(self.inner)):
            deeper = torch.tanh(torch.baddbmm(self.biases[layer], h, self.inner[layer]))
            h = torch.where(self.depth > layer, deeper, h)
        return torch.nn.functional.normalize(h, dim=-1) @ self.last


def nets(draws: Draws, batch: int, active: Tensor, outputs: int, units: int = 48, layers: int = 3) -> Nets:
    relevant = relevance(draws, active)
    weight = relevant * draws.log_normal(batch, COLUMNS, median=1.0, sd=0.8)
    weight = weight / (weight.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    gain = draws.log_uniform(batch, 1, 1, low=0.4, high=3.0)
    inner_gain = draws.log_uniform(batch, 1, 1, low=0.8, high=2.5)
    bias = draws.uniform(batch, 1, 1)
    return Nets(
        first=draws.normal(batch, COLUMNS, units) * weight[..., None] * gain,
        offset=draws.normal(batch, 1, units) * bias * gain,
        inner=draws.normal(layers, batch, units, units) * inner_gain / math.sqrt(units),
        biases=draws.normal(layers, batch, 1, units) * bias,
        depth=draws.whole(batch, 1, 1, low=1, high=layers + 1),
        last=draws.normal(batch, units, outputs),
    )
