"""What users do to trials: add some, correct one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Conflict, FrazilError, Problem, Refused
from frazil_tuner.history import TrialState
from frazil_tuner.space import Space

from .. import wire
from ..database import table
from ..errors import NotFound
from ..events.models import Event
from ..ids import uuid7
from ..studies.definitions import space_of
from ..studies.models import Candidates
from ..suggestions.models import Suggestion
from . import rules
from .branches import branch, parents_of
from .ledger import Ledger
from .models import Trial
from .progress import retrace
from .records import Point, TrialRecord
from .rescheduling import reschedule
from .schemas import Estimate, TrialIn, TrialPatch
from .views import get


def told_values(values: dict[str, Any]) -> dict[str, Any]:
    """Told values as they are stored: numbers, "nan" and its kin, or {"mean", "sem"}."""
    return {
        name: {"mean": wire.number(value.mean), "sem": value.sem} if isinstance(value, Estimate) else wire.number(value)
        for name, value in values.items()
    }


def measured(entries: Sequence[Any]) -> tuple[rules.Measured, ...]:
    return tuple(rules.Measured(entry.step, entry.metrics, entry.elapsed) for entry in entries)


async def add(
    connection: AsyncConnection, study_id: uuid.UUID, trials: Sequence[TrialIn], now: datetime
) -> list[dict[str, Any]]:
    """Enqueues params, or adds finished trials with their curves: all or none. Raises what the core and the rules
    raise.
    """
    ledger = await Ledger.open(connection, study_id, lock=True)
    if ledger.study.state in ("stopped", "completed") and any(trial.state == "QUEUED" for trial in trials):
        raise Conflict(
            f"The study is {ledger.study.state}; make it active before enqueuing trials.", code="study_not_active"
        )
    space = space_of(ledger.study.definition)
    candidates = await _candidates(ledger, space)
    parents = await parents_of(ledger, trials)
    added = [_add_one(ledger, space, candidates, parents, trial, f"/trials/{i}", now) for i, trial in enumerate(trials)]
    await _refuse_taken(ledger, added)
    ledger.study.learned()
    await ledger.flush()
    await ledger.score([trial.id for trial in added if trial.finished], added=True)
    await ledger.flush()
    return [{"id": t.id, "number": t.number, "state": t.state, "study_state": ledger.study.state} for t in added]


async def _candidates(ledger: Ledger, space: Space) -> dict[Any, int] | None:
    if not ledger.study.definition["candidates"]:
        return None
    query = select(Candidates.candidates).where(Candidates.study_id == ledger.study.id)
    listed = (await ledger.connection.execute(query)).scalar_one()
    return {space.key(params): index for index, params in enumerate(listed)}


def _add_one(
    ledger: Ledger,
    space: Space,
    candidates: dict[Any, int] | None,
    parents: Mapping[int, TrialRecord],
    body: TrialIn,
    pointer: str,
    now: datetime,
) -> TrialRecord:
    if body.parent is not None:
        trial = branch(ledger.study, space, parents, body, pointer)
        ledger.add_branch(trial, parents[body.parent])
        ledger.add_event("trial.added", trial, state=trial.state, parent=body.parent, from_step=trial.step)
        return trial
    for field in ("checkpoint", "until_step"):
        if getattr(body, field) is not None:
            raise _refused(pointer, field, "belongs to a branch; name its `parent`")
    trial = _record(ledger, space, candidates, body, pointer)
    ledger.add_trial(trial)
    if body.state != "QUEUED":
        _finish(ledger, trial, body, pointer, now)
    elif body.values or body.curve or body.gradients:
        raise _refused(pointer, "values", "a queued trial has no values and no curve yet; add it as COMPLETED")
    ledger.add_event("trial.added", trial, state=trial.state)
    return trial


def _record(
    ledger: Ledger, space: Space, candidates: dict[Any, int] | None, body: TrialIn, pointer: str
) -> TrialRecord:
    try:
        params = space.check(body.params)
    except FrazilError as error:
        error.problems = tuple(Problem(f"{pointer}/params{p.pointer}", p.detail) for p in error.problems)
        raise
    candidate = None
    if candidates is not None:
        candidate = candidates.get(space.key(params))
        if candidate is None:
            raise _refused(pointer, "params", "not among the study's candidates")
    study = ledger.study
    return TrialRecord(
        uuid7(), study.id, study.next_number, TrialState(body.state), params, candidate, body.notes, body.tags,
        ready=body.state == "QUEUED", why={"policy": "user"},
    )  # fmt: skip


def _finish(ledger: Ledger, trial: TrialRecord, body: TrialIn, pointer: str, now: datetime) -> None:
    study = ledger.study
    told = rules.Told(trial.state, told_values(body.values), body.cost, body.reason, body.gradients)
    curve = measured(body.curve)
    try:
        rules.validate(study, curve)
        rules.check_values(study, told, {name for entry in curve for name in entry.metrics})
        rules.check_gradients(study, trial, told)
    except FrazilError as error:
        error.problems = tuple(
            Problem(pointer + p.pointer.replace("/measurements", "/curve"), p.detail) for p in error.problems
        )
        raise
    told.write_to(trial)
    trial.step = trial.last_step = max((entry.step for entry in curve), default=0)
    trial.started_at = trial.finished_at = now
    ledger.add_points(
        Point(trial.id, name, entry.step, value, entry.elapsed, 0)
        for entry in curve
        for name, value in entry.metrics.items()
    )


def _refused(pointer: str, field: str, detail: str) -> Refused:
    return Refused(f"{pointer}/{field}: {detail}.", code="invalid", problems=(Problem(f"{pointer}/{field}", detail),))


async def _refuse_taken(ledger: Ledger, added: Sequence[TrialRecord]) -> None:
    """A candidate stands for one trial: refuses those that have one, before the database does."""
    wanted = [trial.candidate for trial in added if trial.candidate is not None]
    query = select(Trial.candidate).where(Trial.study_id == ledger.study.id, Trial.candidate.in_(wanted))
    taken = set((await ledger.connection.execute(query)).scalars()) if wanted else set()
    for index, candidate in enumerate(wanted):
        if candidate in taken:
            raise _refused(f"/trials/{index}", "params", f"candidate {candidate} has a trial already")
        taken.add(candidate)
    if wanted:
        shelved = delete(Suggestion).where(Suggestion.study_id == ledger.study.id, Suggestion.candidate.in_(wanted))
        await ledger.connection.execute(shelved)


async def correct(connection: AsyncConnection, trial_id: uuid.UUID, patch: TrialPatch) -> dict[str, Any]:
    """Changes notes, tags, exclusion, values or schedules; what these were before stays in the trial's events."""
    study_id = await study_of(connection, trial_id)
    ledger = await Ledger.open(connection, study_id, lock=True)
    await ledger.fetch([trial_id])
    trial = ledger.trials[trial_id]
    given = patch.model_dump(exclude_none=True, include={"notes", "tags", "excluded"})
    data: dict[str, Any] = dict(given)
    if patch.values is not None:
        data |= {"values": told_values(patch.values), "before": trial.values}
        await _check_correction(ledger, trial, data["values"])
        trial.values = data["values"]
        ledger.changed(trial)
    if given:
        changed = given | {"xid": text("pg_current_xact_id()::text::bigint")}
        await connection.execute(update(table(Trial)).where(Trial.id == trial_id).values(changed))
    if patch.schedules is not None and (happened := reschedule(ledger.study, trial, patch.schedules)):
        ledger.changed(trial)
        ledger.study.learned()
        ledger.add_event("trial.rescheduled", trial, **happened)
        await connection.execute(update(table(Trial)).where(Trial.id == trial_id).values(params=trial.params))
    if data:
        ledger.study.learned()
        await connection.execute(
            insert(Event).values(study_id=study_id, trial_number=trial.number, kind="trial.corrected", data=data)
        )
    await ledger.flush()
    if patch.values is not None or patch.excluded is not None:
        await retrace(ledger, trial.number)
        await ledger.flush()
    return await get(connection, trial_id)


async def _check_correction(ledger: Ledger, trial: TrialRecord, values: dict[str, Any]) -> None:
    if not trial.finished:
        detail = "only a finished trial's values can be corrected"
        raise Conflict(f"Trial {trial.number} is {trial.state}; {detail}.", code="trial_state")
    measured = await ledger.metrics([trial.id], ledger.study.required.union(values))
    rules.check_values(ledger.study, rules.Told(trial.state, values), measured[trial.id])


async def study_of(connection: AsyncConnection, trial_id: uuid.UUID) -> uuid.UUID:
    """The study a trial belongs to. Raises `NotFound`."""
    found = (await connection.execute(select(Trial.study_id).where(Trial.id == trial_id))).scalar_one_or_none()
    if found is None:
        raise NotFound("This trial does not exist, or was deleted.")
    return found
