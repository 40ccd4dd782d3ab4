"""New configurations are judged by where those that have begun are believed to come to, by ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from frazil_tuner.curves import Curves, FreezeThaw, Last, Mixture, Where, WithNewcomers
from frazil_tuner.curves.joined import Joined
from frazil_tuner.curves.newcomers import ENOUGH, NewcomersBelief
from frazil_tuner.curves.ranks import Ranks

T = 10


def heavy(x: np.ndarray) -> np.ndarray:
    """Good where x is small, and very bad elsewhere: what losses are like."""
    return -np.exp(8 * x[:, 0])


def curves_of(n: int = 30, seed: int = 0) -> Curves:
    x = np.random.default_rng(seed).random((n, 2))
    owner, step = np.repeat(np.arange(n), T), np.tile(np.arange(1, T + 1), n)
    return Curves(x, owner, step, heavy(x)[owner], np.zeros(n, dtype=bool), T, np.zeros(2, dtype=bool))


def new(n: int = 40, step: int = T) -> Where:
    x = np.random.default_rng(99).random((n, 2))
    return Where(x, np.full(n, -1), np.full(n, step))


def fitted(curves: Curves, start: Mapping[str, Any] | None = None) -> NewcomersBelief:
    return WithNewcomers(Last()).fit(curves, start)


def normal(means: list[float], sds: list[float]) -> Mixture:
    return Mixture(np.ones((1, len(means))), np.array([means]), np.array([sds]))


def test_new_configurations_are_told_apart_however_heavy_the_tails() -> None:
    curves, where = curves_of(), new()
    mean = fitted(curves).at(where).mean
    assert spearmanr(mean, heavy(where.x)).statistic > 0.95
    assert Last().fit(curves).at(where).mean == pytest.approx(np.full(40, Last().fit(curves).at(where).mean[0]))


def test_curves_that_have_begun_are_as_the_model_says() -> None:
    curves = curves_of()
    both = Where(np.concatenate([curves.x[:3], new(2).x]), np.array([0, 1, 2, -1, -1]), np.full(5, T))
    known = Last().fit(curves).at(both)
    mixed = fitted(curves).at(both)
    assert mixed.mean[:3] == pytest.approx(known.mean[:3])
    assert (mixed.mean[3:] != known.mean[3:]).all()


def test_a_curve_of_which_nothing_was_seen_is_a_newcomer() -> None:
    curves = curves_of()
    waiting = replace(curves, x=np.concatenate([curves.x, [[0.02, 0.5]]]), dead=np.zeros(31, dtype=bool))
    belief = fitted(waiting)
    named, unnamed = (belief.at(Where(waiting.x[30:], np.array([owner]), np.array([T]))) for owner in (30, -1))
    assert named.mean == pytest.approx(unnamed.mean)


def test_too_few_curves_and_equal_ones_teach_nothing() -> None:
    few = curves_of(ENOUGH - 1)
    assert fitted(few).learned is None
    assert fitted(curves_of(ENOUGH)).learned is not None
    flat = replace(curves_of(), score=np.full(30 * T, 0.25))
    assert fitted(flat).learned is None
    assert fitted(flat).at(new()).mean == pytest.approx(Last().fit(flat).at(new()).mean)


def test_where_nothing_is_varied_there_is_nothing_to_tell_apart() -> None:
    curves = replace(curves_of(), x=np.zeros((30, 0)), unordered=np.zeros(0, dtype=bool))
    assert fitted(curves).learned is None


def test_the_more_have_begun_the_less_the_model_has_to_say() -> None:
    shares = [fitted(curves_of(n))._share for n in (4, 12, 100)]
    assert shares == sorted(shares, reverse=True)
    assert fitted(curves_of(8))._share == pytest.approx(0.15 + 0.85 / 2)


def test_what_was_learned_is_remembered_and_kept_once_it_is_settled() -> None:
    one, other = curves_of(), curves_of(seed=1)
    memory = json.loads(json.dumps(dict(fitted(one).fit)))
    assert fitted(other, memory | {"settled": True}).fit["newcomers"] == memory["newcomers"]
    assert fitted(other, memory).fit["newcomers"] != memory["newcomers"]
    assert fitted(other, {"newcomers": [1.0], "settled": True}).fit == fitted(other).fit


def test_what_is_imagined_of_a_newcomer_is_believed_nearby() -> None:
    belief, near = fitted(curves_of()), Where(np.array([[0.9, 0.5]]), np.array([-1]), np.array([T]))
    given = belief.given(near, np.array([-1.0]))
    beside = replace(near, x=near.x + 0.01)
    assert given.at(beside).mean[0] > belief.at(beside).mean[0]
    assert given.learned is belief.learned


def test_other_steps_have_processes_of_their_own() -> None:
    curves = curves_of(12)
    crossing = replace(curves, score=(curves.x[curves.owner, 0] - 0.5) * (curves.step - T / 2))
    belief = WithNewcomers(FreezeThaw()).fit(crossing)
    first, last = (belief.at(new(step=step)).mean for step in (1, T))
    assert spearmanr(first, last).statistic < -0.9


# ── ranks ────────────────────────────────────────────────────────────────────


def test_ranks_are_spread_like_a_standard_normal_and_ascend() -> None:
    scores = -np.exp(np.random.default_rng(0).normal(0, 5, 200))
    ranks = Ranks.of(scores)
    assert ranks is not None
    z = ranks.apply(scores)
    assert (z.mean(), z.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    assert (np.argsort(z) == np.argsort(scores)).all()


def test_equal_scores_share_their_rank() -> None:
    ranks = Ranks.of(np.array([0.0, 0.0, 1.0, 2.0]))
    assert ranks is not None
    assert ranks.knots.tolist() == [0.0, 1.0, 2.0]
    assert Ranks.of(np.full(3, 7.0)) is None


def test_beyond_what_was_seen_the_map_goes_on_as_in_its_outer_quarter() -> None:
    ranks = Ranks.of(np.array([0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 8.0, 9.0]))
    assert ranks is not None
    (last, beyond), (before,) = ranks.apply(np.array([9.0, 11.0])), ranks.apply(np.array([6.0]))
    assert (beyond - last) / 2 == pytest.approx((last - before) / 3)
    low, below = ranks.apply(np.array([0.0, -4.0]))
    assert (low - below) / 4 == pytest.approx((ranks.apply(np.array([2.0]))[0] - low) / 2)


# ── two beliefs put together ─────────────────────────────────────────────────


def test_each_value_is_as_its_own_belief_says() -> None:
    whole = normal([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4])
    joined = Joined(normal([2.0, 4.0], [0.2, 0.4]), normal([1.0, 3.0], [0.1, 0.3]), np.array([False, True] * 2))
    scores = np.array([1.1, 1.9, 3.3, 4.4])
    assert joined.mean == pytest.approx(whole.mean)
    assert joined.sd == pytest.approx(whole.sd)
    assert joined.log_density(scores) == pytest.approx(whole.log_density(scores))
    assert joined.quantile(0.3) == pytest.approx(whole.quantile(0.3))
    for threshold in (2.5, scores):
        assert joined.exceeding(threshold) == pytest.approx(whole.exceeding(threshold))
        assert joined.improvement(threshold) == pytest.approx(whole.improvement(threshold))
