"""From a study to its half-trained runs: their curves, who waits, who trains, and what is believed of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..curves import CURVE_MODELS, Curves, Where, observed_trials, read_curves
from ..history import ELAPSED, Objective
from ..numerics import EXTREME, FitFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..curves import CurveBelief, CurveModel
    from ..curves.base import Integers, Mask
    from ..history import OutcomeConstraint, Study, Trial
    from ..numerics import Floats

AUGMENTED = 0.05
"""The weight of the sum in an augmented Chebyshev scalarisation."""

FEW = 5
"""Observations that call for a new fit, as long as there are few; later an eighth of what there was."""


@dataclass(frozen=True)
class Runs:
    """The n trials of a study that are not excluded, and the curves of what they are judged by; index i of one is
    index i of the other.

    Several objectives are judged by one score, Chebyshev's of `weights`.
    """

    study: Study
    trials: Sequence[Trial]
    curves: Curves
    weights: Floats

    @classmethod
    def of(cls, study: Study, rng: np.random.Generator | None = None) -> Runs:
        """With weights drawn from all there are, or equal ones without `rng`."""
        count = len(study.objectives)
        weights = np.full(count, 1.0 / count) if rng is None else rng.dirichlet(np.ones(count))
        parts = [read_curves(study, objective) for objective in study.objectives]
        curves = parts[0] if count == 1 else scalarised(parts, weights)
        return cls(study, observed_trials(study), curves, weights)

    @cached_property
    def last(self) -> Integers:
        """The step (n,) at which each run stands."""
        return np.array([trial.last_step for trial in self.trials], dtype=np.int64)

    @cached_property
    def index(self) -> Mapping[int, int]:
        """The index of a trial by its number."""
        return {trial.number: i for i, trial in enumerate(self.trials)}

    @property
    def frozen(self) -> Integers:
        """The runs (k,) that may be thawed."""
        thawing, end = frozenset(self.study.thawing), self.curves.max_step
        waits = [trial.state.paused and trial.number not in thawing and trial.last_step < end for trial in self.trials]
        return np.flatnonzero(np.array(waits, dtype=bool) & ~self.curves.dead)

    @property
    def seen(self) -> Integers:
        """The runs (k,) of which something finite was seen, and that have not failed."""
        finite = np.unique(self.curves.owner[np.isfinite(self.curves.score)])
        return finite[~self.curves.dead[finite]]

    def pending(self, besides: int | None = None) -> Where:
        """What will be seen next of the runs that are training, queued, or about to be thawed, `besides` one."""
        thawing = frozenset(self.study.thawing)
        ahead = [
            (i, max(trial.until_step or 0, trial.last_step + 1))
            for i, trial in enumerate(self.trials)
            if not trial.state.finished
            and (not trial.state.paused or trial.number in thawing)
            and trial.number != besides
        ]
        owner, until = np.array(ahead, dtype=np.int64).reshape(-1, 2).T
        return self.at(owner, np.minimum(until, self.curves.max_step))

    def at(self, owner: Integers, step: Integers) -> Where:
        """Places on the curves of known runs."""
        return Where(self.curves.x[owner], owner, step)

    def at_end(self, owner: Integers) -> Where:
        """The ends of the curves of known runs."""
        return self.at(owner, np.full(len(owner), self.curves.max_step))


def scalarised(parts: Sequence[Curves], weights: Floats) -> Curves:
    """One score for several, at the steps where all were measured:

        min_j w_j z_j + AUGMENTED Σ_j w_j z_j,   z_j scores of objective j, less their best, over their middle half

    Knowles 2006, eq. (2). -inf where one of them is.
    """
    tables = [
        dict(zip(zip(part.owner.tolist(), part.step.tolist(), strict=True), part.score.tolist(), strict=True))
        for part in parts
    ]
    places = sorted(set(tables[0]).intersection(*tables[1:]))
    scores = np.array([[table[place] for place in places] for table in tables]).reshape(len(parts), -1)
    z = np.stack([_relative(row) for row in scores])
    weighted = weights[:, None] * z
    with np.errstate(invalid="ignore"):
        score = weighted.min(0) + AUGMENTED * weighted.sum(0)
    owner, step = np.array(places, dtype=np.int64).reshape(-1, 2).T
    score = np.where(np.isfinite(scores).all(0), score, -np.inf)
    return replace(parts[0], owner=owner, step=step, score=score, dead=np.any([part.dead for part in parts], axis=0))


def _relative(scores: Floats) -> Floats:
    kept = np.clip(scores, -EXTREME, EXTREME)
    finite = kept[np.isfinite(scores)]
    if not len(finite):
        return np.zeros_like(scores)
    low, high = np.quantile(finite, [0.25, 0.75])
    return np.where(np.isfinite(scores), kept - finite.max(), 0.0) / (high - low if high > low else 1.0)


# ── beliefs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Standing:
    """How the runs stand, by what was seen alone: what is imagined or pending has no part in it."""

    runs: Runs
    belief: CurveBelief

    @cached_property
    def ends(self) -> Floats:
        """Where each of `runs.seen` (k,) is expected to end."""
        return self.belief.at(self.runs.at_end(self.runs.seen), noisy=False).mean

    @property
    def best_end(self) -> float:
        """The largest of them; 0 where there are none."""
        return float(self.ends.max(initial=-np.inf)) if len(self.ends) else 0.0

    def bars(self, owner: Integers) -> tuple[Floats, Mask]:
        """What each of some runs (k,), -1 for a new one, has to surpass to be the best: where the best of the others is
        expected to end; and whether it is the best itself (k,). One that is alone has itself to surpass.
        """
        bars, leads = np.full(len(owner), self.best_end), np.zeros(len(owner), dtype=bool)
        if len(self.ends) > 1:
            second, first = np.argsort(self.ends, kind="stable")[-2:]
            leads = owner == self.runs.seen[first]
            bars[leads] = self.ends[second]
        return bars, leads

    def leaders(self, count: int) -> Floats:
        """The configurations (at most count, d) of those that are expected to end best, best first."""
        leaders: Floats = self.runs.curves.x[self.runs.seen[np.argsort(-self.ends, kind="stable")[:count]]]
        return leaders

    @cached_property
    def bar(self) -> tuple[float, float]:
        """The best score that was seen at any step, its noise smoothed away, and how much better that is than where
        runs typically begin: (0, 1) when nothing was seen.
        """
        curves = self.runs.curves
        rows = np.flatnonzero(np.isfinite(curves.score) & ~curves.dead[curves.owner])
        if not len(rows):
            return 0.0, 1.0
        by_score = rows[np.lexsort((-curves.score[rows], curves.owner[rows]))]
        by_step = rows[np.lexsort((curves.step[rows], curves.owner[rows]))]
        best, first = (order[np.diff(curves.owner[order], prepend=-1) > 0] for order in (by_score, by_step))
        smooth = self.belief.at(self.runs.at(curves.owner[best], curves.step[best]), noisy=False).mean
        top = float(smooth.max())
        gain = top - float(np.median(curves.score[first]))
        return top, gain if gain > 1e-9 * abs(top) else max(abs(top), math.ulp(0.0)) * 1e-3


@dataclass(frozen=True)
class Outlook:
    """What is believed of the runs: of their score, of the slack of each constraint, and of what a step costs.

    `score` may include what is imagined, `standing` does not. `fit` is what the next fits start from, by metric:
    JSON-able.
    """

    runs: Runs
    standing: Standing
    score: CurveBelief
    limits: Sequence[CurveBelief]
    price: CurveBelief | None
    fit: Mapping[str, Any]

    def given(self, where: Where) -> Outlook:
        """As if what is expected at places (m,) had been seen: so that several workers do not all do the same."""
        if not len(where.step):
            return self
        return replace(self, score=self.score.given(where, self.score.at(where).mean))

    def feasible(self, where: Where) -> Floats:
        """The probability (m,) that all outcome constraints hold."""
        chance = np.ones(len(where.step))
        for limit in self.limits:
            chance *= limit.at(where).exceeding(0.0)
        return chance

    def price_of_step(self, where: Where) -> Floats:
        """What a step costs (m,), relative to others; 1 where nothing is known."""
        return np.ones(len(where.step)) if self.price is None else np.exp(self.price.at(where).mean)


def outlook_of(runs: Runs, model: str, *, settled: bool = False) -> Outlook:
    """Fits all; `settled`: with what was learned last, unless there is more than twice as much to learn from."""
    study, fit = runs.study, dict[str, Any]()

    def believe(name: str, curves: Curves) -> CurveBelief:
        belief, fit[name] = fitted(CURVE_MODELS[model], curves, (study.last_fit or {}).get(name, {}), settled)
        return belief

    name = study.objective.metric if len(study.objectives) == 1 else "several objectives"
    score = believe(name, runs.curves)
    limits = [believe(limit.metric, slack_curves(study, limit)) for limit in study.definition.outcome_constraints]
    cost = study.definition.cost
    price = believe(cost, price_curves(study, cost)) if isinstance(cost, str) else None
    return Outlook(runs, Standing(runs, score), score, limits, price, fit)


_latest: tuple[str, Outlook] | None = None


def settled_outlook(runs: Runs, model: str) -> Outlook:
    """The settled outlook on a study's runs. Those who decide about several trials of one snapshot share it, where it
    hangs on nothing but the study: with several objectives each decision has weights of its own.
    """
    global _latest  # noqa: PLW0603  (only an optimisation)
    if len(runs.study.objectives) > 1:
        return outlook_of(runs, model, settled=True)
    if _latest is None or _latest[0] != model or _latest[1].runs.study is not runs.study:
        _latest = model, outlook_of(runs, model, settled=True)
    return _latest[1]


def fitted(
    model: CurveModel, curves: Curves, known: Mapping[str, Any], settled: bool
) -> tuple[CurveBelief, Mapping[str, Any]]:
    """The belief, and what to remember of it: with "observations", how many it has learned from."""
    count, before = len(curves.score), int(known.get("observations", 0))
    patience = before if settled else before // 8
    keep = bool(known) and count < before + max(FEW, patience)
    try:
        belief = model.fit(curves, {**known, "settled": keep})
    except FitFailed:
        belief = CURVE_MODELS["last"].fit(curves)
    return belief, {**belief.fit, "observations": before if keep else count}


def slack_curves(study: Study, limit: OutcomeConstraint) -> Curves:
    """How far a constrained metric lies on the good side of its bound, step by step."""
    curves = read_curves(study, Objective(limit.metric, "maximize" if limit.at_least else "minimize"))
    return replace(curves, score=curves.score - limit.sign * limit.bound)


def price_curves(study: Study, metric: str) -> Curves:
    """The logarithm of what each step cost; steps without a positive price are left out.

    A metric says so step by step; of the seconds that have elapsed it is what they grew by since the report before. A
    clock that was set back, in a run that was resumed elsewhere, says nothing of that step.
    """
    curves = read_curves(study, Objective(metric, "maximize"))
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.log(_growth(curves) if metric == ELAPSED else curves.score)
    known: Mask = np.isfinite(score)
    nobody = np.zeros(curves.size, dtype=bool)
    return replace(curves, owner=curves.owner[known], step=curves.step[known], score=score[known], dead=nobody)


def _growth(curves: Curves) -> Floats:
    """What a score (n,) grew by for each step since the row before of the same run, or since step 0."""
    follows = np.diff(curves.owner, prepend=-1) == 0
    before, since = np.roll(curves.score, 1), np.roll(curves.step, 1)
    growth: Floats = (curves.score - np.where(follows, before, 0.0)) / (curves.step - np.where(follows, since, 0))
    return growth
