"""How well the models of learning curves foretell where a run ends, on real curves.

    python benchmarks/predict.py --data ../shared/data [--sizes 50 100 200 400 1000] [--models …] [--families …]
                                 [--contexts 3] [--json FILE]

A context is what a tuner has seen at some moment: curves of a table in random order, each with the first
L = round(exp(U(0, ln(T - 1)))) of its T epochs, until there are so many observations (the last curve is cut short). Of
every curve in it the last epoch is foretold, noise included, in scores from 0, the worst, to 1 (`tables.scores`); a run
that has diverged has the score 0. A larger context of the same table goes on where the smaller one ended, and `warm` is
the time of a fit that starts from the smaller one's.

Prints, for each family, size and model: the mean log density over curves, then over contexts, and the median over
contexts; the mean square error; which share lies within the interval from the 5 % to the 95 % quantile; CPU seconds.
Means over the tables of a family; the sketch's figures are quoted from shared/methods/freeze_thaw.md, not measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np
from rich.console import Console
from rich.table import Table as Drawn
from tables import FAMILIES, Table, load
from verdicts import Check

from frazil_tuner.curves import CURVE_MODELS, Curves, Where

SIZES = (50, 100, 200, 400, 1000)


@dataclass(frozen=True)
class Context:
    """What was seen, and the scores (n,) that every curve has at its last epoch."""

    table: Table
    draw: int
    size: int
    curves: Curves
    ends: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """How one model did in one context. `warm` is None where there is no smaller context to start from."""

    family: str
    table: str
    draw: int
    size: int
    model: str
    log_density: float
    square_error: float
    covered: float
    cold: float
    warm: float | None


@dataclass(frozen=True)
class Quoted:
    """A figure of the sketch, as given: of the mean and the median log density, and of the mean square error."""

    log_density: float
    median: float | None
    square_error: float
    last: float


SKETCH: Mapping[tuple[str, int], Quoted] = {
    ("lcbench", 100): Quoted(2.07, None, 0.0026, 0.0078),
    ("lcbench", 200): Quoted(2.01, None, 0.0017, 0.0045),
    ("lcbench", 400): Quoted(2.28, None, 0.0014, 0.0065),
    ("lcbench", 1000): Quoted(2.05, None, 0.0015, 0.0069),
    ("taskset", 100): Quoted(-7.4, 2.4, 0.0028, 0.0030),
    ("taskset", 200): Quoted(-4.6, 2.6, 0.0023, 0.0017),
    ("taskset", 400): Quoted(1.67, 2.8, 0.0009, 0.0008),
    ("taskset", 1000): Quoted(1.11, 2.6, 0.0015, 0.0021),
}

DENSITY_TARGETS = {"lcbench": 2.5, "taskset": 2.2}
ERROR_TARGET, COVERAGE_TARGET, WARM_TARGET = 0.0012, (0.87, 0.95), 0.5


def contexts(table: Table, draw: int, sizes: Sequence[int]) -> Iterator[Context]:
    """Of one table and one random order, each the beginning of the next."""
    rng = np.random.default_rng([zlib.crc32(table.name.encode()), draw])
    scores, x = table.scores, table.space.encode_many(table.candidates)
    diverged = ~np.isfinite(table.losses)
    T = scores.shape[1]
    order = rng.permutation(len(scores))
    lengths = np.round(np.exp(rng.uniform(0, np.log(T - 1), len(scores)))).astype(int)
    ends = np.cumsum(lengths)
    for size in sorted(sizes):
        n = int(np.searchsorted(ends, size)) + 1
        rows, seen = order[:n], lengths[:n].copy()
        seen[-1] -= ends[n - 1] - size
        owner = np.repeat(np.arange(n), seen)
        step = np.concatenate([np.arange(1, k + 1) for k in seen])
        read = np.where(diverged[rows[owner], step - 1], -np.inf, scores[rows[owner], step - 1])
        dead, unordered = np.zeros(n, dtype=bool), np.zeros(x.shape[1], dtype=bool)
        curves = Curves(x[rows], owner, step, read, dead, T, unordered, floor=0.0)
        yield Context(table, draw, size, curves, scores[rows, -1])


def outcomes(name: str, ordered: Sequence[Context]) -> Iterator[Outcome]:
    """Of one model in contexts of growing size."""
    model, start = CURVE_MODELS[name], None
    for context in ordered:
        curves = context.curves
        where = Where(curves.x, np.arange(curves.size), np.full(curves.size, curves.max_step))
        begun = process_time()
        believed = model.fit(curves)
        predicted = believed.at(where)
        cold, warm = process_time() - begun, None
        if start is not None:
            begun = process_time()
            believed = model.fit(curves, start)
            predicted = believed.at(where)
            warm = process_time() - begun
        start = believed.fit
        low, high = predicted.quantile(0.05), predicted.quantile(0.95)
        yield Outcome(
            context.table.family,
            context.table.name,
            context.draw,
            context.size,
            name,
            float(predicted.log_density(context.ends).mean()),
            float(np.square(predicted.mean - context.ends).mean()),
            float(((low <= context.ends) & (context.ends <= high)).mean()),
            cold,
            warm,
        )


def measured(tables: Sequence[Table], models: Sequence[str], sizes: Sequence[int], count: int) -> list[Outcome]:
    found = []
    for table in tables:
        for draw in range(count):
            ordered = list(contexts(table, draw, sizes))
            for name in models:
                found += outcomes(name, ordered)
    return found


def chosen(found: Sequence[Outcome], **wanted: object) -> list[Outcome]:
    return [outcome for outcome in found if all(getattr(outcome, key) == value for key, value in wanted.items())]


def mean(found: Sequence[Outcome], what: str) -> float:
    values = [getattr(outcome, what) for outcome in found if getattr(outcome, what) is not None]
    return float(np.mean(values)) if values else float("nan")


def drawn(found: Sequence[Outcome], family: str) -> Drawn:
    columns = ("observations", "model", "log density", "median", "MSE", "in 90 %", "s cold", "s warm")
    table = Drawn(*columns, box=None, pad_edge=False, title=f"{family}: the last epoch", title_justify="left")
    for size in sorted({outcome.size for outcome in found}):
        for name in dict.fromkeys(outcome.model for outcome in found):
            rows = chosen(found, family=family, size=size, model=name)
            if not rows:
                continue
            median = float(np.median([row.log_density for row in rows]))
            seconds = [f"{mean(rows, what):.3f}" for what in ("cold", "warm")]
            error = f"{mean(rows, 'square_error'):.5f}"
            covered = f"{mean(rows, 'covered'):.3f}"
            table.add_row(
                f"{size}", name, f"{mean(rows, 'log_density'):.2f}", f"{median:.2f}", error, covered, *seconds
            )
        sketch = SKETCH.get((family, size))
        if sketch:
            median_text = "" if sketch.median is None else f"{sketch.median:.2f}"
            error = f"{sketch.square_error:.4f} (last {sketch.last:.4f})"
            table.add_row(f"{size}", "the sketch, quoted", f"{sketch.log_density:.2f}", median_text, error)
    return table


def checks(found: Sequence[Outcome]) -> list[Check]:
    """The targets, for the model with the largest log density at the largest size."""
    sizes = sorted({outcome.size for outcome in found})
    models = list(dict.fromkeys(outcome.model for outcome in found))
    best = max(models, key=lambda name: mean(chosen(found, model=name, size=sizes[-1]), "log_density"))
    made = []
    for family in dict.fromkeys(outcome.family for outcome in found):
        rows = chosen(found, family=family, model=best, size=sizes[-1])
        density, error, covered = (mean(rows, what) for what in ("log_density", "square_error", "covered"))
        target, (low, high) = DENSITY_TARGETS[family], COVERAGE_TARGET
        title = f"{family}, {best} at {sizes[-1]} observations"
        made.append(Check(f"{title}: log density {density:.2f}, at least {target}", density >= target))
        made.append(Check(f"{title}: MSE {error:.5f}, at most {ERROR_TARGET}", error <= ERROR_TARGET))
        made.append(
            Check(f"{title}: {covered:.1%} in the 90 % interval, {low:.0%} to {high:.0%}", low <= covered <= high)
        )
        if len(sizes) > 1:
            warm = mean(rows, "warm")
            made.append(Check(f"{title}: {warm:.3f} CPU s warm, at most {WARM_TARGET}", warm <= WARM_TARGET))
        if "last" in models:
            errors = [
                [mean(chosen(found, family=family, model=name, size=size), "square_error") for size in sizes]
                for name in (best, "last")
            ]
            worse = [size for size, ours, carried in zip(sizes, *errors, strict=True) if ours >= carried]
            where = f"not at {', '.join(map(str, worse))}" if worse else "yes"
            made.append(Check(f"{family}: MSE of {best} below last's at every size: {where}", not worse))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with lcbench/ and taskset/")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--models", nargs="+", default=list(CURVE_MODELS), choices=list(CURVE_MODELS))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--contexts", type=int, default=3, help="random orders of each table")
    parser.add_argument("--json", type=Path, help="write every outcome there")
    asked = parser.parse_args()

    tables = [table for family in asked.families for table in load(asked.data, family)]
    found = measured(tables, asked.models, asked.sizes, asked.contexts)
    console = Console(width=120)
    console.print(f"{platform.processor() or platform.machine()}, {asked.contexts} contexts of each table")
    for family in asked.families:
        console.print(drawn(found, family))
    for check in checks(found):
        console.print(str(check))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(outcome) for outcome in found], indent=1))


if __name__ == "__main__":
    main()
