"""The network: an encoder that reads a study once and answers any number of questions about it.

    context → context        every layer, no order, no positions
    queries → context        every layer, never to one another

so the keys and values of the context are computed once, and candidates are scored by a second, cheaper pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bars import Bars, bars
from .configs import Shape
from .studies import COLUMNS, Context, Queries

OCTAVES = 9
"""Waves of an outcome: the shortest tells 1/1000 of the range apart, which bfloat16 alone cannot near 1."""

Step = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Cache:
    """A study as read: keys and values (B, heads, n, width / heads) per layer, what is `present` (B, 1, 1, n) or None,
    the `columns` (B, 1, D) that scale the inputs, and of curves their `identities` (B, n + 1, I) and `summaries`
    (B, n + 1, S); the last row of either is the unseen curve's.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    present: Tensor | None
    columns: Tensor
    steps: Tensor | None = None
    identities: Tensor | None = None
    summaries: Tensor | None = None


class Block(nn.Module):
    """The weights of a layer; pre-norm (Xiong et al. 2020)."""

    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.gather = nn.Linear(width, width)
        self.norm_mid = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        for last in (self.gather, self.down):
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * layers))
            nn.init.zeros_(last.bias)


def project(tokens: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalised tokens (N, d) through a linear map."""
    return F.linear(F.layer_norm(tokens, tokens.shape[-1:], scale, shift), weight, bias)


def finish(tokens: Tensor, heard: Tensor, *weights: Tensor) -> Tensor:
    """The rest of a layer: what was `heard` (N, d) is added to the tokens (N, d), then the two-layer map."""
    gather_w, gather_b, scale, shift, up_w, up_b, down_w, down_b = weights
    tokens = tokens + F.linear(heard, gather_w, gather_b)
    inner = F.gelu(F.linear(F.layer_norm(tokens, tokens.shape[-1:], scale, shift), up_w, up_b), approximate="tanh")
    return tokens + F.linear(inner, down_w, down_b)


class Network(nn.Module):
    """`encode` a study, then `predict`; or `forward` for both."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        curves = shape.kind == "curve"
        common = COLUMNS + (_TIMES + 1 + shape.identity + _SUMMARY if curves else 0)
        self.read = _two_layers(common + _WAVES, width)
        self.ask = _two_layers(common + (0 if curves else 1), width)
        self.blocks = nn.ModuleList(Block(width, shape.hidden, shape.layers) for _ in range(shape.layers))
        self.norm_out = nn.LayerNorm(width)
        self.answer = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(approximate="tanh"))
        self.logits = nn.Linear(2 * width, shape.grid.bins)
        self.project: Step = project
        self.finish: Step = finish

    def forward(self, context: Context, queries: Queries, seed: int = 0) -> Tensor:
        """Logits (B, m, bins)."""
        return self.reply(self.encode(context, seed), queries)

    def predict(self, cache: Cache, queries: Queries) -> Bars:
        """Beliefs (B, m) about the outcomes asked for."""
        return bars(self.shape.grid, self.reply(cache, queries))

    def encode(self, context: Context, seed: int = 0) -> Cache:
        """Read the study. `seed` draws the vectors that tell its curves apart; answers differ a little by it."""
        cache = self._start(context, seed)
        features = [*_inputs(context.x, cache.columns), waves(context.y, self.shape)]
        tokens = self.read(torch.cat(features + self._run_features(cache, context.t, context.curve), -1)).float()
        keys, values = [], []
        for index, block in enumerate(self.blocks):
            q, k, v = self._split(self._project(block, tokens, 3), len(context.y))
            keys.append(k)
            values.append(v)
            if index + 1 < len(self.blocks):
                tokens = self._finish(block, tokens, _attend(q, k, v, cache.present))
        return Cache(
            tuple(keys), tuple(values), cache.present, cache.columns, cache.steps, cache.identities, cache.summaries
        )

    def reply(self, cache: Cache, queries: Queries) -> Tensor:
        """Logits (B, m, bins) of the answers."""
        features = _inputs(queries.x, cache.columns)
        if self.shape.kind == "static":
            features.append(_flag(queries))
        tokens = self.ask(torch.cat(features + self._run_features(cache, queries.t, queries.curve), -1)).float()
        for block, k, v in zip(self.blocks, cache.keys, cache.values, strict=True):
            (q,) = self._split(self._project(block, tokens, 1), len(queries.x))
            tokens = self._finish(block, tokens, _attend(q, k, v, cache.present))
        logits: Tensor = self.logits(self.answer(self.norm_out(tokens)))
        return logits

    def _start(self, context: Context, seed: int) -> Cache:
        """The cache before the first layer."""
        active = context.active.to(context.x.dtype)
        columns = (active * (COLUMNS / active.sum(-1, keepdim=True).clamp_min(1.0)).sqrt())[:, None]
        present = None if context.present is None else context.present[:, None, None, :]
        if self.shape.kind == "static":
            return Cache((), (), present, columns)
        identities = _identities(context.y, self.shape.identity, seed)
        return Cache((), (), present, columns, context.steps, identities, summarise(context))

    def _run_features(self, cache: Cache, t: Tensor | None, curve: Tensor | None) -> list[Tensor]:
        """Times, and of the curve that each token (B, k) belongs to identity and summary; without curves nothing."""
        if t is None or curve is None or cache.steps is None or cache.summaries is None or cache.identities is None:
            return []
        steps = (cache.steps.to(t.dtype).log() / 7.0)[:, None].expand_as(t)
        row = torch.where(curve < 0, cache.summaries.shape[1] - 1, curve)
        return [times(t), steps[..., None], _rows(cache.identities, row), _rows(cache.summaries, row)]

    def _project(self, block: nn.Module, tokens: Tensor, parts: int) -> Tensor:
        """Queries (parts = 1), or queries, keys and values (parts = 3): (B · k, parts · width)."""
        assert isinstance(block, Block)
        norm, linear, rows = block.norm_in, block.project, parts * self.shape.width
        return self.project(tokens.flatten(0, 1), norm.weight, norm.bias, linear.weight[:rows], linear.bias[:rows])

    def _split(self, projected: Tensor, batch: int) -> tuple[Tensor, ...]:
        """(B · k, parts · width) → parts of (B, heads, k, width / heads)."""
        heads, size = self.shape.heads, self.shape.width // self.shape.heads
        parts = projected.shape[-1] // self.shape.width
        return projected.view(batch, -1, parts, heads, size).permute(2, 0, 3, 1, 4).unbind(0)

    def _finish(self, block: nn.Module, tokens: Tensor, heard: Tensor) -> Tensor:
        assert isinstance(block, Block)
        weights = (
            block.gather.weight, block.gather.bias, block.norm_mid.weight, block.norm_mid.bias,
            block.up.weight, block.up.bias, block.down.weight, block.down.bias,
        )  # fmt: skip
        flat = heard.transpose(1, 2).reshape(-1, self.shape.width)
        return self.finish(tokens.flatten(0, 1), flat, *weights).view_as(tokens)


def _two_layers(features: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, width), nn.GELU(approximate="tanh"), nn.Linear(width, width))


def _attend(q: Tensor, k: Tensor, v: Tensor, present: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=present)


# ── features; all in float32, before anything is rounded to bfloat16 ────────────────────────────────────────────────

_WAVES = 1 + 2 * OCTAVES
_TIMES = 3
_SUMMARY = _WAVES + _TIMES + 5


def waves(y: Tensor, shape: Shape) -> Tensor:
    """An outcome (...) as (..., 1 + 2 · OCTAVES): itself, and sin and cos of π 2^k u, u its place on the grid."""
    place = (y - shape.grid.low) / (shape.grid.high - shape.grid.low)
    return _waves(place)


def _waves(place: Tensor) -> Tensor:
    angles = place[..., None] * (math.pi * 2.0 ** torch.arange(OCTAVES, device=place.device, dtype=place.dtype))
    return torch.cat([2 * place[..., None] - 1, angles.sin(), angles.cos()], -1)


def times(t: Tensor) -> Tensor:
    """A time (...) as (..., 3)."""
    return torch.stack([2 * t - 1, 2 * t.clamp_min(0).sqrt() - 1, (t + 0.001).log() / 3.5 + 1], -1)


def _inputs(x: Tensor, columns: Tensor) -> list[Tensor]:
    """Columns (B, k, D) as uniform variables of deviation 1, larger the fewer there are; those not in use are 0."""
    return [(x - 0.5) * math.sqrt(12.0) * columns]


def _flag(queries: Queries) -> Tensor:
    if queries.noiseless is None:
        return torch.zeros_like(queries.x[..., :1])
    return queries.noiseless[..., None].to(queries.x.dtype)


def _rows(table: Tensor, row: Tensor) -> Tensor:
    """Rows (B, k, f) of tables (B, r, f)."""
    return table.gather(1, row[..., None].expand(*row.shape, table.shape[-1]))


def _identities(y: Tensor, size: int, seed: int) -> Tensor:
    """A random vector (B, n + 1, size) of length √size for each curve there may be, alike for all B; 0 for unseen."""
    generator = torch.Generator(device=y.device).manual_seed(seed)
    batch, n = y.shape
    whole = 1024 * math.ceil(n / 1024)  # the first vectors must not depend on how many are drawn
    drawn = torch.randn(whole, size, generator=generator, device=y.device, dtype=y.dtype)[:n]
    unit = F.normalize(drawn, dim=-1) * math.sqrt(size)
    return F.pad(unit, (0, 0, 0, 1)).expand(batch, n + 1, size)


def summarise(context: Context) -> Tensor:
    """What is known of each curve (B, n + 1, S), 0 for those that have no observation.

    Its last score by `waves`, the time of it by `times`; best, first and half-way score less the last one, on a scale
    that is linear within 0.001 and logarithmic beyond; the logarithm of how many observations; 1.
    """
    assert context.t is not None
    assert context.curve is not None
    y, t, curve = context.y, context.t, context.curve
    batch, n = y.shape
    if context.present is not None:
        curve = torch.where(context.present, curve, n)
    empty = y.new_zeros(batch, n + 1)
    count = empty.scatter_add(1, curve, torch.ones_like(y))
    latest = empty.scatter_reduce(1, curve, t, "amax")
    earliest = (empty + 2.0).scatter_reduce(1, curve, t, "amin")
    best = (empty - 1.0).scatter_reduce(1, curve, y, "amax")
    before_half = torch.where(t <= 0.5 * latest.gather(1, curve), t, 0.0)
    half = torch.maximum(empty.scatter_reduce(1, curve, before_half, "amax"), earliest)
    last, first, middle = (_mean_at(y, t, curve, moment) for moment in (latest, earliest, half))
    gaps = [_magnitude(other - last) for other in (best, first, middle)]
    known = (count > 0).to(y.dtype)
    features = [_waves(last), times(latest), torch.stack([*gaps, count.clamp_min(1).log() / 4.0, known], -1)]
    known = torch.cat([known[:, :n], known.new_zeros(batch, 1)], 1)
    return torch.cat(features, -1) * known[..., None]


def _mean_at(y: Tensor, t: Tensor, curve: Tensor, moment: Tensor) -> Tensor:
    """The mean score (B, n + 1) of each curve at its `moment` (B, n + 1); 0 where it has none."""
    there = (t == moment.gather(1, curve)).to(y.dtype)
    total = torch.zeros_like(moment).scatter_add(1, curve, there * y)
    return total / torch.zeros_like(moment).scatter_add(1, curve, there).clamp_min(1.0)


def _magnitude(gap: Tensor) -> Tensor:
    return torch.asinh(1000.0 * gap) / 4.0
