"""The table of comparisons."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, DateTime, ForeignKey, Identity, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from ..database import Base
from ..studies.models import NOW


class Comparison(Base):
    """Trials of a study as somebody ranked them: their numbers, best first. A fact, written once.

    Ids ascend in the order of the commits of one study, because its row is locked meanwhile.
    """

    __tablename__ = "comparisons"
    __table_args__ = (Index("ix_comparisons_study_id_id", "study_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    ranking: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
