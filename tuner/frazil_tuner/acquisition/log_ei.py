"""Expected improvement, by logarithm, so that its gradient never vanishes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..surrogates import Belief
    from .maximise import Worth

NEAR, FAR = -1.0, -40.0
"""Where `log_h` changes its formula; at either switch both sides agree to 1e-11 in value and gradient."""


def log_ei(belief: Belief) -> Worth:
    """Log of the expected improvement on the incumbent, averaged over the imagined outcomes of what is running.

    log 1/S Σ_s E[max(f_s - best_s, 0)],  f_s ~ N(mean_s, sd²)
    """
    best = belief.incumbent[:, None]  # (S, 1)

    def worth(x: Tensor) -> Tensor:
        mean, sd = belief.posterior(x)
        return log_expected_improvement(mean, sd, best).logsumexp(0) - math.log(len(best))

    return worth


def log_expected_improvement(mean: Tensor, sd: Tensor, best: Tensor) -> Tensor:
    """Log of the expected improvement over `best`, when larger is better; `mean`, `sd` > 0 and `best` broadcast.

        log E[max(f - best, 0)] = log sd + log h((mean - best) / sd),  f ~ N(mean, sd²)      Ament et al. 2023, eq. (9)

    Finite, with a usable gradient, wherever |mean - best| / sd ≤ 1e150 in float64.
    """
    return sd.log() + log_h((mean - best) / sd)


def log_h(z: Tensor) -> Tensor:
    """log(φ(z) + z Φ(z)) for |z| ≤ 1e150, to 1e-10 of its size, gradient included.

    z ≥ -1            as written
    -40 ≤ z < -1      -z²/2 - ½ log 2π + log(1 - √(π/2) |z| erfcx(|z|/√2))
    z < -40           -z²/2 - ½ log 2π - 2 log |z| + log(1 - 3/z² + 15/z⁴ - 105/z⁶ + 945/z⁸)
    """
    below = torch.where(z >= FAR, _middle(z.clamp(FAR, NEAR)), _far(z.clamp_max(FAR)))
    return torch.where(z >= NEAR, _near(z.clamp_min(NEAR)), below)


def _near(z: Tensor) -> Tensor:
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return torch.log(density + z * torch.special.ndtr(z))


def _middle(z: Tensor) -> Tensor:
    ratio = math.sqrt(math.pi / 2) * -z * torch.special.erfcx(-z / math.sqrt(2))
    return _log_density(z) + torch.log1p(-ratio)


def _far(z: Tensor) -> Tensor:
    w = z.reciprocal().square()
    return _log_density(z) - 2 * (-z).log() + torch.log1p(w * (-3 + w * (15 + w * (-105 + w * 945))))


def _log_density(z: Tensor) -> Tensor:
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
