"""Cross-entropy, consensus and ranking policies: small files, each against what its formula says."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.policies import build
from frazil_tuner.policies.cem import Cem, _Distribution
from frazil_tuner.policies.rank_sgd import RankSgd, ascent
from frazil_tuner.space import Space

D = 4
CUBE = Space.from_json([{"name": f"x{i}", "type": "float", "low": 0, "high": 1} for i in range(D)])
LOSS, TASTE = Objective("loss"), Objective("taste", "maximize", by="comparison")
COMPLETED = TrialState.COMPLETED


def ellipsoid(params: Any) -> float:
    return float(sum((params[f"x{i}"] - 0.3) ** 2 * 10 ** (i / 2) for i in range(D)))


def told(points: list[Any], objective: Objective = LOSS, **more: Any) -> Study:
    trials = tuple(Trial(i, p, COMPLETED, values={"loss": ellipsoid(p)}) for i, p in enumerate(points))
    return Study(Definition(CUBE, (objective,), seed=more.pop("seed", 0)), trials, **more)


def run(name: str, trials: int, seed: int, batch: int = 1) -> list[float]:
    points: list[Any] = []
    policy = build({"name": name}, told([]).definition)
    while len(points) < trials:
        points += [start.params for start in policy.suggest(told(points, seed=seed), batch, 1000 * seed + len(points))]  # type: ignore[union-attr]
    return [ellipsoid(point) for point in points]


@pytest.fixture(scope="module")
def sobol() -> float:
    """What a Sobol sequence comes to in 150 trials."""
    return float(np.median([min(run("sobol", 150, seed, 50)) for seed in range(3)]))


@pytest.mark.parametrize("name", ["cem", "cbo", "rank_sgd"])
@pytest.mark.parametrize("batch", [2, 5])
def test_each_comes_much_closer_than_a_sequence_that_does_not_learn(name: str, batch: int, sobol: float) -> None:
    assert np.median([min(run(name, 150, seed, batch)) for seed in range(3)]) < 0.3 * sobol


@pytest.mark.parametrize("name", ["cem", "cbo", "rank_sgd", "cmaes"])
def test_two_objectives_are_refused_with_the_remedy(name: str) -> None:
    definition = Definition(CUBE, (LOSS, Objective("size")))
    with pytest.raises(Refused) as caught:
        build({"name": name}, definition)
    (problem,) = caught.value.problems
    assert (caught.value.code, problem.pointer) == ("policy_invalid", "/name")
    assert problem.detail == f"{name} serves at most 1 objective, not 2; use bayes, tpe or nsga2"


@pytest.mark.parametrize("name", ["cem", "cbo", "rank_sgd"])
def test_ten_thousand_trials_are_answered_within_a_second(name: str) -> None:
    rng = np.random.default_rng(0)
    study = told([CUBE.draw(rng) for _ in range(10_000)])
    policy = build({"name": name}, study.definition)
    assert not policy.is_light(study)
    began = time.process_time()
    policy.suggest(study, 1, 0)
    assert time.process_time() - began < 2  # 0.3 s on an idle core


# ── cross-entropy ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_distributions_move_towards_the_elite_by_the_smoothing() -> None:
    names = Space.from_json(
        [
            {"name": "x", "type": "float", "low": 0, "high": 1},
            {"name": "c", "type": "categorical", "choices": list("abcd")},
        ]
    )
    distribution = _Distribution(names)
    distribution.follow(np.array([[0.7, 0.125], [0.9, 0.375]]), 0.25)
    assert distribution.mean[0] == pytest.approx(0.75 * 0.5 + 0.25 * 0.8)
    assert distribution.sd[0] == pytest.approx(0.75 * 0.4 + 0.25 * 0.1)
    assert distribution.odds[1].tolist() == pytest.approx([0.3125, 0.3125, 0.1875, 0.1875])


def test_draws_follow_the_distribution_and_stay_in_the_cube() -> None:
    distribution = _Distribution(CUBE)
    distribution.mean[:] = [0.0, 1.0, 0.5, 0.3]
    distribution.sd[:] = [0.1, 0.1, 1e-6, 0.05]
    rows = np.array([distribution.draw(np.random.default_rng(i)) for i in range(800)])
    assert ((rows >= 0) & (rows <= 1)).all()
    np.testing.assert_allclose(rows.mean(0), [0.08, 0.92, 0.5, 0.3], atol=0.01)
    np.testing.assert_allclose(rows[:, 3].std(), 0.05, rtol=0.1)


def test_options_of_cem_are_read() -> None:
    study = told([CUBE.draw(np.random.default_rng(i)) for i in range(24)])
    for population, generations in ((8, 3), (12, 2)):
        (start,) = Cem(population=population).suggest(study, 1, 0)
        assert start.why["generation"] == generations
    narrow = Cem(population=24, elite=0.05, smoothing=1.0).suggest(study, 5, 0)
    best = min(study.trials, key=lambda trial: trial.values["loss"])
    spread = [abs(start.params["x0"] - best.params["x0"]) for start in narrow]  # type: ignore[union-attr]
    wide = Cem(population=24, elite=1.0, smoothing=0.01).suggest(study, 5, 0)
    assert np.ptp([start.params["x0"] for start in wide]) > 5 * max(spread)  # type: ignore[union-attr]


# ── consensus ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_particles_at_the_consensus_stay_there_and_others_come_closer() -> None:
    centre = {f"x{i}": 0.3 for i in range(D)}
    points = [centre] * 19 + [{f"x{i}": 0.9 for i in range(D)}]
    policy = build({"name": "cbo", "particles": 20, "focus": 500}, told([]).definition)
    steps = [policy.suggest(told(points), 20, seed) for seed in range(30)]
    moved = np.array([[CUBE.encode(start.params) for start in step] for step in steps])  # type: ignore[union-attr]
    lone = moved[:, 19] - 0.3
    assert np.mean(lone) == pytest.approx(0.3, abs=0.06)
    assert 0.2 < np.std(lone) < 0.5


def test_the_particle_that_moves_is_the_next_in_turn() -> None:
    points = [{f"x{i}": 0.05 * k for i in range(D)} for k in range(10)]
    policy = build({"name": "cbo", "particles": 10, "focus": 0}, told([]).definition)
    nearest = []
    for k in range(10):
        study = told(points[:10])
        running = tuple(Trial(10 + j, CUBE.draw(np.random.default_rng(j)), TrialState.RUNNING) for j in range(k))
        waiting = Study(study.definition, (*study.trials, *running))
        starts = [policy.suggest(waiting, 1, seed)[0].params["x0"] for seed in range(40)]  # type: ignore[union-attr]
        nearest.append(np.mean(starts))
    np.testing.assert_allclose(nearest, 0.225 + 0.5 * (0.05 * np.arange(10) - 0.225), atol=0.06)


# ── rankings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ascent_is_the_mean_difference_of_better_and_worse() -> None:
    rows = np.array([[0.0, 0.1], [0.1, 0.1], [0.4, 0.1]])
    pairs = [rows[1] - rows[0], rows[2] - rows[0], rows[2] - rows[1]]
    np.testing.assert_allclose(ascent(rows, np.array([1.0, 2, 3]), 1.0), np.mean(pairs, axis=0))
    np.testing.assert_allclose(ascent(rows, np.array([1.0, 2, 3]), 0.1), [0.1, 0])
    assert ascent(rows, np.array([2.0, 2, 2]), 1.0).tolist() == [0, 0]
    assert ascent(rows[:0], np.empty(0), 1.0).tolist() == [0, 0]


def test_a_round_lies_on_either_side_of_its_centre() -> None:
    starts = RankSgd(pairs=3, radius=0.05).suggest(told([]), 6, 0)
    rows = np.array([CUBE.encode(start.params) for start in starts])  # type: ignore[union-attr]
    np.testing.assert_allclose(rows[::2] + rows[1::2], 1.0, atol=1e-6)
    assert 0.02 < np.abs(rows - 0.5).mean() < 0.08


def test_the_same_round_is_continued_whatever_the_seed_of_the_answer() -> None:
    whole = [start.params for start in RankSgd(pairs=3).suggest(told([], seed=5), 6, 0)]  # type: ignore[union-attr]
    rest = [start.params for start in RankSgd(pairs=3).suggest(told(whole[:4], seed=5), 2, 77)]  # type: ignore[union-attr]
    assert rest == whole[4:]
    assert [start.params for start in RankSgd(pairs=3).suggest(told([], seed=6), 6, 0)] != whole  # type: ignore[union-attr]


def test_the_step_scales_how_far_the_centre_moves() -> None:
    points = [start.params for start in RankSgd(pairs=3).suggest(told([]), 6, 0)]  # type: ignore[union-attr]
    moves = [
        np.array(RankSgd(pairs=3, step=step).suggest(told(points), 1, 0)[0].why["centre"]) - 0.5 for step in (0.5, 1.0)
    ]
    np.testing.assert_allclose(2 * moves[0], moves[1], atol=1e-5)
    assert moves[1][-1] < 0  # the optimum lies below the centre


def test_rankings_alone_lead_to_the_optimum() -> None:
    points: list[Any] = []
    rankings: list[tuple[int, ...]] = []
    policy = build({"name": "rank_sgd"}, told([], TASTE).definition)
    for _ in range(25):
        study = told(points, TASTE, rankings=tuple(rankings))
        points += [start.params for start in policy.suggest(study, 8, 0)]  # type: ignore[union-attr]
        numbers = range(len(points) - 8, len(points))
        rankings.append(tuple(sorted(numbers, key=lambda number: ellipsoid(points[number]))))
    assert np.median([ellipsoid(point) for point in points[-8:]]) < 0.1 * ellipsoid(points[0])


@pytest.mark.parametrize("name", ["cem", "cbo", "rank_sgd", "cmaes"])
def test_what_violates_a_constraint_is_moved_away_from(name: str) -> None:
    """The value is best where the constraint forbids it."""
    limit = OutcomeConstraint.parse("x0 >= 0.6")
    study = Study(Definition(CUBE, (LOSS,), outcome_constraints=(limit,)))
    policy = build({"name": name}, study.definition)
    for i in range(120):
        (start,) = policy.suggest(study, 1, i)
        params = start.params  # type: ignore[union-attr]
        seen = Trial(i, params, COMPLETED, values={"loss": ellipsoid(params), "x0": params["x0"]})
        study = Study(study.definition, (*study.trials, seen))
    assert np.median([trial.params["x0"] for trial in study.trials[-40:]]) > 0.5
