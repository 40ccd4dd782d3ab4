"""A server inside the tests' own process, on a database of its own, with a clock that moves only when it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import text

from frazil_server.app import create_app
from frazil_server.settings import Settings

LR = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0, "log": True}
DEFINITION: dict[str, Any] = {
    "space": [LR], "objectives": [{"metric": "loss"}], "policy": {"name": "random"}, "seed": 7
}  # fmt: skip
EPOCHS = {"name": "epoch", "max": 10}


class Clock:
    """The server's clock."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Api:
    """The words of a client, over any function that sends a request."""

    def __init__(self, send: Callable[..., httpx2.Response]) -> None:
        self._send = send

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        """Sends `body` as JSON, non-finite numbers and odd characters included, unless it is bytes already."""
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **options.pop("headers", {})}
            options |= {"content": content, "headers": headers}
        return self._send(method, path if path.startswith("/healthz") else f"/api/v1{path}", **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return self.call("POST", path, body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return self.call("PATCH", path, body, **options)

    def create(self, **definition: Any) -> dict[str, Any]:
        """A study with a name of its own; what is not said is small."""
        body = {"name": f"study-{uuid.uuid4().hex}"} | DEFINITION | definition
        return ok(self.post("/studies", body))

    def study(self, study: dict[str, Any]) -> dict[str, Any]:
        """The study as it is now."""
        return ok(self.get(f"/studies/{study['id']}"))

    def trial(self, trial: dict[str, Any]) -> dict[str, Any]:
        """The trial as it is now."""
        return ok(self.get(f"/trials/{trial['id']}"))

    def curve(self, trial: dict[str, Any], metric: str = "loss") -> list[tuple[int, Any]]:
        """A trial's (step, value) pairs."""
        (curve,) = ok(self.get(f"/trials/{trial['id']}/curve?metric={metric}"))["curves"]
        return [(point["step"], point["value"]) for point in curve["points"]]

    def ask(self, study: dict[str, Any], worker: str = "w", **body: Any) -> dict[str, Any]:
        return ok(self.post(f"/studies/{study['id']}/trials:ask", {"worker": worker} | body))

    def lease(self, study: dict[str, Any], worker: str = "w", **body: Any) -> dict[str, Any]:
        """The one trial that an ask is answered with."""
        (trial,) = self.ask(study, worker, **body)["trials"]
        return trial

    def say(self, trial: dict[str, Any], word: str, **body: Any) -> httpx2.Response:
        """A word about a leased trial, under its lease: "/reports", ":tell" and so on."""
        return self.post(f"/trials/{trial['id']}{word}", {"lease": trial["lease"]["token"]} | body)

    def report(self, trial: dict[str, Any], *steps: int, value: Any = None, **body: Any) -> httpx2.Response:
        """Reports a loss of 1/step at each of the steps, unless a value is given."""
        measurements = [{"step": s, "metrics": {"loss": 1 / s if value is None else value}} for s in steps]
        return self.say(trial, "/reports", measurements=measurements, **body)

    def tell(self, trial: dict[str, Any], loss: Any = None, **body: Any) -> httpx2.Response:
        return self.say(trial, ":tell", **({} if loss is None else {"values": {"loss": loss}}) | body)

    def everything(self, study: dict[str, Any]) -> list[bytes]:
        """All that the server shows of a study and its trials, byte for byte."""
        paths = ["", "/trials?page_size=1000", "/curves", "/events:list?page_size=1000"]
        return [self.get(f"/studies/{study['id']}{path}").content for path in paths]


class House(Api):
    """The server in this process: `clock` is its clock, `sql` looks into its database."""

    def __init__(self, database_url: str) -> None:
        self.clock = Clock()
        self.database_url = database_url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="house", daemon=True)
        self._thread.start()
        settings = Settings(database_url=database_url, engine_prewarm=False, sweep_seconds=1e6)
        self.app = create_app(settings, self.clock)
        self._lifespan = self.app.router.lifespan_context(self.app)
        self.run(self._lifespan.__aenter__())
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app), base_url="http://127.0.0.1", timeout=60
        )
        super().__init__(lambda *request, **options: self.run(self.client.request(*request, **options)))

    def close(self) -> None:
        self.run(self.client.aclose())
        self.run(self._lifespan.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Any) -> Any:
        """Runs a coroutine in the server's event loop, which has a thread of its own: the server's chores go on."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        async def run() -> list[Any]:
            async with self.app.state.engine.begin() as connection:
                result = await connection.execute(text(statement), parameters)
                return list(result.all()) if result.returns_rows else []

        return self.run(run())


def ok(response: httpx2.Response) -> Any:
    """The body of an answer that must not be an error."""
    assert response.is_success, f"{response.status_code}: {response.text}"
    return response.json()


def new_database(postgres_url: str) -> str:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgres_url.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def new_house(postgres_url: str) -> Callable[[], House]:
    """Opens a server in this process on a database of its own; close it."""
    return lambda: House(new_database(postgres_url))


@pytest.fixture(scope="session")
def house(new_house: Callable[[], House]) -> Iterator[House]:
    """A server with a clock of its own, shared by the whole run: use a study of your own."""
    house = new_house()
    yield house
    house.close()


@pytest.fixture(scope="session")
def api(server_url: str) -> Iterator[Api]:
    """The real server, over HTTP."""
    with httpx2.Client(base_url=server_url, timeout=60) as client:
        yield Api(client.request)


def expect_problem(response: httpx2.Response, status: int, code: str, pointer: str | None = None) -> dict[str, Any]:
    """The body of an RFC 9457 answer, after a look at its form; with 422 one of its errors must have `pointer`."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["status"] == status
    assert body["type"] == f"urn:frazil:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    if status == 422:
        assert body["errors"]
        assert all(set(error) == {"pointer", "detail"} and error["detail"] for error in body["errors"])
    if pointer is not None:
        assert pointer in [error["pointer"] for error in body["errors"]], body
    return body


@pytest.fixture(scope="session")
def refused() -> Callable[..., dict[str, Any]]:
    """Asserts that an answer is a problem with this status, code and pointer."""
    return expect_problem


@pytest.fixture(scope="session")
def must() -> Callable[[httpx2.Response], Any]:
    """The body of an answer that must not be an error."""
    return ok
