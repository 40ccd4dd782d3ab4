"""`simplex`: weights of two or more components that sum to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..fields import number, shown, text
from .base import Column, Continuum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ...numerics import Floats
    from ..fields import Fields

MOST_COMPONENTS = 100
MOST_MIXTURES = 10_000

QUANTA = 10**9
"""Weights are multiples of 1 / QUANTA, so that they sum to one whatever the machine."""

ROUNDING = 1e-5
"""Weights given from outside may miss the sum of one by so much: people write five or six digits."""

TAIL = 1e-12
"""The part of a column in which the quantile is a straight line, so that the smallest shares survive the way back."""


@dataclass(frozen=True, slots=True)
class Simplex(Continuum):
    """Weights w_1 … w_K ≥ 0 with Σ w = 1, by breaking a stick K - 1 times.

        r_0 = 1,  r_k = s_k r_{k-1},  w_k = r_{k-1} - r_k,  w_K = r_{K-1}
        s_k = u_k^{1/(K-k)}

    Column k holds the probability that a Beta(K - k, 1) variable is at most the share s_k that is left behind: a
    uniform draw from the cube is uniform on the simplex (Dirichlet(1 … 1), Devroye 1986, ch. XI.4), but for `TAIL`.
    Columns count what is left and not what is taken because floats are finer near zero than near one.
    """

    type: ClassVar[str] = "simplex"
    size: ClassVar[int | None] = None

    components: tuple[str, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column.CONTINUOUS,) * (len(self.components) - 1)

    @property
    def parts(self) -> tuple[str, ...]:
        return self.components

    def to_json(self) -> dict[str, Any]:
        return {"components": list(self.components)}

    def check(self, value: object) -> dict[str, float]:
        """Weights rounded to 1e-9; those that sum to one within `ROUNDING` are scaled, others refused."""
        weights = self._read(value)
        rests = np.cumsum(weights[::-1])[::-1]
        if abs(rests[0] - 1) > ROUNDING:
            raise ValueError(f"must have weights that sum to 1, not {float(rests[0]):.9g}")
        return self._weights(rests[1:] / rests[0])

    def encode(self, values: Sequence[Any]) -> Floats:
        weights = np.array([self.measure(value) for value in values]).reshape(-1, len(self.components))
        rests = np.rint(np.cumsum(weights[:, ::-1], axis=1)[:, ::-1] * QUANTA)
        whole = rests[:, :-1] > 0
        shares = np.where(whole, rests[:, 1:] / np.where(whole, rests[:, :-1], 1), 0.5)
        u: Floats = np.where(whole, _probability(shares, self._powers), 0.5)
        return u

    def decode(self, u: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.components, self.numbers(np.asarray(u)[None])[0].tolist(), strict=True))

    def snap(self, u: Floats) -> Floats:
        return u

    def neighbours(self, u: Floats) -> Floats:
        return np.empty((0, len(self.columns)))

    def values(self, resolution: int | None) -> Iterable[dict[str, float]]:
        """The mixtures whose weights are multiples of 1 / (resolution - 1); the even mixture for a resolution of 1.

        Where those are more than `MOST_MIXTURES`, the multiples are coarser.
        """
        if resolution is None:
            raise ValueError("a continuum has no list of all its values")
        if resolution == 1:
            return [self._weights(np.arange(len(self.components) - 1, 0, -1) / len(self.components))]
        broken = len(self.components) - 1
        steps = next(q for q in range(resolution - 1, 0, -1) if q == 1 or comb(q + broken, broken) <= MOST_MIXTURES)
        return [self._weights(np.array(rests) / steps) for rests in self._descents(steps)]

    def measure(self, value: Any) -> tuple[float, ...]:
        return tuple([float(value[component]) for component in self.components])

    def numbers(self, u: Floats) -> Floats:
        return _differences(np.rint(self._rests(u) * QUANTA), QUANTA) / QUANTA

    def smooth(self, u: Floats) -> Floats:
        return _differences(self._rests(u), 1)

    def hull(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        ones, none = np.ones((len(low), 1)), np.zeros((len(low), 1))
        least, most = (_share(u, self._powers) for u in (low, high))
        before = [np.hstack([ones, np.cumprod(shares, axis=1)]) for shares in (least, most)]
        taken = [np.hstack([1 - shares, ones]) for shares in (most, least)]
        rounding = 2 / QUANTA
        bounds = [rest * share for rest, share in zip(before, taken, strict=True)]
        return np.maximum(bounds[0] - rounding, none), np.minimum(bounds[1] + rounding, ones)

    @property
    def _powers(self) -> Floats:
        """K - k for k = 1 … K - 1."""
        return np.arange(len(self.components) - 1, 0, -1, dtype=np.float64)

    def _rests(self, u: Floats) -> Floats:
        """What is left (…, K - 1) of the stick after each break."""
        return np.asarray(np.cumprod(_share(u, self._powers), axis=-1), dtype=np.float64)

    def _weights(self, rests: Floats) -> dict[str, float]:
        quanta = [QUANTA, *np.rint(rests * QUANTA).astype(int).tolist(), 0]
        taken = [(before - after) / QUANTA for before, after in pairwise(quanta)]
        return dict(zip(self.components, taken, strict=True))

    def _descents(self, top: int) -> Iterator[tuple[int, ...]]:
        """Every sequence (K - 1,) of whole numbers from `top` down to 0 that never rises, the largest first."""
        rests = [top] * (len(self.components) - 1)
        while True:
            yield tuple(rests)
            k = next((k for k in reversed(range(len(rests))) if rests[k] > 0), None)
            if k is None:
                return
            rests[k:] = [rests[k] - 1] * (len(rests) - k)

    def _read(self, value: object) -> Floats:
        """The weights (K,) in the order of the components; ValueError for anything but one number ≥ 0 for each."""
        if not isinstance(value, Mapping):
            example = {component: round(1 / len(self.components), 2) for component in self.components[:2]}
            raise ValueError(f"must be an object of weights such as {shown(example)}, not {shown(value)}")
        if unknown := [key for key in value if key not in self.components]:
            raise ValueError(f"has no component {shown(unknown[0])}; it has {', '.join(self.components[:20])}")
        if missing := [component for component in self.components if component not in value]:
            raise ValueError(f"lacks the weight of {shown(missing[0])}; give one for each component")
        return np.array([_weight(component, value[component]) for component in self.components], dtype=np.float64)


def read_simplex(fields: Fields) -> Simplex | None:
    components = fields.scalars("components", MOST_COMPONENTS)
    if fields.sound and len(components) < 2:
        fields.fail("components", "must name at least two components")
    for i, component in enumerate(components):
        fields.read(f"components/{i}", text, component, "")
    return Simplex(components) if fields.sound else None


def _weight(component: str, value: object) -> float:
    try:
        weight = number(value)
    except ValueError as fault:
        raise ValueError(f"the weight of {shown(component)} {fault}") from None
    if weight < 0:
        raise ValueError(f"the weight of {shown(component)} must not be negative, but is {shown(value)}")
    return weight


def _share(u: Floats, powers: Floats) -> Floats:
    """s = u^{1/m}, but a straight line from 0 to u = TAIL."""
    steep = TAIL ** (1 / powers - 1)
    return np.where(u < TAIL, u * steep, np.power(np.maximum(u, TAIL), 1 / powers))


def _probability(share: Floats, powers: Floats) -> Floats:
    """The inverse of `_share`."""
    steep = TAIL ** (1 / powers - 1)
    return np.where(share < TAIL * steep, share / steep, np.power(np.maximum(share, TAIL * steep), powers))


def _differences(rests: Floats, whole: float) -> Floats:
    """The weights (n, K) between the rests (n, K - 1)."""
    ends = np.full((len(rests), 1), float(whole))
    padded = np.hstack([ends, rests, 0 * ends])
    weights: Floats = padded[:, :-1] - padded[:, 1:]
    return weights
