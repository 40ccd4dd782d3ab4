"""What to do next: one small file per policy, and the table of their names. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import Problem, Refused
from ..space.fields import shown
from .asha import Asha
from .auto import Auto
from .base import (
    Branch,
    Continue,
    Decision,
    Pause,
    Policy,
    Recommendation,
    Resume,
    Start,
    Stop,
    Suggestion,
    Why,
)
from .bayes import Bayes
from .bohb import Bohb
from .cbo import Cbo
from .cem import Cem
from .cmaes import Cmaes
from .freeze_thaw import FreezeThaw
from .grid import Grid
from .hyperband import Hyperband
from .median import Median
from .multi_fidelity import MultiFidelity
from .nsga2 import Nsga2
from .options import describe_options, objections, read_options
from .pbt import Pbt
from .percentile import Percentile
from .prediction_stopping import PredictionStopping
from .random import Random
from .rank_sgd import RankSgd
from .sobol import Sobol
from .tpe import Tpe

if TYPE_CHECKING:
    from ..history import Definition

__all__ = [
    "POLICIES",
    "Branch",
    "Continue",
    "Decision",
    "Pause",
    "Policy",
    "Recommendation",
    "Resume",
    "Start",
    "Stop",
    "Suggestion",
    "Why",
    "build",
    "describe",
]

POLICIES: Mapping[str, type[Policy]] = MappingProxyType(
    {
        policy.name: policy
        for policy in (
            Auto,
            FreezeThaw,
            Asha,
            Hyperband,
            Bohb,
            Pbt,
            Median,
            Percentile,
            PredictionStopping,
            Bayes,
            MultiFidelity,
            Tpe,
            Cmaes,
            Nsga2,
            Cem,
            Cbo,
            RankSgd,
            Sobol,
            Random,
            Grid,
        )
    }
)
"""Every policy by the name that studies give it."""


def build(spec: Mapping[str, Any] | None, definition: Definition) -> Policy:
    """The policy that a study's `policy` field describes: {"name": "asha", **options}; "auto" where the name is
    missing.

    Raises Refused (code policy_invalid) with a pointer for an unknown name or option, a value of the wrong type or
    out of bounds, and a policy that does not suit the study.
    """
    if spec is None:
        spec = {}
    if not isinstance(spec, Mapping):
        raise _refused([Problem("", f'must be an object such as {{"name": "asha"}}, not {shown(spec)}')])
    name = spec.get("name", Auto.name)
    if not isinstance(name, str) or name not in POLICIES:
        raise _refused([Problem("/name", f"unknown policy {shown(name)}; known are {', '.join(POLICIES)}")])
    policy = POLICIES[name]
    options, problems = read_options(policy, {key: value for key, value in spec.items() if key != "name"})
    if policy.needs_resource and definition.resource is None:
        problems.append(Problem("/name", f'{name} needs a resource: add one, such as {{"name": "epoch", "max": 30}}'))
    problems += policy.scope.problems(name, definition)
    if problems:
        raise _refused(problems)
    built = policy(**options)
    if problems := list(objections(built, definition)):
        raise _refused(problems)
    return built


def describe() -> list[dict[str, Any]]:
    """Every policy with its summary and options, JSON-able."""
    return [
        {
            "name": name,
            "summary": (policy.__doc__ or "").partition("\n")[0],
            "needs_resource": policy.needs_resource,
            **policy.scope.to_json(),
            "options": describe_options(policy),
        }
        for name, policy in POLICIES.items()
    ]


def _refused(problems: Sequence[Problem]) -> Refused:
    first = problems[0]
    detail = f"the policy cannot be built: {first.pointer} {first.detail}"
    return Refused(detail, code="policy_invalid", problems=tuple(problems))
