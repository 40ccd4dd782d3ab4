"""Which run gets the next epoch? Our policies beside Optuna's pruners and others, on tables of real learning curves.

    python benchmarks/freeze_thaw.py --data DIR [--tasks …] [--policies …] [--budget 1000] [--seeds 10] [--workers 1]
                                     [--summary last|best] [--jobs 2] [--json FILE]

Regret × 1000 of the configuration that is recommended after so many epochs in all: (its loss at the last epoch - the
lowest in the table) / (L0 - the lowest), L0 being the median loss before training, and the loss of a diverged run;
with `--summary best` the lowest loss on the way takes the place of the last one. Ours recommend as they do to users;
of other tools it is the trial whose newest loss is the lowest, which suits them better than Optuna's `best_trial`.

Other tools search the unit cube of the table's space, as our own models do, are moved to the nearest free candidate,
hear of every epoch, and pay for every epoch they used. LCBench was not drawn on the scales of its space: a random point
of the cube falls on the few candidates of small weight decay, the best among them, far more often than a random
candidate is one. That favours the others; `--places ranks` gives every column by its ranks and takes it from them.
Their runs are kept below `.venv/bench`; ours run anew.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean, median

import numpy as np
from contest import CACHE, ONE_THREAD, Crashed, Missing, Peer, Unsupported
from races import ABSENT, CONTENDERS, PLACES, Contender, Event, Race, run, version
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata, wilcoxon
from tables import FAMILIES
from verdicts import Check

OURS = "freeze_thaw"
MARKS = (100, 300, 500, 1000)
TARGETS = {100: 40, 300: 20, 500: 10, 1000: 5}
TARGET_TASKS = {"Fashion-MNIST", "higgs", "volkert", "jasmine"}
HALF, HALF_AT = 0.5, (100, 300)
FASTER = 6.0
STRIDE = 25
"""Epochs between two looks at how fast several workers are."""


@dataclass(frozen=True)
class Pairing:
    """Ours against one other at a mark, over all tasks and seeds that both have; Wilcoxon's p is two-sided."""

    other: str
    mark: int
    pairs: int
    better: int
    worse: int
    difference: float
    p: float


class Results:
    """Races, looked up by contender, task and seed."""

    def __init__(self, races: Sequence[Race]) -> None:
        self.contenders = list(dict.fromkeys(race.contender for race in races))
        self.tasks = list(dict.fromkeys(race.task for race in races))
        self._races = {(race.contender, race.task, race.seed): race for race in races}

    def of(self, contender: str, task: str | None = None) -> list[Race]:
        return [
            race for (name, on, _), race in self._races.items() if name == contender and (task is None or on == task)
        ]

    def mean(self, contender: str, mark: int, task: str | None = None) -> float:
        """Over seeds, then over tasks."""
        tasks = self.tasks if task is None else [task]
        return fmean(fmean([race.regret(mark) for race in self.of(contender, on)] or [math.nan]) for on in tasks)

    def median(self, contender: str, mark: int) -> float:
        """The median over seeds, and the mean of that over tasks."""
        return fmean(median([race.regret(mark) for race in self.of(contender, on)] or [math.nan]) for on in self.tasks)

    def mean_ranks(self, mark: int) -> dict[str, float]:
        """Over the tasks and seeds that all have, 1 is best; equals share their mean place."""
        common = [key for key in {(race.task, race.seed) for race in self._races.values()} if self._have(*key)]
        rows = [[self._races[name, *key].regret(mark) for name in self.contenders] for key in common]
        ranks = np.mean([rankdata(row) for row in rows], axis=0) if rows else np.full(len(self.contenders), math.nan)
        return dict(zip(self.contenders, ranks.tolist(), strict=True))

    def _have(self, task: str, seed: int) -> bool:
        return all((name, task, seed) in self._races for name in self.contenders)

    def pairing(self, ours: str, other: str, mark: int) -> Pairing:
        differences = np.array(
            [
                race.regret(mark) - self._races[other, race.task, race.seed].regret(mark)
                for race in self.of(ours)
                if (other, race.task, race.seed) in self._races
            ]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few pairs: the approximation is what there is
            p = float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0
        better, worse = int((differences < 0).sum()), int((differences > 0).sum())
        middle = float(differences.mean()) if len(differences) else math.nan
        return Pairing(other, mark, len(differences), better, worse, middle, p)


# ── the targets ──────────────────────────────────────────────────────────────────────────────────────────────────────


def checks(results: Results, ours: str, marks: Sequence[int], peers: Sequence[str]) -> list[Check]:
    """`peers` are the tools of others; ranks are among all."""
    made = [check for mark in marks for check in absolute(results, ours, mark)]
    if len(results.contenders) > 1:
        made += [ranked(results, ours, mark) for mark in marks]
    if peers:
        made += [halved(results, ours, mark, peers) for mark in marks if mark in HALF_AT]
    return made


def absolute(results: Results, ours: str, mark: int) -> list[Check]:
    """Only on the tasks for which the targets were set."""
    if set(results.tasks) != TARGET_TASKS or mark not in TARGETS:
        return []
    reached = 1000 * results.mean(ours, mark)
    sentence = f"after {mark} epochs {reached:.1f} (medians of seeds: {1000 * results.median(ours, mark):.1f})"
    return [Check(f"{sentence}, at most {TARGETS[mark]}", reached <= TARGETS[mark])]


def ranked(results: Results, ours: str, mark: int) -> Check:
    ranks = results.mean_ranks(mark)
    first = min((name for name in ranks if name != ours), key=ranks.__getitem__)
    sentence = f"mean rank after {mark} epochs {ranks[ours]:.2f}, the next best {ranks[first]:.2f} ({first})"
    return Check(sentence, ranks[ours] < ranks[first])


def halved(results: Results, ours: str, mark: int, peers: Sequence[str]) -> Check:
    best = min(peers, key=lambda peer: results.mean(peer, mark))
    ratio = results.mean(ours, mark) / results.mean(best, mark)
    return Check(f"after {mark} epochs x{ratio:.2f} of the best peer's mean ({best}), at most {HALF}", ratio <= HALF)


def speed_checks(alone: Results, together: Results, ours: str, marks: Sequence[int]) -> list[Check]:
    """How much sooner, in virtual time, several workers come to the regret that one had after each mark."""
    made = []
    for mark in marks:
        wanted = alone.mean(ours, mark)
        reached = [
            (fmean(race.times[look] for race in together.of(ours)), together.mean(ours, int(look)))
            for look in together.of(ours)[0].regrets
        ]
        soonest = min((time for time, value in reached if value <= wanted), default=math.inf)
        sentence = f"regret {1000 * wanted:.1f}, one worker's after {mark} epochs: {mark / soonest:.1f} times sooner"
        made.append(Check(f"{sentence}, at least {FASTER:g}", mark / soonest >= FASTER))
    return made


# ── the races ────────────────────────────────────────────────────────────────────────────────────────────────────────

Plan = tuple[Contender, Event, int]


def attempt(contender: Contender, event: Event, seed: int, cache: Path) -> Race | str:
    """A race, or a sentence that says why there is none."""
    try:
        made = run(contender, event, seed, cache)
    except (Missing, Unsupported, Crashed) as reason:
        return f"{contender.name} on {event.task}: {reason}"
    shown = " ".join(f"{1000 * made.regret(mark):6.1f}" for mark in MARKS if mark in event.marks)
    line = f"{event.task[:32]:32} {contender.name:14} x{event.workers} seed {seed}  {shown}  {made.cpu:.4f} s"
    print(line, file=sys.stderr, flush=True)
    return made


def hold(plans: Sequence[Plan], jobs: int, cache: Path) -> tuple[list[Race], list[str]]:
    """All races, and why some could not be held."""
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(attempt, *zip(*((*plan, cache) for plan in plans), strict=True))) if plans else []
    return [race for race in made if isinstance(race, Race)], list(dict.fromkeys(r for r in made if isinstance(r, str)))


def take_part(names: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """Those that can be had here, and why the others cannot."""
    present: list[Contender] = []
    missing = [f"{name}: {reason}" for name, reason in ABSENT.items()]
    for name in names:
        try:
            version(CONTENDERS[name])
            present.append(CONTENDERS[name])
        except Missing as reason:
            missing.append(f"{name}: {reason}")
    return present, missing


def events(given: argparse.Namespace) -> list[Event]:
    marks = [mark for mark in MARKS if mark < given.budget] + [given.budget]
    names = [(family, path.stem) for family in FAMILIES for path in sorted((given.data / family).glob("*.npz"))]
    wanted = set(given.tasks or (name for _, name in names))
    if unknown := wanted - {name for _, name in names}:
        sys.exit(f"no such tasks below {given.data}: {', '.join(sorted(unknown))}")
    made = Event(given.data, "", "", given.summary, given.workers, given.budget, marks, given.places)
    return [replace(made, family=family, task=name) for family, name in names if name in wanted]


def longer(event: Event) -> Event:
    """The same with enough epochs, and looks, to see how fast several workers are."""
    budget = math.ceil(event.budget * event.workers / FASTER)
    marks = sorted({*event.marks, *range(STRIDE, budget + 1, STRIDE), budget})
    return replace(event, budget=budget, marks=marks)


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────────


def drawn(title: str, *columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, title=title, title_justify="left")


def task_table(results: Results, marks: Sequence[int]) -> Table:
    made = drawn("Mean regret × 1000 after so many epochs", "task", "", *map(str, marks), "seeds")
    for task in results.tasks:
        for contender in results.contenders:
            seeds = len(results.of(contender, task))
            cells = [f"{1000 * results.mean(contender, mark, task):.1f}" if seeds else "–" for mark in marks]
            made.add_row(task[:40], contender, *cells, str(seeds))
        made.add_row()
    return made


def summary_table(results: Results, marks: Sequence[int]) -> Table:
    columns = (*(f"mean {mark}" for mark in marks), *(f"median {mark}" for mark in marks))
    made = drawn("All tasks", "", *columns, *(f"rank {mark}" for mark in marks), "CPU ms")
    ranks = [results.mean_ranks(mark) for mark in marks]
    for name in sorted(results.contenders, key=ranks[-1].__getitem__):
        looks: list[Callable[[str, int], float]] = [results.mean, results.median]
        cells = [f"{1000 * look(name, mark):.1f}" for look in looks for mark in marks]
        cells += [f"{rank[name]:.2f}" for rank in ranks]
        made.add_row(name, *cells, f"{1000 * fmean(race.cpu for race in results.of(name)):.2f}")
    return made


def pairing_table(results: Results, ours: str, marks: Sequence[int]) -> Table:
    columns = ("", "epochs", "pairs", "better", "worse", "mean difference", "p")
    made = drawn(f"{ours} against each", *columns)
    for other, mark in product(results.contenders, marks):
        if other != ours:
            pairing = results.pairing(ours, other, mark)
            counts = map(str, (mark, pairing.pairs, pairing.better, pairing.worse))
            made.add_row(other, *counts, f"{1000 * pairing.difference:+.1f}", f"{pairing.p:.1e}")
    return made


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with lcbench/ and taskset/")
    parser.add_argument("--tasks", nargs="+", help="all that are there, if not named")
    parser.add_argument("--policies", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="ours, and others")
    parser.add_argument("--ours", choices=CONTENDERS, default=OURS, help="the one that is compared with each")
    parser.add_argument("--budget", type=int, default=1000, help="epochs in all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--summary", choices=("last", "best"), default="last", help="what counts of a curve")
    parser.add_argument("--places", choices=PLACES, default="cube", help="how other tools see the candidates")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    given = arguments(argv)
    os.environ.update(ONE_THREAD)
    every, (present, missing) = events(given), take_part(given.policies)
    plans = [(one, event, seed) for event, one, seed in product(every, present, range(given.seeds))]
    races, failed = hold(plans, given.jobs, given.cache)
    results, marks = Results(races), every[0].marks
    found: list[Check] = []
    if given.ours in results.contenders:
        found = checks(results, given.ours, marks, [one.name for one in present if isinstance(one, Peer)])
        if given.workers > 1:
            found += how_fast(given, every)
    report(given, results, [*missing, *failed], found, marks)
    if given.json:
        content = {
            "missing": [*missing, *failed],
            "races": list(map(asdict, races)),
            "checks": list(map(asdict, found)),
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")


def how_fast(given: argparse.Namespace, every: Sequence[Event]) -> list[Check]:
    """Ours once more: alone, and together for as long as it takes."""
    ours = CONTENDERS[given.ours]
    alone, _ = hold(
        [(ours, replace(e, workers=1), s) for e, s in product(every, range(given.seeds))], given.jobs, given.cache
    )
    together, _ = hold([(ours, longer(e), s) for e, s in product(every, range(given.seeds))], given.jobs, given.cache)
    return speed_checks(Results(alone), Results(together), given.ours, every[0].marks)


def report(
    given: argparse.Namespace, results: Results, missing: Sequence[str], found: Sequence[Check], marks: Sequence[int]
) -> None:
    console = Console(width=150)
    load = [round(load, 2) for load in os.getloadavg()]
    console.print(
        f"summary {given.summary}, {given.workers} worker{'s' * (given.workers > 1)}, others see {given.places}, "
        f"seeds from 0, one thread a process; {os.cpu_count()} CPUs, load {load}"
    )
    for reason in missing:
        console.print(f"missing: {reason}", highlight=False)
    if results.contenders:
        console.print(task_table(results, marks))
        console.print(summary_table(results, marks))
    if given.ours in results.contenders:
        console.print(pairing_table(results, given.ours, marks))
    for check in found:
        console.print(str(check), highlight=False)


if __name__ == "__main__":
    main(sys.argv[1:])
