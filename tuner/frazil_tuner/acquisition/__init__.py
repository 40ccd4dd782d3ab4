"""What knowing more would be worth, and where that is largest. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from .chebyshev import chebyshev
from .entropy import joint_entropy, max_value_entropy
from .environment import choose_environment
from .eubo import eubo
from .feasibility import feasible_points
from .hypervolume import log_hypervolume
from .knowledge import knowledge_gradient, noisy_ei
from .log_ei import log_ei
from .maximise import evaluate, search
from .merit import merit
from .modifiers import MODIFIERS, is_weighed, log_gain
from .outlook import Limit, Outlook, Worth
from .prior import log_density
from .thompson import thompson
from .ucb import ucb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ACQUISITIONS",
    "Acquisition",
    "Limit",
    "Outlook",
    "Worth",
    "choose_environment",
    "evaluate",
    "log_density",
    "merit",
    "search",
    "worth_of",
]

ONE = range(1, 2)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """A row of the table: an outlook in, the worth of each point out.

    `logarithmic` says that the worth is the log of a gain, so that factors of the gain are added to it; `objectives`
    how many objectives it takes.
    """

    worth: Callable[[Outlook], Worth]
    logarithmic: bool = True
    objectives: range = ONE


ACQUISITIONS: Mapping[str, Acquisition] = MappingProxyType(
    {
        "log_ei": Acquisition(log_ei),
        "noisy_ei": Acquisition(noisy_ei),
        "ucb": Acquisition(ucb, logarithmic=False),
        "thompson": Acquisition(thompson, logarithmic=False),
        "knowledge_gradient": Acquisition(knowledge_gradient),
        "max_value_entropy": Acquisition(max_value_entropy),
        "joint_entropy": Acquisition(joint_entropy),
        "log_hypervolume": Acquisition(log_hypervolume, objectives=range(2, 5)),
        "chebyshev": Acquisition(chebyshev, objectives=range(2, 101)),
        "eubo": Acquisition(eubo),
    }
)
"""Every acquisition by the name that policies give it."""


def worth_of(name: str, outlook: Outlook) -> Worth:
    """The worth under an acquisition, with every modifier for which the outlook has the part.

    It is finite or -inf, and as differentiable as the beliefs. As long as no point seen is feasible, nothing but the
    modifiers counts: what is worth most is what most probably meets all limits. Before any point was seen, the mean
    counts: what earlier studies praise.
    """
    return reduce(lambda worth, modify: modify(worth, outlook), MODIFIERS, _unmodified(ACQUISITIONS[name], outlook))


def _unmodified(acquisition: Acquisition, outlook: Outlook) -> Worth:
    if not len(outlook.belief.points):
        return lambda x: outlook.belief.posterior(x)[0].mean(0)
    if not len(feasible_points(outlook)):
        return lambda x: torch.zeros(len(x), dtype=x.dtype)
    worth = acquisition.worth(outlook)
    return worth if acquisition.logarithmic or not is_weighed(outlook) else log_gain(worth, outlook)
