"""The schema is what the models say, and getting there disturbs nobody."""

from __future__ import annotations

import subprocess
import sys

import psycopg
from alembic import command

from frazil_server.database import alembic_config, migrate, plain_url


def test_the_migrations_make_what_the_models_describe(database_url: str) -> None:
    migrate(database_url)
    command.check(alembic_config(database_url))


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    with psycopg.connect(plain_url(database_url)) as connection:
        connection.execute("INSERT INTO projects (id, name) VALUES (gen_random_uuid(), 'kept')")
    migrate(database_url)
    with psycopg.connect(plain_url(database_url)) as connection:
        assert connection.execute("SELECT name FROM projects").fetchall() == [("kept",)]


def test_processes_that_start_together_take_turns(database_url: str) -> None:
    code = f"from frazil_server.database import migrate; migrate({database_url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    command.check(alembic_config(database_url))


def test_a_migration_gives_up_waiting_for_a_lock_rather_than_block_a_server(database_url: str) -> None:
    migrate(database_url)
    config = alembic_config(database_url)
    with psycopg.connect(plain_url(database_url)) as reader:
        reader.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with_limits = subprocess.run(
            [sys.executable, "-c", f"from frazil_server.database import migrate; migrate({database_url!r})"],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert with_limits.returncode != 0
    assert "lock timeout" in with_limits.stderr
    command.check(config)
