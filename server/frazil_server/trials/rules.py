"""What each word of a client does to a trial: plain functions over locked records, without a database and without a
clock.

Each returns what happened as events; an error leaves the records as they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from frazil_tuner.errors import Conflict, Problem, Refused
from frazil_tuner.history import TrialState
from frazil_tuner.space.fields import pointer

from .. import wire
from ..ids import lease_token
from ..studies.definitions import NUMERIC, deciding_metrics
from .records import Point, StudyRecord, TrialRecord
from .states import COMPLETED, FAILED, PAUSED, PRUNED, QUEUED, RUNNING

Known = Mapping[tuple[str, int], tuple[float, int]]
"""What a trial has measured already: (metric, step) → (value, attempt)."""

WELL_KNOWN = frozenset({"grad_norm", "update_norm", "lr", "batch_size", "seconds"})
"""Metrics that any study may report without declaring them: facts about the optimisation, not about its result."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One step of a report."""

    step: int
    metrics: Mapping[str, float]
    elapsed: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a client keeps a trial's state, and the last step that it contains."""

    uri: str
    step: int


@dataclass(frozen=True, slots=True)
class Told:
    """A client's last word on a trial."""

    state: TrialState
    values: Mapping[str, Any] = field(default_factory=dict)
    cost: float | None = None
    reason: str | None = None
    gradients: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """What two tells must agree on to count as one."""
        content = {"state": str(self.state), "values": dict(self.values), "cost": self.cost, "reason": self.reason}
        return content | ({"gradients": _plain(self.gradients)} if self.gradients else {})

    def write_to(self, trial: TrialRecord) -> None:
        """Enters what was told in the trial's record."""
        trial.values, trial.gradients, trial.cost = dict(self.values), _plain(self.gradients), self.cost
        trial.reason, trial.told = self.reason, self.content()


def _plain(gradients: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {metric: dict(slopes) for metric, slopes in gradients.items()}


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def require_lease(trial: TrialRecord, token: str, now: datetime) -> None:
    """Raises `Conflict`: trial_finished, or lease_lost when `token` does not hold the trial at `now`."""
    if trial.finished:
        raise Conflict(f"Trial {trial.number} has finished as {trial.state}.", code="trial_finished")
    if not trial.holds(token, now):
        raise Conflict(
            f"This lease on trial {trial.number} has run out or was given to another worker; ask for a trial again.",
            code="lease_lost",
        )


def lease_is_over(trial: TrialRecord, now: datetime) -> bool:
    return trial.state is RUNNING and (trial.lease_expires_at is None or trial.lease_expires_at <= now)


def extend(trial: TrialRecord, now: datetime) -> None:
    assert trial.lease_seconds is not None
    trial.lease_expires_at = now + timedelta(seconds=trial.lease_seconds)


def grant(
    study: StudyRecord, trial: TrialRecord, until: int | None, worker: str, seconds: float, now: datetime
) -> None:
    """Leases a waiting trial to `worker` up to step `until`, and charges the budget for the steps to come."""
    start = trial.start_of_next_attempt(study)
    trial.move(study, RUNNING)
    if trial.attempt == 0:
        study.started += 1
        trial.started_at = now
    study.started_at = study.started_at or now
    trial.attempt += 1
    trial.from_step = trial.step = start
    trial.until_step = until
    trial.ready, trial.verdict, trial.returned_token, trial.schedule = False, None, None, None
    trial.worker, trial.lease_token, trial.lease_seconds = worker, lease_token(), seconds
    extend(trial, now)
    study.steps_used += (until - start) if until is not None else 0


def _let_go(study: StudyRecord, trial: TrialRecord) -> None:
    """Takes the lease back and returns the granted steps that were not used to the budget."""
    if trial.until_step is not None:
        study.steps_used -= trial.until_step - trial.step
    trial.lease_token = trial.lease_expires_at = trial.lease_seconds = None


def _back_in_line(study: StudyRecord, trial: TrialRecord) -> None:
    """PAUSED where there is a checkpoint to go on from, QUEUED where there is none; ready for the next worker."""
    trial.move(study, QUEUED if trial.checkpoint_uri is None else PAUSED)
    trial.ready = True


def expire(study: StudyRecord, trial: TrialRecord, max_losses: int, now: datetime) -> str:
    """The lease ran out. Returns the kind of event that this is.

    A run that was already told to stop is finished from what it reported; one that was told to pause is PAUSED; any
    other goes back in line with its curve, or is FAILED when it keeps losing its workers without progress.
    """
    verdict = trial.verdict
    trial.losses = 0 if trial.step > trial.from_step else trial.losses + 1
    _let_go(study, trial)
    if verdict is not None and verdict["decision"] == "stop":
        finished = COMPLETED if trial.step == study.max_step else PRUNED
        return finish(study, trial, finished, f"{verdict['reason']}; its worker was lost before it said so", now)
    if verdict is not None:
        _wait(study, trial, verdict)
    elif trial.losses >= max_losses:
        return finish(study, trial, FAILED, f"lost its worker {trial.losses} times in a row without progress", now)
    else:
        _back_in_line(study, trial)
    return "trial.lost"


def finish(study: StudyRecord, trial: TrialRecord, state: TrialState, reason: str | None, now: datetime) -> str:
    """Ends a trial whose lease is gone. Returns the kind of event that this is."""
    trial.move(study, state)
    if trial.checkpoint_uri is not None:
        trial.obsolete.append(trial.checkpoint_uri)
    trial.reason, trial.finished_at = reason, now
    study.learned()
    return f"trial.{state.lower()}"


def _wait(study: StudyRecord, trial: TrialRecord, verdict: Mapping[str, Any]) -> None:
    """PAUSED: for the policy if it decided so, otherwise (budget, paused study) for the next worker."""
    trial.move(study, PAUSED)
    trial.ready = verdict["by"] != "policy"


def release(study: StudyRecord, trial: TrialRecord, token: str, now: datetime) -> bool:
    """The worker gives the trial back without blame; False when it did so before."""
    if trial.returned_token == token:
        return False
    require_lease(trial, token, now)
    _let_go(study, trial)
    _back_in_line(study, trial)
    trial.returned_token = token
    return True


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_metrics(study: StudyRecord, names: Mapping[str, Any], pointer: str) -> None:
    """Raises `Refused` (metric_unknown) unless at least one metric is known to the study, and all if it declared
    them.
    """
    unknown = sorted(set(names) - study.declared - WELL_KNOWN)
    if unknown and (study.definition["metrics"] is not None or len(unknown) == len(names)):
        raise Refused(
            f"Nobody declared the metric {unknown[0]!r}: the study's objective is {study.metric!r}.",
            code="metric_unknown",
            problems=tuple(
                Problem(
                    f"{pointer}/{name}",
                    f"unknown metric; report {study.metric!r}, or declare it in the study's `metrics`",
                )
                for name in unknown
            ),
        )


def validate(study: StudyRecord, measured: Sequence[Measured]) -> None:
    """Raises `Refused` for what no lease could make right: steps beyond the maximum, metrics nobody declared, two
    values of a metric at one step.
    """
    for index, entry in enumerate(measured):
        if study.max_step is not None and entry.step > study.max_step:
            raise Refused(
                f"Step {entry.step} lies beyond the maximum of {study.max_step}.",
                code="invalid",
                problems=(Problem(f"/measurements/{index}/step", f"at most {study.max_step}, the resource's `max`"),),
            )
        check_metrics(study, entry.metrics, f"/measurements/{index}/metrics")
    if len(measured) > 1:
        _require_one_value(measured)


def _require_one_value(measured: Sequence[Measured]) -> None:
    first: dict[tuple[str, int], float] = {}
    for index, entry in enumerate(measured):
        for metric, value in entry.metrics.items():
            before = first.setdefault((metric, entry.step), value)
            if not _same(before, value):
                raise Refused(
                    f"Step {entry.step} has two values of {metric!r}: {before} and {value}.",
                    code="invalid",
                    problems=(Problem(f"/measurements/{index}/metrics/{metric}", f"{before} was given before"),),
                )


def report(
    trial: TrialRecord,
    token: str,
    measured: Sequence[Measured],
    checkpoint: Checkpoint | None,
    known: Known,
    now: datetime,
) -> list[Point]:
    """Accepts a report under a live lease: extends the lease, moves the trial on, returns the points to store.

    Raises `Conflict` (step_conflict) for steps that go backwards, differ from what this attempt already reported, or
    lie beyond the grant. A step that an earlier attempt measured keeps its first value.
    """
    require_lease(trial, token, now)
    position = trial.step
    points: list[Point] = []
    for entry in measured:
        if trial.until_step is not None and entry.step > trial.until_step:
            raise Conflict(
                f"Step {entry.step} lies beyond the grant: trial {trial.number} may run up to step {trial.until_step}.",
                code="step_conflict",
            )
        points += _new_points(trial, entry, position, known)
        position = max(position, entry.step)
    if checkpoint is not None:
        note_checkpoint(trial, checkpoint, position)
    trial.step = position
    trial.last_step = max(trial.last_step, position)
    extend(trial, now)
    return points


def _new_points(trial: TrialRecord, entry: Measured, position: int, known: Known) -> list[Point]:
    """The metrics of one step that nobody has reported yet."""
    points = []
    for metric, value in entry.metrics.items():
        before = known.get((metric, entry.step))
        if before is None:
            if entry.step < position:
                raise Conflict(
                    f"Steps go forwards: trial {trial.number} has reported step {position}, now step {entry.step}.",
                    code="step_conflict",
                )
            points.append(Point(trial.id, metric, entry.step, value, entry.elapsed, trial.attempt))
        elif before[1] == trial.attempt and not _same(before[0], value):
            raise Conflict(
                f"Trial {trial.number} has already reported {metric} = {before[0]} at step {entry.step}.",
                code="step_conflict",
            )
    return points


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def late_facts(trial: TrialRecord, measured: Sequence[Measured]) -> list[Point]:
    """Points of a worker whose lease is lost: facts all the same, kept for steps nobody has reported (attempt 0)."""
    if trial.finished:
        return []
    points = [
        Point(trial.id, metric, entry.step, value, entry.elapsed, 0)
        for entry in measured
        if entry.step > trial.last_step
        for metric, value in entry.metrics.items()
    ]
    trial.last_step = max([trial.last_step, *(point.step for point in points)])
    return points


def note_checkpoint(trial: TrialRecord, checkpoint: Checkpoint, reported: int) -> None:
    """Remembers where the trial can be resumed from. Raises `Refused` when it claims steps beyond those `reported`."""
    if checkpoint.step > reported:
        raise Refused(
            f"The checkpoint claims step {checkpoint.step}, but trial {trial.number} has reported up to {reported}.",
            code="invalid",
            problems=(Problem("/checkpoint/step", f"at most {reported}; report the steps before it first"),),
        )
    if trial.checkpoint_uri not in (None, checkpoint.uri):
        trial.obsolete.append(trial.checkpoint_uri)
    trial.checkpoint_uri, trial.checkpoint_step = checkpoint.uri, checkpoint.step


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def decision_is_due(trial: TrialRecord) -> bool:
    return trial.until_step is not None and trial.step >= trial.until_step and trial.verdict is None


def judge(study: StudyRecord, trial: TrialRecord, now: datetime) -> None:
    """Decides what needs no policy: the study's state, the maximum and the budget."""
    if study.max_step is not None and trial.step >= study.max_step:
        sentence(trial, "stop", "complete: it has reached the maximum", by="study")
    elif study.state == "stopped":
        sentence(trial, "stop", "the study was stopped", by="study")
    elif study.state == "paused":
        sentence(trial, "pause", "the study is paused", by="study")
    elif decision_is_due(trial) and study.exhausted(now):
        sentence(trial, "pause", "the study's budget is used up", by="budget")


def sentence(trial: TrialRecord, decision: str, reason: str, *, by: str) -> None:
    """Writes a pause or a stop down, so that a repeated report gets the same answer."""
    trial.verdict = {"decision": decision, "reason": reason, "by": by}


def prolong(study: StudyRecord, trial: TrialRecord, until: int) -> bool:
    """Grants further steps up to `until`, or as far as the budget goes; False when it grants none."""
    assert trial.until_step is not None
    left = study.steps_left()
    wanted = until - trial.until_step
    extra = wanted if left is None else min(wanted, left)
    if extra <= 0:
        return False
    trial.until_step += extra
    study.steps_used += extra
    return True


# ── endings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def pause(
    study: StudyRecord, trial: TrialRecord, token: str, step: int | None, checkpoint: Checkpoint | None, now: datetime
) -> bool:
    """Freezes the trial and takes the lease back; False when it was frozen with this lease before.

    A pause that the policy decided waits for the policy; any other may be taken up by the next worker at once. Without
    a checkpoint a decided pause keeps its place but starts again from step 0 when it is thawed.
    """
    if trial.returned_token == token:
        return False
    require_lease(trial, token, now)
    if step is not None and step != trial.step:
        raise Conflict(
            f"Trial {trial.number} has reported step {trial.step}, and cannot be paused at step {step}: report first.",
            code="step_conflict",
        )
    if checkpoint is not None:
        note_checkpoint(trial, checkpoint, trial.step)
    verdict = trial.verdict
    _let_go(study, trial)
    trial.returned_token = token
    if verdict is not None and verdict["decision"] == "pause":
        _wait(study, trial, verdict)
    else:
        _back_in_line(study, trial)
    return True


def tell(study: StudyRecord, trial: TrialRecord, token: str, told: Told, measured: set[str], now: datetime) -> bool:
    """Finishes the trial; False when the same was told before.

    `measured` names the metrics that the trial's curve holds. Raises `Conflict` when it finished otherwise or the lease
    is lost, `Refused` when values or gradients name what the study does not know, or a COMPLETED trial has no value for
    an objective or a constraint.
    """
    if trial.finished and wire.canonical(trial.told) == wire.canonical(told.content()):
        return False
    require_lease(trial, token, now)
    check_values(study, told, measured)
    check_gradients(study, trial, told)
    _let_go(study, trial)
    finish(study, trial, told.state, told.reason, now)
    told.write_to(trial)
    return True


def check_values(study: StudyRecord, told: Told, measured: set[str]) -> None:
    """Raises `Refused` for values of metrics nobody declared, and for a COMPLETED trial without a value it needs."""
    known = study.declared | measured
    unknown = [name for name in told.values if name not in known]
    if unknown:
        raise Refused(
            f"Nobody declared the metric {unknown[0]!r}.",
            code="metric_unknown",
            problems=tuple(Problem(f"/values/{name}", f"unknown metric; known: {sorted(known)}") for name in unknown),
        )
    missing = sorted(study.required - set(told.values) - measured)
    if told.state is TrialState.COMPLETED and missing:
        raise Refused(
            f"A completed trial needs a value of {missing[0]!r}: tell it in `values`, or report it before.",
            code="value_missing",
            problems=tuple(Problem(f"/values/{name}", _MISSING) for name in missing),
        )


_MISSING = "missing: this objective, or metric of an outcome constraint, was neither told nor reported"


def check_gradients(study: StudyRecord, trial: TrialRecord, told: Told) -> None:
    """Raises `Refused` (gradient_invalid) for derivatives of metrics that decide nothing, and by parameters that are
    not there, not active in this trial, or no numbers.
    """
    if not told.gradients:
        return
    deciding = deciding_metrics(study.definition)
    types = {item["name"]: item["type"] for item in study.definition["space"]}
    problems = [
        Problem(pointer("gradients", metric), f"no metric that this study decides by; those are {sorted(deciding)}")
        for metric in told.gradients
        if metric not in deciding
    ]
    for metric, slopes in told.gradients.items():
        faults = ((name, _gradient_fault(types.get(name), name in trial.params)) for name in slopes)
        problems += [Problem(pointer("gradients", metric, name), fault) for name, fault in faults if fault]
    if problems:
        first = problems[0]
        raise Refused(f"{first.pointer}: {first.detail}.", code="gradient_invalid", problems=tuple(problems))


def _gradient_fault(kind: str | None, active: bool) -> str | None:
    if kind is None:
        return "no such parameter; leave it out"
    if kind not in NUMERIC:
        return f"a {kind} parameter has no derivative; leave it out"
    return None if active else "not active in this trial; leave it out"
