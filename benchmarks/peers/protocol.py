"""How a tool is driven: one process each, JSON lines in and out, and CPU and memory measured here for all alike.

    → {"task": {…}}                          ← {"versions": {…}}, or {"unsupported": "why"}
    → {"ask": 2}                             ← {"result": [{"x0": 0.3}, {"x0": 0.7}]}
    → {"tell": [{"value": 1.0}, …]}          ← {"result": null}        of what was asked for last, in its order
    → {"load": [[{"x0": 0.3}, {"value": 1.0}], …]}                     finished trials that nobody asked for
    → {"recommend": null}                    ← {"result": {"x0": 0.3}}

Every answer has `cpu`, the seconds of user and system time that this process and its children spent on it, reading and
writing left out, and `peak`, the most memory this process ever held, in bytes. Needs nothing but Python: it runs in the
environments of the peers. Whatever a tool prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

Params = Mapping[str, Any]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Task:
    """What is to be minimised: a space as in the contract's JSON, objectives, and constraints, each to be ≤ 0.

    `budget` is how many trials there will be, for tools that want to know.
    """

    space: Sequence[Mapping[str, Any]]
    objectives: Sequence[str]
    constraints: Sequence[str]
    seed: int
    budget: int
    options: Mapping[str, Any]

    def active(self, params: Params) -> dict[str, Any]:
        """Of a point with all parameters, those whose conditions hold: for tools that know no conditions."""
        conditions = {parameter["name"]: parameter.get("when", {}) for parameter in self.space}
        return {
            name: params[name]
            for name, when in conditions.items()
            if all(params[parent] in values for parent, values in when.items())
        }


class Unsupported(Exception):
    """The tool cannot do this task, and why."""


class Driver(Protocol):
    """A tool at work on one task. Made of a `Task`; raises `Unsupported` if it cannot do it."""

    packages: Sequence[str]

    def ask(self, count: int) -> Sequence[Params]: ...

    def tell(self, outcomes: Sequence[Values]) -> None:
        """The outcomes of what was asked for last."""
        ...

    def load(self, points: Sequence[Params], outcomes: Sequence[Values]) -> None: ...

    def recommend(self) -> Params:
        """The trial the tool would have its user take, of a study with one objective."""
        ...


def serve(make: Callable[[Task], Any], calls: Mapping[str, Callable[[Any, Any], Any]] | None = None) -> None:
    """Answer requests until the input ends; `calls` where a driver is no `Driver` but is asked other things."""
    answers, requests = os.fdopen(os.dup(1), "w"), sys.stdin
    os.dup2(2, 1)

    def answer(content: Mapping[str, Any], began: float) -> None:
        answers.write(json.dumps({**content, "cpu": cpu_seconds() - began, "peak": peak_bytes()}) + "\n")
        answers.flush()

    began = cpu_seconds()
    try:
        driver = make(Task(**json.loads(requests.readline())["task"]))
    except Unsupported as reason:
        return answer({"unsupported": str(reason)}, began)
    answer({"versions": {name: version(name) for name in driver.packages}}, began)
    for line in requests:
        ((call, content),) = json.loads(line).items()
        began = cpu_seconds()
        answer({"result": (calls or CALLS)[call](driver, content)}, began)
    return None


CALLS: Mapping[str, Callable[[Driver, Any], Any]] = {
    "ask": lambda driver, count: driver.ask(count),
    "tell": lambda driver, outcomes: driver.tell(outcomes),
    "load": lambda driver, trials: driver.load(*zip(*trials, strict=True)),
    "recommend": lambda driver, _: driver.recommend(),
}


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_bytes() -> int:
    """Of this program alone: `ru_maxrss` would count what its parent held when it started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024
