"""Is a refined schedule better than those that people take? Three convex problems and a network on digits, under SGD.

    python benchmarks/schedules.py [--steps 1000] [--seeds 10] [--problems …]

For each problem and seed a run with linear decay reports the norm of every gradient; from these its schedule is
refined. Then constant, cosine, linear and refined schedules train alike, each with the peak that is best for it on a
grid (by the mean over tuning seeds, which are not those of the comparison). What counts is the training loss after the
last step.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import wilcoxon

from frazil_tuner.schedules import Schedule, refined

Floats = np.ndarray
BATCH = 16
PEAKS = 10.0 ** np.arange(-3, 1.01, 1 / 3)
TUNING = 3
"""Seeds, beyond those of the comparison, over which peaks are chosen."""

PLAIN = {"constant": {"kind": "constant"}, "cosine": {"kind": "cosine"}, "linear": {"kind": "linear"}}


@dataclass(frozen=True)
class Problem:
    """`loss` and `slope` of weights (k,) on some rows of the data; `start` draws the first weights."""

    name: str
    rows: int
    start: Callable[[np.random.Generator], Floats]
    loss: Callable[[Floats, Floats], float]
    slope: Callable[[Floats, Floats], Floats]


@cache
def digits() -> tuple[Floats, Floats]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.hstack([pixels / 16.0, np.ones((len(pixels), 1))]), labels


def softmax_regression() -> Problem:
    """Convex and smooth: cross-entropy of a linear classifier of ten digits."""
    X, labels = digits()
    truth = np.eye(10)[labels]

    def logits(w: Floats, i: Floats) -> Floats:
        return log_softmax(X[i] @ w.reshape(65, 10))

    return Problem(
        "softmax", len(X), lambda rng: np.zeros(650),
        lambda w, i: float(-(logits(w, i) * truth[i]).sum(1).mean()),
        lambda w, i: (X[i].T @ (np.exp(logits(w, i)) - truth[i])).ravel() / len(i),
    )  # fmt: skip


def hinge() -> Problem:
    """Convex, not smooth: a linear separator of even and odd digits."""
    X, labels = digits()
    sign = np.where(labels % 2, 1.0, -1.0)

    def slope(w: Floats, i: Floats) -> Floats:
        short = sign[i] * (X[i] @ w) < 1
        return -(X[i] * (sign[i] * short)[:, None]).mean(0) + 1e-3 * w

    return Problem(
        "hinge", len(X), lambda rng: np.zeros(65),
        lambda w, i: float(np.maximum(1 - sign[i] * (X[i] @ w), 0).mean() + 5e-4 * w @ w), slope,
    )  # fmt: skip


def absolute_regression() -> Problem:
    """Convex, not smooth, with heavy noise: least absolute deviations in 30 dimensions, ill-conditioned."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((2000, 30)) * np.logspace(0, -1.5, 30)
    y = X @ rng.standard_normal(30) + 0.3 * rng.standard_t(2, 2000)
    return Problem(
        "absolute", len(X), lambda rng: np.zeros(30),
        lambda w, i: float(np.abs(X[i] @ w - y[i]).mean()),
        lambda w, i: X[i].T @ np.sign(X[i] @ w - y[i]) / len(i),
    )  # fmt: skip


def network() -> Problem:
    """A network with one hidden layer of 32 on the digits."""
    X, labels = digits()
    truth, cut = np.eye(10)[labels], 65 * 32

    def parts(w: Floats, i: Floats) -> tuple[Floats, Floats]:
        hidden = np.maximum(X[i] @ w[:cut].reshape(65, 32), 0)
        return hidden, log_softmax(hidden @ w[cut:].reshape(32, 10))

    def slope(w: Floats, i: Floats) -> Floats:
        hidden, logs = parts(w, i)
        wrong = (np.exp(logs) - truth[i]) / len(i)
        back = wrong @ w[cut:].reshape(32, 10).T * (hidden > 0)
        return np.concatenate([(X[i].T @ back).ravel(), (hidden.T @ wrong).ravel()])

    def start(rng: np.random.Generator) -> Floats:
        sizes = np.sqrt(2 / np.repeat([65, 32], [cut, 320]))
        return rng.standard_normal(cut + 320) * sizes

    return Problem("digits MLP", len(X), start, lambda w, i: float(-(parts(w, i)[1] * truth[i]).sum(1).mean()), slope)


PROBLEMS: Mapping[str, Callable[[], Problem]] = {
    "softmax": softmax_regression,
    "hinge": hinge,
    "absolute": absolute_regression,
    "mlp": network,
}


def log_softmax(z: Floats) -> Floats:
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def train(problem: Problem, multipliers: Floats, peak: float, seed: int) -> tuple[float, Floats]:
    """The loss on all rows after the last step, and the norm of each step's gradient."""
    rng = np.random.default_rng(seed)
    w, norms = problem.start(rng), np.empty(len(multipliers))
    with np.errstate(all="ignore"):
        for step, multiplier in enumerate(multipliers):
            g = problem.slope(w, rng.integers(0, problem.rows, BATCH))
            norms[step] = np.sqrt(g @ g)
            w = w - peak * multiplier * g
        loss = problem.loss(w, np.arange(problem.rows))
    return (loss if np.isfinite(loss) else np.inf), norms


def best_peak(problem: Problem, multipliers: Callable[[int], Floats], seeds: Sequence[int]) -> float:
    means = [np.mean([train(problem, multipliers(seed), peak, seed)[0] for seed in seeds]) for peak in PEAKS]
    return float(PEAKS[int(np.argmin(means))])


def compare(problem: Problem, steps: int, seeds: int) -> dict[str, tuple[float, list[float]]]:
    """Of each schedule the peak it trains with, and its loss for each seed."""
    tuning = range(seeds, seeds + TUNING)
    fixed = {name: Schedule.of({**it, "total_steps": steps}).multipliers(range(steps)) for name, it in PLAIN.items()}
    chosen = {name: best_peak(problem, lambda _, m=m: m, tuning) for name, m in fixed.items()}

    def refine(seed: int) -> Floats:
        _, norms = train(problem, fixed["linear"], chosen["linear"], seed)
        return refined(np.maximum(norms, 1e-12).tolist(), norm="l2").multipliers(range(steps))

    tables = {seed: refine(seed) for seed in range(seeds + TUNING)}
    chosen["refined"] = best_peak(problem, tables.__getitem__, tuning)
    return {
        name: (
            peak,
            [train(problem, tables[s] if name == "refined" else fixed[name], peak, s)[0] for s in range(seeds)],
        )
        for name, peak in chosen.items()
    }


def report(found: Mapping[str, Mapping[str, tuple[float, list[float]]]]) -> Table:
    made = Table("problem", "schedule", "peak", "mean loss", "refined is better", "p", box=None, pad_edge=False)
    for problem, rows in found.items():
        ours = np.array(rows["refined"][1])
        for name, (peak, losses) in rows.items():
            gaps = np.array(losses) - ours
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # few pairs
                p = f"{wilcoxon(gaps).pvalue:.3f}" if gaps.any() else ""
            wins = f"{(gaps > 0).sum()} of {len(gaps)}" if name != "refined" else ""
            made.add_row(problem, name, f"{peak:.3g}", f"{np.mean(losses):.4f}", wins, p)
        made.add_row()
    return made


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    given = parser.parse_args(argv)
    begun, found = time.process_time(), {}
    for name in given.problems:
        problem = PROBLEMS[name]()
        found[problem.name] = compare(problem, given.steps, given.seeds)
        print(f"{problem.name}: {time.process_time() - begun:.0f} CPU s", file=sys.stderr, flush=True)
    console = Console(width=110)
    console.print(report(found))
    for other in ("linear", "cosine"):
        won = [name for name, rows in found.items() if np.mean(rows["refined"][1]) < np.mean(rows[other][1])]
        verdict = "met    " if len(won) == len(found) else "NOT met"
        console.print(f"{verdict}  refined has the lower mean loss than {other} on {len(won)} of {len(found)} problems")


if __name__ == "__main__":
    main(sys.argv[1:])
