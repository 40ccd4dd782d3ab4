"""What travels about what a study has taught."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from ..trials.schemas import TrialOut
from ..wire import Strict


class Observed(BaseModel):
    trial: TrialOut
    values: dict[str, Any]


class Recommended(BaseModel):
    trial: TrialOut
    mean: dict[str, Any]
    sd: dict[str, Any] = Field(description="Empty where the policy has no model.")


class Advice(BaseModel):
    stop: bool
    reason: str
    expected_gain: float | None = Field(description="What the next trial is expected to add to the best.")
    regret_bound: float | None = Field(description="How far the best is from the best there is, at most.")
    threshold: float = Field(description="The difference that does not matter.")


class BestOut(BaseModel):
    observed: Observed | None = Field(description="Of a study with one objective that is learned from values.")
    recommended: Recommended | None
    advice: Advice | None = Field(description="Where there is a model, and enough to judge by.")
    pareto: str | None = Field(description="Where the best trade-offs are, of a study with several objectives.")


class ParetoItem(BaseModel):
    trial: TrialOut
    values: dict[str, float]


class ParetoOut(BaseModel):
    items: list[ParetoItem] = Field(description="Best in the first objective first.")
    total: int
    hypervolume: float | None
    r2: float | None
    reference: dict[str, float] | None = Field(description="The point from which the hypervolume is measured.")


class ImportancesOut(BaseModel):
    method: str
    because: str
    metric: str
    observations: int
    foretold: int | None = Field(None, description="Trials that count with where their curves are believed to end.")
    importances: dict[str, float]
    first_order: dict[str, float] | None = None
    total: dict[str, float] | None = None
    interactions: dict[str, float] | None = None


class RuleOut(BaseModel):
    exponent: float
    holds: bool = Field(description="Whether the trials leave room for it.")


class ExponentOut(BaseModel):
    exponent: float
    log_evidence: float = Field(description="Up to a constant.")


class CarriedOut(BaseModel):
    trial: int
    batch: float
    value: float


class TransferredOut(BaseModel):
    batch: float
    value: float


class ScalingOut(BaseModel):
    """A scaling rule, parameter ∝ batch^exponent."""

    parameter: str
    batch: str
    metric: str
    observations: int
    used: int = Field(description="The better half, which the exponent is learned from.")
    foretold: int = Field(description="Trials that count with where their curves are believed to end.")
    batches: int
    exponent: float
    low: float = Field(description="The exponent lies above with 97.5 %.")
    high: float = Field(description="The exponent lies below with 97.5 %.")
    rules: dict[str, RuleOut] = Field(description="none, square_root, linear")
    evidence: list[ExponentOut]
    incumbent: CarriedOut
    ceiling: float = Field(
        description="The largest value of the better half: beyond it nobody has seen training go well."
    )
    transferred: list[TransferredOut] = Field(
        description="The best trial's value, carried to other batch sizes, up to the ceiling."
    )


class ShareOut(BaseModel):
    share: float = Field(description="Of a whole run.")
    step: int
    runs: int
    by_product: float = Field(description="The share of what the runs differ by there that their product alone tells.")
    by_rate: float = Field(description="The same of the learning rate alone.")


class InvarianceOut(BaseModel):
    rate: str
    decay: str
    metric: str
    holds: bool
    shares: list[ShareOut]


class PredictionsIn(Strict):
    points: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)


class Predicted(BaseModel):
    mean: list[Any]
    sd: list[Any]
    surrogate: str


class Axis(BaseModel):
    name: str
    values: list[Any]


class PredictionsOut(BaseModel):
    """At points, or along one or two axes; along the rest of a trial's curve; or, for calibration, at trials that the
    model has not seen.
    """

    points: list[dict[str, Any]] | None = None
    metrics: dict[str, Predicted] | None = None
    feasible: list[float] | None = Field(None, description="The probability of meeting all outcome constraints.")
    foretold: int | None = Field(None, description="Trials that count with where their curves are believed to end.")
    base: dict[str, Any] | None = None
    axes: list[Axis] | None = None
    metric: str | None = None
    folds: int | None = None
    trials: list[dict[str, Any]] | None = None
    coverage: dict[str, float] | None = None
    log_score: Any = None
    rmse: Any = None
    trial: int | None = None
    model: str | None = Field(None, description="Of the curves.")
    steps: list[int] | None = None
    mean: list[float] | None = None
    quantiles: dict[str, list[float]] | None = Field(None, description='By probability: "0.05" to "0.95".')


class SolverOut(BaseModel):
    solver: str
    shares: list[float] = Field(description="Of the problems, brought to the target within each of `taus`.")
    solved: int
    fastest: int
    score: float = Field(description="The mean share over ratios from 1 to 4.")


class ProblemOut(BaseModel):
    problem: str
    target: float | None
    times: dict[str, float | None] = Field(description="By solver, the median of its studies; null where never.")


class ProfilesOut(BaseModel):
    measure: Literal["steps", "trials", "seconds"]
    studies: int
    taus: list[float] = Field(description="Multiples of the time of the fastest solver.")
    solvers: list[SolverOut] = Field(description="The best score first.")
    problems: list[ProblemOut]


class RankedOut(BaseModel):
    action: Literal["continue", "thaw", "start"]
    trial: int | None = Field(description="The run's number; null for a new configuration.")
    params: dict[str, Any]
    from_step: int
    until_step: int
    worth: float = Field(description="For each unit of cost, in what the acquisition counts.")
    mean: float | None = Field(description="Where it is expected to end, in the objective's units.")
    sd: float | None


class RankingOut(BaseModel):
    policy: str
    acquisition: str
    model: str
    network: float | None = Field(
        description="The network's share in a guarded model, by how well it foretold this study; null under others."
    )
    runs: int
    observations: int
    items: list[RankedOut] = Field(description="The worthiest first.")


class RegretOut(BaseModel):
    metric: str
    trials: list[dict[str, Any]]
    contexts: list[dict[str, Any]]
    cumulative: float
    mean_regret: float
