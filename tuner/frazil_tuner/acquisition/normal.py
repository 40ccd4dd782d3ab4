"""Logarithms of what normal distributions need, exact in both tails. Needs torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEAR, FAR = -1.0, -40.0
"""Where `log_h` changes its formula, and `log_ndtr` at `NEAR`; at either switch both sides agree to 1e-11 in value and
gradient.
"""


def log_mean_exp(values: Tensor) -> Tensor:
    """Log of the mean of exp over the first dimension."""
    return values.logsumexp(0) - math.log(len(values))


def log_density(z: Tensor) -> Tensor:
    """log φ(z), the standard normal density."""
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


def log_ndtr(z: Tensor) -> Tensor:
    """log Φ(z), the standard normal distribution, for |z| ≤ 1e150, to 1e-12 of its size, gradient included.

    z ≥ -1   log(1 - Φ(-z))
    z < -1   -z²/2 + log(½ erfcx(|z|/√2))

    torch's own has the same values, but its slope is lost below -1e8.
    """
    far = z.clamp_max(NEAR)
    below = -0.5 * far.square() + (0.5 * torch.special.erfcx(-far / math.sqrt(2))).log()
    beyond = 0.5 * torch.special.erfc(z.clamp_min(NEAR) / math.sqrt(2))
    return torch.where(z >= NEAR, torch.log1p(-beyond), below)


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
    return log_density(z) + torch.log1p(-ratio)


def _far(z: Tensor) -> Tensor:
    w = z.reciprocal().square()
    return log_density(z) - 2 * (-z).log() + torch.log1p(w * (-3 + w * (15 + w * (-105 + w * 945))))
