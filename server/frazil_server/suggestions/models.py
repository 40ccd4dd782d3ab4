"""The shelf: suggestions computed ahead of the asks that will take them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from ..database import Base
from ..studies.models import EMPTY, NOW


class Suggestion(Base):
    """A suggestion that waits to be asked for.

    `trial_number` is set when it resumes a paused trial, `params` when it starts a new one, and both when it branches
    one. `data_version` is the
    version of the data it was computed from; `why` its provenance; `context` what was fixed for it: it serves asks with
    this context only.
    """

    __tablename__ = "suggestions"
    __table_args__ = (Index("ix_suggestions_study_id_id", "study_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    trial_number: Mapped[int | None]
    params: Mapped[dict[str, Any] | None]
    candidate: Mapped[int | None]
    until_step: Mapped[int | None]
    data_version: Mapped[int] = mapped_column(BigInteger)
    context: Mapped[dict[str, Any]] = mapped_column(server_default=EMPTY)
    why: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Fit(Base):
    """What the newest suggestion of a study says of the model it came from: where the next fit starts. An optimisation
    only.
    """

    __tablename__ = "study_fits"

    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    data_version: Mapped[int] = mapped_column(BigInteger)
    fit: Mapped[dict[str, Any]]
