"""What earlier studies have seen, placed in the space of the study that learns from them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frazil_tuner.errors import SpaceInvalid
from frazil_tuner.history import Definition, Earlier, Objective, Trial, TrialState

from ..database import fetch
from ..studies.definitions import complete

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..trials.records import StudyRecord

MOST_TRIALS = 1_000
"""Of a longer study half are its best trials, and half its last."""

_VERSIONS = "SELECT id, name, definition, data_version FROM studies WHERE id = ANY(%(ids)s)"
_BEST = """SELECT number, state, params, objective, last_step FROM trials
    WHERE study_id = %(study)s AND objective > '-Infinity' AND objective < 'Infinity' AND NOT excluded
      AND state IN ('COMPLETED', 'PRUNED')
    ORDER BY objective {order}, number {order} LIMIT %(count)s"""
_LAST = """SELECT number, state, params, objective, last_step FROM trials
    WHERE study_id = %(study)s AND objective > '-Infinity' AND objective < 'Infinity' AND NOT excluded
      AND state IN ('COMPLETED', 'PRUNED')
    ORDER BY number DESC LIMIT %(count)s"""
_ORDER = {"minimize": "ASC", "maximize": "DESC"}


@dataclass(frozen=True, slots=True)
class Relatives:
    """The earlier studies as they were at these versions of their data, for this definition of the present study."""

    definition: Definition
    versions: tuple[tuple[uuid.UUID, int], ...]
    studies: tuple[Earlier, ...]


async def look_at_relatives(
    connection: AsyncConnection, study: StudyRecord, definition: Definition, known: Relatives | None
) -> Relatives:
    """The relatives of `study`; `known` as long as nothing has changed. Deleted ones are left out."""
    ids = [uuid.UUID(item["id"]) for item in study.definition["related"]["studies"]]
    rows = sorted(await fetch(connection, _VERSIONS, {"ids": ids}), key=lambda row: ids.index(row.id))
    versions = tuple((row.id, row.data_version) for row in rows)
    if known is not None and known.definition is definition and known.versions == versions:
        return known
    return Relatives(definition, versions, tuple([await _earlier(connection, row, definition) for row in rows]))


async def _earlier(connection: AsyncConnection, row: Any, definition: Definition) -> Earlier:
    objective = Objective(**complete(row.definition)["objectives"][0])
    parameters = {"study": row.id, "count": MOST_TRIALS // 2}
    best = await fetch(connection, _BEST.format(order=_ORDER[objective.direction]), parameters)
    last = await fetch(connection, _LAST, parameters)
    trials = [trial for _, trial in sorted({trial.number: trial for trial in (*best, *last)}.items())]
    return Earlier(row.name, objective, tuple(_placed(trials, objective, definition)))


def _placed(rows: Sequence[Any], objective: Objective, definition: Definition) -> Iterator[Trial]:
    """The trials whose parameters fit into the present space; others of their parameters are dropped."""
    names = {parameter.name for parameter in definition.space.parameters}
    for row in rows:
        try:
            params = definition.space.check({name: value for name, value in row.params.items() if name in names})
        except SpaceInvalid:
            continue
        yield Trial(
            row.number, params, TrialState(row.state), values={objective.metric: row.objective}, last_step=row.last_step
        )
