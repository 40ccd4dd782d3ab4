"""What every model of curves promises, whatever it is. A new one inherits `CurveModelContract` and names itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from frazil_tuner.curves import CURVE_MODELS, CurveBelief, CurveModel, Curves, Where


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def curves_of(
    n: int = 8, T: int = 20, d: int = 2, unordered: tuple[int, ...] = (), seed: int = 0, full: bool = False
) -> Curves:
    """Curves that rise to what the first column says, each seen for a while, with a little noise."""
    random = rng(seed)
    x, mask = random.random((n, d)), np.zeros(d, dtype=bool)
    mask[list(unordered)] = True
    x[:, mask] = (np.floor(x[:, mask] * 3) + 0.5) / 3
    seen = np.full(n, T) if full else random.integers(1, T + 1, n)
    owner = np.repeat(np.arange(n), seen)
    step = np.concatenate([np.zeros(0, dtype=int), *[np.arange(1, k + 1) for k in seen]])
    ends = np.sin(4 * x[owner]).sum(1)
    score = ends * (1 - np.exp(-4 * step / T)) + 0.01 * random.standard_normal(len(owner))
    return Curves(x, owner, step, score, np.zeros(n, dtype=bool), T, mask)


def ends_of(curves: Curves) -> Where:
    """The last step of every curve, and of a new one."""
    n, d = curves.x.shape
    x = np.concatenate([curves.x, np.full((1, d), 0.5)])
    return Where(x, np.append(np.arange(n), -1), np.full(n + 1, curves.max_step))


def is_sound(belief: CurveBelief, where: Where) -> None:
    m = len(where.owner)
    predicted = belief.at(where)
    assert predicted.mean.shape == predicted.sd.shape == (m,)
    assert np.isfinite(predicted.mean).all()
    assert np.isfinite(predicted.sd).all()
    assert (predicted.sd > 0).all()
    assert np.isfinite(predicted.log_density(predicted.mean)).all()
    low, high = predicted.quantile(0.05), predicted.quantile(0.95)
    assert (low < high).all()
    draws = belief.draws(where, 3, rng())
    assert draws.shape == (3, m)
    assert np.isfinite(draws).all()


Change = Callable[[Curves], Curves]


def without_values(curves: Curves) -> Curves:
    nothing = np.zeros(0, dtype=int)
    return replace(curves, owner=nothing, step=nothing, score=np.zeros(0))


def without_curves(curves: Curves) -> Curves:
    return replace(without_values(curves), x=curves.x[:0], dead=curves.dead[:0])


def constant(curves: Curves) -> Curves:
    return replace(curves, score=np.full_like(curves.score, 0.3))


def zero(curves: Curves) -> Curves:
    return replace(curves, score=np.zeros_like(curves.score))


def all_dead(curves: Curves) -> Curves:
    return replace(curves, dead=np.ones(curves.size, dtype=bool), score=np.full_like(curves.score, -np.inf))


def all_failed(curves: Curves) -> Curves:
    return replace(curves, dead=np.ones(curves.size, dtype=bool))


def wild(curves: Curves) -> Curves:
    score = curves.score.copy()
    score[::7], score[3::11] = -np.inf, -1e30
    return replace(curves, score=score)


def wildly_good(curves: Curves) -> Curves:
    score = curves.score.copy()
    score[4] = 1e30
    return replace(curves, score=score)


def duplicated(curves: Curves) -> Curves:
    return replace(curves, x=np.tile(curves.x[:1], (curves.size, 1)))


def repeated(curves: Curves) -> Curves:
    """The same step of the same curve, told twice."""
    twice = np.tile(np.arange(len(curves.owner)), 2)
    return replace(curves, owner=curves.owner[twice], step=curves.step[twice], score=curves.score[twice])


EDGES: list[Change] = [
    without_values,
    without_curves,
    constant,
    zero,
    all_dead,
    all_failed,
    wild,
    wildly_good,
    duplicated,
    repeated,
]


class CurveModelContract:
    """Inherit, and say which model."""

    name: ClassVar[str]

    @property
    def model(self) -> CurveModel:
        return CURVE_MODELS[self.name]

    def fit(self, **options: Any) -> CurveBelief:
        return self.model.fit(curves_of(**options))

    @pytest.mark.parametrize("n", [1, 2, 8])
    @pytest.mark.parametrize("T", [1, 2, 3, 20])
    @pytest.mark.parametrize("unordered", [(), (1,), (0, 1)])
    def test_it_believes_after_any_number_of_curves(self, n: int, T: int, unordered: tuple[int, ...]) -> None:
        curves = curves_of(n, T, unordered=unordered)
        is_sound(self.model.fit(curves), ends_of(curves))

    @pytest.mark.parametrize("count", [1, 2])
    def test_it_believes_after_one_and_two_observations(self, count: int) -> None:
        curves = curves_of(3)
        few = replace(curves, owner=np.array([1, 1])[:count], step=np.array([1, 2])[:count], score=curves.score[:count])
        is_sound(self.model.fit(few), ends_of(few))

    @pytest.mark.parametrize("change", EDGES, ids=lambda change: change.__name__)
    def test_it_bears(self, change: Change) -> None:
        curves = change(curves_of())
        is_sound(self.model.fit(curves), ends_of(curves))

    @pytest.mark.parametrize("full", [False, True])
    def test_a_few_wild_values_do_not_flatten_the_rest(self, full: bool) -> None:
        curves = curves_of(12, full=full)
        after = self.model.fit(wild(curves)).at(ends_of(curves))
        assert (after.sd < 30).all()
        assert (np.abs(after.mean) < 30).all()

    def test_200_curves_of_100_steps_with_nan_and_1e30_are_answered_soon(self) -> None:
        curves = wild(curves_of(200, 100, d=6, full=True))
        begun = time.process_time()
        is_sound(self.model.fit(curves), ends_of(curves))
        assert time.process_time() - begun < 20

    def test_a_curve_of_100_000_steps_is_answered_soon(self) -> None:
        curves = curves_of(3, 100_000, full=True)
        begun = time.process_time()
        is_sound(self.model.fit(curves), ends_of(curves))
        assert time.process_time() - begun < 5

    def test_permuted_observations_give_the_same_belief(self) -> None:
        curves, order = curves_of(), rng(1).permutation
        rows = order(len(curves.owner))
        permuted = replace(curves, owner=curves.owner[rows], step=curves.step[rows], score=curves.score[rows])
        self.is_the_same(curves, permuted, np.arange(curves.size))

    def test_permuted_curves_give_the_same_belief(self) -> None:
        curves = curves_of()
        order = rng(1).permutation(curves.size)
        permuted = replace(curves, x=curves.x[order], owner=np.argsort(order)[curves.owner])
        self.is_the_same(curves, permuted, order)

    def is_the_same(self, curves: Curves, permuted: Curves, order: np.ndarray) -> None:
        rows = np.append(order, curves.size)
        one, other = self.model.fit(curves).at(ends_of(curves)), self.model.fit(permuted).at(ends_of(permuted))
        assert other.mean == pytest.approx(one.mean[rows], abs=2e-3)
        assert other.sd == pytest.approx(one.sd[rows], rel=2e-2)

    def test_a_change_of_unit_changes_nothing(self) -> None:
        curves, where = curves_of(), ends_of(curves_of())
        plain = self.model.fit(curves).at(where)
        changed = self.model.fit(replace(curves, score=1e4 * curves.score - 3e5)).at(where)
        assert (changed.mean + 3e5) / 1e4 == pytest.approx(plain.mean, abs=2e-3)
        assert changed.sd / 1e4 == pytest.approx(plain.sd, rel=2e-2)
        assert changed.quantile(0.9) == pytest.approx(1e4 * plain.quantile(0.9) - 3e5, abs=100)

    def test_it_is_surer_of_what_it_saw_more_of(self) -> None:
        curves = curves_of(10, full=True)
        part = (curves.owner != 0) | (curves.step <= 2)
        before = replace(curves, owner=curves.owner[part], step=curves.step[part], score=curves.score[part])
        end = Where(curves.x[:1], np.array([0]), np.array([20]))
        assert self.model.fit(curves).at(end).sd[0] < self.model.fit(before).at(end).sd[0]

    def test_a_value_that_was_seen_is_nearly_known(self) -> None:
        curves = curves_of(10, full=True)
        last = curves.step == 20
        predicted = self.model.fit(curves).at(Where(curves.x, np.arange(10), np.full(10, 20)))
        assert predicted.quantile(0.5) == pytest.approx(curves.score[last], abs=0.1)

    def test_an_observation_given_counts_like_one_seen(self) -> None:
        curves = curves_of(10, full=True)
        part = curves.step <= np.where(curves.owner == 0, 3, 20)
        before = replace(curves, owner=curves.owner[part], step=curves.step[part], score=curves.score[part])
        belief, end = self.model.fit(before), Where(curves.x[:1], np.array([0]), np.array([20]))
        told = belief.at(end).quantile(0.5) + 0.5
        after = belief.given(end, told)
        assert after.at(end).quantile(0.5) == pytest.approx(told, abs=0.15)
        assert after.at(end).sd[0] < belief.at(end).sd[0]
        assert belief.at(end).quantile(0.5) == pytest.approx(told - 0.5)

    def test_curves_not_begun_can_be_given(self) -> None:
        belief = self.fit()
        x = rng(5).random((2, 2))
        fresh = Where(x[[0, 0, 1]], np.full(3, -1), np.array([1, 5, 5]))
        is_sound(belief.given(fresh, np.array([0.1, 0.5, 0.2])), ends_of(curves_of()))

    def test_quantiles_ascend_and_agree_with_what_exceeds_them(self) -> None:
        predicted = self.fit().at(ends_of(curves_of()))
        quantiles = np.array([predicted.quantile(q) for q in (0.01, 0.1, 0.5, 0.9, 0.99)])
        assert (np.diff(quantiles, axis=0) > 0).all()
        for q, value in zip((0.01, 0.1, 0.5, 0.9, 0.99), quantiles, strict=True):
            assert predicted.exceeding(value) == pytest.approx(np.full(9, 1 - q), abs=1e-6)
        assert predicted.exceeding(-1e9) == pytest.approx(np.ones(9))
        assert predicted.exceeding(1e9) == pytest.approx(np.zeros(9))

    def test_improvement_is_the_integral_of_what_exceeds(self) -> None:
        predicted = self.fit().at(ends_of(curves_of()))
        threshold = float(predicted.mean.max())
        levels = np.stack([predicted.quantile(q) for q in (np.arange(2_000) + 0.5) / 2_000])
        expected = np.maximum(levels - threshold, 0.0).mean(0)
        scale = float(predicted.sd.max())
        assert predicted.improvement(threshold) / scale == pytest.approx(expected / scale, abs=3e-3)

    def test_its_density_is_the_slope_of_what_exceeds(self) -> None:
        predicted = self.fit().at(ends_of(curves_of()))
        for q in (0.2, 0.5, 0.8):
            value, step = predicted.quantile(q), 1e-5 * predicted.sd
            slope = (predicted.exceeding(value - step) - predicted.exceeding(value + step)) / (2 * step)
            assert np.exp(predicted.log_density(value)) == pytest.approx(slope, rel=1e-3)

    def test_draws_follow_the_marginal_beliefs(self) -> None:
        belief, where = self.fit(), ends_of(curves_of())
        predicted, draws = belief.at(where), belief.draws(where, 4_000, rng())
        for q in (0.1, 0.5, 0.9):
            assert (draws <= predicted.quantile(q)).mean(0) == pytest.approx(np.full(9, q), abs=0.03)

    def test_draws_of_one_curve_go_together(self) -> None:
        belief = self.fit()
        x = np.full((3, 2), 0.4)
        draws = belief.draws(Where(x, np.full(3, -1), np.array([18, 20, 20])), 2_000, rng())
        near = np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]
        assert near > 0.8

    def test_the_same_generator_draws_the_same(self) -> None:
        belief, where = self.fit(), ends_of(curves_of())
        assert (belief.draws(where, 5, rng(3)) == belief.draws(where, 5, rng(3))).all()

    def test_diverged_is_the_worst_never_the_best(self) -> None:
        curves = curves_of(10, full=True)
        score = np.where((curves.owner == 2) & (curves.step > 5), -np.inf, curves.score)
        dead = np.arange(10) == 2
        predicted = self.model.fit(replace(curves, score=score, dead=dead)).at(ends_of(curves))
        assert predicted.mean[2] <= np.delete(predicted.mean, 2).min() + 0.05
        assert predicted.exceeding(float(np.median(curves.score)))[2] < 0.05

    def test_a_failed_curve_is_the_worst_whatever_it_said(self) -> None:
        curves = curves_of(10, full=True)
        best = int(np.argmax(curves.score[curves.step == 20]))
        predicted = self.model.fit(replace(curves, dead=np.arange(10) == best)).at(ends_of(curves))
        assert predicted.exceeding(float(np.median(curves.score)))[best] < 0.05

    def test_what_it_remembers_is_json_and_can_be_started_from(self) -> None:
        curves = curves_of()
        belief = self.model.fit(curves)
        start = json.loads(json.dumps(dict(belief.fit)))
        again = self.model.fit(curves, start).at(ends_of(curves))
        assert again.mean == pytest.approx(belief.at(ends_of(curves)).mean, abs=0.05)

    def test_what_another_model_remembers_does_no_harm(self) -> None:
        curves = curves_of()
        is_sound(self.model.fit(curves, {"theta": [0.0], "other": "x"}), ends_of(curves))

    def test_noise_left_out_makes_it_surer_not_other(self) -> None:
        belief, where = self.fit(), ends_of(curves_of())
        noisy, calm = belief.at(where), belief.at(where, noisy=False)
        assert calm.mean == pytest.approx(noisy.mean)
        assert (calm.sd <= noisy.sd).all()

    def test_it_changes_nothing_of_what_it_is_given(self) -> None:
        curves, where = curves_of(), ends_of(curves_of())
        parts = [curves.x, curves.owner, curves.step, curves.score, curves.dead, where.x, where.owner, where.step]
        before = [part.copy() for part in parts]
        belief = self.model.fit(curves)
        belief.at(where)
        belief.draws(where, 2, rng())
        belief.given(where, np.zeros(9))
        assert all((a == b).all() for a, b in zip(parts, before, strict=True))


class TestFreezeThaw(CurveModelContract):
    name = "gp"


class TestPriorFitted(CurveModelContract):
    name = "pfn"


class TestGuarded(CurveModelContract):
    name = "guarded"


class TestRegression(CurveModelContract):
    name = "regression"


class TestLast(CurveModelContract):
    name = "last"


def test_every_model_keeps_the_contract() -> None:
    assert {kept.name for kept in CurveModelContract.__subclasses__()} == set(CURVE_MODELS)
