"""What the runs of a contest say: medians, ranks, paired tests, and whether the targets are met."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np
from contest import Run
from problems import PROBLEMS
from scipy.stats import rankdata, wilcoxon

GEOMETRIC_TARGET = 0.5
WORST_TARGET = 2.0


@dataclass(frozen=True)
class Check:
    """A target: its sentence, with the number reached, and whether that is good enough."""

    sentence: str
    met: bool

    def __str__(self) -> str:
        return f"{'met    ' if self.met else 'NOT met'}  {self.sentence}"


@dataclass(frozen=True)
class Pairing:
    """Ours against one peer, over all problems and seeds that both have: counts, and the test's p (two-sided)."""

    peer: str
    pairs: int
    better: int
    worse: int
    ratio: float
    p: float


class Results:
    """Runs, looked up by peer and problem; `at` is the number of evaluations after which they are compared."""

    def __init__(self, runs: Sequence[Run], at: int) -> None:
        self.at = at
        self.peers = list(dict.fromkeys(run.peer for run in runs))
        self.problems = list(dict.fromkeys(run.problem for run in runs))
        self._runs: dict[tuple[str, str], dict[int, Run]] = {}
        for run in runs:
            self._runs.setdefault((run.peer, run.problem), {})[run.seed] = run

    def runs(self, peer: str, problem: str) -> Mapping[int, Run]:
        """By seed; empty where the peer has none."""
        return self._runs.get((peer, problem), {})

    def median(self, peer: str, problem: str, at: int | None = None) -> float:
        """Regret, the median over seeds; infinite where the peer has no run."""
        return median([run.regret(at or self.at) for run in self.runs(peer, problem).values()] or [math.inf])

    def cpu_per_ask(self, peer: str) -> float:
        """CPU seconds of an ask and its tell, over the problems that ask for one point at a time."""
        single = [problem for problem in self.problems if PROBLEMS[problem].batch == 1]
        return fmean([fmean(run.cpu) for problem in single for run in self.runs(peer, problem).values()] or [math.nan])

    def mean_ranks(self) -> dict[str, float]:
        """By the median regrets of each problem, 1 is best; a peer that does not take a problem is last there."""
        medians = [[self.median(peer, problem) for peer in self.peers] for problem in self.problems]
        ranks = [rankdata(row, method="average") for row in medians]
        return dict(zip(self.peers, np.mean(ranks, axis=0).tolist(), strict=True))

    def pairing(self, ours: str, peer: str) -> Pairing:
        """Wilcoxon's signed-rank test of the logarithms' differences; ties count for neither."""
        logs = np.array(
            [
                math.log(run.regret(self.at) / self.runs(peer, problem)[seed].regret(self.at))
                for problem in self.problems
                for seed, run in self.runs(ours, problem).items()
                if seed in self.runs(peer, problem)
            ]
        )
        logs = logs[np.isfinite(logs)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few pairs: the approximation is what there is
            p = float(wilcoxon(logs).pvalue) if np.any(logs) else 1.0
        ratio = float(np.exp(np.median(logs))) if len(logs) else math.nan
        return Pairing(peer, len(logs), int((logs < 0).sum()), int((logs > 0).sum()), ratio, p)

    def geometric_ratio(self, ours: str, peer: str) -> float:
        """Geometric mean of ours by the peer's median regret, over the noiseless problems that both take."""
        common = [
            problem
            for problem in self.problems
            if not PROBLEMS[problem].noise and self.runs(ours, problem) and self.runs(peer, problem)
        ]
        logs = [math.log(self.median(ours, problem) / self.median(peer, problem)) for problem in common]
        return math.exp(fmean(logs)) if logs else math.nan

    def best_peer(self, ours: str, problem: str) -> tuple[float, str]:
        """The least median regret of the others, and whose it is."""
        return min((self.median(peer, problem), peer) for peer in self.peers if peer != ours)


def checks(results: Results, ours: str) -> list[Check]:
    """The targets of regret; none without a peer."""
    peers = [peer for peer in results.peers if peer != ours]
    if not peers:
        return []
    ranks = results.mean_ranks()
    first = min(peers, key=ranks.__getitem__)
    ranked = Check(
        f"mean rank {ranks[ours]:.2f}, the best peer's {ranks[first]:.2f} ({first})", ranks[ours] < ranks[first]
    )
    return [
        ranked,
        *(not_far_behind(results, ours, problem) for problem in results.problems),
        ahead(results, ours, peers),
    ]


def not_far_behind(results: Results, ours: str, problem: str) -> Check:
    own = results.median(ours, problem)
    best, peer = results.best_peer(ours, problem)
    ratio = own / best if math.isfinite(own) else math.inf
    return Check(
        f"{problem}: x{ratio:.2f} of the best peer's regret ({peer}), at most {WORST_TARGET:g}", ratio <= WORST_TARGET
    )


def ahead(results: Results, ours: str, peers: Sequence[str]) -> Check:
    ratios = {peer: results.geometric_ratio(ours, peer) for peer in peers}
    hardest = max(ratios, key=ratios.__getitem__)
    sentence = f"geometric mean of regret without noise: x{ratios[hardest]:.3f} of the best peer's ({hardest})"
    return Check(f"{sentence}, at most {GEOMETRIC_TARGET:g}", ratios[hardest] <= GEOMETRIC_TARGET)
