"""Constraints on parameters: what they mean, where they hold, and spaces that no point is left of."""

from __future__ import annotations

import math
import pickle
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil_tuner.errors import FrazilError, SpaceInvalid, SpaceUnsupported
from frazil_tuner.space import Space


def real(name: str, low: float = 0.0, high: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "float", "low": low, "high": high, **more}


def whole(name: str, low: int, high: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "int", "low": low, "high": high, **more}


OPTIMIZER = {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adamw", None]}
MODEL = [
    OPTIMIZER,
    real("lr", 1e-5, 1e-1, log=True),
    whole("batch", 16, 1024, log=True),
    whole("accumulation", 1, 64),
    {"name": "width", "type": "ordinal", "values": [512, 64, 256, 128]},
    {"name": "amp", "type": "bool"},
    real("momentum", when={"optimizer": ["sgd"]}),
    {"name": "mixture", "type": "simplex", "components": ["web", "code", "books"]},
    real("lambda"),
    {"name": "heads", "type": "fixed", "value": 8},
    {"name": "steps", "type": "derived", "expression": "batch * accumulation"},
]
POINT = {
    "optimizer": "sgd", "lr": 0.01, "batch": 64, "accumulation": 4, "width": 256, "amp": True, "momentum": 0.9,
    "mixture": {"web": 0.5, "code": 0.25, "books": 0.25}, "lambda": 0.5, "heads": 8, "steps": 256,
}  # fmt: skip


def meets(constraint: str, **changes: Any) -> bool:
    """Whether the point, changed so, meets the constraint."""
    space = Space.from_json(MODEL, [constraint])
    point = {name: value for name, value in {**POINT, **changes}.items() if value is not ...}
    try:
        space.check({name: value for name, value in point.items() if name != "steps"})
    except SpaceInvalid as refusal:
        assert constraint in refusal.detail or repr(constraint) in refusal.detail  # noqa: PT017
        return False
    return True


def refusal(items: list[dict[str, Any]], *constraints: object) -> FrazilError:
    with pytest.raises((SpaceInvalid, SpaceUnsupported)) as caught:
        Space.from_json(items, list(constraints))
    return caught.value


class TestMeaning:
    @pytest.mark.parametrize(
        ("constraint", "expected"),
        [
            ("lr <= 0.01", True),
            ("lr < 0.01", False),
            ("lr >= 0.01", True),
            ("lr > 0.01", False),
            ("batch == 64", True),
            ("batch != 64", False),
            ("batch * accumulation <= 256", True),
            ("batch * accumulation <= 255", False),
            ("batch / 128 == 0.5", True),
            ("batch // 60 == 1", True),
            ("batch % accumulation == 0", True),
            ("batch % 60 == 4", True),
            ("accumulation ** 2 == 16", True),
            ("2 ** accumulation > 16", False),
            ("-batch < -63", True),
            ("+batch - 60 - 4 == 0", True),
            ("min(batch, width, 100) == 64", True),
            ("max(batch, width) == 256", True),
            ("abs(accumulation - 10) == 6", True),
            ("log(exp(lr)) < 0.0101", True),
            ("sqrt(batch) == 8", True),
            ("width == 256", True),
            ("heads * 8 == batch", True),
            ("steps == 256", True),
            ("steps <= 255", False),
            ("mixture.web + mixture.code <= 0.75", True),
            ("mixture.books > mixture.code", False),
            ("lambda <= 0.5", True),
            ("lambda < 0.5", False),
            ("optimizer == 'sgd'", True),
            ("'sgd' != optimizer", False),
            ("optimizer == None", False),
            ("amp", True),
            ("not amp", False),
            ("amp == False", False),
            ("amp != False", True),
            ("optimizer != 'sgd' or lr <= 0.01", True),
            ("optimizer != 'sgd' or lr <= 0.001", False),
            ("not (optimizer == 'sgd' and lr > 0.001)", False),
            ("not (optimizer == 'sgd' or lr > 0.001)", False),
            ("not not amp", True),
            ("not lr <= 0.01", False),
            ("not lr < 0.01", True),
            ("16 <= batch <= 64 < width", True),
            ("16 <= batch < 64", False),
            ("not 16 <= batch < 64", True),
            ("not (batch == 64)", False),
            ("not (batch != 64)", True),
            ("(lr) <= (0.01)", True),
        ],
    )
    def test_constraints_mean_what_python_means(self, constraint: str, expected: bool) -> None:
        assert meets(constraint) is expected

    @pytest.mark.parametrize("constraint", ["momentum < 0.5", "lr <= 0.001 or momentum < 0.5", "not momentum > 0.5"])
    def test_a_constraint_on_what_is_not_active_holds(self, constraint: str) -> None:
        assert not meets(constraint)
        assert meets(constraint, optimizer="adamw", momentum=...)

    @pytest.mark.parametrize(
        "constraint",
        [
            "1 / (accumulation - 4) < 5",
            "1 / (accumulation - 4) >= 0.5",
            "batch % (accumulation - 4) >= 0",
            "log(accumulation - 4) <= 1",
            "not log(accumulation - 4) <= 1",
            "sqrt(3.5 - accumulation) >= 0",
            "(accumulation - 4) ** -1 > 0",
            "(3 - accumulation) ** 0.5 != 1",
        ],
    )
    def test_what_is_undefined_does_not_hold(self, constraint: str) -> None:
        assert not meets(constraint)

    def test_numbers_too_large_for_a_float_are_just_large(self) -> None:
        assert not meets("exp(batch * 20) <= 1e150")
        assert meets("exp(batch * 20) >= 1e150")

    def test_rounding_is_not_forgiven(self) -> None:
        space = Space.from_json([real("x"), real("y")], ["x + y <= 0.3"])
        assert 0.1 + 0.2 > 0.3
        with pytest.raises(SpaceInvalid):
            space.check({"x": 0.1, "y": 0.2})

    def test_a_violated_constraint_is_named_with_the_values_and_the_place(self) -> None:
        space = Space.from_json(MODEL, ["batch <= 1024", "lr * batch <= 0.1", "width <= 128"])
        with pytest.raises(SpaceInvalid) as caught:
            space.check(POINT)
        assert {problem.pointer for problem in caught.value.problems} == {"/lr", "/width"}
        assert "'lr * batch <= 0.1': lr = 0.01, batch = 64" in caught.value.problems[0].detail

    def test_a_long_sum_is_no_deep_expression(self) -> None:
        names = [f"x{i}" for i in range(150)]
        space = Space.from_json([real(name) for name in names], [" + ".join(names) + " <= 1000"])
        assert space.feasible(space.sample(np.random.default_rng(0), 3)).all()


class TestRefusedTexts:
    @pytest.mark.parametrize(
        ("constraint", "detail"),
        [
            (3, "must be a string"),
            (None, "must be a string"),
            ("", "not an expression"),
            ("lr <=", "not an expression"),
            ("lr = 1", "not an expression"),
            ("lr <= 1; batch <= 2", "not an expression"),
            ("(" * 500 + "lr" + ")" * 400 + "<= 1", "not an expression"),
            ("lr", "neither true nor false"),
            ("lr + 1", "neither true nor false"),
            ("lr and batch", "neither true nor false"),
            ("1 <= 2", "names no parameter"),
            ("'a' == 'a'", "two constants"),
            ("lrr <= 1", "no parameter 'lrr' here; known are optimizer, lr"),
            ("lr <= momentun", "no parameter 'momentun'"),
            ("optimizer * 2 <= 1", "'optimizer' is not a number"),
            ("optimizer <= 'sgd'", "have no order"),
            ("amp <= 1", "have no order"),
            ("amp * 2 <= 1", "'amp' is not a number"),
            ("optimizer == 'sdg'", "'optimizer' is never 'sdg'"),
            ("optimizer == 1", "'optimizer' is never 1"),
            ("amp == 1", "'amp' is never 1"),
            ("lr == 'sgd'", "is a number and cannot equal a name"),
            ("steps == 'sgd'", "is a number and cannot equal a name"),
            ("optimizer == lr + 1", "cannot be compared with a name"),
            ("mixture <= 1", "name a component such as mixture.web"),
            ("mixture.wbe <= 1", "no component 'wbe'; it has web, code, books"),
            ("lr.web <= 1", "only a simplex has components"),
            ("mixture.web.x <= 1", "is no component"),
            ("sin(lr) <= 1", "no function sin"),
            ("lr.hex() <= 1", "no function lr.hex"),
            ("__import__('os').system('true') == 0", "no function"),
            ("min(lr) <= 1", "min takes two or more"),
            ("sqrt(lr, batch) <= 1", "sqrt takes one number"),
            ("log(lr, base=2) <= 1", "log takes one number"),
            ("lr ^ 2 <= 1", "powers are written **"),
            ("lr in (1, 2)", "the comparisons are"),
            ("optimizer is None", "the comparisons are"),
            ("[lr] <= 1", "is not a number"),
            ("lr if amp else batch", "neither true nor false"),
            ("(lambda: 1) <= 1", "not an expression"),
            ("lr <= 1e200", "beyond ±1e150"),
            ("lr <= 1" + "0" * 400, "beyond ±1e150"),
            ("lr <= 1j", "is not a number"),
            ("2 ** 1e9 * lr <= 1", "exponent beyond ±100"),
            ("lr ** (10 ** 9) <= 1", "exponent beyond ±100"),
            ("2 ** 1000000000 * lr <= 1", "exponent beyond ±100"),
            ("-" * 40 + "lr <= 1", "nested deeper"),
            ("not " * 40 + "lr <= 1", "nested deeper"),
            ("lr <= 1 " + "or lr <= 2 " * 100, "at most 1000"),
        ],
    )
    def test_a_faulty_constraint_is_refused_with_its_pointer(self, constraint: object, detail: str) -> None:
        error = refusal(MODEL, "lr <= 1", constraint)
        assert error.code == "space_invalid"
        assert [problem.pointer for problem in error.problems] == ["/constraints/1"]
        assert detail in error.problems[0].detail

    def test_all_faults_are_named_at_once(self) -> None:
        assert [p.pointer for p in refusal(MODEL, "a <= 1", "lr <= 1", "b <= 1").problems] == [
            "/constraints/0",
            "/constraints/2",
        ]

    @pytest.mark.parametrize(
        "constraints", ["lr <= 1", {"a": "lr <= 1"}, 3, None, ["lr <= 1"] * 257, ["lr <= 1" + " " * 900] * 20]
    )
    def test_what_is_no_short_list_is_refused_as_a_whole(self, constraints: object) -> None:
        with pytest.raises(SpaceInvalid) as caught:
            Space.from_json(MODEL, constraints)
        assert [problem.pointer for problem in caught.value.problems] == ["/constraints"]

    @pytest.mark.parametrize(
        "constraint",
        ["lr == 0.1", "not lr != 0.1", "mixture.web == mixture.code", "lr == 0.1 or amp", "lr * batch == 1"],
    )
    def test_equality_of_continua_is_refused_with_the_remedy(self, constraint: str) -> None:
        error = refusal(MODEL, constraint)
        assert error.code == "space_unsupported"
        assert '"derived"' in error.problems[0].detail
        assert "simplex" in error.problems[0].detail
        assert error.problems[0].pointer == "/constraints/0"

    def test_a_name_that_cannot_be_written_is_explained(self) -> None:
        error = refusal([real("learning rate")], "learning <= 1")
        assert "rename 'learning rate'" in error.problems[0].detail


class TestEmptySpaces:
    @pytest.mark.parametrize(
        ("items", "constraints", "blamed"),
        [
            ([real("x")], ["x >= 2"], {0}),
            ([real("x"), real("y")], ["x <= 0.9", "x + y <= 0.5", "y <= 0.8", "x + y >= 0.6"], {1, 3}),
            ([whole("a", 1, 6), whole("b", 1, 6)], ["a * b == 30", "a < b", "a != 5"], {0, 1, 2}),
            ([whole("a", 2, 9)], ["a % 7 == 1", "a >= 1", "a < 8"], {0, 2}),
            ([OPTIMIZER, real("lr")], ["optimizer != 'sgd'", "optimizer != 'adamw'", "optimizer != None"], {0, 1, 2}),
            ([OPTIMIZER, real("lr")], ["optimizer == 'sgd' or lr > 2", "optimizer == 'adamw'"], {0, 1}),
            ([{"name": "m", "type": "simplex", "components": ["a", "b"]}], ["m.a + m.b <= 0.9"], {0}),
            ([whole("a", 1, 9), {"name": "d", "type": "derived", "expression": "a * a"}], ["d == 50"], {0}),
            ([real("x")], ["log(-x) < 1"], {0}),
            ([real("x")], ["0.123456784 <= x <= 0.1234567841"], {0}),
            ([real(f"x{i}") for i in range(8)], [s + " <= 3" for s in ["+".join(f"x{i}" for i in range(8))]] * 1
             + ["+".join(f"x{i}" for i in range(8)) + " >= 3.5", "x0 <= 0.9"], {0, 1}),
        ],
    )  # fmt: skip
    def test_the_fewest_constraints_that_contradict_each_other_are_named(
        self, items: list[dict[str, Any]], constraints: list[str], blamed: set[int]
    ) -> None:
        error = refusal(items, *constraints)
        assert error.code == "space_invalid"
        assert {problem.pointer for problem in error.problems} == {f"/constraints/{i}" for i in blamed}
        for i in blamed:
            assert constraints[i] in error.problems[0].detail
        assert "loosen or drop one" in error.problems[0].detail

    @pytest.mark.parametrize(
        ("items", "constraints"),
        [
            ([real("x"), real("y")], ["x * x + y * y >= 2"]),
            ([real("x"), real("y")], ["x + y >= 0.5", "x + y <= 0.500001"]),
            ([real(f"x{i}") for i in range(10)], [" + ".join(f"x{i}" for i in range(10)) + " <= 0.05"]),
            ([whole("a", 1, 10**6), whole("b", 1, 10**6)], ["a * b == 1048576"]),
            ([whole(f"i{i}", 0, 1000) for i in range(6)], [" + ".join(f"i{i}" for i in range(6)) + " == 3000"]),
            ([real("lr", 1e-9, 1, log=True)], ["lr <= 1.0000001e-9"]),
            ([real(f"y{i}") for i in range(15)], [f"y{i} <= y{i + 1}" for i in range(14)]),
            ([whole(f"y{i}", 0, 200) for i in range(9)], [f"y{i} < y{i + 1}" for i in range(8)]),
            ([real(f"y{i}", -1, 1) for i in range(9)], ["+".join(f"(y{i}-0.9)**2" for i in range(9)) + " <= 0.01"]),
            (
                [{"name": "m", "type": "simplex", "components": [f"c{i}" for i in range(20)]}],
                ["m.c0 >= 0.7", "m.c1 <= m.c2 <= m.c3"],
            ),
        ],
    )
    def test_the_little_that_is_left_is_found(self, items: list[dict[str, Any]], constraints: list[str]) -> None:
        space, rng = Space.from_json(items, constraints), np.random.default_rng(0)
        rows = space.sample(rng, 20)
        assert rows.shape == (20, space.dimension)
        assert len(np.unique(rows, axis=0)) > 10 or constraints in (["x * x + y * y >= 2"], ["a * b == 1048576"])
        for point in [space.draw(rng), *map(space.decode, rows)]:
            assert space.check(point) == point

    def test_a_held_value_that_leaves_no_point_is_refused(self) -> None:
        space = Space.from_json([real("x"), real("y")], ["x + y >= 1.5"])
        assert space.hold({"x": 0.75}).draw(np.random.default_rng(0))["y"] >= 0.75
        with pytest.raises(SpaceInvalid, match=r"with x = 0.25"):
            space.hold({"x": 0.25})


GRID = [
    whole("a", 0, 3),
    whole("b", 1, 5, step=2),
    {"name": "w", "type": "ordinal", "values": [4, 1, 2.5]},
    {"name": "c", "type": "categorical", "choices": ["x", "y", True]},
    {"name": "e", "type": "bool"},
    whole("h", -2, 1, when={"c": ["x", "y"], "e": [True]}),
    {"name": "d", "type": "derived", "expression": "a * b - 3"},
]

FREE = list(Space.from_json(GRID).grid(None))


def numbers() -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(["a", "b", "w", "h", "d", "0", "1", "2.5", "7"]),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({' '.join(parts)})"),
            st.tuples(inner, st.sampled_from([3, 5])).map(lambda parts: f"({parts[0]} % {parts[1]})"),
            st.tuples(inner, inner).map(lambda parts: f"min({parts[0]}, {parts[1]})"),
            st.tuples(inner, inner).map(lambda parts: f"max({parts[0]}, {parts[1]})"),
            inner.map(lambda part: f"abs({part})"),
            inner.map(lambda part: f"(-{part})"),
            inner.map(lambda part: f"({part} ** 2)"),
        ),
        max_leaves=4,
    )


def truths() -> st.SearchStrategy[str]:
    comparison = st.tuples(numbers(), st.sampled_from(["<=", "<", ">=", ">", "==", "!="]), numbers()).map(" ".join)
    label = st.sampled_from(["c == 'x'", "c != 'y'", "c == True", "e", "e == False", "c != e"])
    return st.recursive(
        st.one_of(comparison, label),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda parts: f"({''.join(parts)})"),
            inner.map(lambda part: f"not ({part})"),
        ),
        max_leaves=3,
    )


def plainly_holds(constraint: str, point: dict[str, Any]) -> bool:
    """What Python itself says; what is not there breaks no rule."""
    names = compile(constraint, "constraint", "eval").co_names
    needed = {*names, *(["a", "b"] if "d" in names else [])} - {"min", "max", "abs"}
    return not needed <= point.keys() or bool(eval(constraint, {}, point))


class TestFiniteSpaces:
    @given(st.lists(truths(), min_size=1, max_size=3))
    @settings(deadline=None, max_examples=40)
    def test_exactly_the_points_that_python_admits_are_left(self, constraints: list[str]) -> None:
        expected = [point for point in FREE if all(plainly_holds(constraint, point) for constraint in constraints)]
        try:
            space = Space.from_json(GRID, constraints)
        except SpaceInvalid as refused:
            assert "names no parameter" in refused.detail or not expected  # noqa: PT017
            return
        assert list(space.grid(None)) == expected
        assert space.cardinality == len(expected)
        drawn = {space.key(space.decode(row)) for row in space.sample(np.random.default_rng(0), 200)}
        assert drawn <= {space.key(point) for point in expected}
        assert drawn or not expected

    def test_every_point_that_is_left_is_drawn(self) -> None:
        space = Space.from_json([whole("a", 1, 1000), whole("b", 1, 1000)], ["a * b == 720"])
        drawn = {tuple(space.decode(row).values()) for row in space.sample(np.random.default_rng(0), 2_000)}
        assert drawn == {(a, 720 // a) for a in range(1, 721) if 720 % a == 0}

    def test_points_are_drawn_uniformly(self) -> None:
        space = Space.from_json([whole("a", 0, 30), whole("b", 0, 30)], ["a + b <= 2"])
        drawn = [tuple(space.decode(row).values()) for row in space.sample(np.random.default_rng(0), 6_000)]
        counts = [drawn.count(point) for point in set(drawn)]
        assert len(counts) == 6
        assert all(850 < count < 1_150 for count in counts)

    def test_what_is_too_large_to_be_counted_is_still_finite(self) -> None:
        large = Space.from_json([whole("a", 1, 1000), whole("b", 1, 1000)], ["a < b"])
        assert large.cardinality is None
        assert large.is_finite
        assert not Space.from_json([real("x")], ["x < 0.5"]).is_finite
        assert Space.from_json([whole("a", 1, 100)], ["a % 7 == 0"]).cardinality == 14

    def test_a_grid_without_feasible_points_ends(self) -> None:
        space = Space.from_json([real(f"x{i}") for i in range(9)], ["0.6 <= x7 + x8 <= 0.9"])
        assert list(space.grid(3)) == []


MIXED = [
    real("lr", 1e-5, 1e-1, log=True),
    whole("batch", 16, 1024, log=True),
    real("x"),
    real("beta", 0.9, 0.9999, log="complement"),
    {"name": "m", "type": "simplex", "components": ["a", "b", "c"]},
    {"name": "o", "type": "categorical", "choices": ["s", "t"]},
    real("y", when={"o": ["s"]}),
]
RULES = [
    "lr * batch <= 0.5",
    "x + m.a <= 0.7",
    "o == 's' or x <= 0.4",
    "y >= x * x",
    "log(lr) + 9 * beta >= -2",
    "m.b <= m.c",
    "max(x, m.b) <= 0.65 and 1 - beta <= 10 * lr + 0.09",
    "batch % 4 == 0",
]
rules = st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique=True)
seeds = st.integers(0, 2**32 - 1)


class TestMixedSpaces:
    @given(rules, seeds)
    @settings(deadline=None, max_examples=15)
    def test_whatever_leaves_the_space_meets_every_constraint(self, constraints: list[str], seed: int) -> None:
        space, rng = Space.from_json(MIXED, constraints), np.random.default_rng(seed)
        inside = space.sample(rng, 4)
        repaired = space.repair(rng.random((4, space.dimension)), inside)
        rows = np.concatenate([inside, repaired, space.neighbours(inside[0]), space.neighbours(repaired[0])])
        assert space.feasible(rows).all()
        for point in [*map(space.decode, rows), space.draw(rng), *islice(space.grid(2), 20)]:
            assert space.check(point) == point
            assert space.decode(space.encode(point)) == point

    @given(rules, seeds)
    @settings(deadline=None, max_examples=40)
    def test_feasible_rows_are_those_whose_points_are_admitted(self, constraints: list[str], seed: int) -> None:
        space, rng = Space.from_json(MIXED, constraints), np.random.default_rng(seed)
        rows = space.snap(np.concatenate([rng.random((20, space.dimension)), rng.integers(0, 2, (5, space.dimension))]))
        admitted = []
        for point in map(space.decode, rows):
            try:
                space.check(point)
            except SpaceInvalid:
                admitted.append(False)
            else:
                admitted.append(True)
        assert space.feasible(rows).tolist() == admitted

    def test_repaired_rows_lie_on_the_boundary(self) -> None:
        space = Space.from_json([real("x"), real("y")], ["x + y <= 1"])
        (row,) = space.repair(np.array([[0.9, 0.9]]), np.array([0.1, 0.1]))
        assert row == pytest.approx([0.5, 0.5], abs=1e-7)
        assert space.feasible(row[None]).all()
        kept = space.repair(np.array([[0.2, 0.7]]), np.array([0.1, 0.1]))
        assert kept.tolist() == [[0.2, 0.7]]

    def test_what_cannot_be_met_forbids_the_branch_in_which_it_is_asked(self) -> None:
        items = [whole("k", 1, 2000), real("m", when={"k": list(range(1, 2000))})]
        space = Space.from_json(items, ["m > 2"])
        assert [space.decode(row) for row in space.sample(np.random.default_rng(0), 3)] == [{"k": 2000}] * 3

    def test_a_row_that_cannot_come_near_is_replaced_by_the_inner_one(self) -> None:
        space = Space.from_json([{"name": "m", "type": "simplex", "components": ["a", "b", "c"]}], ["m.a >= 1"])
        inside = space.encode({"m": {"a": 1.0, "b": 0.0, "c": 0.0}})
        assert space.repair(np.full((2, 2), 0.5), inside).tolist() == [inside.tolist()] * 2

    def test_neighbours_move_continuous_columns_where_constraints_ask_for_it(self) -> None:
        space = Space.from_json([real("lr", 1e-5, 1, log=True), whole("batch", 1, 1024, log=True)], ["lr * batch <= 1"])
        row = space.encode({"lr": 0.01, "batch": 100})
        batches = [space.decode(neighbour)["batch"] for neighbour in space.neighbours(row)]
        assert {101, 164, 612} <= set(batches)
        for point in map(space.decode, space.neighbours(row)):
            assert point["lr"] * point["batch"] <= 1


class TestSlack:
    def test_slack_is_about_the_distance_to_the_boundary(self) -> None:
        space = Space.from_json([real("x", 0, 100), real("y", 0, 100)], ["30 * x <= 1500", "x + y <= 100"])
        slack = space.slack(np.array([[0.2, 0.5], [0.5, 0.5], [0.6, 0.5]]))
        assert slack[:, 0] == pytest.approx([0.3, 0.0, -0.1], abs=1e-9)
        assert slack[:, 1] == pytest.approx(np.array([0.3, 0.0, -0.1]) / math.sqrt(2), abs=1e-9)

    @given(seeds)
    @settings(deadline=None, max_examples=30)
    def test_its_sign_says_where_smooth_constraints_hold(self, seed: int) -> None:
        smooth = ["lr * batch <= 0.5", "x + m.a <= 0.7", "y >= x * x", "m.b < m.c"]
        space = Space.from_json(MIXED, smooth)
        rows = space.snap(np.random.default_rng(seed).random((50, space.dimension)))
        assert space.slack(rows).shape == (50, 4)
        for i, constraint in enumerate(smooth):
            only = Space.from_json(MIXED, [constraint])
            assert np.array_equal(space.slack(rows)[:, i] >= 0, only.feasible(rows))

    def test_its_slopes_are_those_of_the_formula(self) -> None:
        space = Space.from_json([real("x", 0, 2), whole("k", 1, 3), real("y", 1, 10, log=True)], ["x * k + y <= 3"])
        (row,) = space.sample(np.random.default_rng(0), 1)
        point = space.decode(row)
        (slopes,) = space.slack_slopes(row[None])[0]
        expected = np.array([-2 * point["k"], 0, -point["y"] * math.log(10)])
        assert slopes / np.linalg.norm(slopes) == pytest.approx(expected / np.linalg.norm(expected), abs=1e-7)

    def test_conjunctions_count_apart_and_predicates_not_at_all(self) -> None:
        items = [real("x"), real("y"), whole("k", 1, 8), OPTIMIZER]
        constraints = [
            "0.1 <= x and x <= y <= 0.9",
            "k % 2 == 0",
            "x <= 0.5 or y <= 0.5",
            "k <= 6",
            "optimizer != 'sgd'",
        ]
        assert Space.from_json(items, constraints).slack(np.full((2, 4), 0.5)).shape == (2, 3)
        assert Space.from_json(items).slack(np.full((2, 4), 0.5)).shape == (2, 0)
        assert Space.from_json(items).slack_slopes(np.full((2, 4), 0.5)).shape == (2, 0, 4)

    def test_what_is_not_active_has_slack_one_and_no_slope(self) -> None:
        space = Space.from_json([OPTIMIZER, real("m", when={"optimizer": ["sgd"]})], ["m <= 0.5"])
        rows = space.encode_many([{"optimizer": "sgd", "m": 0.75}, {"optimizer": "adamw"}])
        assert space.slack(rows)[:, 0] == pytest.approx([-0.25, 1.0])
        assert space.slack_slopes(rows)[:, 0, 1] == pytest.approx([-1.0, 0.0])


class TestIdentity:
    def test_a_constrained_space_equals_what_its_json_describes(self) -> None:
        space = Space.from_json(MODEL, RULES[:1])
        assert space.constraints_json() == RULES[:1]
        assert Space.from_json(space.to_json(), space.constraints_json()) == space
        assert pickle.loads(pickle.dumps(space)) == space
        assert hash(pickle.loads(pickle.dumps(space))) == hash(space)
        assert space != Space.from_json(MODEL)
        assert space != Space.from_json(MODEL, ["lr * batch <= 0.25"])

    def test_values_keep_their_types_when_an_equal_space_was_read_before(self) -> None:
        for values in ([1, 2], [1.0, 2.0]):
            space = Space.from_json([{"name": "w", "type": "ordinal", "values": values}, real("x")], ["w + x <= 2"])
            assert type(space.draw(np.random.default_rng(0))["w"]) is type(values[0])
