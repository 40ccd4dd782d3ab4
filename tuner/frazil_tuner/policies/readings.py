"""What policies that only compare read from a study: which trial is better than which, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import rankdata

from ..space import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ..history import Objective, Params, Study, Trial
    from ..numerics import Floats
    from ..space import Space

ROUNDS = 200
"""Iterations of `strengths`; far more than rankings of trials need."""

SHORT = 500
"""Trials that are read in a few milliseconds."""

AT_HAND = 20
"""Trials of the nearest contexts that are read although their context is another, if so few have the same."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The trials (n,) that have ended and can be compared, in the order of their numbers.

    `rows` (n, d) are their points in the space that is searched, `scores` (n, m) their objectives, larger is better,
    and `violation` (n,) how far they are out of bounds: 0 within all of them, infinite for a trial that failed.
    """

    trials: tuple[Trial, ...]
    rows: Floats
    scores: Floats
    violation: Floats

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Which trials (n,) came to finite values."""
        return np.isfinite(self.violation)

    def kept(self, which: NDArray[np.intp]) -> Reading:
        """The trials at some indices."""
        trials = tuple(self.trials[i] for i in which)
        return Reading(trials, self.rows[which], self.scores[which], self.violation[which])

    def genes(self, study: Study) -> Floats:
        """The rows (n, d) with neutral genes, drawn at random for each trial, where a parameter was not active."""
        drawn = np.random.default_rng(study.definition.seed).random(self.rows.shape)
        return np.where(study.search_space.active(self.rows), self.rows, drawn)

    def ranks(self) -> Floats:
        """The place (n, m) of each score, from 1 for the lowest; equals share their mean place."""
        return np.asarray(rankdata(self.scores, axis=0), dtype=np.float64)

    def merits(self) -> Floats:
        """The place (n,) of each trial, from 1 for the worst: within bounds by score, the others by violation.

        Of several objectives the score is minus the number of trials that are better in all of them.
        Deb 2000, "An efficient constraint handling method for genetic algorithms"; Fonseca and Fleming 1993.
        """
        within = self.violation == 0
        merits = np.empty(len(self))
        merits[~within] = rankdata(-self.violation[~within])
        merits[within] = rankdata(_single(self.scores[within])) + (~within).sum()
        return merits


def read(study: Study) -> Reading:
    """What the finished trials have shown. With a context, of those under the same context or the nearest ones."""
    per_objective = [scores(study, objective) for objective in study.objectives]
    known = [
        (trial, values)
        for trial, *values in zip(study.trials, *per_objective, strict=True)
        if trial.state.finished and not trial.excluded and None not in values
    ]
    kept = [known[i] for i in _at_hand(study, [trial for trial, _ in known])]
    trials = tuple(trial for trial, _ in kept)
    table = np.array([values for _, values in kept], dtype=np.float64).reshape(len(kept), len(study.objectives))
    violation = np.where(np.isfinite(table).all(1), violations(study, trials), np.inf)
    return Reading(trials, study.search_space.encode_many([trial.params for trial in trials]), table, violation)


def scores(study: Study, objective: Objective) -> list[float | None]:
    """The score of every trial, larger is better; from the rankings where the objective is learned by comparison."""
    if objective.by == "value":
        return [trial.score(objective) for trial in study.trials]
    strength = strengths(study.rankings)
    return [-np.inf if trial.state.worst else strength.get(trial.number) for trial in study.trials]


def strengths(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """How good each ranked number is, log γ of the Plackett-Luce model, from rankings with the best first.

        P(i₁ > i₂ > … > i_k) = Π_j γ_{i_j} / (γ_{i_j} + … + γ_{i_k})

    Each number has also won and lost once against one of strength γ = 1, so that all stay finite.
    Hunter 2004, "MM algorithms for generalized Bradley-Terry models", eq. (30).
    """
    numbers = sorted({number for ranking in rankings for number in ranking})
    place = {number: i for i, number in enumerate(numbers)}
    stages = [[place[number] for number in ranking[j:]] for ranking in rankings for j in range(len(ranking) - 1)]
    if not stages:
        return {}
    among = _incidence(stages, len(numbers))
    wins = 1.0 + np.bincount([stage[0] for stage in stages], minlength=len(numbers))
    gamma = np.ones(len(numbers))
    for _ in range(ROUNDS):
        gamma = wins / (among.T @ (1.0 / (among @ gamma)) + 2.0 / (gamma + 1.0))
    return dict(zip(numbers, np.log(gamma).tolist(), strict=True))


def violations(study: Study, trials: Iterable[Trial]) -> Floats:
    """How far each trial (n,) is out of the outcome constraints: the sum over them, each in units of its worst case.

    A trial without a value for a constrained metric is as far out as the worst one.
    """
    trials = tuple(trials)
    total = np.zeros(len(trials))
    for constraint in study.definition.outcome_constraints:
        values = [trial.value(constraint.metric) for trial in trials]
        slack = np.array([-np.inf if value is None else constraint.slack(value) for value in values])
        known = np.isfinite(slack)
        excess = np.maximum(-slack[known], 0.0)
        total[known] += excess / max(excess.max(initial=0.0), np.finfo(float).tiny)
        total[~known] += 1.0
    return total


def varied(space: Space) -> NDArray[np.bool_]:
    """Which columns (dimension,) belong to parameters that are neither held nor disabled."""
    columns = [[parameter.name not in space.kept] * len(parameter.kind.columns) for parameter in space.parameters]
    return np.array([column for run in columns for column in run], dtype=bool)


def is_short(study: Study) -> bool:
    """Whether a history is read in a few milliseconds."""
    return len(study.trials) <= SHORT


def pending(study: Study) -> list[Params]:
    """The configurations whose outcome is still to come: queued, running, paused or shelved."""
    unfinished = [trial.params for trial in study.trials if not trial.state.finished and not trial.excluded]
    return [*unfinished, *study.shelved]


def next_number(study: Study) -> int:
    """The number that the next new trial will have, if all that is shelved is taken first."""
    return len(study.trials) + len(study.shelved)


def best_and_latest(merits: Floats, most: int) -> NDArray[np.intp]:
    """The indices of at most `most` trials, ascending: the better half of them the best, the others the latest."""
    if len(merits) <= most:
        return np.arange(len(merits))
    best = np.argsort(-merits, kind="stable")[: most // 2]
    others = np.setdiff1d(np.arange(len(merits)), best)
    return np.sort(np.concatenate([best, others[len(others) - (most - len(best)) :]]))


def _single(scores: Floats) -> Floats:
    """One score (n,) that orders rows of scores (n, m)."""
    if scores.shape[1] == 1:
        return scores[:, 0]
    columns = np.ascontiguousarray(scores.T)  # (m, n): the fast way round for ten thousand rows
    return -np.array([np.count_nonzero((columns > row[:, None]).all(0)) for row in scores], dtype=np.float64)


def _incidence(stages: list[list[int]], n: int) -> csr_array:
    """Which numbers (stages, n) are still in the running at each stage."""
    ends = np.cumsum([0, *map(len, stages)])
    members = np.concatenate([np.asarray(stage) for stage in stages])
    return csr_array((np.ones(len(members)), members, ends), shape=(len(stages), n))


def _at_hand(study: Study, trials: Sequence[Trial]) -> NDArray[np.intp]:
    """The indices, ascending, of the trials whose context is the study's, and of the nearest up to `AT_HAND`."""
    if not study.context:
        return np.arange(len(trials))
    contexts = [{name: trial.params[name] for name in study.context if name in trial.params} for trial in trials]
    apart = study.space.encode_many(contexts) - study.space.encode(study.context)
    unordered = [column is Column.UNORDERED for column in study.space.columns]
    apart[:, unordered] = apart[:, unordered] != 0
    distance = np.square(apart).sum(1)
    order = np.argsort(distance, kind="stable")
    return np.sort(order[: max(int((distance == 0).sum()), AT_HAND)])
