"""A schedule as a parameter: numbers for the model, one value for everybody else."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import SpaceInvalid
from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import build
from frazil_tuner.schedules import Schedule
from frazil_tuner.space import Space
from frazil_tuner.space.kinds.scheduled import SUGGESTED

LR = {"name": "lr", "type": "float", "low": 1e-5, "high": 0.1, "log": True}
FEW = {"name": "s", "type": "schedule", "kinds": ["linear", "wsd"], "peak": "lr", "warmup": [0, 0.2], "total": 50}
ALL = {**FEW, "kinds": list(SUGGESTED), "final": [0.0, 0.1]}


def space(*items: dict[str, Any]) -> Space:
    return Space.from_json(list(items))


def fault(item: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(SpaceInvalid) as refusal:
        space(LR, {"name": "s", "type": "schedule", "total": 50, **item})
    (problem,) = refusal.value.problems
    return problem.pointer, problem.detail


def test_a_point_has_the_value_and_the_cube_the_numbers() -> None:
    few = space(LR, FEW)
    assert few.dimension == 4  # lr, kind, warm-up, decay
    point = few.decode(np.array([0.5, 0.9, 0.5, 0.5]))
    assert set(point) == {"lr", "s"}
    assert point["s"] == {
        "kind": "wsd", "total_steps": 50, "warmup_steps": 5, "final": 0, "decay_steps": 13.75, "decay_shape": "linear",
        "peak": point["lr"],
    }  # fmt: skip
    assert few.is_conditional


@pytest.mark.parametrize("item", [FEW, ALL, {**FEW, "total": 123_457}, {**FEW, "total": 3}])
def test_points_survive_the_way_to_the_cube_and_back(item: dict[str, Any]) -> None:
    here, rng = space(LR, item), np.random.default_rng(0)
    for _ in range(200):
        point = here.draw(rng)
        assert here.decode(here.encode(point)) == point
        assert here.check(json.loads(json.dumps(point))) == point
        assert Schedule.of(point["s"]).peak == point["lr"]


def test_the_description_survives_and_so_do_pickles() -> None:
    here = space(LR, ALL)
    assert Space.from_json(here.to_json()) == here
    assert [item["name"] for item in here.to_json()] == ["lr", "s"]
    assert pickle.loads(pickle.dumps(here)) == here


def test_different_schedules_are_different_points() -> None:
    here, rng = space(LR, ALL), np.random.default_rng(0)
    points = [here.draw(rng) for _ in range(50)]
    assert len({here.key(point) for point in points}) == 50
    assert here.key(points[0]) == here.key(json.loads(json.dumps(points[0])))


def test_numbers_that_its_kind_lacks_are_not_active() -> None:
    few = space(LR, FEW)
    linear, wsd = (few.check({"lr": 0.01, "s": {"kind": kind, "warmup": 0.1}}) for kind in ("linear", "wsd"))
    active = few.active(few.encode_many([linear, wsd]))
    assert active.tolist() == [[True, True, True, False], [True, True, True, True]]


def test_a_value_given_from_outside_may_leave_out_what_it_can() -> None:
    point = space(LR, FEW).check({"lr": 0.01, "s": {"kind": "wsd", "warmup": 0.1, "decay_steps": 10}})
    assert (point["s"]["warmup_steps"], point["s"]["decay_steps"], point["s"]["peak"]) == (5, 10, 0.01)


@pytest.mark.parametrize(
    ("value", "at", "words"),
    [
        (5, "/s", "must be a schedule such as"),
        ({"kind": "warp"}, "/s", "is unknown"),
        ({"kind": "cosine"}, "/s", "linear or wsd"),
        ({"kind": "linear", "warmup_steps": 60}, "/s", "warm up for less"),
        ({"kind": "linear", "warmup": 0.5}, "/s/warmup", "0.2"),
        ({"kind": "linear", "peak": 0.5}, "/s", "leave the peak out"),
        ({"kind": "linear", "total_steps": 60}, "/s", "leave them out"),
    ],
)
def test_a_value_outside_the_space_is_refused_where_it_is_wrong(value: Any, at: str, words: str) -> None:
    with pytest.raises(SpaceInvalid) as refusal:
        space(LR, FEW).check({"lr": 0.01, "s": value})
    (problem,) = refusal.value.problems
    assert problem.pointer == at
    assert words in problem.detail


def test_a_table_is_taken_as_it_is_and_read_as_the_schedule_most_like_it() -> None:
    here = space(LR, ALL)
    falling = {"kind": "table", "multipliers": np.linspace(1, 0, 50).tolist()}
    point = here.check({"lr": 0.01, "s": falling})
    assert point["s"]["kind"] == "table"
    assert point["s"]["peak"] == 0.01
    straight = here.check({"lr": 0.01, "s": {"kind": "linear"}})
    apart = np.abs(here.encode(point) - here.encode(straight))
    assert here.with_parts(point)["s/kind"] in ("linear", "polynomial")
    assert apart[0] == 0
    assert here.key(point) != here.key(straight)


def test_one_that_is_switched_off_is_not_there() -> None:
    optimizer = {"name": "optimizer", "type": "categorical", "choices": ["sgd", "free"]}
    here = space(optimizer, LR, {**FEW, "when": {"optimizer": ["sgd"]}})
    assert set(here.check({"optimizer": "free", "lr": 0.01})) == {"optimizer", "lr"}
    with pytest.raises(SpaceInvalid, match="not active"):
        here.check({"optimizer": "free", "lr": 0.01, "s": {"kind": "linear"}})
    drawn = [here.draw(np.random.default_rng(i)) for i in range(20)]
    assert {("s" in point) == (point["optimizer"] == "sgd") for point in drawn} == {True}


def test_a_peak_that_is_not_there_is_left_out() -> None:
    optimizer = {"name": "optimizer", "type": "categorical", "choices": ["sgd", "free"]}
    here = space(optimizer, {**LR, "when": {"optimizer": ["sgd"]}}, FEW)
    assert "peak" not in here.check({"optimizer": "free", "s": {"kind": "linear"}})["s"]


@pytest.mark.parametrize(
    ("item", "at", "words"),
    [
        ({"kinds": []}, "/1/kinds", "at least one"),
        ({"kinds": ["table"]}, "/1/kinds/0", "what can be suggested is"),
        ({"total": None}, "/1/total", "give the study a resource"),
        ({"total": -3}, "/1/total", "above 0"),
        ({"peak": "nobody"}, "/1/peak", "a float parameter that comes before"),
        ({"warmup": [0.2, 0.1]}, "/1/warmup", "the lower end first"),
        ({"warmup": 1.5}, "/1/warmup", "between 0 and 0.9"),
        ({"warmup": "x"}, "/1/warmup", "must be a number"),
        ({"kinds": ["wsd"], "warmup": [0, 0.6], "decay": [0.1, 0.5]}, "/1/decay", "more than the whole run"),
        ({"prior": {"kind": "linear"}}, "/1/prior", "not tuned"),
        ({"bend": 3}, "/1/bend", "unknown key"),
    ],
)
def test_a_faulty_description_is_refused(item: dict[str, Any], at: str, words: str) -> None:
    pointer, detail = fault(item)
    assert pointer == at
    assert words in detail


def test_nothing_hangs_on_a_schedule_and_it_does_not_change_in_mid_study() -> None:
    with pytest.raises(SpaceInvalid, match="is computed"):
        space(LR, FEW, {"name": "x", "type": "bool", "when": {"s": ["linear"]}})
    with pytest.raises(SpaceInvalid, match="narrow its ranges"):
        Space.from_json([LR, FEW], ["s <= 3"])
    with pytest.raises(SpaceInvalid, match="cannot change in mid-study"):
        space(LR, FEW).edited([{"name": "s", "kinds": ["linear", "wsd", "cosine"]}])
    assert space(LR, FEW).edited([{"name": "lr", "high": 1.0}]).to_json()[1]["name"] == "s"


@pytest.mark.parametrize("name", ["random", "sobol", "tpe", "bayes", "freeze_thaw", "cem", "nsga2", "grid"])
def test_policies_suggest_schedules(name: str) -> None:
    definition = Definition(space(LR, FEW), (Objective("loss"),), Resource("epoch", 50))
    rng = np.random.default_rng(0)
    trials = []
    for i in range(12):
        params = definition.space.draw(rng)
        curve = tuple((step, abs(np.log10(params["lr"]) + 3) + 1 / step) for step in range(1, 51))
        trials.append(Trial(i, params, TrialState.COMPLETED, {"loss": curve}, {"loss": curve[-1][1]}, last_step=50))
    found = build({"name": name}, definition).suggest(Study(definition, tuple(trials)), 3, 0)
    assert len(found) == 3
    for start in found:
        assert definition.space.check(start.params) == start.params
        assert Schedule.of(start.params["s"]).peak == start.params["lr"]
