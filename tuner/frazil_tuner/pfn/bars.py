"""The bar distribution: a density that is constant within equal bins, with or without tails.

Müller et al. 2022 (arXiv 2112.10510, section 3, "Riemann distribution").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 0.005
"""Share of the mass that is spread evenly over all bins, so that one surprise costs no more than about 12 nats."""

SQRT_2 = math.sqrt(2.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """`bins` equal bins over [low, high]; with `tails` > 0 the first and the last bin are half-normals of that
    deviation which hang on the inner edge of the bin and reach to infinity.
    """

    low: float
    high: float
    bins: int
    tails: float = 0.0

    @property
    def width(self) -> float:
        return (self.high - self.low) / self.bins

    def index(self, y: Tensor) -> Tensor:
        """The bin (...) of y (...); beyond the edges, the outermost."""
        return ((y - self.low) / self.width).long().clamp(0, self.bins - 1)

    def edges(self, like: Tensor) -> Tensor:
        return torch.linspace(self.low, self.high, self.bins + 1, device=like.device, dtype=like.dtype)

    def log_widths(self, y: Tensor, index: Tensor) -> Tensor:
        """-log of the density (...) within its bin at y (...)."""
        inner = torch.full_like(y, math.log(self.width))
        if not self.tails:
            return inner
        beyond = torch.where(index == 0, self.low + self.width - y, y - (self.high - self.width))
        tail = 0.5 * (beyond / self.tails).square() + math.log(self.tails * math.sqrt(math.pi / 2))
        return torch.where((index == 0) | (index == self.bins - 1), tail, inner)


@dataclass(frozen=True, slots=True)
class Bars:
    """Beliefs (...): `p` (..., bins) is the mass of each bin of `grid`.

    All answers have shape (...), in the units of the grid. Closed forms; nothing is sampled but in `sample`.
    """

    grid: Grid
    p: Tensor

    def log_density(self, y: Tensor) -> Tensor:
        """log p(y), finite for finite y (...) and, without tails, for y outside the grid as at its edge."""
        index = self.grid.index(y)
        return self.p.gather(-1, index[..., None])[..., 0].log() - self.grid.log_widths(y, index)

    def mean(self) -> Tensor:
        return (self.p * self._means()).sum(-1)

    def variance(self) -> Tensor:
        means, width = self._means(), self.grid.width
        within = torch.full_like(means, width * width / 12)
        if self.grid.tails:
            within[..., 0] = within[..., -1] = self.grid.tails**2 * (1 - 2 / math.pi)
        second = (self.p * (means.square() + within)).sum(-1)
        return (second - self.mean().square()).clamp_min(0.0)

    def cdf(self, y: Tensor) -> Tensor:
        """P(Y ≤ y) at y (...)."""
        index = self.grid.index(y)
        below = self.p.cumsum(-1).gather(-1, index[..., None])[..., 0]
        mass = self.p.gather(-1, index[..., None])[..., 0]
        return (below - mass * (1.0 - self._share_below(y, index))).clamp(0.0, 1.0)

    def exceedance(self, y: Tensor) -> Tensor:
        """P(Y > y) at y (...): the probability of improvement over y."""
        return 1.0 - self.cdf(y)

    def quantile(self, level: Tensor | float) -> Tensor:
        """The y with P(Y ≤ y) = level, for levels (...) in (0, 1)."""
        levels = torch.as_tensor(level, dtype=self.p.dtype, device=self.p.device).expand(self.p.shape[:-1])
        total = self.p.cumsum(-1)
        index = torch.searchsorted(total, (levels * total[..., -1])[..., None])[..., 0].clamp_max(self.grid.bins - 1)
        mass = self.p.gather(-1, index[..., None])[..., 0]
        before = total.gather(-1, index[..., None])[..., 0] - mass
        share = ((levels * total[..., -1] - before) / mass).clamp(0.0, 1.0)
        return self._at_share(share, index)

    def interval(self, mass: float) -> tuple[Tensor, Tensor]:
        """The central interval that holds at least `mass`: its ends (...) and (...).

        Without tails it consists of whole bins: what is believed of a diverged run, a score of exactly 0, lies
        somewhere in the first.
        """
        low, high = self.quantile(0.5 - 0.5 * mass), self.quantile(0.5 + 0.5 * mass)
        if self.grid.tails:
            return low, high
        edges = self.grid.edges(self.p)
        return edges[self.grid.index(low)], edges[self.grid.index(high) + 1]

    def expected_improvement(self, best: Tensor) -> Tensor:
        """E[max(Y - best, 0)] at best (...).

        Σ over bins above of p (mean - best), and for the bin that holds it p (upper - best)² / (2 width).
        """
        grid = self.grid
        lower = grid.edges(self.p)[:-1]
        upper = lower + grid.width
        above = (self._means() - best[..., None]).clamp_min(0.0)
        inside = (upper - best[..., None]).clamp_min(0.0).square() / (2 * grid.width)
        gains = torch.where(best[..., None] > lower, inside, above)
        if grid.tails:
            gains[..., 0], gains[..., -1] = self._tail_gains(best)
        return (self.p * gains).sum(-1)

    def sample(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Independent draws (draws, ...)."""
        levels = torch.rand((draws, *self.p.shape[:-1]), generator=generator, device=self.p.device, dtype=self.p.dtype)
        spread = Bars(self.grid, self.p.expand(draws, *self.p.shape))
        return spread.quantile(levels.clamp(1e-6, 1 - 1e-6))

    def _means(self) -> Tensor:
        """The mean (bins,) of each bin."""
        grid = self.grid
        means = grid.edges(self.p)[:-1] + 0.5 * grid.width
        if grid.tails:
            reach = grid.tails * math.sqrt(2 / math.pi)
            means[0] = grid.low + grid.width - reach
            means[-1] = grid.high - grid.width + reach
        return means

    def _share_below(self, y: Tensor, index: Tensor) -> Tensor:
        """The share (...) of the mass of bin `index` that lies below y."""
        grid = self.grid
        share = ((y - grid.low) / grid.width - index).clamp(0.0, 1.0)
        if not grid.tails:
            return share
        low_tail = 1.0 - torch.erf((grid.low + grid.width - y).clamp_min(0.0) / (grid.tails * SQRT_2))
        high_tail = torch.erf((y - (grid.high - grid.width)).clamp_min(0.0) / (grid.tails * SQRT_2))
        return torch.where(index == 0, low_tail, torch.where(index == grid.bins - 1, high_tail, share))

    def _at_share(self, share: Tensor, index: Tensor) -> Tensor:
        """The inverse of `_share_below`."""
        grid = self.grid
        inner = grid.low + (index + share) * grid.width
        if not grid.tails:
            return inner
        reach = grid.tails * SQRT_2
        low_tail = grid.low + grid.width - reach * torch.erfinv((1.0 - share).clamp_max(1 - 1e-6))
        high_tail = grid.high - grid.width + reach * torch.erfinv(share.clamp_max(1 - 1e-6))
        return torch.where(index == 0, low_tail, torch.where(index == grid.bins - 1, high_tail, inner))

    def _tail_gains(self, best: Tensor) -> tuple[Tensor, Tensor]:
        """E[max(Y - best, 0)] (...) given that Y lies in the first bin, and given that it lies in the last.

        Of a half-normal on h > 0 of deviation s:  E[max(h - c, 0)] = 2 s (φ(c/s) - (c/s) Φ(-c/s))  for c ≥ 0.
        """
        grid = self.grid
        reach = grid.tails * math.sqrt(2 / math.pi)
        low_edge, high_edge = grid.low + grid.width, grid.high - grid.width
        high = torch.where(best > high_edge, self._half_normal_excess(best - high_edge), high_edge + reach - best)
        depth = (low_edge - best).clamp_min(0.0)
        low = depth - reach + self._half_normal_excess(depth)
        return torch.where(best < low_edge, low, torch.zeros_like(low)), high

    def _half_normal_excess(self, c: Tensor) -> Tensor:
        z = c.clamp_min(0.0) / self.grid.tails
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        excess: Tensor = 2 * self.grid.tails * (density - z * torch.special.ndtr(-z))
        return excess


def bars(grid: Grid, logits: Tensor) -> Bars:
    """The belief of a network's answer (..., bins), with the even floor mixed in."""
    p = torch.softmax(logits.float(), -1)
    return Bars(grid, (1.0 - FLOOR) * p + FLOOR / grid.bins)


def surprise(grid: Grid, logits: Tensor, y: Tensor) -> Tensor:
    """-log density (...) of y (...) under `bars(grid, logits)`, without making them: what training makes small."""
    index = grid.index(y)
    chosen = -torch.nn.functional.cross_entropy(logits.float().flatten(0, -2), index.flatten(), reduction="none")
    floor = torch.full_like(chosen, math.log(FLOOR / grid.bins))
    log_mass = torch.logaddexp(chosen + math.log(1.0 - FLOOR), floor).view_as(y)
    return grid.log_widths(y, index) - log_mass
