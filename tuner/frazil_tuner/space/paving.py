"""Boxes that hold everything that meets the constraints: to draw from, and to prove that nothing does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .truths import Mask, every

if TYPE_CHECKING:
    from ..numerics import Floats
    from .rules import Ends, Rules

MOST_BOXES = 4_096
MOST_SPLITS = 64
NARROW = 1e-9
"""The width at which a continuous side of a box is not split any more."""


class Paving(NamedTuple):
    """Boxes, None if every one was cut away; and the constraints that did it, as few as explain it."""

    boxes: Ends | None
    blamed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cover:
    """Boxes (m, k) on the unit interval of the columns that constraints ask for."""

    low: Floats
    high: Floats

    @property
    def volumes(self) -> Floats:
        volumes: Floats = np.prod(self.high - self.low, axis=1)
        return volumes


def whole(rules: Rules) -> Cover:
    """The cube as a single box."""
    return Cover(np.zeros((1, len(rules.sides))), np.ones((1, len(rules.sides))))


def cover_of(rules: Rules, boxes: Ends) -> Cover:
    return Cover(_to_cube(rules, boxes[0]), _to_cube(rules, boxes[1]))


def pave(rules: Rules, thrift: int = 1) -> Paving:
    """Boxes that hold every point where all constraints hold, the more and the smaller the less `thrift` asks for.

    Branch and prune (Jaulin et al. 2001, ch. 3): boxes in which some constraint cannot hold are dropped, those in which
    all must hold are kept, the others are halved along the longest side that matters.
    """
    sizes = np.array([float(place.kind.size or 1) for place, _ in rules.sides])
    pending: Ends = (np.zeros((1, len(sizes))), sizes[None])
    kept: list[Ends] = []
    blamed: dict[int, None] = {}
    for _ in range(MOST_SPLITS):
        bounds = rules.bounds(pending)
        alive, decided = every(bounds.can), every(bounds.must)
        _blame(~bounds.can[~alive], blamed)
        kept.append(_pick(pending, alive & decided))
        pending, undecided = _pick(pending, alive & ~decided), ~bounds.must[alive & ~decided]
        if not len(pending[0]) or _is_fine(rules, kept, pending, MOST_BOXES // thrift):
            break
        small, pending = _split(rules, pending, undecided @ rules.concerns)
        kept.append(small)
        if not len(pending[0]):
            break
    low, high = (np.concatenate(ends) for ends in zip(*kept, pending, strict=True))
    return Paving((low, high) if len(low) else None, tuple(blamed))


def _is_fine(rules: Rules, kept: list[Ends], pending: Ends, most: int) -> bool:
    """Whether no more splits are worth their while: half the volume is certain, or there are too many boxes."""
    certain = sum(float(cover_of(rules, boxes).volumes.sum()) for boxes in kept)
    many = sum(len(low) for low, _ in kept) + 2 * len(pending[0]) > most
    return many or certain >= cover_of(rules, pending).volumes.sum()


def _split(rules: Rules, boxes: Ends, matters: Mask) -> tuple[Ends, Ends]:
    """The boxes that are too small to be split, and the halves of the others; `matters` (m, k) says along what."""
    low, high = boxes
    discrete = np.array([place.kind.size is not None for place, _ in rules.sides], dtype=bool)
    divisible = matters & (high - low > np.where(discrete, 1.0, NARROW))
    lengths = np.where(divisible, _to_cube(rules, high) - _to_cube(rules, low), -1.0)
    side, large = lengths.argmax(axis=1), lengths.max(axis=1, initial=-1.0) > -1.0
    small, (low, high), side = _pick(boxes, ~large), _pick(boxes, large), side[large]
    box = np.arange(len(low))
    middle = (low[box, side] + high[box, side]) / 2
    middle = np.where(discrete[side], np.floor(middle), middle)
    left, right = high.copy(), low.copy()
    left[box, side], right[box, side] = middle, middle
    return small, (np.concatenate([low, right]), np.concatenate([left, high]))


def _to_cube(rules: Rules, ends: Floats) -> Floats:
    """Ends of boxes (m, k) on the unit interval."""
    turned = ends.copy()
    for side, (place, _) in enumerate(rules.sides):
        if place.kind.size is not None:
            turned[:, side] = place.kind.edges(ends[:, side])
    return turned


def _pick(boxes: Ends, which: Mask) -> Ends:
    return boxes[0][which], boxes[1][which]


def _blame(violated: Mask, blamed: dict[int, None]) -> None:
    """Add to `blamed` as few constraints as explain why boxes (m,) were dropped: each violates (m, c) some."""
    violated = violated[~violated[:, list(blamed)].any(axis=1)]
    while len(violated):
        worst = int(violated.sum(axis=0).argmax())
        blamed[worst] = None
        violated = violated[~violated[:, worst]]
