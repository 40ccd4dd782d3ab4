"""The card of a network, from what its training wrote: python -m frazil_tuner.pfn.cards TRAINING [--data DIR]

Writes Markdown to the standard output: what the network is, what it was trained on and for how long, how its loss fell,
how well it predicts the tables it has not seen, and where it is known to fail.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .evaluate import scores, summary
from .priors.tables import load_tables
from .weights import read

MOMENTS = 12
"""Lines of the log that a card repeats."""

PRIORS = {
    "curve": (
        "Learning curves drawn from `priors/curves.py`: sums of four families of saturating courses whose parameters "
        "are random functions of the configuration, with late onset, drops of the learning rate, spikes, over-fitting, "
        "regions that diverge, irrelevant and categorical inputs, replicates, and noise that may shrink. Contexts are "
        "prefixes, whole or thinned. A share of the tasks mixes real curves of the tables named below, with other "
        "columns, lengths and units."
    ),
    "static": (
        "Functions drawn from `priors/static.py`: Gaussian processes of several kernels with warped inputs and "
        "outputs, random networks, outliers, and constraints that correlate with an objective. No real data."
    ),
}

FAILURES = {
    "curve": (
        "It reads 16 columns; more must be left out. A category of many levels takes one column for each.",
        "It saw contexts of up to 1 024 observations of up to 224 curves. Longer ones should be thinned.",
        "It resolves scores to 1/1000 of their range: near the best losses of a table that is what limits it.",
        "It saw no curve whose score leaves the range between the worst score and 1.",
        "The vectors that tell curves apart are random, and answers differ a little by them.",
        "On mixtures of few and very different runs (TaskSet at 50 to 200 observations) the mean square error is "
        "hardly below that of the last value carried forward, though the density is.",
    ),
    "static": (
        "It reads 16 columns, and saw contexts of up to 256 observations.",
        "It has been measured on tasks of its own prior only.",
    ),
}


def card(
    facts: Mapping[str, Any], log: Sequence[Mapping[str, Any]], figures: Sequence[Mapping[str, Any]], remark: str
) -> str:
    """Markdown of what a training wrote, `card.json` and `log.jsonl`, of how well kept-out tables are predicted, and of
    a `remark` on the compute.
    """
    config, training = facts["config"], facts["training"]
    shape, kind = config["shape"], config["shape"]["kind"]
    tables = facts["tables"] if kind == "curve" else []
    rate = training["flop"] / training["spent"] / 1e12
    return "\n".join(
        [
            f"# {facts['name']}",
            "",
            f"{facts['parameters']:,} parameters: {shape['layers']} layers of width {shape['width']} with "
            f"{shape['heads']} heads, {shape['hidden']} hidden units, {shape['grid']['bins']} bins; stored as "
            f"{config['stored']} in {', '.join(f'`{name}`' for name in facts['files'])}.",
            "",
            "## Prior and data",
            "",
            PRIORS[kind],
            "",
            *_list("Tables mixed in", tables),
            *(_list("Tables kept out, by the ends of their names", facts["held_out"]) if tables else []),
            "## Compute",
            "",
            f"{facts['device']}, torch {facts['torch']}, {training['spent']:.0f} s, {training['step']:,} steps, "
            f"{training['tasks']:,} tasks, {training['tokens']:,} tokens, {training['flop']:.3g} FLOP "
            f"({rate:.1f} TFLOP/s, drawing the tasks counted in). {remark}Seed {config['seed']}. Muon and AdamW, "
            f"learning rate {config['rate']}, {config['tokens']} observations a step.",
            "",
            "Again: `python -m frazil_tuner.pfn.train --config "
            f"{facts['name']} --minutes {training['spent'] / 60:.0f} --resume DIR --data DIR`.",
            "",
            "## Loss",
            "",
            "The negative log density of answers about tasks that were never seen before, by the length of the "
            "context; and how many answers lay within the central 50 % and 90 % of what was believed.",
            "",
            *_table([_moment(line) for line in _spread(log)]),
            *(["## Tables that were kept out", "", _PROTOCOL, "", *_table(figures)] if figures else []),
            "## Known failures",
            "",
            *(f"- {failure}" for failure in FAILURES[kind]),
            "",
        ]
    )


_PROTOCOL = (
    "Curves in random order, each with a prefix of exp(U(0, ln(T - 1))) epochs, until n observations are in the "
    "context; the last epoch of each is predicted, in scores from 0 to 1 (`python -m frazil_tuner.pfn.evaluate`). "
    "`mse_last`: the last value carried forward."
)


def _list(title: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    return [f"{title}: {', '.join(names) if names else 'none'}.", ""]


def _spread(log: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """About `MOMENTS` lines, evenly spaced, the last among them."""
    gap = max(1, -(-len(log) // MOMENTS))
    return list(log[::-1][::gap][::-1])


def _moment(line: Mapping[str, Any]) -> dict[str, Any]:
    by_length = {f"n = {n}": f"{loss:.2f}" for n, loss in line["loss_by_length"].items()}
    return {"share of time": f"{line['share']:.0%}", "step": line["step"], **by_length} | {
        "in 50 %": f"{line['in_50']:.3f}", "in 90 %": f"{line['in_90']:.3f}"
    }  # fmt: skip


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in (*rows[-1:], *rows) for name in row))
    lines = [names, ["---"] * len(names), *([str(row.get(name, "")) for name in names] for row in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("training", type=Path, help="the folder of a training, with its card, log and weights")
    parser.add_argument("--data", type=Path, help="tables on which the network is measured")
    parser.add_argument("--remark", default="", help="a sentence on what else the machine did meanwhile")
    options = parser.parse_args()
    facts = json.loads((options.training / "card.json").read_text("utf-8"))
    log = [json.loads(line) for line in (options.training / "log.jsonl").read_text("utf-8").splitlines()]
    figures: list[dict[str, Any]] = []
    if options.data and facts["config"]["shape"]["kind"] == "curve":
        network = read([options.training / name for name in facts["files"]])
        tables = [table for table in load_tables(options.data, ("Y", "Y_valid")) if table.held_out]
        hidden = ("seconds", "contexts")
        found = summary(list(scores(network, tables)))
        figures = [{name: value for name, value in line.items() if name not in hidden} for line in found]
    sys.stdout.write(card(facts, log, figures, f"{options.remark} " if options.remark else ""))


if __name__ == "__main__":
    main()
