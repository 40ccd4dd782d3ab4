"""What the runs of a contest say, on runs whose answer is plain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from contest import Run
from latency import Cost, http_checks
from latency import checks as latency_checks
from transfer import FAMILIES, Outcome, family, mirrored
from transfer import checks as transfer_checks
from verdicts import Results, checks


def run(peer: str, problem: str, seed: int, final: float, cpu: float = 0.1) -> Run:
    return Run(peer, problem, seed, [9.0, final], {}, [cpu, cpu], 2**20, {})


def contest(*finals: tuple[str, str, list[float]]) -> Results:
    return Results([run(peer, problem, i, y) for peer, problem, ys in finals for i, y in enumerate(ys)], at=2)


TWO = contest(
    ("frazil", "branin", [0.1, 0.2, 0.3]),
    ("other", "branin", [0.4, 0.4, 0.4]),
    ("third", "branin", [4.0]),
    ("frazil", "hartmann6", [0.1, 0.1, 0.1]),
    ("other", "hartmann6", [0.1, 0.2, 0.3]),
)


def test_medians_are_over_seeds_and_infinite_where_there_is_no_run() -> None:
    assert TWO.median("frazil", "branin") == 0.2
    assert TWO.median("frazil", "branin", at=1) == 9.0
    assert TWO.median("third", "hartmann6") == math.inf


def test_a_peer_that_does_not_take_a_problem_is_last_there() -> None:
    assert TWO.mean_ranks() == {"frazil": 1.0, "other": 2.0, "third": 3.0}


def test_pairs_are_those_that_both_have() -> None:
    paired = TWO.pairing("frazil", "other")
    assert (paired.pairs, paired.better, paired.worse) == (6, 5, 0)
    assert TWO.pairing("frazil", "third").pairs == 1
    assert TWO.pairing("frazil", "third").ratio == pytest.approx(0.025)


def test_the_geometric_ratio_is_over_the_problems_that_both_take_without_noise() -> None:
    assert TWO.geometric_ratio("frazil", "other") == pytest.approx(0.5)
    noisy = contest(("frazil", "branin", [1.0]), ("other", "branin", [4.0]), ("frazil", "hartmann6-noisy", [1.0]))
    assert noisy.geometric_ratio("frazil", "other") == pytest.approx(0.25)


def test_a_noisy_problem_counts_what_the_tool_recommends() -> None:
    recommended = Run("frazil", "hartmann6-noisy", 0, [1.0, 0.5], {"2": 0.7}, [0.1], 0, {})
    assert recommended.regret(2) == 0.7
    assert recommended.regret(1) == 1.0


def test_every_target_of_regret_can_be_met_and_missed() -> None:
    assert [check.met for check in checks(TWO, "frazil")] == [True, True, True, True]
    assert [check.met for check in checks(TWO, "other")] == [False, True, True, False]
    assert [check.met for check in checks(TWO, "third")] == [False, False, False, False]


def test_every_target_of_latency_can_be_met_and_missed() -> None:
    theirs = [Cost("optuna-gp", 10, 0.3, 0.2), Cost("optuna-gp", 30, gave_out="> 60 s")]
    good = [Cost("frazil", 10, 0.3, 0.1, 10**9), Cost("frazil", 30, 0.3, 0.1, 10**9)]
    poor = [Cost("frazil", 10, 0.3, 1.5, 2 * 10**9), Cost("frazil", 30, gave_out="> 60 s")]
    assert [check.met for check in latency_checks([*theirs, *good])] == [True] * 5
    assert [check.met for check in latency_checks([*theirs, *poor])] == [False] * 5
    assert [check.met for check in http_checks([1.0] * 98 + [30.0] * 2)] == [True, False]


def test_every_target_of_transfer_can_be_met_and_missed() -> None:
    good, poor = Outcome("quadratics", 0, 0, 1.0, 0.4, 1.1), Outcome("quadratics", 0, 1, 1.0, 0.6, 1.3)
    assert [check.met for check in transfer_checks([good])] == [True, True]
    assert [check.met for check in transfer_checks([poor])] == [False, False]
    both = transfer_checks([good, Outcome("hartmanns", 0, 0, 1.0, 0.6, 1.0)])
    assert [check.met for check in both] == [True, True, False, True]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_tasks_of_a_family_have_their_minima_inside_and_near_each_other(name: str) -> None:
    tasks = family(name, 3)
    optima = []
    for task in tasks:
        assert task.at is not None
        assert task.outcomes(task.at)["value"] == pytest.approx(task.least, abs=1e-6)
        optima.append(list(task.at.values()))
    assert np.ptp(np.array(optima), axis=0).max() < 0.1
    assert len({task.least for task in tasks}) == len(tasks)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_misleading_study_is_best_far_from_the_task_s_optimum(name: str) -> None:
    task = family(name, 0)[0]
    assert task.at is not None
    trials = mirrored(task, 0)
    assert all(task.outcomes({x: 1 - y for x, y in params.items()}) == values for params, values in trials)
    mirror = {name: 1 - x for name, x in task.at.items()}
    assert math.dist(mirror.values(), task.at.values()) > 0.5
