"""The prior of learning curves: four families of basis curves, and what real curves do beyond them.

Rakotoarison et al. 2024 (arXiv 2404.16795, appendix A) with repairs of our own, each a function below: late onset,
steps of the learning rate, schedules that calm the end, ripples, spikes, diverging regions, runs that never learn,
noise that shrinks, starts that differ, replicates, and scores of other scales.

| symbol | meaning |
| --- | --- |
| B, C, K | tasks, configurations of each, moments of each at which curves are drawn |
| t | share of a full run, (0, 1] |
| z | standard normal numbers (B, C, 1) of a configuration, alike for near configurations |
| gap | y∞ - y0, what a run can win |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import Draws, bent, inputs, nets, shuffled, uniform_of

MOMENTS = 51
"""Moments K of a curve at most; longer runs are seen at a sample of their steps."""

CHANCE_LEVEL = 1.0 - 1.0 / 1.15
"""The score of an untrained network where scores come from losses: s = 1 - loss / (1.15 L0)."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Whole runs: scores `y` (B, C, K) in [0, 1] of configurations `x` (B, C, D) at times `t` (B, K) of `steps` (B,).

    `active` (B, D) are the columns in use, `moments` (B,) how many of the K are meant: the first ones, the last of them
    at t = 1.
    """

    x: Tensor
    active: Tensor
    y: Tensor
    t: Tensor
    steps: Tensor
    moments: Tensor


def draw_curves(draws: Draws, batch: int, runs: int, least: int = 1) -> Curves:
    """Runs of at least `least` steps."""
    x, active = inputs(draws, batch, runs)
    x = _with_replicates(draws, x)
    steps, t, moments = timeline(draws, batch, least)
    traits = _traits(draws, x, active)
    y = _scores(draws, traits, t)
    x, active = shuffled(draws, x, active)
    return Curves(x, active, y, t, steps, moments)


def _with_replicates(draws: Draws, x: Tensor) -> Tensor:
    """In a tenth of the tasks a third of the configurations repeats another one."""
    batch, runs, _ = x.shape
    again = draws.chance(0.1, batch, 1) & draws.chance(0.33, batch, runs)
    own = torch.arange(runs, device=x.device).expand(batch, runs)
    source = torch.where(again, draws.whole(batch, runs, low=0, high=runs), own)
    return x.gather(1, source[..., None].expand_as(x))


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def timeline(draws: Draws, batch: int, least: int) -> tuple[Tensor, Tensor, Tensor]:
    """Steps (B,) of a full run, times (B, K) and the number (B,) of those that are meant.

    Up to K steps every step is a moment; beyond, moments are spread between evenly and by the logarithm.
    """
    typical = draws.whole(batch, low=max(least, 8), high=120)
    wide = draws.log_uniform(batch, low=float(least), high=1000.0).round().long().clamp_min(least)
    steps = torch.where(draws.chance(0.6, batch), typical, wide)
    moments = steps.clamp_max(MOMENTS)
    place = torch.arange(1, MOMENTS + 1, device=draws.device)
    share = (place / MOMENTS)[None]
    power = draws.uniform(batch, 1, low=1.0, high=3.0)
    sparse = torch.maximum(place[None], (share**power * steps[:, None]).round())
    step = torch.where(steps[:, None] <= MOMENTS, place[None], sparse)
    return steps, (step / steps[:, None]).clamp_max(1.0), moments


# ── traits: what a configuration is ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Traits:
    """The numbers of each configuration, (B, C, 1) where not said otherwise; k = 4 basis curves."""

    start: Tensor
    ceiling: Tensor
    asymptote: Tensor
    weights: Tensor
    shapes: Tensor
    saturation: Tensor
    precision: Tensor
    slopes: Tensor
    onset: Tensor
    noise: Tensor
    ripple: Tensor
    waves: Tensor
    jumps: Tensor
    failure: Tensor
    late_failure: Tensor


_FIELDS = {
    "asymptote": 1, "weights": 4, "shapes": 4, "latest": 1, "saturation": 4, "precision": 4, "slopes": 4,
    "start": 1, "onset": 1, "noise": 1, "ripple": 1, "waves": 9, "jumps": 3, "failure": 1, "late_failure": 1,
}  # fmt: skip


def _traits(draws: Draws, x: Tensor, active: Tensor) -> Traits:
    z = _numbers(draws, x, active)
    start, ceiling = _range(draws, z["start"])
    learns = _learners(draws, uniform_of(z["asymptote"]))
    gammas = -torch.log1p(-uniform_of(torch.cat([z["weights"], z["saturation"]], -1)).clamp_max(1 - 1e-6)) + 1e-6
    weights, relative = gammas[..., :4], gammas[..., 4:]
    latest = 10.0 ** z["latest"].clamp(-4, 4)
    return Traits(
        start=start,
        ceiling=ceiling,
        asymptote=start + learns * (ceiling - start),
        weights=weights / weights.sum(-1, keepdim=True),
        shapes=z["shapes"],
        saturation=latest * relative / relative.amax(-1, keepdim=True),
        precision=10.0 ** (3.0 * uniform_of(z["precision"])),
        slopes=_slopes(draws, uniform_of(z["slopes"])),
        onset=_onset(draws, uniform_of(z["onset"])),
        noise=_noise(draws, z["noise"]) * _room(start, ceiling),
        ripple=_ripple(draws, z["ripple"]) * _room(start, ceiling),
        waves=z["waves"],
        jumps=_jumps(draws, uniform_of(z["jumps"])),
        failure=uniform_of(z["failure"]),
        late_failure=uniform_of(z["late_failure"]),
    )


def _numbers(draws: Draws, x: Tensor, active: Tensor) -> dict[str, Tensor]:
    """z of each trait: a share of the network's, of one number for the task, and in half of the tasks of chance."""
    batch, runs, _ = x.shape
    count = sum(_FIELDS.values())
    of_inputs = nets(draws, batch, active, count)(x)
    of_task = draws.normal(batch, 1, count)
    of_chance = draws.normal(batch, runs, count)
    common = 0.5 * draws.uniform(batch, 1, count)
    free = draws.uniform(batch, 1, 1, high=0.5) ** 2 * draws.chance(0.5, batch, 1, 1)
    z = common.sqrt() * of_task + (1 - common - free).clamp_min(0.0).sqrt() * of_inputs + free.sqrt() * of_chance
    return dict(zip(_FIELDS, torch.split(z, list(_FIELDS.values()), -1), strict=True))


def _range(draws: Draws, z: Tensor) -> tuple[Tensor, Tensor]:
    """Where curves start (B, C, 1) and what none exceeds (B, 1, 1).

    Two uniform numbers, in three tasks of four 1 for the upper; in a third the chance level of a loss; in a fifth all
    happens in a narrow band; in a fifth the start differs by configuration.
    """
    batch = len(z)
    one, two = draws.uniform(2, batch, 1, 1)
    start, ceiling = torch.minimum(one, two), torch.maximum(one, two)
    ceiling = torch.where(draws.chance(0.5, batch, 1, 1), 1.0, ceiling)
    losses = draws.chance(0.35, batch, 1, 1)
    start = torch.where(losses, CHANCE_LEVEL + 0.01 * draws.normal(batch, 1, 1), start)
    ceiling = torch.where(losses, draws.uniform(batch, 1, 1, low=0.15, high=1.0), ceiling)
    band = draws.log_uniform(batch, 1, 1, low=0.01, high=0.5)
    narrow = draws.chance(0.2, batch, 1, 1)
    ceiling = torch.where(narrow, torch.minimum(start + band, torch.ones_like(band)), ceiling)
    differs = draws.chance(0.2, batch, 1, 1) * draws.uniform(batch, 1, 1, high=0.3)
    return (start + differs * _room(start, ceiling) * z).clamp(0.0, 1.0), ceiling


def _room(start: Tensor, ceiling: Tensor) -> Tensor:
    return (ceiling - start).abs().clamp_min(0.003)


def _learners(draws: Draws, u: Tensor) -> Tensor:
    """The share (B, C, 1) of what can be won that a run wins: crowded near the best, or near nothing, by task; in half
    of the tasks a share of the runs learns nothing at all.
    """
    batch = len(u)
    idle = draws.uniform(batch, 1, 1, high=0.6) * draws.chance(0.5, batch, 1, 1)
    won = ((u - idle) / (1.0 - idle)).clamp_min(0.0)
    a, b = (draws.log_uniform(batch, 1, 1, low=0.4, high=2.5) for _ in range(2))
    return torch.where(won > 0, bent(won, a, b), won)


def _slopes(draws: Draws, u: Tensor) -> Tensor:
    """Rates (B, C, 4) at which time goes on past saturation: 1 - Exp(1), below 0 for runs that turn round and over-fit;
    in two tasks of five nothing turns round, in others less.
    """
    turns = draws.chance(0.6, len(u), 1, 1) * draws.log_uniform(len(u), 1, 1, low=0.1, high=1.0)
    rate = 1.0 + torch.log1p(-u.clamp_max(1 - 1e-6))
    return torch.where(rate < 0, turns * rate, rate)


def _onset(draws: Draws, u: Tensor) -> Tensor:
    """The time (B, C, 1) before which a run learns nothing: 0 in three tasks of four."""
    late = draws.chance(0.25, len(u), 1, 1) * draws.log_uniform(len(u), 1, 1, low=0.02, high=0.7)
    return late * u


def _noise(draws: Draws, z: Tensor) -> Tensor:
    """The deviation (B, C, 1) of the noise, as a share of what can be won: in real curves from 0.0001 to 0.05."""
    return torch.exp(draws.normal(len(z), 1, 1, mean=-5.5, sd=1.6) + draws.uniform(len(z), 1, 1, high=1.2) * z)


def _ripple(draws: Draws, z: Tensor) -> Tensor:
    """The amplitude (B, C, 1) of slow waves that belong to no family, in three tasks of five."""
    return torch.exp(draws.normal(len(z), 1, 1, mean=-4.5, sd=1.2) + 0.7 * z) * draws.chance(0.6, len(z), 1, 1)


def _jumps(draws: Draws, u: Tensor) -> Tensor:
    """The share (B, C, 3) of what is left to win that a drop of the learning rate wins at once, in 1 task of 8."""
    return u.square() * draws.chance(0.12, len(u), 1, 1) * draws.chance(0.6, len(u), 1, 3)


# ── curves ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _scores(draws: Draws, traits: Traits, t: Tensor) -> Tensor:
    """Scores (B, C, K) as observed."""
    batch = len(t)
    moment = t[:, None, :]
    calm = draws.chance(0.4, batch, 1, 1)
    clock = torch.where(calm, annealed(moment), moment)
    onset = traits.onset
    progress = ((clock - onset) / (1.0 - onset)).clamp_min(0.0)
    gap = traits.asymptote - traits.start
    y = traits.asymptote - gap * _left(traits, progress)
    y = _stepped(draws, traits, y, moment)
    y = y + _waving(traits, moment) * traits.ripple * progress.clamp_max(1.0).sqrt()
    rate = torch.where(calm, 0.5 + 0.5 * torch.cos(math.pi * moment), 1.0 - 0.0 * moment)
    rest = 0.02 ** (2 * draws.uniform(batch, 1, 1))
    noise = traits.noise * (rest + (1 - rest) * rate)
    y = y + noise * _standard(draws, y)
    y = _spiked(draws, traits, y, rate)
    y = _diverged(draws, traits, y, moment)
    return rescaled(draws, y.clamp(0.0, 1.0))


def annealed(t: Tensor) -> Tensor:
    """The share of all learning done at t when the learning rate falls as a half cosine: t + sin(πt)/π."""
    return t + torch.sin(math.pi * t) / math.pi


def _left(traits: Traits, t: Tensor) -> Tensor:
    """The share (B, C, K) of the gap that is left at t: 1 at t = 0, Σ w / R where all are saturated.

    q = t / X before saturation, 1 + r (t - X) / X after; a run that has walked back to its start goes on below it.
    """
    total = torch.zeros_like(t + traits.start)
    for k, family in enumerate((_power, _exponential, _logarithm, _hill)):
        saturation, slope = traits.saturation[..., k : k + 1], traits.slopes[..., k : k + 1]
        q = t / saturation
        q = torch.where(q > 1.0, 1.0 + slope * (q - 1.0), q)
        left = family(q.clamp_min(0.0), traits.precision[..., k : k + 1], traits.shapes[..., k : k + 1])
        total = total + traits.weights[..., k : k + 1] * (left + (-q).clamp(0.0, 2.0))
    return total


def _power(q: Tensor, precision: Tensor, z: Tensor) -> Tensor:
    """((R^(1/a) - 1) q + 1)^-a,  ln a ~ N(1, 1)"""
    a = torch.exp(1.0 + z).clamp_min(0.12)
    return torch.exp(-a * torch.log1p((precision ** (1.0 / a) - 1.0) * q))


def _exponential(q: Tensor, precision: Tensor, z: Tensor) -> Tensor:
    """R^(-q^a),  ln a ~ N(0, 1)"""
    return torch.exp(-precision.log() * _raised(q, torch.exp(z)))


def _logarithm(q: Tensor, precision: Tensor, z: Tensor) -> Tensor:
    """ln a / ln((a^R - a) q + a) = 1 / (1 + ln(1 + q (a^(R-1) - 1)) / ln a),  ln(a - 1) ~ N(-4, 1)"""
    log_a = torch.log1p(torch.exp(z - 4.0))
    most = ((precision - 1.0) * log_a).clamp_max(80.0)
    return 1.0 / (1.0 + torch.log1p(q * torch.expm1(most)) / log_a)


def _hill(q: Tensor, precision: Tensor, z: Tensor) -> Tensor:
    """1 / ((R - 1) q^a + 1),  ln a ~ N(½, ½)"""
    return 1.0 / ((precision - 1.0) * _raised(q, torch.exp(0.5 + 0.5 * z)) + 1.0)


def _raised(q: Tensor, a: Tensor) -> Tensor:
    return torch.exp((a * q.clamp_min(1e-9).log()).clamp(-60.0, 8.0))


def _stepped(draws: Draws, traits: Traits, y: Tensor, t: Tensor) -> Tensor:
    """Three drops of the learning rate, at the same times for the whole task: each wins a share of what is left."""
    when = draws.uniform(len(t), 1, 3, low=0.15, high=0.95)
    width = draws.log_uniform(len(t), 1, 1, low=0.005, high=0.05)
    for j in range(3):
        since = (t - when[..., j : j + 1]).clamp_min(0.0)
        y = y + traits.jumps[..., j : j + 1] * (1.0 - torch.exp(-since / width)) * (traits.ceiling - y).clamp_min(0.0)
    return y


def _waving(traits: Traits, t: Tensor) -> Tensor:
    """Three waves of a configuration (B, C, K), deviation about 1: slow ones over t, and one over its logarithm."""
    phase, amplitude, pace = torch.split(traits.waves, 3, -1)
    total = torch.zeros_like(t + phase[..., :1])
    for j, (clock, base) in enumerate(((t, 1.0), (t, 4.0), ((t + 0.01).log(), 0.7))):
        turn = base * torch.exp(0.5 * pace[..., j : j + 1]) * clock + 0.5 * phase[..., j : j + 1]
        total = total + amplitude[..., j : j + 1] * torch.sin(2 * math.pi * turn)
    return total


def _standard(draws: Draws, like: Tensor) -> Tensor:
    """Noise of deviation 1: normal, and in three tasks of ten heavy-tailed."""
    normal = draws.normal(*like.shape)
    heavy = draws.chance(0.3, len(like), 1, 1)
    return torch.where(heavy, normal * torch.exp(0.8 * draws.normal(*like.shape) - 0.6), normal)


def _spiked(draws: Draws, traits: Traits, y: Tensor, rate: Tensor) -> Tensor:
    """In a tenth of the tasks single moments fall far below the curve, the rarer the smaller the learning rate."""
    share = draws.log_uniform(len(y), 1, 1, low=0.005, high=0.2) * draws.chance(0.12, len(y), 1, 1)
    hit = draws.uniform(*y.shape) < share * rate
    depth = -torch.log1p(-draws.uniform(*y.shape).clamp_max(0.999)) * 0.2 * _room(traits.start, traits.ceiling)
    return torch.where(hit, y - depth, y)


def _diverged(draws: Draws, traits: Traits, y: Tensor, t: Tensor) -> Tensor:
    """In two tasks of five a region of configurations fails: at once or from a time on, to 0 or back to the start."""
    batch = len(y)
    share = draws.uniform(batch, 1, 1, high=0.4) * draws.chance(0.4, batch, 1, 1)
    fails = traits.failure < share
    late = draws.uniform(batch, 1, 1) * draws.chance(0.5, batch, 1, 1)
    when = torch.where(traits.late_failure < late, traits.late_failure / late.clamp_min(1e-6), 0.0)
    floor = torch.where(draws.chance(0.75, batch, 1, 1), 0.0 * traits.start, traits.start)
    return torch.where(fails & (t >= when), floor, y)


def rescaled(draws: Draws, y: Tensor) -> Tensor:
    """Scores in other units: in two tasks of five a monotone map of [0, 1], in a sixth one into a part of it."""
    batch = len(y)
    a, b = (draws.log_normal(batch, 1, 1, median=1.0, sd=0.6) for _ in range(2))
    y = torch.where(draws.chance(0.4, batch, 1, 1), bent(y, a, b), y)
    low, high = draws.uniform(2, batch, 1, 1).sort(0).values
    part = draws.chance(0.15, batch, 1, 1) & (high - low > 0.05)
    return torch.where(part, low + (high - low) * y, y)
