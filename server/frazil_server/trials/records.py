"""Studies and trials while a transaction works on them: what the rules read and change, and the ledger stores."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from frazil_tuner.history import TrialState

from ..studies.definitions import declared_metrics, required_metrics
from .states import FINISHED, check


@dataclass(slots=True)
class StudyRecord:
    """A locked study. `definition` is its complete document; `counts` holds the number of trials in each state, kept
    by `TrialRecord.move`; `best` is the best value so far, seen of trial `best_trial`.
    """

    id: uuid.UUID
    name: str
    state: str
    definition: dict[str, Any]
    policy: dict[str, Any]
    budget: dict[str, Any]
    version: int
    data_version: int
    next_number: int
    counts: dict[TrialState, int]
    started: int
    steps_used: int
    started_at: datetime | None
    best: float | None = None
    best_trial: int | None = None

    @property
    def metric(self) -> str:
        metric: str = self.definition["objectives"][0]["metric"]
        return metric

    @property
    def declared(self) -> set[str]:
        """Every metric that the definition names."""
        return declared_metrics(self.definition)

    @property
    def required(self) -> set[str]:
        """The metrics without which no trial is COMPLETED."""
        return required_metrics(self.definition)

    @property
    def max_step(self) -> int | None:
        resource = self.definition["resource"]
        return resource["max"] if resource else None

    @property
    def restarts(self) -> bool:
        resource = self.definition["resource"]
        return bool(resource) and resource["kind"] == "restart"

    def steps_left(self) -> int | None:
        """Steps the budget still has to give; None when it does not count steps."""
        limit = self.budget.get("resource")
        return None if limit is None else max(0, limit - self.steps_used)

    def trials_left(self) -> int | None:
        """Trials the budget still lets start; None when it does not count trials."""
        limit = self.budget.get("trials")
        return None if limit is None else max(0, limit - self.started)

    def time_is_up(self, now: datetime) -> bool:
        limit = self.budget.get("seconds")
        return limit is not None and self.started_at is not None and (now - self.started_at).total_seconds() >= limit

    def exhausted(self, now: datetime) -> bool:
        """True when the budget allows no further step of any trial."""
        return self.time_is_up(now) or self.steps_left() == 0

    def learned(self) -> None:
        """A policy could now answer differently: suggestions on the shelf are stale."""
        self.data_version += 1


@dataclass(slots=True)
class TrialRecord:
    """A locked trial. Columns have the names of the table; see `models.Trial`. `obsolete` has the checkpoints that this
    transaction made so.
    """

    id: uuid.UUID
    study_id: uuid.UUID
    number: int
    state: TrialState
    params: dict[str, Any]
    candidate: int | None = None
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    gradients: dict[str, dict[str, float]] = field(default_factory=dict)
    cost: float | None = None
    reason: str | None = None
    worker: str | None = None
    lease_token: str | None = None
    returned_token: str | None = None
    lease_seconds: float | None = None
    lease_expires_at: datetime | None = None
    attempt: int = 0
    losses: int = 0
    from_step: int = 0
    step: int = 0
    last_step: int = 0
    until_step: int | None = None
    ready: bool = False
    verdict: dict[str, Any] | None = None
    checkpoint_uri: str | None = None
    checkpoint_step: int | None = None
    schedule: dict[str, Any] | None = None
    why: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    obsolete: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    def start_of_next_attempt(self, study: StudyRecord) -> int:
        """The step a new holder starts after: the checkpoint's, or 0 where there is none or it cannot be resumed."""
        return 0 if study.restarts or self.checkpoint_step is None else self.checkpoint_step

    def holds(self, token: str, now: datetime) -> bool:
        """True if `token` is the trial's lease and the lease has not run out."""
        return self.lease_token == token and self.lease_expires_at is not None and self.lease_expires_at > now

    def move(self, study: StudyRecord, state: TrialState) -> None:
        """The only way to another state: through the table, with the study's counts. Raises `Conflict`."""
        check(self.number, self.state, state)
        study.counts[self.state] -= 1
        study.counts[state] += 1
        self.state = state


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement on its way into the table."""

    trial_id: uuid.UUID
    metric: str
    step: int
    value: float
    elapsed: float | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Happening:
    """One event on its way into the outbox."""

    study_id: uuid.UUID
    kind: str
    trial_number: int | None = None
    data: dict[str, Any] = field(default_factory=dict)
