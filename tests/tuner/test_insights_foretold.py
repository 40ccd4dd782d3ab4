"""Frozen runs count with where they are believed to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frazil_tuner.errors import Conflict
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Resource, Study, Trial, TrialState
from frazil_tuner.insights import importances, slices
from frazil_tuner.insights.foretold import as_foretold
from frazil_tuner.space import Space

PLANE = Space.from_json([{"name": name, "type": "float", "low": 0, "high": 1} for name in ("x", "y")])
LAST = 30
LOSS = Objective("loss")


def end(x: float) -> float:
    return 0.2 + 2 * (x - 0.3) ** 2


def study(n: int = 24, kind: str = "resumable", **more) -> Study:
    """Runs that were frozen early and fall towards an end which x decides, and y does not."""
    rng, trials = np.random.default_rng(0), []
    for i in range(n):
        x, y = rng.random(2)
        steps = range(1, 8 + i % 8)
        curve = tuple((step, end(x) + np.exp(-step / 4) + 0.002 * rng.standard_normal()) for step in steps)
        trials.append(Trial(i, {"x": x, "y": y}, TrialState.PAUSED, curves={"loss": curve}, last_step=len(curve)))
    return Study(Definition(PLANE, (LOSS,), Resource("epoch", LAST, kind=kind), **more), tuple(trials))


def test_every_begun_run_is_finished_where_it_is_believed_to_end():
    ended, count = as_foretold(study())
    assert count == 24
    assert {trial.state for trial in ended.trials} == {TrialState.COMPLETED}
    errors = [trial.values["loss"] - end(trial.params["x"]) for trial in ended.trials]
    assert np.sqrt(np.mean(np.square(errors))) < 0.12
    assert all(trial.sems["loss"] > 0 for trial in ended.trials)


def test_finished_excluded_and_unmeasured_trials_stay_as_they_are():
    before = study(n=12)
    done, out, new, wild = (
        replace(before.trials[0], state=TrialState.COMPLETED),
        replace(before.trials[1], excluded=True),
        replace(before.trials[2], curves={}, last_step=0),
        replace(before.trials[3], curves={"loss": ((1, float("nan")),)}),
    )
    ended, count = as_foretold(replace(before, trials=(done, out, new, wild, *before.trials[4:])))
    assert count == 8
    assert ended.trials[:4] == (done, out, new, wild)


def test_nothing_is_foretold_where_runs_start_anew():
    anew = study(kind="restart")
    assert as_foretold(anew) == (anew, 0)


def test_constrained_metrics_are_foretold_too():
    seen = study(n=10, outcome_constraints=(OutcomeConstraint("ms", 5.0),))
    trials = [
        replace(t, curves={**t.curves, "ms": tuple((s, 1.0 + t.params["y"]) for s, _ in t.curves["loss"])})
        for t in seen.trials
    ]
    ended, _ = as_foretold(replace(seen, trials=tuple(trials)))
    assert [set(trial.values) for trial in ended.trials] == [{"loss", "ms"}] * 10


def test_importances_and_slices_are_had_before_anything_has_finished():
    found = importances(study())
    assert (found["foretold"], found["observations"]) == (24, 24)
    assert found["importances"]["x"] > 0.8
    along = slices(study(), ["x"], resolution=11)
    assert along["foretold"] == 24
    axis, means = along["axes"][0]["values"], along["metrics"]["loss"]["mean"]
    assert abs(axis[int(np.argmin(means))] - 0.3) < 0.2


def test_ten_trials_are_still_needed():
    with pytest.raises(Conflict, match="10 finished trials"):
        importances(study(n=6))
