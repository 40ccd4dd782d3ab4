"""How well curves are predicted: python -m frazil_tuner.pfn.evaluate --weights FILE... --data DIR

Curves of a table in random order, each with a prefix of L = round(exp(U(0, ln(T - 1)))) epochs, until n observations
are in the context; the last epoch of every curve in it is predicted, in score units, noise included. `last` carries the
last value forward. Only tables that no network has seen in training are used, unless --all says otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .network import Network
from .priors.observed import thinned
from .priors.tables import Table, load_tables
from .studies import COLUMNS, Context, Queries
from .weights import read

SIZES = (50, 100, 200, 400, 1000)


@dataclass(frozen=True, slots=True)
class Score:
    """Of one context: mean log density, mean squared errors of the network and of `last`, share within the central
    90 %, seconds.
    """

    table: str
    family: str
    n: int
    log_density: float
    mse: float
    mse_last: float
    covered: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Question:
    """A context, one query about each of its C curves, the answers (C,) and the last values (C,) seen."""

    context: Context
    queries: Queries
    target: Tensor
    last: Tensor


def scores(
    network: Network, tables: Sequence[Table], sizes: Sequence[int] = SIZES, contexts: int = 4, cells: int | None = None
) -> Iterator[Score]:
    """One for each table, size and context; `cells`: prefixes are thinned as a server thins them."""
    device = next(network.parameters()).device
    for table in tables:
        for n in sizes:
            for index in range(contexts):
                question = ask(table, n, np.random.default_rng([index, n]), cells)
                yield _score(network, table, n, question, device)


def ask(table: Table, n: int, rng: np.random.Generator, cells: int | None = None) -> Question:
    rows, lengths = _prefixes(table.y.shape, n, rng)
    y = torch.from_numpy(table.y[rows])
    kept = torch.arange(y.shape[1]) < torch.from_numpy(lengths)[:, None]
    if cells is not None:
        kept = thinned(y[None], torch.from_numpy(lengths)[None], torch.full((1, 1, 1), cells))[0]
    curve, moment = kept.nonzero(as_tuple=True)
    x = torch.zeros(1, len(rows), COLUMNS)
    x[0, :, : table.x.shape[1]] = torch.from_numpy(table.x[rows])
    steps = y.shape[1]
    context = Context(
        x=x[:, curve],
        y=y[curve, moment][None],
        active=(torch.arange(COLUMNS) < table.x.shape[1])[None],
        t=((moment + 1) / steps)[None],
        curve=curve[None],
        steps=torch.tensor([steps]),
    )
    queries = Queries(x, torch.ones(1, len(rows)), torch.arange(len(rows))[None])
    return Question(context, queries, y[:, -1], y[torch.arange(len(rows)), torch.from_numpy(lengths) - 1])


def _prefixes(shape: tuple[int, ...], n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (C,) and how much of each is seen (C,), n in all; the last prefix is cut."""
    order = rng.permutation(shape[0])
    lengths = np.round(np.exp(rng.uniform(0.0, np.log(shape[1] - 1), shape[0]))).astype(np.int64)
    total = np.cumsum(lengths)
    count = int(np.searchsorted(total, n)) + 1
    lengths = lengths[:count].copy()
    lengths[-1] -= max(0, total[count - 1] - n)
    return order[:count], lengths


@torch.no_grad()
def _score(network: Network, table: Table, n: int, question: Question, device: torch.device) -> Score:
    began = time.perf_counter()
    belief = network.predict(network.encode(question.context.to(device)), question.queries.to(device))
    mean = belief.mean()[0].cpu()
    seconds = time.perf_counter() - began
    target = question.target.to(device)[None]
    low, high = belief.interval(0.9)
    return Score(
        table=table.name,
        family=table.family,
        n=n,
        log_density=float(belief.log_density(target).mean()),
        mse=float((mean - question.target).square().mean()),
        mse_last=float((question.last - question.target).square().mean()),
        covered=float(((low <= target) & (target <= high)).float().mean()),
        seconds=seconds,
    )


def summary(found: Sequence[Score]) -> list[dict[str, object]]:
    """Means over contexts by family and n, and the median of the log densities."""
    lines = []
    for family in sorted({score.family for score in found}):
        for n in sorted({score.n for score in found}):
            some = [score for score in found if (score.family, score.n) == (family, n)]
            line: dict[str, object] = {"family": family, "n": n, "contexts": len(some)}
            for name in ("log_density", "mse", "mse_last", "covered", "seconds"):
                line[name] = round(float(np.mean([getattr(score, name) for score in some])), 5)
            line["median_log_density"] = round(float(np.median([score.log_density for score in some])), 3)
            lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="the files of one network")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--contexts", type=int, default=4)
    parser.add_argument("--cells", type=int, help="thin prefixes to about so many points")
    parser.add_argument("--all", action="store_true", help="also the tables that were mixed into the training")
    parser.add_argument("--json", type=Path, help="write every context's figures here")
    options = parser.parse_args()
    network = read(options.weights).to(options.device)
    tables = [table for table in load_tables(options.data, ("Y", "Y_valid")) if options.all or table.held_out]
    found = list(scores(network, tables, contexts=options.contexts, cells=options.cells))
    for line in summary(found):
        sys.stdout.write(" ".join(f"{name} {value}" for name, value in line.items()) + "\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(score) for score in found], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
