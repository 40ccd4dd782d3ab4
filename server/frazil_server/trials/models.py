"""Tables of trials and of what they measured."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ..database import Base
from ..studies.models import EMPTY, NOW

_READY = "state = 'QUEUED' OR (state = 'PAUSED' AND ready)"
_FINITE = "objective > '-Infinity' AND objective < 'Infinity' AND NOT excluded"


class Trial(Base):
    """One configuration, its lease, and where its training stands.

    `step` is the last step reported in the present attempt, `last_step` in any. Steps up to `until_step` are granted.
    `returned_token` is the lease that was given back last, so that giving it back twice is harmless. `ready` marks a
    trial that may be handed out without asking the policy. `schedule` holds the schedules that were changed since the
    lease was given, for its holder to be told. `xid` is the transaction that last changed
    what a policy sees: readers ask for all trials changed since the horizon of their last look. Reports between two
    decisions touch no indexed column, so that Postgres updates the row in place (HOT).
    """

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        Index(
            "uq_trials_study_id_candidate",
            "study_id",
            "candidate",
            unique=True,
            postgresql_where="candidate IS NOT NULL",
        ),
        Index("ix_trials_study_id_xid", "study_id", "xid"),
        Index("ix_trials_ready", "study_id", "number", postgresql_where=_READY),
        Index("ix_trials_running", "study_id", "worker", postgresql_where="state = 'RUNNING'"),
        Index("ix_trials_state", "study_id", "state", "number"),
        Index("ix_trials_branches", "study_id", "checkpoint_uri", postgresql_where="why ? 'parent'"),
        Index("ix_trials_objective", "study_id", "objective", "number", postgresql_where=_FINITE),
        CheckConstraint(
            "state IN ('QUEUED', 'RUNNING', 'PAUSED', 'COMPLETED', 'PRUNED', 'FAILED', 'INFEASIBLE')",
            name="state_known",
        ),
        CheckConstraint("(state = 'RUNNING') = (lease_token IS NOT NULL)", name="running_has_lease"),
        CheckConstraint("until_step IS NULL OR step <= until_step", name="within_grant"),
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(Text)
    params: Mapped[dict[str, Any]]
    candidate: Mapped[int | None]
    values: Mapped[dict[str, Any]] = mapped_column(server_default=EMPTY)
    gradients: Mapped[dict[str, Any]] = mapped_column(server_default=EMPTY)
    objective: Mapped[float | None] = mapped_column(Double)
    cost: Mapped[float | None] = mapped_column(Double)
    reason: Mapped[str | None] = mapped_column(Text)
    worker: Mapped[str | None] = mapped_column(Text)
    lease_token: Mapped[str | None] = mapped_column(Text)
    returned_token: Mapped[str | None] = mapped_column(Text)
    lease_seconds: Mapped[float | None] = mapped_column(Double)
    lease_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    losses: Mapped[int] = mapped_column(server_default=text("0"))
    from_step: Mapped[int] = mapped_column(server_default=text("0"))
    step: Mapped[int] = mapped_column(server_default=text("0"))
    last_step: Mapped[int] = mapped_column(server_default=text("0"))
    until_step: Mapped[int | None]
    ready: Mapped[bool] = mapped_column(server_default=text("false"))
    verdict: Mapped[dict[str, Any] | None]
    checkpoint_uri: Mapped[str | None] = mapped_column(Text)
    checkpoint_step: Mapped[int | None]
    schedule: Mapped[dict[str, Any] | None]
    why: Mapped[dict[str, Any]] = mapped_column(server_default=EMPTY)
    told: Mapped[dict[str, Any] | None]
    notes: Mapped[str] = mapped_column(Text, server_default="")
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    excluded: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    xid: Mapped[int] = mapped_column(BigInteger, server_default=text("pg_current_xact_id()::text::bigint"))


class Measurement(Base):
    """One value of one metric at one step: a fact, written once and never changed.

    `attempt` is the trial's attempt that measured it; 0 when a worker told it after its lease was lost.
    """

    __tablename__ = "measurements"

    trial_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(Text, primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Double)
    elapsed: Mapped[float | None] = mapped_column(Double)
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))


class ObsoleteCheckpoint(Base):
    """A checkpoint that nobody will go on from any more, until some worker has been told so."""

    __tablename__ = "obsolete_checkpoints"
    __table_args__ = (
        Index("ix_obsolete_checkpoints_study_id_id", "study_id", "id"),
        Index("ix_obsolete_checkpoints_trial_id", "trial_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    trial_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"))
    uri: Mapped[str] = mapped_column(Text)


class Improvement(Base):
    """A value that was better than every one before it in its study: when it was seen, and what had been spent then.

    `trials` and `steps` are those of the whole study up to that moment.
    """

    __tablename__ = "improvements"
    __table_args__ = (Index("ix_improvements_study_id_id", "study_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    trial_number: Mapped[int]
    value: Mapped[float] = mapped_column(Double)
    trials: Mapped[int]
    steps: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
