"""What all insights share: the metric in question, and refusals where there is nothing to say yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Conflict, Problem, Refused
from ..policies.modelling import finished, has_something_to_model, model, objective_of, slack_of
from ..space.fields import shown

if TYPE_CHECKING:
    from ..history import Study
    from ..policies.modelling import Model, Modelled, Quantity
    from ..space import Space


def quantity_of(study: Study, metric: str | None) -> Quantity:
    """What `metric` names, an objective or a constrained metric; the first objective if it is None.

    Raises Refused (code metric_unknown) with the pointer /metric for any other.
    """
    limits = [slack_of(constraint) for constraint in study.definition.outcome_constraints]
    known = {quantity.metric: quantity for quantity in (*map(objective_of, study.objectives), *limits)}
    name = study.objective.metric if metric is None else metric
    if name not in known:
        detail = f"no model of {shown(metric)}; the study is decided by {', '.join(known)}"
        raise Refused(detail, code="metric_unknown", problems=(Problem("/metric", detail),))
    return known[name]


def require_trials(study: Study, least: int, what: str) -> None:
    """Raises Conflict (code too_few_trials) as long as fewer than `least` trials have ended."""
    count = len(finished(study))
    if count < least:
        detail = f"{what} need {least} finished trials, and there are {count}; ask again after {least - count} more"
        raise Conflict(detail, code="too_few_trials")


def modelled(study: Study, what: str, least: int = 2) -> Model:
    """The model of a study. Raises Conflict while there is nothing to fit, or (code fit_failed) where it fails."""
    require_trials(study, least, what)
    if not has_something_to_model(study):
        raise Conflict(f"{what} need a finite value of every objective; no trial has one", code="too_few_trials")
    from ..surrogates import FitFailed

    try:
        return model(study)
    except FitFailed as failure:
        raise Conflict(f"no model can be fitted at present: {failure}", code="fit_failed") from failure


def part_of(fitted: Model, quantity: Quantity) -> Modelled:
    """The modelled part of one quantity. Raises Conflict if no trial has told it."""
    for part in (*fitted.objectives, *fitted.limits):
        if part.quantity.metric == quantity.metric:
            return part
    raise Conflict(f"no trial has a value of {quantity.metric} yet", code="too_few_trials")


def require_positive(space: Space, name: str, pointer: str) -> None:
    """Raises Refused (parameter_unknown, parameter_unsuited) for what is no parameter of numbers above 0."""
    described = next((item for item in space.to_json() if item["name"] == name), None)
    if described is None:
        detail = (
            f"there is no parameter {shown(name)}; the space has {', '.join(item['name'] for item in space.to_json())}"
        )
        raise Refused(detail, code="parameter_unknown", problems=(Problem(pointer, detail),))
    values = [described.get("low"), *described.get("values", described.get("choices", ()))]
    numbers = [value for value in values if value is not None]
    positive = all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in numbers)
    if described["type"] not in ("float", "int", "ordinal", "categorical") or not numbers or not positive:
        raise unsuited(
            pointer, f"{shown(name)} must be a parameter of numbers above 0, such as a learning rate or a batch size"
        )


def unsuited(pointer: str, detail: str) -> Refused:
    return Refused(detail, code="parameter_unsuited", problems=(Problem(pointer, detail),))
