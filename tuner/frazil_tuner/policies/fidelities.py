"""From a study whose trials were trained with different amounts of the resource to beliefs about the full amount.

Importing this imports no torch; fitting does.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import nnls

from .modelling import (
    MOST_EXACT,
    MOST_PENDING,
    Modelled,
    Quantity,
    _bent,
    _fit,
    _may_bend,
    evidence_of,
    objective_of,
    observe,
    slack_of,
    success_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ..acquisition.fidelity import Prospect
    from ..history import Params, Resource, Study, Trial
    from ..numerics import Floats
    from ..surrogates import Evidence

ETA = 3
"""Each fidelity takes so many times the steps of the one below."""

MOST_FIDELITIES = 4
"""Fidelities among which is chosen: a run of less than 1/27 of the resource tells little of the whole."""

LEAST_PRICED = 4
"""Runs of known cost from which on costs are believed to differ between points."""


def fidelities_of(resource: Resource) -> tuple[int, ...]:
    """The steps that a run may be granted, ascending: max, max/3, max/9 and max/27, as far as they exceed the minimum,
    or all where there are no more than that.
    """
    if resource.max - resource.min < MOST_FIDELITIES:
        return tuple(range(resource.min, resource.max + 1))
    steps = {max(round(resource.max / ETA**k), resource.min) for k in range(MOST_FIDELITIES)}
    return tuple(sorted(steps))


# ── what was seen ────────────────────────────────────────────────────────────────────────────────────────────────────


def runs_of(study: Study) -> list[Trial]:
    """What each trial has shown at each fidelity: the trial as it was when `last_step` was reached.

    A value that a run reports at a fidelity below its grant counts as that of a run of this fidelity.
    """
    return [run for trial in study.trials if not (trial.excluded or trial.state.worst) for run in _runs(study, trial)]


def _runs(study: Study, trial: Trial) -> Iterator[Trial]:
    assert study.resource is not None
    end, before = reach(study, trial), 0
    curve = trial.curves.get(study.objective.metric, ())
    for fidelity in fidelities_of(study.resource):
        step = curve[upto - 1][0] if (upto := bisect_right(curve, (fidelity, math.inf))) else 0
        if before < step < end:
            yield _as_it_was(trial, step)
            before = step
    if end and (not curve or end == curve[-1][0] or study.objective.metric in trial.values):
        yield replace(trial, last_step=end)
    elif end:
        yield _as_it_was(trial, end)


def _as_it_was(trial: Trial, step: int) -> Trial:
    curves = {metric: curve[: bisect_right(curve, (step, math.inf))] for metric, curve in trial.curves.items()}
    return replace(trial, curves=curves, values={}, sems={}, gradients={}, cost=None, last_step=step)


def reach(study: Study, trial: Trial) -> int:
    """The highest fidelity, in steps, at which a trial has shown what it is worth; 0 if at none.

    A run on its way has reached the highest of the fidelities that it has passed.
    """
    assert study.resource is not None
    curve = trial.curves.get(study.objective.metric, ())
    if study.objective.metric in trial.values:
        return trial.last_step or trial.until_step or study.resource.max
    if not curve:
        return 0
    last = curve[-1][0]
    if trial.state.finished or last >= (trial.until_step or study.resource.max):
        return last
    passed = [step for step in fidelities_of(study.resource) if step <= last]
    return curve[bisect_right(curve, (passed[-1], math.inf)) - 1][0] if passed and curve[0][0] <= passed[-1] else 0


def is_lost(study: Study, trial: Trial) -> bool:
    """Whether a trial failed or diverged: more of the resource would not help it."""
    return trial.score(study.objective) == -math.inf


def waits(study: Study, trial: Trial) -> bool:
    """Whether a trial has come to the end of its grant and may be trained again with more."""
    arrived = trial.last_step >= (trial.until_step or 0) and trial.last_step > 0
    return trial.state.paused and arrived and trial.number not in study.thawing and not trial.excluded


@dataclass(frozen=True, slots=True)
class Pending:
    """A configuration that runs or soon will, up to a step."""

    params: Params
    step: int


def pending_of(study: Study) -> list[Pending]:
    """What runs, is queued, interrupted or shelved; what is not known to be cheap counts as a full run."""
    assert study.resource is not None
    full = study.resource.max
    unfinished = [
        Pending(trial.params, full if trial.number in study.thawing else trial.until_step or full)
        for trial in study.trials
        if not (trial.state.finished or trial.excluded or waits(study, trial))
    ]
    return [*unfinished, *(Pending(params, full) for params in study.shelved)][-MOST_PENDING:]


def telling(study: Study) -> int:
    """How many trials have shown a value at any fidelity, or failed."""
    return sum(not t.excluded and (t.state.worst or reach(study, t) > 0) for t in study.trials)


def has_something_to_model(study: Study) -> bool:
    return objective_of(study.objective).is_known(runs_of(study))


# ── costs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a run costs: (fixed + by_step · steps) · exp(g(x)), with g where costs depend on the configuration."""

    full: int
    fixed: float = 0.0
    by_step: float = 1.0
    spread: Modelled | None = None

    def log_price(self, x: Tensor, share: float) -> Tensor:
        """The logarithm (m,) of the cost of running points (m, d) at a share of the resource."""
        import torch

        base = math.log(self.fixed + self.by_step * share * self.full)
        if self.spread is None:
            return torch.full_like(x[:, 0], base)
        centre = self.spread.in_units(0.0, 1.0)[0]
        return base + centre + self.spread.scale_of_outcomes * self.spread.belief.posterior(x)[0].mean(0)


def tariff_of(study: Study, runs: list[Trial]) -> Tariff:
    """From what runs have cost, where a metric says so; else in proportion to the steps."""
    assert study.resource is not None
    named, full = study.definition.cost, study.resource.max
    if not isinstance(named, str):
        return Tariff(full, by_step=named or 1.0)
    priced = [(run, cost) for run in runs if (cost := _cost_of(run, named)) is not None]
    if not priced:
        return Tariff(full)
    steps, costs = (
        np.array(part, dtype=np.float64) for part in zip(*((r.last_step, c) for r, c in priced), strict=True)
    )
    fixed, by_step = affine(steps, costs)
    if len(priced) < LEAST_PRICED:
        return Tariff(full, fixed, by_step)

    def read(run: Trial) -> float | None:
        cost = _cost_of(run, named)
        return None if cost is None else math.log(cost) - math.log(fixed + by_step * run.last_step)

    spread = Quantity("log cost", read)
    return Tariff(full, fixed, by_step, _fit(study, [run for run, _ in priced], spread, "gp"))


def _cost_of(run: Trial, metric: str) -> float | None:
    cost = run.cost if run.cost is not None else run.value(metric)
    return cost if cost is not None and math.isfinite(cost) and cost > 0 else None


def affine(steps: Floats, costs: Floats) -> tuple[float, float]:
    """The fixed cost and that of a step, both ≥ 0, which explain costs (n,) of steps (n,) with least relative error."""
    if len(np.unique(steps)) == 1:
        return 0.0, float(np.mean(costs / steps))
    (fixed, by_step), _ = nnls(np.stack([1 / costs, steps / costs], axis=1), np.ones(len(costs)))
    return float(fixed), float(by_step)


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class FidelityModel:
    """What runs of any fidelity have taught: beliefs about rows (n, d + 1) with the share of the resource last, and
    `success`, a belief about points, where trials have failed.
    """

    objective: Modelled
    limits: tuple[Modelled, ...]
    success: Modelled | None
    tariff: Tariff

    @property
    def fit(self) -> dict[str, Any]:
        """What the next fits start from, by metric: JSON-able."""
        parts = [self.objective, *self.limits, self.success, self.tariff.spread]
        return {part.quantity.metric: part.fit for part in parts if part is not None}


def fidelity_model(study: Study, surrogate: str) -> FidelityModel:
    """Fits everything the study measures. Raises FitFailed, or Unsuited where the surrogate asks for other runs. Ask
    `has_something_to_model` before.
    """
    runs = runs_of(study)
    limits = [slack_of(constraint) for constraint in study.definition.outcome_constraints]
    success = success_of(study)
    ended = [trial for trial in study.trials if not trial.excluded and (trial.state.worst or reach(study, trial))]
    both = len({success.read(trial) for trial in ended} - {None}) == 2
    return FidelityModel(
        _fit_fidelities(study, runs, objective_of(study.objective), surrogate),
        tuple(_fit_fidelities(study, runs, limit, surrogate) for limit in limits if limit.is_known(runs)),
        _fit(study, ended, success, "gp") if both else None,
        tariff_of(study, runs),
    )


def _fit_fidelities(study: Study, runs: list[Trial], quantity: Quantity, name: str) -> Modelled:
    from ..surrogates import Local, Surrogate
    from ..surrogates.fidelity import FIDELITY_SURROGATES

    seen = observe(study, runs, quantity)
    remembered = (study.last_fit or {}).get(quantity.metric, {})
    start = remembered if remembered.get("surrogate") == name else {}
    start = {**start, "observations": len(seen.trials)}
    chosen: Surrogate = FIDELITY_SURROGATES[name]
    if len(seen.trials) > MOST_EXACT:
        chosen = Local(chosen)
    evidence = _with_shares(study, seen.trials, evidence_of(study, seen, quantity, name, start))
    because = f"{len(seen.trials)} values at {len({run.last_step for run in seen.trials})} fidelities"
    if not _may_bend(study, quantity, evidence):
        return Modelled(quantity, seen, chosen.fit(evidence), name, because)
    seen, evidence, scale = _bent(seen, evidence, remembered)
    return Modelled(quantity, seen, chosen.fit(evidence), name, because, scale)


def _with_shares(study: Study, runs: tuple[Trial, ...], evidence: Evidence) -> Evidence:
    """The evidence with the share of the resource as its last column."""
    import torch

    from ..surrogates.fidelity import at

    assert study.resource is not None
    shares = torch.tensor([run.last_step / study.resource.max for run in runs], dtype=torch.float64)
    other = torch.zeros(1, dtype=torch.bool)
    X = at(evidence.X, 1.0)
    X[:, -1] = shares
    return replace(
        evidence,
        X=X,
        unordered=torch.cat([evidence.unordered, other]),
        active=None if evidence.active is None else torch.cat([evidence.active, ~other.expand(len(X), 1)], dim=1),
        varies=None,
        slopes=None,
    )


# ── the prospect ─────────────────────────────────────────────────────────────────────────────────────────────────────


def prospect_of(study: Study, fitted: FidelityModel, pending: list[Pending], paths: int, seed: int) -> Prospect:
    """The beliefs as acquisitions see them, with what is pending imagined at its own fidelity, `paths` times."""
    import torch

    from ..acquisition import Limit, Outlook, log_density
    from ..acquisition.fidelity import Prospect
    from ..surrogates.fidelity import AtFidelity

    assert study.resource is not None
    rng = torch.Generator().manual_seed(seed)
    beliefs = [part.belief for part in (fitted.objective, *fitted.limits)]
    success = [fitted.success.belief] if fitted.success else []
    if pending:
        points = torch.from_numpy(study.space.encode_many([run.params for run in pending]))
        shares = torch.tensor([run.step / study.resource.max for run in pending], dtype=torch.float64)
        rows = torch.cat([points, shares[:, None]], dim=1)
        beliefs = [belief.imagine(rows, paths, rng) for belief in beliefs]
        success = [belief.imagine(points, paths, rng) for belief in success]
    bounds = [float(part.seen.taming.apply(np.zeros(1))[0]) for part in fitted.limits]
    bounds += [float(fitted.success.seen.taming.apply(np.zeros(1))[0])] if fitted.success else []
    limits = [*(AtFidelity(belief) for belief in beliefs[1:]), *success]
    target = Outlook(
        objectives=(AtFidelity(beliefs[0]),),
        limits=tuple(Limit(belief, bound) for belief, bound in zip(limits, bounds, strict=True)),
        prior=log_density(study.space) if study.space.prior else None,
        space=study.search_space,
        observations=len(fitted.objective.seen.trials),
        rng=rng,
    )
    return Prospect(target, beliefs[0], fitted.tariff.log_price)
