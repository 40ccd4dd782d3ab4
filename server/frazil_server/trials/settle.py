"""One transaction of the write path: serve every command that waits for a study, all at once.

The order: the words of running trials first (reports, tells, …), then the decisions that those reports call for, then
the asks, which share one batch of suggestions. A command that is refused answers with its error and leaves no trace;
the others are not disturbed. Decisions that take a model are not made here: the answer is then {"undecided": number},
and what was decided elsewhere comes back as a `Ruling`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from frazil_tuner.errors import Conflict, FrazilError
from frazil_tuner.history import Params, Study, TrialState
from frazil_tuner.policies import Continue, Decision, Policy
from frazil_tuner.policies import Pause as PauseDecision

from .. import wire
from ..engine.snapshots import Look, Snapshots
from ..errors import NotFound
from . import rules
from .commands import Ask, Command, Heartbeat, OfTrial, Pause, Release, Report, Ruling, Sweep, Tell
from .ledger import Ledger
from .records import TrialRecord

Answer = dict[str, Any] | FrazilError

MOST_OBSOLETE = 20
"""Checkpoints that one answer says are no longer needed."""


class NeedsStudyLock(Exception):
    """The batch turned out to change the study: roll back and serve it again with the study locked."""


@dataclass(slots=True)
class Transaction:
    """What a transaction works with: the rows, the moment, and the study as the policy sees it (read when needed)."""

    ledger: Ledger
    snapshots: Snapshots
    now: datetime
    max_losses: int
    look: Look | None = None
    known: dict[uuid.UUID, dict[tuple[str, int], tuple[float, int]]] = field(default_factory=dict)
    measured: dict[uuid.UUID, set[str]] = field(default_factory=dict)
    reasons: dict[uuid.UUID, str] = field(default_factory=dict)
    undecided: list[int] = field(default_factory=list)

    async def policy(self) -> Policy:
        """The policy alone, where no snapshot is needed."""
        definition = await self.snapshots.definition(self.ledger.connection, self.ledger.study)
        return self.snapshots.policy(self.ledger.study, definition)

    async def policy_and_study(self, context: Params | None = None) -> tuple[Policy, Study]:
        """The policy, and the snapshot with everything this transaction has done so far, for `context`."""
        await self.ledger.flush()
        study = self.ledger.study
        self.look = await self.snapshots.look(self.ledger.connection, study)
        snapshot = await self.snapshots.study(self.ledger.connection, study, self.look, context)
        return self.snapshots.policy(study, self.look.definition), snapshot

    def expire(self, trial: TrialRecord) -> None:
        """Takes a lease back that ran out. Raises `NeedsStudyLock` where the study is not locked."""
        if not self.ledger.locked:
            raise NeedsStudyLock
        kind = rules.expire(self.ledger.study, trial, self.max_losses, self.now)
        self.ledger.changed(trial)
        self.ledger.add_event(kind, trial, worker=trial.worker, state=trial.state, reason=trial.reason)


async def serve_trials(desk: Transaction, commands: Sequence[OfTrial]) -> list[Answer]:
    """Serves the words of running trials and makes the decisions that are due."""
    await _prefetch(desk, commands)
    answers = [_attempt(desk, command) for command in commands]
    await _decide(desk, [c.trial for c, a in zip(commands, answers, strict=True) if a is _DUE])
    answers = [_decided(desk, c) if a is _DUE else a for c, a in zip(commands, answers, strict=True)]
    await _tell_obsolete(desk, answers)
    return answers


async def _tell_obsolete(desk: Transaction, answers: Sequence[Answer]) -> None:
    """Adds to the first decision what checkpoints are no longer needed. Only where the study is locked, for speed: at
    the ends of grants.
    """
    if desk.ledger.locked:
        await desk.ledger.flush()
        for answer in answers:
            if isinstance(answer, dict) and "obsolete_checkpoints" in answer:
                answer["obsolete_checkpoints"] = await desk.ledger.tell_obsolete(MOST_OBSOLETE)
                break


_DUE: dict[str, Any] = {"due": True}


async def _prefetch(desk: Transaction, commands: Sequence[OfTrial]) -> None:
    """Reads all that the rules will want to know: rows, repeated steps, and which metrics a finished curve holds."""
    ledger = desk.ledger
    await ledger.fetch({command.trial for command in commands})
    repeated = [
        (c.trial, m.step)
        for c in commands
        if isinstance(c, Report) and c.trial in ledger.trials
        for m in c.measured
        if m.step <= ledger.trials[c.trial].last_step
    ]
    desk.known = await ledger.known(repeated)
    told = [command for command in commands if isinstance(command, Tell)]
    names = ledger.study.required.union(*(command.told.values for command in told)) if told else ()
    desk.measured = await ledger.metrics([command.trial for command in told], names)


def _attempt(desk: Transaction, command: OfTrial) -> Answer:
    trial = desk.ledger.trials.get(command.trial)
    try:
        if trial is None:
            raise NotFound("This trial does not exist, or was deleted.")
        if rules.lease_is_over(trial, desk.now):
            desk.expire(trial)
        due = _SERVE[type(command)](desk, trial, command)
        return _DUE if due else _describe(desk, command)  # at once: a later command may change the trial again
    except FrazilError as error:
        return error


def _report(desk: Transaction, trial: TrialRecord, command: Report) -> bool:
    ledger = desk.ledger
    rules.validate(ledger.study, command.measured)
    known = desk.known.setdefault(trial.id, {})
    try:
        points = rules.report(trial, command.lease, command.measured, command.checkpoint, known, desk.now)
    except Conflict as error:
        if error.code == "lease_lost":
            _store(desk, trial, rules.late_facts(trial, command.measured))
        raise
    _store(desk, trial, points)
    return _judge(desk, trial, changed=command.checkpoint is not None)


def _judge(desk: Transaction, trial: TrialRecord, *, changed: bool) -> bool:
    """Decides what needs no policy; true if the policy is to decide."""
    rules.judge(desk.ledger.study, trial, desk.now)
    if changed or trial.verdict is not None:
        desk.ledger.changed(trial)
    due = rules.decision_is_due(trial)
    if due and not desk.ledger.locked:
        raise NeedsStudyLock
    return due


def _store(desk: Transaction, trial: TrialRecord, points: list[Any]) -> None:
    """Writes points down, and remembers them for the next command of this batch."""
    desk.ledger.add_points(points)
    desk.ledger.progressed(trial)
    known = desk.known.setdefault(trial.id, {})
    steps: dict[int, dict[str, Any]] = {}
    for point in points:
        known.setdefault((point.metric, point.step), (point.value, point.attempt))
        steps.setdefault(point.step, {})[point.metric] = wire.number(point.value)
    if steps:
        desk.ledger.add_event("trial.reported", trial, points=[{"step": s, "metrics": m} for s, m in steps.items()])


def _heartbeat(desk: Transaction, trial: TrialRecord, command: Heartbeat) -> bool:
    rules.require_lease(trial, command.lease, desk.now)
    if command.checkpoint is not None:
        rules.note_checkpoint(trial, command.checkpoint, trial.step)
    rules.extend(trial, desk.now)
    desk.ledger.progressed(trial)
    return _judge(desk, trial, changed=command.checkpoint is not None)


def _rule(desk: Transaction, trial: TrialRecord, command: Ruling) -> bool:
    """Carries out what was decided elsewhere, unless the study has settled it since or the trial has moved on."""
    rules.require_lease(trial, command.lease, desk.now)
    rules.judge(desk.ledger.study, trial, desk.now)
    if rules.decision_is_due(trial) and command.considered.holds_for(trial):
        _carry_out(desk, trial, command.considered.decision)
    desk.ledger.changed(trial)
    return rules.decision_is_due(trial)


def _pause(desk: Transaction, trial: TrialRecord, command: Pause) -> bool:
    if rules.pause(desk.ledger.study, trial, command.lease, command.step, command.checkpoint, desk.now):
        desk.ledger.changed(trial)
        desk.ledger.add_event("trial.paused", trial, step=trial.step, checkpoint=trial.checkpoint_uri)
    return False


def _release(desk: Transaction, trial: TrialRecord, command: Release) -> bool:
    if rules.release(desk.ledger.study, trial, command.lease, desk.now):
        desk.ledger.changed(trial)
        desk.ledger.add_event("trial.released", trial, worker=trial.worker, state=trial.state)
    return False


def _tell(desk: Transaction, trial: TrialRecord, command: Tell) -> bool:
    just_reported = {metric for metric, _ in desk.known.get(trial.id, ())}
    measured = desk.measured.get(trial.id, set()) | just_reported
    if rules.tell(desk.ledger.study, trial, command.lease, command.told, measured, desk.now):
        desk.ledger.changed(trial)
        desk.ledger.add_event(f"trial.{trial.state.lower()}", trial, values=trial.values, reason=trial.reason)
    return False


_SERVE: dict[type, Callable[[Transaction, TrialRecord, Any], bool]] = {
    Report: _report,
    Heartbeat: _heartbeat,
    Ruling: _rule,
    Pause: _pause,
    Release: _release,
    Tell: _tell,
}


async def _decide(desk: Transaction, due: list[uuid.UUID]) -> None:
    """Decides what the trials at the end of their grants should do, unless that takes a model."""
    if not due:
        return
    ledger = desk.ledger
    for trial_id in due:
        ledger.changed(ledger.trials[trial_id])
    policy = await desk.policy()
    if not policy.deliberates:
        await _decide_here(desk, due)
    if policy.reads_curves:
        ledger.study.learned()


async def _decide_here(desk: Transaction, due: list[uuid.UUID]) -> None:
    policy, study = await desk.policy_and_study()
    for trial in (desk.ledger.trials[trial_id] for trial_id in dict.fromkeys(due)):
        if trial.state is not TrialState.RUNNING:
            continue  # told or given back by a later command of this batch
        _carry_out(desk, trial, policy.decide(study, study.trials[trial.number]))
        desk.ledger.changed(trial)


def _carry_out(desk: Transaction, trial: TrialRecord, decision: Decision) -> None:
    """Grants more, or writes down that there is no more."""
    if not isinstance(decision, Continue):
        word = "pause" if isinstance(decision, PauseDecision) else "stop"
        rules.sentence(trial, word, decision.reason, by="policy")
    elif rules.prolong(desk.ledger.study, trial, decision.until):
        desk.reasons[trial.id] = decision.reason
    else:
        rules.sentence(trial, "pause", "the study's budget is used up", by="budget")


def _decided(desk: Transaction, command: OfTrial) -> dict[str, Any]:
    """The answer to a word that called for a decision, or that none was made yet."""
    trial = desk.ledger.trials[command.trial]
    if trial.state is TrialState.RUNNING and rules.decision_is_due(trial):
        return {"undecided": trial.number}
    return _describe(desk, command)


def _describe(desk: Transaction, command: OfTrial) -> dict[str, Any]:
    trial = desk.ledger.trials[command.trial]
    if isinstance(command, Report | Heartbeat | Ruling):
        verdict = trial.verdict or {"decision": "continue", "reason": desk.reasons.get(trial.id, "")}
        return {
            "decision": verdict["decision"],
            "until_step": trial.until_step,
            "reason": verdict["reason"],
            "schedule": trial.schedule,
            "obsolete_checkpoints": [],
            "lease_expires_at": trial.lease_expires_at or desk.now,
        }
    return {
        "id": trial.id,
        "number": trial.number,
        "state": trial.state,
        "study_state": desk.ledger.study.state,
    }


def needs_lock(commands: Sequence[Command]) -> bool:
    """Reports and heartbeats touch only their trial, unless a decision turns out to be due."""
    return any(not isinstance(command, Report | Heartbeat) for command in commands)


def split(commands: Sequence[Command]) -> tuple[list[OfTrial], list[Ask]]:
    """The words about trials, and the asks, each in their order."""
    trials = [command for command in commands if not isinstance(command, Ask | Sweep)]
    return trials, [command for command in commands if isinstance(command, Ask)]
