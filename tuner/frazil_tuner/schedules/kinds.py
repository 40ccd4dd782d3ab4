"""The kinds of schedules: for each what it is made of, what it does after the warm-up, and what a longer run means.

A multiplier m(t) is a pure function of the step t ≥ 0, the number of steps that are done, whole or not: so a run that
was paused goes on where it stopped, and nothing needs to be saved. Step t is taken with m(t) times the peak.

    m(t) = min((t + 1) / W, 1)               while t < W: the first step moves
    m(t) = f + (1 - f) s(u)                  then, s(0) = 1, s(1) = 0,   u = (t - W) / (T - W)

W `warmup_steps`, T `total_steps`, f `final`, a share of the peak. From T on the multiplier stays what it is at T; those
of "constant" and "inverse_sqrt" know no T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..numerics import Floats

Options = Mapping[str, Any]
Shape = Callable[["Floats", Options], "Floats"]
"""The multipliers (n,) at steps (n,) from W to T."""

DECAY_SHAPES: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {"linear": lambda v: 1 - v, "cosine": lambda v: 0.5 * (1 + np.cos(np.pi * v)), "sqrt": lambda v: 1 - np.sqrt(v)}
)
"""s(v) of a decay that has come v of its way."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`fields` are those that it needs beside the common ones, each with its default, `...` for none; shares of the
    run stand for steps. `longer` says what becomes of it when a run gets longer.
    """

    shape: Shape
    fields: Mapping[str, Any]
    longer: str
    ends: bool = True


def _way(t: Floats, o: Options) -> Floats:
    """u (n,)."""
    u: Floats = (t - o["warmup_steps"]) / (o["total_steps"] - o["warmup_steps"])
    return u


def _down(s: Floats, o: Options) -> Floats:
    """From 1 to the final share."""
    m: Floats = o["final"] + (1 - o["final"]) * s
    return m


def constant(t: Floats, o: Options) -> Floats:
    return np.ones_like(t)


def linear(t: Floats, o: Options) -> Floats:
    """s = 1 - u, the best for the last iterate in the worst case.               Defazio et al. 2023, Corollary 2"""
    return _down(1 - _way(t, o), o)


def cosine(t: Floats, o: Options) -> Floats:
    """s = (1 + cos πu) / 2                                                       Loshchilov and Hutter 2017, eq. (5)"""
    return _down(DECAY_SHAPES["cosine"](_way(t, o)), o)


def polynomial(t: Floats, o: Options) -> Floats:
    """s = (1 - u)^p"""
    return _down((1 - _way(t, o)) ** o["power"], o)


def inverse_sqrt(t: Floats, o: Options) -> Floats:
    """m = √(τ / (τ + t - W))"""
    m: Floats = np.sqrt(o["timescale_steps"] / (o["timescale_steps"] + t - o["warmup_steps"]))
    return m


def exponential(t: Floats, o: Options) -> Floats:
    """m = f^u"""
    m: Floats = o["final"] ** _way(t, o)
    return m


def step(t: Floats, o: Options) -> Floats:
    """m = max(γ^k, f) after k milestones"""
    passed = (t[..., None] >= np.asarray(o["milestones"], dtype=np.float64)).sum(-1)
    m: Floats = np.maximum(o["gamma"] ** passed, o["final"])
    return m


def wsd(t: Floats, o: Options) -> Floats:
    """m = 1 until the last `decay_steps`: warm-up, stable, decay.                      Hu et al. 2024, eq. (1)"""
    v = (t - (o["total_steps"] - o["decay_steps"])) / o["decay_steps"]
    return _down(DECAY_SHAPES[o["decay_shape"]](np.clip(v, 0.0, 1.0)), o)


def sgdr(t: Floats, o: Options) -> Floats:
    """s = (1 + cos πv) / 2 with v from 0 to 1 in cycles, each `growth` times as long as the one before.

    Loshchilov and Hutter 2017. The end of a run is the end of its cycle, never the beginning of another.
    """
    begun, long, growth = t - o["warmup_steps"], o["cycle_steps"], o["growth"]
    span = o["total_steps"] - o["warmup_steps"]
    starts = [0.0]
    while starts[-1] + long * growth ** (len(starts) - 1) < span and len(starts) < MOST_CYCLES:
        starts.append(starts[-1] + long * growth ** (len(starts) - 1))
    index = np.clip(np.searchsorted(starts, begun, side="right") - 1, 0, len(starts) - 1)
    v = (begun - np.asarray(starts)[index]) / (long * growth**index)
    return _down(DECAY_SHAPES["cosine"](np.clip(v, 0.0, 1.0)), o)


def piecewise(t: Floats, o: Options) -> Floats:
    """Straight between `points` (step, multiplier); level before the first and after the last."""
    steps, multipliers = np.asarray(o["points"], dtype=np.float64).T
    m: Floats = np.interp(t, steps, multipliers)
    return m


def table(t: Floats, o: Options) -> Floats:
    """Entry k holds at step k · every; straight in between, level after the last."""
    entries = np.asarray(o["multipliers"], dtype=np.float64)
    m: Floats = np.interp(t, o["every"] * np.arange(len(entries)), entries)
    return m


MOST_CYCLES = 1_000

STRETCHED = "is stretched: what is left of it becomes longer, and the multiplier rises at once"

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "constant": Kind(constant, {}, "goes on", ends=False),
        "linear": Kind(linear, {"final": 0.0}, STRETCHED),
        "cosine": Kind(cosine, {"final": 0.0}, STRETCHED),
        "polynomial": Kind(polynomial, {"final": 0.0, "power": 1.0}, STRETCHED),
        "inverse_sqrt": Kind(inverse_sqrt, {"timescale_steps": None}, "goes on", ends=False),
        "exponential": Kind(exponential, {"final": 0.01}, STRETCHED),
        "step": Kind(step, {"final": 0.0, "gamma": 0.1, "milestones": (0.5, 0.75)}, STRETCHED),
        "one_cycle": Kind(cosine, {"final": 0.0, "start": 0.04, "warmup": 0.3}, STRETCHED),
        "wsd": Kind(
            wsd,
            {"final": 0.0, "decay_steps": 0.2, "decay_shape": "linear"},
            "stays at the peak for longer: its decay keeps its length and moves to the new end",
        ),
        "sgdr": Kind(sgdr, {"final": 0.0, "cycle_steps": 0.25, "growth": 1.0}, "goes on in further cycles"),
        "piecewise": Kind(piecewise, {"points": ...}, "keeps its last multiplier"),
        "table": Kind(table, {"multipliers": ..., "every": 1.0}, "keeps its last multiplier"),
    }
)
"""Every kind by its name. "linear" is the default of whoever names none."""
