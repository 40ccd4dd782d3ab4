"""Who was observed: whole runs become a context of prefixes and questions about what was not seen."""

from __future__ import annotations

import torch
from torch import Tensor

from ..studies import UNSEEN, Context, Queries, Tasks
from .curves import MOMENTS, Curves
from .draws import Draws


def runs_for(length: int) -> tuple[int, int]:
    """How many runs a context of a length may hold, and how many more a task has that are in none."""
    return min(224, max(24, length * 5 // 8)), 32


def least_steps(length: int) -> int:
    """The fewest steps with which the runs of `runs_for` fill a context of this length."""
    return -(-length // runs_for(length)[0])


def observe(draws: Draws, curves: Curves, length: int, questions: int, padded: bool) -> Tasks:
    """Tasks with contexts of exactly `length` observations; `padded`: of 1 to `length`, by the logarithm.

    The runs of a context are the first ones; the last is cut off where the context is full. Needs at least
    `least_steps(length)` steps per run.
    """
    runs, _ = runs_for(length)
    prefix = prefixes(draws, curves, runs)
    kept = _enough(draws, curves, prefix, length)
    run, moment = _positions(kept, length)
    last = torch.full_like(run[:, :1], length - 1)
    present = None
    if padded:
        count = draws.log_uniform(len(run), 1, low=1.0, high=length + 0.99).long()
        present = torch.arange(length, device=run.device) < count
        last = count - 1
    used = run.gather(1, last) + 1  # (B, 1)
    context = Context(
        x=_at_run(curves.x, run),
        y=curves.y[_batch(run), run, moment],
        active=curves.active,
        present=present,
        t=curves.t.gather(1, moment),
        curve=run,
        steps=curves.steps,
    )
    seen = _seen(run, moment, present, curves.y.shape[1])
    asked, when = _questions(draws, curves, seen, used, questions)
    queries = Queries(_at_run(curves.x, asked), curves.t.gather(1, when), torch.where(asked < used, asked, UNSEEN))
    return Tasks(context, queries, curves.y[_batch(asked), asked, when])


def _batch(index: Tensor) -> Tensor:
    return torch.arange(len(index), device=index.device)[:, None]


def _at_run(x: Tensor, run: Tensor) -> Tensor:
    return x.gather(1, run[..., None].expand(*run.shape, x.shape[-1]))


def prefixes(draws: Draws, curves: Curves, runs: int) -> Tensor:
    """How many moments (B, runs) of each run were seen, from 1 to all.

    By the logarithm, exp(U^p ln T); in a third of the tasks the better runs were granted more, as successive halving
    does; in a third whole runs are among them.
    """
    batch = len(curves.y)
    u = draws.uniform(batch, runs)
    final = curves.y[:, :runs].gather(2, (curves.moments - 1)[:, None, None].expand(batch, runs, 1))[..., 0]
    rank = (final + 1e-6 * draws.uniform(batch, runs)).argsort(1).argsort(1) / runs
    trust = draws.uniform(batch, 1, low=0.5, high=1.0)
    u = torch.where(draws.chance(0.35, batch, 1), trust * rank + (1 - trust) * u, u)
    power = draws.log_normal(batch, 1, median=1.0, sd=0.4)
    most = (curves.moments[:, None] - 1).clamp_min(1)
    length = torch.exp(u**power * most.log()).round().long()
    whole = draws.uniform(batch, runs) < draws.uniform(batch, 1, high=0.5) * draws.chance(0.35, batch, 1)
    return torch.where(whole, curves.moments[:, None], torch.minimum(length, most))


def _enough(draws: Draws, curves: Curves, prefix: Tensor, length: int) -> Tensor:
    """What is kept (B, runs, K) of the prefixes, at least `length` observations: where the thinned prefixes hold fewer
    the whole ones are kept, and where those do prefixes are doubled, up to whole runs.
    """
    y = curves.y[:, : prefix.shape[1]]
    cells = draws.whole(len(y), 1, 1, low=4, high=13)
    cells = torch.where(draws.chance(0.5, len(y), 1, 1), cells, MOMENTS * MOMENTS)
    kept = thinned(y, prefix, cells)
    for _ in range(7):
        lacks = kept.sum((1, 2)) < length
        kept = torch.where(lacks[:, None, None], thinned(y, prefix, torch.full_like(cells, MOMENTS * MOMENTS)), kept)
        prefix = torch.where(lacks[:, None], torch.minimum(2 * prefix, curves.moments[:, None]), prefix)
    return kept


def thinned(y: Tensor, prefix: Tensor, cells: Tensor) -> Tensor:
    """Which moments (B, C, K) of prefixes (B, C) stay: the first of each of `cells` (B, 1, 1) equal parts of the
    logarithm of time, the last, and the best of scores (B, C, K).
    """
    place = torch.arange(1, y.shape[-1] + 1, device=y.device)
    inside = place <= prefix[..., None]
    per_log = cells / prefix[..., None].clamp_min(2).log()
    cell = (per_log * place.log()).floor()
    opens = cell != (per_log * (place - 1).clamp_min(1).log()).floor()
    best = y.masked_fill(~inside, -1.0).argmax(-1, keepdim=True) + 1
    return inside & (opens | (place == 1) | (place == best) | (place == prefix[..., None]))


def _positions(kept: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Run and moment (B, length) of the first observations kept (B, C, K), run by run."""
    flat = kept.flatten(1)
    slot = torch.where(flat, flat.cumsum(1) - 1, length).clamp_max(length)  # beyond the context: one slot that is cut
    place = torch.arange(flat.shape[1], device=kept.device).expand_as(flat)
    order = torch.zeros(len(flat), length + 1, dtype=torch.long, device=kept.device).scatter_(1, slot, place)
    order = order[:, :length]
    return order // kept.shape[-1], order % kept.shape[-1]


def _seen(run: Tensor, moment: Tensor, present: Tensor | None, runs: int) -> Tensor:
    """How many moments (B, runs) of each run the context reaches; 0 for runs that it does not hold."""
    reach = moment + 1 if present is None else (moment + 1) * present
    return torch.zeros(len(run), runs, dtype=reach.dtype, device=run.device).scatter_reduce(1, run, reach, "amax")


def _questions(draws: Draws, curves: Curves, seen: Tensor, used: Tensor, questions: int) -> tuple[Tensor, Tensor]:
    """Runs and moments (B, questions): three in four about runs of the context, else about others; two in three about
    the end, else about a random later moment. A run that was seen to its end gives way to another one.
    """
    batch, runs = seen.shape
    known = (draws.uniform(batch, questions) * used).long()
    other = (used + draws.uniform(batch, questions) * (runs - used)).long().clamp_max(runs - 1)
    moments = curves.moments[:, None]
    open_ended = seen.gather(1, known) < moments
    asked = torch.where(draws.chance(0.75, batch, questions) & open_ended, known, other)
    after = seen.gather(1, asked)
    later = after + (draws.uniform(batch, questions) * (moments - after)).long()
    return asked, torch.where(draws.chance(0.67, batch, questions), moments - 1, later).clamp(max=MOMENTS - 1)
