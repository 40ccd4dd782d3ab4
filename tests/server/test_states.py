"""The life of a trial: one table, walked pair by pair."""

from __future__ import annotations

import uuid
from itertools import product

import pytest

from frazil_server.trials.records import StudyRecord, TrialRecord
from frazil_server.trials.states import FINISHED, NEXT
from frazil_tuner.errors import Conflict
from frazil_tuner.history import TrialState

ALLOWED = {
    ("QUEUED", "RUNNING"), ("QUEUED", "PRUNED"),
    ("RUNNING", "QUEUED"), ("RUNNING", "PAUSED"),
    ("RUNNING", "COMPLETED"), ("RUNNING", "PRUNED"), ("RUNNING", "FAILED"), ("RUNNING", "INFEASIBLE"),
    ("PAUSED", "RUNNING"), ("PAUSED", "PRUNED"),
}  # fmt: skip


def study_with_one_trial_in(state: TrialState) -> StudyRecord:
    counts = {other: int(other is state) for other in TrialState}
    return StudyRecord(uuid.uuid4(), "s", "active", {}, {}, {}, 1, 0, 1, counts, 0, 0, None)


@pytest.mark.parametrize(("old", "new"), list(product(TrialState, TrialState)))
def test_a_trial_moves_only_where_the_table_lets_it(old: TrialState, new: TrialState) -> None:
    study = study_with_one_trial_in(old)
    trial = TrialRecord(uuid.uuid4(), study.id, 3, old, {})
    if (old, new) in ALLOWED:
        trial.move(study, new)
        assert trial.state is new
        assert study.counts == study_with_one_trial_in(new).counts
    else:
        with pytest.raises(Conflict, match="Trial 3 ") as caught:
            trial.move(study, new)
        assert caught.value.code == ("trial_finished" if old.finished else "trial_state")
        assert trial.state is old
        assert study.counts == study_with_one_trial_in(old).counts


def test_the_table_knows_every_state_and_finished_ones_have_no_next() -> None:
    assert set(NEXT) == set(TrialState)
    assert {state for state, after in NEXT.items() if not after} == FINISHED
    assert {state for state in TrialState if state.finished} == FINISHED
