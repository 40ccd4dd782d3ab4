"""Where suggestions come from: infinite spaces, finite ones, and lists."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.policies import domain as domains
from frazil_tuner.policies.domain import Domain, Everywhere, Listed, domain_of
from frazil_tuner.space import ENUMERABLE, Space

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOAT = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}, {"name": "c", "type": "bool"}])
SMALL = Space.from_json([{"name": "i", "type": "int", "low": 0, "high": 9}, {"name": "c", "type": "bool"}])
LARGE = Space.from_json([{"name": "i", "type": "int", "low": 1, "high": ENUMERABLE + 1}])
OBJECTIVE = (Objective("loss"),)


def trials(*points: dict[str, Any], candidates: bool = False) -> tuple[Trial, ...]:
    return tuple(
        Trial(i, point, TrialState.COMPLETED, values={"loss": 1.0}, candidate=i if candidates else None)
        for i, point in enumerate(points)
    )


class Untouchable(tuple[Trial, ...]):
    """Trials that must not be read."""

    def __iter__(self) -> Iterator[Trial]:
        raise AssertionError("the trials were read")


def taken_at_random(domain: Domain) -> list[Any]:
    return [point.params for point in iter(domain.take_random, None)]


def test_the_kind_of_domain_follows_from_the_definition() -> None:
    assert isinstance(domain_of(Study(Definition(FLOAT, OBJECTIVE)), 0), Everywhere)
    assert isinstance(domain_of(Study(Definition(LARGE, OBJECTIVE)), 0), Everywhere)
    assert isinstance(domain_of(Study(Definition(SMALL, OBJECTIVE)), 0), Listed)
    assert isinstance(domain_of(Study(Definition(FLOAT, OBJECTIVE, None, ({"x": 0.5, "c": True},))), 0), Listed)


def test_random_points_of_an_infinite_space_need_no_look_at_the_trials() -> None:
    domain = domain_of(Study(Definition(FLOAT, OBJECTIVE), Untouchable()), 0)
    assert domain.take_random() is not None
    assert domain.take_nearest(np.array([0.5, 0.5])) is not None


def test_a_small_space_is_handed_out_to_the_last_point_and_no_further() -> None:
    tried, shelved = {"i": 3, "c": True}, {"i": 4, "c": False}
    domain = domain_of(Study(Definition(SMALL, OBJECTIVE), trials(tried), (shelved,)), 0)
    points = taken_at_random(domain)
    assert len(points) == 18
    keys = {SMALL.key(point) for point in points}
    assert len(keys) == 18
    assert not keys & {SMALL.key(tried), SMALL.key(shelved)}
    assert domain.take_nearest(np.array([0.1, 0.1])) is None


def test_a_large_finite_space_is_compared_with_what_was_tried() -> None:
    points = [{"i": i} for i in range(1, ENUMERABLE - 499)]
    domain = domain_of(Study(Definition(LARGE, OBJECTIVE), trials(*points)), 0)
    fresh = [domain.take_random() for _ in range(3)]
    assert all(point is not None and point.params["i"] >= ENUMERABLE - 499 for point in fresh)
    nearest = domain.take_nearest(np.array([0.0]))
    assert nearest is not None
    assert nearest.params["i"] >= ENUMERABLE - 499


def test_candidates_are_taken_by_index_whatever_their_params() -> None:
    twins = ({"x": 0.5, "c": True},) * 4
    study = Study(Definition(FLOAT, OBJECTIVE, None, twins), trials(twins[0], candidates=True), (twins[2],), (2,))
    domain = domain_of(study, 0)
    assert sorted(point.candidate for point in iter(domain.take_random, None)) == [1, 3]


def test_the_nearest_candidate_is_near_in_the_cube_and_names_count_whole() -> None:
    candidates = ({"x": 0.2, "c": True}, {"x": 0.5, "c": False}, {"x": 0.9, "c": True})
    domain = domain_of(Study(Definition(FLOAT, OBJECTIVE, None, candidates)), 0)
    assert [domain.take_nearest(np.array([0.5, 0.75])).candidate for _ in range(3)] == [0, 2, 1]


def test_the_best_candidate_is_the_one_of_the_largest_worth() -> None:
    candidates = tuple({"x": x, "c": True} for x in (0.1, 0.8, 0.4, 0.7))
    domain = domain_of(Study(Definition(FLOAT, OBJECTIVE, None, candidates)), 0)
    taken = [domain.take_best(lambda rows: -(rows[:, 0] - 0.72).abs(), np.empty((0, 2))) for _ in range(5)]
    assert [point and point.candidate for point in taken] == [3, 1, 2, 0, None]


def test_a_candidate_whose_worth_is_nan_is_not_the_best() -> None:
    candidates = tuple({"x": x, "c": True} for x in (0.1, 0.8, 0.4))
    domain = domain_of(Study(Definition(FLOAT, OBJECTIVE, None, candidates)), 0)
    best = domain.take_best(lambda rows: torch.where(rows[:, 0] > 0.5, torch.nan, rows[:, 0]), np.empty((0, 2)))
    assert best is not None
    assert best.candidate == 2


@pytest.mark.parametrize("shelved", [False, True])
def test_the_best_point_of_a_space_is_not_taken_twice(shelved: bool) -> None:
    seen = {"x": 1.0, "c": True}
    study = Study(Definition(FLOAT, OBJECTIVE), () if shelved else trials(seen), (seen,) if shelved else ())
    domain = domain_of(study, 0)
    points = [domain.take_best(lambda rows: rows.sum(1), np.empty((0, 2))) for _ in range(3)]
    keys = {FLOAT.key(point.params) for point in points}
    assert len(keys) == 3
    assert FLOAT.key({"x": 1.0, "c": True}) not in keys


def test_a_grid_honours_its_resolution_in_finite_spaces_and_skips_what_was_tried() -> None:
    study = Study(Definition(SMALL, OBJECTIVE), trials({"i": 0, "c": False}))
    assert [point.params for point in domain_of(study, 0).grid(2)] == [
        {"i": 0, "c": True},
        {"i": 9, "c": False},
        {"i": 9, "c": True},
    ]


def test_a_list_is_its_own_grid() -> None:
    candidates = tuple({"x": x, "c": True} for x in (0.3, 0.1, 0.2))
    domain = domain_of(Study(Definition(FLOAT, OBJECTIVE, None, candidates)), 0)
    assert [point.candidate for point in domain.grid(1)] == [0, 1, 2]


def test_the_pool_of_a_definition_is_made_once_and_goes_with_it() -> None:
    definition = Definition(SMALL, OBJECTIVE)
    domain_of(Study(definition), 0)
    pool = domains._pools[id(definition)]
    domain_of(Study(definition), 1)
    assert domains._pools[id(definition)] is pool
    key = id(definition)
    del definition
    gc.collect()
    assert key not in domains._pools


@pytest.mark.parametrize("definition", [Definition(FLOAT, OBJECTIVE), Definition(SMALL, OBJECTIVE)])
def test_the_seed_decides_what_is_random(definition: Definition) -> None:
    def draw(seed: int) -> list[Any]:
        domain = domain_of(Study(definition), seed)
        return [domain.take_random() for _ in range(5)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize("given", [True, False])
def test_a_list_hands_out_only_what_has_the_context(given: bool) -> None:
    space = Space.from_json(
        [{"name": "gpu", "type": "bool", "role": "context"}, {"name": "n", "type": "int", "low": 1, "high": 3}]
    )
    candidates = tuple(space.grid(None)) if given else None
    study = Study(Definition(space, (Objective("loss"),), candidates=candidates), context={"gpu": True})
    expected = [{"gpu": True, "n": n} for n in (1, 2, 3)]
    assert [point.params for point in domain_of(study, 0).grid(9)] == expected
    taken = list(iter(domain_of(study, 0).take_random, None))
    assert sorted((point.params for point in taken), key=lambda params: params["n"]) == expected


CONSTRAINED = Space.from_json(
    [{"name": "x", "type": "float", "low": 0, "high": 1}, {"name": "y", "type": "float", "low": 0, "high": 1}],
    ["x + y <= 0.5"],
)
SUMS = Space.from_json(
    [{"name": "a", "type": "int", "low": 0, "high": 400}, {"name": "b", "type": "int", "low": 0, "high": 400}],
    ["a * b == 360"],
)


def test_every_way_of_taking_meets_the_constraints() -> None:
    domain = domain_of(Study(Definition(CONSTRAINED, OBJECTIVE)), 0)
    points = [domain.take_random(), domain.take_nearest(np.array([0.9, 0.9])), *domain.grid(5)]
    points += [domain.take_best(lambda rows: rows.sum(1), np.array([[0.25, 0.25]])) for _ in range(2)]
    for point in points:
        assert point is not None
        assert CONSTRAINED.check(point.params) == point.params


def test_a_feasible_point_is_its_own_nearest_and_others_have_one_close_by() -> None:
    domain = domain_of(Study(Definition(CONSTRAINED, OBJECTIVE)), 0)
    assert domain.take_nearest(np.array([0.2, 0.125])).params == {"x": 0.2, "y": 0.125}
    near = domain.take_nearest(np.array([0.9, 0.1])).params
    assert near["x"] > 0.3
    assert near["y"] < 0.2


def test_a_constrained_space_too_large_to_list_is_handed_out_to_its_last_point() -> None:
    domain = domain_of(Study(Definition(SUMS, OBJECTIVE), trials({"a": 1, "b": 360})), 0)
    assert isinstance(domain, Everywhere)
    taken = {(params["a"], params["b"]) for params in taken_at_random(domain)}
    assert taken == {(a, 360 // a) for a in range(2, 361) if 360 % a == 0}


def test_a_small_constrained_space_is_the_list_of_its_points() -> None:
    space = Space.from_json(SMALL.to_json(), ["c or i % 3 == 0"])
    domain = domain_of(Study(Definition(space, OBJECTIVE)), 0)
    assert isinstance(domain, Listed)
    assert len(taken_at_random(domain)) == 10 + 4


@pytest.mark.parametrize("space", [SMALL, LARGE, FLOAT])
def test_a_held_value_is_in_every_point(space: Space) -> None:
    name = space.parameters[0].name
    definition = Definition(space.hold({name: 1}), OBJECTIVE)
    domain = domain_of(Study(definition, trials({name: 0, "c": True})), 0)
    points = [domain.take_random(), domain.take_nearest(np.array([0.0, 0.0][: space.dimension]))]
    points += [domain.take_best(lambda rows: -rows.sum(1), np.empty((0, space.dimension)))]
    assert {point.params[name] for point in points if point} == {1}


def test_candidates_that_do_not_have_the_held_value_are_left_out() -> None:
    candidates = tuple({"x": x, "c": c} for x in (0.25, 0.5) for c in (True, False))
    study = Study(Definition(FLOAT.hold({"c": True}), OBJECTIVE, None, candidates))
    assert sorted(point.candidate for point in iter(domain_of(study, 0).take_random, None)) == [0, 2]
    assert [point.candidate for point in domain_of(study, 0).grid(1)] == [0, 2]


@pytest.mark.parametrize("space", [SMALL, LARGE, FLOAT])
def test_replicates_are_handed_out_where_they_are_asked_for(space: Space) -> None:
    best = space.decode(np.ones(space.dimension))

    def taken(replicate: bool) -> list[Any]:
        domain = domain_of(Study(Definition(space, OBJECTIVE), trials(best)), 0, replicate=replicate)
        points = [domain.take_best(lambda rows: rows.sum(1), np.ones((1, space.dimension))) for _ in range(2)]
        return [point.params for point in points if point]

    assert taken(True) == [best, best]
    assert best not in taken(False)


def test_a_list_with_replicates_never_ends() -> None:
    domain = domain_of(Study(Definition(SMALL, OBJECTIVE), trials(*SMALL.grid(None))), 0, replicate=True)
    assert all(domain.take_random() for _ in range(50))
    assert len(list(domain.grid(2))) == 4


@pytest.mark.parametrize("listed", [False, True])
def test_an_offer_is_of_free_points_and_takes_one_only_when_told(listed: bool) -> None:
    space = Space.from_json(
        [{"name": "a", "type": "int", "low": 1, "high": 400}, {"name": "b", "type": "int", "low": 1, "high": 400}]
    )
    candidates = tuple({"a": i, "b": 1} for i in range(1, 41)) if listed else None
    tried = Trial(0, {"a": 3, "b": 1}, TrialState.COMPLETED, candidate=2 if listed else None)
    domain = domain_of(Study(Definition(space, (Objective("loss"),), candidates=candidates), (tried,)), 0)
    offer = domain.offer(np.full((2, 2), 0.5), 20)
    assert len(offer.rows) == 20
    point = offer.take(7)
    assert point is not None
    assert space.encode(point.params).tolist() == offer.rows[7].tolist()
    assert offer.take(7) is None or listed
    later = [space.decode(row) for _ in range(9) for row in domain.offer(np.full((2, 2), 0.5), 20).rows]
    assert point.params not in later
    assert tried.params not in later
