"""Several objectives at once: what dominates what, and how much of their space is dominated. Plain numpy, no torch.

Values (n, k) of n points in k objectives, larger is better in each; finite unless said otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .numerics import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 0.1
"""How far the reference point lies beyond the nadir, in ranges of the front."""

MOST_EXACT = 5
"""Objectives up to which a hypervolume is exact."""

SAMPLES = 2**14
"""Quasi-random points beyond: the error is about 1 % of the box from the reference point to the ideal one."""

WEIGHTS = 2**8
"""Weight vectors of the R2 indicator."""


def non_dominated(values: Floats) -> NDArray[np.bool_]:
    """Which of the points (n,) no other point dominates; equal ones all count, infinities may be among the values.

    A point with a NaN neither dominates nor counts. At most n × (points on the front) comparisons.
    """
    mask = np.zeros(len(values), dtype=bool)
    left = np.flatnonzero(~np.isnan(values).any(1))
    left = left[np.lexsort(values[left].T[::-1])[::-1]]  # whatever dominates a point comes before it
    while len(left):
        mask[left[0]] = True
        best, others = values[left[0]], values[left[1:]]
        left = left[1:][(others > best).any(1) | (others == best).all(1)]
    return mask


def reference_point(values: Floats) -> Floats:
    """The point (k,) from which hypervolumes are measured, from n ≥ 1 values, where the user names none.

        nadir - MARGIN · (ideal - nadir)                                    Ishibuchi et al. 2011, as BoTorch infers it

    over the front. Where that has no extent in an objective the range of all values stands in, or else the size of the
    value, or 1.
    """
    front = values[non_dominated(values)]
    nadir = front.min(0)
    candidates = np.stack([front.max(0) - nadir, np.ptp(values, axis=0), np.abs(nadir), np.ones_like(nadir)])
    first = (candidates > 0).argmax(0)
    point: Floats = nadir - MARGIN * np.take_along_axis(candidates, first[None], axis=0)[0]
    return point


def free_boxes(front: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Lower and upper corners (b, k) of disjoint boxes that fill the space above `reference` and not dominated.

    Upper corners may be infinite. There are at most O(n^⌊k/2⌋) boxes: one for each local bound of the free space, with
    the points that define it.      Klamroth, Lacour and Vanderpooten 2015, alg. 3; Lacour et al. 2017, eq. (5)
    """
    k = len(reference)
    corners = reference[None]  # (b, k) lower corners
    definers = np.full((1, k, k), np.inf)  # (b, j) is the point that gives a corner its coordinate j
    definers[0].flat[:: k + 1] = reference
    for point in front:
        hit = (point > corners).all(1)
        parts = [_moved(corners[hit], definers[hit], point, j) for j in range(k)]
        corners = np.concatenate([corners[~hit], *(moved for moved, _ in parts)])
        definers = np.concatenate([definers[~hit], *(moved for _, moved in parts)])
    tops = np.stack([definers[:, :j, j].min(1, initial=np.inf) for j in range(k)], axis=1)
    filled = (tops > corners).all(1)
    return corners[filled], tops[filled]


def _moved(corners: Floats, definers: Floats, point: Floats, j: int) -> tuple[Floats, Floats]:
    """Corners moved up to `point` in coordinate j, with their definers: those that stay corners of the free space."""
    others = np.delete(definers[:, :, j], j, axis=1).min(1, initial=np.inf)
    kept = point[j] <= others
    corners, definers = corners[kept].copy(), definers[kept].copy()
    corners[:, j] = point[j]
    definers[:, j] = point
    return corners, definers


def hypervolume(values: Floats, reference: Floats) -> float:
    """The volume between `reference` (k,) and the front, in the product of the objectives' units.

    Exact up to `MOST_EXACT` objectives; beyond, by quasi-random points, the same at every call. Infinite where the
    product of the sides overflows.
    """
    above = values[(values > reference).all(1)]
    if not len(above):
        return 0.0
    front = np.unique(above[non_dominated(above)], axis=0)
    sides = front.max(0) - reference
    unit = (front - reference) / sides  # no side dwarfs another
    part = _dominated_part(unit) if unit.shape[1] <= MOST_EXACT else _sampled_part(unit)
    with np.errstate(over="ignore"):
        return float(part * np.prod(sides))


def _dominated_part(front: Floats) -> float:
    """The part of the unit cube that a front within it dominates."""
    low, high = free_boxes(front, np.zeros(front.shape[1]))
    free = np.prod(np.clip(np.minimum(high, 1.0) - low, 0.0, None), axis=1)
    return 1.0 - float(free.sum())


def _sampled_part(front: Floats) -> float:
    from scipy.stats import qmc

    points = qmc.Sobol(front.shape[1], scramble=False).random(SAMPLES)
    dominated = np.zeros(SAMPLES, dtype=bool)
    for best in front:
        dominated |= (points <= best).all(1)
    return float(dominated.mean())


def r2(values: Floats, ideal: Floats, reference: Floats) -> float:
    """The R2 indicator of a set of points, from 0 when one is ideal; smaller is better.

        mean_λ min_v max_j λ_j (ideal_j - v_j) / (ideal_j - reference_j)            Brockhoff, Wagner and Trautmann 2012

    over `WEIGHTS` weight vectors λ, evenly on the simplex. The ideal point must lie above the reference point.
    """
    short = np.maximum(ideal - values, 0.0) / (ideal - reference)  # (n, k)
    worst = (simplex(WEIGHTS, values.shape[1])[:, None] * short).max(2)  # (weights, n)
    return float(worst.min(1).mean())


def simplex(count: int, k: int) -> Floats:
    """Weights (count, k) ≥ 0 with sum 1, spread evenly; `count` a power of 2. The gaps between sorted uniforms."""
    from scipy.stats import qmc

    cuts = np.sort(qmc.Sobol(k - 1, scramble=False).random(count), axis=1) if k > 1 else np.empty((count, 0))
    ends = np.zeros((count, 1)), np.ones((count, 1))
    weights: Floats = np.diff(np.concatenate([ends[0], cuts, ends[1]], axis=1), axis=1)
    return weights


def diverse(values: Floats, count: int) -> NDArray[np.intp]:
    """The indices of at most `count` non-dominated points that lie far from each other, in the order they are chosen.

    The best of the first objective; then always the one farthest from all chosen, in ranges of the front.
    """
    front = np.flatnonzero(non_dominated(values))
    if not len(front) or count < 1:
        return front[:0]
    extent = np.ptp(values[front], axis=0)
    scaled = values[front] / np.where(extent > 0, extent, 1.0)
    chosen = [int(scaled[:, 0].argmax())]
    distance = np.linalg.norm(scaled - scaled[chosen[0]], axis=1)
    while len(chosen) < min(count, len(front)) and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return front[chosen]
