"""How a learning rate goes with the batch size: the exponent that a study's own trials speak for, and what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Conflict
from ..numerics import FitFailed, tame
from ..policies.modelling import finished
from ..space import Column
from ..space.fields import shown
from .asking import quantity_of, require_positive, unsuited
from .foretold import as_foretold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..history import Study, Trial
    from ..numerics import Floats
    from ..policies.modelling import Quantity
    from ..space import Space

RULES: Mapping[str, float] = MappingProxyType({"none": 0.0, "square_root": 0.5, "linear": 1.0})
"""Exponents that people use: linear for SGD (Goyal et al. 2017), the square root for adaptive methods (Krizhevsky 2014;
Malladi et al. 2022).
"""

EXPONENTS = np.arange(-0.5, 1.5001, 0.125)
CENTRE, SPREAD = 0.5, 0.5
"""An exponent is looked for among these, and is N(CENTRE, SPREAD²) before any trial speaks."""

LEAST_TRIALS = 12

BETTER = 0.5
"""The share of the trials that is explained."""

FINE, SURE = 801, 0.95


def transferred(value: float, batch: float, to: float, exponent: float) -> float:
    """The learning rate `value`, good at one batch size, at another: value (to / batch)^exponent."""
    return float(value * (to / batch) ** exponent)


def scaling(study: Study, parameter: str, batch: str, metric: str | None = None) -> dict[str, Any]:
    """The exponent a of a scaling rule, parameter ∝ batch^a, as the study's finished trials show it.

    {"parameter", "batch", "metric", "observations", "used", "foretold", "batches", "exponent", "low", "high", "rules":
    {name: {"exponent", "holds"}}, "evidence": [{"exponent", "log_evidence"}], "incumbent": {"trial", "batch", "value"},
    "ceiling", "transferred": [{"batch", "value"}]}: `exponent` is the mean, `low` and `high` hold it with probability
    SURE; a rule holds that lies between them. `transferred` carries the best trial to every batch size that was tried
    or is a value of the parameter, but not beyond `ceiling`, the largest value among the better half: where training
    breaks down hardly moves with the batch size. Runs that were frozen half-way, `foretold` of them, count with where
    they are believed to end.

    A Gaussian process over (log parameter - a log batch, log batch, other parameters) explains the outcomes for each a;
    the better it does, at its most probable scales, the more probable is a. Only the better half of the trials is
    explained (`used` of them), and none that diverged or failed: where training breaks down follows a rule of its own.
    Raises Refused (parameter_unknown, parameter_unsuited, metric_unknown), and Conflict (too_few_trials,
    fit_failed).
    """
    quantity = quantity_of(study, metric)
    for name, pointer in ((parameter, "/parameter"), (batch, "/batch")):
        require_positive(study.space, name, pointer)
    if parameter == batch:
        raise unsuited(
            "/batch", f"{shown(batch)} cannot scale with itself; name the parameter that holds the batch size"
        )
    study, foretold = as_foretold(study)
    seen = _Seen.of(study, quantity, parameter, batch)
    _require_enough(seen, parameter, batch)
    used = seen.better(max(math.ceil(BETTER * len(seen.y)), LEAST_TRIALS))
    _require_different(used, parameter, batch)
    evidence = _evidence(used)
    mean, low, high = _posterior(evidence)
    best = int(np.argmax(seen.y))
    value, at = math.exp(seen.log_value[best]), math.exp(seen.log_batch[best])
    ceiling = math.exp(used.log_value.max())
    sizes = sorted({*_values(study.space, batch), *(round(float(size), 9) for size in np.exp(seen.log_batch))})
    return {
        "parameter": parameter,
        "batch": batch,
        "metric": quantity.metric,
        "observations": len(seen.y),
        "used": len(used.y),
        "foretold": foretold,
        "batches": len(np.unique(seen.log_batch)),
        "exponent": mean,
        "low": low,
        "high": high,
        "rules": {name: {"exponent": a, "holds": low <= a <= high} for name, a in RULES.items()},
        "evidence": [
            {"exponent": float(a), "log_evidence": float(found)} for a, found in zip(EXPONENTS, evidence, strict=True)
        ],
        "incumbent": {"trial": seen.trials[best].number, "batch": at, "value": value},
        "ceiling": ceiling,
        "transferred": [{"batch": size, "value": min(transferred(value, at, size, mean), ceiling)} for size in sizes],
    }


# ── what was seen ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Seen:
    """n trials: logarithms of the parameter and of the batch size (n,), other columns (n, d), outcomes (n,), larger is
    better, and which of the other columns are only equal or different (d,).
    """

    trials: list[Trial]
    log_value: Floats
    log_batch: Floats
    others: Floats
    unordered: NDArray[np.bool_]
    y: Floats

    @classmethod
    def of(cls, study: Study, quantity: Quantity, parameter: str, batch: str) -> _Seen:
        """Of the finished trials those in which both parameters are active and that say something of the quantity."""
        told = [
            (trial, reading)
            for trial in finished(study)
            if parameter in trial.params
            and batch in trial.params
            and (reading := None if trial.state.worst else quantity.read(trial)) is not None
            and math.isfinite(reading)
        ]
        trials, readings = [trial for trial, _ in told], np.array([reading for _, reading in told])
        y = tame(readings).apply(readings) if len(readings) else readings
        kept = _columns_besides(study.space, {parameter, batch})
        rows = study.space.encode_many([trial.params for trial in trials]).reshape(len(trials), study.space.dimension)
        unordered = np.array([study.space.columns[i] is Column.UNORDERED for i in kept], dtype=bool)
        return cls(trials, _logs(trials, parameter), _logs(trials, batch), rows[:, kept], unordered, y)

    def better(self, count: int) -> _Seen:
        """So many of the best."""
        kept = np.sort(np.argsort(-self.y, kind="stable")[:count])
        trials, y = [self.trials[i] for i in kept], self.y[kept]
        return _Seen(
            trials, self.log_value[kept], self.log_batch[kept], self.others[kept], self.unordered, tame(y).apply(y)
        )


def _logs(trials: list[Trial], name: str) -> Floats:
    logs: Floats = np.log(np.array([float(trial.params[name]) for trial in trials]))
    return logs


def _columns_besides(space: Space, names: set[str]) -> list[int]:
    owners = [parameter.name for parameter in space.parameters for _ in parameter.kind.columns]
    return [i for i, owner in enumerate(owners) if owner not in names]


def _values(space: Space, name: str) -> list[float]:
    """The values of an ordinal or categorical parameter; none of a range."""
    described = next(item for item in space.to_json() if item["name"] == name)
    return [float(value) for value in described.get("values", described.get("choices", ()))]


def _require_enough(seen: _Seen, parameter: str, batch: str) -> None:
    if len(seen.y) < LEAST_TRIALS:
        detail = (
            f"a scaling rule takes {LEAST_TRIALS} finished trials with {parameter} and {batch}; there are {len(seen.y)}"
        )
        raise Conflict(detail, code="too_few_trials")
    _require_different(seen, parameter, batch)


def _require_different(seen: _Seen, parameter: str, batch: str) -> None:
    for name, logs in ((batch, seen.log_batch), (parameter, seen.log_value)):
        if np.ptp(logs) == 0:
            detail = f"all good trials have the same {name}: enqueue some with another, and ask again"
            raise Conflict(detail, code="too_few_trials")


# ── what it speaks for ───────────────────────────────────────────────────────────────────────────────────────────────


def _evidence(seen: _Seen) -> Floats:
    """The log evidence of each of EXPONENTS, up to a constant. Raises Conflict where no model can be fitted.

    Along the first column goes log parameter - a log batch, in the same unit for every a; along the second log batch.
    """
    import torch

    from ..surrogates.base import Evidence
    from ..surrogates.gp import MOST_FITTED, likelihood_of, log_prior, most_probable, representative

    edge, span = float(np.ptp(seen.log_value)), float(np.ptp(seen.log_batch))
    size = (seen.log_batch - seen.log_batch.mean()) / edge
    X = np.column_stack([(seen.log_value - seen.log_value.mean()) / edge, size * (edge / span), seen.others])
    unordered = torch.from_numpy(np.concatenate([[False, False], seen.unordered]))
    kept = representative(Evidence(torch.from_numpy(X), torch.from_numpy(seen.y), unordered), MOST_FITTED)
    straight, along = kept.X[:, 0].clone(), kept.X[:, 1] * (span / edge)
    found = []
    for exponent in EXPONENTS:
        turned = kept.X.clone()
        turned[:, 0] = straight - float(exponent) * along
        likelihood = likelihood_of(replace(kept, X=turned))
        try:
            hyper = most_probable(likelihood, turned.shape[1], {})
        except FitFailed as failure:
            raise Conflict(f"no model can be fitted at present: {failure}", code="fit_failed") from failure
        found.append(likelihood(hyper)[0] + log_prior(hyper.theta)[0])
    return np.array(found)


def _posterior(evidence: Floats) -> tuple[float, float, float]:
    """The mean of the exponent, and the interval that holds it with SURE."""
    from scipy.interpolate import PchipInterpolator

    a = np.linspace(EXPONENTS[0], EXPONENTS[-1], FINE)
    log_density = PchipInterpolator(EXPONENTS, evidence)(a) - 0.5 * ((a - CENTRE) / SPREAD) ** 2
    density = np.exp(log_density - log_density.max())
    share = np.cumsum(density) / density.sum()
    ends = np.searchsorted(share, [(1 - SURE) / 2, (1 + SURE) / 2])
    low, high = (float(a[min(int(end), FINE - 1)]) for end in ends)
    return float(a @ density / density.sum()), low, high
