"""Whether runs of equal learning rate × weight decay come together late in training, as decoupled decay lets expect."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from ..errors import Conflict, Refused
from ..numerics import Floats
from .asking import quantity_of, require_positive

if TYPE_CHECKING:
    from ..history import Objective, Study, Trial

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Of a run, at which runs are compared."""

LATE = 0.75
"""The share of a run from which on it says how runs end."""

LEAST_RUNS = 12
BANDWIDTHS = (0.03, 0.06, 0.12, 0.25, 0.5)
"""Of the smoother, in spreads of its coordinate; the one that foretells left-out runs best is taken."""

ENOUGH = 0.5
"""The share of what runs differ by that their product has to explain, for it to be said that they come together."""


def invariance(study: Study, rate: str, decay: str, metric: str | None = None) -> dict[str, Any]:
    """How much of what runs differ by is told by log(rate · decay) alone, and by log rate alone, along the training.

    {"rate", "decay", "metric", "holds", "shares": [{"share", "step", "runs", "by_product", "by_rate"}, ...]}: both are
    shares of the variance of the ranks that runs have at a step, foretold for each run from the others, 0 where nothing
    is. It holds where at the last share with enough runs, LATE or later, the product tells at least ENOUGH, and more
    than the rate does. Early it need not, for short runs show the rate: this must not be used to compare short ones.

    Trajectories are invariant so in pre-training with decoupled decay (arXiv 2509.25049): weights are then an average
    of updates over 1 / (rate · decay) steps (arXiv 2405.13698). Raises Refused (parameter_unknown, parameter_unsuited,
    metric_unknown, resource_missing) and Conflict (too_few_trials).
    """
    quantity = quantity_of(study, metric)
    for name, pointer in ((rate, "/rate"), (decay, "/decay")):
        require_positive(study.space, name, pointer)
    if study.resource is None:
        raise Refused("a study without a resource has no late and early", code="resource_missing")
    objective = next((o for o in study.objectives if o.metric == quantity.metric), study.objective)
    runs = [t for t in study.trials if not t.excluded and rate in t.params and decay in t.params]
    found = [row for share in SHARES if (row := _at(runs, objective, rate, decay, share, study.resource.max))]
    if not found:
        detail = f"{LEAST_RUNS} runs with {rate} and {decay} must have come to a tenth of {study.resource.max}"
        raise Conflict(detail, code="too_few_trials")
    last = found[-1]
    told = last["by_product"] >= ENOUGH and last["by_product"] > last["by_rate"]
    holds = bool(told and last["share"] >= LATE)
    return {"rate": rate, "decay": decay, "metric": objective.metric, "holds": holds, "shares": found}


def _at(
    runs: list[Trial], objective: Objective, rate: str, decay: str, share: float, end: int
) -> dict[str, Any] | None:
    """The comparison after a share of the run; None where too few have come as far, or all are alike."""
    step = max(math.ceil(share * end), 1)
    there = [(t, objective.score(t.curves[objective.metric], step)) for t in runs if _has_come(t, objective, step)]
    logs = np.log(np.array([[float(t.params[rate]), float(t.params[decay])] for t, _ in there]).reshape(-1, 2))
    scores = np.array([score for _, score in there])
    if len(there) < LEAST_RUNS or np.ptp(logs[:, 0]) == 0 or np.ptp(logs.sum(1)) == 0:
        return None
    ranks = rankdata(scores) / len(scores)
    told = {"by_product": _told(logs.sum(1), ranks), "by_rate": _told(logs[:, 0], ranks)}
    return {"share": share, "step": step, "runs": len(there), **told}


def _has_come(trial: Trial, objective: Objective, step: int) -> bool:
    curve = trial.curves.get(objective.metric, ())
    return bool(curve) and curve[-1][0] >= step


def _told(along: Floats, y: Floats) -> float:
    """The share of the variance of y (n,) that a smooth function of a coordinate (n,) foretells, each left out."""
    if np.ptp(y) == 0:
        return 0.0
    apart = np.subtract.outer(along, along) / along.std()
    rest = min(_missed(np.exp(-0.5 * (apart / width) ** 2), y) for width in BANDWIDTHS)
    return float(np.clip(1.0 - rest / y.var(), 0.0, 1.0))


def _missed(weights: Floats, y: Floats) -> float:
    """The mean square of what the others' weighted mean, leaning a little on the mean of all, misses each by."""
    np.fill_diagonal(weights, 0.0)
    others = (y.sum() - y) / (len(y) - 1)
    foretold = (weights @ y + 0.1 * others) / (weights.sum(1) + 0.1)
    return float(np.mean((y - foretold) ** 2))
