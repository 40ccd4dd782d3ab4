"""A real PostgreSQL and a real server, once for the whole run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an embedded PostgreSQL that lives as long as the test run."""
    from frazil_server.database import start_embedded, stop_embedded

    with tempfile.TemporaryDirectory(prefix="frazil-tests-") as folder:
        yield start_embedded(Path(folder))
        stop_embedded(Path(folder))


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """A fresh, empty database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgres_url.replace("/postgres?", f"/{name}?")


class Server:
    """A real `frazil-server serve` in a process of its own."""

    def __init__(self, database_url: str, *, port: int = 0, **environment: str) -> None:
        self._environment = {
            **os.environ, "FRAZIL_DATABASE_URL": database_url, "FRAZIL_ENGINE_PREWARM": "false", **environment
        }  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        self.port = port
        self.start()

    def start(self) -> None:
        """Starts it, again on the same port after the first time, and waits until it answers."""
        command = [sys.executable, "-m", "frazil_server", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Frazil is ready at "), f"the server did not start: {line!r}"
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start_server(database_url: str) -> Iterator[Callable[..., Server]]:
    """Starts servers on a fresh database; those still running at the end are killed."""
    servers: list[Server] = []

    def start(**options: str) -> Server:
        servers.append(Server(database_url, **options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def server_url(postgres_url: str) -> Iterator[str]:
    """The URL of a real server, shared by the whole run: use a study name of your own."""
    server = Server(postgres_url)
    yield server.url
    server.stop()
