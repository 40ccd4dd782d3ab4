"""Giving runs up: what the policies that stop for good have in common, around any policy that suggests.

A stopping policy trains what its suggester would try, is asked about each run every so many steps, and stops those that
its rule speaks against. What is stopped is PRUNED and never resumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from .base import Continue, Decision, Policy, Start, Stop, Suggestion
from .bayes import Bayes
from .patience import Patience
from .random import Random
from .sobol import Sobol
from .tpe import Tpe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..history import Resource, Study, Trial

SUGGESTERS: Mapping[str, Policy] = {policy.name: policy for policy in (Bayes(), Tpe(), Sobol(), Random())}
"""Where new trials may come from."""


class Rule(Protocol):
    """What speaks against a run."""

    def against(self, study: Study, trial: Trial) -> str | None:
        """Why a running trial, finite so far, should be given up, for people; None as long as it should not."""
        ...


@dataclass(frozen=True, slots=True)
class Stopping:
    """A suggester, a rule, and when it is asked: first at step `warmup`, then `every` so many steps (0: the least)."""

    policy: str
    suggester: str
    rule: Rule
    patience: Patience
    warmup: int
    every: int

    def is_light(self, study: Study) -> bool:
        return SUGGESTERS[self.suggester].is_light(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        """What the suggester would try, up to the first judgement."""
        until = min(max(self.warmup, self._resource(study).min), self._resource(study).max)
        made = SUGGESTERS[self.suggester].suggest(study, count, seed)
        why = {"policy": self.policy, "suggester": self.suggester}
        return [replace(start, until=until, why={**start.why, **why}) for start in made if isinstance(start, Start)]

    def decide(self, study: Study, trial: Trial) -> Decision:
        resource = self._resource(study)
        if reason := _diverged(study, trial) or self._against(study, trial):
            return Stop(reason)
        return Continue(min(max(trial.last_step + max(self.every, resource.min), self.warmup), resource.max))

    def _against(self, study: Study, trial: Trial) -> str | None:
        """What the rule says, unless it is too early or the run deserves patience."""
        if trial.last_step < self.warmup or not trial.curves.get(study.objective.metric):
            return None
        return None if self.patience.spares(trial, study.objective) else self.rule.against(study, trial)

    def _resource(self, study: Study) -> Resource:
        if study.resource is None:
            raise ValueError(f"{self.policy} needs a resource")
        return study.resource


def _diverged(study: Study, trial: Trial) -> str | None:
    """A run whose newest value is not finite has nothing to wait for."""
    curve = trial.curves.get(study.objective.metric)
    if not curve or math.isfinite(curve[-1][1]):
        return None
    return f"diverged: {study.objective.metric} is {curve[-1][1]} at step {curve[-1][0]}"


def others(study: Study, trial: Trial, step: int) -> list[Trial]:
    """The other trials that were measured by a step they reached, and the failed ones: whatever has become of them."""
    metric = study.objective.metric
    return [
        other
        for other in study.trials
        if other.number != trial.number and not other.excluded and (other.last_step >= step or other.state.worst)
        if other.state.worst or ((curve := other.curves.get(metric)) and curve[0][0] <= step)
    ]
