"""What the policies without a model have in common: full grants, and the best observed trial for a recommendation."""

from __future__ import annotations

import math

from ..history import Resource, Study, Trial, TrialState
from .base import Continue, Recommendation


def full_grant(resource: Resource | None) -> int | None:
    """The last step of a trial that is trained without interruption; None without a resource."""
    return resource.max if resource else None


def go_on(study: Study) -> Continue:
    """The decision of policies that never interrupt a trial. ValueError without a resource."""
    if study.resource is None:
        raise ValueError("without a resource there is no step to decide at")
    return Continue(study.resource.max)


def trained(study: Study, trial: Trial) -> int:
    """The resource that went into a trial: 0 without a resource; the maximum for one that was told to be complete."""
    if study.resource is None:
        return 0
    complete = trial.state is TrialState.COMPLETED
    return study.resource.max if complete else min(trial.last_step, study.resource.max)


def best_trained(study: Study) -> Recommendation | None:
    """The best finite score among the trials that were trained longest; the earliest trial wins a tie."""
    scored = [(trial, trial.score(study.objective)) for trial in study.trials if not trial.excluded]
    ranked = [
        (trained(study, trial), score, -trial.number)
        for trial, score in scored
        if score is not None and math.isfinite(score)
    ]
    if not ranked:
        return None
    _, score, number = max(ranked)
    return Recommendation(number=-number, mean={study.objective.metric: study.objective.sign * score})
