"""Simple regret of our policies beside Optuna's samplers, on functions whose minimum is known.

    python benchmarks/regret.py [--seeds 5] [--evaluations 50] [--problems …] [--peers …] [--json FILE]

Each seed moves the box by up to a tenth of its edges, so that no favourite point (the centre, a corner) is the optimum;
the known minimum stays inside. Prints seeds, versions, the median regret on the way and the CPU seconds per ask.
"""

# ruff: noqa: E402  (the number of threads is set before numpy is imported)
from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np

from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.policies import Policy, Start, build
from frazil_tuner.space import Space

MARKS = (10, 25, 50)
SHIFT = 0.1

Point = Mapping[str, float]


@dataclass(frozen=True)
class Problem:
    """A function (d,) → float to minimise over a box, with its least value and one point where that is taken."""

    name: str
    function: Callable[[np.ndarray], float]
    low: np.ndarray
    high: np.ndarray
    least: float
    at: np.ndarray

    def moved(self, seed: int) -> Problem:
        """The same function over a box moved at random, the minimum still inside."""
        edge = self.high - self.low
        shift = np.random.default_rng([seed, len(edge)]).uniform(-SHIFT, SHIFT, len(edge)) * edge
        moved = Problem(self.name, self.function, self.low + shift, self.high + shift, self.least, self.at)
        assert np.all((moved.low < self.at) & (self.at < moved.high)), "the box has left its minimum behind"
        return moved

    def __call__(self, point: Point) -> float:
        return self.function(np.array([point[name] for name in self.names]))

    @property
    def names(self) -> list[str]:
        return [f"x{i}" for i in range(len(self.low))]


def branin(x: np.ndarray) -> float:
    valley = x[1] - 5.1 / (4 * np.pi**2) * x[0] ** 2 + 5 / np.pi * x[0] - 6
    return float(valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x[0]) + 10)


def hartmann6(x: np.ndarray) -> float:
    heights = np.array([1.0, 1.2, 3.0, 3.2])
    steepness = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    centres = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    return float(-heights @ np.exp(-(steepness * (x - centres) ** 2).sum(1)))


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(
            "branin", branin, np.array([-5.0, 0.0]), np.array([10.0, 15.0]), 10 / (8 * np.pi), np.array([np.pi, 2.275])
        ),
        Problem(
            "hartmann6",
            hartmann6,
            np.zeros(6),
            np.ones(6),
            -3.3223680114155,
            np.array([0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]),
        ),
    )
}


@dataclass(frozen=True)
class Run:
    """The regret of the best value after each evaluation, and the CPU seconds of each ask."""

    regrets: list[float]
    seconds: list[float]


def run(problem: Problem, ask: Callable[[], Point], tell: Callable[[float], None], evaluations: int) -> Run:
    values, seconds = [], []
    for _ in range(evaluations):
        began = time.process_time()
        point = ask()
        seconds.append(time.process_time() - began)
        values.append(problem(point))
        tell(values[-1])
    return Run([float(best) for best in np.minimum.accumulate(values) - problem.least], seconds)


def run_ours(policy: str, problem: Problem, seed: int, evaluations: int) -> Run:
    bounds = zip(problem.names, problem.low, problem.high, strict=True)
    space = Space.from_json([{"name": n, "type": "float", "low": float(a), "high": float(b)} for n, a, b in bounds])
    definition = Definition(space, (Objective("value"),), seed=seed)
    chosen: Policy = build({"name": policy}, definition)
    trials: list[Trial] = []
    asked: list[Point] = []

    def ask() -> Point:
        number = len(trials)
        (start,) = chosen.suggest(Study(definition, tuple(trials)), 1, seed * 100_003 + number)
        assert isinstance(start, Start)
        asked.append(start.params)
        return start.params

    def tell(value: float) -> None:
        trials.append(Trial(len(trials), asked[-1], TrialState.COMPLETED, values={"value": value}))

    return run(problem, ask, tell, evaluations)


def run_optuna(sampler: str, problem: Problem, seed: int, evaluations: int) -> Run:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))
    asked: list[optuna.Trial] = []

    def ask() -> Point:
        trial = study.ask()
        asked.append(trial)
        bounds = zip(problem.names, problem.low, problem.high, strict=True)
        return {name: trial.suggest_float(name, low, high) for name, low, high in bounds}

    return run(problem, ask, lambda value: study.tell(asked[-1], value) and None, evaluations)


PEERS: Mapping[str, Callable[[Problem, int, int], Run]] = {
    "frazil bayes": lambda *which: run_ours("bayes", *which),
    "frazil random": lambda *which: run_ours("random", *which),
    "optuna GP": lambda *which: run_optuna("GPSampler", *which),
    "optuna TPE": lambda *which: run_optuna("TPESampler", *which),
}


def compare(problem: Problem, peer: str, seeds: range, evaluations: int) -> dict[str, object]:
    runs = [PEERS[peer](problem.moved(seed), seed, evaluations) for seed in seeds]
    marks = [mark for mark in MARKS if mark < evaluations] + [evaluations]
    return {
        "problem": problem.name,
        "peer": peer,
        "regret": {mark: median(run.regrets[mark - 1] for run in runs) for mark in marks},
        "final": [run.regrets[-1] for run in runs],
        "seconds_per_ask": sum(sum(run.seconds) for run in runs) / (len(runs) * evaluations),
    }


def show(row: Mapping[str, object]) -> None:
    regret = "  ".join(f"{mark}: {value:9.2e}" for mark, value in dict(row["regret"]).items())  # type: ignore[call-overload]
    print(f"{row['problem']:10} {row['peer']:14} {regret}   {row['seconds_per_ask']:.3f} CPU s/ask", flush=True)


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    given = arguments(argv)
    versions = {name: version(name) for name in ("torch", "numpy", "scipy", "optuna")}
    print(
        f"seeds 0 to {given.seeds - 1}, Python {platform.python_version()},", ", ".join(map(" ".join, versions.items()))
    )
    print("median regret after so many evaluations")
    rows = []
    for name in given.problems:
        for peer in given.peers:
            rows.append(compare(PROBLEMS[name], peer, range(given.seeds), given.evaluations))
            show(rows[-1])
    if given.json:
        given.json.write_text(json.dumps({"seeds": given.seeds, "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
