"""What knowing more would be worth, and where that is largest. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from .feasibility import feasible
from .log_ei import log_ei
from .maximise import evaluate, search
from .modifiers import MODIFIERS, is_weighed, log_gain
from .outlook import Limit, Outlook, Worth
from .ucb import ucb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ACQUISITIONS", "Acquisition", "Limit", "Outlook", "Worth", "evaluate", "search", "worth_of"]

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
        "ucb": Acquisition(ucb, logarithmic=False),
    }
)
"""Every acquisition by the name that policies give it."""


def worth_of(name: str, outlook: Outlook) -> Worth:
    """The worth under an acquisition, with every modifier for which the outlook has the part.

    It is finite or -inf, and as differentiable as the beliefs. As long as no point seen is feasible, nothing but the
    modifiers counts: what is worth most is what most probably meets all limits.
    """
    return reduce(lambda worth, modify: modify(worth, outlook), MODIFIERS, _unmodified(ACQUISITIONS[name], outlook))


def _unmodified(acquisition: Acquisition, outlook: Outlook) -> Worth:
    if not feasible(outlook).any():
        return lambda x: torch.zeros(len(x), dtype=x.dtype)
    worth = acquisition.worth(outlook)
    return worth if acquisition.logarithmic or not is_weighed(outlook) else log_gain(worth, outlook)
