"""What we believe of a function's values: models fitted to what was seen. Needs torch."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from ..numerics import FitFailed
from .base import Belief, Evidence, Slopes, Surrogate, Unsuited
from .derivatives import Derivatives
from .gp import GaussianProcess
from .heteroscedastic import Heteroscedastic
from .local import Local
from .multi_task import MultiTask
from .pairwise import Pairwise
from .robust import Robust
from .scaling import suited
from .sparse import Sparse
from .tree import Tree
from .warped import Warped

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SURROGATES",
    "Belief",
    "Evidence",
    "FitFailed",
    "GaussianProcess",
    "Local",
    "Robust",
    "Slopes",
    "Surrogate",
    "Unsuited",
    "suited",
]

SURROGATES: Mapping[str, Surrogate] = MappingProxyType(
    {
        "gp": GaussianProcess(),
        "tree": Tree(),
        "sparse": Sparse(),
        "warped": Warped(),
        "derivatives": Derivatives(),
        "multi_task": MultiTask(),
        "heteroscedastic": Heteroscedastic(),
        "pairwise": Pairwise(),
        "local": Local(GaussianProcess()),
    }
)
"""Every surrogate by the name that policies give it."""
