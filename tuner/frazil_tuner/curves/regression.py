"""The frequentist predictor of a curve's later values: from its beginning, its bends and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .last import LEAST, Last, LastBelief
from .predictive import Mixture

if TYPE_CHECKING:
    from ..numerics import Floats
    from .base import Curves, Integers, Where

ENOUGH = 5
"""Curves that must have come so far before anything is learned from them."""

ALMOST = 0.8
"""A curve that has come so far on the way to a step stands for one that has come to it."""

MARKS = 5
"""Values that stand for the beginning of a curve, evenly spaced by the logarithm of the step."""

PENALTIES = 10.0 ** np.arange(-3, 3)
"""Ridges that are tried, as multiples of the number of curves."""

WEIGHTS, FACTORS = np.array([0.8, 0.2]), np.array([0.8, 2.0])


@dataclass(frozen=True, slots=True)
class Regression:
    """Ridge regression of the change still to come, on values, first and second differences and the configuration;
    where too few curves have come so far, the last value is carried forward.            Baker et al. 2017, section 3.1
    """

    def fit(self, curves: Curves, start: Mapping[str, Any] | None = None) -> RegressionBelief:
        return RegressionBelief(Last().fit(curves))


@dataclass(frozen=True)
class RegressionBelief:
    """What `carried` believes, but for the values that can be learned from curves that have come so far."""

    carried: LastBelief

    @property
    def fit(self) -> Mapping[str, Any]:
        return {}

    @cached_property
    def _paths(self) -> list[tuple[Integers, Floats]]:
        """Steps and z of every curve, while it is up; a curve that is down at its end has none."""
        curves, z = self.carried.curves, self.carried.scale.apply(self.carried.curves.score)
        order = np.lexsort((curves.step, curves.owner))
        bounds = np.searchsorted(curves.owner[order], np.arange(curves.size + 1))
        rows = [order[a:b] for a, b in pairwise(bounds)]
        rows = [row if len(row) and np.isfinite(z[row[-1]]) else row[:0] for row in rows]
        rows = [row[np.isfinite(z[row])] for row in rows]
        return [(curves.step[row], z[row]) for row in rows]

    def at(self, where: Where, *, noisy: bool = True) -> Mixture:
        carried = self.carried.at(where)
        learned = [self._learned(*place) for place in zip(where.owner.tolist(), where.step.tolist(), strict=True)]
        known = np.array([moments is not None for moments in learned], dtype=bool)
        if not known.any():
            return carried
        scale = self.carried.scale
        mean, sd = np.array([moments for moments in learned if moments is not None]).T
        weights, means, sds = (part.copy() for part in (carried.weights, carried.means, carried.sds))
        up = 1 - weights[-1, known]
        weights[:-1, known] = np.stack([*np.outer(WEIGHTS, up), np.zeros_like(up)])
        means[:-1, known] = scale.invert(mean)
        sds[:-1, known] = np.stack([*np.outer(FACTORS, sd), sd]) * scale.spread
        return Mixture(weights, means, sds)

    def draws(self, where: Where, count: int, rng: np.random.Generator) -> Floats:
        curve: Integers = np.unique(where.named(self.carried.curves.size)[1], return_inverse=True)[1].ravel()
        shape = (count, int(curve.max(initial=-1)) + 1)
        return self.at(where).drawn(rng.random(shape)[:, curve], rng.standard_normal(shape)[:, curve])

    def given(self, where: Where, score: Floats) -> RegressionBelief:
        return replace(self, carried=self.carried.given(where, score))

    def _learned(self, owner: int, step: int) -> tuple[float, float] | None:
        """Mean and deviation of z at a later step of a curve; None where nothing can be learned about it."""
        steps, values = self._paths[owner] if owner >= 0 else (np.zeros(0, dtype=int), np.zeros(0))
        if not len(steps) or steps[-1] >= step:
            return None
        model = self._model(int(steps[-1]), step)
        if model is None:
            return None
        features = np.append(_features(steps, values, int(steps[-1])), self.carried.curves.x[owner])
        mean, sd = model(features)
        return float(values[-1]) + mean, sd

    @cached_property
    def _models(self) -> dict[tuple[int, int], Ridge | None]:
        return {}

    def _model(self, seen: int, step: int) -> Ridge | None:
        """What curves seen up to `seen` go on to do until `step`; kept, since many curves ask the same."""
        if (seen, step) not in self._models:
            far = max(ALMOST * step, seen + 1)
            others = [
                (i, steps, z)
                for i, (steps, z) in enumerate(self._paths)
                if len(steps) and steps[-1] >= far and steps[0] <= seen
            ]
            self._models[seen, step] = self._fitted(others, seen, step) if len(others) >= ENOUGH else None
        return self._models[seen, step]

    def _fitted(self, others: list[tuple[int, Integers, Floats]], seen: int, step: int) -> Ridge:
        x = self.carried.curves.x
        features = np.array([np.append(_features(steps, z, seen), x[i]) for i, steps, z in others])
        changes = np.array([np.interp(step, steps, z) - np.interp(seen, steps, z) for _, steps, z in others])
        return Ridge.fitted(features, changes)


def _features(steps: Integers, z: Floats, seen: int) -> Floats:
    """Values up to the step `seen` at even places by its logarithm, with their first and second differences."""
    marks = np.exp(np.linspace(0.0, np.log(seen), MARKS)) if seen > 1 else np.ones(1)
    values = np.interp(marks, steps, z)
    return np.concatenate([values, np.diff(values), np.diff(values, 2)])


@dataclass(frozen=True, slots=True)
class Ridge:
    """Linear in standardised features; `sd` is the deviation of errors at curves left out."""

    centre: Floats
    spread: Floats
    weights: Floats
    offset: float
    sd: float

    @classmethod
    def fitted(cls, features: Floats, targets: Floats) -> Ridge:
        """With the penalty whose errors e_i / (1 - h_ii) at curves left out are least, H the hat matrix."""
        n = len(targets)
        centre, spread = features.mean(0), features.std(0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        left, values, right = np.linalg.svd((features - centre) / spread, full_matrices=False)
        rest = targets - targets.mean()
        tried = []
        for penalty in PENALTIES * n:
            shrink = np.square(values) / (np.square(values) + penalty)
            leverage = np.square(left) @ shrink + 1.0 / n
            errors = (rest - left @ (shrink * (left.T @ rest))) / np.maximum(1 - leverage, 1e-3)
            tried.append((float(np.sqrt(np.square(errors).mean())), float(penalty)))
        sd, penalty = min(tried)
        weights = right.T @ (values / (np.square(values) + penalty) * (left.T @ rest))
        return cls(centre, spread, weights, float(targets.mean()), max(sd, LEAST))

    def __call__(self, features: Floats) -> tuple[float, float]:
        return self.offset + float((features - self.centre) / self.spread @ self.weights), self.sd
