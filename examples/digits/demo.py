"""`python demo.py`: a server, four training processes, and a study of a small network on handwritten digits.

Everything runs in a temporary folder that is deleted at the end. Exit code 0: the best configuration reached a
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

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

import frazil

WORKERS = 4
BUDGET = 900  # epochs, over all trials
WANTED = 0.97
READY = "Frazil is ready at "
HERE = Path(__file__).resolve().parent

console = Console(soft_wrap=True)


class Result(NamedTuple):
    """A trained network on the validation digits."""

    loss: float
    accuracy: float


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is tidied up then, too
    with tempfile.TemporaryDirectory(prefix="frazil-demo-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        address = stack.enter_context(server(folder))
        console.print("Starting a server with a database of its own; meanwhile, training the defaults …")
        defaults = train_defaults(folder)
        url = address()
        console.print(f"Server at [bold]{url}[/]. The defaults: {shown(defaults)}.")
        client = stack.enter_context(frazil.Client(url, patience=20.0))
        study = create_study(client)
        training = [str(HERE / "worker.py"), study.name, str(folder)]
        workers = stack.enter_context(running([training] * WORKERS, folder, "worker", FRAZIL_URL=url))
        watch(study, workers)
        if any(worker.returncode for worker in workers):
            logs = "\n".join(log.read_text() for log in sorted(folder.glob("worker-*.log")))
            raise SystemExit(f"A training process failed:\n{logs}")
        return conclude(study, defaults)


def create_study(client: frazil.Client) -> frazil.Study:
    from model import EPOCHS, SPACE

    return client.create_study(
        "digits",
        space=SPACE,
        minimize="val_loss",
        resource=frazil.Resource("epoch", min=2, max=EPOCHS),
        policy="asha",
        budget={"resource": BUDGET},
        seed=0,
    )


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


def watch(study: frazil.Study, workers: list[subprocess.Popen[str]]) -> None:
    """Shows the study until all workers have gone home."""
    started = time.monotonic()
    with Live(console=console, auto_refresh=False) as live:
        while any(worker.poll() is None for worker in workers):
            live.update(progress(study.refresh(), time.monotonic() - started), refresh=True)
            time.sleep(0.5)
        live.update(progress(study.refresh(), time.monotonic() - started), refresh=True)


def progress(study: frazil.Study, seconds: float) -> Group:
    counts = study.info["counts"]
    used = study.info["steps_used"]
    overview = Table(title=f"digits · {study.state} · {seconds:.0f} s", title_justify="left", box=None)
    for heading in ("epochs", "trials", "running", "paused", "completed", "best val_loss", "of trial"):
        overview.add_column(heading, justify="right")
    best = study.best.observed
    overview.add_row(
        f"{used} / {BUDGET}",
        str(study.info["trials"]),
        *(str(counts.get(state, 0)) for state in ("RUNNING", "PAUSED", "COMPLETED")),
        f"{best.values['val_loss']:.4f}" if best else "–",
        str(best.number) if best else "–",
    )
    running = list(study.records(state="RUNNING"))
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


def conclude(study: frazil.Study, defaults: Result) -> int:
    """Prints what came out; 0 if the best accuracy of a configuration trained to the end is good enough."""
    best = study.best.observed
    if best is None:
        raise SystemExit("The study ended without a result.")
    epoch, accuracy = study.curve(best.id, "val_accuracy")[-1]
    found = Result(best.values["val_loss"], accuracy)
    resource, used = study.info["resource"], study.info["steps_used"]
    in_full = study.info["trials"] * resource["max"]
    console.print(f"\n[bold]Best configuration[/] (trial {best.number}, after epoch {epoch}):")
    for name, value in best.params.items():
        console.print(f"  {name:13} {value:.4g}" if isinstance(value, float) else f"  {name:13} {value}")
    console.print(
        f"\nIt cost {used} epochs for {study.info['trials']} configurations; "
        f"training each to the end would have cost {in_full}: {in_full / used:.1f} times as many."
    )
    console.print(f"The defaults: {shown(defaults)}.\nThe best:     {shown(found)}.")
    finished = [study.curve(record["id"], "val_accuracy")[-1][1] for record in study.records(state="COMPLETED")]
    highest = max([accuracy, *finished])
    among = f"among the {len(finished)} trained to the end"
    console.print(f"Best validation accuracy: [bold]{highest:.4f}[/] {among} (wanted: {WANTED})")
    return 0 if highest >= WANTED else 1


def shown(result: Result) -> str:
    return f"validation accuracy {result.accuracy:.4f}, validation loss {result.loss:.4f}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; everything has been tidied up.")
