"""Reading and writing many trials of one study at once: the only place where the write path meets SQL.

Lock order, the same everywhere: the study's row first, then trials by id. The study is locked with NO KEY UPDATE, so
that inserting rows that refer to it never waits. Writes are set-based: one statement for all trials, one for all
points.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.history import TrialState

from ..database import fetch
from ..errors import NotFound
from ..studies.definitions import complete
from .progress import note
from .records import Happening, Point, StudyRecord, TrialRecord

# What a flush writes back, by type. Of these only the last group is indexed or read by policies.
_PROGRESS = {"step": "int", "last_step": "int", "lease_expires_at": "timestamptz"}
_COLUMNS = _PROGRESS | {
    "state": "text", "values": "jsonb", "gradients": "jsonb", "cost": "float8", "reason": "text", "worker": "text",
    "lease_token": "text", "returned_token": "text", "lease_seconds": "float8", "attempt": "int", "losses": "int",
    "from_step": "int", "until_step": "int", "ready": "bool", "verdict": "jsonb", "checkpoint_uri": "text",
    "checkpoint_step": "int", "schedule": "jsonb", "why": "jsonb", "told": "jsonb", "started_at": "timestamptz",
    "finished_at": "timestamptz",
}  # fmt: skip
_BIRTH = _COLUMNS | {
    "study_id": "uuid", "number": "int", "params": "jsonb", "candidate": "int", "notes": "text", "tags": "text[]"
}  # fmt: skip

_SELECT = "SELECT id, {} FROM trials".format(", ".join(f'"{name}"' for name in _BIRTH))


def _rows(name: str, columns: dict[str, str]) -> str:
    """`jsonb_to_recordset` over the parameter `name`, as r."""
    fields = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
    return f"jsonb_to_recordset(%({name})s::jsonb) AS r(id uuid, {fields})"


def _sets(columns: dict[str, str]) -> str:
    return ", ".join(f'"{column}" = r."{column}"' for column in columns)


def _names(columns: dict[str, str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


# Everything a transaction writes, in one statement: foreign keys are checked at its end. The planner takes a document
# for a hundred rows, and would read all trials to meet them; the arrays of ids tell it better.
_WRITE = f"""WITH born AS (
    INSERT INTO trials (id, {_names(_BIRTH)}) SELECT id, {_names(_BIRTH)} FROM {_rows("born", _BIRTH)}
), progressed AS (
    UPDATE trials t SET {_sets(_PROGRESS)} FROM {_rows("progressed", _PROGRESS)}
    WHERE t.id = r.id AND t.id = ANY(%(progressed_ids)s)
), changed AS (
    UPDATE trials t SET {_sets(_COLUMNS)}, xid = pg_current_xact_id()::text::bigint
    FROM {_rows("changed", _COLUMNS)} WHERE t.id = r.id AND t.id = ANY(%(changed_ids)s)
), points AS (
    INSERT INTO measurements (trial_id, metric, step, value, elapsed, attempt)
    SELECT * FROM unnest(%(trials)s::uuid[], %(metrics)s::text[], %(steps)s::int[], %(values)s::float8[],
        %(elapsed)s::float8[], %(attempts)s::smallint[])
    ON CONFLICT DO NOTHING
)
INSERT INTO events (study_id, kind, trial_number, data)
SELECT %(study)s, kind, number, data
FROM unnest(%(kinds)s::text[], %(numbers)s::int[], %(datas)s::jsonb[]) AS e(kind, number, data)"""

_COPY = """INSERT INTO measurements (trial_id, metric, step, value, elapsed, attempt)
    SELECT branch.id, m.metric, m.step, m.value, m.elapsed, 0
    FROM unnest(%(branches)s::uuid[], %(parents)s::uuid[], %(steps)s::int[]) AS branch(id, parent, step)
    JOIN measurements m ON m.trial_id = branch.parent AND m.step <= branch.step"""
_OUTDATE = """INSERT INTO obsolete_checkpoints (study_id, trial_id, uri)
    SELECT %(study)s, trial, uri FROM unnest(%(trials)s::uuid[], %(uris)s::text[]) AS o(trial, uri)"""
# Passed over in silence: names that were used again since, what a completed trial came to in the end, and what a trial
# still needs that was branched from there, or from which this one was.
_TELL_OBSOLETE = """WITH told AS (
    DELETE FROM obsolete_checkpoints WHERE id IN (
        SELECT id FROM obsolete_checkpoints WHERE study_id = %(study)s ORDER BY id LIMIT %(most)s)
    RETURNING id, trial_id, uri)
SELECT told.uri FROM told JOIN trials t ON t.id = told.trial_id
WHERE (t.checkpoint_uri <> told.uri OR t.state IN ('PRUNED', 'FAILED', 'INFEASIBLE')
    OR (t.state = 'COMPLETED' AND t.checkpoint_step < t.last_step))
AND NOT EXISTS (
    SELECT FROM trials o WHERE o.study_id = t.study_id AND o.id <> t.id AND o.checkpoint_uri = told.uri
    AND o.why ? 'parent' AND o.state IN ('RUNNING', 'PAUSED'))
AND NOT EXISTS (
    SELECT FROM trials o WHERE o.study_id = t.study_id AND o.number = (t.why ->> 'parent')::int
    AND o.checkpoint_uri = told.uri
    AND (o.state IN ('RUNNING', 'PAUSED') OR (o.state = 'COMPLETED' AND o.checkpoint_step = o.last_step)))
ORDER BY told.id"""

_STUDY = """SELECT id, name, state, definition, policy, budget, version, data_version, next_number, queued, running,
    paused, completed, pruned, failed, infeasible, started, steps_used, started_at, best,
    best_trial FROM studies WHERE id = %(study)s"""
_LOCK_STUDY = _STUDY + " FOR NO KEY UPDATE"
_UPDATE_STUDY = """UPDATE studies SET state = %(state)s, data_version = %(data_version)s, next_number = %(next_number)s,
    queued = %(queued)s, running = %(running)s, paused = %(paused)s, completed = %(completed)s, pruned = %(pruned)s,
    failed = %(failed)s, infeasible = %(infeasible)s, started = %(started)s, steps_used = %(steps_used)s,
    started_at = %(started_at)s, best = %(best)s, best_trial = %(best_trial)s, updated_at = now() WHERE id = %(id)s"""
_LOCK_TRIALS = f"{_SELECT} WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE"
_LOCK_NUMBERS = f"{_SELECT} WHERE study_id = %(study)s AND number = ANY(%(numbers)s) ORDER BY id FOR UPDATE"
_LOCK_RUNNING = f"""{_SELECT} WHERE study_id = %(study)s AND state = 'RUNNING'
    AND (worker = ANY(%(workers)s) OR lease_expires_at <= %(now)s) ORDER BY id FOR UPDATE"""
_LOCK_READY = f"""{_SELECT} WHERE study_id = %(study)s AND (state = 'QUEUED' OR (state = 'PAUSED' AND ready))
    AND params @> %(context)s::jsonb ORDER BY number LIMIT %(count)s FOR UPDATE"""
_KNOWN = """SELECT m.trial_id, m.metric, m.step, m.value, m.attempt FROM measurements m
    JOIN unnest(%(trials)s::uuid[], %(steps)s::int[]) AS w(trial_id, step) USING (trial_id, step)"""
# One probe of the index for each pair: as EXISTS it would be planned as a join over all measurements.
_METRICS = """SELECT t.id AS trial_id, m.metric FROM unnest(%(trials)s::uuid[]) AS t(id)
    CROSS JOIN unnest(%(metrics)s::text[]) AS m(metric)
    CROSS JOIN LATERAL (SELECT FROM measurements WHERE trial_id = t.id AND metric = m.metric LIMIT 1) AS found"""
# A trial's value, best or last along its curve; a told value outranks the curve, failure has none.
_SCORE = """UPDATE trials t SET objective = CASE
      WHEN t.state IN ('FAILED', 'INFEASIBLE') THEN NULL
      WHEN jsonb_typeof(t."values" -> %(metric)s) = 'object' THEN (t."values" -> %(metric)s ->> 'mean')::float8
      WHEN t."values" ? %(metric)s THEN (t."values" ->> %(metric)s)::float8
      WHEN %(summary)s = 'last' THEN
        (SELECT value FROM measurements WHERE trial_id = t.id AND metric = %(metric)s ORDER BY step DESC LIMIT 1)
      WHEN %(direction)s = 'minimize' THEN
        (SELECT min(value) FROM measurements
         WHERE trial_id = t.id AND metric = %(metric)s AND value > '-Infinity' AND value < 'Infinity')
      ELSE
        (SELECT max(value) FROM measurements
         WHERE trial_id = t.id AND metric = %(metric)s AND value > '-Infinity' AND value < 'Infinity')
    END WHERE t.id = ANY(%(ids)s) RETURNING id, number, objective, last_step, finished_at, excluded"""


def study_record(row: Any) -> StudyRecord:
    counts = {state: getattr(row, state.lower()) for state in TrialState}
    return StudyRecord(
        row.id, row.name, row.state, complete(row.definition), row.policy, row.budget, row.version, row.data_version,
        row.next_number, counts, row.started, row.steps_used, row.started_at, row.best, row.best_trial,
    )  # fmt: skip


def trial_record(row: Any) -> TrialRecord:
    fields = row._asdict()
    return TrialRecord(**(fields | {"state": TrialState(fields["state"])}))


class Ledger:
    """The rows one transaction works on. Change the records, call `touch` and `add_*`, then `flush`."""

    def __init__(self, connection: AsyncConnection, study: StudyRecord, *, locked: bool) -> None:
        self.connection = connection
        self.study = study
        self.locked = locked
        self.trials: dict[uuid.UUID, TrialRecord] = {}
        self._stored = _copy(study)
        self._born: list[TrialRecord] = []
        self._progressed: set[uuid.UUID] = set()
        self._changed: set[uuid.UUID] = set()
        self._points: list[Point] = []
        self._happenings: list[Happening] = []
        self._parents: dict[uuid.UUID, uuid.UUID] = {}

    @classmethod
    async def open(cls, connection: AsyncConnection, study_id: uuid.UUID, *, lock: bool) -> Ledger:
        """Reads the study, locked against every other writer if `lock`. Raises `NotFound`."""
        rows = await fetch(connection, _LOCK_STUDY if lock else _STUDY, {"study": study_id})
        if not rows:
            raise NotFound("This study does not exist, or was deleted.")
        return cls(connection, study_record(rows[0]), locked=lock)

    async def fetch(self, ids: Collection[uuid.UUID]) -> None:
        """Locks trials by id; those that do not exist are simply absent from `trials`."""
        if ids:
            await self._select(_LOCK_TRIALS, ids=list(ids))

    async def fetch_numbers(self, numbers: Collection[int]) -> list[TrialRecord]:
        """Locks trials by number."""
        return await self._select(_LOCK_NUMBERS, study=self.study.id, numbers=list(numbers)) if numbers else []

    async def fetch_running(self, workers: Collection[str], now: datetime) -> list[TrialRecord]:
        """Locks the running trials of these workers, and those whose lease ran out before `now`."""
        if not self.study.counts[TrialState.RUNNING]:
            return []
        return await self._select(_LOCK_RUNNING, study=self.study.id, workers=list(workers), now=now)

    async def fetch_ready(self, count: int, context: Mapping[str, Any]) -> list[TrialRecord]:
        """Locks the first `count` trials of this context that may be handed out without asking the policy."""
        if not self.study.counts[TrialState.QUEUED] + self.study.counts[TrialState.PAUSED]:
            return []
        if self._changed:
            await self.flush()  # a lease that just ran out or was given back is to be found
        document = to_json(context).decode()
        return await self._select(_LOCK_READY, study=self.study.id, count=count, context=document)

    async def _select(self, statement: str, **parameters: Any) -> list[TrialRecord]:
        """Locks the trials that `statement` finds; one that is already here keeps its changed record."""
        rows = await fetch(self.connection, statement, parameters)
        return [self.trials[row.id] if row.id in self.trials else self._keep(trial_record(row)) for row in rows]

    def _keep(self, trial: TrialRecord) -> TrialRecord:
        self.trials[trial.id] = trial
        return trial

    async def known(
        self, wanted: Iterable[tuple[uuid.UUID, int]]
    ) -> dict[uuid.UUID, dict[tuple[str, int], tuple[float, int]]]:
        """What was measured at these (trial, step) pairs already, by trial."""
        found: dict[uuid.UUID, dict[tuple[str, int], tuple[float, int]]] = defaultdict(dict)
        pairs = list(wanted)
        if pairs:
            parameters = {"trials": [pair[0] for pair in pairs], "steps": [pair[1] for pair in pairs]}
            for row in await fetch(self.connection, _KNOWN, parameters):
                found[row.trial_id][row.metric, row.step] = (row.value, row.attempt)
        return found

    async def metrics(self, ids: Sequence[uuid.UUID], names: Collection[str]) -> dict[uuid.UUID, set[str]]:
        """Which of the metrics `names` each trial's curve holds."""
        found: dict[uuid.UUID, set[str]] = defaultdict(set)
        if ids and names:
            for row in await fetch(self.connection, _METRICS, {"trials": list(ids), "metrics": list(names)}):
                found[row.trial_id].add(row.metric)
        return found

    async def tell_obsolete(self, most: int) -> list[str]:
        """The checkpoints that have been obsolete for longest, at most so many; each is told once."""
        return [row.uri for row in await fetch(self.connection, _TELL_OBSOLETE, {"study": self.study.id, "most": most})]

    def add_trial(self, trial: TrialRecord) -> None:
        self.trials[trial.id] = trial
        self._born.append(trial)
        self.study.counts[trial.state] += 1
        self.study.next_number = max(self.study.next_number, trial.number + 1)

    def add_branch(self, trial: TrialRecord, parent: TrialRecord) -> None:
        """Adds a trial that has the points of its parent's up to where it stands."""
        self.add_trial(trial)
        if trial.step:
            self._parents[trial.id] = parent.id

    def add_points(self, points: Iterable[Point]) -> None:
        self._points += points

    def add_event(self, kind: str, trial: TrialRecord | None = None, **data: Any) -> None:
        self._happenings.append(Happening(self.study.id, kind, trial.number if trial else None, data))

    def progressed(self, trial: TrialRecord) -> None:
        """Its step or lease moved on, nothing that a policy or an index looks at."""
        self._progressed.add(trial.id)

    def changed(self, trial: TrialRecord) -> None:
        """Anything about it may have changed; its value is computed anew from what is stored."""
        self._changed.add(trial.id)

    async def flush(self) -> None:
        """Writes all that was changed since the last flush."""
        born, self._born = self._born, []
        changed, self._changed = self._changed - {trial.id for trial in born}, set()
        progressed, self._progressed = self._progressed - changed - {trial.id for trial in born}, set()
        points, self._points = self._points, []
        happenings, self._happenings = self._happenings, []
        if born or changed or progressed or points or happenings:
            parameters = {
                "study": self.study.id,
                "born": _as_json(born, _BIRTH),
                "changed_ids": list(changed), "progressed_ids": list(progressed),
                "changed": _as_json([self.trials[i] for i in changed], _COLUMNS),
                "progressed": _as_json([self.trials[i] for i in progressed], _PROGRESS),
                "trials": [p.trial_id for p in points], "metrics": [p.metric for p in points],
                "steps": [p.step for p in points], "values": [p.value for p in points],
                "elapsed": [p.elapsed for p in points], "attempts": [p.attempt for p in points],
                "kinds": [h.kind for h in happenings], "numbers": [h.trial_number for h in happenings],
                "datas": [to_json(h.data, inf_nan_mode="strings").decode() for h in happenings],
            }  # fmt: skip
            await fetch(self.connection, _WRITE, parameters)
            await self._copy_curves()
            await self._outdate()
        if changed:
            await self.score(changed)
        if self.locked and self.study != self._stored:
            await self._write_study()
            self._stored = _copy(self.study)

    async def _copy_curves(self) -> None:
        """Gives every branch the points of its parent, facts whoever measured them, and so a value."""
        parents, self._parents = self._parents, {}
        if parents:
            steps = [self.trials[id_].checkpoint_step for id_ in parents]
            parameters = {"branches": list(parents), "parents": list(parents.values()), "steps": steps}
            await fetch(self.connection, _COPY, parameters)
            await self.score(list(parents))

    async def _outdate(self) -> None:
        outdated = [(trial.id, uri) for trial in self.trials.values() for uri in trial.obsolete]
        if outdated:
            trials, uris = zip(*outdated, strict=True)
            parameters = {"study": self.study.id, "trials": list(trials), "uris": list(uris)}
            await fetch(self.connection, _OUTDATE, parameters)
            for trial in self.trials.values():
                trial.obsolete.clear()

    async def score(self, ids: Collection[uuid.UUID], *, added: bool = False) -> None:
        """Computes the trials' objective values anew from what was told and measured; `added` are trials that came
        finished.
        """
        objective = self.study.definition["objectives"][0]
        rows = await fetch(self.connection, _SCORE, dict(objective) | {"ids": list(ids)})
        await note(self, rows, added=added)

    async def _write_study(self) -> None:
        study = self.study
        counts = {str(state).lower(): study.counts[state] for state in TrialState}
        parameters = counts | {
            "id": study.id, "state": study.state, "data_version": study.data_version, "next_number": study.next_number,
            "started": study.started, "steps_used": study.steps_used, "started_at": study.started_at,
            "best": study.best, "best_trial": study.best_trial,
        }  # fmt: skip
        await fetch(self.connection, _UPDATE_STUDY, parameters)


def _copy(study: StudyRecord) -> StudyRecord:
    return replace(study, counts=dict(study.counts))


def _as_json(trials: Sequence[TrialRecord], columns: dict[str, str]) -> str:
    return to_json([{"id": t.id, **{name: getattr(t, name) for name in columns}} for t in trials]).decode()
