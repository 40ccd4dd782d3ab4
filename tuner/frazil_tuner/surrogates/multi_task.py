"""A Gaussian process over several studies: what earlier ones have shown helps where they are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from scipy.stats import kendalltau
from torch import Tensor

from .base import Evidence, Unsuited
from .general import NOISE, SIGNALS, ExactBelief, Model, Prior, Seen, Values, fit, gaps_between, length_prior, mixed
from .gp import GaussianProcess
from .selection import best_and_spread, rows_of

MOST_ROWS = 200
"""Rows of all studies together; those of the present one are all kept."""

LEAST_JUDGED = 3
"""Own observations from which on it is asked whether the earlier studies tell the truth."""


@dataclass(frozen=True, slots=True)
class MultiTask:
    """Intrinsic coregionalisation: studies t, u share a function of the space as far as B says, which is learned.

    Cov(f_t(x), f_u(x')) = s_t s_u (B_tu k(x, x') + [t = u] c),   B = w wᵀ + diag(κ)      Bonilla et al. 2008

    with a level c of each study's own and a stretch s_0 of the present one's, because each study's outcomes come
    standardised by themselves, and few good points are far from standard. The belief is about the present study, 0;
    without observations of its own, the points of the earlier ones stand in for them. Where the earlier studies order
    its points no better than chance, by Kendall's τ, they mislead: it is Unsuited.        cf. Feurer et al. 2018, §4
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        evidence = _at_most(evidence, MOST_ROWS)
        assert evidence.tasks is not None
        own = evidence.tasks == 0
        if int(own.sum()) >= LEAST_JUDGED and not own.all() and concordance(evidence) <= 0:
            raise Unsuited("the earlier studies mislead")
        return _fit(evidence)


def concordance(evidence: Evidence) -> float:
    """Kendall's τ, from -1 to 1, between the present study's outcomes and what the earlier ones alone predict there."""
    assert evidence.tasks is not None
    own = evidence.tasks == 0
    earlier = replace(rows_of(evidence, (~own).nonzero()[:, 0]), start={}, noise=None)
    predicted, _ = GaussianProcess().fit(earlier).moments(evidence.X[own].numpy())
    tau = float(kendalltau(predicted[0], evidence.y[own].numpy()).statistic)
    return tau if math.isfinite(tau) else 0.0


def _fit(evidence: Evidence) -> ExactBelief:
    assert evidence.tasks is not None
    known, task = torch.unique(evidence.tasks, return_inverse=True)
    earlier = int(known[0] > 0)  # without rows of its own the present study still is task 0
    features = torch.cat([evidence.X, task[:, None] + earlier], dim=1)
    own = evidence.tasks == 0
    points = evidence.X[own] if own.any() else evidence.X
    model = _model(evidence.unordered, len(known) + earlier)
    return fit(model, Seen.of(evidence, features), points, evidence.start)


def _at_most(evidence: Evidence, most: int) -> Evidence:
    """The evidence with an equal share of its rows for each earlier task, then all those of task 0."""
    if evidence.tasks is None:
        return replace(evidence, tasks=torch.zeros(len(evidence.y), dtype=torch.long))
    own = (evidence.tasks == 0).nonzero()[:, 0]
    others = [task for task in torch.unique(evidence.tasks).tolist() if task != 0]
    share = max((most - len(own)) // max(len(others), 1), 10)
    kept = []
    for task in others:
        rows = (evidence.tasks == task).nonzero()[:, 0]
        kept.append(rows[best_and_spread(evidence.X[rows], evidence.y[rows], share)])
    return rows_of(evidence, torch.cat([*kept, own]))


def _model(unordered: Tensor, count: int) -> Model:
    """The model of `count` tasks; features are a point and the task's index, 0 for the present one."""
    d = len(unordered)

    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        w, own, level = values["weights"], values["own"], values["level"]
        scale = torch.cat([values["stretch"], torch.ones(count - 1, dtype=w.dtype)])
        t, u = (rows[..., d].detach().long() for rows in (a, b))
        same = (t[..., :, None] == u[..., None, :]).to(a.dtype)
        alike = w[t][..., :, None] * w[u][..., None, :] + same * own[t][..., :, None]
        k = alike * mixed(gaps_between(a[..., :d], b[..., :d], unordered), values, unordered) + same * level
        return scale[t][..., :, None] * k * scale[u][..., None, :]

    def noise(features: Tensor, values: Values) -> Tensor:
        return values["noise"][features[:, d].detach().long()]

    priors = (
        length_prior(d),
        *SIGNALS,
        Prior("weights", count, 1.0, 0.5, positive=False),
        Prior("own", count, -3.0, 1.5),
        Prior("level", 1, -1.0, 1.0),
        Prior("stretch", 1, 0.0, 1.0),
        replace(NOISE, size=count),
    )
    return Model(kernel, priors, lambda x: torch.cat([x, torch.zeros_like(x[..., :1])], dim=-1), noise)
