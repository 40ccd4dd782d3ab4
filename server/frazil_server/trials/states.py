"""The life of a trial as one table. Every transition in the code goes through `check`."""

from __future__ import annotations

from frazil_tuner.errors import Conflict
from frazil_tuner.history import TrialState

QUEUED, RUNNING, PAUSED = TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED
COMPLETED, PRUNED, FAILED, INFEASIBLE = (
    TrialState.COMPLETED,
    TrialState.PRUNED,
    TrialState.FAILED,
    TrialState.INFEASIBLE,
)
FINISHED = frozenset({COMPLETED, PRUNED, FAILED, INFEASIBLE})

NEXT: dict[TrialState, frozenset[TrialState]] = {
    QUEUED: frozenset({RUNNING, PRUNED}),
    RUNNING: frozenset({PAUSED, QUEUED}) | FINISHED,
    PAUSED: frozenset({RUNNING, PRUNED}),
    COMPLETED: frozenset(),
    PRUNED: frozenset(),
    FAILED: frozenset(),
    INFEASIBLE: frozenset(),
}


def check(number: int, old: TrialState, new: TrialState) -> None:
    """Raises `Conflict` (trial_finished, or trial_state) unless the table allows `old` → `new`."""
    if new in NEXT[old]:
        return
    if old in FINISHED:
        raise Conflict(f"Trial {number} has finished as {old}; it cannot become {new}.", code="trial_finished")
    raise Conflict(f"Trial {number} is {old}; from there it cannot become {new}.", code="trial_state")
