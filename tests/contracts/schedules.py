"""Golden vectors of every kind of schedule, computed by itself: one step at a time, by the textbook, in 50 digits.

`python tests/contracts/schedules.py` writes schedules.json beside this file. The core, the client and the dashboard are
held to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from mpmath import cos, mp, mpf, pi, sqrt

mp.dps = 50
FILE = Path(__file__).with_suffix(".json")


def warmed(t: int, W: int, then: Callable[[int], Any]) -> Any:
    return mpf(t + 1) / W if t < W else then(t)


def line(t: int, T: int, W: int, f: Any, bent: Callable[[Any], Any] = lambda u: 1 - u) -> Any:
    u = mpf(min(t, T) - W) / (T - W)
    return f + (1 - f) * bent(u)


def half_cosine(u: Any) -> Any:
    return (1 + cos(pi * u)) / 2


def one_cycle(t: int, T: int, W: int, start: Any, f: Any) -> Any:
    if t < W:
        return start + (1 - start) * (1 - half_cosine(mpf(t) / W))
    return line(t, T, W, f, half_cosine)


def restarts(t: int, T: int, long: int, growth: int, f: Any) -> Any:
    t, begun = min(t, T), 0
    while t > begun + long or (t == begun + long and t < T):
        begun, long = begun + long, long * growth
    return f + (1 - f) * half_cosine(mpf(t - begun) / long)


def between(t: int, points: list[tuple[int, Any]]) -> Any:
    if t <= points[0][0]:
        return points[0][1]
    for (a, left), (b, right) in pairwise(points):
        if a <= t <= b:
            return left + (right - left) * mpf(t - a) / (b - a)
    return points[-1][1]


T, W = 1000, 100
f, start = mpf("0.1"), mpf("0.04")
POINTS = [(0, mpf("0.5")), (300, mpf(1)), (1000, mpf("0.25"))]
TABLE = [mpf(1), mpf("0.75"), mpf("0.5"), mpf("0.125")]

Case = tuple[dict[str, Any], Callable[[int], Any]]
CASES: list[Case] = [
    ({"kind": "constant", "warmup_steps": W}, lambda t: warmed(t, W, lambda t: mpf(1))),
    ({"kind": "constant"}, lambda t: mpf(1)),
    ({"kind": "linear"}, lambda t: line(t, T, 0, 0)),
    ({"kind": "linear", "warmup": 0.1, "final": 0.1}, lambda t: warmed(t, W, lambda t: line(t, T, W, f))),
    (
        {"kind": "cosine", "warmup_steps": W, "final": 0.1},
        lambda t: warmed(t, W, lambda t: line(t, T, W, f, half_cosine)),
    ),
    (
        {"kind": "polynomial", "warmup_steps": W, "power": 0.5, "final": 0.1},
        lambda t: warmed(t, W, lambda t: line(t, T, W, f, lambda u: sqrt(1 - u))),
    ),
    ({"kind": "inverse_sqrt", "warmup_steps": W}, lambda t: warmed(t, W, lambda t: sqrt(mpf(W) / t))),
    ({"kind": "inverse_sqrt", "timescale_steps": 50}, lambda t: sqrt(mpf(50) / (50 + t))),
    (
        {"kind": "exponential", "warmup_steps": W, "final": 0.1},
        lambda t: warmed(t, W, lambda t: f ** (mpf(min(t, T) - W) / (T - W))),
    ),
    (
        {"kind": "step", "milestones": [300, 600], "gamma": 0.5},
        lambda t: mpf("0.5") ** ((t >= 300) + (t >= 600)),
    ),
    ({"kind": "one_cycle", "start": 0.04, "warmup_steps": W, "final": 0.1}, lambda t: one_cycle(t, T, W, start, f)),
    *(
        (
            {"kind": "wsd", "warmup_steps": W, "decay_steps": 250, "decay_shape": shape, "final": 0.1},
            lambda t, bent=bent: warmed(t, W, lambda t: mpf(1) if t <= 750 else line(t, T, 750, f, bent)),
        )
        for shape, bent in (("linear", lambda v: 1 - v), ("cosine", half_cosine), ("sqrt", lambda v: 1 - sqrt(v)))
    ),
    ({"kind": "sgdr", "cycle_steps": 250, "final": 0.1}, lambda t: restarts(t, T, 250, 1, f)),
    ({"kind": "sgdr", "cycle_steps": 100, "growth": 2}, lambda t: restarts(t, T, 100, 2, 0)),
    (
        {"kind": "piecewise", "points": [[step, float(m)] for step, m in POINTS]},
        lambda t: between(t, POINTS),
    ),
    (
        {"kind": "table", "multipliers": [float(m) for m in TABLE], "every": 333},
        lambda t: between(t, [(333 * k, m) for k, m in enumerate(TABLE)]),
    ),
]
STEPS = [0, 1, 50, 99, 100, 101, 250, 299, 300, 450, 500, 600, 749, 750, 751, 900, 999, 1000, 1001, 5000]


def vectors() -> list[dict[str, Any]]:
    return [
        {
            "schedule": {**described, "total_steps": T},
            "steps": STEPS,
            "multipliers": [float(multiplier(t)) for t in STEPS],
        }
        for described, multiplier in CASES
    ]


if __name__ == "__main__":
    FILE.write_text("[\n" + ",\n".join(json.dumps(vector) for vector in vectors()) + "\n]\n", "utf-8")
