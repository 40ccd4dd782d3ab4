"""Tables of projects and studies. Counts are kept here, by the transaction that changes them, and never counted on
read.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Double, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..database import Base

NOW = text("now()")
EMPTY = text("'{}'::jsonb")


class Project(Base):
    """A name space for studies."""

    __tablename__ = "projects"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    study_count: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Study(Base):
    """A study: its definition, its budget, and what has been used of it.

    `definition` holds what cannot change (space, objective, metrics, resource, seed). `data_version` grows whenever a
    policy could learn something new; `version` whenever a user edits the study. `steps_used` counts steps reported plus
    steps granted and not yet reported; `started` the trials ever handed to a worker. `best` is the last of the study's
    improvements, by trial `best_trial`.
    """

    __tablename__ = "studies"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        CheckConstraint("state IN ('active', 'paused', 'stopped', 'completed')", name="state_known"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="active")
    definition: Mapped[dict[str, Any]]
    policy: Mapped[dict[str, Any]]
    budget: Mapped[dict[str, Any]]
    user_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=EMPTY)
    notes: Mapped[str] = mapped_column(Text, server_default="")
    version: Mapped[int] = mapped_column(server_default=text("1"))
    data_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    next_number: Mapped[int] = mapped_column(server_default=text("0"))
    queued: Mapped[int] = mapped_column(server_default=text("0"))
    running: Mapped[int] = mapped_column(server_default=text("0"))
    paused: Mapped[int] = mapped_column(server_default=text("0"))
    completed: Mapped[int] = mapped_column(server_default=text("0"))
    pruned: Mapped[int] = mapped_column(server_default=text("0"))
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    infeasible: Mapped[int] = mapped_column(server_default=text("0"))
    started: Mapped[int] = mapped_column(server_default=text("0"))
    steps_used: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    best: Mapped[float | None] = mapped_column(Double)
    best_trial: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Candidates(Base):
    """The finite list a study chooses from, apart from its row because it may be megabytes long."""

    __tablename__ = "study_candidates"

    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    candidates: Mapped[list[Any]] = mapped_column(JSONB)


class IdempotencyKey(Base):
    """The first answer to a POST that carried an Idempotency-Key, written by the transaction that did the work."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    scope: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_hash: Mapped[str] = mapped_column(Text)
    status: Mapped[int]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
