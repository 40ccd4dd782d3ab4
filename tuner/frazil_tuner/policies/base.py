"""The protocol of a policy: what to do next, as a pure function of what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from ..history import Params, Study, Trial
    from .scope import Scope

Why = Mapping[str, Any]
"""Why a suggestion was made: JSON-able facts for people, e.g. {"policy": "bayes", "acquisition": "log_ei"}."""


@dataclass(frozen=True, slots=True)
class Start:
    """Train a new configuration up to step `until` (None: the study has no resource)."""

    params: Params
    until: int | None = None
    candidate: int | None = None
    why: Why = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """Thaw the paused trial `number` and train it up to step `until`."""

    number: int
    until: int
    why: Why = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Branch:
    """Go on from the checkpoint of trial `number` with other params, as a trial of its own, up to step `until`. That
    trial stays as it is. Where it has no checkpoint, the params are trained from the start.
    """

    number: int
    params: Params
    until: int
    why: Why = field(default_factory=dict)


Suggestion = Start | Resume | Branch


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on to step `until` with the same worker."""

    until: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Freeze at a checkpoint; somebody may thaw it later."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Give the trial up for good."""

    reason: str = ""


Decision = Continue | Pause | Stop


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The configuration to use if the study ended now: a trial, and the belief about it at the full resource.

    `mean` and `sd` are by metric, in the metric's own units and direction; `sd` is empty where the policy has no model.
    """

    number: int
    mean: Mapping[str, float]
    sd: Mapping[str, float] = field(default_factory=dict)


class Policy(Protocol):
    """A frozen value: a name and its options. Stateless: all it knows of a study is the snapshot it is given.

    `ages`: its suggestions depend on what was seen, so those computed on older data are stale.
    `reads_curves`: it needs `Trial.curves`; otherwise snapshots may leave them empty for finished trials.
    `deliberates`: its decisions take a model, and are left to a worker process.
    `needs_resource`: it makes no sense in a study without one, and `build` refuses it there; `scope` says which other
    studies it can serve.
    """

    name: ClassVar[str]
    ages: ClassVar[bool]
    reads_curves: ClassVar[bool]
    needs_resource: ClassVar[bool]
    deliberates: ClassVar[bool]
    scope: ClassVar[Scope]

    def is_light(self, study: Study) -> bool:
        """True if `suggest` takes a few milliseconds here and needs no torch: it may run in the API process."""
        ...

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        """At most `count` actions, in order of preference; fewer, or none, when there is nothing to do at present.

        The same study and seed give the same answer on any machine. Suggestions of one call are made for each other:
        none repeats another, a trial in the study, or what is shelved, unless the policy's point is to replicate.
        """
        ...

    def decide(self, study: Study, trial: Trial) -> Decision:
        """What a trial that reached `trial.until_step` < resource.max should do. Takes milliseconds, and no torch,
        unless the policy deliberates.
        """
        ...

    def recommend(self, study: Study) -> Recommendation | None:
        """The trial to use if the study ended now; None as long as no trial has a finite value."""
        ...
