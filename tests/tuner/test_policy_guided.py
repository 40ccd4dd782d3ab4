"""From proposed coordinates to starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Any

import numpy as np

from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies.guided import ATTEMPTS, guided_starts, on_columns
from frazil_tuner.space import Space

ITEMS = [{"name": name, "type": "float", "low": 0, "high": 1} for name in "xy"]
SQUARE = Space.from_json(ITEMS)
HALF = Space.from_json(ITEMS, ["x + y <= 1"])
MIXED = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}, {"name": "k", "type": "bool"}])


def study(space: Space, *tried: dict[str, Any], **more: Any) -> Study:
    trials = tuple(Trial(i, params, TrialState.COMPLETED, values={"loss": 1.0}) for i, params in enumerate(tried))
    return Study(Definition(space, (Objective("loss"),), **more), trials)


def proposing(rows: Iterable[tuple[float, ...]]) -> Callable[[], Any]:
    rows = iter(rows)
    return lambda: np.array(next(rows))


def test_a_proposal_becomes_a_start_with_the_full_grant_and_the_reason() -> None:
    given = study(SQUARE, resource=Resource("epoch", 7))
    (start,) = guided_starts(given, 1, 0, proposing([(0.25, 0.75)]), {"policy": "mine"})
    assert (start.params, start.until, start.why) == ({"x": 0.25, "y": 0.75}, 7, {"policy": "mine"})  # type: ignore[union-attr]


def test_what_violates_a_constraint_is_proposed_anew() -> None:
    rows = [(0.9, 0.9), (0.8, 0.7), (0.2, 0.3), (0.1, 0.1)]
    starts = guided_starts(study(HALF), 2, 0, proposing(rows), {})
    assert [start.params for start in starts] == [{"x": 0.2, "y": 0.3}, {"x": 0.1, "y": 0.1}]  # type: ignore[union-attr]


def test_if_no_proposal_is_feasible_the_start_is() -> None:
    (start,) = guided_starts(study(HALF), 1, 0, proposing(repeat((0.9, 0.9))), {})
    assert start.params["x"] + start.params["y"] <= 1  # type: ignore[union-attr]
    assert start.params["x"] + start.params["y"] > 0.5  # type: ignore[union-attr]


def test_what_was_tried_is_proposed_anew_and_drawn_at_random_in_the_end() -> None:
    tried = {"x": 0.5, "k": True}
    given = study(MIXED, tried)
    (start,) = guided_starts(given, 1, 0, proposing([(0.5, 0.75), (0.25, 0.75)]), {})
    assert start.params == {"x": 0.25, "k": True}  # type: ignore[union-attr]
    (start,) = guided_starts(given, 1, 0, proposing(repeat((0.5, 0.75))), {})
    assert start.params != tried  # type: ignore[union-attr]


def test_starts_of_one_call_differ() -> None:
    starts = guided_starts(study(MIXED), 3, 0, proposing(repeat((0.5, 0.75))), {})
    assert len({start.params["x"] for start in starts}) == 3  # type: ignore[union-attr]


def test_only_so_many_proposals_are_asked_for() -> None:
    rows = chain(repeat((0.5, 0.75), ATTEMPTS), [(0.25, 0.75)])
    propose = proposing(rows)
    guided_starts(study(MIXED, {"x": 0.5, "k": True}), 1, 0, propose, {})
    assert propose().tolist() == [0.25, 0.75]


def test_equal_candidates_are_all_handed_out() -> None:
    twins = ({"x": 0.5, "k": True},) * 3
    starts = guided_starts(study(MIXED, candidates=twins), 5, 0, proposing(repeat((0.5, 0.75))), {})
    assert sorted(start.candidate for start in starts) == [0, 1, 2]  # type: ignore[union-attr, type-var]


def test_columns_that_do_not_vary_are_left_to_the_domain() -> None:
    given = Study(study(SQUARE).definition, context={"y": 0.125})
    propose = on_columns(np.array([True, False]), proposing([(0.75,)]))
    (start,) = guided_starts(given, 1, 0, propose, {})
    assert start.params == {"x": 0.75, "y": 0.125}  # type: ignore[union-attr]
