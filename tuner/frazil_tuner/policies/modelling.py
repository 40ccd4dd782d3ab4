"""From a study to beliefs: what its finished trials have shown of each quantity, and the models fitted to that.

Importing this imports no torch; fitting does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..history import Trial
from ..numerics import BENDS, Floats, Taming, tame
from ..space import Column

if TYPE_CHECKING:
    from ..acquisition import Outlook
    from ..history import Objective, OutcomeConstraint, Params, Study
    from ..surrogates import Belief, Evidence, Slopes, Surrogate

MOST_EXACT = 300
"""Observations up to which a model takes them all; beyond, it is a local one."""

MOST_PENDING = 400
"""Unfinished configurations that are imagined: the latest of them."""

STEEPEST = 1e6
"""Slopes beyond so many deviations of the outcomes along an edge of the cube count as so much."""

LEAST_BENT = 6
"""Observations from which on the scale of outcomes is chosen."""

SCENARIOS = 32
"""Values of the environment over which a robust objective is judged."""

Reading = Callable[[Trial], float | None]
"""What a trial says of a quantity, larger is better: -inf for a diverged one, None if it says nothing."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that trials measure and a model predicts: `metric` in the user's units is sign · reading + offset."""

    metric: str
    read: Reading
    sign: float = 1.0
    offset: float = 0.0
    by: str = "value"

    def is_known(self, trials: Iterable[Trial]) -> bool:
        """Whether any trial has a finite reading: otherwise there is nothing to fit."""
        return any(value is not None and math.isfinite(value) for value in map(self.read, trials))


def objective_of(objective: Objective) -> Quantity:
    return Quantity(objective.metric, lambda trial: trial.score(objective), objective.sign, by=objective.by)


def slack_of(constraint: OutcomeConstraint) -> Quantity:
    """How far a metric lies on the good side of its bound; a failed trial says nothing of it."""

    def read(trial: Trial) -> float | None:
        value = None if trial.state.worst else trial.value(constraint.metric)
        return None if value is None else constraint.slack(value)

    return Quantity(constraint.metric, read, constraint.sign, constraint.bound)


def success_of(study: Study) -> Quantity:
    """+1 for trials that came to a value of every objective, -1 for those that failed or diverged."""

    def read(trial: Trial) -> float | None:
        scores = [trial.score(objective) for objective in study.objectives if objective.by == "value"]
        if trial.state.worst or -math.inf in scores:
            return -1.0
        return None if None in scores else 1.0

    return Quantity("success", read)


def log_cost_of(study: Study) -> Quantity | None:
    """The logarithm of what a trial costs; None where costs are not told, or the same for all."""
    named = study.definition.cost

    def read(trial: Trial) -> float | None:
        cost = trial.cost if trial.cost is not None or named is None else trial.value(str(named))
        return math.log(cost) if cost is not None and math.isfinite(cost) and cost > 0 else None

    return Quantity("log cost", read) if isinstance(named, str) else None


# ── what was seen ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model of one quantity is fitted to: trials (n,), points X (n, d), readings `scores` (n,), outcomes y (n,).

    `taming` leads from readings to outcomes; `noise` (n,) holds the variances of outcomes, NaN where unknown, and is
    None where all are.
    """

    trials: tuple[Trial, ...]
    X: Floats
    scores: Floats
    y: Floats
    taming: Taming
    noise: Floats | None = None

    def best(self, count: int, barred: Collection[int] = ()) -> Floats:
        """The points (at most count, d) of the best outcomes, best first; trials of `barred` numbers come last."""
        last = np.array([trial.number in barred for trial in self.trials], dtype=bool)
        return self.X[np.lexsort((-self.y, last))[:count]]


def finished(study: Study) -> list[Trial]:
    """The trials that say how a configuration ended, in order."""
    return [trial for trial in study.trials if trial.state.finished and not trial.excluded]


def telling(study: Study) -> Iterator[Trial]:
    """The finished trials that say something of every objective, or that they failed; comparisons need no more."""
    values = [objective for objective in study.objectives if objective.by == "value"]
    for trial in study.trials:
        known = trial.state.finished and not trial.excluded
        if known and all(trial.score(objective) is not None for objective in values):
            yield trial


def running(study: Study) -> list[Params]:
    """The configurations whose outcome is still to come: queued, running, paused or shelved; the latest of many."""
    unfinished = [trial.params for trial in study.trials if not trial.state.finished and not trial.excluded]
    return [*unfinished, *study.shelved][-MOST_PENDING:]


def observe(study: Study, trials: Iterable[Trial], quantity: Quantity) -> Seen:
    """The finite readings of a quantity among trials; possibly none."""
    read = [(trial, quantity.read(trial)) for trial in trials]
    finite = [(trial, value) for trial, value in read if value is not None and math.isfinite(value)]
    kept = tuple(trial for trial, _ in finite)
    scores = np.array([value for _, value in finite], dtype=np.float64)
    taming = tame(scores) if len(scores) else Taming(0.0, 1.0, 0.0, 1.0)
    X = study.space.encode_many([trial.params for trial in kept])
    sems = np.array([trial.sems.get(quantity.metric, math.nan) for trial in kept])
    noise = None if np.isnan(sems).all() else (sems * taming.slope(scores)) ** 2
    return Seen(kept, X, scores, taming.apply(scores), taming, noise)


def compared(study: Study) -> Seen:
    """The trials that stand in rankings; they have no outcomes of their own."""
    ranked = {number for ranking in study.rankings for number in ranking}
    trials = tuple(trial for trial in study.trials if trial.number in ranked and not trial.excluded)
    nothing = np.zeros(len(trials))
    X = study.space.encode_many([trial.params for trial in trials])
    return Seen(trials, X, nothing, nothing, Taming(0.0, 1.0, 0.0, 1.0))


def unbeaten(study: Study, trials: Sequence[Trial]) -> Sequence[Trial]:
    """The trials that no comparison puts below another; all of them where there are no comparisons, or every one lost.

    A model smooths utilities, and may think less of the best of a crowd, whose neighbours have lost to it, than of a
    trial far from it.
    """
    beaten = {number for ranking in study.rankings for number in ranking[1:]}
    return [trial for trial in trials if trial.number not in beaten] or trials


# ── the choice of a surrogate ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Shape:
    """A surrogate, when it suits a quantity of a study by itself, and why."""

    surrogate: str
    suits: Callable[[Study, Quantity], bool]
    because: str


SHAPES = (
    Shape("pairwise", lambda study, quantity: quantity.by == "comparison", "trials are compared, not measured"),
    Shape(
        "multi_task",
        lambda study, quantity: bool(study.related) and quantity.metric == study.objective.metric,
        "there are earlier studies to learn from",
    ),
    Shape(
        "derivatives",
        lambda study, quantity: any(quantity.metric in trial.gradients for trial in study.trials),
        "derivatives were told",
    ),
    Shape("tree", lambda study, quantity: study.space.is_conditional, "parameters depend on others"),
    Shape("sparse", lambda study, quantity: study.space.dimension >= 20, "few of so many parameters may matter"),
    Shape("gp", lambda study, quantity: True, "values are measured and every parameter is free"),
)
"""The first that suits is taken, unless the user names a surrogate."""


def shapes_of(study: Study, quantity: Quantity, named: str) -> Iterator[tuple[str, str]]:
    """The surrogates of a quantity, each with the reason: the named one, then those that suit by themselves."""
    if named != "auto":
        yield named, "named by the user"
    for shape in SHAPES:
        if shape.surrogate != named and shape.suits(study, quantity):
            yield shape.surrogate, shape.because


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Modelled:
    """One quantity: what was seen of it, the belief fitted to that, and the name of the surrogate with its reason."""

    quantity: Quantity
    seen: Seen
    belief: Belief
    surrogate: str
    because: str
    scale: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fit(self) -> dict[str, Any]:
        """What the next fit starts from: JSON-able."""
        return {"surrogate": self.surrogate, **self.belief.fit, **self.scale}

    @property
    def scale_of_outcomes(self) -> float:
        """How much of the reading an outcome of 1 is, around the middle."""
        middle = np.array([self.seen.taming.centre])
        return 1.0 / float(self.seen.taming.slope(middle)[0])

    def in_units(self, outcome: float, deviation: float) -> tuple[float, float]:
        """The belief N(outcome, deviation²) in the metric's units and direction."""
        reading, sd = self.seen.taming.invert(outcome, deviation)
        return self.quantity.sign * reading + self.quantity.offset, sd


@dataclass(frozen=True, slots=True)
class Model:
    """Everything a study measures, modelled. `total` counts the finished trials."""

    objectives: tuple[Modelled, ...]
    limits: tuple[Modelled, ...]
    cost: Modelled | None
    total: int

    @property
    def has_learned_from_the_earlier(self) -> bool:
        """Whether earlier studies are part of the model: there are some, and nothing speaks against them."""
        return self.objectives[0].surrogate == "multi_task"

    def best(self, count: int) -> Floats:
        """Good points (at most count of each objective, d): the best that were seen, feasible ones before others."""
        barred = {
            trial.number
            for limit in self.limits
            for trial, slack in zip(limit.seen.trials, limit.seen.scores, strict=True)
            if slack < 0
        }
        return np.concatenate([part.seen.best(count, barred) for part in self.objectives])

    @property
    def modelled(self) -> tuple[Modelled, ...]:
        return (*self.objectives, *self.limits, *([self.cost] if self.cost else []))

    @property
    def fit(self) -> dict[str, Any]:
        """What the next fits start from, by metric: JSON-able."""
        return {part.quantity.metric: part.fit for part in self.modelled}


def has_something_to_model(study: Study) -> bool:
    """Whether every objective has a finite value, or a comparison, or an earlier study that has."""
    trials = finished(study)
    if any(objective_of(past.objective).is_known(past.trials) for past in study.related):
        return True
    return all(
        bool(study.rankings)
        if objective.by == "comparison"
        else any(math.isfinite(score) for trial in trials if (score := trial.score(objective)) is not None)
        for objective in study.objectives
    )


def model(study: Study, surrogate: str = "auto") -> Model:
    """Fits everything the study measures. Raises FitFailed. Ask `has_something_to_model` before."""
    trials = finished(study)
    objectives = tuple(_fit(study, trials, objective_of(objective), surrogate) for objective in study.objectives)
    limits = [slack_of(constraint) for constraint in study.definition.outcome_constraints]
    success = success_of(study)
    if len({reading for trial in trials if (reading := success.read(trial)) is not None}) == 2:
        limits.append(success)
    cost = log_cost_of(study)
    return Model(
        objectives,
        tuple(_fit(study, trials, limit, "auto") for limit in limits if limit.is_known(trials)),
        _fit(study, trials, cost, "auto") if cost and cost.is_known(trials) else None,
        len(trials),
    )


def _fit(study: Study, trials: list[Trial], quantity: Quantity, named: str) -> Modelled:
    """The first surrogate that the evidence does not speak against."""
    from ..surrogates import FitFailed, Unsuited

    against: list[str] = []
    for name, because in shapes_of(study, quantity, named):
        try:
            return _fit_as(study, trials, quantity, name, "; ".join([*against, because]))
        except Unsuited as reason:
            against.append(str(reason))
    raise FitFailed("; ".join(against))


def _fit_as(study: Study, trials: list[Trial], quantity: Quantity, name: str, because: str) -> Modelled:
    from ..surrogates import SURROGATES, Local

    seen = compared(study) if quantity.by == "comparison" else observe(study, trials, quantity)
    chosen: Surrogate = SURROGATES[name]
    if len(seen.trials) > MOST_EXACT:
        chosen, because = Local(chosen), f"{because}; of {len(seen.trials)} trials it takes those that matter"
    remembered = (study.last_fit or {}).get(quantity.metric, {})
    start = remembered if remembered.get("surrogate") == name else {}
    start = {**start, "observations": len(seen.trials)}
    evidence = evidence_of(study, seen, quantity, name, start)
    if not _may_bend(study, quantity, evidence):
        return Modelled(quantity, seen, chosen.fit(evidence), name, because)
    seen, evidence, scale = _bent(seen, evidence, remembered)
    return Modelled(quantity, seen, chosen.fit(evidence), name, because, scale)


def _may_bend(study: Study, quantity: Quantity, evidence: Evidence) -> bool:
    """Whether the scale of a quantity is ours to choose: what is traded, limited, shared or told with an error keeps
    the scale it has.
    """
    alone = len(study.objectives) == 1 and quantity.metric == study.objective.metric and quantity.by == "value"
    plain = evidence.noise is None and evidence.slopes is None and evidence.tasks is None
    return alone and plain and len(evidence.y) >= LEAST_BENT


def _bent(seen: Seen, evidence: Evidence, remembered: Mapping[str, Any]) -> tuple[Seen, Evidence, Mapping[str, Any]]:
    """The same on the scale on which it is explained best; and what the next fit should remember of the choice."""
    import torch

    from ..surrogates import suited

    tamings = [tame(seen.scores, *bend) for bend in BENDS]
    outcomes = np.stack([taming.apply(seen.scores) for taming in tamings])
    log_slopes = np.stack([taming.log_slope(seen.scores) for taming in tamings])
    start = {"theta": remembered.get("scale"), "observations": len(seen.trials)}
    scale = suited(evidence, outcomes, log_slopes, int(remembered.get("bend", 0)), start)
    seen = replace(seen, taming=tamings[scale.index], y=outcomes[scale.index])
    start = {**evidence.start, "theta": scale.theta, "settled": scale.settled}
    evidence = replace(evidence, y=torch.from_numpy(seen.y), start=start)
    return seen, evidence, {"bend": scale.index, "scale": [round(float(value), 4) for value in scale.theta]}


# ── evidence ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def evidence_of(study: Study, seen: Seen, quantity: Quantity, name: str, start: Mapping[str, Any]) -> Evidence:
    """All that a study says of one quantity, in outcomes and in the unit cube."""
    import torch

    from ..surrogates import Evidence

    space = study.space
    evidence = Evidence(
        X=torch.from_numpy(seen.X),
        y=torch.from_numpy(seen.y),
        unordered=torch.tensor([column is Column.UNORDERED for column in space.columns], dtype=torch.bool),
        noise=None if seen.noise is None else torch.from_numpy(seen.noise),
        active=torch.from_numpy(space.active(seen.X)) if space.is_conditional else None,
        slopes=_slopes(study, seen, quantity),
        rankings=_rankings(study, seen) if quantity.by == "comparison" else (),
        varies=torch.from_numpy(space.columns_of("context")),
        space=space,
        start=start,
    )
    return _with_earlier(study, evidence, quantity) if name == "multi_task" else evidence


def _slopes(study: Study, seen: Seen, quantity: Quantity) -> Slopes | None:
    """The told derivatives as slopes of the outcome along the edges of the cube; None if there are none."""
    import torch

    from ..surrogates import Slopes

    told = [
        (i, column, slope * stretch)
        for i, trial in enumerate(seen.trials)
        for name, slope in trial.gradients.get(quantity.metric, {}).items()
        for column, stretch in [study.space.stretch(name, trial.params[name])]
    ]
    if not told:
        return None
    rows, columns, slopes = (np.array(part) for part in zip(*told, strict=True))
    with np.errstate(over="ignore"):
        steep = slopes * (quantity.sign * seen.taming.slope(seen.scores)[rows])
    believable = torch.from_numpy(np.clip(steep, -STEEPEST, STEEPEST))
    return Slopes(torch.from_numpy(rows), torch.from_numpy(columns), believable)


def _rankings(study: Study, seen: Seen) -> tuple[Any, ...]:
    """The rankings as tensors of row indices, best first; excluded trials drop out."""
    import torch

    row = {trial.number: i for i, trial in enumerate(seen.trials)}
    known = [[row[number] for number in ranking if number in row] for ranking in study.rankings]
    return tuple(torch.tensor(rows) for rows in known if len(rows) > 1)


def _with_earlier(study: Study, evidence: Evidence, quantity: Quantity) -> Evidence:
    """The evidence with the rows of earlier studies below its own; each study's outcomes are standardised alone."""
    import torch

    earlier = [observe(study, past.trials, objective_of(past.objective)) for past in study.related]
    X = np.concatenate([evidence.X.numpy(), *(seen.X for seen in earlier)])
    y = np.concatenate([evidence.y.numpy(), *(seen.y for seen in earlier)])
    sizes = [len(evidence.y), *(len(seen.y) for seen in earlier)]
    tasks = np.repeat(np.arange(len(sizes)), sizes)
    noise = None if evidence.noise is None else torch.cat([evidence.noise, torch.full((len(y) - sizes[0],), math.nan)])
    active = None if evidence.active is None else torch.from_numpy(study.space.active(X))
    return replace(
        evidence,
        X=torch.from_numpy(X),
        y=torch.from_numpy(y),
        tasks=torch.from_numpy(tasks),
        noise=noise,
        active=active,
    )


# ── the outlook ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Risk:
    """How an objective is judged over an environment that is not ours to choose."""

    measure: str = "expectation"
    level: float = 0.9


def outlook_of(study: Study, fitted: Model, seed: int, *, beta: float, risk: Risk) -> Outlook:
    """The beliefs as acquisitions see them, what is pending not yet imagined."""
    import torch

    from ..acquisition import Limit, Outlook, log_density

    view = _robust_view(study, risk, seed)
    return Outlook(
        objectives=tuple(view(part.belief) for part in fitted.objectives),
        limits=tuple(Limit(view(part.belief), float(part.seen.taming.apply(np.zeros(1))[0])) for part in fitted.limits),
        cost=fitted.cost.belief if fitted.cost else None,
        cost_scale=fitted.cost.scale_of_outcomes if fitted.cost else 1.0,
        prior=log_density(study.space) if study.space.prior else None,
        space=study.search_space,
        observations=fitted.total,
        beta=beta,
        rng=torch.Generator().manual_seed(seed),
    )


def _robust_view(study: Study, risk: Risk, seed: int) -> Callable[[Belief], Belief]:
    """What makes of a belief at a point the belief about it over the environment; nothing where there is none."""
    columns = study.space.columns_of("environment")
    if not columns.any():
        return lambda belief: belief
    import torch

    from ..surrogates import Robust

    scenarios = torch.from_numpy(scenarios_of(study, seed))
    return lambda belief: Robust(belief, torch.from_numpy(columns), scenarios, risk.measure, risk.level)


def scenarios_of(study: Study, seed: int) -> Floats:
    """Values (SCENARIOS, columns of the environment) that stand for the environment, each as likely as the others."""
    from scipy.stats import qmc

    space = study.space
    cube = qmc.Sobol(space.dimension, scramble=True, rng=np.random.default_rng(seed)).random(SCENARIOS)
    scenarios: Floats = space.snap(cube)[:, space.columns_of("environment")]
    return scenarios
