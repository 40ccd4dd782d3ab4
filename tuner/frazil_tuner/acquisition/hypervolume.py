"""Several objectives: how much of the space of outcomes a point is expected to win."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..pareto import free_boxes, non_dominated, reference_point
from .feasibility import feasible_points
from .normal import log_h, log_mean_exp

if TYPE_CHECKING:
    from ..numerics import Floats
    from ..surrogates import Belief
    from .outlook import Outlook, Worth

DRAWS = 8
"""Fronts drawn where no outcomes are imagined; else one for each."""

CONTENDERS = 40
"""Seen points that may be on a drawn front: those that the fewest others seem to dominate."""

OPTIMISM = 2.0
"""Deviations by which a point may be better, and others worse, than they seem."""

BEYOND = 1e10
"""What stands for infinity among outcomes, so that slopes exist."""


def log_hypervolume(outlook: Outlook) -> Worth:
    """Log of the expected growth of the hypervolume dominated by the outcomes' noiseless front, the objectives being
    independent of each other.

    log 1/P Σ_fronts Σ_boxes Π_k E[max(min(f_k, u_k) - l_k, 0)]

    Noisy expected hypervolume improvement (Daulton et al. 2021; logarithms as in Ament et al. 2023, sec. 4), whose
    inner expectation is exact here: values of the seen points are drawn jointly, and given those the free space above
    their front is split into disjoint boxes (l, u) (Yang et al. 2019). The reference point is `pareto.reference_point`
    of the posterior means at the feasible points.
    """
    points = feasible_points(outlook)
    means, sds = _stacked(outlook.objectives, points)
    reference = reference_point(means.mean(0).T.numpy())
    rivals = points[_contend(means.mean(0).T.numpy(), sds.mean(0).T.numpy())]
    drawn = [_settled(belief, rivals, outlook.rng) for belief in outlook.objectives]
    fronts, _ = _stacked(drawn, rivals)  # (P, k, c)
    boxes = Boxes.above(fronts.mT.numpy(), reference)

    def worth(x: Tensor) -> Tensor:
        mean, sd = (torch.stack(parts, dim=1) for parts in zip(*(b.posterior(x) for b in drawn), strict=True))
        return log_mean_exp(boxes.log_gain(mean, sd))

    return worth


@torch.no_grad()
def _stacked(beliefs: tuple[Belief, ...] | list[Belief], x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and deviations (S, k, m) of k beliefs."""
    means, sds = zip(*(belief.posterior(x) for belief in beliefs), strict=True)
    return torch.stack(means, dim=1), torch.stack(sds, dim=1)


def _settled(belief: Belief, rivals: Tensor, rng: torch.Generator) -> Belief:
    """The belief if the function were known at the rivals: drawn, `DRAWS` times or once for each imagined outcome."""
    paths = len(belief.incumbent)
    return belief.imagine(rivals, DRAWS if paths == 1 else paths, rng, noiseless=True)


def _contend(means: Floats, sds: Floats) -> np.ndarray:
    """The indices of points (n, k) that no other surely dominates; the least dominated `CONTENDERS` of them."""
    low, high = means - OPTIMISM * sds, means + OPTIMISM * sds
    front = low[non_dominated(low)]
    open_ = [i for i in range(len(high)) if not (front > high[i]).all(1).any()]
    seeming = [int((means > means[i]).all(1).sum()) for i in open_]
    return np.array(open_)[np.argsort(seeming, kind="stable")[:CONTENDERS]]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Disjoint boxes that fill the free space above each of P fronts, as places among sorted levels.

    `levels` (P, k, l) ascending; `low` and `high` (P, b, k) are indices into them. Boxes that only pad have no extent,
    far up.
    """

    levels: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def above(cls, fronts: Floats, reference: Floats) -> Boxes:
        """From points (P, c, k), among them dominated ones, and the reference point (k,)."""
        best = [front[non_dominated(front)] for front in fronts]
        levels = np.full((len(fronts), max(map(len, best)) + 2, len(reference)), BEYOND)
        for level, front in zip(levels, best, strict=True):
            level[: len(front) + 1] = np.sort(np.concatenate([front, reference[None]]), axis=0)
        corners = [free_boxes(front, reference) for front in best]
        most = max(len(low) for low, _ in corners)
        low, high = (
            np.stack([_places(corner[side], level, most) for corner, level in zip(corners, levels, strict=True)])
            for side in (0, 1)
        )
        return cls(torch.from_numpy(levels).mT.contiguous(), torch.from_numpy(low), torch.from_numpy(high))

    def log_gain(self, mean: Tensor, sd: Tensor) -> Tensor:
        """Log of the expected volume (P, m) that outcomes N(mean, sd²) (P or 1, k, m) win from the free space.

        E[max(min(f, u) - l, 0)] = sd (h((mean - l) / sd) - h((mean - u) / sd))
        """
        paths, _, k = self.low.shape
        z = (mean[:, :, None] - self.levels[..., None]) / sd[:, :, None]  # (P, k, l, m)
        reached = log_h(z)
        path, objective = torch.arange(paths)[:, None, None], torch.arange(k)
        low, high = (reached[path, objective, place] for place in (self.low, self.high))  # (P, b, k, m)
        sides = low + torch.log(-torch.expm1((high - low).clamp_max(-1e-15)))
        return (sides.sum(2) + sd.log().sum(1)[:, None]).logsumexp(1)


def _places(corners: Floats, levels: Floats, count: int) -> Floats:
    """The indices (count, k) of corners (b, k) among levels (l, k), the last one for infinity and for padding."""
    places = np.full((count, levels.shape[1]), len(levels) - 1)
    for j, level in enumerate(levels.T):
        places[: len(corners), j] = np.searchsorted(level, np.minimum(corners[:, j], BEYOND))
    return places
