"""What was seen: the study as a policy sees it, frozen at one version of its data.

Everything a policy may know is in a `Study`. There is no clock here, no database and no randomness, so any process can
answer for any study, and any answer can be computed again.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
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
    """A metric, the way it should go, and which value of a curve counts: the last one, or the best one on the way.

    `by` says how it is learned: from values that are told or reported, or from comparisons of trials, which then
    need no values.
    """

    metric: str
    direction: Literal["minimize", "maximize"] = "minimize"
    summary: Literal["last", "best"] = "last"
    by: Literal["value", "comparison"] = "value"

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


_LIMIT = re.compile(r"\s*(?P<metric>.+?)\s*(?P<relation><=|>=|<|>)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True, slots=True)
class OutcomeConstraint:
    """A metric that must stay within a bound: metric ≤ bound, or metric ≥ bound where `at_least`."""

    metric: str
    bound: float
    at_least: bool = False

    @classmethod
    def parse(cls, text: str) -> OutcomeConstraint:
        """The constraint that a string such as "latency_ms <= 50" states; ValueError with the remedy if it states
        none.
        """
        found = _LIMIT.fullmatch(text)
        bound = _finite(found["bound"]) if found else None
        if found is None or bound is None:
            raise ValueError(f'must be a metric, <= or >=, and a number, such as "latency_ms <= 50", not {text!r}')
        return cls(found["metric"], bound, found["relation"].startswith(">"))

    def __str__(self) -> str:
        return f"{self.metric} {'>=' if self.at_least else '<='} {self.bound:g}"

    @property
    def sign(self) -> float:
        """Multiplies metric and bound so that larger is better."""
        return 1.0 if self.at_least else -1.0

    def slack(self, value: float) -> float:
        """How far `value` lies on the good side of the bound, in the metric's units; -inf for a value not finite."""
        return self.sign * (value - self.bound) if math.isfinite(value) else -math.inf


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


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

    `curves` maps the metrics that the study is decided by to their curves; `values` holds the final values that the
    client told, if it did, and `sems` their standard errors where it told those. `gradients` has, by metric and by
    numeric parameter, the derivative of the value in the user's units. `cost` is what the trial cost, as told.
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
    sems: Mapping[str, float] = field(default_factory=dict)
    gradients: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cost: float | None = None

    def value(self, metric: str) -> float | None:
        """The metric as told, else the last of its curve, in its own units; None when nothing has been seen."""
        if metric in self.values:
            return self.values[metric]
        curve = self.curves.get(metric, ())
        return curve[-1][1] if curve else None

    def satisfies(self, constraints: Iterable[OutcomeConstraint]) -> bool:
        """Whether every constrained metric was seen within its bound; a failed or infeasible trial satisfies none."""
        if self.state.worst:
            return False
        values = [(constraint, self.value(constraint.metric)) for constraint in constraints]
        return all(value is not None and constraint.slack(value) >= 0 for constraint, value in values)

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


ELAPSED = "elapsed"
"""The cost that is no metric: seconds of training since a trial started, as they come with its reports."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Definition:
    """The part of a study that does not change from one decision to the next.

    `candidates`, when given, is the finite list of parameter sets the study may try, each at most once. `cost` is the
    metric that says what a trial costs, or the price of a step of the resource, or `ELAPSED`.
    """

    space: Space
    objectives: tuple[Objective, ...]
    resource: Resource | None = None
    candidates: tuple[Params, ...] | None = None
    seed: int = 0
    outcome_constraints: tuple[OutcomeConstraint, ...] = ()
    cost: str | float | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that decisions depend on, each once."""
        named = [objective.metric for objective in self.objectives]
        named += [constraint.metric for constraint in self.outcome_constraints]
        named += [self.cost] if isinstance(self.cost, str) else []
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier study to learn from: its finished trials, their params canonical in the present study's space."""

    name: str
    objective: Objective
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """The snapshot: a definition, the trials in the order of their numbers, and suggestions made but not yet taken.

    `shelved` holds params that were suggested and wait to be asked for: pending like a running trial, and as little
    to be suggested again; `shelved_candidates` their indices, if the study has candidates; `shelved_until` the last
    step of each grant, None without a resource; `thawing` the numbers of paused trials that were suggested to be
    resumed. `version` is the version of the data.

    `rankings` are comparisons, each the numbers of some trials, best first. `related` holds earlier studies to learn
    from. `context` fixes parameters for the suggestions to come. `last_fit` is what the newest suggestion's `why` says
    of the model it came from: hyperparameters to start the next fit at.
    """

    definition: Definition
    trials: tuple[Trial, ...] = ()
    shelved: tuple[Params, ...] = ()
    shelved_candidates: tuple[int, ...] = ()
    thawing: tuple[int, ...] = ()
    version: int = 0
    rankings: tuple[tuple[int, ...], ...] = ()
    related: tuple[Earlier, ...] = ()
    context: Params = field(default_factory=dict)
    last_fit: Mapping[str, Any] | None = None
    shelved_until: tuple[int | None, ...] = ()

    @property
    def space(self) -> Space:
        return self.definition.space

    @property
    def search_space(self) -> Space:
        """The space of the suggestions to come: with the context held fixed."""
        return self.space.hold(self.context) if self.context else self.space

    @property
    def objective(self) -> Objective:
        return self.definition.objectives[0]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.definition.objectives

    @property
    def resource(self) -> Resource | None:
        return self.definition.resource
