"""Kinds beyond single numbers and names: simplexes and derived parameters; and the arithmetic behind expressions."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from frazil_tuner.errors import SpaceInvalid
from frazil_tuner.space import Column, Space
from frazil_tuner.space.expressions import ARITY, HULLS, JUMPING, PLAIN, Formula, Hull, Variable
from frazil_tuner.space.scales import SCALES

seeds = st.integers(0, 2**32 - 1)


def simplex(size: int, **more: Any) -> Space:
    return Space.from_json([{"name": "m", "type": "simplex", "components": [f"c{i}" for i in range(size)], **more}])


def fault_of(space: Space, params: object) -> str:
    with pytest.raises(SpaceInvalid) as caught:
        space.check(params)
    return caught.value.problems[0].detail


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, float]:
    """Weights of up to 100 components, most of them lopsided."""
    size = draw(st.sampled_from([2, 3, 7, 100]))
    shares = draw(st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1)), min_size=size, max_size=size).filter(any))
    power = draw(st.sampled_from([1, 5, 20]))
    weights = np.array(shares) ** power
    return {f"c{i}": float(weight) for i, weight in enumerate(weights / weights.sum())}


class TestSimplex:
    @given(mixtures())
    @settings(deadline=None)
    def test_every_mixture_survives_the_way_to_the_cube_and_back(self, weights: dict[str, float]) -> None:
        space = simplex(len(weights))
        point = space.check({"m": weights})
        assert space.decode(space.encode(point)) == point
        assert space.check(point) == point
        assert point["m"] == pytest.approx(weights, abs=2e-9)
        assert abs(math.fsum(point["m"].values()) - 1) <= 1e-9
        assert min(point["m"].values()) >= 0

    @given(st.sampled_from([2, 3, 10, 100]), seeds)
    @settings(deadline=None)
    def test_every_row_stands_for_a_mixture(self, size: int, seed: int) -> None:
        space, rng = simplex(size), np.random.default_rng(seed)
        for u in (rng.random(size - 1), rng.integers(0, 2, size - 1).astype(float), rng.random(size - 1) ** 60):
            point = space.decode(u)
            assert space.check(point) == point
            assert space.decode(space.encode(point)) == point
            assert all(type(weight) is float and math.copysign(1, weight) > 0 for weight in point["m"].values())

    @pytest.mark.parametrize("size", [2, 3, 6])
    def test_a_uniform_draw_from_the_cube_is_uniform_on_the_simplex(self, size: int) -> None:
        space, rng = simplex(size), np.random.default_rng(0)
        drawn = np.array([list(space.draw(rng)["m"].values()) for _ in range(3_000)])
        for weights in drawn.T:
            assert kstest(weights, "beta", args=(1, size - 1)).pvalue > 1e-3
        assert np.cov(drawn.T)[0, 1] == pytest.approx(-1 / (size**2 * (size + 1)), abs=0.005)

    def test_weights_are_scaled_within_rounding_and_refused_beyond(self) -> None:
        space = simplex(3)
        thirds = space.check({"m": {"c0": 0.333333, "c1": 0.333333, "c2": 0.333333}})["m"]
        assert thirds == pytest.approx({"c0": 1 / 3, "c1": 1 / 3, "c2": 1 / 3}, abs=1e-9)
        assert math.fsum(thirds.values()) == pytest.approx(1, abs=1e-12)
        assert "sum to 1, not 0.99" in fault_of(space, {"m": {"c0": 0.33, "c1": 0.33, "c2": 0.33}})

    @pytest.mark.parametrize(
        ("value", "detail"),
        [
            ([0.5, 0.5], "must be an object of weights"),
            (1, "must be an object of weights"),
            ({"c0": 1.0}, "lacks the weight of 'c1'"),
            ({"c0": 0.5, "c1": 0.5, "c2": 0.0}, "has no component 'c2'; it has c0, c1"),
            ({"c0": 1.5, "c1": -0.5}, "'c1' must not be negative"),
            ({"c0": math.nan, "c1": 1}, "'c0' must be a finite number"),
            ({"c0": "1", "c1": 0}, "'c0' must be a number"),
            ({"c0": True, "c1": 0}, "'c0' must be a number"),
            ({"c0": 0, "c1": 0}, "sum to 1, not 0"),
        ],
    )
    def test_what_is_no_mixture_is_refused(self, value: object, detail: str) -> None:
        assert detail in fault_of(simplex(2), {"m": value})

    @pytest.mark.parametrize(
        ("item", "field", "detail"),
        [
            ({}, "components", "missing"),
            ({"components": ["a"]}, "components", "at least two"),
            ({"components": [f"c{i}" for i in range(101)]}, "components", "at most 100"),
            ({"components": ["a", "a"]}, "components/1", "repeats"),
            ({"components": ["a", 1]}, "components/1", "must be a string"),
            ({"components": "ab"}, "components", "must be a list"),
            ({"components": ["a", "b"], "low": 0}, "low", "unknown key"),
        ],
    )
    def test_a_faulty_simplex_is_refused(self, item: dict[str, Any], field: str, detail: str) -> None:
        with pytest.raises(SpaceInvalid) as caught:
            Space.from_json([{"name": "m", "type": "simplex", **item}])
        assert detail in {problem.pointer: problem.detail for problem in caught.value.problems}[f"/0/{field}"]

    def test_columns_keys_and_description(self) -> None:
        space = simplex(4)
        assert space.columns == (Column.CONTINUOUS,) * 3
        assert space.cardinality is None
        assert not space.is_finite
        assert len(space.neighbours(np.full(3, 0.5))) == 0
        assert Space.from_json(space.to_json()) == space
        assert pickle.loads(pickle.dumps(space)) == space
        point = space.draw(np.random.default_rng(0))
        turned = {"m": dict(reversed(point["m"].items()))}
        assert space.key(turned) == space.key(point)
        assert hash(space.key(point)) != hash(space.key(space.draw(np.random.default_rng(1))))
        assert np.array_equal(space.encode(turned), space.encode(point))

    def test_a_grid_of_mixtures(self) -> None:
        grid = [tuple(point["m"].values()) for point in simplex(3).grid(3)]
        assert grid == [(0, 0, 1), (0, 0.5, 0.5), (0, 1, 0), (0.5, 0, 0.5), (0.5, 0.5, 0), (1, 0, 0)]
        assert list(simplex(4).grid(1)) == [{"m": {f"c{i}": 0.25 for i in range(4)}}]
        assert len(list(simplex(100).grid(9))) == 5_050

    def test_it_may_be_conditional_but_no_condition(self) -> None:
        mixture = {"name": "m", "type": "simplex", "components": ["a", "b", "c"], "when": {"mix": [True]}}
        space = Space.from_json([{"name": "mix", "type": "bool"}, mixture])
        assert space.decode(np.array([0.25, 0.5, 0.5])) == {"mix": False}
        assert set(space.decode(np.array([0.75, 0.5, 0.5]))["m"]) == {"a", "b", "c"}
        with pytest.raises(SpaceInvalid, match="continuum"):
            Space.from_json([mixture | {"when": {}}, {"name": "b", "type": "bool", "when": {"m": [1]}}])


BASE = [
    {"name": "batch", "type": "int", "low": 1, "high": 64},
    {"name": "accumulation", "type": "ordinal", "values": [1, 2, 4]},
    {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True},
    {"name": "o", "type": "categorical", "choices": ["a", "b"]},
    {"name": "offset", "type": "int", "low": -5, "high": 5, "when": {"o": ["a"]}},
    {"name": "m", "type": "simplex", "components": ["web", "code"]},
]


def derived(expression: object, **more: Any) -> Space:
    return Space.from_json([*BASE, {"name": "d", "type": "derived", "expression": expression, **more}])


class TestDerived:
    POINT = {"batch": 8, "accumulation": 4, "lr": 0.25, "o": "a", "offset": -3, "m": {"web": 0.75, "code": 0.25}}

    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("batch * accumulation", 32),
            ("batch - offset", 11),
            ("2 ** accumulation", 16),
            ("batch // 3", 2),
            ("batch % 3 + 1", 3),
            ("max(batch, offset ** 2)", 9),
            ("abs(offset)", 3),
            ("-batch", -8),
            ("batch / 2", 4.0),
            ("lr * batch", 2.0),
            ("2 ** offset", 0.125),
            ("sqrt(accumulation)", 2.0),
            ("m.web * 4", 3.0),
        ],
    )
    def test_it_is_computed_and_whole_where_it_must_be(self, expression: str, value: float) -> None:
        computed = derived(expression).check(self.POINT)["d"]
        assert computed == value
        assert type(computed) is type(value)

    @given(seeds)
    @settings(deadline=None, max_examples=20)
    def test_it_travels_with_the_params_and_takes_no_columns(self, seed: int) -> None:
        space = derived("batch * accumulation")
        assert space.dimension == Space.from_json(BASE).dimension
        rng = np.random.default_rng(seed)
        for point in [space.draw(rng), *map(space.decode, space.neighbours(space.sample(rng, 1)[0]))]:
            assert point["d"] == point["batch"] * point["accumulation"]
            assert space.check(point) == point
            assert space.decode(space.encode(point)) == point
        assert space.check({**self.POINT, "d": 32.0})["d"] == 32

    def test_another_value_is_refused(self) -> None:
        space = derived("batch * accumulation")
        assert "is computed: batch * accumulation = 32 here, not 33" in fault_of(space, {**self.POINT, "d": 33})
        assert "must be a number" in fault_of(space, {**self.POINT, "d": "32"})

    def test_it_is_there_where_all_it_needs_is_there(self) -> None:
        space = derived("batch + offset")
        other = {name: value for name, value in self.POINT.items() if name != "offset"} | {"o": "b"}
        assert "d" not in space.check(other)
        assert "needs batch and offset" in fault_of(space, {**other, "d": 1})
        conditional = derived("batch * 2", when={"o": ["b"]})
        assert "d" not in conditional.check(self.POINT)
        assert conditional.check(other)["d"] == 16

    def test_it_may_be_made_of_others_and_is_counted_once(self) -> None:
        items = [BASE[0], BASE[1], {"name": "d", "type": "derived", "expression": "batch * accumulation"}]
        space = Space.from_json([*items, {"name": "e", "type": "derived", "expression": "d + 1"}])
        assert space.check({"batch": 3, "accumulation": 2}) == {"batch": 3, "accumulation": 2, "d": 6, "e": 7}
        assert space.cardinality == len(list(space.grid(None))) == 64 * 3
        assert Space.from_json(space.to_json()) == space
        assert pickle.loads(pickle.dumps(space)) == space

    def test_constraints_see_through_it(self) -> None:
        items = [*BASE, {"name": "d", "type": "derived", "expression": "batch + offset", "when": {"o": ["a"]}}]
        space = Space.from_json(items, ["d <= 3"])
        for row in space.sample(np.random.default_rng(0), 50):
            point = space.decode(row)
            assert point["o"] == "b" or point["batch"] + point["offset"] <= 3

    @pytest.mark.parametrize(
        ("expression", "detail"),
        [
            (3, "must be a string"),
            ("", "not an expression"),
            ("1 + 1", "names no parameter"),
            ("later + 1", "no parameter 'later' here"),
            ("d + 1", "no parameter 'd' here"),
            ("o + 1", "'o' is not a number"),
            ("batch <= 1", "is not a number"),
            ("1 / (batch - 3)", "may be undefined"),
            ("log(offset)", "may be undefined"),
            ("sqrt(offset)", "may be undefined"),
            ("exp(exp(batch))", "beyond ±1e150"),
            ("batch ** 100", "beyond ±1e150"),
        ],
    )
    def test_a_faulty_expression_is_refused(self, expression: object, detail: str) -> None:
        items = [*BASE, {"name": "d", "type": "derived", "expression": expression}, {"name": "later", "type": "bool"}]
        with pytest.raises(SpaceInvalid) as caught:
            Space.from_json(items)
        assert detail in {problem.pointer: problem.detail for problem in caught.value.problems}["/6/expression"]

    @pytest.mark.parametrize(
        ("items", "pointer", "detail"),
        [
            ([{"name": "d", "type": "derived"}], "/0/expression", "missing"),
            ([BASE[0], {"name": "d", "type": "derived", "expression": "batch", "low": 0}], "/1/low", "unknown key"),
            (
                [BASE[0], {"name": "d", "type": "derived", "expression": "batch"}, {**BASE[3], "when": {"d": [1]}}],
                "/2/when/d",
                "is computed and cannot be a condition",
            ),
            (
                [{**BASE[0], "low": "x"}, {"name": "d", "type": "derived", "expression": "batch"}],
                "/1/expression",
                "itself at fault",
            ),
        ],
    )
    def test_a_faulty_description_is_refused(self, items: list[dict[str, Any]], pointer: str, detail: str) -> None:
        with pytest.raises(SpaceInvalid) as caught:
            Space.from_json(items)
        assert detail in {problem.pointer: problem.detail for problem in caught.value.problems}[pointer]


X, Y = Variable("x"), Variable("y")
ends = st.one_of(st.integers(-4, 4).map(float), st.floats(-50, 50))
operations = st.recursive(
    st.sampled_from([(X,), (Y,), (0.0,), (2.0,), (-1.5,), (3.0,)]),
    lambda inner: st.one_of(
        st.tuples(inner, inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "min", "max"])).map(
            lambda parts: (*parts[0], *parts[1], parts[2])
        ),
        st.tuples(inner, st.sampled_from(["neg", "abs", "exp", "log", "sqrt"])).map(lambda p: (*p[0], p[1])),
    ),
    max_leaves=5,
)


class TestSlopes:
    @pytest.mark.parametrize("operation", sorted(ARITY.keys() - JUMPING))
    def test_the_slopes_of_every_operation_are_those_of_its_value(self, operation: str) -> None:
        formula = Formula(
            (X, Y, "+", 2.0, X, "*", operation) if ARITY[operation] == 2 else (X, X, Y, "*", "+", operation)
        )
        point = {X: np.array([0.3, 1.2, 1.7]), Y: np.array([0.2, 1.9, 0.4])}
        for variable in (X, Y):
            moved = [formula.run(PLAIN, point | {variable: point[variable] + h}) for h in (-1e-6, 1e-6)]
            assert formula.slopes(point)[variable] == pytest.approx((moved[1] - moved[0]) / 2e-6, rel=1e-7, abs=1e-8)

    def test_a_power_of_a_negative_base_has_a_slope_by_the_base(self) -> None:
        slopes = Formula((X, 3.0, "**")).slopes({X: np.array([-2.0, 0.0])})
        assert slopes[X] == pytest.approx([12, 0])


class TestHulls:
    @given(operations, st.tuples(ends, ends), st.tuples(ends, ends), seeds)
    @settings(deadline=None, max_examples=200)
    def test_no_value_escapes_its_hull(
        self, steps: tuple[Any, ...], x: tuple[float, float], y: tuple[float, float], seed: int
    ) -> None:
        formula, rng = Formula(steps), np.random.default_rng(seed)
        sides = {X: (min(x), max(x)), Y: (min(y), max(y))}
        inside = {v: np.concatenate([[a, b], np.clip(rng.uniform(a, b, 50), a, b)]) for v, (a, b) in sides.items()}
        inside[Y] = np.concatenate([inside[Y][:1], np.roll(inside[Y][1:], 1)])
        with np.errstate(all="ignore"):
            values = np.broadcast_to(formula.run(PLAIN, inside), 52)
            hull = formula.run(HULLS, {v: Hull(np.float64(a), np.float64(b), np.True_) for v, (a, b) in sides.items()})
        known = values[~np.isnan(values)]
        assert np.all((known >= hull.low) & (known <= hull.high))
        assert not hull.defined or len(known) == 52

    @pytest.mark.parametrize(
        ("steps", "low", "high"),
        [
            ((X, Y, "*"), -6, 12),
            ((X, 2.0, "**"), 0, 16),
            ((X, 3.0, "**"), -8, 64),
            ((X, 3.0, "%"), 0, 3),
            ((Y, 10.0, "%"), 1, 3),
            ((X, Y, "/"), -2, 4),
            ((X, "abs"), 0, 4),
            ((X, "neg"), -4, 2),
        ],
    )
    def test_hulls_are_tight(self, steps: tuple[Any, ...], low: float, high: float) -> None:
        sides = {X: Hull(np.float64(-2), np.float64(4)), Y: Hull(np.float64(1), np.float64(3))}
        hull = Formula(steps).run(HULLS, sides)
        assert (float(hull.low), float(hull.high)) == pytest.approx((low, high), abs=1e-12)

    @pytest.mark.parametrize("log", list(SCALES))
    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
    @settings(deadline=None)
    def test_rounded_numbers_do_not_escape_the_hull_of_their_column(
        self, log: bool | str, a: float, b: float, t: float
    ) -> None:
        item = {"name": "x", "type": "float", "low": 1e-4, "high": 0.9999, "log": log}
        kind = Space.from_json([item]).parameters[0].kind
        low, high = np.array([[min(a, b)]]), np.array([[max(a, b)]])
        least, most = kind.hull(low, high)
        number = kind.decode([float(np.clip(low + t * (high - low), low, high)[0, 0])])
        assert least[0, 0] <= number <= most[0, 0]
        assert most[0, 0] - least[0, 0] <= 20 * (high - low)[0, 0] + 1e-6
