"""Correlations between points of the unit cube: a radial family over ordered columns, Hamming over unordered ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Family:
    """A correlation as a function of the scaled squared distance s ≥ 0 and of the Hamming distance h ≥ 0.

    `both(s, h)` gives k = ρ(s) exp(-h) and g = -2 ∂k/∂s, each of the shape of s; it may overwrite s.
    """

    name: str
    both: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


def _matern52(s: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
    """k = (1 + r + r²/3) e^(-r),  g = 5/3 (1 + r) e^(-r),  r = √(5s)       Rasmussen and Williams 2006, eq. (4.17)"""
    r = s.mul_(5).clamp_min_(1e-20).sqrt_()
    decay = torch.exp(-r) if h is None else torch.exp(-r - h)
    g = torch.addcmul(decay, r, decay)
    k = torch.addcmul(g, r.square_(), decay, value=1 / 3)
    return k, g.mul_(5 / 3)


def _gaussian(s: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
    """k = g = e^(-s/2)       Rasmussen and Williams 2006, eq. (4.9)"""
    k = s.mul_(-0.5) if h is None else s.mul_(-0.5).sub_(h)
    k = k.exp_()
    return k, k.clone()


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (Family("matern52", _matern52), Family("gaussian", _gaussian))}
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """k(a, b) = ρ(Σ_ordered (a_j - b_j)² / ℓ_j²) exp(-Σ_unordered [a_j ≠ b_j] / ℓ_j), a correlation.

    `lengths` (d,) are in edges of the cube, `unordered` (d,) is a mask.
    """

    lengths: Tensor
    unordered: Tensor
    family: Family = FAMILIES["matern52"]

    def both(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Correlations k and slopes g = -2 ∂k/∂s (m, n) between rows a (m, d) and b (n, d), without gradients."""
        return self.family.both(self._squared(a, b), self._hamming(a, b))

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Correlations (m, n), or (…, m, n) for batches of rows; differentiable in the ordered columns."""
        k: Tensor = _Correlation.apply(a, b, self)  # type: ignore[no-untyped-call]
        return k

    def push(self, a: Tensor, b: Tensor, pull: Tensor) -> Tensor:
        """Σ_b pull_ab ∂s_ab/∂a · (-½) (m, d): what a slope of `pull` (m, n) in -½ s means for the rows a (m, d)."""
        moved = (pull @ b - a * pull.sum(-1, keepdim=True)) / self.lengths.square()
        return torch.where(self.unordered, torch.zeros_like(moved), moved)

    def _squared(self, a: Tensor, b: Tensor) -> Tensor:
        """The scaled squared distances s (…, m, n) ≥ 0 over ordered columns."""
        inverse = torch.where(self.unordered, torch.zeros_like(self.lengths), self.lengths.reciprocal())
        x, z = (a - 0.5) * inverse, (b - 0.5) * inverse  # around the centre, so that less is lost in the difference
        s = x @ z.transpose(-1, -2)
        s.mul_(-2).add_(x.square().sum(-1, keepdim=True)).add_(z.square().sum(-1).unsqueeze(-2))
        return s.clamp_min_(0)

    def _hamming(self, a: Tensor, b: Tensor) -> Tensor | None:
        """h (…, m, n); None without unordered columns."""
        if not self.unordered.any():
            return None
        apart = a[..., :, None, self.unordered] != b[..., None, :, self.unordered]
        return apart.to(a.dtype) @ self.lengths[self.unordered].reciprocal()


class _Correlation(torch.autograd.Function):
    """The kernel with its slopes written out: a handful of operations forwards and back."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, a: Tensor, b: Tensor, kernel: Kernel) -> Tensor:
        k, g = kernel.both(a, b)
        ctx.save_for_backward(a, b, g)
        ctx.kernel = kernel  # type: ignore[attr-defined]
        return k

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *pulls: Tensor) -> tuple[Tensor | None, ...]:
        a, b, g = ctx.saved_tensors  # type: ignore[attr-defined]
        kernel: Kernel = ctx.kernel  # type: ignore[attr-defined]
        pull = pulls[0] * g
        for_a = kernel.push(a, b, pull) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        for_b = kernel.push(b, a, pull.transpose(-1, -2)) if ctx.needs_input_grad[1] else None  # type: ignore[attr-defined]
        return for_a, for_b, None
