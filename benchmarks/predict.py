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
Means over the tables of a family that the networks were not trained with (`pfn.configs.HELD_OUT`), and then over all of
them; targets are measured on the former. The sketch's figures, on all, are quoted from shared/methods/freeze_thaw.md,
not measured. Besides every model of curves there are `large`, the larger network, and `blind`, the small one that is
not told the configurations. Last, studies of many contexts read by the network in one pass and one by one.
"""

from __future__ import annotations

import argparse
import json
import platform
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table as Drawn
from tables import FAMILIES, Table, load
from verdicts import Check

from frazil_tuner.curves import CURVE_MODELS, CurveModel, Curves, PriorFitted, Where
from frazil_tuner.pfn.configs import HELD_OUT
from frazil_tuner.pfn.studies import COLUMNS, UNSEEN, Context, Queries
from frazil_tuner.pfn.weights import resident

SIZES = (50, 100, 200, 400, 1000)

MODELS: Mapping[str, CurveModel] = {**CURVE_MODELS, "large": PriorFitted("curve-large"), "blind": PriorFitted()}
BLIND = ("blind",)
"""Models that are told that all configurations are the same."""


@dataclass(frozen=True)
class Given:
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

ALL = "all tables"

DENSITY_TARGETS = {"lcbench": 2.6, "taskset": 2.4}
ERROR_TARGET, COVERAGE_TARGET, WARM_TARGET = 0.0012, (0.87, 0.95), 0.5
EARLY, EARLY_GAIN = {"taskset": (50, 100)}, 0.3
"""By so much the mixture's log density exceeds that of the process where little was seen."""

GUARD_TARGET, FASTER_TARGET = 0.05, 20
"""The mixture is at most so much below the better of its two parts, and the network so many times faster than the first
fit of the process at the largest size.
"""

STUDIES, PASS_TARGET = 64, 1 / 3


def contexts(table: Table, draw: int, sizes: Sequence[int]) -> Iterator[Given]:
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
        yield Given(table, draw, size, curves, scores[rows, -1])


def outcomes(name: str, ordered: Sequence[Given]) -> Iterator[Outcome]:
    """Of one model in contexts of growing size."""
    model, start = MODELS[name], None
    for context in ordered:
        curves = context.curves
        if name in BLIND:
            curves = replace(curves, x=np.full_like(curves.x, 0.5))
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


def kept_out(found: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in found if outcome.table.endswith(HELD_OUT)]


def drawn(found: Sequence[Outcome], family: str, which: str) -> Drawn:
    columns = ("observations", "model", "log density", "median", "MSE", "in 90 %", "s cold", "s warm")
    table = Drawn(*columns, box=None, pad_edge=False, title=f"{family}, {which}: the last epoch", title_justify="left")
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
        if sketch and which == ALL:
            median_text = "" if sketch.median is None else f"{sketch.median:.2f}"
            error = f"{sketch.square_error:.4f} (last {sketch.last:.4f})"
            table.add_row(f"{size}", "the sketch, quoted", f"{sketch.log_density:.2f}", median_text, error)
    return table


def checks(found: Sequence[Outcome]) -> list[Check]:
    """The targets, for the guarded mixture if it was measured, else for the model that is best at the largest size."""
    models, sizes = list(dict.fromkeys(outcome.model for outcome in found)), sorted({outcome.size for outcome in found})
    best = max(models, key=lambda name: mean(chosen(found, model=name, size=sizes[-1]), "log_density"))
    judged = "guarded" if "guarded" in models else best
    made = []
    for family in dict.fromkeys(outcome.family for outcome in found):
        rows = chosen(found, family=family)
        made += of_largest(chosen(rows, model=judged, size=sizes[-1]))
        if {"gp", "pfn", "guarded"} <= set(models):
            made += of_guard(rows, family, sizes)
        if "last" in models:
            worse = [size for size in sizes if gap(rows, size, judged, "last", "square_error") >= 0]
            made.append(Check(f"{family}: MSE of {judged} below last's at every size{but(worse)}", not worse))
    return made


def of_largest(rows: Sequence[Outcome]) -> list[Check]:
    title = f"{rows[0].family}, {rows[0].model} at {rows[0].size} observations"
    density, error, covered = (mean(rows, what) for what in ("log_density", "square_error", "covered"))
    target, (low, high) = DENSITY_TARGETS[rows[0].family], COVERAGE_TARGET
    warm = mean(rows, "warm")
    return [
        Check(f"{title}: log density {density:.2f}, at least {target}", density >= target),
        Check(f"{title}: MSE {error:.5f}, at most {ERROR_TARGET}", error <= ERROR_TARGET),
        Check(f"{title}: {covered:.1%} in the 90 % interval, {low:.0%} to {high:.0%}", low <= covered <= high),
        Check(f"{title}: {warm:.3f} CPU s warm, at most {WARM_TARGET}", not warm > WARM_TARGET),
    ]


def of_guard(rows: Sequence[Outcome], family: str, sizes: Sequence[int]) -> list[Check]:
    below = {size: max(-gap(rows, size, "guarded", part, "log_density") for part in ("gp", "pfn")) for size in sizes}
    early = [size for size in EARLY.get(family, ()) if size in sizes]
    short = [size for size in early if gap(rows, size, "guarded", "gp", "log_density") < EARLY_GAIN]
    cold = [mean(chosen(rows, size=sizes[-1], model=name), "cold") for name in ("gp", "pfn")]
    worst = max(below.values())
    return [
        Check(
            f"{family}: the mixture at most {GUARD_TARGET} below the better part: {worst:.3f}", worst <= GUARD_TARGET
        ),
        Check(f"{family}: early on {EARLY_GAIN} above the process{but(short)}", not short),
        Check(
            f"{family}: the network {cold[0] / cold[1]:.0f} times faster than the process's first fit at {sizes[-1]} "
            f"observations, at least {FASTER_TARGET}",
            cold[0] >= FASTER_TARGET * cold[1],
        ),
    ]


def gap(rows: Sequence[Outcome], size: int, one: str, other: str, what: str) -> float:
    """By how much one model's mean exceeds the other's."""
    means = [mean(chosen(rows, size=size, model=name), what) for name in (one, other)]
    return means[0] - means[1]


def but(sizes: Sequence[int]) -> str:
    return f": not at {', '.join(map(str, sizes))}" if sizes else ""


def passes(observations: int, questions: int) -> tuple[float, float]:
    """CPU milliseconds for each of STUDIES studies: one by one, and in one pass."""
    network, random = resident("curve-small"), torch.Generator().manual_seed(0)
    place = torch.arange(observations)
    context = Context(
        x=torch.rand(STUDIES, observations, COLUMNS, generator=random),
        y=torch.rand(STUDIES, observations, generator=random),
        active=torch.ones(STUDIES, COLUMNS, dtype=torch.bool),
        t=((place % 6 + 1) / 50).expand(STUDIES, -1).contiguous(),
        curve=(place // 6).expand(STUDIES, -1).contiguous(),
        steps=torch.full((STUDIES,), 50),
    )
    shape = (STUDIES, questions)
    asked = Queries(torch.rand(*shape, COLUMNS, generator=random), torch.ones(shape), torch.full(shape, UNSEEN))
    seconds = []
    with torch.inference_mode():
        for size in (1, STUDIES):
            network.predict(network.encode(context.part(0, size)), asked.part(0, size))
            begun = process_time()
            for start in range(0, STUDIES, size):
                stop = start + size
                network.predict(network.encode(context.part(start, stop)), asked.part(start, stop))
            seconds.append((process_time() - begun) / STUDIES * 1e3)
    return seconds[0], seconds[1]


def passed(console: Console) -> None:
    columns = ("observations", "questions", "ms each, one by one", "ms each, in one pass")
    table = Drawn(*columns, box=None, pad_edge=False, title=f"{STUDIES} studies", title_justify="left")
    shares = []
    for observations in (10, 50, 200):
        for questions in (16, 128):
            single, together = passes(observations, questions)
            shares.append(together / single)
            table.add_row(f"{observations}", f"{questions}", f"{single:.1f}", f"{together:.1f}")
    console.print(table)
    share = float(np.mean(shares))
    console.print(
        str(Check(f"{STUDIES} studies in one pass: {share:.2f} of the CPU time, at most a third", share <= PASS_TARGET))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with lcbench/ and taskset/")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--contexts", type=int, default=3, help="random orders of each table")
    parser.add_argument("--json", type=Path, help="write every outcome there")
    asked = parser.parse_args()

    tables = [table for family in asked.families for table in load(asked.data, family)]
    found = measured(tables, asked.models, asked.sizes, asked.contexts)
    console = Console(width=120)
    console.print(f"{platform.processor() or platform.machine()}, {asked.contexts} contexts of each table")
    for family in asked.families:
        rows = chosen(kept_out(found), family=family)
        names = ", ".join(dict.fromkeys(row.table for row in rows))
        console.print(drawn(rows, family, f"kept out ({names})"))
        console.print(drawn(found, family, ALL))
    for check in checks(kept_out(found)):
        console.print(str(check))
    passed(console)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(outcome) for outcome in found], indent=1))


if __name__ == "__main__":
    main()
