"""How a study reaches the network and its answer comes back: unit, columns, bins, what is read, what is asked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from frazil_tuner.curves import Curves, PriorFitted, Where
from frazil_tuner.curves.bins import Bins
from frazil_tuner.curves.columns import CHOSEN, MOST, columns_for
from frazil_tuner.curves.pfn import ENOUGH, LIMIT, Told
from frazil_tuner.curves.unit import FAR, HEADROOM, Unit, unit_for


def curves_of(rows: list[list[float]], x: np.ndarray | None = None, T: int = 10, **more: object) -> Curves:
    """Curves that measured these scores at steps 1, 2 and so on."""
    x = np.linspace(0.1, 0.9, len(rows))[:, None] if x is None else x
    return Curves(
        x=x,
        owner=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        step=np.concatenate([np.arange(1, len(row) + 1) for row in rows]),
        score=np.array([score for row in rows for score in row]),
        dead=np.zeros(len(rows), dtype=bool),
        max_step=T,
        unordered=np.zeros(x.shape[1], dtype=bool),
        **more,  # type: ignore[arg-type]
    )


def ends(curves: Curves) -> Where:
    n = curves.size
    return Where(curves.x, np.arange(n), np.full(n, curves.max_step))


# ── unit ─────────────────────────────────────────────────────────────────────


def test_losses_reach_from_above_the_loss_before_training_to_zero() -> None:
    begins = [-2.3, -2.3, -2.2, -2.1, -9.0]
    unit = unit_for(curves_of([[begin, begin / 2] for begin in begins]))
    assert unit == Unit(pytest.approx(-2.3 * HEADROOM), 0.0)
    assert unit.apply(np.array([-np.inf, -9.0, -1.15 * 2.3 / 2, 0.0])) == pytest.approx([0.0, 0.0, 0.5, 1.0])


def test_shares_are_taken_as_they_are() -> None:
    assert unit_for(curves_of([[0.1, 0.8], [0.2, 0.3]])) == Unit(0.0, 1.0)


@pytest.mark.parametrize("score", [-3.0, 0.5, 120.0])
def test_scores_that_hardly_differ_are_looked_at_closely(score: float) -> None:
    unit = unit_for(curves_of([[score, score * (1 + 0.5 * FAR)]]))
    assert unit.width < FAR * abs(score) * 2
    assert unit.worst < min(score, score * (1 + 0.5 * FAR))
    assert unit.best > score


def test_where_nature_sets_no_bounds_they_follow_the_scores() -> None:
    plain = curves_of([[-3.0, 8.0], [1.0, 4.0]])
    unit = unit_for(plain)
    assert unit.worst < -3.0
    assert unit.best > 8.0
    moved = unit_for(replace(plain, score=1e3 * plain.score + 1e5))
    assert (moved.worst, moved.best) == pytest.approx((1e3 * unit.worst + 1e5, 1e3 * unit.best + 1e5))


def test_a_wild_score_sets_no_bounds() -> None:
    rows = [[-3.0 + i, 8.0 - i] for i in range(10)]
    assert unit_for(curves_of([*rows, [-1e30, -np.inf]])) == unit_for(curves_of(rows))


def test_the_floor_that_the_caller_knows_is_the_worst() -> None:
    assert unit_for(curves_of([[-3.0, 8.0]], floor=-9.0)).worst == -9.0
    assert unit_for(curves_of([[0.5, 0.51], [-np.inf]], floor=0.0)) == Unit(0.0, 1.0)
    assert unit_for(curves_of([[-2.0, -1.9]], floor=-5.0)) == Unit(-5.0, 0.0)


# ── columns ──────────────────────────────────────────────────────────────────


def test_levels_are_columns_and_an_unknown_level_is_none_of_them() -> None:
    x = np.array([[0.2, 0.25], [0.4, 0.75], [0.6, 0.25]])
    curves = replace(curves_of([[0.1]] * 3, x), unordered=np.array([False, True]))
    columns = columns_for(curves, np.arange(3.0))
    assert columns.parts == ((0, None), (1, 0.25), (1, 0.75))
    assert columns.apply(np.array([[0.3, 0.75], [0.5, 0.5]])) == pytest.approx(
        np.array([[0.3, 0.0, CHOSEN], [0.5, 0.0, 0.0]])
    )


def test_of_many_columns_those_are_read_that_go_with_the_scores() -> None:
    x = np.random.default_rng(0).random((40, 300))
    worth = x[:, 7] - 2 * x[:, 280]
    parts = columns_for(curves_of([[0.1]] * 40, x), worth).parts
    assert len(parts) == MOST
    assert {7, 280} < {column for column, _ in parts}
    assert [column for column, _ in parts] == sorted(column for column, _ in parts)


def test_300_inputs_are_answered() -> None:
    x = np.random.default_rng(0).random((20, 300))
    curves = curves_of([[0.1, 0.4, 0.5]] * 20, x)
    assert np.isfinite(PriorFitted().fit(curves).at(ends(curves)).mean).all()


# ── bins ─────────────────────────────────────────────────────────────────────


def test_bins_answer_in_closed_form() -> None:
    bins = Bins(np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]), np.array([-1.0, 1.0, 2.0, 3.0]), np.array([0.0, 10.0]))
    assert bins.mean == pytest.approx([0.2 * 0 + 0.3 * 1.5 + 0.5 * 2.5, 10.0])
    assert bins.sd[1] == pytest.approx(2 / np.sqrt(12))
    assert bins.quantile(0.5) == pytest.approx([2.0, 10.0])
    assert bins.quantile(0.1) == pytest.approx([0.0, 9.2])
    assert bins.exceeding(np.array([1.5, 9.5])) == pytest.approx([0.65, 0.75])
    assert bins.log_density(np.array([2.5, 10.0])) == pytest.approx(np.log([0.5, 0.5]))
    draws = bins.at_levels(np.random.default_rng(0).random((20_000, 2)))
    assert draws.mean(0) == pytest.approx(bins.mean, abs=0.03)
    assert draws.std(0) == pytest.approx(bins.sd, abs=0.03)


# ── what is read ─────────────────────────────────────────────────────────────


def test_each_step_is_read_once_and_a_dead_curve_ends_at_the_worst() -> None:
    curves = curves_of([[0.4, 0.8], [0.9]], T=2)
    twice = replace(
        curves,
        owner=np.array([0, 0, 0, 1]),
        step=np.array([2, 1, 2, 1]),
        score=np.array([0.8, 0.4, 0.6, 0.9]),
        dead=np.array([False, True]),
    )
    told = Told.of(twice, Unit(0.0, 1.0))
    assert told.owner.tolist() == [0, 0, 1, 1]
    assert told.step.tolist() == [1, 2, 1, 2]
    assert told.u == pytest.approx([0.4, 0.7, 0.9, 0.0])
    assert told.worth == pytest.approx([0.7, 0.0])


def test_a_few_observations_are_all_read() -> None:
    told = Told.of(curves_of([[0.1] * 30] * 15, T=30), Unit(0.0, 1.0))
    assert told.kept().tolist() == list(range(450))


def test_many_observations_are_thinned_before_any_is_left_out() -> None:
    told = Told.of(curves_of([list(np.linspace(0.1, 0.9, 100))] * 50, T=100), Unit(0.0, 1.0))
    kept = told.kept()
    assert len(kept) <= ENOUGH
    assert set(told.bounds[:-1]) | set(told.bounds[1:] - 1) <= set(kept.tolist())


def test_of_too_many_curves_the_best_remain_whole_and_the_worst_are_left_out() -> None:
    rows = [[i / 1500] * (2 if i % 2 else 1) for i in range(1500)]
    told = Told.of(curves_of(rows), Unit(0.0, 1.0))
    kept = told.kept()
    assert len(kept) == LIMIT
    assert (told.owner[kept] == 1499).sum() == 1
    assert 0 not in told.owner[kept]
    some = Told.of(curves_of([[i / 600, i / 600] for i in range(600)]), Unit(0.0, 1.0))
    assert (some.owner[some.kept()] == 599).sum() == 2
    assert (some.owner[some.kept()] == 0).sum() == 1
    assert len(some.kept()) == LIMIT


# ── what is asked ────────────────────────────────────────────────────────────


def test_a_step_that_was_passed_is_recalled() -> None:
    curves = curves_of([[0.2, 0.4, 0.6, 0.7, 0.75], [0.3, 0.5, 0.55]])
    at = Where(curves.x[[0, 0]], np.array([0, 0]), np.array([2, 5]))
    early, last = PriorFitted().fit(curves).at(at).quantile(0.5)
    assert early == pytest.approx(0.4, abs=0.02)
    assert last == pytest.approx(0.75, abs=0.02)


def test_another_network_gives_another_answer() -> None:
    curves = curves_of([[0.2, 0.4, 0.6], [0.3, 0.5, 0.55]])
    small, large = (PriorFitted(name).fit(curves).at(ends(curves)) for name in ("curve-small", "curve-large"))
    assert np.abs(small.mean - large.mean).max() > 1e-6
    assert small.mean == pytest.approx(large.mean, abs=0.1)


def test_what_neighbours_end_at_is_foretold() -> None:
    """Configurations rise to what their column says; one that has only begun is asked for, and one that has not."""
    x = np.linspace(0.05, 0.95, 13)[:, None]
    ends_at = 0.3 + 0.6 * x[:, 0]
    rows = [list(end * (1 - np.exp(-0.5 * np.arange(1, 11)))) for end in ends_at]
    rows[4] = rows[4][:2]
    seen = np.arange(13) != 8
    curves = curves_of([row for row, kept in zip(rows, seen, strict=True) if kept], x[seen])
    predicted = PriorFitted().fit(curves).at(Where(x[[4, 8]], np.array([4, -1]), np.array([10, 10])))
    assert predicted.quantile(0.5) == pytest.approx(ends_at[[4, 8]], abs=0.07)


def test_the_network_is_loaded_when_it_is_used_not_before() -> None:
    code = "import sys, frazil_tuner.curves; sys.exit('frazil_tuner.pfn.network' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
