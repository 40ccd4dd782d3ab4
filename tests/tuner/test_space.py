"""The search space: reading, refusing, encoding, counting."""

from __future__ import annotations

import math
import pickle
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from frazil_tuner.errors import SpaceInvalid
from frazil_tuner.space import Column, Space

MODEL = [
    {"name": "optimizer", "type": "categorical", "choices": ["adamw", "lion", "sgd"]},
    {"name": "lr", "type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    {
        "name": "beta2",
        "type": "float",
        "low": 0.9,
        "high": 0.9999,
        "log": "complement",
        "when": {"optimizer": ["adamw"]},
    },
    {"name": "layers", "type": "int", "low": 1, "high": 8},
    {"name": "units", "type": "int", "low": 16, "high": 1024, "log": True, "step": 16},
    {"name": "width", "type": "ordinal", "values": [64, 128, 256, 512]},
    {"name": "nesterov", "type": "bool", "when": {"optimizer": ["sgd", "lion"]}},
    {"name": "momentum", "type": "float", "low": 0, "high": 1, "when": {"nesterov": [True], "layers": [1, 2, 3, 4]}},
    {"name": "seed", "type": "fixed", "value": 0, "when": {"optimizer": ["lion"]}},
]

seeds = st.integers(0, 2**32 - 1)
bounds = st.floats(-1e9, 1e9)
scalars = st.one_of(
    st.text(max_size=5).filter(lambda s: s.isprintable()), st.integers(2, 10**6), st.booleans(), st.none()
)


@st.composite
def floats(draw: st.DrawFn) -> dict[str, Any]:
    log = draw(st.sampled_from([False, True, "complement"]))
    ends = {
        False: bounds,
        True: st.floats(1e-140, 1e140),
        "complement": st.floats(0, 1 - 1e-9),
    }[log]
    low, high = sorted([draw(ends), draw(ends)])
    assume(low < high and (log != "complement" or 1 - low > 1 - high))
    return {"type": "float", "low": low, "high": high, "log": log}


@st.composite
def ints(draw: st.DrawFn) -> dict[str, Any]:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -(10**11), 10**11))
    step = draw(st.integers(1, 10**6))
    return {"type": "int", "low": low, "high": low + step * draw(st.integers(1, 10**5)), "log": log, "step": step}


@st.composite
def lists(draw: st.DrawFn) -> dict[str, Any]:
    kind, key = draw(st.sampled_from([("categorical", "choices"), ("ordinal", "values")]))
    return {"type": kind, key: draw(st.lists(scalars, min_size=1, max_size=6, unique=True))}


kinds = st.one_of(
    floats(), ints(), lists(), st.just({"type": "bool"}), scalars.map(lambda v: {"type": "fixed", "value": v})
)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to six parameters, some of them conditional on earlier discrete ones."""
    items: list[dict[str, Any]] = []
    for i in range(draw(st.integers(1, 6))):
        item = {"name": f"p{i}", **draw(kinds)}
        parents = [other for other in items if "choices" in other or "values" in other or other["type"] == "bool"]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            options = parent.get("choices") or parent.get("values") or [False, True]
            item["when"] = {parent["name"]: draw(st.lists(st.sampled_from(options), min_size=1, unique=True))}
        items.append(item)
    return Space.from_json(items)


def problems_of(items: object) -> dict[str, str]:
    with pytest.raises(SpaceInvalid) as caught:
        Space.from_json(items)
    return {problem.pointer: problem.detail for problem in caught.value.problems}


def faults_of(params: object) -> dict[str, str]:
    with pytest.raises(SpaceInvalid) as caught:
        Space.from_json(MODEL).check(params)
    return {problem.pointer: problem.detail for problem in caught.value.problems}


class TestRoundTrips:
    @given(spaces(), seeds)
    def test_a_drawn_point_survives_the_way_to_the_cube_and_back(self, space: Space, seed: int) -> None:
        point = space.draw(np.random.default_rng(seed))
        assert space.decode(space.encode(point)) == point

    @given(spaces(), seeds)
    def test_a_drawn_point_is_admitted_as_it_is(self, space: Space, seed: int) -> None:
        point = space.draw(np.random.default_rng(seed))
        admitted = space.check(point)
        assert admitted == point
        assert list(map(type, admitted.values())) == list(map(type, point.values()))

    @given(spaces(), seeds)
    def test_encodings_lie_in_the_cube_and_are_their_own_snap(self, space: Space, seed: int) -> None:
        row = space.encode(space.draw(np.random.default_rng(seed)))
        assert row.shape == (space.dimension,)
        assert np.all((row >= 0) & (row <= 1))
        assert np.allclose(space.snap(row[None])[0], row, atol=1e-12)

    @given(spaces(), seeds)
    def test_snapping_any_row_leads_where_decoding_it_leads(self, space: Space, seed: int) -> None:
        rows = np.random.default_rng(seed).random((3, space.dimension))
        discrete = [i for i, column in enumerate(space.columns) if column is not Column.CONTINUOUS]
        for row, snapped in zip(rows, space.snap(rows), strict=True):
            assert space.decode(snapped) == space.decode(row)
            assert np.array_equal(snapped[discrete], space.encode(space.decode(row))[discrete])

    @given(spaces())
    def test_a_space_equals_what_its_json_describes(self, space: Space) -> None:
        assert Space.from_json(space.to_json()) == space
        assert pickle.loads(pickle.dumps(space)) == space
        assert hash(Space.from_json(space.to_json())) == hash(space)

    @given(spaces(), seeds)
    def test_neighbours_differ_and_stay_in_the_space(self, space: Space, seed: int) -> None:
        row = space.encode(space.draw(np.random.default_rng(seed)))
        for neighbour in space.neighbours(row):
            point = space.decode(neighbour)
            assert space.check(point) == point
            assert space.key(point) != space.key(space.decode(row))

    @pytest.mark.parametrize("value", [1e-5, 3e-4, 0.001, 0.01, 0.0123456, 1e-1])
    def test_round_numbers_given_by_people_stay_what_they_are(self, value: float) -> None:
        space = Space.from_json([{"name": "lr", "type": "float", "low": 1e-5, "high": 1e-1, "log": True}])
        assert space.decode(space.encode({"lr": value})) == {"lr": value}

    def test_the_ends_of_a_range_are_the_ends_of_the_unit_interval(self) -> None:
        for log in (False, True, "complement"):
            space = Space.from_json([{"name": "x", "type": "float", "low": 0.25, "high": 0.75, "log": log}])
            assert space.encode({"x": 0.25}) == pytest.approx([0.0])
            assert space.encode({"x": 0.75}) == pytest.approx([1.0])

    def test_scales_put_their_own_middle_at_one_half(self) -> None:
        middle = {False: (0.0, 4.0, 2.0), True: (1e-4, 1e-2, 1e-3), "complement": (0.9, 0.999, 0.99)}
        for log, (low, high, half) in middle.items():
            space = Space.from_json([{"name": "x", "type": "float", "low": low, "high": high, "log": log}])
            assert space.decode(np.array([0.5])) == {"x": pytest.approx(half)}


class TestDraws:
    def test_every_choice_and_every_int_is_drawn_equally_often(self) -> None:
        space = Space.from_json(
            [
                {"name": "c", "type": "categorical", "choices": list("abc")},
                {"name": "i", "type": "int", "low": -1, "high": 1},
            ]
        )
        rng = np.random.default_rng(0)
        drawn = [tuple(space.draw(rng).values()) for _ in range(9_000)]
        counts = [drawn.count((c, i)) for c in "abc" for i in (-1, 0, 1)]
        assert all(850 < count < 1_150 for count in counts)

    def test_log_ints_are_even_in_logarithm(self) -> None:
        space = Space.from_json([{"name": "n", "type": "int", "low": 1, "high": 1000, "log": True}])
        rng = np.random.default_rng(0)
        below = np.mean([space.draw(rng)["n"] <= 31 for _ in range(4_000)])
        assert 0.5 < below < 0.6

    def test_only_active_parameters_are_drawn(self) -> None:
        space, rng = Space.from_json(MODEL), np.random.default_rng(1)
        for point in (space.draw(rng) for _ in range(200)):
            assert ("beta2" in point) is (point["optimizer"] == "adamw")
            assert ("nesterov" in point) is (point["optimizer"] != "adamw")
            assert ("momentum" in point) is (point.get("nesterov", False) and point["layers"] <= 4)
            assert ("seed" in point) is (point["optimizer"] == "lion")

    def test_keys_tell_points_apart_and_only_those(self) -> None:
        space, rng = Space.from_json(MODEL), np.random.default_rng(2)
        points = [space.draw(rng) for _ in range(50)]
        assert len({space.key(point) for point in points}) == 50
        assert space.key(dict(reversed(points[0].items()))) == space.key(points[0])


class TestColumns:
    def test_columns_say_what_a_model_may_make_of_them(self) -> None:
        ordered, unordered, continuous = Column.ORDERED, Column.UNORDERED, Column.CONTINUOUS
        expected = (unordered, continuous, continuous, ordered, ordered, ordered, unordered, continuous)
        assert Space.from_json(MODEL).columns == expected
        assert Space.from_json(MODEL).dimension == 8

    def test_columns_of_inactive_parameters_are_the_centre(self) -> None:
        space = Space.from_json(MODEL)
        point = {"optimizer": "adamw", "lr": 1e-3, "beta2": 0.99, "layers": 1, "units": 16, "width": 64}
        row = space.encode(point)
        assert row[6:].tolist() == [0.5, 0.5]
        assert space.active(row[None])[0].tolist() == [True] * 6 + [False] * 2

    def test_switching_a_parent_brings_its_children_back(self) -> None:
        space = Space.from_json(MODEL)
        row = space.encode({"optimizer": "adamw", "lr": 1e-3, "beta2": 0.99, "layers": 1, "units": 16, "width": 64})
        optimizers = {space.decode(neighbour)["optimizer"] for neighbour in space.neighbours(row)}
        assert optimizers == {"adamw", "lion", "sgd"}
        assert any("nesterov" in space.decode(neighbour) for neighbour in space.neighbours(row))


class TestCounting:
    @pytest.mark.parametrize(
        ("items", "count"),
        [
            ([{"name": "f", "type": "fixed", "value": 1}], 1),
            ([{"name": "b", "type": "bool"}, {"name": "i", "type": "int", "low": 2, "high": 10, "step": 4}], 6),
            ([{"name": "x", "type": "float", "low": 0, "high": 1}], None),
            ([{"name": f"b{i}", "type": "bool"} for i in range(100)], 2**100),
        ],
    )
    def test_unconditional_spaces_multiply(self, items: list[dict[str, Any]], count: int | None) -> None:
        assert Space.from_json(items).cardinality == count

    def test_conditional_points_are_counted_where_they_are_active(self) -> None:
        space = Space.from_json(
            [
                {"name": "a", "type": "int", "low": 0, "high": 9},
                {"name": "b", "type": "categorical", "choices": ["x", "y", "z"], "when": {"a": [3, 4]}},
                {"name": "c", "type": "ordinal", "values": [1, 2], "when": {"b": ["x"]}},
                {"name": "d", "type": "bool"},
            ]
        )
        points = list(space.grid(None))
        assert space.cardinality == len(points) == 2 * (8 + 2 * (2 + 2))
        assert len({space.key(point) for point in points}) == len(points)

    @given(spaces())
    def test_the_count_is_the_number_of_grid_points(self, space: Space) -> None:
        count = space.cardinality
        assume(count is not None and count <= 2_000)
        assert len({space.key(point) for point in space.grid(None)}) == count

    def test_a_continuum_that_no_choice_reaches_does_not_count(self) -> None:
        space = Space.from_json(
            [
                {"name": "a", "type": "categorical", "choices": ["x", "y"]},
                {"name": "b", "type": "bool", "when": {"a": ["x"]}},
                {"name": "c", "type": "float", "low": 0, "high": 1, "when": {"a": ["y"], "b": [True]}},
            ]
        )
        assert space.cardinality == 3
        assert len(list(space.grid(None))) == 3


class TestGrids:
    def test_a_grid_has_both_ends_of_every_numeric_axis(self) -> None:
        space = Space.from_json(
            [
                {"name": "x", "type": "float", "low": 1, "high": 100, "log": True},
                {"name": "i", "type": "int", "low": 0, "high": 100},
                {"name": "w", "type": "ordinal", "values": [1, 2, 4, 8, 16]},
            ]
        )
        grid = list(space.grid(3))
        assert len(grid) == 27
        assert [point["x"] for point in grid[::9]] == [1, 10, 100]
        assert [point["i"] for point in grid[:9:3]] == [0, 50, 100]
        assert [point["w"] for point in grid[:3]] == [1, 4, 16]

    def test_a_resolution_of_one_takes_the_middle(self) -> None:
        space = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}, {"name": "b", "type": "bool"}])
        assert list(space.grid(1)) == [{"x": 0.5, "b": False}, {"x": 0.5, "b": True}]

    def test_a_grid_is_walked_lazily_and_in_order(self) -> None:
        space = Space.from_json([{"name": f"x{i}", "type": "float", "low": 0, "high": 1} for i in range(50)])
        keys = [tuple(point.values()) for point in islice(space.grid(9), 40)]
        assert all(a < b for a, b in pairwise(keys))

    def test_a_continuum_has_no_list_of_all_its_points(self) -> None:
        with pytest.raises(ValueError, match="continuum"):
            next(Space.from_json(MODEL).grid(None))


class TestCheck:
    POINT = {"optimizer": "sgd", "lr": 1e-3, "layers": 2, "units": 32, "width": 64, "nesterov": True, "momentum": 1}

    def test_values_become_canonical(self) -> None:
        admitted = Space.from_json(MODEL).check({**self.POINT, "layers": 2.0, "lr": 0.01})
        assert admitted == {**self.POINT, "layers": 2, "lr": 0.01}
        assert [type(admitted[name]) for name in ("layers", "momentum")] == [int, float]

    def test_fixed_values_are_filled_in_where_they_are_active(self) -> None:
        lion = {**self.POINT, "optimizer": "lion"}
        assert Space.from_json(MODEL).check(lion)["seed"] == 0
        assert Space.from_json(MODEL).check({**lion, "seed": 0})["seed"] == 0

    @pytest.mark.parametrize(
        ("change", "detail"),
        [
            ({"lr": "0.1"}, "must be a number"),
            ({"lr": True}, "must be a number"),
            ({"lr": math.nan}, "finite"),
            ({"lr": 1.0}, "between"),
            ({"lr": None}, "must be a number"),
            ({"layers": 2.5}, "whole number"),
            ({"layers": "2"}, "must be a number"),
            ({"units": 33}, "32 or 48"),
            ({"width": 100}, "64 or 128"),
            ({"nesterov": 1}, "False or True"),
            ({"optimizer": "adam"}, "'adamw' or 'lion' or 'sgd'"),
            ({"beta2": 0.99}, "not active"),
            ({"seed": 0}, "not active"),
            ({"lrr": 0.1}, "no such parameter"),
        ],
    )
    def test_a_value_that_does_not_fit_is_named(self, change: dict[str, Any], detail: str) -> None:
        (name,) = change
        faults = faults_of({**self.POINT, **change})
        assert detail in faults[f"/{name}"]

    def test_every_missing_parameter_is_named_at_once(self) -> None:
        assert set(faults_of({"optimizer": "adamw"})) == {"/lr", "/beta2", "/layers", "/units", "/width"}

    def test_params_that_are_no_object_are_refused(self) -> None:
        assert set(faults_of([1, 2])) == {""}


class TestRefusals:
    @pytest.mark.parametrize(
        ("item", "field", "detail"),
        [
            ({"type": "float", "low": math.nan, "high": 1}, "low", "finite"),
            ({"type": "float", "low": 0, "high": math.inf}, "high", "finite"),
            ({"type": "float", "low": -1e200, "high": 0}, "low", "between -1e150 and 1e150"),
            ({"type": "float", "low": 2, "high": 1}, "low", "below high"),
            ({"type": "float", "low": 1, "high": 1}, "low", 'use type "fixed"'),
            ({"type": "float", "low": 0, "high": 1, "log": True}, "low", "log scale"),
            ({"type": "float", "low": -1, "high": 0.5, "log": "complement"}, "low", "at least 0"),
            ({"type": "float", "low": 0, "high": 1, "log": "complement"}, "high", "below 1"),
            ({"type": "float", "low": 0, "high": 1e-17, "log": "complement"}, "low", "too near"),
            ({"type": "float", "low": 0, "high": 1, "log": "yes"}, "log", "must be one of false, true"),
            ({"type": "float", "low": 0, "high": 1, "log": 1}, "log", "must be one of false, true"),
            ({"type": "float", "low": "0", "high": 1}, "low", "must be a number"),
            ({"type": "float", "low": True, "high": 2}, "low", "must be a number"),
            ({"type": "float", "low": 0}, "high", "missing"),
            ({"type": "float", "low": 0, "high": 1, "step": 0.1}, "step", "unknown key"),
            ({"type": "float", "low": 0, "hgih": 1}, "hgih", "unknown key 'hgih'"),
            ({"type": "int", "low": 0.5, "high": 1}, "low", "whole number"),
            ({"type": "int", "low": 0, "high": 10**13}, "high", "between -1e12 and 1e12"),
            ({"type": "int", "low": 0, "high": 8, "log": True}, "low", "at least 1"),
            ({"type": "int", "low": 1, "high": 8, "log": "complement"}, "log", "must be one of"),
            ({"type": "int", "low": 1, "high": 8, "step": 2}, "step", "set high to 7"),
            ({"type": "int", "low": 1, "high": 3, "step": 5}, "step", "a step of at most 2"),
            ({"type": "int", "low": 1, "high": 8, "step": 0}, "step", "at least 1"),
            ({"type": "categorical", "choices": []}, "choices", "at least one"),
            ({"type": "categorical", "choices": "abc"}, "choices", "must be a list"),
            ({"type": "categorical"}, "choices", "missing"),
            ({"type": "categorical", "choices": ["a", "b", "a"]}, "choices/2", "repeats value 0"),
            ({"type": "categorical", "choices": [1, True]}, "choices/1", "repeats value 0"),
            ({"type": "categorical", "choices": [[1], 2]}, "choices/0", "must be a string, a number"),
            ({"type": "categorical", "choices": ["a\0b"]}, "choices/0", "NUL"),
            ({"type": "categorical", "choices": ["\ud800"]}, "choices/0", "surrogates"),
            ({"type": "categorical", "choices": list(range(1_001))}, "choices", "at most 1000"),
            ({"type": "ordinal", "values": [1, math.nan]}, "values/1", "finite"),
            ({"type": "fixed"}, "value", "missing"),
            ({"type": "fixed", "value": {"a": 1}}, "value", "must be a string, a number"),
            ({"type": "fixed", "value": math.inf}, "value", "finite"),
            ({"type": "bool", "choices": [True]}, "choices", "unknown key"),
            ({"type": "gaussian"}, "type", "known are float, int"),
            ({"type": ["float"]}, "type", "unknown type"),
            ({}, "type", "missing"),
            ({"type": "bool", "when": ["x"]}, "when", "must be an object"),
            ({"type": "bool", "when": {"y": [1]}}, "when/y", "no parameter"),
            ({"type": "bool", "when": {"first": "a"}}, "when/first", "must be a list"),
            ({"type": "bool", "when": {"first": []}}, "when/first", "must be a list"),
            ({"type": "bool", "when": {"first": ["a", "c"]}}, "when/first/1", "'a' or 'b'"),
            ({"type": "bool", "when": {"later": [True]}}, "when/later", "comes later"),
            ({"type": "bool", "when": {"child": [True]}}, "when/child", "a cycle"),
            ({"type": "bool", "when": {"x": [True]}}, "when/x", "a cycle"),
            ({"type": "bool", "when": {"wide": [0.5]}}, "when/wide", "continuum"),
        ],
    )
    def test_a_fault_is_named_with_its_field(self, item: dict[str, Any], field: str, detail: str) -> None:
        first = {"name": "first", "type": "categorical", "choices": ["a", "b"]}
        wide = {"name": "wide", "type": "float", "low": 0, "high": 1}
        later = {"name": "later", "type": "bool"}
        child = {"name": "child", "type": "bool", "when": {"x": [True]}}
        problems = problems_of([first, wide, {"name": "x", **item}, later, child])
        assert detail in problems[f"/2/{field}"]

    @pytest.mark.parametrize(
        ("name", "detail"),
        [
            ("a/b", "slashes"),
            ("", "1 to 128"),
            ("n" * 129, "1 to 128"),
            ("a\nb", "control"),
            (3, "a string"),
            (None, "a string"),
        ],
    )
    def test_an_impossible_name_is_refused(self, name: object, detail: str) -> None:
        assert detail in problems_of([{"name": name, "type": "bool"}])["/0/name"]

    def test_names_may_have_any_other_characters(self) -> None:
        space = Space.from_json([{"name": "η~ ü.1", "type": "bool"}])
        with pytest.raises(SpaceInvalid) as caught:
            space.check({})
        assert caught.value.problems[0].pointer == "/η~0 ü.1"

    def test_a_name_that_is_taken_is_refused(self) -> None:
        assert "taken" in problems_of([{"name": "x", "type": "bool"}, {"name": "x", "type": "bool"}])["/1/name"]

    def test_a_missing_name_is_a_fault(self) -> None:
        assert "missing" in problems_of([{"type": "bool"}])["/0/name"]

    @pytest.mark.parametrize(
        "items", [None, {}, {"lr": {"type": "bool"}}, "lr", 3, [], [{"name": "x", "type": "bool"}] * 10_000]
    )
    def test_what_is_no_list_of_one_to_a_thousand_is_refused_as_a_whole(self, items: object) -> None:
        assert set(problems_of(items)) == {""}

    def test_parameters_that_are_no_objects_are_named(self) -> None:
        assert set(problems_of([3, "x", None, []])) == {"/0", "/1", "/2", "/3"}

    def test_all_faults_are_reported_together(self) -> None:
        problems = problems_of([{"name": "a", "type": "float", "low": "x", "high": None}, {"name": "b/", "type": "?"}])
        assert set(problems) == {"/0/low", "/0/high", "/1/name", "/1/type"}
