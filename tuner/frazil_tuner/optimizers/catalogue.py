"""Reading catalogue.toml. A fault in it is a fault of ours, which the tests find.

| field | meaning |
| --- | --- |
| title, family, source | what it is called, what sort it is, where it comes from |
| class | its import path where a well-kept library has it; otherwise `why` says why there is none |
| licence | of that library; one that forbids commercial use is offered only on request |
| memory | state in multiples of the parameters in float32; AdamW has 2 |
| resumes | whether a state that is saved and loaded goes on exactly as the run would have: true unless it says false |
| groups | which parameters it takes how: "decay" (biases and norms without weight decay), "one", "muon", "galore", … |
| needs | of the training loop: "closure", "create_graph", "two passes", "train/eval" |
| schedule | "none": its learning rate takes no schedule |
| couplings, note | sentences for people |
| constants | arguments with one value |
| parameters | what may be tuned, the `essential` first: default, range, scale, and the `argument` ("betas.0") it is |
| points | that did well on all workloads of AlgoPerf at once, best first: its baselines (2306.07179, 2505.24005) |
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from ..errors import Problem, Refused

RESTRICTED = ("CC-BY-NC-4.0",)
"""Licences that forbid commercial use."""

GROUPS = ("decay", "one", "muon", "galore", "apollo")
NEEDS = ("closure", "create_graph", "two passes", "train/eval", "Hessian-vector products", "full gradients")


class UnknownOptimizer(Refused):
    """A name that is not in the catalogue."""

    code = "optimizer_unknown"


@dataclass(frozen=True, slots=True)
class Tuned:
    """A hyperparameter: `argument` is where its value goes in a call of the class."""

    name: str
    default: float
    low: float
    high: float
    log: bool | str = False
    essential: bool = False
    argument: str = ""

    @property
    def kind(self) -> str:
        return "int" if isinstance(self.low, int) and isinstance(self.high, int) else "float"

    def to_json(self) -> dict[str, Any]:
        """As the catalogue is shown."""
        return {
            "name": self.name, "type": self.kind, "default": self.default, "low": self.low, "high": self.high,
            "log": self.log, "essential": self.essential, "argument": self.argument or self.name,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One optimizer."""

    name: str
    title: str
    family: str
    source: str
    parameters: tuple[Tuned, ...]
    class_: str | None = None
    why: str | None = None
    licence: str | None = None
    memory: float | None = None
    resumes: bool = True
    groups: str = "decay"
    needs: tuple[str, ...] = ()
    schedule: str = "any"
    note: str | None = None
    couplings: tuple[str, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[Mapping[str, float], ...] = ()

    @property
    def restricted(self) -> str | None:
        """Why it is offered only on request, if it is."""
        if self.licence in RESTRICTED:
            return f"its licence, {self.licence}, forbids commercial use"
        return None if self.resumes else "a run that was frozen does not thaw exactly as it was"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "title": self.title, "family": self.family, "source": self.source,
            "class": self.class_, "why": self.why, "licence": self.licence, "memory": self.memory,
            "resumes": self.resumes, "restricted": self.restricted, "groups": self.groups, "needs": list(self.needs),
            "schedule": self.schedule, "note": self.note, "couplings": list(self.couplings),
            "constants": dict(self.constants), "points": [dict(point) for point in self.points],
            "parameters": [tuned.to_json() for tuned in self.parameters],
        }  # fmt: skip


@cache
def catalogue() -> Mapping[str, Entry]:
    """Every entry by its name."""
    items = tomllib.loads((files(__package__) / "catalogue.toml").read_text("utf-8"))
    return MappingProxyType({name: _entry(name, item) for name, item in items.items()})


def entry_of(name: str) -> Entry:
    """The entry of a name. Raises UnknownOptimizer with what there is that sounds like it."""
    known = catalogue()
    if name in known:
        return known[name]
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(list(known)[:20])} …"
    detail = f"there is no optimizer {name!r}; {hint}"
    raise UnknownOptimizer(detail, problems=(Problem("/name", detail),))


def _entry(name: str, item: Mapping[str, Any]) -> Entry:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
    fields["class_"] = fields.pop("class", None)
    fields["parameters"] = tuple(Tuned(**tuned) for tuned in item["parameters"])
    return Entry(name, **fields)
