"""What a client can say about the trials of a study. The desk serves these in batches."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .rules import Checkpoint, Measured, Told

if TYPE_CHECKING:
    from frazil_tuner.policies import Decision

    from .records import TrialRecord


@dataclass(frozen=True, slots=True)
class Considered:
    """What the policy decided about a trial as it stood when it was looked at."""

    until_step: int | None
    last_step: int
    decision: Decision

    def holds_for(self, trial: TrialRecord) -> bool:
        """False once the trial has moved on: then it is to be considered again."""
        return (trial.until_step, trial.last_step) == (self.until_step, self.last_step)


@dataclass(frozen=True, slots=True)
class Ask:
    """Lease up to `count` trials to `worker`.

    `context` fixes the parameters that have this role. Suggestions from the shelf must have been computed from data at
    least as new as `fresh_since`; None means the data as they are when the ask is first looked at. `last_try`: nothing
    more is being computed for this ask. `considered` has what the policy decided, by number, about trials that wait.
    """

    worker: str
    count: int
    lease_seconds: float
    context: Mapping[str, Any] = field(default_factory=dict)
    fresh_since: int | None = None
    last_try: bool = False
    considered: Mapping[int, Considered] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    trial: uuid.UUID
    lease: str
    measured: tuple[Measured, ...]
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    trial: uuid.UUID
    lease: str
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policy decided about a trial at the end of its grant: what a report waits for."""

    trial: uuid.UUID
    lease: str
    considered: Considered


@dataclass(frozen=True, slots=True)
class Pause:
    trial: uuid.UUID
    lease: str
    step: int | None
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class Release:
    trial: uuid.UUID
    lease: str


@dataclass(frozen=True, slots=True)
class Tell:
    trial: uuid.UUID
    lease: str
    told: Told


@dataclass(frozen=True, slots=True)
class Sweep:
    """Take back the leases of the study that ran out."""


OfTrial = Report | Heartbeat | Ruling | Pause | Release | Tell
Command = Ask | Sweep | OfTrial
