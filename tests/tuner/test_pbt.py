"""Population-based training: the worst make room for branches of the best, and nothing else moves."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Branch, Pause, Resume, Start, Stop, build
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True},
        {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]},
        {"name": "layers", "type": "int", "low": 1, "high": 4},
        {"name": "dropout", "type": "float", "low": 0, "high": 1},
    ]
)
DEFINITION = Definition(SPACE, (Objective("loss"),), Resource("epoch", 20))
PAUSED, RUNNING, PRUNED = TrialState.PAUSED, TrialState.RUNNING, TrialState.PRUNED


def policy(**options: Any) -> Any:
    return build({"name": "pbt", "population": 8, **options}, DEFINITION)


def run(number: int, loss: float, last: int = 2, state: TrialState = PAUSED) -> Trial:
    """A run whose loss falls towards `loss`."""
    curve = tuple((step, loss + 1.0 / step) for step in range(1, last + 1))
    params = SPACE.draw(np.random.default_rng(number))
    return Trial(number, params, state, {"loss": curve}, last_step=last, until_step=last)


def study(*trials: Trial, **more: Any) -> Study:
    return Study(DEFINITION, trials, **more)


def test_the_population_is_begun_at_random_and_no_further() -> None:
    starts = policy().suggest(study(), 20, 0)
    assert [type(start) for start in starts] == [Start] * 8
    assert {start.until for start in starts} == {2}
    running = [Trial(i, start.params, RUNNING, until_step=2) for i, start in enumerate(starts[:5])]
    assert len(policy().suggest(study(*running), 20, 0)) == 3
    assert policy().suggest(study(*running, shelved=tuple(s.params for s in starts[5:])), 20, 0) == []


def test_the_worst_of_those_that_came_as_far_are_given_up_and_others_are_frozen() -> None:
    others = [run(i, i / 10) for i in range(7)]
    assert isinstance(policy().decide(study(*others, worst := run(7, 5.0, state=RUNNING)), worst), Stop)
    assert isinstance(policy().decide(study(*others, good := run(7, 0.25, state=RUNNING)), good), Pause)
    second = run(7, 0.55, state=RUNNING)
    assert isinstance(policy(truncation=0.25).decide(study(*others, second), second), Stop)
    assert isinstance(policy(truncation=0.125).decide(study(*others, second), second), Pause)


def test_runs_are_compared_at_the_same_step_and_only_with_enough_others() -> None:
    ahead = [run(i, 0.0, last=10) for i in range(7)]
    behind = run(7, -0.1, state=RUNNING)
    assert behind.curves["loss"][-1][1] > ahead[0].curves["loss"][-1][1]
    assert isinstance(policy().decide(study(*ahead, behind), behind), Pause)
    alone = run(2, 9.0, state=RUNNING)
    assert isinstance(policy().decide(study(run(0, 0.0), run(1, 0.0), alone), alone), Pause)


def test_a_run_that_diverged_is_given_up() -> None:
    lost = run(0, math.nan, state=RUNNING)
    assert policy().decide(study(lost), lost) == Stop("diverged")


def test_a_place_that_is_free_goes_to_a_branch_of_one_of_the_best() -> None:
    trials = [run(i, i / 10) for i in range(6)] + [run(6, 9.0, state=PRUNED), run(7, 8.0, state=PRUNED)]
    parents: Counter[int] = Counter()
    for seed in range(40):
        branches = policy().suggest(study(*trials), 2, seed)
        assert [type(branch) for branch in branches] == [Branch] * 2
        parents.update(branch.number for branch in branches)
        for branch in branches:
            parent = trials[branch.number]
            assert branch.until == parent.last_step + 2
            assert branch.params != parent.params
            assert {n: branch.params[n] for n in ("optimizer", "layers")} == {
                n: parent.params[n] for n in ("optimizer", "layers")
            }
            assert abs(branch.params["dropout"] - parent.params["dropout"]) < 0.5
    assert set(parents) == {0, 1}
    assert min(parents.values()) > 20


def test_a_branch_may_be_the_same_where_nothing_is_to_be_moved() -> None:
    trials = [run(i, i / 10) for i in range(7)] + [run(7, 9.0, state=PRUNED)]
    (branch,) = policy(spread=0.0).suggest(study(*trials), 1, 0)
    assert branch.params == pytest.approx(trials[branch.number].params)


def test_then_those_furthest_behind_go_on_the_better_first() -> None:
    trials = [run(i, 1.0 - i / 10, last=4 if i in (2, 5) else 2) for i in range(8)]
    resumed = policy().suggest(study(*trials, thawing=(7,)), 20, 0)
    assert [type(resume) for resume in resumed] == [Resume] * 7
    assert [resume.number for resume in resumed] == [6, 4, 3, 1, 0, 5, 2]
    assert [resume.until for resume in resumed] == [4, 4, 4, 4, 4, 6, 6]


def test_who_has_come_to_the_end_keeps_its_place_until_all_have() -> None:
    done = [run(i, i / 10, last=20, state=TrialState.COMPLETED) for i in range(7)]
    late = run(7, 0.9, last=18)
    assert policy().suggest(study(*done, late), 9, 0) == [Resume(7, 20, {"policy": "pbt", "phase": "exploit"})]
    given_up = replace(late, state=PRUNED)
    assert [type(start) for start in policy().suggest(study(*done, given_up), 9, 0)] == [Start] * 8
    finished = replace(late, state=TrialState.COMPLETED)
    assert [type(start) for start in policy().suggest(study(*done, finished), 9, 0)] == [Start] * 8


def test_a_branch_keeps_to_the_context_and_the_constraints() -> None:
    space = Space.from_json(SPACE.to_json(), ["lr * layers <= 0.02"])
    definition = replace(DEFINITION, space=space)
    trials = []
    for i in range(8):
        params = space.draw(np.random.default_rng(i))
        trials.append(replace(run(i, i / 10, state=PAUSED if i < 6 else PRUNED), params=params))
    built = build({"name": "pbt", "population": 8, "truncation": 0.5, "spread": 0.5}, definition)
    given = Study(definition, tuple(trials), context={"optimizer": trials[0].params["optimizer"]})
    for seed in range(20):
        for branch in built.suggest(given, 2, seed):
            assert branch.params["lr"] * branch.params["layers"] <= 0.02
            assert branch.params["optimizer"] == given.context["optimizer"]


def test_the_same_study_and_seed_give_the_same_branches() -> None:
    trials = [run(i, i / 10) for i in range(6)]
    given = study(*trials, run(6, 9.0, state=PRUNED), run(7, 9.0, state=PRUNED))
    assert policy().suggest(given, 2, 5) == policy().suggest(replace(given), 2, 5)
    assert policy().suggest(given, 2, 5) != policy().suggest(given, 2, 6)


@pytest.mark.parametrize("options", [{"population": 1}, {"truncation": 0.6}, {"interval": 21}, {"spread": -1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        policy(**options)
    assert refused.value.problems[0].pointer == f"/{next(iter(options))}"


def test_it_needs_a_resource_that_can_be_resumed() -> None:
    for resource in (None, Resource("samples", 20, kind="restart")):
        with pytest.raises(Refused):
            build({"name": "pbt"}, replace(DEFINITION, resource=resource))
