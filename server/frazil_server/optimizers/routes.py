"""The catalogue of optimizers over REST: what there is, and the spaces that it makes. Data only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from frazil_tuner.optimizers import Entry, catalogue, entry_of, portfolio, space
from frazil_tuner.optimizers.catalogue import UnknownOptimizer

from .. import wire
from ..errors import NotFound

router = APIRouter(prefix="/optimizers", tags=["optimizers"])

Tune = Annotated[Literal["essential", "full"], Query(description="How many hyperparameters the space has.")]


class CatalogueOut(BaseModel):
    items: list[dict[str, Any]]


class SpaceOut(BaseModel):
    """`space` is what a study takes; `portfolio` are points of it that are worth a first try, the baseline to beat."""

    space: list[dict[str, Any]]
    portfolio: list[dict[str, Any]]


@router.get("", response_model=CatalogueOut)
async def list_optimizers() -> Response:
    """The catalogue: each with its source, its hyperparameters, and the class that implements it, or why none does."""
    return wire.Json({"items": [entry.to_json() for entry in catalogue().values()]})


@router.get(":space", response_model=SpaceOut)
async def get_optimizer_space(
    names: Annotated[str, Query(description='Separated by commas: "adamw,lion".', max_length=2000)],
    tune: Tune = "essential",
    restricted: Annotated[bool, Query(description="Also those that cannot be resumed, or not be sold.")] = False,
) -> Response:
    """A conditional space over some optimizers, with priors at their defaults."""
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    items = space(chosen, tune, restricted=restricted)
    return wire.Json({"space": items, "portfolio": portfolio(chosen, tune)})


@router.get("/{name}")
async def get_optimizer(name: str, tune: Tune = "essential") -> Response:
    """One optimizer, with a space and a portfolio of its own."""
    entry = _found(name)
    own = {"space": space([name], tune, restricted=True), "portfolio": portfolio([name], tune)}
    return wire.Json({**entry.to_json(), **own})


def _found(name: str) -> Entry:
    try:
        return entry_of(name)
    except UnknownOptimizer as fault:
        raise NotFound(fault.detail) from None
