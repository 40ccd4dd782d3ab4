"""Each fidelity a multiple of the one below and a correction: linear co-kriging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..general import NOISE, SIGNALS, ExactBelief, Model, Prior, Values, gaps_between, length_prior, mixed
from .base import fit_fidelities, levels_of, with_index

if TYPE_CHECKING:
    from ..base import Evidence


@dataclass(frozen=True, slots=True)
class Autoregressive:
    """f_t(x) = ρ_t f_{t-1}(x) + δ_t(x), every δ_t a process with scales and a level of its own, f_0 one as well.

        Cov(f_t(x), f_u(x')) = Σ_{l ≤ min(t, u)} (Π_{l < j ≤ t} ρ_j) (Π_{l < j ≤ u} ρ_j) k_l(x, x')

    Kennedy and O'Hagan 2000, eqs. (1) to (3). Exact whether the points of a fidelity are among those of the one below
    or not; where they are, and without noise, it is the recursion of Le Gratiet and Garnier 2014.
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        levels = levels_of(evidence)
        return fit_fidelities(autoregressive_model(evidence.unordered[:-1], levels), evidence)


def autoregressive_model(unordered: Tensor, levels: Tensor) -> Model:
    """The model of the levels (L,); features are a point and the level's index, 0 for the lowest."""
    d, count = len(unordered), len(levels)

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        gaps = gaps_between(a[..., :d], b[..., :d], unordered)
        reach = _reach(values["ratio"])
        t, u = (reach[rows[..., d].detach().long()] for rows in (a, b))  # (..., m, L), (..., n, L)
        k = t[..., :, None, 0] * u[..., None, :, 0] * mixed(gaps, values, unordered)
        for level in range(1, count):
            own = {name: values[f"{name}_{level}"] for name in ("lengths", "joint", "additive")}
            correction = mixed(gaps, own, unordered) + values[f"level_{level}"]
            k = k + t[..., :, None, level] * u[..., None, :, level] * correction
        return k

    corrections = [prior for level in range(1, count) for prior in _correction_priors(d, level)]
    priors = (length_prior(d), *SIGNALS, Prior("ratio", count - 1, 1.0, 1.0, positive=False), *corrections, NOISE)
    return Model(kernel, priors, lambda x: with_index(x, levels))


def _correction_priors(d: int, level: int) -> tuple[Prior, ...]:
    own = length_prior(d)
    return (
        Prior(f"lengths_{level}", d, own.centre, own.spread),
        Prior(f"joint_{level}", 1, -2.5, 1.5),
        Prior(f"additive_{level}", 1, -4.0, 1.5),
        Prior(f"level_{level}", 1, -1.0, 1.5),
    )


def _reach(ratios: Tensor) -> Tensor:
    """Π_{l < j ≤ t} ρ_j in row t and column l (L, L), 0 above the diagonal, of the ratios ρ (L - 1,)."""
    one = torch.ones(1, dtype=ratios.dtype)
    row, rows = one, [one]
    for ratio in ratios:
        row = torch.cat([row * ratio, one])
        rows.append(row)
    return torch.stack([torch.nn.functional.pad(row, (0, len(rows) - len(row))) for row in rows])
