"""The express lane: the requests that come with every step of every run, served without the framework's detours.

Routing, dependency solving and body parsing cost several times what a report itself costs. These few paths are taken
out before the framework sees them, and served by the same schemas, the same services and the same errors as their
routes in trials/routes.py, which stay as the contract and serve whatever is unusual (an Idempotency-Key, a body that is
not plain JSON of known length). A test sends each request down both lanes and compares the answers.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import State
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import errors
from .middleware import header
from .services import Services
from .trials import routes
from .trials.commands import OfTrial
from .trials.schemas import AskIn, HeartbeatIn, PauseIn, ReleaseIn, ReportIn, TellIn

_ASK = re.compile(r"/api/v1/studies/([^/]+)/trials:ask")
_TRIAL = re.compile(r"/api/v1/trials/([0-9a-fA-F-]{36})(/reports|:heartbeat|:pause|:release|:tell)")

_OF_TRIAL: dict[str, tuple[type[Any], Callable[[uuid.UUID, Any], OfTrial]]] = {
    "/reports": (ReportIn, routes.report_command),
    ":heartbeat": (HeartbeatIn, routes.heartbeat_command),
    ":pause": (PauseIn, routes.pause_command),
    ":release": (ReleaseIn, routes.release_command),
    ":tell": (TellIn, routes.tell_command),
}


class ExpressLane:
    """Serves the hot paths itself and passes everything else on."""

    def __init__(self, app: ASGIApp, state: State, max_body_bytes: int) -> None:
        self.app = app
        self._state = state
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._lane(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if serve is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await self._answer(request, serve)
        await response(scope, receive, send)

    def _lane(self, scope: Scope) -> Callable[[bytes], Awaitable[Response]] | None:
        """How to serve this request here; None if it is for the framework."""
        if not self._is_plain(scope):
            return None
        services: Services = self._state.services
        if match := _TRIAL.fullmatch(scope["path"]):
            return _of_trial(services, match[1], match[2], scope)
        if (match := _ASK.fullmatch(scope["path"])) and not scope["query_string"]:
            scope["route"] = _ASK_ROUTE
            return _ask(services, match[1])
        return None

    def _is_plain(self, scope: Scope) -> bool:
        """JSON of a known length within the limit, without an Idempotency-Key."""
        length = header(scope, b"content-length")
        return (
            length is not None
            and length.isdecimal()
            and 0 < int(length) <= self._max_body_bytes
            and (header(scope, b"content-type") or "").partition(";")[0].strip() == "application/json"
            and header(scope, b"idempotency-key") is None
        )

    async def _answer(self, request: Request, serve: Callable[[bytes], Awaitable[Response]]) -> Response:
        try:
            return await serve(await request.body())
        except ClientDisconnect:
            return errors.problem(request, 400, "malformed", "The body was cut off.")
        except ValidationError as error:
            return errors.invalid(request, error.errors())
        except Exception as error:  # noqa: BLE001  (the framework's handlers answer the same way)
            return await errors.respond(request, error)


class _Template:
    """Stands for a route where metrics ask for its template."""

    def __init__(self, path: str) -> None:
        self.path = path


_ASK_ROUTE = _Template("/api/v1/studies/{study}/trials:ask")
_TRIAL_ROUTES = {action: _Template(f"/api/v1/trials/{{trial}}{action}") for action in _OF_TRIAL}


def _of_trial(
    services: Services, trial: str, action: str, scope: Scope
) -> Callable[[bytes], Awaitable[Response]] | None:
    try:
        trial_id = uuid.UUID(trial)
    except ValueError:
        return None
    schema, command = _OF_TRIAL[action]
    scope["route"] = _TRIAL_ROUTES[action]

    async def serve(body: bytes) -> Response:
        return await services.of_trial(trial_id, command(trial_id, schema.model_validate_json(body)), None)

    return serve


def _ask(services: Services, study: str) -> Callable[[bytes], Awaitable[Response]]:
    async def serve(body: bytes) -> Response:
        return await services.ask(study, "default", routes.ask_command(AskIn.model_validate_json(body)), None)

    return serve
