"""One sense and one scale at one door: scores are larger when better, and never good when something went wrong."""

from __future__ import annotations

import math
import pickle

import pytest

from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.space import Space

NAN, INF = math.nan, math.inf
LAST_LOSS, BEST_LOSS = Objective("loss"), Objective("loss", summary="best")
LAST_GAIN, BEST_GAIN = Objective("gain", "maximize"), Objective("gain", "maximize", "best")


@pytest.mark.parametrize(
    ("objective", "curve", "upto", "score"),
    [
        (LAST_LOSS, ((1, 5.0), (2, 3.0), (3, 4.0)), None, -4.0),
        (LAST_LOSS, ((1, 5.0), (2, 3.0), (3, 4.0)), 2, -3.0),
        (LAST_LOSS, ((2, 3.0), (4, 1.0)), 3, -3.0),
        (LAST_LOSS, ((2, 3.0), (4, 1.0)), 9, -1.0),
        (BEST_LOSS, ((1, 5.0), (2, 3.0), (3, 4.0)), None, -3.0),
        (BEST_LOSS, ((1, 5.0), (2, 3.0), (3, 1.0)), 2, -3.0),
        (LAST_GAIN, ((1, 5.0), (2, 3.0)), None, 3.0),
        (BEST_GAIN, ((1, 5.0), (2, 3.0)), None, 5.0),
        (LAST_LOSS, ((1, 5.0), (2, NAN)), None, -INF),
        (LAST_LOSS, ((1, 5.0), (2, NAN)), 1, -5.0),
        (LAST_LOSS, ((1, 5.0), (2, NAN)), 2, -INF),
        (LAST_LOSS, ((1, 5.0), (2, -INF)), None, -INF),
        (LAST_GAIN, ((1, 5.0), (2, INF)), None, -INF),
        (BEST_LOSS, ((1, 5.0), (2, NAN), (3, -INF)), None, -5.0),
        (BEST_LOSS, ((1, NAN),), None, -INF),
        (LAST_LOSS, (), None, -INF),
        (LAST_LOSS, ((2, 3.0),), 1, -INF),
        (BEST_LOSS, ((2, 3.0),), 1, -INF),
    ],
)
def test_a_curve_is_summed_up_with_larger_better(
    objective: Objective, curve: tuple[tuple[int, float], ...], upto: int | None, score: float
) -> None:
    assert objective.score(curve, upto) == score


@pytest.mark.parametrize(
    ("state", "values", "curve", "score"),
    [
        (TrialState.COMPLETED, {"loss": 2.0}, ((1, 9.0),), -2.0),
        (TrialState.COMPLETED, {}, ((1, 9.0),), -9.0),
        (TrialState.COMPLETED, {"loss": NAN}, ((1, 9.0),), -INF),
        (TrialState.FAILED, {"loss": 2.0}, ((1, 9.0),), -INF),
        (TrialState.INFEASIBLE, {}, (), -INF),
        (TrialState.RUNNING, {}, (), None),
    ],
)
def test_a_told_value_outranks_the_curve_and_a_failure_outranks_both(
    state: TrialState, values: dict[str, float], curve: tuple[tuple[int, float], ...], score: float | None
) -> None:
    trial = Trial(0, {}, state, {"loss": curve}, values)
    assert trial.score(LAST_LOSS) == score


def test_states_know_what_they_are() -> None:
    unfinished = {TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED}
    assert {state for state in TrialState if not state.finished} == unfinished
    assert {state for state in TrialState if state.paused} == {TrialState.PAUSED}
    assert {state for state in TrialState if state.worst} == {TrialState.FAILED, TrialState.INFEASIBLE}


def test_a_study_crosses_process_boundaries_unchanged() -> None:
    space = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
    definition = Definition(space, (LAST_LOSS,), Resource("epoch", 9), ({"x": 0.5},), seed=3)
    trial = Trial(4, {"x": 0.5}, TrialState.PAUSED, {"loss": ((1, 0.5),)}, {}, 1, 3, 0)
    study = Study(definition, (trial,), ({"x": 0.1},), (0,), (4,), 17)
    assert pickle.loads(pickle.dumps(study)) == study
