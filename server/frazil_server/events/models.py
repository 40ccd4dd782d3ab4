"""The outbox: what happened, in the order in which it was committed."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ..database import Base
from ..studies.models import NOW


class Event(Base):
    """One thing that happened to a study or to one of its trials.

    Readers follow (xid, id) and stop short of transactions that are still open, so that an event which commits late is
    never skipped.
    """

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_study_id_xid_id", "study_id", "xid", "id"), Index("ix_events_at", "at"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    xid: Mapped[int] = mapped_column(BigInteger, server_default=text("pg_current_xact_id()::text::bigint"))
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    trial_number: Mapped[int | None]
    kind: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
