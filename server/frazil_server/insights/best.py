"""The best of a study: the best value seen, and the trial its policy would use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from .. import wire
from ..database import Connection
from ..services import services
from ..trials import views
from ..trials.ledger import Ledger
from ..trials.schemas import TrialOut
from .routes import StudyId

router = APIRouter(prefix="/studies", tags=["studies"])


class Observed(BaseModel):
    trial: TrialOut
    values: dict[str, Any]


class Recommended(BaseModel):
    trial: TrialOut
    mean: dict[str, Any]
    sd: dict[str, Any]


class BestOut(BaseModel):
    observed: Observed | None
    recommended: Recommended | None


@router.get("/{study}/best", response_model=BestOut)
async def get_best(study_id: StudyId, connection: Connection, request: Request) -> Response:
    """The best value seen at any step, and what the model recommends at the full resource; null before there is one."""
    service = services(request)
    ledger = await Ledger.open(connection, study_id, lock=False)
    objective = ledger.study.definition["objectives"][0]
    observed = await views.best(connection, study_id, objective["direction"])
    look = await service.snapshots.look(connection, ledger.study)
    study = await service.snapshots.study(connection, ledger.study, look)
    policy = service.snapshots.policy(ledger.study, look.definition)
    recommendation = await service.engine.recommend(policy, ledger.study.policy, study)
    metric = objective["metric"]
    answer: dict[str, Any] = {"observed": None, "recommended": None}
    if observed is not None:
        answer["observed"] = {"trial": observed, "values": {metric: observed["objective"]}}
    if recommendation is not None:
        answer["recommended"] = {
            "trial": await views.by_number(connection, study_id, recommendation.number),
            "mean": wire.numbers(recommendation.mean),
            "sd": wire.numbers(recommendation.sd),
        }
    return wire.Json(answer)
