"""Trials over HTTP."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from frazil_tuner.history import TrialState

from .. import wire
from ..database import Connection, after_commit
from ..idempotency import MaybeOnce, Once, reply
from ..names import Name
from ..pages import PageSize, PageToken
from ..services import services
from ..studies.routes import StudyId
from . import changes, rules, samples, views
from .commands import Ask, Heartbeat, OfTrial, Pause, Release, Report, Tell
from .filters import Filter, read_filter
from .ledger import Ledger
from .schemas import (
    AddedTrials,
    AskIn,
    AskOut,
    CheckpointIn,
    HeartbeatIn,
    PauseIn,
    Progress,
    ReleaseIn,
    ReportIn,
    ReportOut,
    TellIn,
    TrialCurves,
    TrialList,
    TrialOut,
    TrialPatch,
    TrialSample,
    TrialsIn,
    TrialStateOut,
)

router = APIRouter(tags=["trials"])


# ── the write path: through the desk, which has its own transaction ──────────────────────────────────────────────────


@router.post("/studies/{study}/trials:ask", response_model=AskOut)
async def ask_for_trials(
    study: str,
    body: AskIn,
    request: Request,
    once: MaybeOnce,
    project: Annotated[str, Query(description="Where to look for a study given by name.")] = "default",
) -> Response:
    """Leases trials to a worker: those it holds already, those that wait, or what the policy suggests.

    Fewer trials than asked, or none with `retry_after` seconds, is a normal answer.
    """
    return await services(request).ask(study, project, ask_command(body, once), once)


async def _serve(request: Request, trial: uuid.UUID, command: OfTrial, once: Once | None) -> Response:
    return await services(request).of_trial(trial, command, once)


def _checkpoint(body: CheckpointIn | None) -> rules.Checkpoint | None:
    return None if body is None else rules.Checkpoint(body.uri, body.step)


def ask_command(body: AskIn, once: Once | None = None) -> Ask:
    return Ask(body.worker or _anonymous(once), body.count, body.lease_seconds, body.context or {})


def _anonymous(once: Once | None) -> str:
    """A name for a worker that has none: the same whenever a request is repeated under its Idempotency-Key."""
    same = secrets.token_hex(16) if once is None else uuid.uuid5(uuid.NAMESPACE_URL, f"{once.scope} {once.key}").hex
    return f"anonymous-{same}"


def report_command(trial: uuid.UUID, body: ReportIn) -> Report:
    return Report(trial, body.lease, changes.measured(body.measurements), _checkpoint(body.checkpoint))


def heartbeat_command(trial: uuid.UUID, body: HeartbeatIn) -> Heartbeat:
    return Heartbeat(trial, body.lease, _checkpoint(body.checkpoint))


def pause_command(trial: uuid.UUID, body: PauseIn) -> Pause:
    return Pause(trial, body.lease, body.step, _checkpoint(body.checkpoint))


def release_command(trial: uuid.UUID, body: ReleaseIn) -> Release:
    return Release(trial, body.lease)


def tell_command(trial: uuid.UUID, body: TellIn) -> Tell:
    told = rules.Told(TrialState(body.state), changes.told_values(body.values), body.cost, body.reason, body.gradients)
    return Tell(trial, body.lease, told)


@router.post("/trials/{trial}/reports", response_model=ReportOut)
async def report(trial: uuid.UUID, body: ReportIn, request: Request, once: MaybeOnce) -> Response:
    """Report, heartbeat and should-I-stop in one. Repeating a report changes nothing."""
    return await _serve(request, trial, report_command(trial, body), once)


@router.post("/trials/{trial}:heartbeat", response_model=ReportOut)
async def heartbeat(trial: uuid.UUID, body: HeartbeatIn, request: Request, once: MaybeOnce) -> Response:
    """Extends the lease."""
    return await _serve(request, trial, heartbeat_command(trial, body), once)


@router.post("/trials/{trial}:pause", response_model=TrialStateOut)
async def pause(trial: uuid.UUID, body: PauseIn, request: Request, once: MaybeOnce) -> Response:
    """Freezes a trial at a checkpoint and gives the lease back."""
    return await _serve(request, trial, pause_command(trial, body), once)


@router.post("/trials/{trial}:release", response_model=TrialStateOut)
async def release(trial: uuid.UUID, body: ReleaseIn, request: Request, once: MaybeOnce) -> Response:
    """Gives the lease back without progress."""
    return await _serve(request, trial, release_command(trial, body), once)


@router.post("/trials/{trial}:tell", response_model=TrialStateOut)
async def tell(trial: uuid.UUID, body: TellIn, request: Request, once: MaybeOnce) -> Response:
    """Finishes a trial. Without values the curve counts. Told twice alike it answers 200, otherwise 409."""
    return await _serve(request, trial, tell_command(trial, body), once)


# ── what users do ────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/studies/{study}/trials", status_code=201, response_model=AddedTrials)
async def add_trials(
    study_id: StudyId, body: TrialsIn, request: Request, connection: Connection, once: MaybeOnce
) -> Response:
    """Enqueues params, or adds finished trials with curves: all or none, up to 1 000."""
    if once is not None:
        await once.replay(connection)
    added = await changes.add(connection, study_id, body.trials, services(request).clock())
    after_commit(request, lambda: services(request).changed(study_id))
    return await reply(connection, once, {"trials": added}, 201)


@router.get("/studies/{study}/trials", response_model=TrialList)
async def list_trials(
    study_id: StudyId,
    connection: Connection,
    chosen: Annotated[Filter, Depends(read_filter)],
    order_by: Annotated[str, Query(description=views.ORDERS)] = "number",
    fields: Annotated[str | None, Query(description="Names of fields, separated by commas.")] = None,
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> Response:
    """A page of trials. By objective, only trials that have a finite one are listed."""
    page = await views.list_page(
        connection,
        (await Ledger.open(connection, study_id, lock=False)).study,
        filter=chosen,
        order_by=order_by,
        fields=None if fields is None else [name.strip() for name in fields.split(",")],
        page_size=page_size,
        page_token=page_token,
    )
    return wire.Json(page)


@router.get("/studies/{study}/trials:sample", response_model=TrialSample)
async def sample_trials(
    study_id: StudyId,
    connection: Connection,
    chosen: Annotated[Filter, Depends(read_filter)],
    count: Annotated[int, Query(ge=1, le=5_000, description="Trials at most.")] = 500,
) -> Response:
    """Some trials, to be drawn: the best ones, and others evenly spaced by number; in columns, as they are plotted."""
    study = (await Ledger.open(connection, study_id, lock=False)).study
    return wire.Json(await samples.sample(connection, study, chosen, count))


@router.get("/studies/{study}/progress", response_model=Progress)
async def get_progress(
    study_id: StudyId,
    connection: Connection,
    most: Annotated[int, Query(ge=2, le=10_000, description="Improvements at most: the first, and the latest.")] = 500,
) -> Response:
    """The best value over time: every improvement, with the trials, steps and seconds it came after.

    Of a study with several objectives, or with rankings, there is none. Values out of `outcome_constraints` do not
    count; nor, where more of the resource means training again, those of less than all of it.
    """
    study = (await Ledger.open(connection, study_id, lock=False)).study
    return wire.Json(await samples.progress(connection, study, most))


@router.get("/trials/{trial}", response_model=TrialOut)
async def get_trial(trial: uuid.UUID, connection: Connection) -> Response:
    return wire.Json(await views.get(connection, trial))


@router.get("/trials/{trial}/curve", response_model=TrialCurves)
async def get_curve(trial: uuid.UUID, connection: Connection, metric: Name | None = None) -> Response:
    """Every point of a trial's curves, or of one metric's."""
    return wire.Json(await views.curves(connection, trial, metric))


@router.patch("/trials/{trial}", response_model=TrialOut)
async def correct_trial(trial: uuid.UUID, patch: TrialPatch, request: Request, connection: Connection) -> Response:
    """Notes, tags, exclusion from what the tuner knows, corrected values."""
    corrected = await changes.correct(connection, trial, patch)
    after_commit(request, lambda: services(request).changed(corrected["study_id"]))
    return wire.Json(corrected)
