"""What surrounds every request: its id, its log line, its metrics; and the guard of a server without accounts."""

from __future__ import annotations

import ipaddress
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import problem

log = structlog.get_logger("frazil_server.http")

REQUESTS = Counter("frazil_http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "frazil_http_request_seconds", "Seconds from the request's head to the answer's last byte.", ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")


def header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


class Observer:
    """Gives a request its id (X-Request-ID in and out), counts it under its route's template, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = header(scope, b"x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["frazil.request_id"] = request_id
        started, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_template(scope)
        REQUESTS.labels(scope["method"], route, status).inc()
        if not route.endswith(("/events", ":events")):  # a stream lasts as long as somebody looks
            SECONDS.labels(route).observe(seconds)
        log.debug(
            "request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 2),
            request_id=scope["frazil.request_id"],
        )  # fmt: skip


def route_template(scope: Mapping[str, Any]) -> str:
    """The path with its parameters' names in place of their values, so that metrics do not grow with the data.

    FastAPI keeps included routers as a tree: `scope["route"]` lacks the prefix, which only its own context knows.
    """
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    template = getattr(route, "path", None)
    return template if isinstance(template, str) else "unmatched"


class LoopbackGuard:
    """Keeps web pages away from a server without accounts.

    A page of another site can make a browser send requests here. Its Origin gives it away; and a name that was rebound
    to 127.0.0.1 shows in Host. Both must be this machine's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (fault := self._fault(scope)):
            code, status, detail = fault
            await problem(Request(scope), status, code, detail)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    @staticmethod
    def _fault(scope: Scope) -> tuple[str, int, str] | None:
        host = header(scope, b"host") or ""
        if not is_loopback(hostname(host)):
            return "misdirected", 421, f"This server answers on this machine's own addresses, not as {host!r}."
        origin = header(scope, b"origin")
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return "forbidden", 403, f"Pages of {origin!r} may not use this server."
        return None


class TooLarge:
    """Says in our words what Starlette says in its own: that a body is announced to be too large."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = False

        async def send_problem(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 413:
                replaced = True
                answer = problem(Request(scope), 413, "payload_too_large", "The body is too large; send it in parts.")
                await answer(scope, receive, send)
            elif not replaced:
                await send(message)

        await self.app(scope, receive, send_problem)


def hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """True for localhost and the loopback addresses of IPv4 and IPv6."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
