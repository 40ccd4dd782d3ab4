"""An ensemble of Gaussian processes for many parameters of which few may matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, repeat

from torch import Tensor

from .base import Evidence
from .general import NOISE, SIGNALS, Model, Prior, Seen, Values, fit, gaps_between, mixed
from .mixture import Mixture

SPREADS = (1.0, 2.0, 3.0)
"""How unequal the columns may be, in logarithms of length scales: one member of the ensemble each."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """Exact Gaussian processes under priors from "every column matters somewhat" to "few columns matter at all".

    log ℓ ~ N(½ log d - ½ + [spread > 1], spread²)
    """

    def fit(self, evidence: Evidence) -> Mixture:
        seen = Seen.of(evidence, evidence.X)
        remembered = chain(evidence.start.get("members", ()), repeat({}))
        members = tuple(
            fit(_model(evidence.unordered, spread), seen, evidence.X, start)
            for spread, start in zip(SPREADS, remembered, strict=False)
        )
        return Mixture(members, {"members": [dict(member.fit) for member in members]})


def _model(unordered: Tensor, spread: float) -> Model:
    def kernel(a: Tensor, b: Tensor, values: Values) -> Tensor:
        return mixed(gaps_between(a, b, unordered), values, unordered)

    d = len(unordered)
    centre = 0.5 * math.log(d) - 0.5 + (spread > 1)
    return Model(kernel, (Prior("lengths", d, centre, spread, reach=3.0), *SIGNALS, NOISE), lambda x: x)
