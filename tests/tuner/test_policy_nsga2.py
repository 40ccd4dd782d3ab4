"""The genetic algorithm through Optuna."""

from __future__ import annotations

from typing import Any

import numpy as np

from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Study, Trial, TrialState
from frazil_tuner.policies.nsga2 import Nsga2
from frazil_tuner.space import Space

D = 6
CUBE = Space.from_json([{"name": f"x{i}", "type": "float", "low": 0, "high": 1} for i in range(D)])
LOSS, SIZE = Objective("loss"), Objective("size", "maximize")


def study(n: int, objectives: Any = (LOSS, SIZE), **more: Any) -> Study:
    """The first half is best in the first objective or in the second; the other half is bad in both."""
    rng = np.random.default_rng(0)
    points = [CUBE.draw(rng) for _ in range(n)]
    values = [{"loss": i, "size": i} if i < n // 2 else {"loss": 10 * n, "size": -n} for i in range(n)]
    trials = tuple(
        Trial(i, point, TrialState.COMPLETED, values=value)
        for i, (point, value) in enumerate(zip(points, values, strict=True))
    )
    return Study(Definition(CUBE, objectives, **more), trials)


def heritage(child: dict[str, float], parents: list[dict[str, float]]) -> int:
    """How many genes of a child stand in one of the parents."""
    return sum(any(abs(child[gene] - parent[gene]) < 1e-7 for parent in parents) for gene in child)


def test_most_genes_of_children_come_from_the_best_trials() -> None:
    given = study(40)
    elite = [dict(trial.params) for trial in given.trials[:20]]
    children = [dict(start.params) for start in Nsga2(population=20).suggest(given, 12, 0)]  # type: ignore[union-attr]
    assert np.mean([heritage(child, elite) for child in children]) > 0.6 * D


def test_trials_out_of_bounds_are_no_parents_while_there_are_others() -> None:
    given = study(40, outcome_constraints=(OutcomeConstraint.parse("size <= 9"), OutcomeConstraint.parse("size >= 0")))
    children = [dict(start.params) for start in Nsga2(population=10).suggest(given, 12, 0)]  # type: ignore[union-attr]
    elite = [dict(trial.params) for trial in given.trials[:10]]
    assert np.mean([heritage(child, elite) for child in children]) > 0.6 * D


def test_before_there_are_enough_parents_points_come_from_a_sobol_sequence() -> None:
    (early,) = Nsga2(population=20).suggest(study(19), 1, 0)
    (later,) = Nsga2(population=20).suggest(study(20), 1, 0)
    assert early.why == {"policy": "nsga2", "phase": "warm-up"}
    assert later.why == {"policy": "nsga2", "parents": 20, "observations": 20, "of": 20}


def test_a_gene_that_was_inactive_is_drawn_at_random() -> None:
    space = Space.from_json(
        [
            {"name": "on", "type": "bool"},
            {"name": "x", "type": "float", "low": 0, "high": 1, "when": {"on": [True]}},
            {"name": "y", "type": "float", "low": 0, "high": 1},
        ]
    )
    trials = tuple(
        Trial(i, {"on": False, "y": i / 40}, TrialState.COMPLETED, values={"loss": i, "size": 0}) for i in range(30)
    )
    given = Study(Definition(space, (LOSS, SIZE)), trials)
    children = [start.params for seed in range(8) for start in Nsga2(population=10).suggest(given, 8, seed)]  # type: ignore[union-attr]
    switched_on = [child["x"] for child in children if child["on"]]
    assert len(switched_on) >= 4
    assert len(set(switched_on)) > 3
    assert 0.5 not in switched_on
