"""Schedules from gradient norms: the formula, computed another way, and what cannot be refined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.schedules import refined


def norms(n: int = 300, seed: int = 0) -> list[float]:
    """Large at first, then level, with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / n
    return ((1 + 4 * np.exp(-20 * t)) * np.exp(0.2 * rng.standard_normal(n))).tolist()


def by_hand(G: list[float], power: float) -> list[float]:
    """One number at a time, as the paper writes it."""
    n, half = len(G), int(0.1 * len(G) / 2)

    def at(i: int) -> float:
        return G[0] if i < 0 else G[i] if i < n else G[2 * (n - 1) - i]

    smooth = [sorted(at(i + k) for k in range(-half, half + 1))[half] for i in range(n)]
    w = [g**-power for g in smooth]
    eta = [w[t] * sum(w[t + 1 :]) for t in range(n)]
    return [value / max(eta) for value in eta]


@pytest.mark.parametrize("n", [10, 57, 300, 801])
@pytest.mark.parametrize(("norm", "power"), [("l2", 2.0), ("l1", 1.0)])
def test_it_equals_the_formula_worked_out_by_hand(n: int, norm: str, power: float) -> None:
    schedule = refined(norms(n), norm=norm)
    assert schedule.multipliers(np.arange(n)) == pytest.approx(by_hand(norms(n), power), rel=1e-9, abs=1e-12)


def test_level_norms_give_a_straight_line_down() -> None:
    rng = np.random.default_rng(0)
    m = refined((1 + 1e-6 * rng.random(500)).tolist()).multipliers(np.arange(500))
    assert m == pytest.approx((499 - np.arange(500)) / 499, abs=1e-4)


def test_norms_that_are_large_at_first_give_a_warm_up_and_an_annealing() -> None:
    m = refined(norms()).multipliers(np.arange(300))
    peak = int(np.argmax(m))
    assert 15 < peak < 120
    assert m[0] < 0.3
    assert m[299] == 0.0
    assert m.max() == 1.0


def test_it_is_spread_over_the_run_that_is_named_with_as_few_entries_as_wanted() -> None:
    whole, thin = refined(norms(500), peak=0.1), refined(norms(500), total_steps=5000, entries=100)
    assert whole.peak == 0.1
    assert len(thin.options["multipliers"]) == 100
    places = np.linspace(0, 499, 60)
    assert thin.multipliers(10 * places) == pytest.approx(whole.multipliers(places), abs=0.08)
    assert np.abs(thin.multipliers(10 * places) - whole.multipliers(places)).mean() < 0.02


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_unit_of_the_norms_makes_no_difference(scale: float) -> None:
    scaled = refined([scale * g for g in norms()])
    assert scaled.multipliers(np.arange(300)) == pytest.approx(refined(norms()).multipliers(np.arange(300)))


@pytest.mark.parametrize(
    ("given", "more", "field", "words"),
    [
        ([], {}, "/norms", "10 to 10000"),
        ([1.0, 2.0], {}, "/norms", "not 2"),
        ("abc", {}, "/norms", "10 to 10000"),
        ([1.0] * 20, {}, "/norms", '"linear"'),
        ([*norms(20)[:-1], -1.0], {}, "/norms/19", "above 0"),
        ([0.0, *norms(20)], {}, "/norms/0", "above 0"),
        ([*norms(20), float("nan")], {}, "/norms/20", "leave out steps that diverged"),
        ([*norms(20), float("inf")], {}, "/norms/20", "finite"),
        ([*norms(20), "nan"], {}, "/norms/20", "must be a number"),
        (norms(20), {"norm": "l3"}, "/norm", "l2, l1"),
        (norms(20), {"total_steps": 1}, "/total_steps", "at least 2"),
        (norms(20), {"entries": 1}, "/entries", "2 to 20"),
        (norms(20), {"entries": 21}, "/entries", "the number of norms"),
    ],
)
def test_what_cannot_be_refined_is_refused(given: Any, more: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        refined(given, **more)
    assert [problem.pointer for problem in refusal.value.problems] == [field]
    assert words in refusal.value.problems[0].detail
