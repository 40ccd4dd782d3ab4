"""Handing out work: what a worker already holds, then what waits in line, then what the policy suggests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from frazil_tuner.errors import FrazilError
from frazil_tuner.history import Params, TrialState
from frazil_tuner.policies import Branch, Continue, Policy, Resume, Start, Stop, Suggestion

from .. import wire
from ..ids import uuid7
from ..studies.definitions import with_role
from ..trials import rules
from ..trials.branches import branched
from ..trials.commands import Ask, Considered
from ..trials.records import StudyRecord, TrialRecord
from .contexts import read_context, suits
from .seeds import seed_of

if TYPE_CHECKING:
    from ..trials.settle import Answer, Transaction

RETRY_AFTER = 1.0
"""Seconds after which a worker that got nothing should ask again."""

_TAKE = text(
    """DELETE FROM suggestions WHERE id IN (
        SELECT id FROM suggestions WHERE study_id = :study AND (NOT :ages OR data_version >= :since)
            AND context = CAST(:context AS jsonb)
            AND NOT EXISTS (SELECT FROM trials t WHERE t.study_id = :study AND t.candidate = suggestions.candidate)
        ORDER BY id LIMIT :count FOR UPDATE SKIP LOCKED)
    RETURNING id, trial_number, params, candidate, until_step, data_version, why"""
)


async def serve_asks(desk: Transaction, asks: Sequence[Ask]) -> list[Answer]:
    """Answers all asks of a batch. `missing` in an answer counts the suggestions the engine should still compute for
    it, in the answer's `context`; `undecided` has the numbers of trials in line that the policy should consider first.
    """
    read = [await _in_context(desk, ask) for ask in asks]
    served: dict[int, Answer] = {}
    for group in _by_context([ask for ask in read if isinstance(ask, Ask)]):
        served |= zip(map(id, group), await _serve_group(desk, group), strict=True)
    return [served[id(ask)] if isinstance(ask, Ask) else ask for ask in read]


async def _in_context(desk: Transaction, ask: Ask) -> Ask | FrazilError:
    """The ask with its context in canonical form; or what is wrong with it."""
    study = desk.ledger.study
    if not ask.context and not with_role(study.definition, "context"):
        return ask
    space = (await desk.snapshots.definition(desk.ledger.connection, study)).space
    try:
        return replace(ask, context=read_context(space, ask.context))
    except FrazilError as error:
        return error


def _by_context(asks: Sequence[Ask]) -> Iterable[list[Ask]]:
    groups: dict[bytes, list[Ask]] = {}
    for ask in asks:
        groups.setdefault(wire.dump(ask.context), []).append(ask)
    return groups.values()


async def _serve_group(desk: Transaction, asks: Sequence[Ask]) -> list[Answer]:
    """Answers asks of one context. Those of one worker are one ask repeated: the largest is served, and all get its
    trials.
    """
    largest = {ask.worker: ask for ask in sorted(asks, key=lambda ask: ask.count)}
    leased, missing = await _lease(desk, list(largest.values()))
    return [_answer(desk, ask, leased[ask.worker][: ask.count], missing) for ask in asks]


async def _lease(desk: Transaction, asks: Sequence[Ask]) -> tuple[dict[str, list[TrialRecord]], int]:
    """The trials of each worker; and how many suggestions the engine should still compute."""
    running = await collect_expired(desk, {ask.worker for ask in asks})
    held = [_held(desk, ask, running) for ask in asks]
    wanted = sum(ask.count - len(trials) for ask, trials in zip(asks, held, strict=True))
    fresh, missing = await _new_work(desk, asks, wanted) if wanted and desk.ledger.study.state == "active" else ([], 0)
    source = iter(fresh)
    for ask, trials in zip(asks, held, strict=True):
        trials.extend(_next(source, ask, ask.count - len(trials), desk))
    idle = not missing and not fresh and not desk.undecided
    if idle and wanted and (not asks[0].context or _spent(desk)):
        conclude(desk)
    return {ask.worker: trials for ask, trials in zip(asks, held, strict=True)}, missing


def _spent(desk: Transaction) -> bool:
    """Whether the budget is: a context without another suggestion is not the end, the next one may have some."""
    return desk.ledger.study.exhausted(desk.now) or desk.ledger.study.trials_left() == 0


async def collect_expired(desk: Transaction, workers: Collection[str]) -> list[TrialRecord]:
    """Takes back the leases that ran out; returns those trials and the ones that `workers` hold."""
    running = await desk.ledger.fetch_running(workers, desk.now)
    for trial in running:
        if rules.lease_is_over(trial, desk.now):
            desk.expire(trial)
    return running


def _held(desk: Transaction, ask: Ask, running: list[TrialRecord]) -> list[TrialRecord]:
    """The live leases that this worker holds already in this context: an ask repeated after a lost answer costs
    nothing.
    """
    held = [trial for trial in running if trial.state is TrialState.RUNNING and trial.worker == ask.worker]
    held = [trial for trial in held if suits(trial.params, ask.context)]
    held = sorted(held, key=lambda trial: trial.number)[: ask.count]
    for trial in held:
        rules.extend(trial, desk.now)
        desk.ledger.progressed(trial)
    return held


Work = tuple[TrialRecord, int | None]
"""A trial to lease, and the step up to which."""


async def _new_work(desk: Transaction, asks: Sequence[Ask], wanted: int) -> tuple[list[Work], int]:
    """At most `wanted` trials to lease, within the budget; and how many suggestions the engine should compute."""
    study, context = desk.ledger.study, asks[0].context
    purse = _Purse(study)
    if study.exhausted(desk.now):
        return [], 0
    considered = {number: found for ask in asks for number, found in ask.considered.items()}
    work = await _in_line(desk, wanted, purse, context, considered)
    if desk.undecided:
        return work, 0
    work += await _at_a_glance(desk, asks, wanted - len(work), purse, context)
    short = wanted - len(work)
    if not short or purse.empty:
        return work, 0
    policy, snapshot = await desk.policy_and_study(context)
    snapshot = replace(snapshot, thawing=(*snapshot.thawing, *(trial.number for trial, _ in work)))
    light = policy.is_light(snapshot)
    desk.snapshots.note_light(study.id, light=light)
    if light:
        seed = seed_of(snapshot.definition.seed, study.data_version, study.next_number)
        suggestions = [
            (s, _provenance(policy, s.why, seed, study.data_version)) for s in policy.suggest(snapshot, short, seed)
        ]
        return work + await _accept(desk, suggestions, purse, context), 0
    accepted = await _accept(desk, await _from_shelf(desk, policy, asks, short), purse, context)
    enough = purse.empty or any(ask.last_try for ask in asks)
    return work + accepted, 0 if enough else min(short - len(accepted), purse.trials(short))


async def _at_a_glance(
    desk: Transaction, asks: Sequence[Ask], short: int, purse: _Purse, context: Params
) -> list[Work]:
    """What the shelf holds for a study whose suggestions take a model: most asks need to know no more of it."""
    study = desk.ledger.study
    if not short or purse.empty or not desk.snapshots.takes_models(study.id):
        return []
    policy = desk.snapshots.policy(study, await desk.snapshots.definition(desk.ledger.connection, study))
    return await _accept(desk, await _from_shelf(desk, policy, asks, short), purse, context)


class _Purse:
    """What the budget still pays for in this transaction, before its grants are written."""

    def __init__(self, study: StudyRecord) -> None:
        self._steps = study.steps_left()
        self._trials = study.trials_left()

    @property
    def empty(self) -> bool:
        return self._steps == 0

    def trials(self, wanted: int) -> int:
        return wanted if self._trials is None else min(wanted, self._trials)

    def afford(self, trial: TrialRecord, start: int, until: int | None) -> tuple[bool, int | None]:
        """Pays for a grant, shortened to what is left; (False, None) when it cannot be paid at all."""
        first = trial.attempt == 0
        if first and self._trials == 0:
            return False, None
        if until is not None and self._steps is not None:
            until = min(until, start + self._steps)
        if until is not None and until <= start:
            return False, None
        if until is not None and self._steps is not None:
            self._steps -= until - start
        if first and self._trials is not None:
            self._trials -= 1
        return True, until


async def _in_line(
    desk: Transaction, wanted: int, purse: _Purse, context: Params, considered: Mapping[int, Considered]
) -> list[Work]:
    """Trials that may be handed out without asking the policy: enqueued by a user, or back from a lost worker."""
    study, work = desk.ledger.study, []
    for trial in await desk.ledger.fetch_ready(wanted, context):
        start = trial.start_of_next_attempt(study)
        until = trial.until_step
        if study.max_step is not None and (until is None or until <= start):
            until = await _ask_policy(desk, trial, considered.get(trial.number))
            if until is None:
                continue
        affordable, until = purse.afford(trial, start, until)
        if affordable:
            work.append((trial, until))
    return work


async def _ask_policy(desk: Transaction, trial: TrialRecord, considered: Considered | None) -> int | None:
    """How far a trial without an open grant may run; None when the policy would rather leave it, or is to think it
    over: then the trial is `undecided`.
    """
    if considered is not None and considered.holds_for(trial):
        decision = considered.decision
    elif (await desk.policy()).deliberates:
        desk.undecided.append(trial.number)
        return None
    else:
        policy, snapshot = await desk.policy_and_study()
        decision = policy.decide(snapshot, snapshot.trials[trial.number])
    if isinstance(decision, Continue):
        return decision.until
    trial.ready = False
    if isinstance(decision, Stop):
        rules.finish(desk.ledger.study, trial, TrialState.PRUNED, decision.reason, desk.now)
    desk.ledger.changed(trial)
    return None


async def _from_shelf(
    desk: Transaction, policy: Policy, asks: Sequence[Ask], count: int
) -> list[tuple[Suggestion, dict[str, Any]]]:
    """Takes suggestions that are fresh enough for the most patient of the asks, oldest first."""
    study = desk.ledger.study
    since = min(study.data_version if ask.fresh_since is None else ask.fresh_since for ask in asks)
    context = wire.dump(asks[0].context).decode()
    parameters = {"study": study.id, "ages": policy.ages, "since": since, "context": context, "count": count}
    rows = sorted((await desk.ledger.connection.execute(_TAKE, parameters)).all(), key=lambda row: row.id)
    return [(_suggestion(row), row.why) for row in rows]


def _suggestion(row: Any) -> Suggestion:
    if row.trial_number is None:
        return Start(row.params, row.until_step, row.candidate)
    if row.params is None:
        return Resume(row.trial_number, row.until_step)
    return Branch(row.trial_number, row.params, row.until_step)


async def _accept(
    desk: Transaction, suggestions: list[tuple[Suggestion, dict[str, Any]]], purse: _Purse, context: Params
) -> list[Work]:
    """Turns suggestions into trials: new rows for new configurations, the paused row for a resumption."""
    ledger, study = desk.ledger, desk.ledger.study
    numbers = [s.number for s, _ in suggestions if isinstance(s, Resume | Branch)]
    found = {trial.number: trial for trial in await ledger.fetch_numbers(numbers)}
    waiting = [trial for trial in found.values() if trial.state is TrialState.PAUSED and not trial.ready]
    paused = {trial.number: trial for trial in waiting if suits(trial.params, context)}
    work = []
    for suggestion, why in suggestions:
        if isinstance(suggestion, Start):
            trial = _unborn(study, suggestion)
        elif isinstance(suggestion, Branch):
            if suggestion.number not in found:
                continue
            trial = _branch(study, found[suggestion.number], suggestion)
        elif suggestion.number in paused:
            trial = paused.pop(suggestion.number)
        else:
            continue
        affordable, until = purse.afford(trial, trial.start_of_next_attempt(study), suggestion.until)
        if affordable:
            trial.why = {**why, **descent(trial.why)}
            if isinstance(suggestion, Start):
                ledger.add_trial(trial)
            elif isinstance(suggestion, Branch):
                ledger.add_branch(trial, found[suggestion.number])
            work.append((trial, until))
    return work


def _branch(study: StudyRecord, parent: TrialRecord, branch: Branch) -> TrialRecord:
    """What goes on from the parent's checkpoint; without one, what starts with these params."""
    if study.restarts or parent.checkpoint_uri is None or parent.checkpoint_step is None:
        return replace(_unborn(study, Start(branch.params)), why={"parent": parent.number, "from_step": 0})
    place = parent.checkpoint_uri, parent.checkpoint_step
    return branched(study, parent, place, branch.params, branch.until)


def descent(why: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a trial was branched, and what its schedules were: stays, whatever is decided about it later."""
    return {name: why[name] for name in ("parent", "from_step", "rescheduled") if name in why}


def _unborn(study: StudyRecord, start: Start) -> TrialRecord:
    return TrialRecord(
        id=uuid7(),
        study_id=study.id,
        number=study.next_number,
        state=TrialState.QUEUED,
        params=dict(start.params),
        candidate=start.candidate,
    )


def _provenance(policy: Policy, why: Any, seed: int, data_version: int) -> dict[str, Any]:
    return {"policy": policy.name, **why, "seed": seed, "data_version": data_version}


def _next(source: Iterator[Work], ask: Ask, count: int, desk: Transaction) -> list[TrialRecord]:
    """Leases the next `count` pieces of work to the asking worker."""
    leased = []
    for trial, until in islice(source, count):
        rules.grant(desk.ledger.study, trial, until, ask.worker, ask.lease_seconds, desk.now)
        desk.ledger.changed(trial)
        kind = "trial.started" if trial.attempt == 1 else "trial.resumed"
        desk.ledger.add_event(kind, trial, worker=ask.worker, from_step=trial.from_step, until_step=trial.until_step)
        leased.append(trial)
    return leased


def conclude(desk: Transaction) -> None:
    """An active study with nothing running, and nothing left to hand out, is completed."""
    study = desk.ledger.study
    if study.state == "active" and study.counts[TrialState.RUNNING] == 0:
        study.state = "completed"
        desk.ledger.add_event("study.completed")


def _answer(desk: Transaction, ask: Ask, trials: list[TrialRecord], missing: int) -> dict[str, Any]:
    study = desk.ledger.study
    waiting = len(trials) < ask.count and study.state in ("active", "paused")
    return {
        "trials": [lease_view(study, trial) for trial in trials],
        "study_state": study.state,
        "retry_after": RETRY_AFTER if waiting else None,
        "missing": min(missing, ask.count - len(trials)),
        "undecided": desk.undecided if len(trials) < ask.count else [],
        "context": ask.context,
        "data_version": study.data_version,
    }


def lease_view(study: StudyRecord, trial: TrialRecord) -> dict[str, Any]:
    """A trial as `ask` hands it out."""
    checkpoint = None
    if trial.checkpoint_uri is not None and trial.from_step == trial.checkpoint_step:
        checkpoint = {"uri": trial.checkpoint_uri, "step": trial.checkpoint_step}
    return {
        "id": trial.id,
        "number": trial.number,
        "state": trial.state,
        "params": trial.params,
        "from_step": trial.from_step,
        "until_step": trial.until_step,
        "max_step": study.max_step,
        "checkpoint": checkpoint,
        "lease": {"token": trial.lease_token, "expires_at": trial.lease_expires_at},
        "why": trial.why,
    }
