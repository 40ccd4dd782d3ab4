"""Ready-made spaces over optimizers, from the server's catalogue.

    names = ["adamw", "lion", "sophia"]
    study = frazil.Client().create_study("which", space=frazil.optimizers.space(names), minimize="loss")
    study.enqueue_portfolio(frazil.optimizers.portfolio(names))

In the training script `trial.optimizer(model)` builds what was suggested, with `frazil[torch]` installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .client import Client
from .space import Categorical, Fixed, Float, Int, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Tune = Literal["essential", "full"]

_KINDS: Mapping[str, type[Any]] = {"categorical": Categorical, "fixed": Fixed, "float": Float, "int": Int}


def space(
    names: Sequence[str], tune: Tune = "essential", *, restricted: bool = False, client: Client | None = None
) -> dict[str, Parameter]:
    """Parameters by name: "optimizer" and those of each, "lion_lr" and so on; of a single one "lr" and so on.

    Ranges and scales are the catalogue's, and so are priors, at calibrated defaults. Add parameters of your own to it.
    "full" tunes all that there is. `restricted` admits those whose runs cannot be frozen exactly, or whose licence
    forbids commercial use. Raises `Invalid` for names that there are not.
    """
    items = _asked(names, tune, restricted, client)["space"]
    return {item["name"]: _parameter(item) for item in items}


def portfolio(
    names: Sequence[str], tune: Tune = "essential", *, restricted: bool = False, client: Client | None = None
) -> list[dict[str, Any]]:
    """Points of that space that are worth a first try, the best first: the baseline to beat."""
    points: list[dict[str, Any]] = _asked(names, tune, restricted, client)["portfolio"]
    return points


def catalogue(client: Client | None = None) -> list[dict[str, Any]]:
    """Every optimizer that the server knows."""
    return (client or Client()).optimizers()


def _asked(names: Sequence[str], tune: Tune, restricted: bool, client: Client | None) -> dict[str, Any]:
    return (client or Client()).optimizer_space(names, tune, restricted=restricted)


def _parameter(item: Mapping[str, Any]) -> Parameter:
    fields = {name: value for name, value in item.items() if name not in ("name", "type")}
    made: Parameter = _KINDS[item["type"]](**fields)
    return made
