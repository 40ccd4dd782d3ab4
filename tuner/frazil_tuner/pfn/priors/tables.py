"""Real learning curves in the prior: mixtures of tables, never the tables that acceptance is measured on.

Lee et al. 2025 (CFBO) mix tasks and hyperparameters; here rows of one table or of two of the same family, with other
columns, other lengths and other units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..configs import HELD_OUT
from ..studies import COLUMNS
from .curves import MOMENTS, Curves, rescaled
from .draws import Draws, bent, shuffled

HEADROOM = 1.15
"""Losses above so many times the loss before training count as so much."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Table:
    """One metric of one task: `x` (N, d) in the unit cube, ranks of the values; scores `y` (N, T) in [0, 1] of every
    epoch.
    """

    name: str
    family: str
    x: Floats
    y: Floats

    @property
    def held_out(self) -> bool:
        return self.name.endswith(HELD_OUT)


def load_tables(data: Path, metrics: Sequence[str] = ("Y", "Y_valid", "Y_train", "Y_test")) -> list[Table]:
    """The tables `data`/FAMILY/NAME.npz by family and name, one for each metric that they have."""
    return [
        table
        for path in sorted(data.glob("*/*.npz"))
        for table in _read(path, metrics)
    ]  # fmt: skip


def _read(path: Path, metrics: Sequence[str]) -> list[Table]:
    with np.load(path, allow_pickle=False) as file:
        x = _ranks(file["X"])
        return [
            Table(path.stem, path.parent.name, x, scores(np.asarray(file[metric], np.float64)))
            for metric in metrics
            if metric in file
        ]


def scores(losses: NDArray[np.float64]) -> Floats:
    """s = 1 - clip(loss, 0, 1.15 L0) / (1.15 L0), 0 where it is not finite: losses (N, T + 1) to scores (N, T).

    Column 0 is the state before training; L0 is its median.
    """
    most = HEADROOM * float(np.nanmedian(losses[:, 0]))
    finite = np.where(np.isfinite(losses[:, 1:]), losses[:, 1:], most)
    return np.asarray(1.0 - np.clip(finite, 0.0, most) / most, np.float32)


def _ranks(x: NDArray[np.float64]) -> Floats:
    """Columns (N, d) by rank, in (0, 1); equal values have equal ranks."""
    columns = []
    for column in x.T:
        _, place, count = np.unique(column, return_inverse=True, return_counts=True)
        columns.append(((np.cumsum(count) - 0.5 * count) / len(column))[place])
    return np.stack(columns, 1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Pool:
    """Tables on the device: `x` (M, N, D) and `y` (M, N, K), both padded; the rest is (M,)."""

    x: Tensor
    y: Tensor
    rows: Tensor
    columns: Tensor
    moments: Tensor
    family: Tensor


def pool(tables: Sequence[Table], device: torch.device) -> Pool:
    rows = max(len(table.x) for table in tables)
    families = sorted({table.family for table in tables})
    x = np.zeros((len(tables), rows, COLUMNS), np.float32)
    y = np.zeros((len(tables), rows, MOMENTS), np.float32)
    for index, table in enumerate(tables):
        x[index, : len(table.x), : table.x.shape[1]] = table.x
        y[index, : len(table.y), : table.y.shape[1]] = table.y[:, :MOMENTS]

    def per_table(values: Sequence[int]) -> Tensor:
        return torch.tensor(values, device=device)

    return Pool(
        x=torch.from_numpy(x).to(device),
        y=torch.from_numpy(y).to(device),
        rows=per_table([len(table.x) for table in tables]),
        columns=per_table([table.x.shape[1] for table in tables]),
        moments=per_table([min(table.y.shape[1], MOMENTS) for table in tables]),
        family=per_table([families.index(table.family) for table in tables]),
    )


def draw_real(draws: Draws, tables: Pool, batch: int, runs: int) -> Curves:
    """Tasks of `runs` real curves each, of tables of one family, whose rows are the same configurations.

    In nine of ten two tables are mixed, s = λ s₁ + (1 - λ) s₂; in 19 of 20 the columns are flipped and bent, some
    hidden, some irrelevant ones added; half of the tasks end early; and all are rescaled as synthetic ones are, but for
    a half, which stay in the units of the tables.
    """
    first = draws.whole(batch, low=0, high=len(tables.rows))
    second = _partner(draws, tables, first)
    row = (draws.uniform(batch, runs) * tables.rows[first][:, None]).long()
    share = torch.where(draws.chance(0.9, batch), draws.uniform(batch), 1.0)[:, None, None]
    y = share * _picked(tables.y, first, row) + (1 - share) * _picked(tables.y, second, row)
    y = torch.where(draws.chance(0.5, batch, 1, 1), rescaled(draws, y), y)
    x, active = _disguised(draws, _picked(tables.x, first, row), tables.columns[first])
    steps, t, y = _cut_short(draws, tables.moments[first], y)
    x, active = shuffled(draws, x, active)
    return Curves(x, active, y, t, steps, steps)


def _picked(values: Tensor, table: Tensor, row: Tensor) -> Tensor:
    """Rows (B, C) of tables (B,) of values (M, N, ...)."""
    return values[table[:, None], row]


def _partner(draws: Draws, tables: Pool, first: Tensor) -> Tensor:
    """For each table another one, or the same, of its family."""
    related = tables.family[first][:, None] == tables.family[None, :]
    return draws.uniform(*related.shape).masked_fill(~related, -1.0).argmax(-1)


def _disguised(draws: Draws, x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    batch, runs, _ = x.shape
    a, b = (draws.log_normal(batch, 1, COLUMNS, median=1.0, sd=0.5) for _ in range(2))
    other = torch.where(draws.chance(0.5, batch, 1, COLUMNS), 1.0 - x, x)
    disguise = draws.chance(0.95, batch, 1, 1)
    x = torch.where(disguise, bent(other, a, b), x)
    place = torch.arange(COLUMNS, device=x.device)
    own = place < columns[:, None]
    hidden = draws.chance(0.12, batch, COLUMNS) & disguise[..., 0]
    extra = draws.uniform(batch, 1) ** 3 * (COLUMNS - columns[:, None]) * disguise[..., 0]
    added = ~own & (place < columns[:, None] + extra)
    x = torch.where(added[:, None], draws.uniform(batch, runs, COLUMNS), x)
    active = own & ~hidden | added
    return x, active | (own & ~active.any(-1, keepdim=True))


def _cut_short(draws: Draws, moments: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Steps (B,), times (B, K) and scores: half of the tasks end after 8 moments or more."""
    batch = len(y)
    early = 8 + (draws.uniform(batch) * (moments - 7)).long()
    steps = torch.where(draws.chance(0.5, batch), early, moments)
    place = torch.arange(1, MOMENTS + 1, device=y.device)
    return steps, (place / steps[:, None]).clamp_max(1.0), y
