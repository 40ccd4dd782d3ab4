"""Where curves are expected to go."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil_tuner.curves import CURVE_MODELS
from frazil_tuner.errors import Conflict, Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Resource, Study, Trial, TrialState
from frazil_tuner.insights import extrapolation
from frazil_tuner.insights.extrapolation import MODEL, QUANTILES
from frazil_tuner.space import Space

LINE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
LAST = 40
LOSS, SCORE = Objective("loss"), Objective("score", "maximize")


def loss(x: float, step: int) -> float:
    return 0.2 + abs(x - 0.3) + (1 - x) * step**-0.7


def study(n: int = 24, objective: Objective = LOSS, **more: Any) -> Study:
    """Of the even trials whole curves of loss, or of score = 100 (1 - loss); of the odd ones beginnings."""
    trials = []
    for i in range(n):
        x, until = (i + 0.5) / n, LAST if i % 2 == 0 else 3 + i % 9
        losses = [(step, loss(x, step)) for step in range(1, until + 1)]
        curves = {"loss": tuple(losses), "score": tuple((step, 100 * (1 - value)) for step, value in losses)}
        trials.append(Trial(i, {"x": x}, TrialState.PAUSED, curves=curves, last_step=until))
    return Study(Definition(LINE, (objective,), Resource("epoch", LAST), **more), tuple(trials))


def test_the_rest_of_a_curve_is_foretold_from_the_last_step_to_the_maximum() -> None:
    found = extrapolation(study(), 7, points=5)
    assert (found["trial"], found["metric"], found["model"]) == (7, "loss", MODEL)
    assert found["steps"] == [10, 18, 25, 32, 40]
    truth = [loss(7.5 / 24, step) for step in found["steps"]]
    assert np.allclose(found["mean"], truth, atol=0.03)
    assert json.loads(json.dumps(found)) == found


def test_quantiles_are_those_of_the_metric_whichever_way_is_better() -> None:
    losses, scores = extrapolation(study(), 7, 5), extrapolation(study(objective=SCORE), 7, 5)
    for found in (losses, scores):
        rows = [found["quantiles"][f"{q:g}"] for q in QUANTILES]
        assert (np.diff(rows, axis=0) > 0).all(), "from .05 to .95 they grow"
        assert (np.array(rows[0]) < found["mean"]).all()
        assert (np.array(rows[-1]) > found["mean"]).all()
    for q, other in zip(QUANTILES, reversed(QUANTILES), strict=True):
        assert np.allclose(
            100 * (1 - np.array(losses["quantiles"][f"{q:g}"])), scores["quantiles"][f"{other:g}"], rtol=0.02, atol=0.1
        )


def test_the_truth_lies_between_the_quantiles_about_as_often_as_they_say() -> None:
    inside = []
    for number in range(1, 24, 2):
        found = extrapolation(study(), number, 8)
        truth = [loss((number + 0.5) / 24, step) for step in found["steps"]]
        low, high = (found["quantiles"][q] for q in ("0.05", "0.95"))
        inside += [a <= value <= b for a, value, b in zip(low, truth, high, strict=True)]
    assert np.mean(inside) >= 0.8


@pytest.mark.parametrize(("points", "steps"), [(2, [10, 40]), (1000, list(range(10, 41)))])
def test_no_more_steps_are_told_than_asked_for_or_there_are(points: int, steps: list[int]) -> None:
    assert extrapolation(study(), 7, points)["steps"] == steps


def test_trials_not_begun_are_foretold_from_their_configurations() -> None:
    """Nine in ten lie within the interval for nine in ten; the sharp valley at 0.3 is where one may not."""
    begun, inside = study(), []
    known = extrapolation(begun, 7, 4)["quantiles"]
    for x in (0.02, 0.1, 0.2, 0.26, 0.28, 0.3, 0.32, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98):
        fresh = Trial(24, {"x": x}, TrialState.QUEUED)
        found = extrapolation(replace(begun, trials=(*begun.trials, fresh)), 24, 4)
        assert found["steps"] == [1, 14, 27, 40]
        low, high = (found["quantiles"][q][-1] for q in ("0.05", "0.95"))
        inside.append(low < loss(x, LAST) < high)
        assert high - low > known["0.95"][-1] - known["0.05"][-1]
    assert np.mean(inside) >= 0.9


def test_a_finished_curve_is_at_its_end() -> None:
    found = extrapolation(study(), 4, 10)
    assert found["steps"] == [LAST]
    assert abs(found["mean"][0] - loss(4.5 / 24, LAST)) < 0.02


def test_excluded_trials_are_nobodys() -> None:
    """Neither asked about nor learned from, and the others keep their places."""
    whole = study()
    poisoned = replace(whole.trials[0], excluded=True, curves={"loss": ((1, -1e6),)})
    rest = replace(whole, trials=(poisoned, *whole.trials[1:]))
    found = extrapolation(rest, 7, 5)
    assert np.allclose(found["mean"], [loss(7.5 / 24, step) for step in found["steps"]], atol=0.03)
    with pytest.raises(Refused) as caught:
        extrapolation(rest, 0)
    assert caught.value.code == "trial_unknown"
    assert caught.value.problems[0].pointer == "/trial"


def test_a_constrained_metric_has_curves_as_well() -> None:
    limited = study(outcome_constraints=(OutcomeConstraint.parse("score >= 20"),))
    found = extrapolation(limited, 7, 5, "score")
    assert (found["metric"], found["steps"]) == ("score", [10, 18, 25, 32, 40])
    assert np.allclose(found["mean"], [100 * (1 - loss(7.5 / 24, step)) for step in found["steps"]], atol=3)


@pytest.mark.parametrize(
    ("given", "metric", "code", "pointer"),
    [
        (study(2), "size", "metric_unknown", "/metric"),
        (study(2, Objective("loss", by="comparison")), None, "metric_unknown", "/metric"),
        (Study(Definition(LINE, (LOSS,))), None, "resource_missing", "/trial"),
        (study(2), None, "trial_unknown", "/trial"),
    ],
)
def test_what_cannot_be_foretold_is_refused(given: Study, metric: str | None, code: str, pointer: str) -> None:
    with pytest.raises(Refused) as caught:
        extrapolation(given, 99, metric=metric)
    assert caught.value.code == code
    assert [problem.pointer for problem in caught.value.problems] == [pointer]


@pytest.mark.parametrize("value", [None, float("nan")])
def test_before_anything_was_measured_nothing_is_foretold(value: float | None) -> None:
    curves = {} if value is None else {"loss": ((1, value),)}
    trial = Trial(0, {"x": 0.5}, TrialState.RUNNING, curves=curves, last_step=1)
    with pytest.raises(Conflict, match="no trial has a finite loss"):
        extrapolation(Study(Definition(LINE, (LOSS,), Resource("epoch", LAST)), (trial,)), 0)


def test_a_wild_study_is_answered_with_finite_numbers() -> None:
    whole = study()
    wild = ((1, float("nan")), (2, 1e300), (3, 0.5))
    trials = (*whole.trials[:-1], replace(whole.trials[-1], curves={"loss": wild}, last_step=3))
    found = extrapolation(replace(whole, trials=trials), 23, 6)
    assert found["steps"][0] == 3
    assert np.isfinite([found["mean"], *found["quantiles"].values()]).all()


def test_the_model_is_one_that_there_is() -> None:
    assert MODEL in CURVE_MODELS


def test_a_second_curve_of_the_same_study_needs_no_second_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []

    class Counting:
        def fit(self, curves: Any, *more: Any) -> Any:
            fits.append(len(curves.score))
            return CURVE_MODELS["last"].fit(curves, *more)

    monkeypatch.setattr("frazil_tuner.curves.CURVE_MODELS", {MODEL: Counting()})
    seen = study(n=9)
    first, again, second = (extrapolation(seen, number) for number in (3, 3, 5))
    assert len(fits) == 1
    assert first == again != second
    extrapolation(study(n=10), 3)
    assert len(fits) == 2, "another study is another fit"
