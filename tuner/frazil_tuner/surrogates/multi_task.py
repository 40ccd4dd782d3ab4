"""A Gaussian process over several studies: what earlier ones have shown helps where they are alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .base import Evidence
from .general import NOISE, SIGNALS, ExactBelief, Model, Prior, Seen, Values, fit, gaps_between, length_prior, mixed
from .selection import best_and_spread, rows_of

MOST_ROWS = 300
"""Rows of all studies together; those of the present one are all kept."""


@dataclass(frozen=True, slots=True)
class MultiTask:
    """Intrinsic coregionalisation: studies t, u share a function of the space as far as B says, which is learned.

    Cov(f_t(x), f_u(x')) = B_tu k(x, x') + [t = u] c_t,   B = w wᵀ + diag(κ)       Bonilla, Chai and Williams 2008, §2

    c_t is how far the level of a study may lie from the others': each study's outcomes come standardised by itself,
    and few good points of the present one are far from standard. The belief is about task 0. Without observations of
    its own, the points of the earlier studies stand in for them.
    """

    def fit(self, evidence: Evidence) -> ExactBelief:
        evidence = _at_most(evidence, MOST_ROWS)
        X, tasks = evidence.X, evidence.tasks
        assert tasks is not None
        known, index = torch.unique(torch.cat([torch.zeros(1, dtype=tasks.dtype), tasks]), return_inverse=True)
        own = tasks == 0
        seen = Seen.of(evidence, torch.cat([X, index[1:, None].to(X.dtype)], dim=1))
        points = X[own] if own.any() else X
        return fit(_model(evidence.unordered, len(known)), seen, points, evidence.start)


def _at_most(evidence: Evidence, most: int) -> Evidence:
    """The evidence with all rows of task 0 and an equal share of the rest for each other task, task numbers filled in.

    Tasks come in the order of their numbers, so the present one, 0, is first.
    """
    if evidence.tasks is None:
        return replace(evidence, tasks=torch.zeros(len(evidence.y), dtype=torch.long))
    own = (evidence.tasks == 0).nonzero()[:, 0]
    others = [task for task in torch.unique(evidence.tasks).tolist() if task != 0]
    share = max((most - len(own)) // max(len(others), 1), 10)
    kept = [own]
    for task in others:
        rows = (evidence.tasks == task).nonzero()[:, 0]
        kept.append(rows[best_and_spread(evidence.X[rows], evidence.y[rows], share)])
    return rows_of(evidence, torch.cat(kept))


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
        length_prior("lengths", d),
        *SIGNALS,
        Prior("weights", count, 1.0, 0.5, positive=False),
        Prior("own", count, -3.0, 1.5),
        Prior("level", 1, -1.0, 1.0),
        Prior("stretch", 1, 0.0, 1.0),
        replace(NOISE, size=count),
    )
    return Model(kernel, priors, lambda x: torch.cat([x, torch.zeros_like(x[..., :1])], dim=-1), noise)
