"""Real learning curves, as tables: every configuration with the losses of all its epochs. See README.md of the data.

load(Path("../shared/data"), "lcbench")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from frazil_tuner.space import Space

Params = Mapping[str, Any]
Floats = np.ndarray

HEADROOM = 1.15
"""Losses above so many times the loss before training count as so much."""


@dataclass(frozen=True)
class Table:
    """A task: n configurations and their curves of T epochs, lower is better, NaN and infinities as they were.

    `candidates` (n,) are the configurations as canonical params of the space, `X` (n, d) as in the file. `losses`
    (n, T): column k - 1 is the loss after k epochs. `baseline` L0 is the median loss before training.
    """

    name: str
    family: str
    space_json: tuple[Mapping[str, Any], ...]
    candidates: tuple[Params, ...]
    X: Floats
    losses: Floats
    baseline: float

    @cached_property
    def space(self) -> Space:
        return Space.from_json([dict(parameter) for parameter in self.space_json])

    @property
    def scores(self) -> Floats:
        """Scores (n, T) from 0, the worst, which every diverged run has, to 1."""
        return scores(self.losses, self.baseline)

    @property
    def final(self) -> Floats:
        """Losses (n,) at the last epoch; L0 where they diverged, and where they ended above it."""
        last = self.losses[:, -1]
        return np.where(np.isfinite(last), np.minimum(last, self.baseline), self.baseline)

    def regret(self, index: int) -> float:
        """(Last loss of a configuration - the lowest last loss) / (L0 - the lowest): 1 for a run that diverged."""
        least = self.final.min()
        return float((self.final[index] - least) / (self.baseline - least))


def scores(losses: Floats, baseline: float) -> Floats:
    """s = 1 - clip(loss, 0, 1.15 L0) / (1.15 L0), any shape; 0 where the loss is not finite."""
    most = HEADROOM * baseline
    return 1.0 - np.clip(np.where(np.isfinite(losses), losses, most), 0.0, most) / most


def number(name: str, low: float, high: float, log: bool | str = True, kind: str = "float") -> Mapping[str, Any]:
    return {"name": name, "type": kind, "low": low, "high": high} | ({"log": log} if log else {})


# LCBench drew its weight decays evenly, but a user would search them by their logarithm. All tools do better so, ours
# too; `--places ranks` takes it from the others.
LCBENCH = (
    number("batch_size", 16, 512, kind="int"),
    number("learning_rate", 1e-4, 1e-1),
    number("momentum", 0.1, 0.99, log=False),
    number("weight_decay", 1e-5, 1e-1),
    number("num_layers", 1, 5, log=False, kind="int"),
    number("max_units", 64, 1024, kind="int"),
    number("max_dropout", 0.0, 1.0, log=False),
)
TASKSET = (
    number("beta1", 0.0, 0.9999, log="complement"),
    number("beta2", 0.0, 0.999999, log="complement"),
    number("epsilon", 1e-10, 1e3),
    number("exponential_decay", 1e-6, 1e-3),
    number("l1", 1e-8, 1e1),
    number("l2", 1e-8, 1e1),
    number("learning_rate", 1e-8, 1e1),
    number("linear_decay", 1e-7, 1e-4),
)


def lcbench(path: Path) -> Table:
    with np.load(path, allow_pickle=False) as file:
        return _table(path.stem, "lcbench", LCBENCH, file["X"], file["Y"])


def taskset(path: Path) -> Table:
    with np.load(path, allow_pickle=False) as file:
        assert [item["name"] for item in TASKSET] == file["hyperparameters"].tolist()
        return _table(path.stem, "taskset", TASKSET, file["X"], file["Y_valid"].astype(np.float64))


FAMILIES: Mapping[str, Callable[[Path], Table]] = {"lcbench": lcbench, "taskset": taskset}


def load(data: Path, family: str | None = None) -> list[Table]:
    """Every table below `data`, or those of one family, by family and then by name."""
    names = [family] if family else list(FAMILIES)
    return [FAMILIES[name](path) for name in names for path in sorted((data / name).glob("*.npz"))]


def _table(name: str, family: str, space_json: Sequence[Mapping[str, Any]], X: Floats, curves: Floats) -> Table:
    """Column 0 of `curves` (n, T + 1) is the state before training, and gives L0."""
    space = Space.from_json([dict(parameter) for parameter in space_json])
    candidates = tuple(space.check(_params(space_json, row)) for row in X.tolist())
    baseline = float(np.nanmedian(curves[:, 0]))
    return Table(name, family, tuple(space_json), candidates, X, curves[:, 1:], baseline)


def _params(space_json: Sequence[Mapping[str, Any]], row: Sequence[float]) -> dict[str, Any]:
    items = zip(space_json, row, strict=True)
    return {item["name"]: round(value) if item["type"] == "int" else value for item, value in items}
