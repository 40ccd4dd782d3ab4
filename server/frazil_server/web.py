"""The dashboard: one page with its scripts, styles and letters, from package data.

`make dashboard` builds it from clients/web. Names of assets change with their contents, so that browsers keep them for
ever; the page itself is asked for anew every time.
"""

from __future__ import annotations

import json
import mimetypes
import re
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from .errors import problem

FOLDER = Path(__file__).with_name("dashboard")

router = APIRouter(include_in_schema=False)

_CONTENT_SECURITY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # attributes that place rows and colour dots; no text is ever put there
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""What a browser may accept, the smallest first, and how such a file is called."""

_OVERVIEW = re.compile(r"/studies/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_NAME = re.compile(r"[\w-][\w.-]*")
"""What is asked for is a name in one folder: no path leads out of it."""

_NOT_BUILT = """The dashboard has not been built. `make dashboard` does it in a checkout; a wheel has it inside.
The REST API is at /api/v1, described by /openapi.json.
"""


@router.get("/")
@router.get("/new")
@router.get("/compare")
@router.get("/system")
@router.get("/studies/{rest:path}")
async def page(request: Request) -> Response:
    """The page; it reads the rest of the address itself."""
    response = _page(request, "index.html")
    if links := _early(request.url.path, request.url.query):
        response.headers["Link"] = ", ".join(links)
    return response


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The REST API, to read and to try."""
    return _page(request, "docs.html")


@router.get("/assets/{name}")
async def asset(name: str, request: Request) -> Response:
    path = FOLDER / "assets" / name
    if not _NAME.fullmatch(name) or not path.is_file():
        return problem(request, 404, "not_found", "There is no such asset; reload the page.")
    return _file(request, path, _FOR_EVER)


def _early(path: str, query: str) -> list[str]:
    """What a study's first page is going to ask for, so that the browser need not wait for the scripts to say so.

    None where a filter makes the questions others, or a name stands for the id that they will hold.
    """
    found = None if query else _OVERVIEW.fullmatch(path)
    if found is None:
        return []
    study = f"/api/v1/studies/{found[1]}"
    questions = ("", "/progress?most=500", "/trials:sample?count=300", "/curves?sample=300&max_points=100")
    return [
        *(f"<{study}{question}>; rel=preload; as=fetch; crossorigin" for question in questions),
        *(f"</{script}>; rel=modulepreload" for script in _scripts("src/pages/Study.tsx", "src/pages/Overview.tsx")),
    ]


def _scripts(*sources: str) -> list[str]:
    """The built files of some sources and of all that they import."""
    path = FOLDER / "manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    found: dict[str, None] = {}
    waiting = [source for source in sources if source in manifest]
    while waiting:
        chunk = manifest[waiting.pop()]
        if chunk["file"] not in found:
            found[chunk["file"]] = None
            waiting += chunk.get("imports", [])
    return list(found)


def _page(request: Request, name: str) -> Response:
    path = FOLDER / name
    if not path.is_file():
        return PlainTextResponse(_NOT_BUILT, 503)
    return _file(request, path, "no-cache")


def _file(request: Request, path: Path, keep: str) -> Response:
    kind, _ = mimetypes.guess_type(path.name)
    headers = _HEADERS | {"Cache-Control": keep}
    accepted = {part.split(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")}
    for encoding, suffix in _ENCODINGS.items():
        compressed = path.with_name(path.name + suffix)
        if encoding in accepted and compressed.is_file():
            return Response(compressed.read_bytes(), headers=headers | {"Content-Encoding": encoding}, media_type=kind)
    return Response(path.read_bytes(), headers=headers, media_type=kind)
