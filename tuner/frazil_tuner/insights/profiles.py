"""Which solver comes to the target first, over many problems: performance profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

LEAST = 1e-3
"""No time counts as less, so that ratios stay finite."""

MOST = 4.0
"""Up to which ratio a profile is integrated for its score, as AlgoPerf does."""


def profiles(times: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """The performance profiles of solvers over problems, from the `times` [problem][solver] of repeats to a target,
    infinite where it was never reached.

        ρ_s(τ) = |{p : t_ps ≤ τ min_s t_ps}| / n            Dolan and Moré 2002 (doi 10.1007/s101070100263), eq. (1)

    {"taus": [...], "solvers": [{"solver", "shares": [...], "solved", "fastest", "score"}], "problems": [{"problem",
    "times": {solver: time or None}}]}: t_ps is the median over repeats, `shares` are ρ_s at `taus`, the ratios at which
    any profile rises. `score` is the mean of ρ_s over τ from 1 to MOST (Dahl et al. 2023, arXiv 2306.07179, section
    4.1). A solver that was not tried on a problem has not solved it. The best score stands first.
    """
    medians = {
        problem: {solver: max(float(median(found)), LEAST) for solver, found in by_solver.items() if found}
        for problem, by_solver in times.items()
    }
    solvers = sorted({solver for by_solver in medians.values() for solver in by_solver})
    ratios = {solver: [_ratio(by_solver, solver) for by_solver in medians.values()] for solver in solvers}
    taus = sorted({1.0, *(ratio for of in ratios.values() for ratio in of if math.isfinite(ratio))})
    rows = [
        {
            "solver": solver,
            "shares": [sum(ratio <= tau for ratio in of) / len(of) for tau in taus],
            "solved": sum(map(math.isfinite, of)),
            "fastest": sum(ratio == 1.0 for ratio in of),
            "score": sum(max(MOST - ratio, 0.0) for ratio in of) / (MOST - 1.0) / len(of),
        }
        for solver, of in ratios.items()
    ]
    return {
        "taus": taus,
        "solvers": sorted(rows, key=lambda row: -row["score"]),
        "problems": [
            {"problem": problem, "times": {solver: _finite(by_solver.get(solver, math.inf)) for solver in solvers}}
            for problem, by_solver in medians.items()
        ],
    }


def _ratio(by_solver: Mapping[str, float], solver: str) -> float:
    """How many times as long as the fastest; infinite where the target was not reached."""
    time = by_solver.get(solver, math.inf)
    return time / min(by_solver.values()) if math.isfinite(time) else math.inf


def _finite(time: float) -> float | None:
    return time if math.isfinite(time) else None
