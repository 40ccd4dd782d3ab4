"""What earlier studies are worth to a new one, and what a misleading one costs.

    python benchmarks/transfer.py [--seeds 5] [--families …] [--jobs 1] [--json FILE]

A family is five related tasks: one function with its minimum moved a little, and its values stretched and lifted, for
each. Every task is optimised from a cold start; then again with the other four studies at hand, and again with one
study of the task's mirror image: as smooth, as plausible, and wrong about the place. (The task's negative would not
mislead: whoever learns that it is one knows all.) Prints regret after ten evaluations
by that of the cold start: the geometric mean over tasks and seeds, with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from contest import CACHE, OURS, started, task_of
from problems import HARTMANN6, Box, Instance, Params, Problem, Values, hartmann6
from rich.console import Console
from rich.table import Table
from verdicts import Check

from frazil_tuner.space import Space

TASKS = 5
AFTER = 10
HISTORY = 30
WARM_TARGET, MISLED_TARGET = 0.5, 1.2
RESOLUTION = 1e-6

Trials = Sequence[tuple[Params, Values]]


def quadratics(rng: np.random.Generator, centre: np.ndarray, weights: np.ndarray) -> Instance:
    """Four dimensions, ill-conditioned: the weights are the family's, the minimum moves by 0.05 in each."""
    at = centre + rng.uniform(-0.05, 0.05, len(centre))
    return varied(rng, lambda x: float(weights @ (x - at) ** 2), np.zeros(4), np.ones(4), 0.0, at)


def hartmanns(rng: np.random.Generator, centre: np.ndarray, weights: np.ndarray) -> Instance:
    """Hartmann6, moved by 0.05 in each dimension."""
    move = rng.uniform(-0.05, 0.05, 6)
    return varied(
        rng, lambda x: hartmann6(x - move), HARTMANN6.low, HARTMANN6.high, HARTMANN6.least, HARTMANN6.at + move
    )


def varied(
    rng: np.random.Generator,
    function: Callable[[np.ndarray], float],
    low: np.ndarray,
    high: np.ndarray,
    least: float,
    at: np.ndarray,
) -> Instance:
    """A task of its own scale and offset; regret stays that of the function, for its offset is known."""
    scale, offset = float(np.exp(rng.uniform(-1, 1))), float(rng.normal(0, 3))
    box = Box(lambda x: scale * function(x) + offset, low, high, scale * least + offset, at, shift=0.0)
    return box.moved(0)


FAMILIES: Mapping[str, Callable[[np.random.Generator, np.ndarray, np.ndarray], Instance]] = {
    "quadratics": quadratics,
    "hartmanns": hartmanns,
}


def family(name: str, seed: int) -> list[Instance]:
    """Its tasks; what they share is drawn first."""
    rng = np.random.default_rng([seed, 8])
    centre, weights = 0.5 + rng.choice([-1, 1], 4) * rng.uniform(0.15, 0.3, 4), 10 ** rng.uniform(-1, 1, 4)
    return [FAMILIES[name](rng, centre, weights) for _ in range(TASKS)]


def optimised(
    instance: Instance, seed: int, evaluations: int, policy: Mapping[str, Any], related: Sequence[Trials], log: Path
) -> list[tuple[Params, Values]]:
    """The trials of one study, with earlier ones at hand."""
    peer = replace(OURS, options={"policy": policy, "related": related})
    task = task_of(Problem("transfer", lambda _: instance), instance, seed, evaluations)
    trials: list[tuple[Params, Values]] = []
    with started(peer, task, log) as (client, _):
        while len(trials) < evaluations:
            (params,) = client.call(ask=1).result
            trials.append((params, instance.outcomes(params)))
            client.call(tell=[trials[-1][1]])
    return trials


def mirrored(instance: Instance, seed: int) -> Trials:
    """A study of the task seen in a mirror at the centre of the unit cube, at random points."""
    space, rng = Space.from_json([dict(item) for item in instance.space]), np.random.default_rng([seed, 9])
    points = [space.draw(rng) for _ in range(HISTORY)]
    return [(point, instance.outcomes({name: 1 - x for name, x in point.items()})) for point in points]


def regret(instance: Instance, trials: Trials) -> float:
    assert instance.least is not None
    return max(min(values["value"] for _, values in trials[:AFTER]) - instance.least, RESOLUTION)


@dataclass(frozen=True)
class Outcome:
    """Regrets of one task at one seed: from a cold start, with the other studies, with the mirrored one."""

    family: str
    seed: int
    task: int
    cold: float
    warm: float
    misled: float


def outcomes(name: str, seed: int, policy: Mapping[str, Any], cache: Path) -> list[Outcome]:
    """Of every task of a family."""
    tasks, log = family(name, seed), cache / "log" / f"transfer-{name}-{seed}.txt"
    cold = [optimised(task, seed * TASKS + i, HISTORY, policy, [], log) for i, task in enumerate(tasks)]
    found = []
    for i, task in enumerate(tasks):
        others = [trials for j, trials in enumerate(cold) if j != i]
        again = [
            regret(task, optimised(task, seed * TASKS + i, AFTER, policy, related, log))
            for related in (others, [mirrored(task, seed)])
        ]
        found.append(Outcome(name, seed, i, regret(task, cold[i]), *again))
        print(found[-1], file=sys.stderr, flush=True)
    return found


def ratio_table(found: Sequence[Outcome]) -> Table:
    columns = ("family", "", "studies", "÷ cold start", "quartiles")
    drawn = Table(*columns, box=None, pad_edge=False, title=f"Regret after {AFTER} evaluations", title_justify="left")
    for name in (*families_of(found), "all"):
        for start in ("warm", "misled"):
            logs = log_ratios(found, start, name)
            low, high = np.exp(np.quantile(logs, [0.25, 0.75]))
            drawn.add_row(name, start, f"{len(logs)}", f"x{np.exp(logs.mean()):.2f}", f"{low:.2f}–{high:.2f}")
    return drawn


def log_ratios(found: Sequence[Outcome], start: str, family: str = "all") -> np.ndarray:
    """log of the regret (n,) by that of the cold start."""
    chosen = [outcome for outcome in found if family in (outcome.family, "all")]
    return np.log([getattr(outcome, start) / outcome.cold for outcome in chosen])


def checks(found: Sequence[Outcome]) -> list[Check]:
    """Of each family by itself: one that gains much may not hide one that loses."""
    made = []
    for name, (start, target) in product(families_of(found), (("warm", WARM_TARGET), ("misled", MISLED_TARGET))):
        mean = float(np.exp(log_ratios(found, start, name).mean()))
        made.append(Check(f"{name}, {start}: x{mean:.2f} of a cold start's regret, at most {target:g}", mean <= target))
    return made


def families_of(found: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.family for outcome in found))


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--ours", type=json.loads, default=OURS.options["policy"], help='the policy, {"name": "bayes"}')
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where a driver's last words go")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    given = arguments(argv)
    plan = list(product(given.families, range(given.seeds)))
    with ThreadPoolExecutor(given.jobs) as pool:
        found = [
            outcome for some in pool.map(lambda w: outcomes(*w, given.ours, given.cache), plan) for outcome in some
        ]
    console = Console(width=120)
    console.print(
        f"seeds 0 to {given.seeds - 1}, {TASKS} tasks a family, Python {platform.python_version()}, policy {given.ours}"
    )
    console.print(ratio_table(found))
    made = checks(found)
    for check in made:
        console.print(str(check), highlight=False)
    if given.json:
        content = {"outcomes": [asdict(o) for o in found], "checks": [asdict(c) for c in made]}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
