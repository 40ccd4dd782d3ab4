"""Posterior moments of many points on another device: worth the journey only for long lists of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..numerics import Floats
    from .gp import GaussianBelief

SETTING = "FRAZIL_DEVICE"
"""The environment variable that chooses: auto, cpu or cuda."""

TRIED = tuple(4**k * 1_000 for k in range(2, 10))
"""Numbers of coordinate differences (points × trials × dimensions) at which the two are timed against each other."""

AT_ONCE = 100_000_000
"""Coordinate differences held on the device at a time."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where long lists are computed: `name` for torch, and the `crossover` in coordinate differences (points × trials ×
    dimensions) from which on it is faster than the processor; None if it never is.
    """

    name: str
    crossover: int | None = None


def moments(belief: GaussianBelief, x: Floats, device: str) -> tuple[Floats, Floats]:
    """`GaussianBelief.moments` on a device of torch's: means (S, m) and deviations (m,) at x (m, d), in float64."""

    def there(array: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    X, weights, whitener = there(belief.X), there(belief.weights), there(belief.whitener)
    rows = max(AT_ONCE // max(belief.X.size, 1), 1)
    means, sds = [], []
    for part in torch.split(there(x), rows):
        k = _covariance(belief, part, X)  # (m, n)
        means.append(belief.mean + weights @ k.T)
        explained = (k @ whitener).square().sum(1)
        sds.append((belief.covariance.hyper.signal - explained).clamp_min(1e-12).sqrt())
    return torch.cat(means, dim=1).cpu().numpy(), torch.cat(sds).cpu().numpy()


def _covariance(belief: GaussianBelief, a: Tensor, b: Tensor) -> Tensor:
    """`Covariance.__call__` in torch, on the device of a (m, d) and b (n, d)."""
    hyper = belief.covariance.hyper
    unordered = torch.from_numpy(belief.covariance.unordered).to(a.device)
    lengths = torch.from_numpy(hyper.lengths).to(a.device)
    apart = a[:, None, :] - b[None, :, :]
    s = torch.where(unordered, 0.0, (apart / lengths).square())
    h = torch.where(unordered, (apart != 0) / lengths, 0.0)
    alone = torch.where(unordered, (-h).exp(), _matern52(s * a.shape[1])).sum(2)
    return hyper.joint * _matern52(s.sum(2)) * (-h.sum(2)).exp() + belief.covariance.share * alone


def _matern52(s: Tensor) -> Tensor:
    r = (5 * s).sqrt()
    return (1 + r + r.square() / 3) * (-r).exp()


def is_worth_it(differences: int) -> bool:
    """Whether so many coordinate differences are computed faster on the chosen device."""
    crossover = chosen().crossover
    return crossover is not None and differences >= crossover


@cache
def chosen() -> Device:
    """The device that the setting asks for, with the crossover measured in this process, once.

    "auto" is the first GPU if there is one. Raises RuntimeError for "cuda" where there is none.
    """
    setting = os.environ.get(SETTING, "auto")
    if setting == "cpu" or (setting == "auto" and not torch.cuda.is_available()):
        return Device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(f"{SETTING}=cuda, but torch finds no GPU here: install a CUDA build, or set auto or cpu")
    return Device("cuda", measured("cuda"))


def measured(device: str, trials: int = 300, dimensions: int = 10) -> int | None:
    """The least of `TRIED` from which on `device` is faster, by timing both; None if the processor always is."""
    belief = _specimen(trials, dimensions)
    rng = np.random.default_rng(0)
    faster = None
    for differences in reversed(TRIED):
        x = rng.random((max(differences // (trials * dimensions), 1), dimensions))
        if _seconds(partial(moments, belief, x, device)) >= _seconds(partial(belief.own_moments, x)):
            break
        faster = differences
    return faster


def _specimen(trials: int, dimensions: int) -> GaussianBelief:
    """A belief of a usual size, to be timed."""
    from .base import Evidence
    from .gp import believe
    from .kernels import Hyperparameters

    X = torch.from_numpy(np.random.default_rng(1).random((trials, dimensions)))
    evidence = Evidence(X, torch.sin(3 * X).sum(1), torch.zeros(dimensions, dtype=torch.bool))
    return believe(evidence, Hyperparameters(np.ones(dimensions), joint=1.0, additive=0.1, noise=0.01))


def _seconds(work: Callable[[], object]) -> float:
    """The shorter of two runs after one to warm up; results arrive on the processor, so nothing is left running."""
    work()
    times = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
