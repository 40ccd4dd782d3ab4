"""The prior of black-box studies: random functions of the inputs, noise, outliers, and points as a tuner chooses them.

| symbol | meaning |
| --- | --- |
| B, N | tasks, points of each |
| R | random features of a Gaussian process |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..studies import COLUMNS, Context, Queries, Tasks
from .draws import Draws, Nets, bent, inputs, nets, relevance, shuffled

FEATURES = 256

WILDEST = 14.0
"""Deviations beyond which an answer is no farther: with two observations there is no limit to what the third may be."""

KNEE = 10.0
"""Spreads from the centre up to which an outcome is left alone; the same as in `frazil_tuner.numerics`."""


def draw_studies(draws: Draws, batch: int, length: int, questions: int, padded: bool) -> Tasks:
    """Tasks with `length` observations; `padded`: of 1 to `length`, by the logarithm.

    Half of the questions ask for the function without noise.
    """
    x, active = inputs(draws, batch, length + questions)
    function = random_function(draws, batch, active)
    x = _chosen(draws, function, x, active, length)
    values = function(x)
    observed = _observed(draws, values)
    present = _present(draws, batch, length) if padded else None
    noiseless = draws.chance(0.5, batch, questions)
    answers = torch.where(noiseless, values[:, length:], observed[:, length:])
    y, target = standardised(observed[:, :length], answers, present)
    x, active = shuffled(draws, x, active)
    context = Context(x[:, :length], y, active, present)
    return Tasks(context, Queries(x[:, length:], noiseless=noiseless), target.clamp(-WILDEST, WILDEST))


def _present(draws: Draws, batch: int, length: int) -> Tensor:
    count = draws.log_uniform(batch, 1, low=1.0, high=length + 0.99).long()
    return torch.arange(length, device=draws.device) < count


# ── functions ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Waves:
    """A draw of a stationary Gaussian process of variance 1:  √(2/R) Σ w cos(ω x + b).     Rahimi and Recht 2007

    ω / lengths is Student-t with 2ν degrees of freedom for a Matérn kernel of smoothness ν, normal for a squared
    exponential one.
    """

    frequencies: Tensor
    phases: Tensor
    weights: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return (torch.baddbmm(self.phases, x, self.frequencies).cos() @ self.weights)[..., 0]


def waves(draws: Draws, batch: int, active: Tensor, longest: float = 3.0) -> Waves:
    """Length-scales of each column by the logarithm around one of the task; a column is irrelevant with probability
    0.3; in a fifth of the tasks the function is a sum over single columns.
    """
    relevant = relevance(draws, active)
    count = relevant.sum(-1, keepdim=True).clamp_min(1)
    typical = draws.log_uniform(batch, 1, low=0.08, high=longest) * count.sqrt()
    rate = relevant / (typical * draws.log_normal(batch, COLUMNS, median=1.0, sd=0.6))
    degrees = torch.tensor([1.0, 3.0, 5.0, 5.0, 1e6, 1e6], device=draws.device)[draws.whole(batch, low=0, high=6)]
    omega = draws.normal(batch, COLUMNS, FEATURES) * rate[..., None]
    chi = 2.0 * torch._standard_gamma((degrees / 2)[:, None].expand(batch, FEATURES).clamp_max(1e4), draws.generator)
    omega = omega * (degrees.clamp_max(2e4)[:, None] / chi).sqrt()[:, None]
    alone = torch.nn.functional.one_hot(
        draws.uniform(batch, FEATURES, COLUMNS).masked_fill(~relevant[:, None], -1.0).argmax(-1), COLUMNS
    ).transpose(1, 2)
    omega = torch.where(draws.chance(0.2, batch, 1, 1), omega * alone, omega)
    return Waves(
        frequencies=omega,
        phases=draws.uniform(batch, 1, FEATURES, high=2 * math.pi),
        weights=draws.normal(batch, FEATURES, 1) * math.sqrt(2 / FEATURES),
    )


@dataclass(frozen=True, slots=True)
class Function:
    """Values (B, N) of bent inputs: two Gaussian processes, a network and a bowl, in shares (B, 1) of the task, then a
    monotone map of the outcome.
    """

    bend_a: Tensor
    bend_b: Tensor
    smooth: Waves
    rough: Waves
    net: Nets
    centre: Tensor
    curvature: Tensor
    shares: Tensor
    skew: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        u = bent(x, self.bend_a, self.bend_b)
        bowl = -((u - self.centre).square() * self.curvature).sum(-1)
        parts = torch.stack([self.smooth(u), self.rough(u), self.net(u)[..., 0], bowl])
        value = (self.shares[..., None] * parts).sum(0)
        return torch.where(self.skew.abs() < 0.05, value, torch.expm1(self.skew * value.clamp(-6, 6)) / self.skew)


def random_function(draws: Draws, batch: int, active: Tensor) -> Function:
    bends = draws.chance(0.4, batch, 1, 1)
    a, b = (torch.where(bends, draws.log_normal(batch, 1, COLUMNS, median=1.0, sd=0.5), 1.0) for _ in range(2))
    gates = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.8, 0.2, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.5, 0.0, 0.0, 0.5],
                          [0.1, 0.0, 0.4, 0.5], [0.3, 0.1, 0.6, 0.0]], device=draws.device)  # fmt: skip
    shares = gates[draws.whole(batch, low=0, high=len(gates))] * draws.log_normal(batch, 4, median=1.0, sd=0.5)
    curvature = active * draws.log_normal(batch, COLUMNS, median=1.0, sd=1.0)
    curvature = 8.0 * curvature / curvature.sum(-1, keepdim=True)
    return Function(
        bend_a=a,
        bend_b=b,
        smooth=waves(draws, batch, active),
        rough=waves(draws, batch, active, longest=0.3),
        net=nets(draws, batch, active, 1),
        centre=draws.uniform(batch, 1, COLUMNS),
        curvature=curvature[:, None],
        shares=shares.T.contiguous(),
        skew=draws.normal(batch, 1, sd=0.7) * draws.chance(0.5, batch, 1),
    )


# ── observations ────────────────────────────────────────────────────────────────────────────────────────────────────


def _observed(draws: Draws, values: Tensor) -> Tensor:
    """Values (B, N) with noise of 0.0005 to 1 deviations, in a fifth of the tasks none; in a fifth heavy-tailed; in a
    tenth single outliers.
    """
    batch = len(values)
    noise = draws.log_uniform(batch, 1, low=5e-4, high=1.0) * draws.chance(0.8, batch, 1)
    noise = noise * values.std(-1, keepdim=True)
    error = draws.normal(*values.shape)
    error = torch.where(draws.chance(0.2, batch, 1), error * torch.exp(0.8 * draws.normal(*values.shape)), error)
    wild = draws.uniform(*values.shape) < draws.log_uniform(batch, 1, low=0.005, high=0.1) * draws.chance(0.1, batch, 1)
    outlier = 5.0 * draws.normal(*values.shape) * values.std(-1, keepdim=True)
    return values + noise * error + torch.where(wild, outlier, 0.0)


def _chosen(draws: Draws, function: Callable[[Tensor], Tensor], x: Tensor, active: Tensor, length: int) -> Tensor:
    """Points as a tuner has chosen them: in half of the tasks the second half of the context lies around the best of
    the first half, and in all a third of the questions around the best of the context.
    """
    batch = len(x)
    first = max(1, length // 2)
    wide = draws.log_uniform(batch, 1, 1, low=0.01, high=0.4)
    near = draws.chance(0.7, batch, length - first, 1) & draws.chance(0.5, batch, 1, 1)
    middle = torch.where(near, _around(draws, function, x[:, :first], length - first, wide), x[:, first:length])
    context = torch.cat([x[:, :first], middle], 1)
    asked = x[:, length:]
    near = draws.chance(0.33, batch, asked.shape[1], 1)
    asked = torch.where(near, _around(draws, function, context, asked.shape[1], wide), asked)
    return torch.cat([context, asked], 1)


def _around(draws: Draws, function: Callable[[Tensor], Tensor], x: Tensor, count: int, wide: Tensor) -> Tensor:
    best = function(x).argmax(1)[:, None, None].expand(-1, 1, COLUMNS)
    moved = draws.chance(0.5, len(x), count, COLUMNS) * wide * draws.normal(len(x), count, COLUMNS)
    return (x.gather(1, best) + moved).clamp(0.0, 1.0)


# ── outcomes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def standardised(y: Tensor, other: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    """Outcomes (B, n) and others (B, m) as `numerics.tame` makes them from the first: centre at the median, in
    interquartile ranges, softened beyond KNEE; then mean 0 and deviation 1. Without spread in the context only centred.
    """
    known = y if present is None else y.masked_fill(~present, torch.nan)
    low, centre, high = known.nanquantile(
        torch.tensor([0.25, 0.5, 0.75], device=y.device, dtype=y.dtype), dim=1, keepdim=True
    )
    spread = torch.where(high - low > 1e-6, high - low, (known - centre).abs().nanmean(1, keepdim=True))
    spread = torch.where(spread > 1e-6, spread, 1.0)
    y, other, known = (_softened((values - centre) / spread) for values in (y, other, known))
    mean = known.nanmean(1, keepdim=True)
    sd = (known - mean).square().nanmean(1, keepdim=True).sqrt()
    sd = torch.where(sd > 1e-6, sd, 1.0)
    y = (y - mean) / sd
    return y if present is None else y * present, (other - mean) / sd


def _softened(z: Tensor) -> Tensor:
    excess = (z.abs() - KNEE).clamp_min(0.0)
    return torch.where(excess > 0, torch.sign(z) * (KNEE + torch.log1p(excess)), z)
