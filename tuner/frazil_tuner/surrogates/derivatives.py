"""A Gaussian process that learns from slopes as well as from outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Evidence, Slopes
from .general import (
    NOISE,
    SIGNALS,
    ExactBelief,
    Model,
    Prior,
    Seen,
    Values,
    fit,
    length_prior,
)

SLOPE_NOISE = Prior("slope_noise", 1, -4.0, 2.5)
"""Noise variance of slopes, in squared outcomes per edge of the cube."""


@dataclass(frozen=True, slots=True)
class Derivatives:
    """The exact Gaussian process, Matérn 5/2 over ordered columns, given outcomes and slopes in ordered columns."""

    def fit(self, evidence: Evidence) -> ExactBelief:
        model = _model(evidence.unordered)
        values = Seen.of(evidence, model.features(evidence.X))
        seen = values if evidence.slopes is None else _and_slopes(values, evidence.X, evidence.slopes)
        return fit(model, seen, evidence.X, evidence.start)


def _and_slopes(seen: Seen, X: Tensor, slopes: Slopes) -> Seen:
    """With a row of features for each slope: its point, no share of the value, and a 1 in its column."""
    k, d = len(slopes.rows), X.shape[1]
    along = torch.nn.functional.one_hot(slopes.columns, d).to(X.dtype)
    features = torch.cat([X[slopes.rows], torch.zeros(k, 1, dtype=X.dtype), along], dim=1)
    return Seen(
        torch.cat([seen.features, features]),
        torch.cat([seen.outcomes, slopes.slopes[None]], dim=1),
        torch.cat([seen.noise, torch.full((k,), torch.nan, dtype=X.dtype)]),
        torch.cat([seen.level, torch.zeros(k, dtype=X.dtype)]),
    )


def _model(unordered: Tensor) -> Model:
    """Features are a point x (d,), the share v of the value and the shares e (d,) of the derivatives in v f + e·∇f."""
    d = len(unordered)

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return values["joint"] * observed_kernel(a, b, values["lengths"], unordered)

    def features(x: Tensor) -> Tensor:
        return torch.cat([x, torch.ones_like(x[..., :1]), torch.zeros_like(x)], dim=-1)

    def noise(rows: Tensor, values: Values) -> Tensor:
        return torch.where(rows[:, d] > 0, values["noise"], values["slope_noise"])

    return Model(kernel, (length_prior(d), SIGNALS[0], NOISE, SLOPE_NOISE), features, noise)


def observed_kernel(a: Tensor, b: Tensor, lengths: Tensor, unordered: Tensor) -> Tensor:
    """Covariances of v f(x) + e·∇f(x) with v' f(x') + e'·∇f(x'), rows (…, m, 2d + 1) and (…, n, 2d + 1) of x, v, e.

    v v' φ + 2 φ' (v' e·δ - v e'·δ) - 4 φ'' (e·δ)(e'·δ) - 2 φ' e·Λe',   Λ = diag(1/ℓ²),  δ = Λ (x - x')

    where φ(s) = (1 + r + r²/3) e^(-r),  φ' = -5/6 (1 + r) e^(-r),  φ'' = 25/12 e^(-r),  r = √(5s), s = (x - x')·δ.
    Rasmussen and Williams 2006, eq. (9.1), for Matérn 5/2; unordered columns multiply by exponentiated Hamming.
    """
    d = len(unordered)
    ordered, inverse = ~unordered, lengths[~unordered].square().reciprocal()
    (x, v, e), (z, u, g) = ((rows[..., :d], rows[..., d, None], rows[..., d + 1 :][..., ordered]) for rows in (a, b))
    xo, zo = x[..., ordered], z[..., ordered]
    r = (5 * squared_distance(xo, zo, lengths[ordered])).clamp_min(1e-20).sqrt()
    decay = (-r).exp()
    first = -5 / 6 * (1 + r) * decay
    left = (e * inverse * xo).sum(-1, keepdim=True) - (e * inverse) @ zo.mT  # e·δ
    right = xo @ (g * inverse).mT - (g * inverse * zo).sum(-1)[..., None, :]  # e'·δ
    u = u.mT
    smooth = v * u * (1 + r + r.square() / 3) * decay + 2 * first * (u * left - v * right)
    smooth = smooth - 25 / 3 * decay * left * right - 2 * first * ((e * inverse) @ g.mT)
    if not unordered.any():
        return smooth
    return smooth * (-hamming(x[..., unordered], z[..., unordered], lengths[unordered])).exp()


def squared_distance(a: Tensor, b: Tensor, lengths: Tensor) -> Tensor:
    """Σ_j (a_j - b_j)² / ℓ_j² (..., m, n) between rows a (..., m, d) and b (..., n, d)."""
    x, z = ((rows - 0.5) / lengths for rows in (a, b))  # centred: less is lost in the differences
    return x.square().sum(-1)[..., :, None] + z.square().sum(-1)[..., None, :] - 2 * x @ z.mT


def hamming(a: Tensor, b: Tensor, lengths: Tensor) -> Tensor:
    """Σ_j [a_j ≠ b_j] / ℓ_j (..., m, n)."""
    return (a[..., :, None, :] != b[..., None, :, :]).to(a.dtype) @ lengths.reciprocal()
