"""Simple regret of ours beside Optuna, Ax, HEBO, OSS Vizier, SMAC3 and random search, on problems whose least is known.

    python benchmarks/regret.py [--problems …] [--peers …] [--seeds 10] [--first-seed 0] [--evaluations 50] [--jobs 1]
                                [--json FILE]

Every seed moves or remakes the problem. Regret is the least noiseless value among the feasible trials so far, minus the
least there is. For noisy problems it is that of the trial which the tool itself recommends (ours `recommend`, Optuna
`best_trial`, Ax its model-based best, the others their best observed one); with two objectives it is the hypervolume
that is missing; for the real one, the error above the best of 500 random configurations. Peers run once for each of
their versions and are kept in the cache, ours runs every time; slow peers have fewer seeds, and are compared on those.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

from contest import CACHE, OURS, PEERS, Crashed, Missing, Peer, Run, Unsupported, kept, ready, run
from problems import PROBLEMS, Problem
from rich.console import Console
from rich.table import Table
from verdicts import Check, Results, checks

MARKS = (10, 25, 50)


def attempt(peer: Peer, problem: Problem, seed: int, marks: Sequence[int], cache: Path) -> Run | str:
    """A run, or a sentence that says why there is none."""
    make = run if peer.name == OURS.name else kept
    try:
        made = make(peer, problem, seed, marks, cache)
    except (Unsupported, Crashed) as reason:
        return f"{peer.name} on {problem.name}: {reason}"
    print(f"{problem.name:18} {peer.name:11} seed {seed}  {made.regret(marks[-1]):9.2e}", file=sys.stderr, flush=True)
    return made


def take_part(peers: Sequence[Peer]) -> tuple[list[Peer], list[str]]:
    """Those that can be had here, and why the others cannot."""
    present, missing = [], []
    for peer in peers:
        try:
            ready(peer)
            present.append(peer)
        except Missing as reason:
            missing.append(f"{peer.name}: {reason}")
    return present, missing


def contend(given: argparse.Namespace, peers: Sequence[Peer], marks: Sequence[int]) -> tuple[list[Run], list[str]]:
    """All runs, and why some could not be made."""
    plan = [
        (peer, PROBLEMS[name], seed)
        for name, peer in product(given.problems, peers)
        for seed in range(given.first_seed, given.first_seed + min(given.seeds, peer.seeds))
    ]
    with ThreadPoolExecutor(given.jobs) as pool:
        made = list(pool.map(lambda which: attempt(*which, marks, given.cache), plan))
    reasons = dict.fromkeys(found for found in made if isinstance(found, str))
    return [found for found in made if isinstance(found, Run)], list(reasons)


def regret_table(results: Results, marks: Sequence[int]) -> Table:
    columns = ("problem", "", *(f"{mark}" for mark in marks), "seeds")
    drawn = Table(
        *columns, box=None, pad_edge=False, title="Median regret after so many evaluations", title_justify="left"
    )
    for problem in results.problems:
        for peer in results.peers:
            runs = results.runs(peer, problem)
            cells = [f"{results.median(peer, problem, mark):.2e}" if runs else "–" for mark in marks]
            drawn.add_row(problem, peer, *cells, str(len(runs)))
        drawn.add_row()
    return drawn


def summary_table(results: Results, ours: str) -> Table:
    columns = ("", "mean rank", "CPU s/ask", "geo. mean ÷", "pairs", "better", "worse", "median ÷", "p")
    drawn = Table(
        *columns, box=None, pad_edge=False, title=f"{ours} against each (÷: ours by theirs)", title_justify="left"
    )
    ranks = results.mean_ranks()
    for peer in sorted(results.peers, key=ranks.__getitem__):
        cells = [f"{ranks[peer]:.2f}", f"{results.cpu_per_ask(peer):.3f}"]
        if peer != ours and ours in results.peers:
            pairing = results.pairing(ours, peer)
            cells += [
                f"x{results.geometric_ratio(ours, peer):.3f}",
                *map(str, (pairing.pairs, pairing.better, pairing.worse)),
            ]
            cells += [f"x{pairing.ratio:.3f}", f"{pairing.p:.1e}"]
        drawn.add_row(peer, *cells)
    return drawn


def surroundings(runs: Sequence[Run]) -> dict[str, Any]:
    versions: dict[str, str] = {}
    for made in runs:
        versions |= {f"{made.peer}: {name}": number for name, number in made.versions.items()}
    load = [round(load, 2) for load in os.getloadavg()]
    return {"python": platform.python_version(), "cpus": os.cpu_count(), "load": load, "versions": versions}


def report(given: argparse.Namespace, runs: Sequence[Run], missing: Sequence[str], marks: Sequence[int]) -> None:
    console = Console(width=120)
    around = surroundings(runs)
    machine = f"Python {around['python']}, {around['cpus']} CPUs, load {around['load']}"
    console.print(f"seeds from {given.first_seed}; one thread a process; {machine}")
    console.print(", ".join(f"{name} {number}" for name, number in around["versions"].items()), highlight=False)
    for reason in missing:
        console.print(f"missing: {reason}", highlight=False)
    found: list[Check] = []
    if runs:
        results = Results(runs, marks[-1])
        console.print(regret_table(results, marks))
        console.print(summary_table(results, OURS.name))
        found = checks(results, OURS.name) if OURS.name in results.peers else []
    for check in found:
        console.print(str(check), highlight=False)
    if given.json:
        content = {
            **around,
            "missing": missing,
            "runs": [asdict(made) for made in runs],
            "checks": [asdict(c) for c in found],
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="at most; slow peers have fewer")
    parser.add_argument("--first-seed", type=int, default=0, help="ours was tuned on seeds 0 to 9")
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--ours", type=json.loads, default=OURS.options["policy"], help='the policy, {"name": "bayes"}; null: none'
    )
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    given = arguments(argv)
    marks = [mark for mark in MARKS if mark < given.evaluations] + [given.evaluations]
    ours = [replace(OURS, options={"policy": given.ours})] if given.ours else []
    present, missing = take_part([*ours, *(PEERS[name] for name in given.peers)])
    runs, failed = contend(given, present, marks)
    report(given, runs, missing + failed, marks)


if __name__ == "__main__":
    main(sys.argv[1:])
