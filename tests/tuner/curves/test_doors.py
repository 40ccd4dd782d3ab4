"""How curves come in: read from a study, scaled, thinned; and whether they are down."""

from __future__ import annotations

import math

import numpy as np
import pytest

from frazil_tuner.curves import Curves, Mixture, Where, observed_trials, read_curves
from frazil_tuner.curves.divergence import GONE, Divergence
from frazil_tuner.curves.scale import suited
from frazil_tuner.curves.thinning import thinned
from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 0.0, "high": 1.0},
        {"name": "net", "type": "categorical", "choices": ["a", "b"]},
    ]
)


def trial(number: int, state: TrialState, curve: list[float], **more: object) -> Trial:
    curves = {"loss": tuple(enumerate(curve, start=1))} if curve else {}
    return Trial(number, {"lr": 0.25, "net": "b"}, state, curves, last_step=len(curve), **more)  # type: ignore[arg-type]


def study(*trials: Trial, summary: str = "last", resource: bool = True) -> Study:
    objective = Objective("loss", "minimize", summary)  # type: ignore[arg-type]
    return Study(Definition(SPACE, (objective,), Resource("epoch", 9) if resource else None), trials)


def read(given: Study) -> Curves:
    return read_curves(given, given.objective)


def test_running_paused_and_finished_trials_are_read_and_excluded_ones_are_not() -> None:
    states = [TrialState.RUNNING, TrialState.PAUSED, TrialState.COMPLETED, TrialState.PRUNED]
    kept = [trial(number, state, [3.0, 2.0]) for number, state in enumerate(states)]
    given = study(*kept, trial(8, TrialState.COMPLETED, [0.0], excluded=True))
    curves = read(given)
    assert [t.number for t in observed_trials(given)] == [0, 1, 2, 3]
    assert curves.owner.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert curves.step.tolist() == [1, 2] * 4
    assert curves.score.tolist() == [-3.0, -2.0] * 4
    assert not curves.dead.any()
    assert curves.max_step == 9
    assert curves.x.tolist() == [[0.25, 0.75]] * 4
    assert curves.unordered.tolist() == [False, True]


def test_what_diverged_is_the_worst_and_what_failed_is_dead() -> None:
    curves = read(
        study(
            trial(0, TrialState.FAILED, [0.1]),
            trial(1, TrialState.INFEASIBLE, []),
            trial(2, TrialState.COMPLETED, [0.1, math.nan]),
            trial(3, TrialState.RUNNING, [0.1, math.inf]),
            trial(4, TrialState.RUNNING, [math.nan, 0.5]),
        )
    )
    assert curves.dead.tolist() == [True, True, True, False, False]
    assert curves.score.tolist() == [-0.1, -0.1, -math.inf, -0.1, -math.inf, -math.inf, -0.5]


def test_the_best_up_to_a_step_is_read_where_that_counts() -> None:
    given = study(
        trial(0, TrialState.COMPLETED, [3.0, 1.0, 2.0, math.nan]),
        trial(1, TrialState.RUNNING, [math.nan, 4.0]),
        trial(2, TrialState.COMPLETED, [math.nan, math.nan]),
        summary="best",
    )
    curves = read(given)
    assert curves.score.tolist() == [-3.0, -1.0, -1.0, -1.0, -math.inf, -4.0, -math.inf, -math.inf]
    assert curves.dead.tolist() == [False, False, True]


def test_a_told_value_without_a_curve_stands_at_the_last_step() -> None:
    curves = read(study(trial(0, TrialState.COMPLETED, [], values={"loss": 0.5})))
    assert (curves.step.tolist(), curves.score.tolist()) == ([9], [-0.5])
    alone = read(study(trial(0, TrialState.COMPLETED, [2.0, 1.0]), resource=False))
    assert alone.max_step == 2


def test_an_empty_study_has_no_curves() -> None:
    curves = read(study())
    assert (curves.size, curves.x.shape, curves.max_step) == (0, (0, 2), 9)


def with_scores(scores: list[float], floor: float | None = None) -> Curves:
    n = len(scores)
    ones = np.ones(n, dtype=int)
    x = np.zeros((n, 1))
    return Curves(x, np.arange(n), ones, np.array(scores), ones < 1, 9, np.zeros(1, dtype=bool), floor)


def test_scores_have_mean_0_and_deviation_1_on_their_scale() -> None:
    scores = [0.1, 0.4, 0.2, 0.9]
    scale = suited(with_scores(scores))
    z = scale.apply(np.array(scores))
    assert (z.mean(), z.std()) == (pytest.approx(0), pytest.approx(1))
    assert scale.invert(z) == pytest.approx(scores)
    assert scale.floor == 0.1


def test_wild_values_are_down_and_count_as_the_worst_of_the_others() -> None:
    scores = [-0.5, -0.7, -0.4, -0.6, -1e30, -1e19, -math.inf]
    scale = suited(with_scores(scores))
    assert scale.down(np.array(scores)).tolist() == [False] * 4 + [True] * 3
    assert scale.floor == -0.7
    assert scale.spread < 1


def test_few_good_curves_far_from_the_rest_are_not_wild() -> None:
    chance = 0.1 + 0.001 * np.random.default_rng(0).standard_normal(40)
    scale = suited(with_scores([*chance.tolist(), 0.9]))
    assert scale.invert(scale.apply(np.array([0.9]))) == pytest.approx([0.9])


def test_a_floor_that_is_known_is_where_curves_are_down() -> None:
    scale = suited(with_scores([0.0, 0.5, 0.7], floor=0.0))
    assert scale.down(np.array([0.0, 0.01, -0.1, -math.inf])).tolist() == [True, False, True, True]
    assert scale.floor == 0.0


def test_thinning_keeps_the_first_the_best_and_the_last() -> None:
    step = np.arange(1, 1001)
    score = -np.abs(step - 333.0)
    kept = step[thinned(step, score, 12)]
    assert {1, 333, 999, 1000} <= set(kept.tolist())
    assert len(kept) <= 12
    assert np.diff(np.log(kept)).max() < 1.2
    assert thinned(step[:7], score[:7], 12).tolist() == list(range(7))


def test_chances_of_being_down() -> None:
    owner, step = np.repeat(np.arange(4), 3), np.tile([1, 2, 3], 4)
    score = np.ones(12)
    score[2], score[5], score[7] = -math.inf, -9.0, -9.0
    dead = np.array([False, False, False, True])
    curves = Curves(np.zeros((4, 1)), owner, step, score, dead, 9, np.zeros(1, dtype=bool))
    model = Divergence.of(curves, score < 0)
    near = np.ones((6, 4))
    gone, fell, rose, died, fresh, later = model.chance(
        np.array([0, 1, 2, 3, -1, 2]), np.array([9, 9, 9, 9, 9, 4]), near
    )
    assert gone == GONE
    assert died == 1.0
    assert 0.3 < fell < gone
    assert later < rose < 0.1 * fresh
    assert 0.1 < fresh < 0.9
    far = model.chance(np.array([-1]), np.array([9]), np.array([[0.0, 0.0, 1.0, 0.0]]))
    assert far[0] < fresh


def test_a_mixture_draws_what_it_says() -> None:
    mixture = Mixture(np.array([[0.3], [0.7]]), np.array([[0.0], [5.0]]), np.array([[1.0], [0.5]]))
    draws = mixture.draw(20_000, np.random.default_rng(0))
    assert mixture.mean[0] == pytest.approx(3.5)
    assert draws.mean() == pytest.approx(3.5, abs=0.05)
    assert draws.std() == pytest.approx(mixture.sd[0], rel=0.02)
    assert (draws < 2.5).mean() == pytest.approx(0.3, abs=0.02)


def test_new_curves_of_equal_configurations_are_one() -> None:
    where = Where(np.array([[0.1], [0.2], [0.1], [0.5]]), np.array([-1, -1, -1, 2]), np.ones(4, dtype=int))
    places, owner = where.named(3)
    assert owner.tolist() == [3, 4, 3, 2]
    assert where.x[places].tolist() == [[0.1], [0.2]]
