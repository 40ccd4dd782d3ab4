"""What a client can say about the trials of a study. The desk serves these in batches."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .rules import Checkpoint, Measured, Told


@dataclass(frozen=True, slots=True)
class Ask:
    """Lease up to `count` trials to `worker`.

    `context` fixes the parameters that have this role. Suggestions from the shelf must have been computed from data at
    least as new as `fresh_since`; None means the data as they are when the ask is first looked at. `last_try`: nothing
    more is being computed for this ask.
    """

    worker: str
    count: int
    lease_seconds: float
    context: Mapping[str, Any] = field(default_factory=dict)
    fresh_since: int | None = None
    last_try: bool = False


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


OfTrial = Report | Heartbeat | Pause | Release | Tell
Command = Ask | Sweep | OfTrial
