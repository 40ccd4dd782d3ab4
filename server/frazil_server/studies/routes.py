"""Studies over HTTP."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from .. import wire
from ..database import Connection, after_commit
from ..idempotency import MaybeOnce, reply
from ..names import Name
from ..pages import PageSize, PageToken
from ..services import services
from . import service
from .schemas import StudyIn, StudyList, StudyOut, StudyPatch

router = APIRouter(prefix="/studies", tags=["studies"])


async def _study_id(
    study: str,
    connection: Connection,
    project: Annotated[str, Query(description="Where to look for a study given by name.")] = service.DEFAULT_PROJECT,
) -> uuid.UUID:
    return await service.resolve(connection, study, project)


StudyId = Annotated[uuid.UUID, Depends(_study_id)]
"""The study that the path names, by id or by name. Raises `NotFound`."""


def _etag(study: dict[str, Any]) -> dict[str, str]:
    return {"ETag": f'"{study["version"]}"'}


@router.post("", status_code=201, response_model=StudyOut, responses={200: {"model": StudyOut}})
async def create_study(body: StudyIn, request: Request, connection: Connection, once: MaybeOnce) -> Response:
    """Creates a study; with `if_exists: load`, an equal one of that name is answered with 200 instead."""
    if once is not None:
        await once.replay(connection)
    blueprint = await run_in_threadpool(service.Blueprint, body)
    study, new = await service.create(connection, blueprint, load=body.if_exists == "load")
    after_commit(request, lambda: services(request).announcer.touch(study["id"]))
    return await reply(connection, once, study, 201 if new else 200)


@router.get("", response_model=StudyList)
async def list_studies(
    connection: Connection,
    project: Name | None = None,
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> Response:
    """Studies, newest first."""
    return wire.Json(await service.list_page(connection, project, page_size, page_token))


@router.get("/{study}", response_model=StudyOut)
async def get_study(study_id: StudyId, connection: Connection) -> Response:
    study = await service.get(connection, study_id)
    return wire.Json(study, headers=_etag(study))


@router.patch("/{study}", response_model=StudyOut)
async def change_study(
    study_id: StudyId,
    patch: StudyPatch,
    connection: Connection,
    request: Request,
    if_match: Annotated[str | None, Header(description="The study's ETag; 412 if it has changed since.")] = None,
) -> Response:
    """Pauses, stops or reactivates a study; changes its notes, metadata, budget, policy or space."""
    study = await service.change(connection, study_id, patch, if_match)
    after_commit(request, lambda: services(request).changed(study_id))
    return wire.Json(study, headers=_etag(study))


@router.delete("/{study}", status_code=204)
async def delete_study(study_id: StudyId, connection: Connection, request: Request) -> None:
    """Deletes a study with everything in it. Its id never comes back."""
    await service.remove(connection, study_id)
    after_commit(request, lambda: services(request).forget(study_id))
