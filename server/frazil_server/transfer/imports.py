"""Everything in: lines into an existing study, all or none, in one transaction under the study's lock."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from typing import IO, Any

from pydantic_core import to_json
from sqlalchemy import delete, text
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from frazil_tuner.errors import Conflict, FrazilError, Refused
from frazil_tuner.history import Definition, TrialState
from frazil_tuner.space import Space

from ..ids import uuid7
from ..studies.definitions import is_compared
from ..suggestions.models import Suggestion
from ..trials import rules
from ..trials.changes import told_values
from ..trials.ledger import Ledger
from ..trials.records import Point, StudyRecord, TrialRecord
from .lines import Header, TrialLine, read_comparison, read_header, read_trial, refused, within

_IN_MEMORY = 4 * 2**20
_CHUNK = 4 * 2**20
_LONGEST_LINE = 256 * 2**20

# What a ledger leaves to the database when a trial is born.
_KEEP = text(
    """UPDATE trials t SET excluded = r.excluded, created_at = coalesce(r.created_at, t.created_at)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, excluded bool, created_at timestamptz)
    WHERE t.id = r.id"""
)
_RANK = text(
    """INSERT INTO comparisons (study_id, ranking, created_at)
    SELECT :study, r.ranking, coalesce(r.created_at, now())
    FROM ROWS FROM (jsonb_to_recordset(CAST(:rows AS jsonb)) AS (ranking int[], created_at timestamptz))
        WITH ORDINALITY AS r ORDER BY r.ordinality"""
)
_TAKEN = text("SELECT candidate FROM trials WHERE study_id = :study AND candidate IS NOT NULL")


class Spool:
    """A body on its way in: received in full before the study is locked, so that no slow client holds the others up.

    The first few megabytes stay in memory, more goes to a temporary file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = sha256()

    async def receive(self, body: AsyncIterator[bytes]) -> None:
        """Raises `Refused` (malformed) when the client hangs up half-way."""
        try:
            async for part in body:
                self._hash.update(part)
                await run_in_threadpool(self._file.write, part)
        except ClientDisconnect:
            raise Refused("The body was cut off.", code="malformed") from None
        self._file.seek(0)

    @property
    def digest(self) -> str:
        """The SHA-256 of what was received."""
        return self._hash.hexdigest()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(index, line), from 1."""
        index = 0
        while line := self._file.readline(_LONGEST_LINE + 1):
            index += 1
            if len(line) > _LONGEST_LINE:
                raise refused(index, "", f"longer than {_LONGEST_LINE} bytes", code="payload_too_large")
            yield index, line


@contextmanager
def spool() -> Iterator[Spool]:
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        yield Spool(file)


async def bring_in(ledger: Ledger, definition: Definition, body: Spool) -> dict[str, int]:
    """Adds every trial of the body to the locked study. Raises `Refused` naming the line, `Conflict` for its state.

    Where the study was empty the trials keep their numbers, otherwise they follow those it has.
    """
    first = ledger.study.next_number
    lines = body.lines()
    header = await run_in_threadpool(_read_header, lines, definition.space)
    taken = (await ledger.connection.execute(_TAKEN, {"study": ledger.study.id})).scalars()
    intake = _Intake(ledger, definition, taken)
    coming = islice(lines, header.trials)
    while chunk := await run_in_threadpool(intake.take, coming):
        await _store(ledger, chunk)
    count = ledger.study.next_number - first
    _require_whole("trials", header.trials, count)
    compared = await _compare(ledger, lines, header, first)
    ledger.study.learned()
    ledger.add_event("study.imported", trials=count, comparisons=compared, first_number=first)
    await ledger.flush()
    await ledger.connection.execute(delete(Suggestion).where(Suggestion.study_id == ledger.study.id))
    return {"trials": count, "comparisons": compared, "first_number": first}


def _read_header(lines: Iterator[tuple[int, bytes]], space: Space) -> Header:
    """The first line, whose study must have this space. Raises `Refused`."""
    _, line = next(lines, (1, b""))
    header = read_header(line)
    try:
        theirs = Space.from_json(header.study.space, header.study.constraints)
    except FrazilError as error:
        raise within(1, "/study/space", error) from None
    if theirs != space:
        raise refused(1, "/study/space", f"must be this study's space; {_difference(space, theirs)}")
    return header


def _difference(ours: Space, theirs: Space) -> str:
    """Which parameter makes two spaces differ."""
    pairs = zip(ours.parameters, theirs.parameters, strict=False)
    name = next((our.name for our, their in pairs if our != their), None)
    if name is not None:
        return f"they differ in {name!r}"
    if ours.parameters == theirs.parameters:
        return f"its constraints are {ours.constraints_json()}"
    return f"it has {len(ours.parameters)} parameters, the file's has {len(theirs.parameters)}"


def _require_whole(what: str, announced: int, count: int) -> None:
    if count != announced:
        detail = f"announces {announced} {what}, but {count} follow; the body was cut off or edited"
        raise refused(1, f"/{what}", detail, code="malformed")


async def _compare(ledger: Ledger, lines: Iterator[tuple[int, bytes]], header: Header, first: int) -> int:
    """Stores the comparisons that follow the trials; how many there were."""
    rows = await run_in_threadpool(_rankings, islice(lines, header.comparisons), header, first)
    _require_whole("comparisons", header.comparisons, len(rows))
    _require_whole("trials", header.trials, header.trials + sum(1 for _ in lines))
    if rows and not is_compared(ledger.study.definition):
        detail = "this study learns from values; bring them into one that learns from comparisons"
        raise refused(1, "/comparisons", detail)
    parameters = {"study": ledger.study.id, "rows": to_json(rows).decode()}
    await ledger.connection.execute(_RANK, parameters)
    return len(rows)


def _rankings(lines: Iterator[tuple[int, bytes]], header: Header, first: int) -> list[dict[str, Any]]:
    """The comparisons, with the numbers that the trials have now."""
    rows = []
    for index, line in lines:
        comparison = read_comparison(line, index)
        for place, number in enumerate(comparison.ranking):
            if number >= header.trials:
                raise refused(index, f"/ranking/{place}", f"the file has {header.trials} trials, numbered from 0")
        ranking = [first + number for number in comparison.ranking]
        rows.append({"ranking": ranking, "created_at": comparison.created_at})
    return rows


Taken = tuple[TrialRecord, TrialLine]


class _Intake:
    """Reads lines, checks them against the study and enters them in its ledger, a few megabytes at a time."""

    def __init__(self, ledger: Ledger, definition: Definition, taken: Iterable[int]) -> None:
        self._ledger = ledger
        self._space = definition.space
        self._candidates = _indices(definition)
        self._taken = set(taken)
        self._expected = 0

    def take(self, lines: Iterator[tuple[int, bytes]]) -> list[Taken]:
        """The trials of the next lines, entered in the ledger; none at the end of the body."""
        chunk: list[Taken] = []
        size = 0
        for index, line in lines:
            chunk.append(self._enter(index, read_trial(line, index)))
            size += len(line)
            if size >= _CHUNK:
                break
        return chunk

    def _enter(self, index: int, line: TrialLine) -> Taken:
        if line.number != self._expected:
            raise refused(index, "/number", f"must be {self._expected}: trials stand in order, without gaps")
        self._expected += 1
        study = self._ledger.study
        _check_facts(study, line, index)
        trial = self._record(line, index)
        _check_gradients(study, trial, line, index)
        if not trial.finished and study.state in ("stopped", "completed"):
            detail = (
                f"The study is {study.state}; make it active before importing trials that wait, as on line {index}."
            )
            raise Conflict(detail, code="study_not_active")
        self._ledger.add_trial(trial)
        self._ledger.add_points(_points(trial.id, line))
        if trial.attempt:
            study.started += 1
            study.steps_used += trial.last_step
        return trial, line

    def _record(self, line: TrialLine, index: int) -> TrialRecord:
        study = self._ledger.study
        try:
            params = self._space.check(line.params)
        except FrazilError as error:
            raise within(index, "/params", error) from None
        trial = TrialRecord(
            uuid7(), study.id, study.next_number, TrialState(line.state), params, self._candidate(line, params, index),
            line.notes, line.tags, values=told_values(line.values), gradients=line.gradients, told=line.told,
            cost=line.cost, reason=line.reason, worker=line.worker, why=line.why, attempt=line.attempt,
            losses=line.losses, from_step=line.from_step, step=line.step, last_step=line.last_step,
            until_step=line.until_step, ready=line.ready, started_at=line.started_at, finished_at=line.finished_at,
        )  # fmt: skip
        if line.checkpoint is not None:
            trial.checkpoint_uri, trial.checkpoint_step = line.checkpoint.uri, line.checkpoint.step
        return _without_lease(trial)

    def _candidate(self, line: TrialLine, params: dict[str, Any], index: int) -> int | None:
        """The candidate that these params are, if the study has candidates; each may have one trial."""
        if self._candidates is None:
            return None
        candidate = self._candidates.get(self._space.key(params))
        if candidate is None:
            raise refused(index, "/params", "not among the study's candidates")
        if line.candidate not in (None, candidate):
            raise refused(index, "/candidate", f"these params are candidate {candidate} of the study")
        if candidate in self._taken:
            raise refused(index, "/params", f"candidate {candidate} has a trial already")
        self._taken.add(candidate)
        return candidate


def _indices(definition: Definition) -> dict[Any, int] | None:
    if definition.candidates is None:
        return None
    return {definition.space.key(params): index for index, params in enumerate(definition.candidates)}


def _check_facts(study: StudyRecord, line: TrialLine, index: int) -> None:
    """Refuses metrics that the study does not know, and steps that it does not have.

    A COMPLETED trial may lack the objective here: a run whose worker was lost at the last step can.
    """
    names = {curve.metric: curve for curve in line.curves}
    try:
        rules.check_metrics(study, names, "/curves")
        rules.check_values(study, rules.Told(TrialState.PRUNED, line.values), set(names))
    except FrazilError as error:
        raise within(index, "", error) from None
    if study.max_step is None:
        if line.until_step is not None:
            raise refused(index, "/until_step", "must be null: the study has no resource")
    elif max(line.last_step, line.until_step or 0) > study.max_step:
        field = "last_step" if line.last_step > study.max_step else "until_step"
        raise refused(index, f"/{field}", f"at most {study.max_step}, the resource's `max`")


def _check_gradients(study: StudyRecord, trial: TrialRecord, line: TrialLine, index: int) -> None:
    try:
        rules.check_gradients(study, trial, rules.Told(trial.state, gradients=line.gradients))
    except FrazilError as error:
        raise within(index, "", error) from None


def _without_lease(trial: TrialRecord) -> TrialRecord:
    """A lease does not travel: who was training goes back in line, as if released."""
    if trial.state is not TrialState.RUNNING:
        return trial
    waiting = TrialState.QUEUED if trial.checkpoint_uri is None else TrialState.PAUSED
    return replace(trial, state=waiting, ready=True)


def _points(trial_id: uuid.UUID, line: TrialLine) -> Iterator[Point]:
    return (
        Point(trial_id, curve.metric, step, value, elapsed, attempt)
        for curve in line.curves
        for step, value, elapsed, attempt in curve.points()
    )


async def _store(ledger: Ledger, chunk: Sequence[Taken]) -> None:
    """Writes a chunk, and lets go of it."""
    await ledger.flush()
    rows = [{"id": trial.id, "excluded": line.excluded, "created_at": line.created_at} for trial, line in chunk]
    await ledger.connection.execute(_KEEP, {"rows": to_json(rows).decode()})
    await ledger.score([trial.id for trial, _ in chunk], added=True)
    ledger.trials.clear()
