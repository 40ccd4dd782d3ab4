"""Schedules for Keras 3. Importing this needs keras."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras

from .schedules import value

if TYPE_CHECKING:
    from .schedules import Schedule


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The values of a schedule at every step of a run, for `keras.optimizers.*(learning_rate=…)`.

    `steps_per_unit`: optimizer steps in a unit of the schedule, an epoch say.
    """

    def __init__(self, schedule: Schedule, steps_per_unit: float = 1.0) -> None:
        self.schedule, self.steps_per_unit = dict(schedule), steps_per_unit
        self.last = math.ceil(float(schedule["total_steps"]) * steps_per_unit)
        self.values = [value(schedule, step / steps_per_unit) for step in range(self.last + 1)]

    def __call__(self, step: Any) -> Any:
        place = keras.ops.clip(keras.ops.cast(step, "int32"), 0, self.last)
        return keras.ops.take(keras.ops.convert_to_tensor(self.values), place)

    def get_config(self) -> dict[str, Any]:
        return {"schedule": self.schedule, "steps_per_unit": self.steps_per_unit}
