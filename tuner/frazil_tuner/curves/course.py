"""How curves run in time: functions that all curves share, and the measure by which a curve of its own drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..numerics import Floats, matern52

FUNCTIONS = 4
"""Functions of time that weights over configurations multiply: the value at the end, and courses towards it."""

KNOTS = 48
"""Steps at which the functions are held."""

LOG_LENGTH, LINEAR_LENGTH, LINEAR_SHARE = 0.5, 0.5, 0.3
"""Courses come from a Matérn kernel of log t / log T, and a smaller one of t / T: learning is fast first, and what a
schedule of the learning rate does is done in proportion to the whole.
"""


@dataclass(frozen=True, slots=True)
class Course:
    """The functions φ_1 = 1 and φ_2 … φ_J, which vanish at the last step T.

    The latter are leading eigenfunctions of a kernel of time, given that the value at T is 0, each times the root of
    its eigenvalue: the weight of φ_1 is then the value at the end.               Williams and Seeger 2001, eqs. (8, 9)
    """

    last: float
    knots: Floats
    images: Floats

    def __call__(self, step: Floats) -> Floats:
        """φ(t) (…, J) at steps t (…)."""
        flat = np.asarray(step, dtype=np.float64).ravel()
        functions = np.concatenate(
            [np.ones((len(flat), 1)), _towards(flat, self.knots, self.last) @ self.images], axis=1
        )
        return functions.reshape(*np.shape(step), FUNCTIONS)


@lru_cache(maxsize=64)
def course(last: int) -> Course:
    """The functions for curves of `last` steps; those that so few steps do not tell apart are zero."""
    knots: Floats = np.unique(np.exp(np.linspace(0.0, math.log(last), KNOTS)).round())
    logs, line = np.log(knots), knots / last
    weights = np.gradient(logs) + np.gradient(line) if len(knots) > 1 else np.ones(1)
    root = np.sqrt(weights / weights.sum())
    values, vectors = np.linalg.eigh(root[:, None] * _towards(knots, knots, last) * root)
    values, vectors = values[::-1][: FUNCTIONS - 1], vectors[:, ::-1][:, : FUNCTIONS - 1]
    vectors = vectors * np.where(vectors.sum(0) < 0, -1.0, 1.0)
    known = np.where(values > 1e-9, 1.0 / np.sqrt(np.maximum(values, 1e-9)), 0.0)
    images = np.zeros((len(knots), FUNCTIONS - 1))
    images[:, : len(values)] = root[:, None] * vectors * known
    return Course(float(last), knots, images)


def _towards(a: Floats, b: Floats, last: float) -> Floats:
    """The covariance (m, n) of the values at steps a and b, given the one at the last step."""
    end = np.array([last])
    to_end = _kernel(a, end, last) * _kernel(end, b, last)
    return _kernel(a, b, last) - to_end / _kernel(end, end, last)


def _kernel(a: Floats, b: Floats, last: float) -> Floats:
    by_log = np.subtract.outer(progress(a, last), progress(b, last)) / LOG_LENGTH
    by_share = np.subtract.outer(a, b) / last / LINEAR_LENGTH
    total: Floats = matern52(np.square(by_log))[0] + LINEAR_SHARE * matern52(np.square(by_share))[0]
    return total


def progress(step: Floats, last: float) -> Floats:
    """u = log t / log T, from 0 at the first step to 1 at the last."""
    whole = np.log(last)
    return np.log(np.maximum(step, 1.0)) / whole if whole > 0 else np.ones_like(step)


_PLACES = np.linspace(0.0, 1.0, 129)


def drifted(step: Floats, last: float, calm: float) -> tuple[Floats, Floats]:
    """How far τ a curve may drift up to steps t (…), and ∂τ/∂calm.

        τ(t) = ∫ g(t'/T)^calm du',   u' = log t' / log T,   g(v) = (1 + cos πv) / 2

    g is the learning rate of the usual schedule. Where there is one, `calm` > 0 says that curves come to rest with it;
    where there is none, calm = 0, and τ = u.                                      Loshchilov and Hutter 2017, eq. (5)
    """
    rate = np.log(0.5 * (1.0 + np.cos(np.pi * last ** (_PLACES - 1.0))) + 1e-3)
    speed = np.exp(calm * rate)
    u = progress(step, last)
    return np.interp(u, _PLACES, _summed(speed)), np.interp(u, _PLACES, _summed(speed * rate))


def _summed(speed: Floats) -> Floats:
    """The integral from 0 to every place, by trapezia."""
    steps = 0.5 * (speed[1:] + speed[:-1]) * np.diff(_PLACES)
    return np.concatenate([[0.0], np.cumsum(steps)])
