"""One table from what went wrong to an HTTP status, and every answer of it as RFC 9457 problem+json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from frazil_tuner.errors import Conflict, FrazilError, Problem, Refused, TryLater

from . import wire

log = structlog.get_logger(__name__)

STATUS: dict[type[FrazilError] | str, int] = {
    Refused: 422,
    Conflict: 409,
    TryLater: 503,
    "not_found": 404,
    "method_not_allowed": 405,
    "forbidden": 403,
    "misdirected": 421,
    "precondition_failed": 412,
    "precondition_required": 428,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "malformed": 400,
    "rate_limited": 429,
}
"""By code first, then by the kind of error."""

_CODES_OF_STATUS = {
    400: "malformed",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}


_STRING = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": _STRING,
        "title": _STRING,
        "status": {"type": "integer"},
        "detail": _STRING | {"description": "For people: the facts, and what to do."},
        "code": _STRING | {"description": "For programs."},
        "request_id": _STRING,
        "errors": {
            "type": "array",
            "description": "Which fields are at fault, with 422: JSON pointers into the body.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": _STRING, "detail": _STRING},
            },
        },
    },
}
DOCUMENTED: dict[str, Any] = {
    "description": "What went wrong (RFC 9457).",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class NotFound(Refused):
    """There is no such thing, or there is none any more."""

    code = "not_found"


def status_of(error: FrazilError) -> int:
    if error.code in STATUS:
        return STATUS[error.code]
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    problems: Sequence[Problem] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """An RFC 9457 answer. `problems` become `errors`, each a JSON pointer into the body and a sentence."""
    body: dict[str, Any] = {
        "type": f"urn:frazil:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request.scope.get("frazil.request_id"),
    }
    if problems or status == 422:
        body["errors"] = [{"pointer": p.pointer, "detail": p.detail} for p in problems] or [
            {"pointer": "", "detail": detail}
        ]
    # json.dumps writes halves of surrogate pairs as escapes, where pydantic's writer gives up on a client's odd names.
    return Response(json.dumps(body), status, headers, media_type="application/problem+json")


def answer(request: Request, error: FrazilError) -> Response:
    headers = {"Retry-After": str(max(1, round(error.retry_after)))} if isinstance(error, TryLater) else None
    return problem(request, status_of(error), error.code, error.detail, problems=error.problems, headers=headers)


_MARKS = {"[key]", wire.NUMBER, wire.ESTIMATE}


def _pointer(location: Sequence[int | str]) -> str:
    """A JSON pointer from pydantic's location, without the marks that are not the client's."""
    parts = [str(part) for part in location[location[:1] == ("body",) :] if part not in _MARKS]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def invalid(request: Request, faults: Sequence[Any]) -> Response:
    """The answer to a body that does not fit its schema; `faults` are pydantic's."""
    malformed = next((fault for fault in faults if fault["type"] == "json_invalid"), None)
    if malformed is not None:
        return problem(request, 400, "malformed", f"The body is not valid JSON: {malformed['ctx']['error']}.")
    problems = tuple(Problem(_pointer(fault["loc"]), fault["msg"].removeprefix("Value error, ")) for fault in faults)
    first = problems[0]
    return problem(request, 422, "invalid", f"{first.pointer or 'The body'}: {first.detail}", problems=problems)


def translate(error: Exception) -> FrazilError | None:
    """What a failure of the database means to a client; None when it means a bug of ours."""
    if isinstance(error, DataError | psycopg.DataError | UnicodeEncodeError):
        return Refused("The request holds a character or a number that the database cannot store.", code="invalid")
    if isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | PoolTimeout) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    ):
        return TryLater("The database is busy or restarting.", retry_after=1.0)
    return None


async def respond(request: Request, error: Exception) -> Response:
    """The answer to any error that is not about the framework."""
    if isinstance(error, FrazilError):
        return answer(request, error)
    known = translate(error)
    if known is not None:
        log.warning("database_error", error=str(error).splitlines()[0], path=request.url.path)
        return answer(request, known)
    log.error("unexpected_error", path=request.url.path, exc_info=error)
    return problem(request, 500, "internal", "Something went wrong on our side; the log has it under this request_id.")


def install(app: FastAPI) -> None:
    """Makes every error of `app` a problem+json answer."""

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        faults = error.errors()
        if isinstance(error.body, bytes) and any(fault["loc"] == ("body",) for fault in faults):
            return problem(request, 415, "unsupported_media_type", "Send JSON, with Content-Type: application/json.")
        return invalid(request, faults)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        code = _CODES_OF_STATUS.get(error.status_code, "http_error")
        return problem(request, error.status_code, code, str(error.detail), headers=dict(error.headers or {}))

    for kind in (FrazilError, DBAPIError, psycopg.Error, PoolTimeout, UnicodeEncodeError, Exception):
        app.add_exception_handler(kind, respond)
