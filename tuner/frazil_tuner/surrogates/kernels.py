"""Covariances between points of the unit cube: all columns at once, plus each by itself. Written out in numpy, slopes
and all, because at a hundred points most of the time of an automatic derivative is spent between its operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..numerics import matern52

if TYPE_CHECKING:
    from ..numerics import Floats

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Length scales ℓ (d,), variances of the joint and of the additive part, and of the noise: all positive.

    As a vector θ (d + 3,) by their logarithms, in this order.
    """

    lengths: Floats
    joint: float
    additive: float
    noise: float

    @classmethod
    def at(cls, theta: Floats) -> Hyperparameters:
        *lengths, joint, additive, noise = np.exp(theta)
        return cls(np.array(lengths), float(joint), float(additive), float(noise))

    @property
    def theta(self) -> Floats:
        return np.log([*self.lengths, self.joint, self.additive, self.noise])

    @property
    def signal(self) -> float:
        """The variance of the function, noise left out."""
        return self.joint + self.additive


@dataclass(frozen=True, slots=True)
class Covariance:
    """k(a, b) = A ρ(Σ_o s_j) exp(-Σ_u h_j) + B/d [Σ_o ρ(d s_j) + Σ_u exp(-h_j)]

    s_j = (a_j - b_j)² / ℓ_j² in ordered columns o, h_j = [a_j ≠ b_j] / ℓ_j in `unordered` ones u (d,), A = joint,
    B = additive. The additive part lets few points tell the course along every column; its scales are shorter by √d,
    as one column's share of a distance is.                 Duvenaud, Nickisch and Rasmussen 2011, first and last order
    """

    hyper: Hyperparameters
    unordered: Mask

    @property
    def share(self) -> float:
        """The variance B/d of one column's own part."""
        return self.hyper.additive / max(len(self.hyper.lengths), 1)

    def __call__(self, a: Floats, b: Floats) -> Floats:
        """Covariances (…, m, n) between rows a (…, m, d) and b (…, n, d)."""
        return self.total(self.parts(self._gaps(_apart(a, b))))

    def sloped(self, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """Covariances k (…, m, n), and ∂k/∂a_j (d, …, m, n); zero in unordered columns."""
        apart = _apart(a, b)
        parts = self.parts(self._gaps(apart))
        k, weights = self.total(parts), self.pulls(parts)
        apart[self.unordered] = 0.0
        weights *= apart
        weights *= -_beside(np.square(1.0 / self.hyper.lengths), weights)
        return k, weights

    def total(self, parts: Parts) -> Floats:
        """The covariance (…) that parts make."""
        total: Floats = self.hyper.joint * parts.joint + self.share * parts.each.sum(0)
        return total

    def pulls(self, parts: Parts) -> Floats:
        """-2 ∂k/∂s_j (d, …) in ordered columns, -∂k/∂h_j in unordered ones."""
        pulls = parts.slopes
        pulls *= self.hyper.additive
        pulls += self.hyper.joint * parts.slope
        if self.unordered.any():
            each = parts.each[self.unordered]
            pulls[self.unordered] = self.hyper.joint * parts.joint + self.share * each
        return pulls

    def parts(self, gaps: Floats) -> Parts:
        """The parts of the covariance between points with `gaps` (d, …): (a_j - b_j)², [a_j ≠ b_j] if unordered."""
        d = len(gaps)
        names = self.unordered
        s = gaps * _beside(np.square(1.0 / self.hyper.lengths), gaps)
        if not names.any():
            joint, slope = matern52(s.sum(0))
            s *= d
            return Parts(joint, slope, *matern52(s))
        h = gaps[names] / _beside(self.hyper.lengths[names], gaps)
        s[names] = 0.0
        joint, slope = matern52(s.sum(0))
        decay = np.exp(-h.sum(0))
        s *= d
        each, slopes = matern52(s)
        each[names] = np.exp(-h)
        return Parts(joint * decay, slope * decay, each, slopes)

    def _gaps(self, apart: Floats) -> Floats:
        gaps = np.square(apart)
        if self.unordered.any():
            gaps[self.unordered] = gaps[self.unordered] != 0
        return gaps


@dataclass(frozen=True, slots=True)
class Parts:
    """The correlation of all columns together and its g (…); those of each column by itself and their g (d, …)."""

    joint: Floats
    slope: Floats
    each: Floats
    slopes: Floats


def _apart(a: Floats, b: Floats) -> Floats:
    """a_j - b_j (d, …, m, n) of rows a (…, m, d) and b (…, n, d)."""
    return np.moveaxis(a, -1, 0)[..., :, None] - np.moveaxis(b, -1, 0)[..., None, :]


def _beside(columns: Floats, array: Floats) -> Floats:
    """Numbers by column (d,), shaped to multiply an array (d, …)."""
    return columns.reshape(-1, *[1] * (array.ndim - 1))
