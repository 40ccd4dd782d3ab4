"""What a GPU is worth: where it overtakes the processor, asks with and without it, and the prior-fitted networks on it.

    PYTHONPATH=tuner python benchmarks/gpu.py [--asks 3]

Seconds of the clock, as a GPU computes while the processor waits; each the best of three after one to warm up. Needs
torch and the core alone, so it runs on any machine with a GPU. Without one it says so and measures the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.pfn.configs import CONFIGS
from frazil_tuner.pfn.network import Network
from frazil_tuner.pfn.studies import COLUMNS, UNSEEN, Context, Queries
from frazil_tuner.policies.bayes import Bayes
from frazil_tuner.space import Space
from frazil_tuner.surrogates import accelerated

REPEATS = 3
DIMENSIONS = 10
TRIALS = (30, 100, 300, 1_000)
POINTS = (100, 1_000, 10_000, 100_000)
MOST = 10_000_000
"""Points times trials beyond which the processor is not kept waiting for."""

LISTED = 20_000
ASKED = (100, 300, 1_000)
OBSERVED, CANDIDATES = 1_000, 1_000


def seconds(work: Callable[[], object], device: str) -> float:
    """The least of `REPEATS` after one to warm up."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])


def posteriors(devices: Sequence[str]) -> None:
    print(f"\nPosterior moments in {DIMENSIONS} dimensions, milliseconds")
    print(f"{'trials':>8} {'points':>8}", *(f"{device:>10}" for device in devices))
    for trials in TRIALS:
        belief = accelerated._specimen(trials, DIMENSIONS)
        for points in POINTS:
            if points * trials > MOST:
                continue
            x = np.random.default_rng(0).random((points, DIMENSIONS))
            on = {"cpu": partial(belief.own_moments, x), "cuda": partial(accelerated.moments, belief, x, "cuda")}
            cells = (f"{1e3 * seconds(on[device], device):10.2f}" for device in devices)
            print(f"{trials:8} {points:8}", *cells, flush=True)


def asks(count: int, listed: bool) -> list[float]:
    """Seconds of the asks of a study in 10 dimensions, after its first, for each of the sizes."""
    space = Space.from_json([{"name": f"x{j}", "type": "float", "low": 0, "high": 1} for j in range(DIMENSIONS)])
    rng = np.random.default_rng(0)
    candidates = tuple(space.draw(rng) for _ in range(LISTED)) if listed else None
    definition = Definition(space, (Objective("value"),), candidates=candidates)
    found = []
    for size in ASKED:
        study, times = Study(definition, tuple(_trial(definition, i, rng) for i in range(size))), []
        for i in range(count + 1):
            began = time.perf_counter()
            (suggestion,) = Bayes().suggest(study, 1, i)
            times.append(time.perf_counter() - began)
            study = Study(definition, study.trials, last_fit=suggestion.why["fit"])
        found.append(median(times[1:]))
    return found


def _trial(definition: Definition, i: int, rng: np.random.Generator) -> Trial:
    params = definition.candidates[i] if definition.candidates else definition.space.draw(rng)
    value = float(sum(np.sin(3 * x) + x * x for x in params.values()))
    candidate = i if definition.candidates else None
    return Trial(i, params, TrialState.COMPLETED, values={"value": value}, candidate=candidate)


def suggestions(devices: Sequence[str], count: int) -> None:
    print(f"\nAn ask of bayes in {DIMENSIONS} dimensions, seconds ({'space':>6} or a list of {LISTED:,} candidates)")
    print(f"{'from':>8} {'device':>8}", *(f"{size:>7} trials" for size in ASKED))
    for listed in (False, True):
        for device in devices:
            command = [sys.executable, __file__, "--only-asks", str(int(listed)), "--asks", str(count)]
            environment = os.environ | {accelerated.SETTING: device}
            answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            cells = json.loads(answer.stdout) if answer.returncode == 0 else [float("nan")] * len(ASKED)
            if answer.returncode:
                print(answer.stderr[-600:])
            print(f"{'list' if listed else 'space':>8} {device:>8}", *(f"{cell:14.3f}" for cell in cells), flush=True)


def networks(devices: Sequence[str]) -> None:
    print(f"\nA prediction of a network: {OBSERVED:,} observations, {CANDIDATES:,} candidates, milliseconds")
    print(f"{'network':>14} {'studies':>8}", *(f"{device:>10}" for device in devices), f"{'Mtoken/s':>10}")
    for name in ("curve-small", "curve-large"):
        network = Network(CONFIGS[name].shape).eval()
        for studies in (1, 8, 64) if "cuda" in devices else (1,):
            cells = {
                device: predicted(network, studies, device) for device in devices if device != "cpu" or studies == 1
            }
            shown = [f"{1e3 * cells[device]:10.1f}" if device in cells else f"{'-':>10}" for device in devices]
            rate = studies * (OBSERVED + CANDIDATES) / cells[devices[-1]] / 1e6
            print(f"{name:>14} {studies:8}", *shown, f"{rate:10.2f}", flush=True)


@torch.no_grad()
def predicted(network: Network, studies: int, device: str) -> float:
    make, network = torch.Generator().manual_seed(0), network.to(device)
    active = torch.ones(studies, COLUMNS, dtype=torch.bool)
    context = Context(
        torch.rand(studies, OBSERVED, COLUMNS, generator=make), torch.rand(studies, OBSERVED, generator=make), active,
        t=torch.rand(studies, OBSERVED, generator=make), steps=torch.full((studies,), 50.0),
        curve=torch.randint(0, 50, (studies, OBSERVED), generator=make),
    ).to(device)  # fmt: skip
    queries = Queries(
        torch.rand(studies, CANDIDATES, COLUMNS, generator=make), torch.ones(studies, CANDIDATES),
        torch.full((studies, CANDIDATES), UNSEEN),
    ).to(device)  # fmt: skip

    def work() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
            network.predict(network.encode(context), queries)

    return seconds(work, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asks", type=int, default=3)
    parser.add_argument("--only-asks", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_asks is not None:
        print(json.dumps(asks(given.asks, bool(given.only_asks))))
        return
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    name = torch.cuda.get_device_name() if "cuda" in devices else "no GPU"
    processor = platform.processor() or platform.machine()
    print(f"{name}; {processor}, {os.cpu_count()} CPUs, one thread; torch {torch.__version__}")
    if "cuda" in devices:
        print(f"crossover: {accelerated.measured('cuda')} points x trials x dimensions")
    posteriors(devices)
    networks(devices)
    suggestions(devices, given.asks)


if __name__ == "__main__":
    main()
