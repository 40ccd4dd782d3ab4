"""Schedules where they are used: pure functions of the step, with nothing to save when a run is frozen.

    schedule = trial.params["lr_schedule"]          # {"kind": "wsd", "peak": 0.0007, "total_steps": 50, …}
    lr = frazil.schedules.value(schedule, step)     # `step`: how many are done, whole or not

Means at every step what the server and the dashboard mean. Without numpy.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import median
from typing import Any

Schedule = Mapping[str, Any]
SMOOTHING = 0.1
POWERS = {"l2": 2.0, "l1": 1.0}
_SHARES = {"warmup_steps": "warmup", "decay_steps": "decay", "cycle_steps": "cycle"}
_DEFAULTS = {
    "final": 0.0,
    "power": 1.0,
    "gamma": 0.1,
    "growth": 1.0,
    "start": 0.04,
    "decay_steps": 0.2,
    "cycle_steps": 0.25,
    "decay_shape": "linear",
    "every": 1.0,
}


def multiplier(schedule: Schedule, step: float) -> float:
    """What the peak is multiplied by at the step with this many done before it, from 0 on.

    Raises ValueError for a schedule of an unknown kind, or one that lacks what its kind needs.
    """
    kind = schedule.get("kind", "linear")
    if kind not in _SHAPES:
        raise ValueError(f"there is no schedule of kind {kind!r}; there are {', '.join(_SHAPES)}")
    if "total_steps" not in schedule:
        raise ValueError('the schedule lacks "total_steps"')
    warmup, total = _steps(schedule, "warmup_steps"), float(schedule["total_steps"])
    if step < warmup:
        return _rising(schedule, step, warmup)
    return _SHAPES[kind](schedule, step if kind in _ENDLESS else min(step, total), warmup, total)


def value(schedule: Schedule, step: float) -> float:
    """The peak times the multiplier, rounded where the schedule says so; without a peak the multiplier."""
    exact = schedule.get("peak", 1.0) * multiplier(schedule, step)
    whole = schedule.get("round")
    return float(exact if whole is None else max(math.floor(exact / whole + 0.5), 1) * whole)


def scaled(schedule: Schedule, steps_per_unit: float) -> dict[str, Any]:
    """The same schedule counted in smaller steps: in optimizer steps, where it has epochs of so many."""
    longer = {
        name: number * steps_per_unit for name, number in schedule.items() if name.endswith("_steps") or name == "every"
    }
    if schedule.get("kind") == "table":
        longer["every"] = schedule.get("every", 1.0) * steps_per_unit
    if "milestones" in schedule:
        longer["milestones"] = [step * steps_per_unit for step in schedule["milestones"]]
    if "points" in schedule:
        longer["points"] = [[step * steps_per_unit, m] for step, m in schedule["points"]]
    return {**schedule, **longer}


def refine(
    norms: Sequence[float],
    *,
    norm: str = "l2",
    total_steps: float | None = None,
    peak: float | None = None,
    entries: int | None = None,
) -> dict[str, Any]:
    """The schedule that would have suited a finished run with these gradient norms: a table, its largest multiplier 1.

    `norms` are of single steps, evenly spaced over the whole run, before clipping; l2 norms for SGD, l1 norms for Adam
    and its like. Train once more with it, and tune the peak again near its old value: it need not win.

        m_t ∝ w_t Σ_{p > t} w_p,   w_t = G_t^-2 (l2) or G_t^-1 (l1), G smoothed by medians      Defazio et al. 2023

    Raises ValueError for fewer than ten norms, for any that is not finite and above 0, and where all are the same.
    """
    given = [float(number) for number in norms]
    if len(given) < 10:
        raise ValueError(
            f"refining takes at least 10 gradient norms of one run, not {len(given)}; 500 or more are good"
        )
    for i, number in enumerate(given):
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"gradient norm {i} is {number}: leave out steps that diverged; norms are above 0")
    if max(given) == min(given):
        raise ValueError('the gradient norms are all the same; the schedule that suits them is "linear"')
    if norm not in POWERS:
        raise ValueError(f"norm must be one of {', '.join(POWERS)}, not {norm!r}")
    least = min(given)
    w = [min(number / least, 1e100) ** -POWERS[norm] for number in _smoothed(given)]
    after = [*list(accumulate(reversed(w)))[-2::-1], 0.0]
    m = [own * later for own, later in zip(w, after, strict=True)]
    n, total, count = len(m), float(total_steps or len(m)), entries or len(m)
    if not 2 <= count <= n:
        raise ValueError(f"entries must be 2 to {n}, the number of norms, not {entries}")
    spread = [_between(m, k * (n - 1) / (count - 1)) / max(m) for k in range(count)]
    every = total / n * (n - 1) / (count - 1)
    table = {"kind": "table", "multipliers": spread, "every": every, "total_steps": total}
    return table if peak is None else {**table, "peak": peak}


class Multiplier:
    """The multipliers as a callable, in the form in which torch's LambdaLR can save it: `LambdaLR(optimizer,
    Multiplier(schedule))`. `steps_per_unit`: optimizer steps in a unit of the schedule, an epoch say.

    What is multiplied stays the peak of the first schedule, also after it was told to `follow` another.
    """

    def __init__(self, schedule: Schedule, steps_per_unit: float = 1.0) -> None:
        self.schedule = dict(schedule)
        self.steps_per_unit = steps_per_unit
        self.peak = schedule.get("peak")
        self.scale = 1.0

    def follow(self, schedule: Schedule) -> None:
        """Goes on with another schedule, from the next step on."""
        peak = schedule.get("peak")
        self.schedule, self.scale = dict(schedule), peak / self.peak if peak and self.peak else 1.0

    def __call__(self, step: float) -> float:
        return self.scale * multiplier(self.schedule, step / self.steps_per_unit)


# ── kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _steps(schedule: Schedule, field: str) -> float:
    """Steps, or the share of the run that stands for them."""
    if field in schedule:
        return float(schedule[field])
    default = 0.3 if schedule.get("kind") == "one_cycle" and field == "warmup_steps" else _DEFAULTS.get(field, 0.0)
    return round(float(schedule.get(_SHARES[field], default)) * float(schedule["total_steps"]), 6)


def _option(schedule: Schedule, name: str) -> Any:
    return schedule.get(name, _DEFAULTS[name])


def _rising(schedule: Schedule, step: float, warmup: float) -> float:
    if schedule.get("kind") != "one_cycle":
        return min((step + 1) / warmup, 1.0)
    start = float(_option(schedule, "start"))
    return start + (1 - start) * (1 - _half_cosine(step / warmup))


def _down(schedule: Schedule, s: float) -> float:
    final = float(_option(schedule, "final"))
    return final + (1 - final) * s


def _half_cosine(u: float) -> float:
    return (1 + math.cos(math.pi * u)) / 2


_DECAYS: Mapping[str, Callable[[float], float]] = {
    "linear": lambda v: 1 - v,
    "cosine": _half_cosine,
    "sqrt": lambda v: 1 - math.sqrt(v),
}


def _constant(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    return 1.0


def _linear(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    return _down(schedule, 1 - (t - warmup) / (total - warmup))


def _cosine(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    return _down(schedule, _half_cosine((t - warmup) / (total - warmup)))


def _polynomial(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    return _down(schedule, (1 - (t - warmup) / (total - warmup)) ** _option(schedule, "power"))


def _inverse_sqrt(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    scale = schedule.get("timescale_steps") or max(warmup, 1.0)
    return math.sqrt(scale / (scale + t - warmup))


def _exponential(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    return float(schedule.get("final", 0.01) ** ((t - warmup) / (total - warmup)))


def _step(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    milestones = schedule.get("milestones") or [0.5 * total, 0.75 * total]
    return float(max(_option(schedule, "gamma") ** bisect_right(milestones, t), _option(schedule, "final")))


def _wsd(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    decay = _steps(schedule, "decay_steps")
    v = min(max((t - (total - decay)) / decay, 0.0), 1.0)
    return _down(schedule, _DECAYS[_option(schedule, "decay_shape")](v))


def _sgdr(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    start, long, growth = warmup, _steps(schedule, "cycle_steps"), _option(schedule, "growth")
    while t >= start + long and start + long < total:
        start, long = start + long, long * growth
    return _down(schedule, _half_cosine((t - start) / long))


def _piecewise(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    steps, multipliers = zip(*schedule["points"], strict=True)
    i = bisect_right(steps, t)
    if i in (0, len(steps)):
        return float(multipliers[min(i, len(steps) - 1)])
    share = (t - steps[i - 1]) / (steps[i] - steps[i - 1])
    return float(multipliers[i - 1] + (multipliers[i] - multipliers[i - 1]) * share)


def _table(schedule: Schedule, t: float, warmup: float, total: float) -> float:
    return _between(schedule["multipliers"], t / _option(schedule, "every"))


def _between(entries: Sequence[float], place: float) -> float:
    """The entry at a place, or what lies between two; the last beyond the end."""
    i = min(int(place), len(entries) - 1)
    share = min(place - i, 1.0) if i + 1 < len(entries) else 0.0
    return float(entries[i] + (entries[min(i + 1, len(entries) - 1)] - entries[i]) * share)


_SHAPES: Mapping[str, Callable[[Schedule, float, float, float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
    "exponential": _exponential,
    "step": _step,
    "one_cycle": _cosine,
    "wsd": _wsd,
    "sgdr": _sgdr,
    "piecewise": _piecewise,
    "table": _table,
}
_ENDLESS = ("constant", "inverse_sqrt")


def _smoothed(G: Sequence[float]) -> list[float]:
    """Medians over a window of a tenth of the run, which is mirrored beyond its end."""
    n, half = len(G), int(SMOOTHING * len(G) / 2)
    pad = min(2 * (2 * half + 1), n - 1)
    longer = [G[0]] * half + list(G) + [G[n - 2 - k] for k in range(pad)] if half else list(G)
    return [median(longer[i : i + 2 * half + 1]) for i in range(n)]
