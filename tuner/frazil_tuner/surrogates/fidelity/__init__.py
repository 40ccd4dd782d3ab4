"""What we believe of a function that can be had cheaper and less exactly. Needs torch.

The last column of a row (n, d + 1) is the fidelity: the share of the resource, in (0, 1], 1 for the target. For the
rest these are surrogates like all others, and their beliefs answer for any point at any fidelity.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from .augmented import PRODUCTS, LinearTruncated, Product
from .autoregressive import Autoregressive
from .base import AtFidelity, at
from .coregional import Coregional
from .nonlinear import Nonlinear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..base import Surrogate

__all__ = ["FIDELITY_SURROGATES", "AtFidelity", "at"]

FIDELITY_SURROGATES: Mapping[str, Surrogate] = MappingProxyType(
    {
        "linear_truncated": LinearTruncated(),
        **{name: Product(name) for name in PRODUCTS},
        "autoregressive": Autoregressive(),
        "nonlinear_autoregressive": Nonlinear(),
        "coregional": Coregional(),
    }
)
"""Every surrogate of several fidelities by the name that policies give it."""
