"""The best value over time: which trial improved on all before it, when, and what had been spent by then.

Improvements are written down when they happen, by the transaction that scores the trial: there are few of them, and
nobody has to read all trials to draw the line or to say what is best.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.history import OutcomeConstraint

from ..database import fetch
from ..studies.definitions import is_compared, limit
from .records import StudyRecord

if TYPE_CHECKING:
    from .ledger import Ledger


class Scored(NamedTuple):
    """A trial's value at one moment. `trials` and `steps` are what the study had spent by then."""

    id: uuid.UUID
    number: int
    value: float
    last_step: int
    trials: int
    steps: int
    at: datetime | None


_INSERT = """INSERT INTO improvements (study_id, trial_number, value, trials, steps, at)
    SELECT %(study)s, number, value, trials, steps, coalesce(at, now())
    FROM unnest(%(numbers)s::int[], %(values)s::float8[], %(trials)s::int[], %(steps)s::bigint[],
        %(ats)s::timestamptz[]) AS i(number, value, trials, steps, at)"""
_OUTCOMES = """SELECT t.id, c.metric, coalesce(
        (CASE jsonb_typeof(t."values" -> c.metric) WHEN 'object' THEN t."values" -> c.metric ->> 'mean'
            ELSE t."values" ->> c.metric END)::float8,
        (SELECT value FROM measurements WHERE trial_id = t.id AND metric = c.metric ORDER BY step DESC LIMIT 1)
    ) AS value
    FROM trials t CROSS JOIN unnest(%(metrics)s::text[]) AS c(metric) WHERE t.id = ANY(%(ids)s)"""
_FORGET = "DELETE FROM improvements WHERE study_id = %(study)s"
# What is known now, and what was seen of other trials than the corrected one on the way there.
_SEEN = """SELECT id, number, objective AS value, last_step, number + 1 AS trials,
        sum(last_step) OVER (ORDER BY coalesce(finished_at, now()), number)::bigint AS steps,
        coalesce(finished_at, now()) AS at
    FROM trials WHERE study_id = %(study)s AND objective > '-Infinity' AND objective < 'Infinity' AND NOT excluded
    UNION ALL
    SELECT t.id, t.number, i.value, t.last_step, i.trials, i.steps, i.at
    FROM improvements i JOIN trials t ON t.study_id = i.study_id AND t.number = i.trial_number
    WHERE i.study_id = %(study)s AND t.number <> %(corrected)s AND NOT t.excluded
    ORDER BY at, number"""


def has_best(study: StudyRecord) -> bool:
    """Whether one value alone says which trial is better: not with several objectives, nor with rankings."""
    return len(study.definition["objectives"]) == 1 and not is_compared(study.definition)


async def note(ledger: Ledger, rows: Iterable[Any], *, added: bool) -> None:
    """Writes down which of the trials just scored improved on everything before them.

    `added` together, finished as they are, trials count one after the other.
    """
    if not has_best(ledger.study) or not ledger.locked:
        return
    finite = [row for row in rows if row.objective is not None and math.isfinite(row.objective) and not row.excluded]
    if not finite:
        return
    await _write(ledger, await _improving(ledger, _dated(ledger.study, finite, added), ledger.study.best))


def _dated(study: StudyRecord, rows: list[Any], added: bool) -> list[Scored]:
    """The rows in the order of their numbers, with what the study had spent when they came to their values."""
    rows.sort(key=lambda row: row.number)
    to_come = sum(row.last_step for row in rows) if added else 0
    scored = []
    for row in rows:
        to_come -= row.last_step if added else 0
        trials, steps = row.number + 1 if added else study.next_number, max(0, study.steps_used - to_come)
        scored.append(Scored(row.id, row.number, row.objective, row.last_step, trials, steps, row.finished_at))
    return scored


async def retrace(ledger: Ledger, corrected: int) -> None:
    """Draws the line anew after trial `corrected` was excluded, taken in again, or given another value."""
    study = ledger.study
    if not has_best(study):
        return
    rows = await fetch(ledger.connection, _SEEN, {"study": study.id, "corrected": corrected})
    seen = [Scored(*row) for row in rows]
    await fetch(ledger.connection, _FORGET, {"study": study.id})
    study.best = study.best_trial = None
    await _write(ledger, await _improving(ledger, seen, None))


async def _improving(ledger: Ledger, scored: Sequence[Scored], best: float | None) -> list[Scored]:
    """Those that are better than `best` and than all before them, and meet the study's constraints."""
    definition = ledger.study.definition
    sign = 1.0 if definition["objectives"][0]["direction"] == "maximize" else -1.0
    constraints = [limit(text) for text in definition["outcome_constraints"]]
    least = ledger.study.max_step if ledger.study.restarts else 0  # less of the resource is another quantity
    eligible = [item for item in scored if item.last_step >= (least or 0)]
    while True:
        found = _running_best(eligible, sign, best)
        unfit = await _unfit(ledger, [item.id for item in found], constraints)
        if not unfit:
            return found
        eligible = [item for item in eligible if item.id not in unfit]


def _running_best(scored: Iterable[Scored], sign: float, best: float | None) -> list[Scored]:
    found = []
    for item in scored:
        if best is None or sign * item.value > sign * best:
            best = item.value
            found.append(item)
    return found


async def _unfit(
    ledger: Ledger, ids: Collection[uuid.UUID], constraints: Sequence[OutcomeConstraint]
) -> set[uuid.UUID]:
    """Those of the trials that were not seen within every constraint."""
    if not constraints or not ids:
        return set()
    seen = await outcomes(ledger.connection, ids, [constraint.metric for constraint in constraints])
    return {id_ for id_ in ids if not all(_within(seen.get((id_, c.metric)), c) for c in constraints)}


async def outcomes(
    connection: AsyncConnection, ids: Collection[uuid.UUID], metrics: Collection[str]
) -> dict[tuple[uuid.UUID, str], float | None]:
    """Metrics of trials, as told or as seen last."""
    rows = await fetch(connection, _OUTCOMES, {"ids": list(ids), "metrics": list(metrics)})
    return {(row.id, row.metric): row.value for row in rows}


def _within(value: float | None, constraint: OutcomeConstraint) -> bool:
    return value is not None and constraint.slack(value) >= 0


async def _write(ledger: Ledger, improving: Sequence[Scored]) -> None:
    if not improving:
        return
    parameters = {
        "study": ledger.study.id,
        "numbers": [item.number for item in improving],
        "values": [item.value for item in improving],
        "trials": [item.trials for item in improving],
        "steps": [item.steps for item in improving],
        "ats": [item.at for item in improving],
    }
    await fetch(ledger.connection, _INSERT, parameters)
    ledger.study.best, ledger.study.best_trial = improving[-1].value, improving[-1].number
