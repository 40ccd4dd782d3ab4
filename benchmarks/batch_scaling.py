"""Does a learning rate carried from batch 32 to batch 256 by the exponent that a study's trials show lose less?

    python benchmarks/batch_scaling.py [--seeds 5] [--trials 40] [--problems quadratic softmax mlp]

SGD on a noisy quadratic, and on digits with a linear classifier and a network, always over as many samples. A study of
random trials with batches of 8 to 64 teaches the exponent. Then the rate that is best at 32 (on a grid) is carried to
256 by each rule; what counts is the training loss there, less that of the rate which is best at 256 itself. `learned`
is to lose at most half of what `none` loses.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from schedules import Problem, network, softmax_regression

from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.insights import scaling
from frazil_tuner.space import Space

Floats = np.ndarray
Loss = Callable[[float, int, int], float]
"""Of a learning rate, a batch size and a seed."""

FROM, TO = 32, 256
EPOCHS = 6
RATES = 10.0 ** np.arange(-3, 1.01, 1 / 6)
REPEATS = 3
"""Seeds, beyond those of the studies, over which losses are averaged."""

RULES = {"none": 0.0, "square root": 0.5, "linear": 1.0}
SPACE = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 1e-3, "high": 10.0, "log": True},
        {"name": "batch_size", "type": "ordinal", "values": [8, 16, 32, 64]},
    ]
)


def quadratic(lr: float, batch: int, seed: int) -> float:
    """½ Σ λ w² after 4 096 samples, with gradient noise of variance 1 / batch."""
    rng = np.random.default_rng(seed)
    curvature = np.logspace(-1.5, 0, 12)
    w = np.ones(12)
    with np.errstate(all="ignore"):
        for _ in range(4096 // batch):
            w = w - lr * (curvature * w + rng.standard_normal(12) / np.sqrt(batch))
        return _finite(0.5 * float((curvature * w * w).sum()))


def of_digits(problem: Problem) -> Loss:
    def loss(lr: float, batch: int, seed: int) -> float:
        rng = np.random.default_rng(seed)
        w = problem.start(rng)
        with np.errstate(all="ignore"):
            for _ in range(EPOCHS * problem.rows // batch):
                w = w - lr * problem.slope(w, rng.integers(0, problem.rows, batch))
            return _finite(problem.loss(w, np.arange(problem.rows)))

    return loss


def by_adam(problem: Problem) -> Loss:
    """Adam with its usual constants."""

    def loss(lr: float, batch: int, seed: int) -> float:
        rng = np.random.default_rng(seed)
        w = problem.start(rng)
        m = v = np.zeros_like(w)
        with np.errstate(all="ignore"):
            for step in range(1, EPOCHS * problem.rows // batch + 1):
                g = problem.slope(w, rng.integers(0, problem.rows, batch))
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                w = w - lr * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
            return _finite(problem.loss(w, np.arange(problem.rows)))

    return loss


def _finite(loss: float) -> float:
    return loss if np.isfinite(loss) and loss < 1e6 else np.inf


PROBLEMS: Mapping[str, Callable[[], Loss]] = {
    "quadratic": lambda: quadratic,
    "softmax": lambda: of_digits(softmax_regression()),
    "mlp": lambda: of_digits(network()),
    "softmax-adam": lambda: by_adam(softmax_regression()),
    "mlp-adam": lambda: by_adam(network()),
}


def learned(loss: Loss, trials: int, seed: int) -> tuple[float, float]:
    """The exponent that a study of random trials shows, and the largest rate with which it saw training go well."""
    rng = np.random.default_rng(seed)
    points = [SPACE.draw(rng) for _ in range(trials)]
    told = tuple(
        Trial(i, p, TrialState.COMPLETED, values={"loss": loss(p["lr"], p["batch_size"], 1000 * seed + i)})
        for i, p in enumerate(points)
    )
    found = scaling(Study(Definition(SPACE, (Objective("loss"),)), told), "lr", "batch_size")
    return float(found["exponent"]), float(found["ceiling"])


def mean_loss(loss: Loss, lr: float, batch: int) -> float:
    return float(np.mean([loss(lr, batch, 10**6 + repeat) for repeat in range(REPEATS)]))


def best_rate(loss: Loss, batch: int) -> tuple[float, float]:
    """The rate of the lowest mean loss, and that loss."""
    losses = [mean_loss(loss, lr, batch) for lr in RATES]
    best = int(np.argmin(losses))
    return float(RATES[best]), losses[best]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    given = parser.parse_args(argv)
    table = Table(
        "problem", "rule", "exponent", f"loss at {TO}", "lost", "of what none loses", box=None, pad_edge=False
    )
    kept = True
    for name in given.problems:
        begun, loss = time.process_time(), PROBLEMS[name]()
        (at_32, _), (at_256, least) = best_rate(loss, FROM), best_rate(loss, TO)
        by_rule = {rule: [(a, np.inf)] for rule, a in RULES.items()}
        by_rule["learned"] = [learned(loss, given.trials, seed) for seed in range(given.seeds)]
        lost = {
            rule: float(np.mean([mean_loss(loss, min(at_32 * (TO / FROM) ** a, most), TO) for a, most in of])) - least
            for rule, of in by_rule.items()
        }
        for rule, of in by_rule.items():
            exponents = [a for a, _ in of]
            exponent = f"{np.mean(exponents):.2f}" + (f" ± {np.std(exponents):.2f}" if len(of) > 1 else "")
            share = f"{lost[rule] / lost['none']:.2f}" if lost["none"] > 0 else "–"
            table.add_row(name, rule, exponent, f"{least + lost[rule]:.4f}", f"{lost[rule]:.4f}", share)
        table.add_row()
        kept &= lost["learned"] <= 0.5 * lost["none"]
        print(
            f"{name}: best rates {at_32:.3g} and {at_256:.3g}; {time.process_time() - begun:.0f} CPU s",
            file=sys.stderr,
            flush=True,
        )
    console = Console(width=110)
    console.print(table)
    console.print(f"{'met' if kept else 'NOT met':8} learned loses at most half of what none loses, on every problem")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
