"""CMA-ES by replay."""

from __future__ import annotations

import time

import cmaes
import numpy as np
import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.policies import build
from frazil_tuner.policies.evolution import MOST_GENERATIONS, replay
from frazil_tuner.space import Space

D = 4
CUBE = Space.from_json([{"name": f"x{i}", "type": "float", "low": 0, "high": 1} for i in range(D)])
LOSS = Objective("loss")
BOUNDS = np.tile([0.0, 1.0], (D, 1))


def ellipsoid(rows: np.ndarray) -> np.ndarray:
    return np.asarray(((rows - 0.3) ** 2 * 10.0 ** np.arange(D)).sum(1))


def told(rows: np.ndarray) -> Study:
    trials = tuple(
        Trial(i, CUBE.decode(row), TrialState.COMPLETED, values={"loss": float(value)})
        for i, (row, value) in enumerate(zip(rows, ellipsoid(rows), strict=True))
    )
    return Study(Definition(CUBE, (LOSS,)), trials)


def test_a_replay_is_where_a_run_that_never_stopped_would_be() -> None:
    """The library's own optimiser, which is told far points nearer than they are."""
    kept = cmaes.CMA(np.full(D, 0.5), 0.3, BOUNDS, population_size=8, seed=1)
    rows: list[np.ndarray] = []
    for _ in range(30):
        generation = np.array([kept.ask() for _ in range(8)])
        steps = generation - kept.mean
        lengths = np.sqrt(np.einsum("kd,de,ke->k", steps, np.linalg.inv(kept._C), steps)) / kept._sigma
        pulled = kept.mean + steps * np.minimum(1, (np.sqrt(D) + 2 * D / (D + 2)) / lengths)[:, None]
        kept.tell(list(zip(pulled, ellipsoid(generation).tolist(), strict=True)))
        rows.extend(generation)
    replayed, restarts = replay(np.array(rows), ellipsoid(np.array(rows)), 8, 0)
    assert (replayed.generation, restarts) == (30, 0)
    np.testing.assert_allclose(replayed.mean, kept.mean, rtol=1e-6)
    np.testing.assert_allclose(replayed._C, kept._C, rtol=1e-5, atol=1e-9)


def test_it_homes_in_on_the_bottom_of_a_narrow_valley() -> None:
    rows = np.empty((0, D))
    while len(rows) < 400:
        starts = build({"name": "cmaes"}, told(rows).definition).suggest(told(rows), 8, len(rows))
        rows = np.concatenate([rows, CUBE.encode_many([start.params for start in starts])])  # type: ignore[union-attr]
    assert ellipsoid(rows).min() < 1e-4


def test_points_from_elsewhere_do_not_blow_the_distribution_up() -> None:
    rng = np.random.default_rng(0)
    near = 0.3 + 1e-6 * rng.standard_normal((400, D))
    rows = np.concatenate([near, rng.random((80, D)), near])
    distribution, _ = replay(rows, ellipsoid(rows), 8, 0)
    assert distribution.spread < 1
    assert ((distribution.mean >= 0) & (distribution.mean <= 1)).all()


def test_it_starts_anew_elsewhere_with_twice_the_population_once_it_has_converged() -> None:
    rows = np.full((800, D), 0.3)
    n = next(n for n in range(8, 800, 8) if replay(rows[:n], np.arange(float(n)), 8, 0)[1])
    distribution, restarts = replay(rows[:n], np.arange(float(n)), 8, 0)
    assert (restarts, distribution.population_size, distribution.generation) == (1, 16, 0)
    elsewhere, _ = replay(rows[:n], np.arange(float(n)), 8, 1)
    assert not np.allclose(distribution.mean, elsewhere.mean)


def test_what_is_too_old_to_be_replayed_decides_where_the_replay_starts() -> None:
    rng = np.random.default_rng(0)
    old = np.concatenate([0.8 + 0.01 * rng.standard_normal((8, D)), rng.random((72, D))])
    recent = np.full((8 * MOST_GENERATIONS, D), 0.8) + 0.01 * rng.standard_normal((8 * MOST_GENERATIONS, D))
    rows = np.concatenate([old, recent])
    distribution, _ = replay(rows, np.arange(float(len(rows))), 8, 0)
    assert distribution.generation <= MOST_GENERATIONS
    np.testing.assert_allclose(distribution.mean, 0.8, atol=0.05)


def test_the_population_is_an_option_and_grows_with_the_dimension_by_default() -> None:
    rows = np.random.default_rng(0).random((30, D))
    assert replay(rows, ellipsoid(rows), 0, 0)[0].population_size == 8
    (start,) = build({"name": "cmaes", "population": 15}, told(rows).definition).suggest(told(rows), 1, 0)
    assert start.why["generation"] == 2


def test_ten_thousand_trials_are_answered_within_a_second() -> None:
    rows = np.random.default_rng(0).random((10_000, D))
    study = told(rows)
    began = time.process_time()
    build({"name": "cmaes"}, study.definition).suggest(study, 1, 0)
    assert time.process_time() - began < 2  # 0.5 s on an idle core


def test_names_are_refused_and_the_parameter_is_named() -> None:
    space = Space.from_json([*CUBE.to_json(), {"name": "optimizer", "type": "categorical", "choices": ["a", "b"]}])
    with pytest.raises(Refused) as caught:
        build({"name": "cmaes"}, Definition(space, (LOSS,)))
    (problem,) = caught.value.problems
    assert problem.pointer == "/name"
    assert "cannot choose optimizer; use bayes, tpe" in problem.detail
