"""A study as Optuna sees it: an in-memory copy that is made for one call, and asked through one of its samplers.

Optuna is given the columns of the unit cube, whatever the parameters behind them: a continuum is a float on [0, 1], so
that logarithmic and complement scales and simplexes need no counterpart there; a short row of evenly spaced levels is
an integer, and names are categories, because its estimators have kernels made for these. Long or uneven rows, such as
whole numbers on a logarithmic scale, pass for a continuum. Values travel as ranks, and failures as violations of a
constraint, so that no wild value reaches an estimator.

Imports Optuna: policies import this module late.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from ..space import Column
from ..space.kinds.computed import Computed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna.samplers import BaseSampler

    from ..history import Params
    from ..numerics import Floats
    from ..space import Space
    from ..space.kinds import Kind
    from ..space.parameter import Parameter

Mask = NDArray[np.bool_]

logging.getLogger("optuna").setLevel(logging.WARNING)  # a study made for one call is no news

LONGEST_ROW = 1_000
"""Levels up to which an ordered column is an integer for Optuna."""

GENERATION = "NSGAIISampler:generation"
"""The attribute by which Optuna's genetic samplers know the generation of a trial."""


@dataclass(frozen=True)
class Axis:
    """One column of the cube: its name for Optuna, and the places of its levels if it passes for a row of them."""

    name: str
    column: Column
    places: Floats | None

    @cached_property
    def distribution(self) -> BaseDistribution:
        if self.places is None:
            return FloatDistribution(0.0, 1.0)
        if self.column is Column.UNORDERED:
            return CategoricalDistribution(range(len(self.places)))
        return IntDistribution(0, len(self.places) - 1)

    def value(self, u: float) -> float | int:
        """What stands for the coordinate `u` in Optuna."""
        return u if self.places is None else int(np.abs(self.places - u).argmin())

    def ask(self, trial: optuna.Trial) -> float:
        """The coordinate that Optuna suggests."""
        if self.places is None:
            return trial.suggest_float(self.name, 0.0, 1.0)
        if self.column is Column.UNORDERED:
            return float(self.places[trial.suggest_categorical(self.name, range(len(self.places)))])
        return float(self.places[trial.suggest_int(self.name, 0, len(self.places) - 1)])


class Copy:
    """What was seen of a space, copied into an Optuna study with a sampler. Columns that are kept are left out."""

    def __init__(self, space: Space, objectives: int, sampler: BaseSampler) -> None:
        self._space = space
        self._axes = [(parameter, list(_axes(parameter))) for parameter in space.parameters]
        self._varied = [parameter.name not in space.kept for parameter, axes in self._axes for _ in axes]
        self._columns = [axis for _, axes in self._axes for axis in axes]
        self.study = optuna.create_study(directions=["maximize"] * objectives, sampler=sampler)

    @property
    def names_by_parameter(self) -> list[tuple[Parameter, list[str]]]:
        """The parameters that have columns, with the names of these for Optuna."""
        return [(parameter, [axis.name for axis in axes]) for parameter, axes in self._axes if axes]

    def add_finished(self, rows: Floats, active: Mask, values: Floats, violation: Floats) -> None:
        """Points (n, d) with those of their columns (n, d) that count, values (n, m) and how far they are out of bounds
        (n,); larger values are better.
        """
        for row, counts, told, far in zip(rows, active, values.tolist(), np.minimum(violation, 1e300), strict=True):
            constraints, attributes = {"violation": float(far)}, {GENERATION: 0}
            shown = self._shown(row, counts)
            self.study.add_trial(create_trial(values=told, constraints=constraints, system_attrs=attributes, **shown))

    def add_running(self, points: Sequence[Params]) -> None:
        """Points whose outcome is still to come."""
        rows = self._space.encode_many(points)
        for row, present in zip(rows, self._space.active(rows), strict=True):
            self.study.add_trial(create_trial(state=TrialState.RUNNING, **self._shown(row, present)))

    def ask(self) -> Floats:
        """The coordinates (d,) of the point that the sampler suggests next; it counts as running from then on."""
        trial, kept = self.study.ask(), self._space.kept
        point: dict[str, Any] = {}
        row: list[float] = []
        for parameter, axes in self._axes:
            name, active = parameter.name, parameter.is_active(point)
            run = [axis.ask(trial) for axis in axes] if active and name not in kept else [0.5] * len(axes)
            if active:
                point[name] = kept[name] if name in kept else parameter.value(run, point)
            row += run
        return np.array(row)

    def _shown(self, row: Floats, present: Mask) -> dict[str, Any]:
        columns = zip(self._columns, row.tolist(), present, self._varied, strict=True)
        pairs = [(axis, u) for axis, u, there, varied in columns if there and varied]
        return {
            "params": {axis.name: axis.value(u) for axis, u in pairs},
            "distributions": {axis.name: axis.distribution for axis, _ in pairs},
        }


def _axes(parameter: Parameter) -> Iterator[Axis]:
    kind = parameter.kind
    if isinstance(kind, Computed):
        return
    for k, column in enumerate(kind.columns):
        name = parameter.name if len(kind.columns) == 1 else f"{parameter.name}/{k}"
        yield Axis(name, column, _places(kind, column))


def _places(kind: Kind, column: Column) -> Floats | None:
    """The places of a kind's levels on its only column, if these are few enough and, where ordered, evenly spaced."""
    if column is Column.CONTINUOUS or kind.size is None or kind.size > LONGEST_ROW:
        return None
    places = kind.encode(list(kind.values(None)))[:, 0]
    even = column is Column.UNORDERED or np.allclose(np.diff(places), 1 / kind.size)
    return places if even else None
