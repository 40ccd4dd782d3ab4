"""New configurations, judged by where the curves of those that have begun are believed to come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from ..numerics import FitFailed
from .base import Where
from .bins import Bins
from .blend import Blend
from .joined import Joined
from .ranks import Ranks
from .unit import unit_for

if TYPE_CHECKING:
    from ..numerics import Floats
    from ..surrogates.gp import GaussianBelief
    from .base import CurveBelief, CurveModel, Curves, Integers, Mask, Predictive

ENOUGH = 4
"""Curves that must have begun before anything is learned from where they go."""

MOST = 500
"""Begun curves that are learned from: half of them the best, the others spread evenly by where they go."""

LEAST_SHARE, DOUBT = 0.15, 8.0
"""What the curve model itself keeps in the mixture, however many curves have begun; and how many of them it takes for
half of the rest to go.
"""

WEIGHTS, FACTORS = (0.6, 0.3, 0.1), (0.7, 1.6, 4.0)
"""A deviation is itself uncertain: it is one of these multiples of what the process says, with these probabilities."""

BINS, LEAST = 256, 1e-9
"""How many bins a belief has, and what each of them holds at least."""


@dataclass(frozen=True, slots=True)
class WithNewcomers:
    """`model`, but for curves that have not begun: mixed with a Gaussian process over configurations, to which the
    means that `model` has for begun curves are outcomes, by their ranks.

    Models of curves learn what curves are like; which configurations are good is learned better by ranks, to which a
    few heavy tails and the scale of a metric are nothing.
    """

    model: CurveModel

    def fit(self, curves: Curves, start: Mapping[str, Any] | None = None) -> NewcomersBelief:
        start = start or {}
        known = start.get("newcomers")
        memory = {"theta": known, "settled": bool(start.get("settled"))} if _fits(known, curves) else {}
        belief = NewcomersBelief(curves, self.model.fit(curves, start))
        return replace(belief, learned=_Process.fitted(belief, curves.max_step, memory))


def _fits(theta: object, curves: Curves) -> bool:
    return isinstance(theta, list) and len(theta) == curves.x.shape[1] + 3


@dataclass(frozen=True)
class NewcomersBelief:
    """`learned` is the process of values at the last step as it was fitted; without one, `base` is alone. `imagined`:
    curves were extended since by what was not seen.
    """

    curves: Curves
    base: CurveBelief
    learned: _Process | None = None
    imagined: bool = False

    @property
    def fit(self) -> Mapping[str, Any]:
        return {**self.base.fit, **({"newcomers": self.learned.theta} if self.learned else {})}

    def at(self, where: Where, *, noisy: bool = True) -> Predictive:
        fresh = self._fresh(where)
        if self.learned is None or not fresh.any():
            return self.base.at(where, noisy=noisy)
        new = where.part(fresh)
        share = np.full(int(fresh.sum()), self._share)
        mixed = Blend(self.base.at(new, noisy=noisy), self._foretold(new), share)
        return mixed if fresh.all() else Joined(mixed, self.base.at(where.part(~fresh), noisy=noisy), fresh)

    def draws(self, where: Where, count: int, rng: np.random.Generator) -> Floats:
        """All values of one new curve come from the same part of the mixture, and there from the same quantile."""
        draws, fresh = self.base.draws(where, count, rng), self._fresh(where)
        if self.learned is None or not fresh.any():
            return draws
        curve: Integers = np.unique(where.named(self.curves.size)[1][fresh], return_inverse=True)[1].ravel()
        level, luck = (rng.random((count, int(curve.max()) + 1))[:, curve] for _ in range(2))
        draws[:, fresh] = np.where(
            luck < self._share, draws[:, fresh], self._foretold(where.part(fresh)).at_levels(level)
        )
        return draws

    def given(self, where: Where, score: Floats) -> NewcomersBelief:
        return NewcomersBelief(self.curves.extended(where, score), self.base.given(where, score), self.learned, True)

    @cached_property
    def begun(self) -> Mask:
        """(n,)"""
        begun: Mask = (np.bincount(self.curves.owner, minlength=self.curves.size) > 0) | self.curves.dead
        return begun

    @property
    def _share(self) -> float:
        """Of the curve model itself."""
        return LEAST_SHARE + (1 - LEAST_SHARE) * DOUBT / (DOUBT + int(self.begun.sum()))

    def _fresh(self, where: Where) -> Mask:
        fresh: Mask = ~np.append(self.begun, False)[where.owner]
        return fresh

    def _foretold(self, where: Where) -> Bins:
        """What the processes believe of new curves."""
        edges = unit_for(self.curves).edges(BINS)
        mass = np.empty((len(where.step), BINS))
        for step in np.unique(where.step).tolist():
            rows = where.step == step
            mass[rows] = self._process(step).masses(where.x[rows], edges)
        return Bins(mass, edges, np.zeros(len(mass)))

    def _process(self, step: int) -> _Process:
        """The process of values at a step, under the hyperparameters that were learned."""
        assert self.learned is not None
        if step not in self._processes:
            memory = {"theta": self.learned.theta, "settled": True}
            self._processes[step] = _Process.fitted(self, step, memory) or self.learned
        return self._processes[step]

    @cached_property
    def _processes(self) -> dict[int, _Process]:
        """By step."""
        return {} if self.imagined or self.learned is None else {self.curves.max_step: self.learned}


@dataclass(frozen=True, slots=True)
class _Process:
    """What is believed of the normal scores of the ranks that values at one step have."""

    ranks: Ranks
    belief: GaussianBelief

    @property
    def theta(self) -> list[float]:
        return [float(value) for value in self.belief.fit["theta"]]

    @classmethod
    def fitted(cls, known: NewcomersBelief, step: int, memory: Mapping[str, Any]) -> _Process | None:
        """None where too few curves have begun, all go to the same value, nothing is varied, or the numbers are
        ill-conditioned.
        """
        begun = np.flatnonzero(known.begun)
        if len(begun) < ENOUGH or not known.curves.x.shape[1]:
            return None
        ends = known.base.at(Where(known.curves.x[begun], begun, np.full(len(begun), step)), noisy=False).mean
        order = np.lexsort(known.curves.x[begun].T)  # that of the curves means nothing
        x, ends = known.curves.x[begun[order]], ends[order]
        ranks = Ranks.of(ends)
        if ranks is None:
            return None
        try:
            return cls(ranks, _process(x, ranks.apply(ends), known.curves.unordered, memory))
        except FitFailed:
            return None

    def masses(self, x: Floats, edges: Floats) -> Floats:
        """The mass (m, B) between edges (B + 1,) of the value of each configuration (m, d)."""
        mean, sd = self.belief.own_moments(x)
        sd = np.sqrt(np.square(sd) + self.belief.covariance.hyper.noise)
        z = (self.ranks.apply(edges[1:-1]) - mean[0][:, None]) / sd[:, None]
        below = sum(weight * ndtr(z / factor) for weight, factor in zip(WEIGHTS, FACTORS, strict=True))
        mass: Floats = np.diff(below, axis=1, prepend=0.0, append=1.0)
        mass = np.maximum(mass, LEAST)
        mass /= mass.sum(1, keepdims=True)
        return mass


def _process(x: Floats, y: Floats, unordered: Mask, memory: Mapping[str, Any]) -> GaussianBelief:
    import torch

    from ..surrogates.base import Evidence
    from ..surrogates.gp import GaussianProcess
    from ..surrogates.selection import best_and_spread, rows_of

    X, outcomes = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y)
    evidence = Evidence(X, outcomes, torch.from_numpy(unordered), start=memory)
    if len(y) > MOST:
        evidence = rows_of(evidence, best_and_spread(X, outcomes, MOST))
    return GaussianProcess().fit(evidence)
