"""Muon: momentum whose singular values are all made 1, for the matrices of the layers.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon); scaled as AdamW's updates are, so that one learning rate and one
weight decay serve both: Liu et al. 2025 (arXiv 2502.16982, section 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(matrices: Tensor, rounds: int = 5) -> Tensor:
    """About U Vᵀ of matrices (k, r, c) = U S Vᵀ; singular values from 0.7 to 1.2.

    X ← a X + (b A + c A²) X,  A = X Xᵀ,  from X = G / |G|          a quintic iteration after Newton and Schulz
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    wide = x if x.shape[1] <= x.shape[2] else x.mT
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if matrices.shape[1] <= matrices.shape[2] else x.mT).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Each group holds matrices of one shape, updated together; `parts` of them lie on one another in each parameter.

    Where `found_inf` is a tensor (1.0 or 0.0), a step with 1.0 changes nothing, as in the fused AdamW of torch.
    """

    found_inf: Tensor | None = None

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "parts": 1})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            self._step_group(group)

    def _step_group(self, group: dict[str, Any]) -> None:
        """m ← m + (1 - β)(g - m);  W ← (1 - lr wd) W - lr · 0.2 √max(r, c) · orthogonal(g + β (m - g))"""
        weights, parts = group["params"], group["parts"]
        rows, columns = weights[0].shape[0] // parts, weights[0].shape[1]
        gradients = torch.stack([p.grad for p in weights]).view(-1, rows, columns)
        good = torch.ones((), device=gradients.device) if self.found_inf is None else 1.0 - self.found_inf
        gradients = torch.where(good > 0, gradients, 0.0)
        memory = self.state[weights[0]].setdefault("momentum", torch.zeros_like(gradients))
        memory.lerp_(gradients, good * (1.0 - group["momentum"]))
        update = orthogonal(gradients.lerp(memory, group["momentum"]))
        update *= good * (0.2 * group["lr"] * max(rows, columns) ** 0.5)
        torch._foreach_mul_(weights, 1.0 - good * (group["lr"] * group["weight_decay"]))
        torch._foreach_sub_(weights, list(update.view(len(weights), parts * rows, columns).unbind(0)))
