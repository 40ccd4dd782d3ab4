"""What a suggestion costs: CPU seconds and memory by the number of trials, beside the peers; and an ask over HTTP.

    python benchmarks/latency.py [--sizes …] [--peers …] [--asks 4] [--limit 60] [--json FILE]

In ten dimensions. Each tool is handed so many finished random trials of Levy's function at once, in a fresh process;
then it is asked one point at a time, each told before the next. The first ask stands by itself: nothing is warm yet.
What takes longer than the limit is marked, and larger sizes are left out for that tool. Nothing is kept between runs.

Over HTTP, a real server with an embedded PostgreSQL is asked by one client with one kept-alive connection, each ask
after the shelf has been filled again: what a training script waits for on an idle machine. And a `freeze_thaw` study
with a thousand observations decides at the end of grants of one step, each TRAINED seconds after the last: what a run
waits for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import psycopg
from contenders import json_client
from contest import CACHE, OURS, PEERS, Client, Crashed, Missing, Peer, Unsupported, ready, started, task_of
from problems import PROBLEMS
from rich.console import Console
from rich.table import Table
from throughput import started as service_started
from verdicts import Check

from frazil_tuner.space import Space

PROBLEM = PROBLEMS["levy10"]
INSTANCE = PROBLEM.instance(0)
SIZES = (10, 30, 100, 300, 1_000, 3_000, 10_000)
RATIO_TARGET = 0.5
RATIO_PEER = "optuna-gp"
MOST_SECONDS = 1.0
MOST_BYTES = 1.5e9
P50_TARGET, P99_TARGET = 5.0, 25.0
DECISION_P50, DECISION_P95 = 150.0, 400.0
SEEN, RUNS, STEPS, TRAINED = 1_000, 100, 50, 1.0
"""Observations of a study that decides, the runs that they are of, the maximum of a run, and the seconds of a step: in
them the shelf is filled again.
"""


@dataclass(frozen=True)
class Cost:
    """Of one tool with so many trials: CPU seconds of the first ask and its tell, then the median of the later ones.

    `gave_out` says, instead, why there are none. `versions` are those of the tool's packages.
    """

    peer: str
    trials: int
    first: float = np.nan
    later: float = np.nan
    peak: int = 0
    gave_out: str = ""
    versions: Mapping[str, str] | None = None


def measure(peer: Peer, trials: int, asks: int, limit: float, cache: Path) -> Cost:
    """A fresh process, so many trials at once, then so many asks."""
    space, rng = Space.from_json([dict(item) for item in INSTANCE.space]), np.random.default_rng(trials)
    points = [space.draw(rng) for _ in range(trials)]
    history = [[point, INSTANCE.outcomes(point)] for point in points]
    task = task_of(PROBLEM, INSTANCE, 0, trials + asks)
    try:
        with started(peer, task, cache / "log" / f"{peer.name}-latency-{trials}.txt") as (client, versions):
            client.call(limit, load=history)
            costs = [ask_and_tell(client, limit) for _ in range(asks)]
    except (Unsupported, Crashed) as reason:
        return Cost(peer.name, trials, gave_out=str(reason))
    seconds, peaks = zip(*costs, strict=True)
    return Cost(peer.name, trials, seconds[0], median(seconds[1:]), max(peaks), "", versions)


def ask_and_tell(client: Client, limit: float) -> tuple[float, int]:
    """CPU seconds, and the peak of memory so far."""
    asked = client.call(limit, ask=1)
    told = client.call(limit, tell=[INSTANCE.outcomes(params) for params in asked.result])
    return asked.cpu + told.cpu, told.peak


def costs_of(peer: Peer, given: argparse.Namespace) -> list[Cost]:
    """By size, until the tool gives out."""
    found: list[Cost] = []
    for size in given.sizes:
        found.append(measure(peer, size, given.asks, given.limit, given.cache))
        print(shown(found[-1]), file=sys.stderr, flush=True)
        if found[-1].gave_out:
            break
    return found


def shown(cost: Cost) -> str:
    outcome = cost.gave_out or f"first {cost.first:.3f}, then {cost.later:.3f} CPU s, {cost.peak / 2**20:.0f} MiB"
    return f"{cost.peer:11} {cost.trials:6} trials  {outcome}"


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────


def asks_over_http(asks: int, seen: int) -> list[float]:
    """Milliseconds of each ask of a `bayes` study that already holds so many trials, its shelf full each time."""
    with service_started(["http"]) as rig:
        call = json_client(rig.addresses["http"])
        space = Space.from_json([dict(item) for item in INSTANCE.space])
        rng = np.random.default_rng(0)
        points = [space.draw(rng) for _ in range(seen)]
        call(
            "/studies",
            {
                "name": "latency",
                "space": INSTANCE.space,
                "objectives": [{"metric": metric} for metric in PROBLEM.objectives],
                "policy": {"name": "bayes"},
            },
        )
        finished = [{"params": point, "state": "COMPLETED", "values": INSTANCE.outcomes(point)} for point in points]
        call("/studies/latency/trials", {"trials": finished})
        with psycopg.connect(rig.databases[1], autocommit=True) as database:
            timed_ask(call)  # the first one finds the shelf empty: the engine's worker starts now
            return [after_refill(database, call) for _ in range(asks)]


def after_refill(database: psycopg.Connection[Any], call: Callable[[str, Any], Any]) -> float:
    while not shelf_is_full(database):
        time.sleep(0.02)
    return timed_ask(call)


def timed_ask(call: Callable[[str, Any], Any]) -> float:
    """Milliseconds of an ask; its trial is told at once."""
    body = {"count": 1, "worker": "bench", "lease_seconds": 120}
    began = time.perf_counter()
    answer = call("/studies/latency/trials:ask", body)
    took = 1e3 * (time.perf_counter() - began)
    for trial in answer["trials"]:
        values = INSTANCE.outcomes(trial["params"])
        call(f"/trials/{trial['id']}:tell", {"lease": trial["lease"]["token"], "state": "COMPLETED", "values": values})
    return took


def decisions_over_http(decisions: int) -> list[float]:
    """Milliseconds of each decision of a `freeze_thaw` study with SEEN observations of RUNS frozen runs."""
    with service_started(["http"]) as rig:
        call = json_client(rig.addresses["http"])
        study = {
            "name": "decisions",
            "space": INSTANCE.space,
            "objectives": [{"metric": "loss"}],
            "resource": {"name": "epoch", "min": SEEN // RUNS, "max": STEPS},
            "policy": {"name": "asha", "eta": 2 * RUNS},  # freezes every run after its first grant
        }
        call("/studies", study)
        for _ in range(RUNS):
            trial = lease(call)
            report(call, trial, 1, trial["until_step"])
            freeze(call, trial, trial["until_step"])
        call("/studies/decisions", {"policy": {"name": "freeze_thaw", "quantum": 1}}, "PATCH")
        took: list[float] = []
        while len(took) < decisions + 3:
            trial = lease(call)
            first, until = trial["from_step"] + 1, trial["until_step"]
            while until < STEPS:
                time.sleep(TRAINED)
                began = time.perf_counter()
                answer = report(call, trial, first, until)
                took.append(1e3 * (time.perf_counter() - began))
                if answer["decision"] != "continue" or len(took) == decisions + 3:
                    freeze(call, trial, until)
                    break
                first, until = until + 1, answer["until_step"]
            else:
                report(call, trial, first, until)
                call(f"/trials/{trial['id']}:tell", {"lease": trial["lease"]["token"], "state": "COMPLETED"})
        return took[3:]  # the first ones start workers, and have no fit to go on from


def lease(call: Callable[..., Any]) -> dict[str, Any]:
    while True:
        answer = call("/studies/decisions/trials:ask", {"count": 1, "worker": "bench", "lease_seconds": 600})
        if answer["trials"]:
            return dict(answer["trials"][0])
        time.sleep(answer["retry_after"])


def report(call: Callable[..., Any], trial: Mapping[str, Any], first: int, last: int) -> Any:
    """Steps `first` to `last` of a curve that falls to what the configuration is worth."""
    (value,) = INSTANCE.outcomes(trial["params"]).values()
    end = float(np.log1p(value))
    measured = [{"step": s, "metrics": {"loss": end + 3 * np.exp(-s / 12)}} for s in range(first, last + 1)]
    return call(f"/trials/{trial['id']}/reports", {"lease": trial["lease"]["token"], "measurements": measured})


def freeze(call: Callable[..., Any], trial: Mapping[str, Any], step: int) -> None:
    saved = {"uri": f"memory:{trial['number']}:{step}", "step": step}
    call(f"/trials/{trial['id']}:pause", {"lease": trial["lease"]["token"], "step": step, "checkpoint": saved})


SHELF = """SELECT count(*) FROM suggestions JOIN studies ON studies.id = suggestions.study_id
           WHERE suggestions.data_version = studies.data_version"""


def shelf_is_full(database: psycopg.Connection[Any]) -> bool:
    """Whether a suggestion waits that has seen all there is."""
    row = database.execute(SHELF).fetchone()
    return row is not None and row[0] > 0


# ── what it says ─────────────────────────────────────────────────────────────────────────────────────────────────────


def table(costs: Sequence[Cost]) -> Table:
    theirs = {cost.trials: cost for cost in costs if cost.peer == RATIO_PEER}
    drawn = Table("trials", "", "first", "later", f"÷ {RATIO_PEER}", "peak MiB", box=None, pad_edge=False)
    drawn.title, drawn.title_justify = "CPU seconds per ask, its tell included, in ten dimensions", "left"
    for cost in sorted(costs, key=lambda cost: cost.trials):
        if cost.gave_out:
            drawn.add_row(f"{cost.trials:,}", cost.peer, cost.gave_out)
            continue
        peer = theirs.get(cost.trials)
        ratio = f"x{cost.later / peer.later:.2f}" if peer and not peer.gave_out else ""
        cells = (f"{cost.first:.3f}", f"{cost.later:.3f}", ratio, f"{cost.peak / 2**20:.0f}")
        drawn.add_row(f"{cost.trials:,}", cost.peer, *cells)
    return drawn


def checks(costs: Sequence[Cost]) -> list[Check]:
    """The targets of ours, by size."""
    theirs = {cost.trials: cost for cost in costs if cost.peer == RATIO_PEER and not cost.gave_out}
    own = [cost for cost in costs if cost.peer == OURS.name]
    ratios = [beside(cost, theirs[cost.trials]) for cost in own if cost.trials in theirs]
    limits = [
        check
        for cost in own
        for check in (
            at_most(f"{cost.trials:,} trials: CPU seconds", cost.later, MOST_SECONDS, cost.gave_out),
            at_most(f"{cost.trials:,} trials: GB of memory", cost.peak / 1e9, MOST_BYTES / 1e9, cost.gave_out),
        )
    ]
    return ratios + limits


def beside(cost: Cost, peer: Cost) -> Check:
    return at_most(
        f"{cost.trials:,} trials: CPU by {peer.peer}'s", cost.later / peer.later, RATIO_TARGET, cost.gave_out
    )


def at_most(what: str, reached: float, target: float, gave_out: str) -> Check:
    return Check(f"{what}: {gave_out or f'{reached:.3f}'}, at most {target:g}", not gave_out and reached <= target)


def http_checks(milliseconds: Sequence[float]) -> list[Check]:
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    what = f"{len(milliseconds)} asks over HTTP from a full shelf: milliseconds at"
    return [at_most(f"{what} p50", cuts[49], P50_TARGET, ""), at_most(f"{what} p99", cuts[98], P99_TARGET, "")]


def decision_checks(milliseconds: Sequence[float]) -> list[Check]:
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    what = f"{len(milliseconds)} decisions over HTTP at {SEEN:,} observations: milliseconds at"
    return [at_most(f"{what} p50", cuts[49], DECISION_P50, ""), at_most(f"{what} p95", cuts[94], DECISION_P95, "")]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--asks", type=int, default=4, help="at each size, the first one included")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a tool may take for one answer")
    parser.add_argument("--http-asks", type=int, default=200, help="0 leaves the server out")
    parser.add_argument("--http-trials", type=int, default=30, help="in the study when the first of them comes")
    parser.add_argument("--decisions", type=int, default=60, help="of freeze_thaw over HTTP; 0 leaves them out")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where drivers' last words go")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    given = arguments(argv)
    console = Console(width=120)
    costs: list[Cost] = []
    for peer in (OURS, *(PEERS[name] for name in given.peers)):
        try:
            ready(peer)
        except Missing as reason:
            console.print(f"missing: {peer.name}, {reason}", highlight=False)
            continue
        costs += costs_of(peer, given)
    milliseconds = asks_over_http(given.http_asks, given.http_trials) if given.http_asks else []
    decided = decisions_over_http(given.decisions) if given.decisions else []
    found = [
        *checks(costs),
        *(http_checks(milliseconds) if milliseconds else []),
        *(decision_checks(decided) if decided else []),
    ]
    tell(console, given, costs, {"http_ms": milliseconds, "decision_ms": decided}, found)


def tell(
    console: Console,
    given: argparse.Namespace,
    costs: Sequence[Cost],
    milliseconds: Mapping[str, Sequence[float]],
    found: Sequence[Check],
) -> None:
    versions = {cost.peer: cost.versions for cost in costs if cost.versions}
    load = [round(load, 2) for load in os.getloadavg()]
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {load}, one thread a process"
    console.print(f"{machine}, {given.asks} asks of each")
    for peer, packages in versions.items():
        console.print(f"{peer}: " + ", ".join(map(" ".join, packages.items())), highlight=False)
    console.print(table(costs))
    for check in found:
        console.print(str(check), highlight=False)
    if given.json:
        content = {
            "load": load,
            "costs": [asdict(cost) for cost in costs],
            **milliseconds,
            "checks": [asdict(c) for c in found],
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
