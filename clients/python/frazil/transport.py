"""The way to the server: one connection pool, JSON both ways, problems as exceptions, patience with outages."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx2

from .errors import FrazilError, Overloaded, Problem, TryLater, Unreachable, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json = Any
"""A decoded JSON document."""

API = "/api/v1"
FIRST_PAUSE, LONGEST_PAUSE = (
    0.1,
    8.0,
)  # seconds between attempts; the longest decides how soon a restarted server is found
TIMEOUT = httpx2.Timeout(60.0, connect=5.0)  # an ask may wait for a model to be fitted
HURRIED_PATIENCE = 10.0  # batch systems kill 30 s after the signal

log = logging.getLogger("frazil")


class Transport:
    """Sends requests, and repeats them for up to `patience` seconds while the server is away or overloaded.

    Thread-safe. Every call returns the decoded answer or raises a `FrazilError`. What is repeated must be idempotent by
    nature, or be sent with `once=True`: then it carries an Idempotency-Key and the server answers a repetition as it
    answered the first.
    """

    def __init__(
        self, url: str, *, token: str | None, patience: float, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.patience = patience
        # Loading the trust store takes 50 ms, and plain HTTP has no use for it.
        encrypted = self.url.startswith("https")
        self._http = httpx2.Client(timeout=TIMEOUT, transport=transport, verify=encrypted)
        self._headers = {
            "accept": "application/json",
            "content-type": "application/json",
            "user-agent": "frazil-python",
        }
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._pid = os.getpid()

    def get(self, path: str, **query: str | int | Sequence[str] | None) -> Json:
        return self._call(self._request("GET", path, query=query))

    def post(self, path: str, body: Mapping[str, Any], *, once: bool = False, patience: float = math.inf) -> Json:
        headers = {"idempotency-key": uuid.uuid4().hex} if once else {}
        return self._call(self._request("POST", path, body, headers), patience)

    def patch(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Json:
        return self._call(self._request("PATCH", path, body, headers))

    def delete(self, path: str) -> None:
        self._call(self._request("DELETE", path))

    def pages(self, path: str, **query: str | int | None) -> Iterator[Json]:
        """Every item of a list, page after page."""
        page = self.get(path, **query)
        yield from page["items"]
        while token := page["next_page_token"]:
            page = self.get(path, **query, page_token=token)
            yield from page["items"]

    def hurry(self) -> None:
        """From now on give up after seconds: the process has been told to end."""
        self.patience = min(self.patience, HURRIED_PATIENCE)

    def close(self) -> None:
        self._http.close()

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int | Sequence[str] | None] | None = None,
    ) -> httpx2.Request:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        # Built by hand: the client's own merging of URL, headers, cookies and parameters costs 0.1 ms a request.
        return httpx2.Request(
            method,
            f"{self.url}{API}{path}",
            params=given or None,
            headers={**self._headers, **(headers or {})},
            content=None if body is None else encoded(body),
        )

    def _call(self, request: httpx2.Request, patience: float = math.inf) -> Json:
        if os.getpid() != self._pid:
            raise RuntimeError("a frazil.Client does not survive a fork: make one in each process")
        started, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return self._attempt(request)
            except TryLater as error:
                left = started + min(patience, self.patience) - time.monotonic()
                if left <= 0:
                    raise
                if pause == FIRST_PAUSE:
                    log.warning("%s; trying again for up to %.0f s", error.detail, left)
                wait = jittered(error.retry_after or pause)
            time.sleep(min(wait, left))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self, request: httpx2.Request) -> Json:
        if self._http.is_closed:
            raise FrazilError("this client has been closed", code="closed")
        try:
            response = self._http.send(request)
        except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"no answer from {self.url} ({reason})", code="unreachable") from error
        if response.is_success:
            return json.loads(response.content) if response.content else None
        raise problem(response)


def jittered(seconds: float) -> float:
    """At least `seconds` and at most a quarter more, so that a hundred workers do not come back at one instant."""
    return seconds * (1 + 0.25 * random.random())  # noqa: S311  (no secret hangs on it)


def problem(response: httpx2.Response) -> FrazilError:
    """The exception that an unsuccessful answer stands for, from the server or from a proxy with an HTML page."""
    try:
        document = json.loads(response.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    code = str(document.get("code", "error"))
    error = kind_of(response.status_code, code)(
        str(document.get("detail") or f"{response.request.url} answered {response.status_code}"),
        code=code,
        status=response.status_code,
        request_id=document.get("request_id") or response.headers.get("x-request-id"),
        errors=tuple(Problem(fault["pointer"], fault["detail"]) for fault in document.get("errors") or ()),
    )
    if isinstance(error, Overloaded):
        error.retry_after = _seconds(response.headers.get("retry-after"))
    return error


def encoded(body: Mapping[str, Any]) -> bytes:
    """JSON; NaN and infinities as the contract spells them, so that the server can say where one does not belong."""
    try:
        text = json.dumps(body, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(_spelled(body), separators=(",", ":"), default=_plain)
    return text.encode()


def _spelled(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return repr(float(value))
        case dict():
            return {name: _spelled(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_spelled(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    """A NumPy or torch scalar as the Python number it holds."""
    try:
        return value.item()
    except AttributeError:
        raise TypeError(f"{value!r} is no JSON value") from None


def _seconds(retry_after: str | None) -> float | None:
    """The header's number of seconds; None for its other form, a date, which a clock that is off would misread."""
    return float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdigit() else None
