"""What the server can do and how it is: policies, system, health, metrics."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.responses import PlainTextResponse

from frazil_tuner.policies import describe

from . import __version__, wire
from .database import Connection
from .services import services

_TRAINING = text("SELECT count(*) AS trials, count(DISTINCT worker) AS workers FROM trials WHERE state = 'RUNNING'")
_STUDIES = text("SELECT state, count(*) AS count FROM studies GROUP BY state ORDER BY state")

router = APIRouter(tags=["system"])
operations = APIRouter(tags=["operations"])


@router.get("/policies")
async def list_policies() -> Response:
    """Every policy, and the options it accepts."""
    return wire.Json({"items": describe()})


@router.get("/system")
async def get_system(connection: Connection, request: Request) -> Response:
    """Versions, the database, the engine with the suggestions that are waited for, and who trains at present."""
    database = (await connection.execute(text("SHOW server_version"))).scalar_one()
    engine: dict[str, Any] = services(request).engine.describe()
    training = (await connection.execute(_TRAINING)).one()
    studies = {row.state: row.count for row in await connection.execute(_STUDIES)}
    return wire.Json(
        {
            "version": __version__,
            "database": f"PostgreSQL {database}",
            "cores": os.cpu_count(),
            "engine": engine,
            "training": {"trials": training.trials, "workers": training.workers},
            "studies": studies,
        }
    )


@operations.get("/healthz")
async def healthy() -> Response:
    """The process answers."""
    return wire.Json({"status": "ok"})


@operations.get("/readyz")
async def ready(connection: Connection) -> Response:
    """The database answers too."""
    await connection.execute(text("SELECT 1"))
    return wire.Json({"status": "ready"})


@operations.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
