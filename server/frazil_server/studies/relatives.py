"""Earlier studies that a study learns from: found when it is created, by name, by id, or by an equal space."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Problem, Refused

from .definitions import complete
from .schemas import MOST_RELATED

_NAMED = text(
    """SELECT s.id, s.name, s.definition FROM studies s
    WHERE s.id <> :study AND ((s.project_id = :project AND s.name = :given) OR s.id::text = lower(:given))
    ORDER BY s.name = :given DESC LIMIT 1"""
)
_EQUAL = text(
    """SELECT id, name FROM studies
    WHERE project_id = :project AND id <> :study AND definition -> 'space' = CAST(:space AS jsonb)
      AND coalesce(definition -> 'constraints', '[]') = CAST(:constraints AS jsonb)
    ORDER BY id DESC LIMIT :most"""
)
_STORE = text(
    """UPDATE studies SET definition = jsonb_set(definition, '{related,studies}', CAST(:found AS jsonb))
    WHERE id = :study"""
)


async def link(
    connection: AsyncConnection, study_id: uuid.UUID, project_id: uuid.UUID, document: Mapping[str, Any]
) -> None:
    """Finds the studies that a new study wants to learn from, and writes their ids into its definition.

    Raises `Refused` for one that does not exist, or whose trials cannot be placed in this study's space.
    """
    given = document["related"]["given"]
    if given == "equal":
        rows = await _equal(connection, study_id, project_id, document)
    else:
        rows = [
            await _named(connection, study_id, project_id, document, f"/related/{index}", reference)
            for index, reference in enumerate(given)
        ]
    found = {row.id: {"id": row.id, "name": row.name} for row in rows}
    await connection.execute(_STORE, {"study": study_id, "found": to_json(list(found.values())).decode()})


async def _equal(
    connection: AsyncConnection, study_id: uuid.UUID, project_id: uuid.UUID, document: Mapping[str, Any]
) -> list[Row[Any]]:
    parameters = {
        "study": study_id,
        "project": project_id,
        "space": to_json(document["space"]).decode(),
        "constraints": to_json(document["constraints"]).decode(),
        "most": MOST_RELATED,
    }
    return list(await connection.execute(_EQUAL, parameters))


async def _named(
    connection: AsyncConnection,
    study_id: uuid.UUID,
    project_id: uuid.UUID,
    document: Mapping[str, Any],
    pointer: str,
    reference: str,
) -> Row[Any]:
    parameters = {"study": study_id, "project": project_id, "given": reference}
    row = (await connection.execute(_NAMED, parameters)).one_or_none()
    if row is None:
        raise _refused(pointer, f"there is no study {reference[:128]!r} in this project, and none with this id")
    fault = _misfit(document["space"], complete(row.definition)["space"])
    if fault is not None:
        raise _refused(pointer, f"{row.name!r} {fault}; name a study that varies the same parameters")
    return row


def _misfit(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str | None:
    """Why trials of another space cannot be placed in ours, if so: a parameter that we vary is not there.

    Conditional parameters may be missing: the trials that would need them are left out. So may constant ones.
    """
    there = {item["name"]: item["type"] for item in theirs}
    varied = [item for item in ours if item["type"] not in CONSTANT]
    if not any(there.get(item["name"]) == item["type"] for item in varied):
        return "shares no parameter with this study"
    for item in varied:
        name, kind = item["name"], item["type"]
        if name in there and there[name] != kind:
            return f"has {name!r} as {there[name]}, this study as {kind}"
        if name not in there and "when" not in item:
            return f"has no parameter {name!r}, which this study varies"
    return None


CONSTANT = ("fixed", "derived")
"""Types of parameters that a study does not vary."""


def _refused(pointer: str, detail: str) -> Refused:
    return Refused(f"{pointer}: {detail}.", code="unrelated", problems=(Problem(pointer, detail),))
