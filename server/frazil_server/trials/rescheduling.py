"""A schedule that is changed in flight: checked, written into the trial, and told with the next answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frazil_tuner.errors import Conflict, FrazilError, Problem, Refused
from frazil_tuner.space.fields import pointer

from ..studies.definitions import space_of
from .records import StudyRecord, TrialRecord


def reschedule(study: StudyRecord, trial: TrialRecord, schedules: Mapping[str, Any]) -> dict[str, Any]:
    """Gives a trial other schedules from the step on at which it stands; what they were before stays in its `why`.

    Returns what happened, for an event. Raises `Conflict` (trial_finished) where it is too late, `Refused` with a
    pointer for each fault.
    """
    if trial.finished:
        raise Conflict(f"Trial {trial.number} has finished as {trial.state}.", code="trial_finished")
    if study.definition["candidates"]:
        raise _refused("", "the study's candidates are as they are; make a study of a space to change schedules")
    kinds = {item["name"]: item["type"] for item in study.definition["space"]}
    for name in schedules:
        if kinds.get(name) != "schedule" or name not in trial.params:
            known = ", ".join(other for other in trial.params if kinds.get(other) == "schedule") or "none"
            raise _refused(pointer(name), f"is no schedule of trial {trial.number}, which has {known}")
    try:
        params = space_of(study.definition).check({**trial.params, **schedules})
    except FrazilError as error:
        error.problems = tuple(Problem(f"/schedules{p.pointer}", p.detail) for p in error.problems)
        raise
    changed = {name: params[name] for name in schedules if params[name] != trial.params[name]}
    before = {name: trial.params[name] for name in changed}
    if not changed:
        return {}
    happened = {"step": trial.step, "before": before, "after": changed}
    trial.params = params
    trial.schedule = {**(trial.schedule or {}), **changed}
    trial.why = {
        **trial.why,
        "rescheduled": [*trial.why.get("rescheduled", ()), {"step": trial.step, "before": before}],
    }
    return happened


def _refused(where: str, detail: str) -> Refused:
    return Refused(f"schedules: {detail}.", code="invalid", problems=(Problem(f"/schedules{where}", detail),))
