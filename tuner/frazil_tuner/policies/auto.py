"""The default: the policy that suits the shape of the study."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from .bayes import Bayes
from .freeze_thaw import FreezeThaw
from .multi_fidelity import MultiFidelity
from .scope import ANY_STUDY, Scope

if TYPE_CHECKING:
    from ..history import Definition, Study, Trial
    from .base import Decision, Policy, Recommendation, Suggestion


@dataclass(frozen=True, slots=True)
class Auto:
    """What suits the resource: freeze_thaw where runs are resumed, multi_fidelity where they start anew, else bayes."""

    name: ClassVar[str] = "auto"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = False
    deliberates: ClassVar[bool] = True
    scope: ClassVar[Scope] = ANY_STUDY

    def is_light(self, study: Study) -> bool:
        return self.resolve(study.definition)[0].is_light(study)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        policy, reason = self.resolve(study.definition)
        suggestions = policy.suggest(study, count, seed)
        return [replace(suggestion, why={**suggestion.why, "auto": reason}) for suggestion in suggestions]

    def decide(self, study: Study, trial: Trial) -> Decision:
        return self.resolve(study.definition)[0].decide(study, trial)

    def recommend(self, study: Study) -> Recommendation | None:
        return self.resolve(study.definition)[0].recommend(study)

    def resolve(self, definition: Definition) -> tuple[Policy, str]:
        """The policy for a study, and the reason for people."""
        resource = definition.resource
        if resource is None or resource.min == resource.max:
            return Bayes(), "bayes, because there is no resource to pause and resume by"
        if MultiFidelity.scope.serves(definition):
            return MultiFidelity(), f"multi_fidelity, because more of {resource.name} means training again"
        if FreezeThaw.scope.serves(definition):
            return FreezeThaw(), f"freeze_thaw, because runs can be paused and resumed by {resource.name}"
        return Bayes(), f"bayes, because {FreezeThaw.name} and {MultiFidelity.name} cannot serve such objectives"
