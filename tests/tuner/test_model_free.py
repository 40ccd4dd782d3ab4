"""What policies without a model have in common."""

from __future__ import annotations

import math

import pytest

from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
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
    assert recommended == Recommendation(best, given.trials[best].values["loss"], None)


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
