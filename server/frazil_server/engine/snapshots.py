"""Snapshots of studies, kept up to date by reading only what changed since the last look.

Every trial carries the id of the transaction that last changed it. A look remembers the oldest transaction that was
still open at that moment (its horizon); whatever commits later has an id at or above it, so the next look reads just
those rows. The cache is only ever an optimisation: an empty one gives the same snapshot.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from frazil_tuner.history import Curve, Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Policy, build
from frazil_tuner.space import Space

from ..database import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..trials.records import StudyRecord

_CHANGED = """SELECT h.now, t.id, t.number, t.state, t.params, t."values", t.last_step, t.until_step,
        t.candidate, t.excluded
    FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS now) h
    LEFT JOIN trials t ON t.study_id = %(study)s AND t.xid >= %(horizon)s ORDER BY t.number"""
_CURVES = """SELECT trial_id, metric, array_agg(step ORDER BY step) AS steps, array_agg(value ORDER BY step) AS points
    FROM measurements WHERE trial_id = ANY(%(ids)s) AND metric = ANY(%(metrics)s) GROUP BY trial_id, metric"""
_CANDIDATES = text("SELECT candidates FROM study_candidates WHERE study_id = :study")
_SHELF = "SELECT trial_number, params, candidate FROM suggestions WHERE study_id = %(study)s"


@dataclass(frozen=True, slots=True)
class Look:
    """A study's trials as they were at some moment, in the order of their numbers, and the horizon of that moment."""

    definition: Definition
    trials: tuple[Trial, ...]
    horizon: int


def definition_of(document: Mapping[str, Any], candidates: list[dict[str, Any]] | None) -> Definition:
    """The core's definition of a study from the stored document."""
    return Definition(
        space=Space.from_json(document["space"]),
        objectives=tuple(Objective(**objective) for objective in document["objectives"]),
        resource=Resource(**document["resource"]) if document["resource"] else None,
        candidates=tuple(candidates) if candidates is not None else None,
        seed=document["seed"],
    )


class Snapshots:
    """The latest look at each of the most recently used studies."""

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._looks: OrderedDict[uuid.UUID, Look] = OrderedDict()
        self._policies: dict[tuple[uuid.UUID, str], Policy] = {}

    def forget(self, study_id: uuid.UUID) -> None:
        self._looks.pop(study_id, None)
        self._policies = {key: policy for key, policy in self._policies.items() if key[0] != study_id}

    def remember(self, study_id: uuid.UUID, look: Look) -> None:
        """Keeps a look. Call it after the transaction that took it has committed: others may not see its rows
        before.
        """
        known = self._looks.get(study_id)
        if known is None or known.horizon <= look.horizon:
            self._looks[study_id] = look
        self._looks.move_to_end(study_id)
        while len(self._looks) > self._capacity:
            self.forget(next(iter(self._looks)))

    async def definition(self, connection: AsyncConnection, study: StudyRecord) -> Definition:
        """The study's definition, with its candidates."""
        known = self._looks.get(study.id)
        if known is not None:
            return known.definition
        candidates = None
        if study.definition["candidates"]:
            candidates = (await connection.execute(_CANDIDATES, {"study": study.id})).scalar_one()
        return definition_of(study.definition, candidates)

    def policy(self, study: StudyRecord, definition: Definition) -> Policy:
        """The study's policy, built once for each version of its options."""
        key = (study.id, repr(sorted(study.policy.items())))
        if key not in self._policies:
            self._policies[key] = build(study.policy, definition)
        return self._policies[key]

    async def look(self, connection: AsyncConnection, study: StudyRecord) -> Look:
        """The study's trials as this transaction sees them."""
        known = self._looks.get(study.id)
        definition = await self.definition(connection, study)
        parameters = {"study": study.id, "horizon": known.horizon if known else 0}
        rows = await fetch(connection, _CHANGED, parameters)
        horizon: int = rows[0].now
        rows = [row for row in rows if row.id is not None]
        if known is not None and not rows:
            return replace(known, horizon=horizon)
        metrics = [objective.metric for objective in definition.objectives]
        curves = await _curves(connection, [row.id for row in rows if row.last_step], metrics)
        trials = list(known.trials) if known else []
        for row in rows:
            trials[row.number : row.number + 1] = [_trial(row, curves.get(row.id, {}))]  # numbers have no gaps
        return Look(definition, tuple(trials), horizon)

    async def study(self, connection: AsyncConnection, study: StudyRecord, look: Look) -> Study:
        """The snapshot a policy gets: the look, and what waits on the shelf."""
        shelf = await fetch(connection, _SHELF, {"study": study.id})
        return Study(
            definition=look.definition,
            trials=look.trials,
            shelved=tuple(row.params for row in shelf if row.params is not None),
            shelved_candidates=tuple(row.candidate for row in shelf if row.candidate is not None),
            thawing=tuple(row.trial_number for row in shelf if row.trial_number is not None),
            version=study.data_version,
        )


async def _curves(
    connection: AsyncConnection, ids: list[uuid.UUID], metrics: list[str]
) -> dict[uuid.UUID, dict[str, Curve]]:
    found: dict[uuid.UUID, dict[str, Curve]] = {}
    if ids:
        for row in await fetch(connection, _CURVES, {"ids": ids, "metrics": metrics}):
            found.setdefault(row.trial_id, {})[row.metric] = tuple(zip(row.steps, row.points, strict=True))
    return found


def _trial(row: Any, curves: Mapping[str, Curve]) -> Trial:
    return Trial(
        number=row.number,
        params=row.params,
        state=TrialState(row.state),
        curves=curves,
        values={name: told_mean(value) for name, value in row.values.items()},
        last_step=row.last_step,
        until_step=row.until_step,
        candidate=row.candidate,
        excluded=row.excluded,
    )


def told_mean(value: Any) -> float:
    """The mean of a told value, which is a number, "nan" and its kin, or {"mean", "sem"}."""
    return float(value["mean"] if isinstance(value, dict) else value)
