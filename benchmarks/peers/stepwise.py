"""How a tool that stops and resumes trainings is driven: as in protocol.py, with other requests.

    → {"next": null}               ← {"result": [7, 1203, 3]}      train candidate 1203, to be called 7, up to step 3
                                   ← {"result": [7, null, 9]}      resume 7, up to step 9
                                   ← {"result": null}              nothing to do at present
    → {"step": [7, 3, 0.25]}       ← {"result": ["continue", 9]}   or ["pause", null] or ["stop", null]

Every step is told, in order; a verdict counts only at the last step granted, and none is needed at the maximum. The
tool knows the maximum, and searches the unit cube: `options` has `max`, `workers` and `rows`, the candidates' places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import protocol
from protocol import Task

Work = tuple[int, int | None, int]
Verdict = tuple[str, int | None]
STOP: Verdict = ("stop", None)
PAUSE: Verdict = ("pause", None)


class Stepwise(Protocol):
    """A tool at work on one table. Made of a `Task`."""

    packages: Sequence[str]

    def next(self) -> Work | None: ...

    def step(self, key: int, step: int, value: float) -> Verdict: ...


CALLS: Mapping[str, Callable[[Stepwise, Any], Any]] = {
    "next": lambda tool, _: tool.next(),
    "step": lambda tool, content: tool.step(*content),
}


def serve(make: Callable[[Task], Stepwise]) -> None:
    protocol.serve(make, CALLS)


class Lookup:
    """A table for tools that suggest points of the unit cube: the nearest candidate that nobody has taken yet."""

    def __init__(self, task: Task) -> None:
        self.rows = np.array(task.options["rows"])
        self.free = np.ones(len(self.rows), dtype=bool)
        self.names = [f"x{i}" for i in range(self.rows.shape[1])]

    def take(self, point: Mapping[str, float]) -> int:
        squared = np.square(self.rows - [point[name] for name in self.names]).sum(1)
        found = int(np.argmin(np.where(self.free, squared, np.inf)))
        self.free[found] = False
        return found

    def point(self, candidate: int) -> dict[str, float]:
        return dict(zip(self.names, self.rows[candidate].tolist(), strict=True))
