"""A training process: `python worker.py STUDY FOLDER`. Start as many as you like, anywhere that reaches the server.

FOLDER holds digits.pt (see `model.prepare_digits`) and takes the checkpoints; FRAZIL_URL says where the server is.
"""

import sys
from pathlib import Path

import torch
from model import Run, checkpoint_file

import frazil


def main(name: str, folder: Path) -> None:
    torch.set_num_threads(1)
    digits = torch.load(folder / "digits.pt")
    study = frazil.Client().study(name)
    for trial in study.trials():
        run = Run(trial.params, digits)
        if trial.checkpoint:
            run.load(trial.checkpoint.uri)
        epoch = trial.from_step
        for epoch in trial.steps():
            trial.report(epoch, **run.train_epoch(epoch))
        if trial.paused:
            trial.freeze(run.save(folder / f"{trial.id}-epoch-{epoch}.pt"))
        for uri in trial.obsolete_checkpoints:
            checkpoint_file(uri).unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
