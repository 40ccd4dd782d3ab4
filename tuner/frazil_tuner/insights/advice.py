"""Whether going on is worth it: what the next trial may gain, and how far the best can be from the best there is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Problem, Refused
from ..policies.modelling import Risk, outlook_of
from ..space.fields import number
from .asking import modelled, require_trials

if TYPE_CHECKING:
    from ..acquisition import Outlook, Worth
    from ..history import Study
    from ..numerics import Floats
    from ..policies.modelling import Modelled

LEAST_TRIALS = 10
"""Finished trials before which nobody is advised to stop."""

SEEDS = 4
"""The best trials around which the maxima are looked for."""

NEGLIGIBLE = 0.01
"""The regret that does not matter where the user names none, in interquartile ranges of what was measured."""

RISK = 0.1
"""The probability δ that some confidence bound does not hold, and with it the bound on the regret."""


def advice(study: Study, tolerance: float | None = None) -> dict[str, Any]:
    """Advice on stopping a study with one objective, by its model; in the metric's units.

    "expected_gain": what the next trial is expected to add to the best, largest E[max(f - best, 0)].
    "regret_bound": the best trial falls short of the optimum by no more, with probability 1 - δ:

        max_x UCB(x) - max_{x tried} LCB(x),   mean ± √β sd,   β = 2/5 log(d t² π² / 6δ)      Makarova et al. 2022, (5)

    "advice" is "stop" once the bound is within "threshold", the tolerance, by default `NEGLIGIBLE` or the deviation
    of a measurement's noise if that is told and larger: a finer difference would not show. "sentence" is for people.
    Gain and bound are None as long as no trial is believed to meet the outcome constraints.

    Raises Refused (code advice_invalid) for several objectives or a tolerance that is not positive, and Conflict
    before there is enough to judge by.
    """
    _examine(study, tolerance)
    require_trials(study, LEAST_TRIALS, "advice on stopping")
    fitted = modelled(study, "advice on stopping")
    part = fitted.objectives[0]
    threshold = tolerance if tolerance is not None else _unnoticeable(study, part)
    whole = outlook_of(study, fitted, study.definition.seed, beta=_beta(study, fitted.total), risk=Risk())
    prospects = _prospects(replace(whole, cost=None, prior=None))
    gain, bound = (_in_units(part, outcomes) for outcomes in prospects) if prospects else (None, None)
    stop = bound is not None and bound <= threshold
    return {
        "advice": "stop" if stop else "continue",
        "metric": part.quantity.metric,
        "observations": fitted.total,
        "expected_gain": gain,
        "regret_bound": bound,
        "threshold": threshold,
        "sentence": _sentence(part.quantity.metric, gain, bound, threshold),
    }


def _examine(study: Study, tolerance: float | None) -> None:
    problems = []
    if len(study.objectives) > 1 or study.objective.by == "comparison":
        problems.append(Problem("/objectives", "advice needs one objective with values; of several ask for the front"))
    if tolerance is not None:
        try:
            if number(tolerance) <= 0:
                problems.append(Problem("/tolerance", f"must be above 0, not {tolerance}"))
        except ValueError as fault:
            problems.append(Problem("/tolerance", str(fault)))
    if problems:
        detail = f"no advice can be given: {problems[0].detail}"
        raise Refused(detail, code="advice_invalid", problems=tuple(problems))


def _beta(study: Study, trials: int) -> float:
    """√β, the number of deviations in a confidence bound after t trials in d columns."""
    terms = max(study.space.dimension, 1) * trials**2 * math.pi**2 / (6 * RISK)
    return math.sqrt(0.4 * math.log(terms))


def _prospects(outlook: Outlook) -> tuple[float, float] | None:
    """The largest expected improvement, and the bound on the regret, in outcomes; None while nothing is feasible."""
    import torch

    from ..acquisition import ACQUISITIONS, worth_of
    from ..acquisition.feasibility import feasible_points

    tried = feasible_points(outlook)
    if not len(tried):
        return None
    with torch.no_grad():
        mean, sd = (values.mean(0).numpy() for values in outlook.belief.posterior(tried))
    seeds = tried.numpy()[np.argsort(-mean, kind="stable")[:SEEDS]]
    gain = _largest(worth_of("log_ei", outlook), outlook, seeds)
    upper = _largest(ACQUISITIONS["ucb"].worth(outlook), outlook, seeds)
    lower = float((mean - outlook.beta * sd).max())
    return math.exp(min(gain, 700.0)), max(upper - lower, 0.0)


def _largest(worth: Worth, outlook: Outlook, seeds: Floats) -> float:
    from ..acquisition import evaluate, search

    rows = search(worth, outlook.space, seeds, np.random.default_rng(0))
    return float(evaluate(worth, rows[:1])[0])


def _in_units(part: Modelled, outcomes: float) -> float:
    """A difference from the best outcome as one of the metric, by the slope of the map between them there."""
    best = part.seen.scores.max(keepdims=True)
    return outcomes / float(part.seen.taming.slope(best)[0])


def _unnoticeable(study: Study, part: Modelled) -> float:
    scores = part.seen.scores
    low, high = np.quantile(scores, [0.25, 0.75])
    sems = [trial.sems[part.quantity.metric] for trial in part.seen.trials if part.quantity.metric in trial.sems]
    return float(max(NEGLIGIBLE * (high - low), np.median(sems) if sems else 0.0))


def _sentence(metric: str, gain: float | None, bound: float | None, threshold: float) -> str:
    if bound is None:
        return "Go on: no trial is believed to meet the outcome constraints yet."
    if bound <= threshold:
        return (
            f"Stop: with 90 % confidence no configuration betters {metric} by more than {bound:.3g}, "
            f"and {threshold:.3g} would not matter."
        )
    return (
        f"Go on: {metric} may still be bettered by up to {bound:.3g} (the next trial is expected to add {gain:.2g}); "
        f"stopping pays once that falls below {threshold:.3g}."
    )
