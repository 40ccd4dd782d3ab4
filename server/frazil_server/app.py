"""The application: routes, errors, and what lives as long as the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from . import __version__, errors
from .comparisons.routes import router as comparisons
from .database import create_engine, database_url, migrate
from .events.routes import router as events
from .events.timeline import router as timeline
from .express import ExpressLane
from .idempotency import Replay, send_replay
from .insights.profiles import router as profiles
from .insights.routes import router as insights
from .middleware import LoopbackGuard, Observer, TooLarge
from .optimizers.routes import router as optimizers
from .schedules.routes import router as schedules
from .services import Services, utc_now
from .settings import Settings
from .studies.routes import router as studies
from .system import operations
from .system import router as system
from .transfer.routes import router as transfer
from .trials.curves import router as curves
from .trials.routes import router as trials
from .web import router as dashboard

API = "/api/v1"

_DESCRIPTION = """Frazil tunes training runs while they move: ask what to train next, report the learning curve, and be
told to go on, to pause at a checkpoint, or to stop."""


def create_app(settings: Settings | None = None, clock: Callable[[], datetime] = utc_now) -> FastAPI:
    """The ASGI application. It migrates its database when it starts; `clock` is read for leases and budgets."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        url = await asyncio.to_thread(database_url, settings)
        await asyncio.to_thread(migrate, url)
        engine = create_engine(url, settings.pool_size + settings.engine_workers)
        app.state.engine = engine
        app.state.services = Services(engine, url, settings, clock)
        async with app.state.services.running():
            yield
        await engine.dispose()

    app = _App(
        title="Frazil",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # ours needs nothing from elsewhere: see web.py
        redoc_url=None,
        lifespan=lifespan,
        max_body_size=settings.max_body_bytes,
        separate_input_output_schemas=False,
        responses={"default": errors.DOCUMENTED},
        generate_unique_id_function=lambda route: route.name,
    )
    for router in (
        studies,
        insights,
        profiles,
        trials,
        curves,
        comparisons,
        transfer,
        events,
        timeline,
        optimizers,
        schedules,
        system,
    ):
        app.include_router(router, prefix=API)
    app.include_router(operations)
    app.include_router(dashboard)
    errors.install(app)
    app.add_exception_handler(Replay, send_replay)
    framework = GZipMiddleware(TooLarge(app.framework), minimum_size=1024, compresslevel=5)
    app.outermost = Observer(LoopbackGuard(ExpressLane(framework, app.state, settings.max_body_bytes)))
    return app


class _App(FastAPI):
    """FastAPI behind our own outer layers: the observer, the guard and the express lane."""

    outermost: ASGIApp

    def openapi(self) -> dict[str, Any]:
        """The document, with the schema that every error answer refers to."""
        document = super().openapi()
        document["components"]["schemas"]["Problem"] = errors.SCHEMA
        return document

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.outermost(scope, receive, send)
