"""The stored definition of a study: its document, what later versions added to it, and the core's reading of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Resource
from frazil_tuner.space import Space

_ADDED: dict[str, Any] = {"constraints": [], "outcome_constraints": [], "cost": None, "related": None}
_ADDED_TO_OBJECTIVES = {"by": "value"}
"""What documents of earlier versions lack."""

NUMERIC = ("float", "int")
"""Types of parameters by which a metric can be differentiated."""


def complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored document as if this version had written it."""
    objectives = [{**_ADDED_TO_OBJECTIVES, **objective} for objective in document["objectives"]]
    return {**_ADDED, **document, "objectives": objectives}


def space_of(document: Mapping[str, Any]) -> Space:
    return Space.from_json(document["space"], document["constraints"])


def definition_of(document: Mapping[str, Any], candidates: list[dict[str, Any]] | None) -> Definition:
    """The core's definition of a study from its complete document."""
    return Definition(
        space=space_of(document),
        objectives=tuple(Objective(**objective) for objective in document["objectives"]),
        resource=Resource(**document["resource"]) if document["resource"] else None,
        candidates=tuple(candidates) if candidates is not None else None,
        seed=document["seed"],
        outcome_constraints=tuple(map(limit, document["outcome_constraints"])),
        cost=document["cost"],
    )


@lru_cache(4096)
def limit(text: str) -> OutcomeConstraint:
    """The constraint that a stored text states."""
    return OutcomeConstraint.parse(text)


def statement(constraint: OutcomeConstraint) -> str:
    """The text that is stored: equal for equal constraints, with every digit of the bound."""
    bound = f"{constraint.bound!r}".removesuffix(".0")
    return f"{constraint.metric} {'>=' if constraint.at_least else '<='} {bound}"


def deciding_metrics(document: Mapping[str, Any]) -> set[str]:
    """The metrics that decisions depend on: of objectives, of outcome constraints and of the cost."""
    cost = document["cost"]
    return {
        *(objective["metric"] for objective in document["objectives"]),
        *(limit(text).metric for text in document["outcome_constraints"]),
        *([cost] if isinstance(cost, str) else ()),
    }


def declared_metrics(document: Mapping[str, Any]) -> set[str]:
    """Every metric that the study's definition names."""
    return deciding_metrics(document) | set(document["metrics"] or ())


def required_metrics(document: Mapping[str, Any]) -> set[str]:
    """The metrics without which no trial is COMPLETED: of constraints, and of objectives learned from values."""
    return {
        *(objective["metric"] for objective in document["objectives"] if objective["by"] == "value"),
        *(limit(text).metric for text in document["outcome_constraints"]),
    }


def is_compared(document: Mapping[str, Any]) -> bool:
    """Whether the study learns from comparisons of trials."""
    return any(objective["by"] == "comparison" for objective in document["objectives"])


def with_role(document: Mapping[str, Any], role: str) -> list[str]:
    """Names of the parameters that have a role, in the order of the space."""
    return [item["name"] for item in document["space"] if item.get("role") == role]


def contradictions(constraints: Iterable[OutcomeConstraint]) -> list[int]:
    """Indices of the constraints that, together with earlier ones, leave a metric no value."""
    lowest: dict[str, float] = {}
    highest: dict[str, float] = {}
    found = []
    for index, constraint in enumerate(constraints):
        metric, bound = constraint.metric, constraint.bound
        if constraint.at_least:
            lowest[metric] = max(bound, lowest.get(metric, bound))
        else:
            highest[metric] = min(bound, highest.get(metric, bound))
        if lowest.get(metric, -math.inf) > highest.get(metric, math.inf):
            found.append(index)
    return found
