"""How much each parameter matters: by the densities of the best trials, by a random forest, or by our own model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Conflict, Problem, Refused
from ..policies.modelling import finished, observe
from ..policies.readings import read
from ..space.fields import shown
from .asking import modelled, part_of, quantity_of, require_trials
from .foretold import as_foretold

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.importance import BaseImportanceEvaluator

    from ..history import Study
    from ..numerics import Floats
    from ..policies.modelling import Quantity
    from ..space import Space

LEAST_TRIALS = 10
"""Finished trials below which no method says anything that would last."""

MODEL_UP_TO = 300
"""Finished trials up to which the model is asked by default: it makes most of few, and beyond it is a local one."""

MODEL_WITHIN = 50
"""Parameters up to which the model is asked by default."""

MOST_FOREST = 300
"""Trials that a forest is grown on, evenly over time: at 1 000 it takes half a minute."""

SAMPLES = 1024
"""Pairs of points behind Sobol indices, a power of 2: their error is about 0.02."""

Answer = dict[str, Any]


def importances(study: Study, method: str = "auto", metric: str | None = None) -> Answer:
    """The share of each parameter that can vary, together 1 (or all 0 where nothing makes a difference).

    {"method", "because", "metric", "observations", "foretold", "importances": {parameter: share}}, and for `sobol` also
    "first_order" and "total" indices and "interactions", their difference. Without a metric it is the first objective;
    `ped_anova` then judges trials as a whole, by all objectives and constraints. Runs that were frozen half-way count
    with where they are believed to end: `foretold` says how many.

    Raises Refused (code method_unknown, metric_unknown) and Conflict (code too_few_trials, fit_failed).
    """
    if method != "auto" and method not in METHODS:
        detail = f"unknown method {shown(method)}; known are auto, {', '.join(METHODS)}"
        raise Refused(detail, code="method_unknown", problems=(Problem("/method", detail),))
    quantity = quantity_of(study, metric)
    study, foretold = as_foretold(study)
    require_trials(study, LEAST_TRIALS, "importances")
    name, because = (method, "named by the user") if method != "auto" else _choice(study, metric)
    found = METHODS[name](study, quantity, metric is None)
    return {"method": name, "because": because, "metric": quantity.metric, "foretold": foretold, **found}


def _choice(study: Study, metric: str | None) -> tuple[str, str]:
    """The method that suits a study, and why."""
    if metric is None and (len(study.objectives) > 1 or study.definition.outcome_constraints):
        return "ped_anova", "trials are judged by more than one metric, and it needs only their order"
    if len(study.space.parameters) > MODEL_WITHIN:
        return "ped_anova", f"a model of more than {MODEL_WITHIN} parameters takes minutes to be asked about each"
    if len(finished(study)) > MODEL_UP_TO:
        return "ped_anova", f"more than {MODEL_UP_TO} trials show their densities well"
    return "sobol", f"a model makes the most of up to {MODEL_UP_TO} trials"


# ── through Optuna ───────────────────────────────────────────────────────────────────────────────────────────────────


def ped_anova(study: Study, quantity: Quantity, overall: bool) -> Answer:
    """How far the best tenth of the trials is from all in the density of each parameter.    Watanabe et al. 2023

    A parameter that is not always active counts by how often it is.
    """
    from optuna.importance import PedAnovaImportanceEvaluator

    rows, order = _order(study, quantity, overall)
    shares = _by_optuna(study.space, rows, study.space.active(rows), order, PedAnovaImportanceEvaluator())
    return {"observations": len(rows), "importances": shares}


def fanova(study: Study, quantity: Quantity, overall: bool) -> Answer:
    """The share of the variance that a random forest explains by each parameter alone.  Hutter, Hoos et al. 2014

    Outcomes are softened first, so that no wild value has all the variance. Inactive parameters stand at their centre.
    """
    from optuna.importance import FanovaImportanceEvaluator

    seen = observe(study, finished(study), quantity)
    _require_finite(len(seen.trials), quantity)
    evenly = np.linspace(0, len(seen.y) - 1, min(len(seen.y), MOST_FOREST)).astype(int)
    X, y = seen.X[evenly], seen.y[evenly]
    evaluator = FanovaImportanceEvaluator(seed=study.definition.seed % 2**32)
    shares = _by_optuna(study.space, X, np.ones_like(X, dtype=bool), y, evaluator)
    return {"observations": len(y), "importances": shares}


def _by_optuna(
    space: Space, rows: Floats, active: NDArray[np.bool_], values: Floats, evaluator: BaseImportanceEvaluator
) -> dict[str, float]:
    from optuna.importance import get_param_importances
    from optuna.samplers import RandomSampler

    from ..policies.optuna_study import Copy

    if np.ptp(values) == 0:
        return {parameter.name: 0.0 for parameter in space.parameters if parameter.kind.columns}
    copy = Copy(space, 1, RandomSampler(seed=0))
    copy.add_finished(rows, active, values[:, None], np.zeros(len(rows)))
    by_column = get_param_importances(copy.study, evaluator=evaluator)
    shares = {
        parameter.name: sum(by_column.get(name, 0.0) for name in names) for parameter, names in copy.names_by_parameter
    }
    return _ordered(shares)


def _order(study: Study, quantity: Quantity, overall: bool) -> tuple[Floats, Floats]:
    """Rows (n, d) of finished trials, and what orders them (n,): their merits as a whole, or one metric."""
    if overall:
        reading = read(study)
        _require_finite(int(reading.sound.sum()), quantity)
        return reading.rows, reading.merits()
    seen = observe(study, finished(study), quantity)
    _require_finite(len(seen.trials), quantity)
    return seen.X, seen.y


def _require_finite(count: int, quantity: Quantity) -> None:
    if count < LEAST_TRIALS:
        missing = LEAST_TRIALS - count
        detail = f"{count} trials have a finite {quantity.metric}; importances need {missing} more: ask again then"
        raise Conflict(detail, code="too_few_trials")


# ── by our own model ─────────────────────────────────────────────────────────────────────────────────────────────────


def sobol(study: Study, quantity: Quantity, overall: bool) -> Answer:
    """Sobol indices of the model's mean over the uniform cube: shares of the variance.

    S_p = Var(E[f | x_p]) / Var f,      T_p = 1 - Var(E[f | all but x_p]) / Var f
    """
    part = part_of(modelled(study, "importances", LEAST_TRIALS), quantity)
    from ..acquisition import evaluate

    def mean(rows: Floats) -> Floats:
        return evaluate(lambda x: part.belief.posterior(x)[0].mean(0), rows)

    first, total = sobol_indices(mean, study.space, study.definition.seed)
    shares = _normalised(total)
    return {
        "observations": len(part.seen.trials),
        "surrogate": part.surrogate,
        "importances": _ordered(shares),
        "first_order": first,
        "total": total,
        "interactions": {name: max(total[name] - first[name], 0.0) for name in total},
    }


def sobol_indices(f: Callable[[Floats], Floats], space: Space, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """First-order and total indices of `f`, rows (n, d) of the cube to values (n,), for each parameter that can vary.

        S_p ≈ mean f(B) (f(A_p) - f(A)) / V,     T_p ≈ mean (f(A) - f(A_p))² / 2V        Saltelli et al. 2010, table 2

    A_p is A with the columns of p from B. Rows are snapped, so that what a change of p switches on or off counts for
    p, and inactive columns make no difference. Constraints of the space are disregarded: indices need independence.
    """
    from scipy.stats import qmc

    d = space.dimension
    cube = qmc.Sobol(2 * d, scramble=True, rng=np.random.default_rng(seed)).random(SAMPLES)
    A, B = cube[:, :d], cube[:, d:]
    at_a, at_b = f(space.snap(A)), f(space.snap(B))
    centre = np.concatenate([at_a, at_b]).mean()
    variance = float(np.concatenate([at_a, at_b]).var())
    first, total = {}, {}
    for name, run in _runs(space):
        mixed = A.copy()
        mixed[:, run] = B[:, run]
        change = f(space.snap(mixed)) - at_a
        first[name] = _share(float(np.mean((at_b - centre) * change)), variance)
        total[name] = _share(float(np.mean(change**2)) / 2, variance)
    return first, total


def _runs(space: Space) -> list[tuple[str, slice]]:
    """The parameters that can vary, with their columns."""
    ends = np.cumsum([len(parameter.kind.columns) for parameter in space.parameters]).tolist()
    return [
        (parameter.name, slice(end - len(parameter.kind.columns), end))
        for parameter, end in zip(space.parameters, ends, strict=True)
        if parameter.kind.columns
    ]


def _share(part: float, variance: float) -> float:
    """A part of a variance, in [0, 1]; 0 where there is none to speak of."""
    return float(np.clip(part / variance, 0.0, 1.0)) if variance > 1e-20 else 0.0


def _normalised(shares: Mapping[str, float]) -> dict[str, float]:
    whole = sum(shares.values())
    return {name: share / whole if whole else 0.0 for name, share in shares.items()}


def _ordered(shares: Mapping[str, float]) -> dict[str, float]:
    """Largest first."""
    return {name: float(shares[name]) for name in sorted(shares, key=shares.__getitem__, reverse=True)}


METHODS: Mapping[str, Callable[[Study, Quantity, bool], Answer]] = MappingProxyType(
    {"ped_anova": ped_anova, "fanova": fanova, "sobol": sobol}
)
"""Every method by its name."""
