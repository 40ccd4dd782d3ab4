"""From the coordinates that a policy proposes to starts that the study has not had, within its space."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from .domain import Point, domain_of
from .model_free import full_grant

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

    from ..history import Study
    from ..numerics import Floats
    from .base import Suggestion, Why

ATTEMPTS = 8
"""Proposals that may be stale or out of constraints before the domain gives the nearest free point, or a random one."""


def guided_starts(study: Study, count: int, seed: int, propose: Callable[[], Floats], why: Why) -> list[Suggestion]:
    """Starts at the next `count` points (d,) that `propose` gives, or fewer when the domain is exhausted.

    A list of candidates gives the nearest that is free.
    """
    points = islice(_points(study, seed, propose), count)
    return [point.start(full_grant(study.resource), why) for point in points]


def on_columns(columns: NDArray[np.bool_], propose: Callable[[], Floats]) -> Callable[[], Floats]:
    """What proposes whole rows (d,), from what proposes the columns that vary; the others are the domain's."""

    def whole() -> Floats:
        row = np.full(len(columns), 0.5)
        row[columns] = propose()
        return row

    return whole


def _points(study: Study, seed: int, propose: Callable[[], Floats]) -> Iterator[Point]:
    domain, space = domain_of(study, seed), study.search_space
    tried = (trial.params for trial in study.trials)
    taken: set[Hashable] = {space.key(params) for params in (*tried, *study.shelved)}

    def is_welcome(u: Floats) -> bool:
        return bool(space.feasible(space.snap(u[None]))[0]) and space.key(space.decode(u)) not in taken

    while True:
        proposals = [propose()]
        while not is_welcome(proposals[-1]) and len(proposals) < ATTEMPTS:
            proposals.append(propose())
        point = domain.take_nearest(proposals[-1])
        if point is not None and point.candidate is None and space.key(point.params) in taken:
            point = domain.take_random()
        if point is None:
            return
        taken.add(space.key(point.params))
        yield point
