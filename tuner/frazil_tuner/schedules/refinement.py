"""A schedule refined from the gradient norms that a finished run reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import median_filter

from ..errors import Problem
from .schedule import Schedule, ScheduleInvalid

if TYPE_CHECKING:
    from ..numerics import Floats

SMOOTHING = 0.1
"""The width of the median filter, as a share of the run."""

FEWEST, MOST = 10, 10_000
STEEPEST = 1e100
"""Norms beyond so many times the smallest count as so much."""

POWERS = {"l2": 2.0, "l1": 1.0}
"""w = G^-2 of the l2 norm, which is for SGD; G^-1 of the l1 norm, which is for Adam and its like."""


def refined(
    norms: Sequence[float],
    *,
    total_steps: float | None = None,
    norm: str = "l2",
    peak: float | None = None,
    entries: int | None = None,
) -> Schedule:
    """The schedule that suits gradients of these norms (n,), instantaneous, at even places of a run, before clipping.

        G̃ = median of G over SMOOTHING of the run,   w_t = G̃_t^-2 (l2) or G̃_t^-1 (l1),   m_t ∝ w_t Σ_{p > t} w_p

    Defazio et al. 2023 (arXiv 2310.07831), Theorem 3 and Algorithm 1: the steps for which the bound of the last iterate
    is least. Norms that stay about the same give a straight line down to 0; ones that are large at first a warm-up. The
    largest multiplier is 1: tune the peak again near its old value. 500 to 2 000 norms are enough.

    A table for a run of `total_steps`, n if not said, with as many entries as there are norms, or `entries` (50 to 200
    lose little). Raises ScheduleInvalid.
    """
    G = _checked(norms)
    if norm not in POWERS:
        _refuse("norm", f"must be one of {', '.join(POWERS)}, not {norm!r:.60}")
    m = multipliers(G, POWERS[norm])
    total = float(len(G) if total_steps is None else total_steps)
    if not (math.isfinite(total) and total >= 2):
        _refuse("total_steps", f"must be at least 2, not {total_steps!r:.60}")
    n, count = len(m), len(m) if entries is None else entries
    if not 2 <= count <= n:
        _refuse("entries", f"must be 2 to {n}, the number of norms, not {entries!r:.60}")
    table = np.interp(np.linspace(0.0, n - 1.0, count), np.arange(n), m).tolist()
    every = total / n * (n - 1) / (count - 1)
    described = {"kind": "table", "multipliers": table, "every": every, "total_steps": total}
    return Schedule.of(described if peak is None else {**described, "peak": peak})


def multipliers(G: Floats, power: float) -> Floats:
    """m (n,) of norms G (n,), the largest 1 and the last 0."""
    w = np.minimum(smoothed(G) / G.min(), STEEPEST) ** -power
    after = np.append(np.cumsum(w[::-1])[::-1][1:], 0.0)
    m = w * after
    scaled: Floats = m / m.max()
    return scaled


def smoothed(G: Floats) -> Floats:
    """Medians (n,) over windows of 2 ⌊SMOOTHING n / 2⌋ + 1; the run is mirrored beyond its end, and the first norm
    goes on before its beginning.
    """
    n, half = len(G), int(SMOOTHING * len(G) / 2)
    if half == 0:
        return G
    pad = min(2 * (2 * half + 1), n - 1)
    longer = np.concatenate([G, G[::-1][1 : pad + 1]])
    medians: Floats = median_filter(longer, size=2 * half + 1, mode="nearest")[:n]
    return medians


def _checked(norms: Sequence[float]) -> Floats:
    if not isinstance(norms, list | tuple | np.ndarray) or not FEWEST <= len(norms) <= MOST:
        count = len(norms) if isinstance(norms, list | tuple | np.ndarray) else 0
        _refuse(
            "norms", f"must be {FEWEST} to {MOST} gradient norms of one run, not {count}; report more, or every k-th"
        )
    for i, value in enumerate(norms):
        if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
            _refuse(f"norms/{i}", f"must be a number, not {value!r:.60}")
        if not (math.isfinite(value) and value > 0):
            _refuse(f"norms/{i}", f"must be finite and above 0, not {value!r:.60}; leave out steps that diverged")
    G = np.asarray(norms, dtype=np.float64)
    if G.max() == G.min():
        _refuse("norms", 'are all the same, from which nothing is learned; the schedule that suits them is "linear"')
    return G


def _refuse(field: str, detail: str) -> None:
    raise ScheduleInvalid(f"{field}: {detail}", problems=(Problem(f"/{field}", detail),))
