"""What a study has taught, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Observed:
    """A trial and the values seen, by metric."""

    id: str
    number: int
    params: dict[str, Any]
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Recommended:
    """The trial the model believes in, and its belief at the full resource; no `sd` where the policy has no model."""

    id: str
    number: int
    params: dict[str, Any]
    mean: dict[str, float]
    sd: dict[str, float]


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether the study may stop, and why: the best is within `regret_bound` of the best there is, the next trial is
    expected to add `expected_gain`, and differences below `threshold` do not matter.
    """

    stop: bool
    reason: str
    expected_gain: float | None
    regret_bound: float | None
    threshold: float


@dataclass(frozen=True, slots=True)
class Best:
    """The answers to "which is best" and "is it good enough": None as long as nothing has been measured.

    Nothing is observed to be best where there are several objectives, or only comparisons: see `Study.pareto`.
    """

    observed: Observed | None
    recommended: Recommended | None
    advice: Advice | None = None


@dataclass(frozen=True, slots=True)
class Front:
    """The feasible trials that no other betters in everything, best in the first objective first.

    `hypervolume` is what they dominate beyond `reference`, `r2` their mean shortfall from the ideal; None without any.
    """

    trials: list[Observed]
    hypervolume: float | None
    r2: float | None
    reference: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Importances:
    """The share of each parameter in what makes a difference to `metric`, by a method that was chosen `because`."""

    method: str
    because: str
    metric: str
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a parameter goes with the batch size: parameter ∝ batch^exponent, `low` to `high` with 95 %. `holds` says of
    each rule ("none", "square_root", "linear") whether the trials leave room for it; `trial` is the best one, with
    `value` at `size`; `ceiling` the largest value with which training went well.
    """

    parameter: str
    batch: str
    metric: str
    exponent: float
    low: float
    high: float
    holds: dict[str, bool]
    trial: int
    size: float
    value: float
    ceiling: float

    def at(self, size: float) -> float:
        """The best trial's value, carried to another batch size, and never beyond the ceiling."""
        return float(min(self.value * (size / self.size) ** self.exponent, self.ceiling))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model expects at `points`: means and deviations by metric, and the probability of feasibility, if there
    are constraints on outcomes. A slice has `axes`: names and values, the last one running fastest.
    """

    points: list[dict[str, Any]]
    mean: dict[str, list[float]]
    sd: dict[str, list[float]]
    feasible: list[float] | None = None
    axes: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Foretold:
    """Where the curve of a trial is expected to go, in the metric's units: `mean`, and `quantiles` by probability, at
    `steps` from the last one measured to the maximum; by a `model` of curves.
    """

    trial: int
    metric: str
    model: str
    steps: list[int]
    mean: list[float]
    quantiles: dict[float, list[float]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How trials turned out against what a model of the others expected: by trial, and how often within its intervals
    of 50, 80 and 95 %. A large `log_score` and a small `rmse` are good.
    """

    metric: str
    trials: list[dict[str, Any]]
    coverage: dict[float, float]
    log_score: float
    rmse: float


@dataclass(frozen=True, slots=True)
class Regret:
    """What was lost by learning while serving, in units of `metric`: in all, by context, and by trial."""

    metric: str
    cumulative: float
    mean: float
    contexts: list[dict[str, Any]]
    trials: list[dict[str, Any]]


def best(found: Mapping[str, Any]) -> Best:
    """The answer of the server."""
    advice = found.get("advice")
    return Best(
        observed(found["observed"]) if found["observed"] else None,
        _recommended(found["recommended"]) if found["recommended"] else None,
        Advice(**advice) if advice else None,
    )


def observed(found: Mapping[str, Any]) -> Observed:
    return Observed(**_identity(found), values=floats(found["values"]))


def _recommended(found: Mapping[str, Any]) -> Recommended:
    return Recommended(**_identity(found), mean=floats(found["mean"]), sd=floats(found["sd"]))


def _identity(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found["trial"][name] for name in ("id", "number", "params")}


def floats(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by metric, also where JSON had to spell them: "nan", "inf", "-inf"; without those that are missing."""
    return {metric: float(value) for metric, value in values.items() if value is not None}


def front(found: Mapping[str, Any]) -> Front:
    return Front(list(map(observed, found["items"])), found["hypervolume"], found["r2"], found["reference"])


def importances(found: Mapping[str, Any]) -> Importances:
    return Importances(found["method"], found["because"], found["metric"], found["importances"])


def scaling(found: Mapping[str, Any]) -> Scaling:
    named = {name: found[name] for name in ("parameter", "batch", "metric", "exponent", "low", "high")}
    best = found["incumbent"]
    holds = {name: rule["holds"] for name, rule in found["rules"].items()}
    carried = {"trial": best["trial"], "size": best["batch"], "value": best["value"], "ceiling": found["ceiling"]}
    return Scaling(**named, holds=holds, **carried)


def prediction(found: Mapping[str, Any]) -> Prediction:
    metrics = found["metrics"].items()
    return Prediction(
        points=found["points"],
        mean={metric: list(map(float, belief["mean"])) for metric, belief in metrics},
        sd={metric: list(map(float, belief["sd"])) for metric, belief in metrics},
        feasible=found["feasible"],
        axes={axis["name"]: axis["values"] for axis in found.get("axes", ())},
    )


def foretold(found: Mapping[str, Any]) -> Foretold:
    quantiles = {float(q): list(map(float, values)) for q, values in found["quantiles"].items()}
    mean = list(map(float, found["mean"]))
    return Foretold(found["trial"], found["metric"], found["model"], found["steps"], mean, quantiles)


def calibration(found: Mapping[str, Any]) -> Calibration:
    coverage = {float(level): share for level, share in found["coverage"].items()}
    return Calibration(found["metric"], found["trials"], coverage, float(found["log_score"]), float(found["rmse"]))


def regret(found: Mapping[str, Any]) -> Regret:
    return Regret(found["metric"], found["cumulative"], found["mean_regret"], found["contexts"], found["trials"])
