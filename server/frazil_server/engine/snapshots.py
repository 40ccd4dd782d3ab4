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

from frazil_tuner.history import ELAPSED, Curve, Definition, Earlier, Params, Study, Trial, TrialState
from frazil_tuner.policies import Policy, build

from ..database import fetch, transaction
from ..studies.definitions import definition_of, is_compared
from ..trials.ledger import Ledger
from .relatives import Relatives, look_at_relatives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from ..trials.records import StudyRecord

_CHANGED = """SELECT h.now, t.id, t.number, t.state, t.params, t."values", t.gradients, t.cost, t.last_step,
        t.until_step, t.candidate, t.excluded
    FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS now) h
    LEFT JOIN trials t ON t.study_id = %(study)s AND t.xid >= %(horizon)s AND t.number > %(after)s
    ORDER BY t.number LIMIT %(most)s"""
_PAGE = 2_000
"""Trials that are read at a time. What a study of a hundred thousand takes to read, others must not have to wait."""
_CURVES = """SELECT trial_id, metric, array_agg(step ORDER BY step) AS steps, array_agg(value ORDER BY step) AS points
    FROM measurements WHERE trial_id = ANY(%(ids)s) AND metric = ANY(%(metrics)s) GROUP BY trial_id, metric"""
_ELAPSED = """SELECT trial_id, array_agg(step ORDER BY step) AS steps, array_agg(seconds ORDER BY step) AS points
    FROM (SELECT trial_id, step, max(elapsed) AS seconds FROM measurements
        WHERE trial_id = ANY(%(ids)s) AND elapsed IS NOT NULL GROUP BY trial_id, step) AS timed GROUP BY trial_id"""
_CANDIDATES = text("SELECT candidates FROM study_candidates WHERE study_id = :study")
_SHELF = "SELECT trial_number, params, candidate, until_step FROM suggestions WHERE study_id = %(study)s"
_FIT = "SELECT fit FROM study_fits WHERE study_id = %(study)s"
_RANKINGS = "SELECT id, ranking FROM comparisons WHERE study_id = %(study)s AND id > %(after)s ORDER BY id"


@dataclass(frozen=True, slots=True)
class Look:
    """A study as it was at some moment: its trials in the order of their numbers, and the horizon of that moment.

    `version` is that of the user's edits, `rankings` the comparisons and `compared` the id of the last of them.
    """

    definition: Definition
    version: int
    trials: tuple[Trial, ...]
    horizon: int
    rankings: tuple[tuple[int, ...], ...] = ()
    compared: int = 0


class Snapshots:
    """The latest look at each of the most recently used studies."""

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._looks: OrderedDict[uuid.UUID, Look] = OrderedDict()
        self._policies: dict[uuid.UUID, tuple[int, Policy]] = {}
        self._relatives: dict[uuid.UUID, Relatives] = {}
        self._from_models: set[uuid.UUID] = set()

    def takes_models(self, study_id: uuid.UUID) -> bool:
        """Whether the study's suggestions took a model when last looked at: its shelf is worth a glance first."""
        return study_id in self._from_models

    def note_light(self, study_id: uuid.UUID, *, light: bool) -> None:
        """Remembers whether the study's suggestions take no model."""
        (self._from_models.discard if light else self._from_models.add)(study_id)

    def forget(self, study_id: uuid.UUID) -> None:
        self._looks.pop(study_id, None)
        self._policies.pop(study_id, None)
        self._relatives.pop(study_id, None)
        self._from_models.discard(study_id)

    def remember(self, study_id: uuid.UUID, look: Look) -> None:
        """Keeps a look. Call it after the transaction that took it has committed: others may not see its rows
        before.
        """
        known = self._looks.get(study_id)
        if known is None or (known.version, known.horizon) <= (look.version, look.horizon):
            self._looks[study_id] = look
        self._looks.move_to_end(study_id)
        while len(self._looks) > self._capacity:
            self.forget(next(iter(self._looks)))

    async def definition(self, connection: AsyncConnection, study: StudyRecord) -> Definition:
        """The study's definition, with its candidates."""
        known = self._known(study)
        if known is not None:
            return known.definition
        candidates = None
        if study.definition["candidates"]:
            candidates = (await connection.execute(_CANDIDATES, {"study": study.id})).scalar_one()
        return definition_of(study.definition, candidates)

    def _known(self, study: StudyRecord) -> Look | None:
        """The latest look, unless a user has edited the study since."""
        known = self._looks.get(study.id)
        return known if known is not None and known.version == study.version else None

    def policy(self, study: StudyRecord, definition: Definition) -> Policy:
        """The study's policy, built once for each of the user's edits."""
        version, policy = self._policies.get(study.id, (None, None))
        if policy is None or version != study.version:
            policy = build(study.policy, definition)
            self._policies[study.id] = (study.version, policy)
        return policy

    async def look(self, connection: AsyncConnection, study: StudyRecord) -> Look:
        """The study's trials and comparisons as this transaction sees them."""
        known = self._known(study)
        if known is None:
            known = Look(await self.definition(connection, study), study.version, (), horizon=0)
        look = await _with_trials(connection, study.id, known)
        return await _with_rankings(connection, study.id, look) if is_compared(study.definition) else look

    async def study(
        self, connection: AsyncConnection, study: StudyRecord, look: Look, context: Params | None = None
    ) -> Study:
        """The snapshot a policy gets: the look, what waits on the shelf, and what earlier studies have seen.

        `context` fixes parameters of the suggestions to come.
        """
        shelf, reals = await fetch(connection, _SHELF, {"study": study.id}), _reals(look.definition)
        return Study(
            definition=look.definition,
            trials=look.trials,
            shelved=tuple(_with_reals(row.params, reals) for row in shelf if row.params is not None),
            shelved_candidates=tuple(row.candidate for row in shelf if row.candidate is not None),
            shelved_until=tuple(row.until_step for row in shelf if row.params is not None),
            thawing=tuple(row.trial_number for row in shelf if row.params is None),
            version=study.data_version,
            rankings=look.rankings,
            related=await self._related(connection, study, look.definition),
            context=context or {},
        )

    async def to_fit(
        self, connection: AsyncConnection, study: StudyRecord, look: Look, context: Params | None = None
    ) -> Study:
        """The snapshot with what the newest suggestion knew of its model, for the next fit to start at."""
        snapshot = await self.study(connection, study, look, context)
        rows = await fetch(connection, _FIT, {"study": study.id})
        return replace(snapshot, last_fit=rows[0].fit) if rows else snapshot

    async def committed(self, database: AsyncEngine, study_id: uuid.UUID) -> tuple[StudyRecord, Study]:
        """The record and the snapshot for a fit, read in a short transaction of its own. Raises `NotFound`."""
        async with transaction(database) as connection:
            record = (await Ledger.open(connection, study_id, lock=False)).study
            look = await self.look(connection, record)
            study = await self.to_fit(connection, record, look)
        self.remember(study_id, look)
        return record, study

    async def _related(
        self, connection: AsyncConnection, study: StudyRecord, definition: Definition
    ) -> tuple[Earlier, ...]:
        """The earlier studies, read again only when one of them has learned something."""
        if not study.definition["related"]:
            return ()
        known = self._relatives.get(study.id)
        self._relatives[study.id] = relatives = await look_at_relatives(connection, study, definition, known)
        return relatives.studies


async def _with_trials(connection: AsyncConnection, study_id: uuid.UUID, known: Look) -> Look:
    """The look with all trials that were changed since."""
    changed: list[Trial] = []
    reals, horizon, after = _reals(known.definition), known.horizon, -1
    while True:
        parameters = {"study": study_id, "horizon": known.horizon, "after": after, "most": _PAGE}
        rows = await fetch(connection, _CHANGED, parameters)
        if after < 0:
            horizon = rows[0].now  # what changes while later pages are read is read again the next time
        rows = [row for row in rows if row.id is not None]
        curves = await _curves(connection, [row.id for row in rows if row.last_step], known.definition.metrics)
        changed += [_trial(row, _with_reals(row.params, reals), curves.get(row.id, {})) for row in rows]
        if len(rows) < _PAGE:
            return replace(known, trials=_updated(known.trials, changed), horizon=horizon)
        after = rows[-1].number


def _updated(trials: tuple[Trial, ...], changed: Sequence[Trial]) -> tuple[Trial, ...]:
    """With those that changed or are new, in the order of their numbers, which have no gaps."""
    if not changed:
        return trials
    updated = list(trials)
    for trial in changed:
        updated[trial.number : trial.number + 1] = [trial]
    return tuple(updated)


async def _with_rankings(connection: AsyncConnection, study_id: uuid.UUID, known: Look) -> Look:
    """The look with all later comparisons. They are added under the study's lock, so none comes with a lower id."""
    rows = await fetch(connection, _RANKINGS, {"study": study_id, "after": known.compared})
    if not rows:
        return known
    rankings = (*known.rankings, *(tuple(row.ranking) for row in rows))
    return replace(known, rankings=rankings, compared=rows[-1].id)


async def _curves(
    connection: AsyncConnection, ids: list[uuid.UUID], metrics: Sequence[str]
) -> dict[uuid.UUID, dict[str, Curve]]:
    found: dict[uuid.UUID, dict[str, Curve]] = {}
    if ids:
        for row in await fetch(connection, _CURVES, {"ids": ids, "metrics": list(metrics)}):
            found.setdefault(row.trial_id, {})[row.metric] = tuple(zip(row.steps, row.points, strict=True))
    if ids and ELAPSED in metrics:
        for row in await fetch(connection, _ELAPSED, {"ids": ids}):
            found.setdefault(row.trial_id, {})[ELAPSED] = tuple(zip(row.steps, row.points, strict=True))
    return found


def _reals(definition: Definition) -> list[str]:
    """The parameters whose values are real numbers."""
    return [parameter.name for parameter in definition.space.parameters if parameter.kind.type == "float"]


def _with_reals(params: dict[str, Any], reals: Sequence[str]) -> dict[str, Any]:
    """The same params, in which what is real is a float: JSONB has 1e100 as an integer of 101 digits."""
    for name in reals:
        if type(params.get(name)) is int:
            params[name] = float(params[name])
    return params


def _trial(row: Any, params: dict[str, Any], curves: Mapping[str, Curve]) -> Trial:
    return Trial(
        number=row.number,
        params=params,
        state=TrialState(row.state),
        curves=curves,
        values={name: told_mean(value) for name, value in row.values.items()},
        last_step=row.last_step,
        until_step=row.until_step,
        candidate=row.candidate,
        excluded=row.excluded,
        sems={name: float(value["sem"]) for name, value in row.values.items() if isinstance(value, dict)},
        gradients={metric: {k: float(v) for k, v in slopes.items()} for metric, slopes in row.gradients.items()},
        cost=row.cost,
    )


def told_mean(value: Any) -> float:
    """The mean of a told value, which is a number, "nan" and its kin, or {"mean", "sem"}."""
    return float(value["mean"] if isinstance(value, dict) else value)
