"""Collecting what time has ended: leases of lost workers, old idempotency keys, old report events.

Nothing depends on its promptness: an ask collects its own study's leases, and a late report notices for itself.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from frazil_tuner.errors import FrazilError

from .database import transaction
from .idempotency import FORGET
from .trials.commands import Sweep

if TYPE_CHECKING:
    from .trials.desk import Desk

log = structlog.get_logger(__name__)

_EXPIRED = text("SELECT DISTINCT study_id FROM trials WHERE state = 'RUNNING' AND lease_expires_at <= :now")
_OLD_REPORTS = text("DELETE FROM events WHERE kind = 'trial.reported' AND at < now() - interval '7 days'")


async def sweep(database: AsyncEngine, desk: Desk, now: datetime) -> None:
    """One round: serves every study with a lease that ran out; one that cannot be served is left for the next."""
    async with transaction(database) as connection:
        await connection.execute(FORGET)
        await connection.execute(_OLD_REPORTS)
        studies: list[uuid.UUID] = list((await connection.execute(_EXPIRED, {"now": now})).scalars())
    for study_id in studies:
        try:
            await desk.submit(study_id, Sweep())
        except FrazilError as error:
            log.warning("study_not_swept", study=str(study_id), error=error.detail)
