"""Which studies a policy can serve; others are refused when the policy is built, with the remedy."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import Problem
from ..space import Column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..history import Definition

POINTER = "/name"
"""Where the faults lie: in the choice of the policy."""


@dataclass(frozen=True, slots=True)
class Scope:
    """`most_objectives`: how many it can weigh against each other. `serves_comparisons`: it learns from rankings too.
    `handles_constraints`: it keeps away from where outcome constraints are violated, or does not learn at all.
    `handles_unordered`: it can vary parameters whose values are only equal or different. `resource_kind`: the kind of
    resource that it is made for, if for one alone.
    """

    most_objectives: float = 1
    serves_comparisons: bool = False
    handles_constraints: bool = False
    handles_unordered: bool = True
    resource_kind: Literal["resumable", "restart"] | None = None

    def serves(self, definition: Definition) -> bool:
        """Whether nothing keeps a policy of this scope from serving a study."""
        return not any(self.problems("", definition))

    def to_json(self) -> dict[str, Any]:
        """JSON-able; no limit on objectives is null."""
        most = None if math.isinf(self.most_objectives) else self.most_objectives
        return {**asdict(self), "most_objectives": most}

    def problems(self, name: str, definition: Definition) -> Iterator[Problem]:
        """What keeps the policy called `name` from serving a study."""
        yield from self._too_many(name, definition)
        yield from self._not_learnable(name, definition)
        yield from self._not_movable(name, definition)
        yield from self._not_trainable(name, definition)

    def _too_many(self, name: str, definition: Definition) -> Iterator[Problem]:
        count = len(definition.objectives)
        if count > self.most_objectives:
            most = f"at most {self.most_objectives} objective{'s' if self.most_objectives > 1 else ''}"
            yield Problem(POINTER, f"{name} serves {most}, not {count}; use bayes, tpe or nsga2")

    def _not_learnable(self, name: str, definition: Definition) -> Iterator[Problem]:
        if not self.serves_comparisons and any(objective.by == "comparison" for objective in definition.objectives):
            yield Problem(POINTER, f"{name} does not learn from comparisons; use bayes or rank_sgd")
        if not self.handles_constraints and definition.outcome_constraints:
            yield Problem(POINTER, f"{name} takes no notice of outcome constraints; use bayes or tpe")

    def _not_movable(self, name: str, definition: Definition) -> Iterator[Problem]:
        if self.handles_unordered:
            return
        unordered = [p.name for p in definition.space.parameters if Column.UNORDERED in p.kind.columns]
        if unordered:
            yield Problem(
                POINTER,
                f"{name} moves along numeric axes and cannot choose {', '.join(unordered)}; use bayes, tpe or nsga2, "
                "or an ordinal type where the values have an order",
            )

    def _not_trainable(self, name: str, definition: Definition) -> Iterator[Problem]:
        resource = definition.resource
        if resource is None or self.resource_kind in (None, resource.kind):
            return
        if resource.kind == "resumable":
            detail = f"{name} trains from step 0 each time, but runs can be resumed by {resource.name}; use freeze_thaw"
        else:
            detail = f"{name} resumes runs, but {resource.name} means training again; use multi_fidelity"
        yield Problem(POINTER, detail)


ANY_STUDY = Scope(most_objectives=math.inf, serves_comparisons=True, handles_constraints=True)
"""Of policies that do not learn, or learn from everything."""
