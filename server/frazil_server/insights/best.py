"""The best of a study: what was observed, what its model recommends, and whether going on is worth it."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from frazil_tuner.errors import Conflict
from frazil_tuner.history import Study
from frazil_tuner.insights import advice
from frazil_tuner.policies import Recommendation
from frazil_tuner.policies.model_free import trained

from .. import wire
from ..database import transaction
from ..engine.engine import recommend
from ..services import Services
from ..studies.definitions import is_compared
from ..trials import views
from .service import Sight


async def best_of(service: Services, sight: Sight, tolerance: float | None) -> dict[str, Any]:
    """The answer as it travels; null for what there is not, or not yet."""
    recommended = await _recommended(service, sight)
    advised = await _advice(service, sight, tolerance)
    several = len(sight.study.objectives) > 1
    async with transaction(service.database) as connection:
        return {
            "observed": await _observed(connection, sight),
            "recommended": recommended and await _with_trial(connection, sight, recommended),
            "advice": advised,
            "pareto": f"/api/v1/studies/{sight.record.id}/pareto" if several else None,
        }


async def _recommended(service: Services, sight: Sight) -> Recommendation | None:
    """The policy's recommendation, from a worker where it takes a model."""
    if sight.is_light:
        return sight.policy.recommend(sight.study)
    found: Recommendation | None = await service.insights.ask(sight, recommend, sight.record.policy)
    return found


async def _with_trial(connection: AsyncConnection, sight: Sight, recommended: Recommendation) -> dict[str, Any]:
    return {
        "trial": await views.by_number(connection, sight.record.id, recommended.number),
        "mean": wire.numbers(recommended.mean),
        "sd": wire.numbers(recommended.sd),
    }


async def _advice(service: Services, sight: Sight, tolerance: float | None) -> dict[str, Any] | None:
    """Advice on stopping, for studies of one objective with a model; None before there is enough to judge by."""
    if len(sight.study.objectives) > 1 or is_compared(sight.record.definition) or sight.is_light:
        return None
    try:
        found = await service.insights.ask(sight, advice, tolerance)
    except Conflict:
        return None
    numbers = {name: found[name] for name in ("expected_gain", "regret_bound", "threshold")}
    return {"stop": found["advice"] == "stop", "reason": found["sentence"], **numbers}


async def _observed(connection: AsyncConnection, sight: Sight) -> dict[str, Any] | None:
    """The best value seen at any step, within all constraints; none of a study with several objectives or rankings.

    Where more of the resource means training again, a value is that of one resource: the largest any trial has had.
    """
    study = sight.study
    if len(study.objectives) > 1 or is_compared(sight.record.definition):
        return None
    if study.definition.outcome_constraints or sight.record.restarts:
        number = _best_feasible(study, like_with_like=sight.record.restarts)
        trial = None if number is None else await views.by_number(connection, sight.record.id, number)
    else:
        trial = await views.best(connection, sight.record.id, study.objective.direction)
    if trial is None:
        return None
    return {"trial": trial, "values": _values(study, trial)}


def _best_feasible(study: Study, *, like_with_like: bool) -> int | None:
    """The trial with the best finite score among those that meet every outcome constraint; the earliest of equals.

    `like_with_like`: among those of them that had the most of the resource.
    """
    scored = [
        (trained(study, trial) if like_with_like else 0, score, -trial.number)
        for trial in study.trials
        if not trial.excluded
        and (score := trial.score(study.objective)) is not None
        and math.isfinite(score)
        and trial.satisfies(study.definition.outcome_constraints)
    ]
    return -max(scored)[2] if scored else None


def _values(study: Study, trial: dict[str, Any]) -> dict[str, Any]:
    """What the trial came to in every metric that decides; the objective as the database has it at this moment."""
    known = study.trials[trial["number"]] if trial["number"] < len(study.trials) else None
    others = {metric: known and known.value(metric) for metric in study.definition.metrics}
    values = {metric: wire.number(value) for metric, value in others.items() if value is not None}
    return values | {study.objective.metric: trial["objective"]}
