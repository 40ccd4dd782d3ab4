"""Where to look in an environment that is not ours to choose in use, but is in a trial. Needs torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .lookahead import noise_variance

if TYPE_CHECKING:
    from ..surrogates import Belief
    from .outlook import Outlook


@torch.no_grad()
def choose_environment(outlook: Outlook, row: Tensor, columns: Tensor, scenarios: Tensor, belief: Belief) -> Tensor:
    """The design `row` (d,) in that one of the scenarios whose outcome tells most of the design's mean over all.

        argmax_w (1/W Σ_v cov(f_v, f_w))² / (var(f_w) + σ²): how much of the mean's variance an observation takes away

    `scenarios` (W, k) are values of the environment's `columns` (d,), a mask; `belief` is that about single outcomes,
    not about the robust objective.                                                     Williams, Santner and Notz 2000
    """
    everywhere = row.repeat(len(scenarios), 1)
    everywhere[:, columns] = scenarios
    covariance = belief.joint(everywhere[None])[1].mean(0)[0]  # (W, W)
    noise = noise_variance(replace(outlook, objectives=(belief,)), everywhere)
    told = covariance.mean(0).square() / (covariance.diagonal() + noise).clamp_min(1e-300)
    return everywhere[told.argmax()]
