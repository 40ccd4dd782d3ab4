"""Variants of a space: held values, roles, priors on the optimum, and edits in mid-study."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from frazil_tuner.errors import SpaceInvalid
from frazil_tuner.space import Column, Space

MODEL = [
    {"name": "optimizer", "type": "categorical", "choices": ["adamw", "lion", "sgd"]},
    {"name": "lr", "type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    {"name": "beta2", "type": "float", "low": 0.9, "high": 0.999, "when": {"optimizer": ["adamw"]}},
    {"name": "layers", "type": "int", "low": 1, "high": 7, "step": 2},
    {"name": "width", "type": "ordinal", "values": [64, 128, 512]},
    {"name": "nesterov", "type": "bool", "when": {"optimizer": ["sgd", "lion"]}},
    {"name": "mixture", "type": "simplex", "components": ["web", "code", "books"]},
    {"name": "cost", "type": "derived", "expression": "layers * width"},
    {"name": "seed", "type": "fixed", "value": 0},
]  # fmt: skip
SPACE = Space.from_json(MODEL)
FINITE = Space.from_json([item for item in MODEL if item["type"] not in ("float", "simplex")])
seeds = st.integers(0, 2**32 - 1)


def real(**more: Any) -> dict[str, Any]:
    return {"name": "x", "type": "float", "low": 0, "high": 1, **more}


def problems_of(items: object, constraints: object = ()) -> dict[str, str]:
    with pytest.raises(SpaceInvalid) as caught:
        Space.from_json(items, constraints)
    return {problem.pointer: problem.detail for problem in caught.value.problems}


VALUES = {
    "optimizer": st.sampled_from(["adamw", "lion", "sgd"]),
    "lr": st.floats(1e-5, 1e-1),
    "beta2": st.floats(0.9, 0.999),
    "layers": st.sampled_from([1, 3, 5, 7]),
    "width": st.sampled_from([64, 128, 512]),
    "nesterov": st.booleans(),
    "mixture": st.sampled_from([{"web": 1.0, "code": 0.0, "books": 0.0}, {"web": 0.2, "code": 0.3, "books": 0.5}]),
}
holds = st.fixed_dictionaries({}, optional=VALUES)


class TestHolding:
    @given(holds, seeds)
    @settings(deadline=None, max_examples=30)
    def test_whatever_leaves_a_held_space_has_the_value_to_the_last_bit(self, held: dict[str, Any], seed: int) -> None:
        space, rng = SPACE.hold(held), np.random.default_rng(seed)
        rows = np.concatenate([space.snap(rng.random((3, space.dimension))), space.sample(rng, 2)])
        neighbours = space.neighbours(rows[0])
        assert space.key(space.decode(rows[0])) not in {space.key(space.decode(row)) for row in neighbours}
        rows = np.concatenate([rows, neighbours])
        for point in [space.draw(rng), space.draw_prior(rng), *map(space.decode, rows), *space.grid(2)]:
            assert SPACE.check(point) == point
            assert {name: point[name] for name in held if name in point} == {
                n: v for n, v in held.items() if n in point
            }
            assert all(name in point for name in held if name not in ("beta2", "nesterov"))

    @given(holds)
    @settings(deadline=None, max_examples=30)
    def test_held_columns_are_the_encoding_of_the_value_where_they_are_active(self, held: dict[str, Any]) -> None:
        space = SPACE.hold(held)
        (row,) = space.sample(np.random.default_rng(0), 1)
        point = space.decode(row)
        known = [
            i for i, name in enumerate(["optimizer", "lr", "beta2", "layers", "width", "nesterov"]) if name in held
        ]
        assert row[known] == pytest.approx(SPACE.encode(point)[known], abs=1e-12)

    def test_a_held_parent_decides_about_its_children(self) -> None:
        space, rng = SPACE.hold({"optimizer": "lion"}), np.random.default_rng(0)
        assert all("nesterov" in point and "beta2" not in point for point in (space.draw(rng) for _ in range(20)))

    def test_the_original_is_as_it_was_and_the_encoding_the_same(self) -> None:
        held = SPACE.hold({"lr": 0.01, "mixture": {"web": 0.5, "code": 0.5, "books": 0}})
        assert held != SPACE
        assert held == SPACE.hold({"lr": 0.01}).hold({"mixture": {"web": 0.5, "code": 0.5, "books": 0}})
        assert pickle.loads(pickle.dumps(held)) == held
        assert Space.from_json(MODEL) == SPACE
        assert hash(Space.from_json(MODEL)) == hash(SPACE)
        assert held.columns == SPACE.columns
        assert held.to_json() == SPACE.to_json() == Space.from_json(MODEL).to_json()
        points = [SPACE.draw(np.random.default_rng(seed)) for seed in range(5)]
        assert np.array_equal(held.encode_many(points), SPACE.encode_many(points))
        assert np.array_equal(held.active(held.encode_many(points)), SPACE.active(SPACE.encode_many(points)))

    @pytest.mark.parametrize(
        "held", [{}, {"optimizer": "sgd"}, {"width": 64, "nesterov": True}, {"optimizer": "adamw"}]
    )
    def test_points_of_a_held_space_are_counted(self, held: dict[str, Any]) -> None:
        space = FINITE.hold(held)
        points = list(space.grid(None))
        assert space.cardinality == len({space.key(point) for point in points}) == len(points)
        expected = [p for p in FINITE.grid(None) if all(p.get(name, value) == value for name, value in held.items())]
        assert points == expected

    def test_holding_every_continuum_makes_a_space_finite(self) -> None:
        space = SPACE.hold({"lr": 0.01, "mixture": {"web": 1, "code": 0, "books": 0}})
        assert not space.is_finite
        assert space.hold({"beta2": 0.99}).is_finite
        assert space.hold({"optimizer": "sgd"}).cardinality == 4 * 3 * 2

    def test_what_is_held_need_not_be_given(self) -> None:
        space = FINITE.hold({"width": 128})
        point = {"optimizer": "adamw", "layers": 3}
        assert space.check(point) == {**point, "width": 128, "cost": 384, "seed": 0}
        assert space.check({**point, "width": 64})["width"] == 64

    @pytest.mark.parametrize(
        ("values", "name", "detail"),
        [
            ({"lr": 1.0}, "/lr", "between"),
            ({"lrr": 1.0}, "/lrr", "no such parameter"),
            ({"layers": 2}, "/layers", "1 or 3"),
            ({"optimizer": "adam"}, "/optimizer", "'adamw' or 'lion'"),
            ({"mixture": {"web": 1}}, "/mixture", "lacks the weight of 'code'"),
            ({"cost": 64}, "/cost", "is computed as layers * width"),
            ({"seed": 1}, "/seed", "must be 0"),
        ],
    )
    def test_values_that_do_not_fit_are_refused(self, values: dict[str, Any], name: str, detail: str) -> None:
        with pytest.raises(SpaceInvalid) as caught:
            SPACE.hold(values)
        (problem,) = caught.value.problems
        assert problem.pointer == name
        assert detail in problem.detail


class TestRoles:
    ITEMS = (
        real(role="context"),
        {"name": "m", "type": "simplex", "components": ["a", "b", "c"], "role": "environment"},
        {"name": "k", "type": "int", "low": 1, "high": 3, "role": "tune"},
    )

    def test_parameters_and_columns_are_found_by_role(self) -> None:
        space = Space.from_json(self.ITEMS)
        assert [space.names_of(role) for role in ("tune", "context", "environment")] == [("k",), ("x",), ("m",)]
        assert space.columns_of("context").tolist() == [True, False, False, False]
        assert space.columns_of("environment").tolist() == [False, True, True, False]
        assert space.columns_of("tune").tolist() == [False, False, False, True]

    def test_the_usual_role_is_left_out_of_the_description(self) -> None:
        assert [item.get("role") for item in Space.from_json(self.ITEMS).to_json()] == ["context", "environment", None]
        assert Space.from_json(Space.from_json(self.ITEMS).to_json()) == Space.from_json(self.ITEMS)
        assert Space.from_json([real()]) != Space.from_json([real(role="context")])

    @pytest.mark.parametrize(
        ("item", "detail"),
        [
            (real(role="contxt"), 'must be one of "tune", "context", "environment"'),
            (real(role=None), "must be one of"),
            (real(role="context", when={"b": [True]}), 'leave "when" out'),
            (real(role="environment", when={"b": [True]}), 'leave "when" out'),
            ({"name": "x", "type": "fixed", "value": 1, "role": "context"}, "not varied"),
            ({"name": "x", "type": "derived", "expression": "y + 1", "role": "context"}, "not varied"),
        ],
    )
    def test_a_role_that_does_not_fit_is_refused(self, item: dict[str, Any], detail: str) -> None:
        items = [{"name": "b", "type": "bool"}, {"name": "y", "type": "float", "low": 0, "high": 1}, item]
        assert detail in problems_of(items)["/2/role"]


PRIOR = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True, "prior": 1e-3, "prior_confidence": "high"},
        {"name": "o", "type": "categorical", "choices": ["a", "b", 3], "prior": "b"},
        {"name": "c", "type": "categorical", "choices": ["a", 2, None], "prior": {"a": 2, "2": 6, "null": 0}},
        {"name": "k", "type": "int", "low": 0, "high": 10, "prior": 10, "prior_confidence": "low"},
        {"name": "w", "type": "ordinal", "values": [1, 2, 4], "prior": 4, "when": {"o": ["a"]}},
        {"name": "b", "type": "bool", "prior": True, "prior_confidence": "high"},
        {"name": "m", "type": "simplex", "components": ["x", "y", "z"], "prior": {"x": 0.5, "y": 0.25, "z": 0.25}},
        {"name": "free", "type": "float", "low": 0, "high": 1},
    ]
)


class TestPriors:
    def test_columns_have_the_expected_value_in_the_middle_and_a_deviation_by_confidence(self) -> None:
        prior = PRIOR.prior
        assert prior is not None
        ordered = [i for i, column in enumerate(PRIOR.columns) if column is not Column.UNORDERED]
        mixture = [0.5**2, 0.5]
        assert prior.centre[ordered] == pytest.approx([0.25, 10.5 / 11, 2.5 / 3, *mixture, 0.5])
        assert prior.sd.tolist() == [0.1, math.inf, math.inf, 0.5, 0.25, math.inf, 0.25, 0.25, math.inf]
        assert sorted(prior.log_levels) == [1, 2, 5]

    def test_choices_have_odds_or_the_given_weights_and_none_is_ruled_out(self) -> None:
        prior = PRIOR.prior
        assert prior is not None
        shares = {column: np.exp(weights) / len(weights) for column, weights in prior.log_levels.items()}
        assert shares[1] == pytest.approx(0.99 * np.array([1, 4, 1]) / 6 + 0.01 / 3)
        assert shares[2] == pytest.approx(0.99 * np.array([2, 6, 0]) / 8 + 0.01 / 3)
        assert shares[5] == pytest.approx(0.99 * np.array([1, 10]) / 11 + 0.01 / 2)

    @pytest.mark.parametrize(("confidence", "power"), [("low", 0.5), ("medium", 1), ("high", 2)])
    def test_confidence_sharpens_given_weights(self, confidence: str, power: float) -> None:
        item = {"name": "c", "type": "categorical", "choices": ["a", "b"], "prior": {"a": 1, "b": 4}}
        prior = Space.from_json([{**item, "prior_confidence": confidence}]).prior
        assert prior is not None
        share = 0.99 * 4**power / (1 + 4**power) + 0.005
        assert np.exp(prior.log_levels[0][1]) / 2 == pytest.approx(share)

    @pytest.mark.parametrize("column", range(9))
    def test_the_density_integrates_to_one_in_every_column(self, column: int) -> None:
        def density(u: float) -> float:
            row = np.full((1, 9), 0.5)
            row[0, column] = u
            active = np.zeros((1, 9), dtype=bool)
            active[0, column] = True
            return math.exp(PRIOR.prior.log_density(row, active)[0])

        if PRIOR.columns[column] is Column.UNORDERED:
            size = 2 if column == 5 else 3
            assert np.mean([density((i + 0.5) / size) for i in range(size)]) == pytest.approx(1)
        else:
            assert quad(density, 0, 1)[0] == pytest.approx(1)

    def test_columns_that_are_not_active_say_nothing(self) -> None:
        rows = PRIOR.sample(np.random.default_rng(0), 50)
        assert PRIOR.prior is not None
        active = PRIOR.active(rows)
        without = active.copy()
        without[:, 4] = False
        apart = PRIOR.prior.log_density(rows, active) - PRIOR.prior.log_density(rows, without)
        assert np.array_equal(apart != 0, active[:, 4])

    def test_draws_follow_the_density(self) -> None:
        rng = np.random.default_rng(0)
        points = [PRIOR.draw_prior(rng) for _ in range(1_500)]
        assert np.mean([point["o"] == "b" for point in points]) == pytest.approx(0.663, abs=0.03)
        assert np.mean([point["c"] is None for point in points]) < 0.01
        logs = np.log10([point["lr"] for point in points])
        assert np.median(logs) == pytest.approx(-3, abs=0.03)
        assert np.mean(np.abs(logs + 3) < 0.4) == pytest.approx(0.683, abs=0.03)
        assert np.mean([point["k"] for point in points]) > 5.5
        assert np.mean([point["free"] for point in points]) == pytest.approx(0.5, abs=0.02)

    def test_draws_meet_constraints_and_a_space_without_priors_draws_evenly(self) -> None:
        constrained = Space.from_json([real(prior=0.3, prior_confidence="high")], ["x <= 0.35"])
        rng = np.random.default_rng(0)
        drawn = [constrained.draw_prior(rng)["x"] for _ in range(100)]
        assert max(drawn) <= 0.35
        assert np.mean(drawn) == pytest.approx(0.25, abs=0.03)
        assert Space.from_json([real()]).prior is None
        assert 0 <= Space.from_json([real()]).draw_prior(rng)["x"] <= 1

    def test_priors_are_described_as_they_were_given(self) -> None:
        assert Space.from_json(PRIOR.to_json()) == PRIOR
        assert pickle.loads(pickle.dumps(PRIOR)) == PRIOR
        assert hash(Space.from_json(PRIOR.to_json())) == hash(PRIOR)
        described = {item["name"]: (item.get("prior"), item.get("prior_confidence")) for item in PRIOR.to_json()}
        assert described["lr"] == (1e-3, "high")
        assert described["c"] == ({"a": 2, "2": 6, "null": 0}, "medium")
        assert described["free"] == (None, None)
        assert Space.from_json([real(prior=0.5)]) != Space.from_json([real(prior=0.6)])
        assert Space.from_json([real(prior=0.5)]) != Space.from_json([real(prior=0.5, prior_confidence="low")])

    @pytest.mark.parametrize(
        ("item", "field", "detail"),
        [
            (real(prior=2), "prior", "between 0.0 and 1.0"),
            (real(prior="0.5"), "prior", "must be a number"),
            (real(prior=None), "prior", "must be a number"),
            (real(prior={"0.5": 1}), "prior", "must be a number"),
            (real(prior=0.5, prior_confidence="certain"), "prior_confidence", 'one of "low", "medium", "high"'),
            (real(prior_confidence="low"), "prior_confidence", "add one, or leave this out"),
            (real(prior=0.5, role="context"), "prior", 'role "context" is not tuned'),
            (real(prior=0.5, role="environment"), "prior", 'role "environment" is not tuned'),
            ({"name": "x", "type": "fixed", "value": 1, "prior": 1}, "prior", '"fixed" is not tuned'),
            ({"name": "x", "type": "derived", "expression": "y + 1", "prior": 1}, "prior", '"derived" is not tuned'),
            ({"name": "x", "type": "categorical", "choices": ["a", "b"], "prior": "c"}, "prior", "'a' or 'b'"),
            ({"name": "x", "type": "categorical", "choices": ["a", "b"], "prior": {"c": 1}}, "prior", "no choice 'c'"),
            (
                {"name": "x", "type": "categorical", "choices": ["a", "b"], "prior": {"a": -1}},
                "prior",
                "not be negative",
            ),
            ({"name": "x", "type": "categorical", "choices": ["a", "b"], "prior": {"a": 0}}, "prior", "weight above 0"),
            ({"name": "x", "type": "categorical", "choices": ["a", "b"], "prior": {}}, "prior", "weight above 0"),
            ({"name": "x", "type": "categorical", "choices": ["a"], "prior": {"a": math.inf}}, "prior", "finite"),
            ({"name": "x", "type": "int", "low": 0, "high": 9, "prior": 2.5}, "prior", "whole number"),
        ],
    )
    def test_a_prior_that_contradicts_the_parameter_is_refused(
        self, item: dict[str, Any], field: str, detail: str
    ) -> None:
        items = [{"name": "y", "type": "float", "low": 0, "high": 1}, item]
        assert detail in problems_of(items)[f"/1/{field}"]

    def test_priors_that_violate_a_constraint_together_are_refused(self) -> None:
        items = [real(prior=0.7), {**real(prior=0.6), "name": "y"}, {**real(), "name": "z"}]
        assert set(problems_of(items, ["x + y <= 1"])) == {"/0/prior", "/1/prior"}
        assert Space.from_json(items, ["x + z <= 1"]).prior is not None


class TestEdits:
    @pytest.mark.parametrize(
        ("change", "field", "expected"),
        [
            ({"name": "lr", "high": 1}, "high", 1.0),
            ({"name": "lr", "low": 1e-6}, "low", 1e-6),
            ({"name": "layers", "low": -1}, "low", -1),
            ({"name": "layers", "high": 9}, "high", 9),
            ({"name": "optimizer", "choices": ["a", "sgd", "lion", "adamw"]}, "choices", ["a", "sgd", "lion", "adamw"]),
            ({"name": "width", "values": [32, 64, 128, 256, 512]}, "values", [32, 64, 128, 256, 512]),
            ({"name": "width", "disabled": True, "value": 128}, "disabled", True),
            ({"name": "lr", "disabled": False}, "low", 1e-5),
        ],
    )  # fmt: skip
    def test_a_space_may_be_widened(self, change: dict[str, Any], field: str, expected: object) -> None:
        edited = SPACE.edited([change])
        described = {item["name"]: item for item in edited.to_json()}
        assert described[change["name"]][field] == expected
        assert [item for item in edited.to_json() if item["name"] != change["name"]] == [
            item for item in SPACE.to_json() if item["name"] != change["name"]
        ]

    @given(seeds)
    @settings(deadline=None, max_examples=30)
    def test_every_earlier_point_is_a_point_of_the_edited_space(self, seed: int) -> None:
        edited = SPACE.edited(
            [
                {"name": "lr", "low": 1e-7, "high": 3},
                {"name": "layers", "low": -3, "high": 11},
                {"name": "optimizer", "choices": ["muon", "sgd", "lion", "adamw"]},
                {"name": "width", "values": [32, 64, 128, 256, 512], "disabled": True, "value": 256},
                {"name": "nesterov", "disabled": True, "value": False},
            ]
        )
        rng = np.random.default_rng(seed)
        points = [SPACE.draw(rng) for _ in range(3)]
        rows = edited.encode_many(points)
        assert rows.shape == (3, edited.dimension)
        assert [edited.check(point) for point in points] == points
        discrete = ["optimizer", "layers"]
        for point, row in zip(points, rows, strict=True):
            assert [edited.decode(row)[name] for name in discrete] == [point[name] for name in discrete]
            assert edited.active(row[None])[0, 5] == ("nesterov" in point)

    def test_a_disabled_parameter_keeps_its_value_and_can_come_back(self) -> None:
        disabled = SPACE.edited([{"name": "width", "disabled": True, "value": 128}])
        rng = np.random.default_rng(0)
        assert {disabled.draw(rng)["width"] for _ in range(20)} == {128}
        assert disabled.kept == {"width": 128}
        assert disabled.dimension == SPACE.dimension
        assert Space.from_json(disabled.to_json()) == disabled
        moved = disabled.edited([{"name": "width", "value": 64}])
        assert {moved.draw(rng)["width"] for _ in range(20)} == {64}
        assert moved.hold({"width": 512}).draw(rng)["width"] == 512
        assert moved.edited([{"name": "width", "disabled": False}]) == SPACE

    def test_constraints_stay_and_may_forbid_to_disable(self) -> None:
        space = Space.from_json([real(), {**real(), "name": "y"}], ["x + y >= 1.2"])
        assert space.edited([{"name": "x", "high": 2}]).constraints == space.constraints
        with pytest.raises(SpaceInvalid) as caught:
            space.edited([{"name": "x", "disabled": True, "value": 0.1}])
        assert [problem.pointer for problem in caught.value.problems] == ["/constraints/0"]
        assert "with x = 0.1" in caught.value.detail

    @pytest.mark.parametrize(
        ("change", "at", "detail"),
        [
            (3, "/1", "must be an object"),
            ({}, "/1/name", "no parameter None"),
            ({"name": "lrr", "high": 1}, "/1/name", "no parameter 'lrr'"),
            ({"name": ["lr"], "high": 1}, "/1/name", "no parameter"),
            ({"name": "lr", "high": 0.01}, "/1/high", "may only rise"),
            ({"name": "lr", "low": 1e-3}, "/1/low", "may only fall"),
            ({"name": "lr", "high": "1"}, "/1/high", "must be a number"),
            ({"name": "lr", "low": 0}, "/1/low", "log scale"),
            ({"name": "lr", "log": False}, "/1/log", "cannot change"),
            ({"name": "lr", "type": "int"}, "/1/type", "cannot change"),
            ({"name": "lr", "choices": [1]}, "/1/choices", "cannot change"),
            ({"name": "lr", "prior": 0.01}, "/1/prior", "cannot change"),
            ({"name": "lr", "role": "context"}, "/1/role", "start a new study"),
            ({"name": "beta2", "when": {}}, "/1/when", "cannot change"),
            ({"name": "layers", "step": 1}, "/1/step", "what may change here is low, high, disabled, value"),
            ({"name": "layers", "low": 0}, "/1/step", "does not lead from 0"),
            ({"name": "layers", "low": 0, "high": 8}, "/1/low", "1 minus a multiple of 2"),
            ({"name": "optimizer", "choices": ["adamw", "sgd"]}, "/1/choices", "must keep 'lion'"),
            ({"name": "width", "values": [128, 64, 512]}, "/1/values", "must keep 128 in its place"),
            ({"name": "width", "values": [64, 128]}, "/1/values", "must keep 512"),
            ({"name": "mixture", "components": ["web", "code", "books", "x"]}, "/1/components", "cannot change"),
            ({"name": "width", "disabled": True}, "/1/value", "is missing"),
            ({"name": "width", "disabled": True, "value": 100}, "/1/value", "64 or 128"),
            ({"name": "width", "value": 64}, "/1/value", 'add "disabled": true'),
            ({"name": "width", "disabled": 1, "value": 64}, "/1/disabled", "one of false, true"),
            ({"name": "seed", "value": 1}, "/1/value", "what may change here is nothing"),
            ({"name": "cost", "expression": "layers"}, "/1/expression", "cannot change"),
            ({"name": "cost", "disabled": True, "value": 1}, "/1/disabled", "cannot change"),
        ],
    )
    def test_what_is_no_widening_is_refused(self, change: object, at: str, detail: str) -> None:
        with pytest.raises(SpaceInvalid) as caught:
            SPACE.edited([{"name": "lr", "high": 1}, change])
        assert detail in {problem.pointer: problem.detail for problem in caught.value.problems}[at]

    @pytest.mark.parametrize("changes", [None, {"name": "lr"}, "lr", 3])
    def test_changes_are_a_list(self, changes: object) -> None:
        with pytest.raises(SpaceInvalid) as caught:
            SPACE.edited(changes)
        assert [problem.pointer for problem in caught.value.problems] == [""]

    def test_no_changes_are_no_change(self) -> None:
        assert SPACE.edited([]) == SPACE
