"""Branches: trials that go on from where another one stands, with its curve up to there and parameters of their own.

A branch is a frozen trial like any other. Its checkpoint is its parent's, its first points are copies of its parent's
(facts, whoever measured them), and what it was branched from stands in its `why`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frazil_tuner.errors import FrazilError, Problem, Refused
from frazil_tuner.history import TrialState
from frazil_tuner.space import Space

from ..ids import uuid7
from .ledger import Ledger
from .records import StudyRecord, TrialRecord
from .schemas import TrialIn


async def parents_of(ledger: Ledger, bodies: Sequence[TrialIn]) -> dict[int, TrialRecord]:
    """The trials that are to be branched, by number; those that do not exist are absent."""
    numbers = sorted({body.parent for body in bodies if body.parent is not None})
    return {trial.number: trial for trial in await ledger.fetch_numbers(numbers)}


def branch(
    study: StudyRecord, space: Space, parents: Mapping[int, TrialRecord], body: TrialIn, pointer: str
) -> TrialRecord:
    """The new trial. Raises `Refused` with the pointer and the remedy for what cannot be branched so."""
    assert body.parent is not None
    if body.state != "QUEUED" or body.values or body.curve or body.gradients:
        raise _refused(pointer, "state", "a branch has no results of its own yet; leave state, values and curve out")
    if study.max_step is None or study.restarts:
        raise _refused(pointer, "parent", "only runs of a resumable resource can be branched")
    if study.definition["candidates"]:
        raise _refused(pointer, "parent", "each of the study's candidates is tried once; a branch would be the second")
    parent = parents.get(body.parent)
    if parent is None:
        raise _refused(pointer, "parent", f"there is no trial {body.parent}")
    uri, step = _place(study, parent, body, pointer)
    until = study.max_step if body.until_step is None else body.until_step
    if not step < until <= study.max_step:
        raise _refused(pointer, "until_step", f"must lie after step {step} and be at most {study.max_step}")
    try:
        params = space.check({**parent.params, **body.params})
    except FrazilError as error:
        error.problems = tuple(Problem(f"{pointer}/params{p.pointer}", p.detail) for p in error.problems)
        raise
    trial = branched(study, parent, (uri, step), params, until)
    trial.notes, trial.tags, trial.ready = body.notes, body.tags, True
    trial.why = {"policy": "user", "phase": "branch", **trial.why}
    return trial


def branched(
    study: StudyRecord, parent: TrialRecord, place: tuple[str, int], params: Mapping[str, Any], until: int
) -> TrialRecord:
    """A frozen trial that stands at a checkpoint of its parent's, the URI and the step, and may run `until` a step."""
    uri, step = place
    return TrialRecord(
        uuid7(), study.id, study.next_number, TrialState.PAUSED, dict(params), step=step, last_step=step,
        until_step=until, checkpoint_uri=uri, checkpoint_step=step,
        why={"parent": parent.number, "from_step": step},
    )  # fmt: skip


def _place(study: StudyRecord, parent: TrialRecord, body: TrialIn, pointer: str) -> tuple[str, int]:
    """The checkpoint to go on from."""
    if body.checkpoint is None:
        if parent.checkpoint_uri is None or parent.checkpoint_step is None:
            detail = f"trial {parent.number} has no checkpoint; name one that you have kept in `checkpoint`"
            raise _refused(pointer, "parent", detail)
        uri, step, field = parent.checkpoint_uri, parent.checkpoint_step, "parent"
    else:
        uri, step, field = body.checkpoint.uri, body.checkpoint.step, "checkpoint/step"
    if step > parent.last_step:
        raise _refused(pointer, field, f"trial {parent.number} has come to step {parent.last_step} only")
    assert study.max_step is not None
    if step >= study.max_step:
        raise _refused(pointer, field, f"step {step} is the end of a run; name an earlier checkpoint")
    return uri, step


def _refused(pointer: str, field: str, detail: str) -> Refused:
    return Refused(f"{pointer}/{field}: {detail}.", code="invalid", problems=(Problem(f"{pointer}/{field}", detail),))
