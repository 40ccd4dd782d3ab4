"""Sources of information without an order: what one tells of another is a table of numbers, learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..general import NOISE, SIGNALS, ExactBelief, Model, Prior, Values, gaps_between, length_prior, mixed
from .base import fit_fidelities, levels_of, with_index

if TYPE_CHECKING:
    from ..base import Evidence


@dataclass(frozen=True, slots=True)
class Coregional:
    """Intrinsic coregionalisation: all sources t, u share the scales of one function of the space.

    Cov(f_t(x), f_u(x')) = B_tu k(x, x') + [t = u] c_t,   B = w wᵀ + diag(κ)        Álvarez, Rosasco and Lawrence 2012

    c_t is a level of each source's own; that of the target is the mean of the process.
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        return fit_fidelities(coregional_model(evidence.unordered[:-1], levels_of(evidence)), evidence)


def coregional_model(unordered: Tensor, levels: Tensor) -> Model:
    """The model of the sources (L,); features are a point and the source's index, L - 1 for the target."""
    d, count = len(unordered), len(levels)

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        w, own, level = values["weights"], values["own"], values["level"]
        t, u = (rows[..., d].detach().long() for rows in (a, b))
        same = (t[..., :, None] == u[..., None, :]).to(a.dtype)
        alike = w[t][..., :, None] * w[u][..., None, :] + same * own[t][..., :, None]
        below = same * (t < count - 1).to(a.dtype)[..., :, None]
        return alike * mixed(gaps_between(a[..., :d], b[..., :d], unordered), values, unordered) + below * level

    priors = (
        length_prior(d),
        *SIGNALS,
        Prior("weights", count, 1.0, 0.5, positive=False),
        Prior("own", count, -3.0, 1.5),
        Prior("level", 1, -1.0, 1.5),
        NOISE,
    )
    return Model(kernel, priors, lambda x: with_index(x, levels))
