"""The command line: serve, worker, migrate, openapi."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer
import uvicorn
from fastapi import FastAPI

from .middleware import is_loopback
from .settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Frazil's server.")

_HostOption = Annotated[str | None, typer.Option(help="Address to bind: loopback only, until accounts exist.")]
_PortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="Port to bind; 0 takes a free one.")]
_DataOption = Annotated[Path | None, typer.Option(help="Folder of the embedded PostgreSQL.")]


def _settings(**given: Any) -> Settings:
    """The environment's settings, with what the command line gave on top."""
    return Settings(**{name: value for name, value in given.items() if value is not None})


def configure_logging(settings: Settings) -> None:
    """Log lines go to stderr, as text for people or as JSON for machines."""
    style: Any = (
        structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            style,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class _Server(uvicorn.Server):
    """Says where it is, once it truly answers, and ends the event streams before it shuts down."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
            server_header=False,
            proxy_headers=False,
        )
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            typer.echo(f"Frazil is ready at http://{shown}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.services.announcer.close()
        await super().shutdown(sockets)


@app.command()
def serve(host: _HostOption = None, port: _PortOption = None, data_dir: _DataOption = None) -> None:
    """Serve the API. Without FRAZIL_DATABASE_URL an embedded PostgreSQL is started in the data folder."""
    from .app import create_app

    settings = _settings(host=host, port=port, data_dir=data_dir)
    if not is_loopback(settings.host):
        typer.echo(
            f"Refusing to bind {settings.host}: whoever reached it could use it, as there are no accounts yet. "
            "Bind 127.0.0.1 and put a proxy that authenticates in front.",
            err=True,
        )
        raise typer.Exit(2)
    configure_logging(settings)
    server = _Server(create_app(settings))
    signal.signal(signal.SIGTERM, _leave)  # uvicorn raises the signal again when it has shut down
    server.run(sockets=[_bind(settings)])
    if not server.started:
        raise typer.Exit(1)


def _leave(number: int, frame: object) -> NoReturn:
    """Ends the process by way of its exit handlers, which stop worker processes and the embedded PostgreSQL."""
    raise SystemExit(128 + number)


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        typer.echo(f"Cannot bind {settings.host}:{settings.port}: {error.strerror}. Choose another --port.", err=True)
        raise typer.Exit(1) from None
    return listener


@app.command()
def worker(data_dir: _DataOption = None) -> None:
    """Compute suggestions for servers that run with FRAZIL_ENGINE=remote on the same database."""
    from .engine.remote import run_worker

    settings = _settings(data_dir=data_dir, engine="local")
    configure_logging(settings)
    asyncio.run(run_worker(settings))


@app.command()
def migrate(data_dir: _DataOption = None) -> None:
    """Bring the database's schema to the newest revision."""
    from .database import database_url
    from .database import migrate as run

    run(database_url(_settings(data_dir=data_dir)))


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from .app import create_app

    typer.echo(json.dumps(create_app(Settings()).openapi(), indent=1, sort_keys=True))
