"""What was seen: the study as a policy sees it, frozen at one version of its data.

Everything a policy may know is in a `Study`. There is no clock here, no database and no randomness, so any process can
answer for any study, and any answer can be computed again.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .space import Space

Params = Mapping[str, Any]
Curve = tuple[tuple[int, float], ...]
"""(step, value) pairs, steps ascending, values as the client measured them (NaN and infinities included)."""


class TrialState(StrEnum):
    """Where a trial is in its life. A lost worker is no state: the trial goes back to PAUSED or QUEUED."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    PRUNED = "PRUNED"
    FAILED = "FAILED"
    INFEASIBLE = "INFEASIBLE"

    @property
    def finished(self) -> bool:
        return self not in _UNFINISHED

    @property
    def paused(self) -> bool:
        return self is _PAUSED

    @property
    def worst(self) -> bool:
        """Whether a trial in this state counts as the worst of all, whatever its curve said."""
        return self is _FAILED or self is _INFEASIBLE


_UNFINISHED = (TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED)
_PAUSED, _FAILED, _INFEASIBLE = TrialState.PAUSED, TrialState.FAILED, TrialState.INFEASIBLE
# Looked up once: a member of an enumeration takes a microsecond to look up, and policies ask for every trial.


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric, the way it should go, and which value of a curve counts: the last one, or the best one on the way."""

    metric: str
    direction: Literal["minimize", "maximize"] = "minimize"
    summary: Literal["last", "best"] = "last"

    @property
    def sign(self) -> float:
        """Multiplies a measured value so that larger is better."""
        return 1.0 if self.direction == "maximize" else -1.0

    def score(self, curve: Curve, upto: int | None = None) -> float:
        """The curve's summary up to and including step `upto`, larger is better; -inf for a diverged or empty curve.

        A NaN or an infinity at the summarised step is the worst score, never the best. With `summary="best"` only the
        finite values count: the user kept the checkpoint from before the divergence.
        """
        end = len(curve)
        if upto is not None and curve and curve[-1][0] > upto:
            end = bisect_right(curve, (upto, math.inf))
        if self.summary == "best":
            return max((self.sign * value for _, value in curve[:end] if math.isfinite(value)), default=-math.inf)
        last = curve[end - 1][1] if end else math.nan
        return self.sign * last if math.isfinite(last) else -math.inf


@dataclass(frozen=True, slots=True)
class Resource:
    """What training consumes, in whole steps (epochs, batches, tokens): a trial runs from step 1 to `max`.

    `min` is the smallest grant worth handing out. "resumable": a paused trial goes on from its checkpoint. "restart":
    more of the resource means training again from step 0.
    """

    name: str
    max: int
    min: int = 1
    kind: Literal["resumable", "restart"] = "resumable"


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration and all that is known of it.

    `curves` maps each objective's metric to its curve; `values` holds the final values that the client told, if it did.
    `until_step` is the last step granted so far (None without a resource), `last_step` the last one reported (0: none).
    `excluded` trials are forgotten: policies skip them.
    """

    number: int
    params: Params
    state: TrialState
    curves: Mapping[str, Curve] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    last_step: int = 0
    until_step: int | None = None
    candidate: int | None = None
    excluded: bool = False

    def score(self, objective: Objective) -> float | None:
        """The trial's value, larger is better; -inf when it failed or diverged; None when nothing has been seen yet.

        A told value outranks the curve. A failed or infeasible trial scores -inf whatever its curve said.
        """
        if self.state.worst:
            return -math.inf
        if objective.metric in self.values:
            told = objective.sign * self.values[objective.metric]
            return told if math.isfinite(told) else -math.inf
        curve = self.curves.get(objective.metric, ())
        return objective.score(curve) if curve else None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Definition:
    """The part of a study that does not change from one decision to the next.

    `candidates`, when given, is the finite list of parameter sets the study may try, each at most once.
    """

    space: Space
    objectives: tuple[Objective, ...]
    resource: Resource | None = None
    candidates: tuple[Params, ...] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Study:
    """The snapshot: a definition, the trials in the order of their numbers, and suggestions made but not yet taken.

    `shelved` holds params that were suggested and wait to be asked for: pending like a running trial, and as little
    to be suggested again; `shelved_candidates` their indices, if the study has candidates; `thawing` the numbers of
    paused trials that were suggested to be resumed. `version` is the version of the data.
    """

    definition: Definition
    trials: tuple[Trial, ...] = ()
    shelved: tuple[Params, ...] = ()
    shelved_candidates: tuple[int, ...] = ()
    thawing: tuple[int, ...] = ()
    version: int = 0

    @property
    def space(self) -> Space:
        return self.definition.space

    @property
    def objective(self) -> Objective:
        return self.definition.objectives[0]

    @property
    def resource(self) -> Resource | None:
        return self.definition.resource
