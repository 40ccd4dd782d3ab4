"""A training script as a user would write it: tiny, pure Python, able to go on from a checkpoint.

Run as `training.py STUDY LOG FOLDER`. It writes down in LOG what the server has acknowledged, a JSON object a line, and
keeps checkpoints in FOLDER. What a step measures depends on all steps before it, so a run that lost its state shows.
With `--torch` a real network is trained in its place.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import frazil

SPACE = {"lr": frazil.Float(1e-3, 1.0, log=True), "momentum": frazil.Float(0.0, 0.9)}


def train_one_step(state: float, params: dict[str, Any]) -> float:
    return params["momentum"] * state + params["lr"]


def loss_of(state: float) -> float:
    return 1 / (1 + state)


class Recurrence:
    """The tiny model."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._params, self._state = params, 0.0

    def train(self, step: int) -> float:
        self._state = train_one_step(self._state, self._params)
        return loss_of(self._state)

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(self._state))

    def load(self, file: Path) -> None:
        self._state = json.loads(file.read_text())


def whole_curve(params: dict[str, Any], steps: int) -> list[tuple[int, float]]:
    """What an uninterrupted run measures."""
    state, curve = 0.0, []
    for step in range(1, steps + 1):
        state = train_one_step(state, params)
        curve.append((step, loss_of(state)))
    return curve


class Diary:
    """What this process did, for the test to read while it runs and after it was killed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def note(self, word: str, trial: frazil.Trial, step: int, **more: Any) -> None:
        line = {"word": word, "trial": trial.id, "number": trial.number, "step": step, **more}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def train(trial: frazil.Trial, model: Any, diary: Diary, folder: Path, step_seconds: float, save_every: int) -> None:
    if trial.checkpoint:
        model.load(Path(trial.checkpoint.uri))
    step = trial.from_step
    diary.note("started", trial, step)
    for step in trial.steps():
        time.sleep(step_seconds)
        loss = model.train(step)
        trial.report(step, wait=True, loss=loss)
        if not trial.lost:
            diary.note("acknowledged", trial, step, loss=loss)
        if save_every and step % save_every == 0:
            model.save(checkpoint := folder / f"{trial.id}-{step}")
            trial.save(checkpoint)
    if trial.paused:
        model.save(checkpoint := folder / f"{trial.id}-{step}")
        trial.freeze(checkpoint)
        diary.note("frozen", trial, step)
    for obsolete in trial.obsolete_checkpoints:
        Path(obsolete).unlink()  # an error, if it were told twice


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("study")
    arguments.add_argument("log", type=Path)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--step-seconds", type=float, default=0.01)
    arguments.add_argument("--lease-seconds", type=float, default=120.0)
    arguments.add_argument("--save-every", type=int, default=0)
    arguments.add_argument("--torch", action="store_true")
    given = arguments.parse_args()
    diary = Diary(given.log)
    make: Any = Recurrence
    if given.torch:
        from network import Network  # type: ignore[import-not-found]  # a script's own folder comes first

        make = Network
    with frazil.Client(patience=60.0) as client:
        for trial in client.study(given.study).trials(lease_seconds=given.lease_seconds):
            train(trial, make(trial.params), diary, given.folder, given.step_seconds, given.save_every)


if __name__ == "__main__":
    main()
