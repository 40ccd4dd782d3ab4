"""What policies without a model have in common."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Continue, Recommendation, Start, build
from frazil_tuner.space import Space

SPACE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
COMPLETED, PAUSED, FAILED = TrialState.COMPLETED, TrialState.PAUSED, TrialState.FAILED


def study(*trials: Trial, resource: Resource | None = None, direction: str = "minimize") -> Study:
    objective = Objective("loss", direction)  # type: ignore[arg-type]
    return Study(Definition(SPACE, (objective,), resource), trials)


def told(number: int, loss: float, state: TrialState = COMPLETED, steps: int = 0, **more: bool) -> Trial:
    return Trial(number, {"x": 0.5}, state, {}, {"loss": loss}, steps, steps or None, **more)


@pytest.mark.parametrize("name", ["random", "sobol", "grid", "bayes"])
def test_with_a_resource_trials_are_granted_all_of_it_and_never_interrupted(name: str) -> None:
    given = study(resource=Resource("epoch", 9))
    policy = build({"name": name}, given.definition)
    (start,) = policy.suggest(given, 1, 0)
    assert isinstance(start, Start)
    assert start.until == 9
    assert policy.decide(given, told(0, 1.0, TrialState.RUNNING, 3)) == Continue(9)


@pytest.mark.parametrize("name", ["random", "sobol", "grid", "bayes"])
def test_without_a_resource_there_is_nothing_to_grant_or_decide(name: str) -> None:
    policy = build({"name": name}, study().definition)
    (start,) = policy.suggest(study(), 1, 0)
    assert isinstance(start, Start)
    assert start.until is None
    with pytest.raises(ValueError, match="no step to decide"):
        policy.decide(study(), told(0, 1.0))


@pytest.mark.parametrize("name", ["random", "sobol", "grid"])
@pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 2)])
def test_the_best_finite_trial_is_recommended(name: str, direction: str, best: int) -> None:
    useless = told(3, math.nan), told(4, -9.0, FAILED), told(5, -9.0, excluded=True)
    given = study(told(0, 0.5), told(1, 0.2), told(2, 0.9), *useless, direction=direction)
    recommended = build({"name": name}, given.definition).recommend(given)
    assert recommended == Recommendation(best, {"loss": given.trials[best].values["loss"]})


@pytest.mark.parametrize("name", ["random", "sobol", "grid"])
def test_a_trial_within_bounds_is_recommended_before_a_better_one_out_of_them(name: str) -> None:
    given = study(told(0, 0.1), told(1, 0.5), told(2, 0.3))
    limited = replace(given.definition, outcome_constraints=(OutcomeConstraint("size", 5),))
    trials = [replace(t, values={**t.values, "size": size}) for t, size in zip(given.trials, (9, 5, 1), strict=True)]
    recommended = build({"name": name}, limited).recommend(replace(given, definition=limited, trials=tuple(trials)))
    assert recommended == Recommendation(2, {"loss": 0.3})


def test_a_recommendation_names_every_objective_and_the_first_decides() -> None:
    both = replace(study().definition, objectives=(Objective("loss"), Objective("size", "maximize")))
    trials = [replace(told(i, loss), values={"loss": loss, "size": 9 - i}) for i, loss in enumerate((0.5, 0.2))]
    recommended = build({"name": "random"}, both).recommend(replace(study(), definition=both, trials=tuple(trials)))
    assert recommended == Recommendation(1, {"loss": 0.2, "size": 8})


def test_where_trials_are_compared_the_one_that_wins_is_recommended() -> None:
    taste = replace(study().definition, objectives=(Objective("taste", "maximize", by="comparison"),))
    trials = tuple(replace(told(i, 0.0), values={}) for i in range(4))
    given = replace(study(), definition=taste, trials=trials, rankings=((2, 0), (2, 3), (3, 0)))
    recommended = build({"name": "random"}, taste).recommend(given)
    assert recommended is not None
    assert recommended.number == 2


def test_of_equal_trials_the_earlier_is_recommended() -> None:
    recommended = build({"name": "random"}, study().definition).recommend(study(told(3, 0.5), told(4, 0.5)))
    assert recommended is not None
    assert recommended.number == 3


def test_a_trial_trained_longer_is_recommended_before_a_better_short_one() -> None:
    given = study(told(0, 0.1, PAUSED, 3), told(1, 0.5, PAUSED, 6), resource=Resource("epoch", 9))
    recommended = build({"name": "random"}, given.definition).recommend(given)
    assert recommended is not None
    assert recommended.number == 1


def test_an_imported_complete_trial_counts_as_trained_to_the_end() -> None:
    given = study(told(0, 0.1, PAUSED, 8), told(1, 0.5), resource=Resource("epoch", 9))
    recommended = build({"name": "random"}, given.definition).recommend(given)
    assert recommended is not None
    assert recommended.number == 1
