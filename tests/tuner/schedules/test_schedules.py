"""A schedule means the same everywhere, and its faults are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from frazil_tuner.errors import Refused
from frazil_tuner.schedules import KINDS, Schedule

GOLDEN = json.loads((Path(__file__).parents[2] / "contracts" / "schedules.json").read_text())
EVERY = [vector["schedule"] for vector in GOLDEN]


def named(vector: dict[str, Any]) -> str:
    return "-".join(str(value) for value in vector["schedule"].values())[:60]


@pytest.mark.parametrize("vector", GOLDEN, ids=named)
def test_multipliers_are_those_of_the_golden_vectors(vector: dict[str, Any]) -> None:
    found = Schedule.of(vector["schedule"]).multipliers(vector["steps"])
    assert found == pytest.approx(vector["multipliers"], rel=1e-12, abs=1e-12)


def test_there_are_golden_vectors_of_every_kind() -> None:
    assert {schedule["kind"] for schedule in EVERY} == set(KINDS)


@pytest.mark.parametrize("described", EVERY, ids=lambda described: described["kind"])
def test_what_is_written_is_read_again(described: dict[str, Any]) -> None:
    schedule = Schedule.of({**described, "peak": 0.25})
    assert Schedule.of(json.loads(json.dumps(schedule.to_json()))) == schedule


shares = st.floats(0, 0.9)


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    total = draw(st.floats(1.5, 1e6))
    described = {
        "kind": draw(st.sampled_from([kind for kind in KINDS if kind not in ("piecewise", "table")])),
        "total_steps": total,
        "warmup": draw(st.floats(0, 0.45)),
    }
    extras = {
        "final": draw(st.floats(1e-3, 1)),
        "power": draw(st.floats(0.1, 5)),
        "gamma": draw(st.floats(0.01, 1)),
        "decay": draw(st.floats(0.01, 0.5)),
        "cycle": draw(st.floats(0.01, 1)),
        "growth": draw(st.floats(1, 3)),
    }
    steps = {"decay": "decay_steps", "cycle": "cycle_steps"}
    fields = KINDS[described["kind"]].fields
    return described | {name: value for name, value in extras.items() if steps.get(name, name) in fields}


@settings(max_examples=200, deadline=None)
@given(schedules(), st.lists(st.floats(0, 2e6), min_size=1, max_size=20))
def test_multipliers_are_finite_between_0_and_1_and_know_no_past(described: dict[str, Any], steps: list[float]) -> None:
    schedule = Schedule.of(described)
    together = schedule.multipliers(steps)
    assert np.isfinite(together).all()
    assert (together >= 0).all()
    assert (together <= 1 + 1e-12).all()
    resumed = [float(schedule.multipliers([step])[0]) for step in reversed(steps)]
    assert together[::-1] == pytest.approx(resumed)


@settings(max_examples=100, deadline=None)
@given(schedules())
def test_a_warm_up_rises_and_the_end_stays(described: dict[str, Any]) -> None:
    schedule = Schedule.of(described)
    warmup = schedule.options["warmup_steps"]
    rising = schedule.multipliers(np.linspace(0, warmup, 50, endpoint=False)) if warmup else np.zeros(1)
    assert (np.diff(rising) >= 0).all()
    end, beyond = schedule.multipliers([schedule.total_steps, 3 * schedule.total_steps])
    assert end == pytest.approx(beyond) or not KINDS[schedule.kind].ends


@settings(max_examples=50, deadline=None)
@given(schedules(), st.floats(1, 1000))
def test_a_scaled_schedule_is_the_same_in_other_steps(described: dict[str, Any], factor: float) -> None:
    schedule = Schedule.of({**described, "warmup": 0.0})
    assume(schedule.kind not in ("step", "sgdr"))  # which jump, and where is rounded
    steps = np.linspace(0, 1.2 * schedule.total_steps, 17)
    assert schedule.scaled(factor).multipliers(factor * steps) == pytest.approx(
        schedule.multipliers(steps), rel=1e-4, abs=1e-4
    )


def test_values_are_the_peak_times_the_multipliers_and_rounded_where_it_is_said() -> None:
    lr = Schedule.of({"kind": "linear", "total_steps": 4, "peak": 0.2})
    assert lr.values([0, 1, 4]) == pytest.approx([0.2, 0.15, 0.0])
    batch = Schedule.of({"kind": "step", "milestones": [2], "gamma": 0.4, "total_steps": 4, "peak": 80, "round": 16})
    assert batch.values([0, 3]).tolist() == [80, 32]
    assert Schedule.of({"total_steps": 4, "peak": 80, "round": 16}).values([4]).tolist() == [16]
    assert Schedule.of({"total_steps": 4}).values([1]) == pytest.approx([0.75])


def test_a_schedule_without_a_kind_is_linear() -> None:
    assert Schedule.of({"total_steps": 10}).kind == "linear"


# ── longer runs ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("described", "at", "expected"),
    [
        ({"kind": "linear"}, 100, 0.5),
        ({"kind": "constant"}, 150, 1.0),
        ({"kind": "inverse_sqrt", "timescale_steps": 10}, 190, np.sqrt(10 / 200)),
        ({"kind": "wsd", "decay_steps": 20}, 180, 1.0),
        ({"kind": "wsd", "decay_steps": 20}, 190, 0.5),
        ({"kind": "step", "milestones": [50], "gamma": 0.5}, 99, 1.0),
        ({"kind": "sgdr", "cycle_steps": 50}, 150, 1.0),
        ({"kind": "piecewise", "points": [[0, 1.0], [100, 0.25]]}, 180, 0.25),
        ({"kind": "table", "multipliers": [1.0, 0.5, 0.25], "every": 50}, 180, 0.25),
    ],
)
def test_a_longer_run_has_the_tail_that_its_kind_says(described: dict[str, Any], at: float, expected: float) -> None:
    longer = Schedule.of({**described, "total_steps": 100}).extended(200)
    assert longer.total_steps == 200
    assert longer.multipliers([at])[0] == pytest.approx(expected)


def test_a_run_that_would_end_before_its_warm_up_is_refused() -> None:
    with pytest.raises(Refused, match="warm up for less"):
        Schedule.of({"warmup_steps": 50, "total_steps": 100}).extended(40)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("described", "field", "words"),
    [
        (7, "", "must be an object"),
        ({"kind": "linear"}, "/total_steps", "is missing"),
        ({"kind": "linear", "total_steps": 0}, "/total_steps", "must be above 0"),
        ({"kind": "linear", "total_steps": float("nan")}, "/total_steps", "finite"),
        ({"kind": "linear", "total_steps": True}, "/total_steps", "finite number"),
        ({"kind": "warp", "total_steps": 9}, "/kind", "there are constant"),
        ({"kind": ["x"], "total_steps": 9}, "/kind", "is unknown"),
        ({"total_steps": 9, "warmup_steps": 9}, "/warmup_steps", "warm up for less"),
        ({"total_steps": 9, "warmup": 1.0}, "/warmup", "warm up for less"),
        ({"total_steps": 9, "warmup": 0.1, "warmup_steps": 1}, "/warmup", "give one of them"),
        ({"total_steps": 9, "final": -0.1}, "/final", "at least 0"),
        ({"total_steps": 9, "power": 2}, "/power", "is no field of this kind"),
        ({"total_steps": 9, "peak": 0}, "/peak", "above 0"),
        ({"kind": "exponential", "total_steps": 9, "final": 0}, "/final", "never comes to 0"),
        ({"kind": "wsd", "total_steps": 9, "warmup_steps": 5, "decay_steps": 5}, "/decay_steps", "shorten one"),
        ({"kind": "wsd", "total_steps": 9, "decay_steps": 0}, "/decay_steps", "more than 0"),
        ({"kind": "wsd", "total_steps": 9, "decay_shape": "square"}, "/decay_shape", "linear, cosine, sqrt"),
        ({"kind": "step", "total_steps": 9, "milestones": [5, 5]}, "/milestones", "ascend"),
        ({"kind": "step", "total_steps": 9, "milestones": [-1]}, "/milestones/0", "not negative"),
        ({"kind": "step", "total_steps": 9, "milestones": "x"}, "/milestones", "must be a list"),
        ({"kind": "piecewise", "total_steps": 9}, "/points", "pairs"),
        ({"kind": "piecewise", "total_steps": 9, "points": [[0, 1], [0, 2]]}, "/points", "ascending"),
        ({"kind": "piecewise", "total_steps": 9, "points": [[0, float("inf")]]}, "/points", "finite"),
        ({"kind": "table", "total_steps": 9}, "/multipliers", "is missing"),
        ({"kind": "table", "total_steps": 9, "multipliers": [1, 0.5]}, "/multipliers", "give 9 of them"),
        ({"kind": "table", "total_steps": 9, "multipliers": [1, None], "every": 8}, "/multipliers/1", "finite"),
    ],
)
def test_a_fault_is_named_with_the_remedy(described: Any, field: str, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        Schedule.of(described)
    assert [problem.pointer for problem in refusal.value.problems] == [field]
    assert words in refusal.value.problems[0].detail
    assert refusal.value.code == "schedule_invalid"
