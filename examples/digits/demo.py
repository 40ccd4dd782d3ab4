"""`python demo.py`: a server, four training processes, and a study of a small network on handwritten digits.

The study chooses among 80 configurations, training no further than it must. Then all of them are trained to the end, so
that it can be seen how good the choice was, and what it would have cost in other ways.

Everything runs in a temporary folder that is deleted at the end. Exit code 0: the recommended configuration reaches a
validation accuracy of at least 0.97.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

import frazil
from frazil.space import described_space
from frazil_tuner.space import Space

WORKERS = 4
CONFIGURATIONS = 80
BUDGET = 240  # epochs, over all trials
WANTED = 0.97
LOOK = 5.0  # seconds between questions for a recommendation
READY = "Frazil is ready at "
HERE = Path(__file__).resolve().parent

console = Console(soft_wrap=True)


class Result(NamedTuple):
    """A trained network on the validation digits."""

    loss: float
    accuracy: float


class Look(NamedTuple):
    """The parameters that were recommended when so many epochs had been spent."""

    spent: int
    params: dict[str, Any]


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is tidied up then, too
    with tempfile.TemporaryDirectory(prefix="frazil-demo-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        address = stack.enter_context(server(folder))
        console.print("Starting a server with a database of its own; meanwhile, training the defaults …")
        defaults = train_defaults(folder)
        url = address()
        console.print(f"Watch it at [bold]{url}[/]. The defaults: {shown(defaults)}.")
        client = stack.enter_context(frazil.Client(url, patience=20.0))
        study = create_study(client, "digits", policy="freeze_thaw", budget={"resource": BUDGET})
        recommended = train(study, folder, url)
        console.print(f"\nNow all {CONFIGURATIONS} configurations are trained to the end, to see what would have been.")
        whole = create_study(client, "digits to the end", policy="grid")
        train(whole, folder, url)
        return conclude(study, recommended, whole, defaults)


def create_study(client: frazil.Client, name: str, **how: Any) -> frazil.Study:
    from model import EPOCHS, SPACE

    space, rng = Space.from_json(described_space(SPACE)), np.random.default_rng(0)
    return client.create_study(
        name,
        space=SPACE,
        candidates=[space.draw(rng) for _ in range(CONFIGURATIONS)],
        minimize="val_loss",
        resource=frazil.Resource("epoch", max=EPOCHS),
        seed=0,
        **how,
    )


def train(study: frazil.Study, folder: Path, url: str) -> list[Look]:
    """Trains until the study is over; what was recommended on the way."""
    training = [str(HERE / "worker.py"), study.name, str(folder)]
    with running([training] * WORKERS, folder, "worker", FRAZIL_URL=url) as workers:
        looks = watch(study, workers)
        if any(worker.returncode for worker in workers):
            logs = "\n".join(log.read_text() for log in sorted(folder.glob("worker-*.log")))
            raise SystemExit(f"A training process failed:\n{logs}")
    return looks


def train_defaults(folder: Path) -> Result:
    """The network one would get without tuning, trained to the end."""
    import torch
    from model import DEFAULTS, EPOCHS, Run, prepare_digits

    torch.set_num_threads(1)
    prepare_digits(folder / "digits.pt")
    run = Run(DEFAULTS, torch.load(folder / "digits.pt"))
    for epoch in range(1, EPOCHS + 1):
        measured = run.train_epoch(epoch)
    return Result(measured["val_loss"], measured["val_accuracy"])


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def server(folder: Path) -> Iterator[Callable[[], str]]:
    """A server on a free port. The value waits until it answers, and returns its address."""
    command = ["-m", "frazil_server", "serve", "--port", "0", "--data-dir", str(folder / "server")]
    with running([command], folder, "server") as (process,):

        def address() -> str:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(READY):
                    return line.removeprefix(READY).strip()
            raise SystemExit(f"The server did not start:\n{(folder / 'server-0.log').read_text()}")

        yield address


@contextmanager
def running(
    commands: list[list[str]], folder: Path, name: str, **environment: str
) -> Iterator[list[subprocess.Popen[str]]]:
    """Python processes with one thread each for their numerics, asked to end at the end, all at once.

    They have sessions of their own: Ctrl-C reaches the demo alone, which then ends the others in order.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "FRAZIL_DATABASE_URL"}
    environment = {**inherited, "OMP_NUM_THREADS": "1", **environment}
    processes: list[subprocess.Popen[str]] = []
    try:
        for number, command in enumerate(commands):
            with (folder / f"{name}-{number}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        env=environment,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                        start_new_session=True,
                    )
                )
        yield processes
    finally:
        end(processes)


def end(processes: list[subprocess.Popen[str]]) -> None:
    """SIGTERM to all; SIGKILL to those that are still there much later."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


# ── what is seen ─────────────────────────────────────────────────────────────────────────────────────────────────────


def watch(study: frazil.Study, workers: list[subprocess.Popen[str]]) -> list[Look]:
    """Shows the study until all workers have gone home; what was recommended, now and then and at the end."""
    started, looks, asked = time.monotonic(), list[Look](), 0.0
    with Live(console=console, auto_refresh=False) as live:
        while any(worker.poll() is None for worker in workers):
            if time.monotonic() - asked > LOOK:
                looks += look(study)
                asked = time.monotonic()
            live.update(progress(study.refresh(), time.monotonic() - started), refresh=True)
            time.sleep(0.5)
        live.update(progress(study.refresh(), time.monotonic() - started), refresh=True)
    return looks + look(study)


def look(study: frazil.Study) -> list[Look]:
    recommended = study.best.recommended
    return [Look(study.refresh().info["steps_used"], recommended.params)] if recommended else []


def progress(study: frazil.Study, seconds: float) -> Group:
    records = list(study.records())
    states = [record["state"] for record in records]
    overview = Table(title=f"{study.name} · {study.state} · {seconds:.0f} s", title_justify="left", box=None)
    for heading in ("epochs", "trials", "running", "paused", "completed", "lowest val_loss", "of trial"):
        overview.add_column(heading, justify="right")
    losses = [(float(record["objective"]), record["number"]) for record in records if record["objective"] is not None]
    best = min((pair for pair in losses if np.isfinite(pair[0])), default=None)
    most = study.info["budget"].get("resource", CONFIGURATIONS * study.info["resource"]["max"])
    overview.add_row(
        f"{study.info['steps_used']} / {most}",
        str(len(records)),
        *(str(states.count(state)) for state in ("RUNNING", "PAUSED", "COMPLETED")),
        f"{best[0]:.4f}" if best else "–",
        str(best[1]) if best else "–",
    )
    running = [record for record in records if record["state"] == "RUNNING"]
    return Group(overview, *([running_trials(running)] if running else []))


def running_trials(trials: list[dict[str, Any]]) -> Table:
    table = Table(box=None)
    for heading in ("running", "epoch", "until", "val_loss", "optimizer", "lr", "width", "batch"):
        table.add_column(heading, justify="left" if heading == "optimizer" else "right")
    for trial in trials:
        params, loss = trial["params"], trial["objective"]
        table.add_row(
            str(trial["number"]),
            str(trial["last_step"]),
            str(trial["until_step"]),
            "–" if loss is None else f"{float(loss):.4f}",
            params["optimizer"],
            f"{params['lr']:.2g}",
            str(params["width"]),
            str(params["batch_size"]),
        )
    return table


def conclude(study: frazil.Study, looks: list[Look], whole: frazil.Study, defaults: Result) -> int:
    """Prints what came out, and what it would have cost otherwise; 0 if the recommendation is good enough."""
    from replay import cost_of, since

    recommended = study.best.recommended
    if recommended is None:
        raise SystemExit("The study ended without a result.")
    records = list(whole.records())
    losses = np.array([[value for _, value in whole.curve(record["id"], "val_loss")] for record in records])
    chosen = next(i for i, record in enumerate(records) if record["params"] == recommended.params)
    _, accuracy = whole.curve(records[chosen]["id"], "val_accuracy")[-1]
    found = Result(losses[chosen, -1], accuracy)
    console.print(f"\n[bold]Recommended configuration[/] (trial {recommended.number}):")
    for name, value in recommended.params.items():
        console.print(f"  {name:13} {value:.4g}" if isinstance(value, float) else f"  {name:13} {value}")
    foretold, deviation = recommended.mean["val_loss"], recommended.sd["val_loss"]
    console.print(f"\nForetold for its last epoch: validation loss {foretold:.4f} ± {deviation:.4f}.")
    console.print(f"Trained to the end: {shown(found)}.\nThe defaults:       {shown(defaults)}.")
    rank = 1 + int((losses[:, -1] < found.loss).sum())
    console.print(f"Of {len(records)} configurations it is number {rank}; all to the end are {losses.size} epochs.")

    good = {str(record["params"]) for record, curve in zip(records, losses, strict=True) if curve[-1] <= found.loss}
    reached = since([(spent, str(params) in good) for spent, params in looks])
    table = Table(title="Epochs until one as good was recommended, and ever after", title_justify="left", box=None)
    for heading in ("", "epochs", "half of 20 replays"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("freeze_thaw (this study)", f"{reached:.0f} of {study.info['steps_used']}", "")
    space, candidates = Space.from_json(whole.info["space"]), [record["params"] for record in records]
    for label, policy in (("asha", "asha"), ("each to the end, at random", "random")):
        cost = cost_of({"name": policy}, space, candidates, losses, found.loss)
        table.add_row(label, f"{cost.typical:.0f}", f"{cost.low:.0f} – {cost.high:.0f}")
    console.print(table)
    console.print(f"Validation accuracy [bold]{accuracy:.4f}[/] (wanted: {WANTED})")
    return 0 if accuracy >= WANTED else 1


def shown(result: Result) -> str:
    return f"validation accuracy {result.accuracy:.4f}, validation loss {result.loss:.4f}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; everything has been tidied up.")
