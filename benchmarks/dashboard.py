"""How long until the page of a large study is of use: our dashboard beside Optuna's, in the same browser.

    python benchmarks/dashboard.py [--sizes 1000 10000 100000] [--peer-sizes …] [--repeats 3] [--json FILE]

The same trials, each with a curve of 20 points, lie in one PostgreSQL, once for each of the two. Chromium opens the
study's page with an empty cache, and the clock stops when it is usable: the best value stands there, and the plots of
the best over time and of the curves are drawn (ours), or the first of the page's plots is (theirs: the history; it has
no curves there). Bytes are what came over the wire; the heap is the page's after a garbage collection; frames are
counted for three seconds while the pointer drags the plot of the history (theirs) or of the curves (ours) to and fro.
Last, ours is asked for a thousand curves of 100 points at once, and dragged in the same way.

Wall time on a loaded machine says little: the two are measured in turns, and ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psycopg
from contest import Missing, Peer, ready
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from rich.console import Console
from rich.table import Table
from throughput import create_database, frazil_server, postgresql
from verdicts import Check

SIZES = (1_000, 10_000, 100_000)
POINTS = 20
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
LONGEST = 180.0
"""Seconds after which a page is given up."""
PANNED = 3.0
MANY, LONG = 1_000, 100
"""Curves drawn at once, and points of each, in the last of the views."""
SMOOTH = 30.0
"""Frames per second."""

PEER = Peer("optuna-dashboard", "", "optuna-dashboard", environment="optuna_dashboard")


@dataclass(frozen=True)
class View:
    """One opening of a study's page."""

    tool: str
    trials: int
    seconds: float
    bytes: int
    heap: int
    frames: float


# ── the same trials for both ─────────────────────────────────────────────────────────────────────────────────────────


def trials_of(count: int, points: int = POINTS) -> list[dict[str, Any]]:
    """Random configurations with curves that fall towards a value which the configuration decides."""
    rng = np.random.default_rng(count)
    lr, width, dropout = 10 ** rng.uniform(-5, 0, count), rng.integers(16, 513, count), rng.uniform(0, 0.5, count)
    end = 0.2 + 0.1 * (np.log10(lr) + 2.5) ** 2 + 1.0 / width + 0.2 * dropout
    steps = np.arange(1, points + 1)
    curves = end[:, None] + 2 * np.exp(-5 * steps / points) + rng.normal(0, 0.01, (count, points))
    return [
        {"lr": float(lr[i]), "width": int(width[i]), "dropout": float(dropout[i]), "curve": curves[i].tolist()}
        for i in range(count)
    ]


SPACE = [
    {"name": "lr", "type": "float", "low": 1e-5, "high": 1.0, "log": True},
    {"name": "width", "type": "int", "low": 16, "high": 512},
    {"name": "dropout", "type": "float", "low": 0.0, "high": 0.5},
]


def fill_ours(url: str, trials: list[dict[str, Any]]) -> str:
    """The path of the study's page."""
    api = f"{url}/api/v1"
    definition = {
        "name": f"large {len(trials)}, {len(trials[0]['curve'])} points", "space": SPACE,
        "objectives": [{"metric": "loss"}], "policy": {"name": "random"},
        "resource": {"name": "epoch", "max": len(trials[0]["curve"])},
    }  # fmt: skip
    study = post(f"{api}/studies", definition)
    for first in range(0, len(trials), 1_000):
        added = [
            {
                "params": {name: trial[name] for name in ("lr", "width", "dropout")}, "state": "COMPLETED",
                "curve": [{"step": step, "metrics": {"loss": value}} for step, value in enumerate(trial["curve"], 1)],
            }
            for trial in trials[first : first + 1_000]
        ]  # fmt: skip
        post(f"{api}/studies/{study['id']}/trials", {"trials": added})
    return f"/studies/{study['id']}"


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def fill_theirs(url: str, trials: list[dict[str, Any]]) -> str:
    """As Optuna's own storage would: its tables, filled at once, since one trial after the other would take hours."""
    import optuna
    from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json

    storage = optuna.storages.RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))
    study = optuna.create_study(storage=storage, study_name=f"large {len(trials)}")
    study_id = study._study_id
    spaces = {
        "lr": FloatDistribution(1e-5, 1.0, log=True), "width": IntDistribution(16, 512),
        "dropout": FloatDistribution(0.0, 0.5),
    }  # fmt: skip
    described = {name: distribution_to_json(space) for name, space in spaces.items()}
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        (first,) = cursor.execute("SELECT coalesce(max(trial_id), 0) + 1 FROM trials").fetchone() or (1,)
        copy(
            cursor,
            "trials (trial_id, number, study_id, state, datetime_start, datetime_complete)",
            (
                (first + i, i, study_id, "COMPLETE", "2026-01-01 00:00:00", "2026-01-01 00:01:00")
                for i in range(len(trials))
            ),
        )
        copy(
            cursor,
            "trial_params (trial_id, param_name, param_value, distribution_json)",
            (
                (first + i, name, float(trial[name]), described[name])
                for i, trial in enumerate(trials)
                for name in spaces
            ),
        )
        copy(
            cursor,
            "trial_values (trial_id, objective, value, value_type)",
            ((first + i, 0, trial["curve"][-1], "FINITE") for i, trial in enumerate(trials)),
        )
        copy(
            cursor,
            "trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)",
            (
                (first + i, step, value, "FINITE")
                for i, trial in enumerate(trials)
                for step, value in enumerate(trial["curve"], 1)
            ),
        )
    return f"/dashboard/studies/{study_id}"


def copy(cursor: psycopg.Cursor[Any], into: str, rows: Any) -> None:
    with cursor.copy(f"COPY {into} FROM STDIN") as stream:
        for row in rows:
            stream.write_row(row)


@contextmanager
def their_server(url: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = PEER.python.with_name("optuna-dashboard")
    storage = url.replace("postgresql://", "postgresql+psycopg://")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([command, storage, "--port", str(port)], stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{address}/dashboard", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(20)


# ── one look ─────────────────────────────────────────────────────────────────────────────────────────────────────────

USABLE = {
    "frazil": """() => {
        const best = document.querySelector('[data-testid=best-value]');
        const drawn = ['best-so-far', 'curves'].every((name) => document.querySelector(`[data-chart=${name}] canvas`));
        return best && /[0-9]/.test(best.textContent) && drawn;
    }""",
    "optuna-dashboard": """() => {
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        return plots.some((plot) => plot.querySelector('.scatterlayer .trace, canvas.gl-canvas, .gl-container canvas'));
    }""",
}
PANNED_PLOT = {"frazil": "[data-chart=curves]", "optuna-dashboard": ".js-plotly-plot"}
COUNT_FRAMES = """() => {
    window.frames_ = 0;
    const count = () => { window.frames_ += 1; window.counting = requestAnimationFrame(count); };
    count();
}"""


def look(browser: Browser, tool: str, url: str, trials: int, curves: int | None = None) -> View:
    """Opens the page of `tool`, in any of its variants, with an empty cache; before it is dragged, so many curves are
    asked for.
    """
    family = tool.split(",", maxsplit=1)[0]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    moved = 0

    def arrived(event: dict[str, Any]) -> None:
        nonlocal moved
        moved += int(event["encodedDataLength"])

    wire.on("Network.loadingFinished", arrived)
    began = time.perf_counter()
    try:
        page.goto(url, wait_until="commit", timeout=LONGEST * 1000)
        page.wait_for_function(USABLE[family], timeout=LONGEST * 1000, polling=20)
        seconds = time.perf_counter() - began
        page.wait_for_timeout(1_000)
        if curves:
            draw(page, curves)
        return View(tool, trials, seconds, moved, heap(wire), frames(page, PANNED_PLOT[family]))
    except Exception as error:  # noqa: BLE001  (a page that gives up is a result)
        print(f"{tool} with {trials} trials: {str(error).splitlines()[0]}", file=sys.stderr)
        return View(tool, trials, float("inf"), moved, 0, 0.0)
    finally:
        context.close()


def draw(page: Page, curves: int) -> None:
    page.get_by_role("radiogroup", name="Curves at most").get_by_text(str(curves), exact=True).click()
    page.get_by_text(re.compile(f"^{curves:,} of ".replace(",", ".?"))).wait_for()
    page.wait_for_timeout(1_000)


def heap(wire: CDPSession) -> int:
    wire.send("HeapProfiler.collectGarbage")
    return int(wire.send("Runtime.getHeapUsage")["usedSize"])


def frames(page: Page, plot: str) -> float:
    """Frames per second while the plot is dragged."""
    box = page.locator(plot).first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.mouse.down()
    page.evaluate(COUNT_FRAMES)
    began, step = time.perf_counter(), 0
    while time.perf_counter() - began < PANNED:
        step += 1
        page.mouse.move(x + 80 * np.sin(step / 8), y)
    seconds = time.perf_counter() - began
    page.mouse.up()
    counted: float = page.evaluate("() => { cancelAnimationFrame(window.counting); return window.frames_; }")
    return counted / seconds


# ── the contest ──────────────────────────────────────────────────────────────────────────────────────────────────────


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--peer-sizes", type=int, nargs="*", default=None, help="of the peer; the same, if not given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("The benchmark needs Chromium.")
    sizes = {"frazil": options.sizes, PEER.name: options.sizes if options.peer_sizes is None else options.peer_sizes}
    try:
        version = ready(PEER)
    except Missing as missing:
        print(f"Without {PEER.name}: {missing}", file=sys.stderr)
        sizes[PEER.name], version = [], "absent"
    views = list(measure(chromium, sizes, options.repeats))
    report(views, version, options.repeats)
    if options.json:
        options.json.write_text(json.dumps([asdict(view) for view in views], indent=1))
    return 0


def measure(chromium: str, sizes: dict[str, list[int]], repeats: int) -> Iterator[View]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        postgres = stack.enter_context(postgresql(folder / "postgres"))
        for name in ("frazil", "optuna"):
            create_database(postgres, name)
        ours, _ = stack.enter_context(frazil_server(folder / "data", postgres.get_uri(database="frazil")))
        database = postgres.get_uri(database="optuna")
        pages: dict[tuple[str, int], str] = {}
        for size in sorted({*sizes["frazil"], *sizes[PEER.name]}):
            trials = trials_of(size)
            if size in sizes["frazil"]:
                pages["frazil", size] = ours + fill_ours(ours, trials)
            if size in sizes[PEER.name]:
                pages[PEER.name, size] = fill_theirs(database, trials)
            print(f"{size} trials are stored", file=sys.stderr, flush=True)
        many = ours + fill_ours(ours, trials_of(2 * MANY, LONG))
        if sizes[PEER.name]:
            theirs = stack.enter_context(their_server(database))
            pages = {key: page if key[0] == "frazil" else theirs + page for key, page in pages.items()}
        with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(repeats):
            for (tool, size), url in pages.items():
                yield look(browser, tool, url, size)
            yield look(browser, f"frazil, {MANY:,} curves of {LONG} points", many, 2 * MANY, MANY)
        browser.close()


def report(views: list[View], version: str, repeats: int) -> None:
    found = {
        key: View(
            *key, *(median([getattr(v, field) for v in group]) for field in ("seconds", "bytes", "heap", "frames"))
        )
        for key in dict.fromkeys((view.tool, view.trials) for view in views)
        if (group := [view for view in views if (view.tool, view.trials) == key])
    }
    table = Table(
        box=None, title=f"Medians of {repeats}; {PEER.name} {version}; {platform.machine()}", title_justify="left"
    )
    for heading in ("trials", "tool", "seconds until usable", "kB moved", "MB heap", "frames per second"):
        table.add_column(heading, justify="left" if heading == "tool" else "right")
    for (tool, trials), view in sorted(found.items(), key=lambda item: item[0][1]):
        table.add_row(f"{trials:,}", tool, f"{view.seconds:.2f}", f"{view.bytes / 1e3:,.0f}", f"{view.heap / 1e6:.0f}",
                      f"{view.frames:.0f}")  # fmt: skip
    console = Console(width=110)
    console.print(table)
    for check in checks(found):
        console.print(str(check))


def checks(found: dict[tuple[str, int], View]) -> Iterator[Check]:
    for (tool, _), view in found.items():
        if str(MANY) in tool.replace(",", ""):
            yield Check(f"{tool}: {view.frames:.0f} frames per second (at least {SMOOTH:g})", view.frames >= SMOOTH)
    for trials, most in ((10_000, 1.0), (100_000, 2.0)):
        if view := found.get(("frazil", trials)):
            yield Check(f"{trials:,} trials usable after {view.seconds:.2f} s (at most {most:g})", view.seconds <= most)
    ours, theirs = found.get(("frazil", 10_000)), found.get((PEER.name, 10_000))
    if ours and theirs:
        for what in ("seconds", "bytes"):
            ratio = getattr(ours, what) / getattr(theirs, what)
            yield Check(f"{what} at 10,000 trials: {ratio:.3f} of {PEER.name}'s (at most 0.1)", ratio <= 0.1)


if __name__ == "__main__":
    sys.exit(main())
