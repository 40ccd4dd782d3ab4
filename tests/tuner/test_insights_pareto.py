"""Fronts of a study."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.insights import pareto
from frazil_tuner.space import Space

SPACE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
LOSS, SIZE = Objective("loss"), Objective("size", "maximize")
COMPLETED, FAILED, RUNNING = TrialState.COMPLETED, TrialState.FAILED, TrialState.RUNNING


def study(*values: dict[str, float], limits: tuple[str, ...] = (), **more: Any) -> Study:
    trials = tuple(Trial(i, {"x": 0.5}, more.get(f"state{i}", COMPLETED), values=told) for i, told in enumerate(values))
    constraints = tuple(map(OutcomeConstraint.parse, limits))
    return Study(Definition(SPACE, (LOSS, SIZE), outcome_constraints=constraints), trials)


FOUR = ({"loss": 1, "size": 1}, {"loss": 2, "size": 3}, {"loss": 3, "size": 2}, {"loss": 0.5, "size": 0})


def test_the_front_is_in_the_metrics_own_units_best_in_the_first_objective_first() -> None:
    answer = pareto(study(*FOUR), {"loss": 4, "size": 0})
    assert [trial["number"] for trial in answer["trials"]] == [3, 0, 1]
    assert answer["trials"][2]["values"] == {"loss": 2, "size": 3}
    assert answer["hypervolume"] == pytest.approx(1 * 1 + 2 * 3)
    assert answer["reference"] == {"loss": 4, "size": 0}
    assert json.loads(json.dumps(answer)) == answer


def test_without_a_reference_point_it_lies_a_tenth_beyond_the_nadir() -> None:
    answer = pareto(study(*FOUR))
    assert answer["reference"] == pytest.approx({"loss": 2 + 0.15, "size": 0 - 0.3})
    assert 0 < answer["r2"] < 1


def test_one_trial_that_is_best_in_everything_has_no_shortfall() -> None:
    answer = pareto(study({"loss": 1, "size": 5}, {"loss": 2, "size": 1}))
    assert [trial["number"] for trial in answer["trials"]] == [0]
    assert answer["r2"] == 0


def test_trials_out_of_bounds_failed_running_or_without_a_value_are_not_on_the_front() -> None:
    told = ({"loss": 1, "size": 1}, {"loss": 0, "size": 9}, {"loss": 0, "size": 1}, {"loss": 0, "size": 1}, {"loss": 0})
    answer = pareto(study(*told, {"loss": math.nan, "size": 5}, limits=("size <= 5",), state2=FAILED, state3=RUNNING))
    assert [trial["number"] for trial in answer["trials"]] == [0]


def test_before_there_is_a_trial_there_is_no_volume() -> None:
    assert pareto(study()) == {"trials": [], "hypervolume": None, "r2": None, "reference": None}


def test_absurd_values_overflow_nothing() -> None:
    answer = pareto(study({"loss": -1.7e308, "size": 1.7e308}, {"loss": 1e300, "size": -1e300}))
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize(
    ("reference", "pointer", "detail"),
    [
        ({"loss": 1}, "/reference/size", "is missing"),
        ({"loss": 1, "size": "2"}, "/reference/size", "must be a number"),
        ({"loss": math.inf, "size": 2}, "/reference/loss", "finite"),
        ({"loss": 1, "size": 2, "speed": 3}, "/reference/speed", "no such objective; the study has loss, size"),
    ],
)
def test_a_reference_point_that_does_not_fit_is_refused(reference: Any, pointer: str, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        pareto(study(*FOUR), reference)
    assert caught.value.code == "reference_invalid"
    assert {p.pointer: detail in p.detail for p in caught.value.problems} == {pointer: True}


def test_insights_bring_neither_torch_nor_optuna_until_they_are_asked() -> None:
    code = "import sys, frazil_tuner.insights; sys.exit(bool({'optuna', 'torch', 'sklearn'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
