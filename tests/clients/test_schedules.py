"""Schedules in the client mean what they mean in the server, without numpy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import frazil
from frazil_tuner.schedules import Schedule, refined

GOLDEN = json.loads((Path(__file__).parents[1] / "contracts" / "schedules.json").read_text())
NORMS = [math.exp(-i / 30) + 0.3 + 0.1 * math.sin(7 * i) for i in range(257)]


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["schedule"]["kind"])
def test_multipliers_are_those_of_the_golden_vectors(vector):
    canonical = Schedule.of(vector["schedule"]).to_json()
    for described in (vector["schedule"], canonical):
        found = [frazil.schedules.multiplier(described, step) for step in vector["steps"]]
        assert found == pytest.approx(vector["multipliers"], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["schedule"]["kind"])
def test_between_steps_and_in_other_units_it_is_what_the_server_says(vector):
    schedule = Schedule.of(vector["schedule"])
    for step in (0.25, 99.5, 123.4, 777.7, 1000.0):
        assert frazil.schedules.multiplier(vector["schedule"], step) == pytest.approx(schedule.multipliers([step])[0])
    longer = frazil.schedules.scaled(schedule.to_json(), 8)
    assert longer == schedule.scaled(8).to_json()


def test_values_have_the_peak_and_are_rounded():
    batch = {"kind": "step", "milestones": [2], "gamma": 0.4, "total_steps": 4, "peak": 80, "round": 16}
    assert [frazil.schedules.value(batch, step) for step in (0, 3)] == [80, 32]
    assert frazil.schedules.value({"total_steps": 4}, 1) == 0.75


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_refining_is_what_the_server_does(norm):
    here = frazil.schedules.refine(NORMS, norm=norm, peak=0.1, total_steps=1000, entries=90)
    there = refined(NORMS, norm=norm, peak=0.1, total_steps=1000, entries=90)
    assert Schedule.of(here).multipliers(range(1000)) == pytest.approx(there.multipliers(range(1000)), abs=1e-12)
    assert Schedule.of(here).peak == there.peak == 0.1


@pytest.mark.parametrize(
    ("norms", "words"),
    [([1.0], "at least 10"), ([1.0] * 12, '"linear"'), ([*NORMS, math.nan], "norm 257"), ([0.0, *NORMS], "norm 0")],
)
def test_norms_that_teach_nothing_are_refused(norms, words):
    with pytest.raises(ValueError, match=words):
        frazil.schedules.refine(norms)


@pytest.mark.parametrize(
    ("schedule", "words"), [({"kind": "warp", "total_steps": 3}, "there are constant"), ({"kind": "linear"}, "lacks")]
)
def test_what_is_no_schedule_is_refused(schedule, words):
    with pytest.raises(ValueError, match=words):
        frazil.schedules.multiplier(schedule, 0)


def test_a_multiplier_is_called_with_optimizer_steps():
    m = frazil.schedules.Multiplier({"kind": "linear", "total_steps": 10}, steps_per_unit=100)
    assert [m(0), m(500), m(2000)] == [1.0, 0.5, 0.0]
