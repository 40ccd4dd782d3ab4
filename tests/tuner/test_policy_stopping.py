"""Runs that are given up, runs that are not, and runs that are spared."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Continue, Policy, Start, Stop, build
from frazil_tuner.policies.median import running_average
from frazil_tuner.policies.patience import Patience, saturated_since, worsens
from frazil_tuner.policies.prediction_stopping import chance_of_exceeding, teachers
from frazil_tuner.space import Space

if TYPE_CHECKING:
    from collections.abc import Sequence

SPACE = Space.from_json([{"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True}])
PRUNED, RUNNING, COMPLETED, FAILED = TrialState.PRUNED, TrialState.RUNNING, TrialState.COMPLETED, TrialState.FAILED
LOSS = Objective("loss")


def trial(number: int, losses: Sequence[float], state: TrialState = PRUNED, **more: Any) -> Trial:
    curves = {"loss": tuple(enumerate(losses, 1))} | {
        metric: tuple(enumerate(values, 1)) for metric, values in more.pop("also", {}).items()
    }
    return Trial(number, {"lr": more.pop("lr", 0.1)}, state, curves, {}, len(losses), len(losses), **more)


def definition(resource: Resource | None = None, direction: Any = "minimize", summary: Any = "last") -> Definition:
    return Definition(SPACE, (Objective("loss", direction, summary),), resource or Resource("epoch", 20))


def policy(name: str, **options: Any) -> Policy:
    return build({"name": name, **options}, definition())


def decide(rule: Policy, arrived: Trial, *trials: Trial, given: Definition | None = None) -> Continue | Stop:
    decision = rule.decide(Study(given or definition(), (*trials, arrived)), arrived)
    assert isinstance(decision, Continue | Stop)
    return decision


def crowd(*curves: Sequence[float], state: TrialState = PRUNED) -> list[Trial]:
    return [trial(i, curve, state) for i, curve in enumerate(curves)]


EVERY = pytest.mark.parametrize("name", ["median", "percentile", "prediction_stopping"])
COMPARING = pytest.mark.parametrize("name", ["median", "percentile"])


@EVERY
class TestEveryStoppingPolicy:
    def test_new_trials_run_to_the_first_judgement(self, name: str) -> None:
        for options, until in (({}, 2), ({"warmup": 5}, 5), ({"warmup": 99}, 20)):
            given = definition(Resource("epoch", 20, min=2))
            (start,) = build({"name": name, **options}, given).suggest(Study(given), 1, 0)
            assert isinstance(start, Start)
            assert start.until == until
            assert (start.why["policy"], start.why["suggester"]) == (name, "bayes")

    @pytest.mark.parametrize("suggester", ["bayes", "tpe", "sobol", "random"])
    def test_they_come_from_the_suggester(self, name: str, suggester: str) -> None:
        study, inner = Study(definition(), tuple(crowd([0.5], [0.6]))), build({"name": suggester}, definition())
        ours = policy(name, suggester=suggester).suggest(study, 3, 7)
        assert [s.params for s in ours] == [s.params for s in inner.suggest(study, 3, 7)]  # type: ignore[union-attr]
        assert policy(name, suggester=suggester).is_light(study) == inner.is_light(study)

    def test_a_run_that_nothing_speaks_against_goes_on_by_the_stride(self, name: str) -> None:
        arrived = trial(0, [0.5] * 3, RUNNING)
        for options, until in (({}, 4), ({"every": 6}, 9), ({"every": 60}, 20), ({"warmup": 8}, 8)):
            assert decide(policy(name, **options), arrived) == Continue(until)
        coarse = definition(Resource("epoch", 20, min=5))
        assert decide(policy(name, every=2), arrived, given=coarse) == Continue(8)

    @pytest.mark.parametrize("diverged", [math.nan, math.inf, -math.inf])
    def test_a_diverged_run_is_stopped_even_if_it_is_the_first(self, name: str, diverged: float) -> None:
        decision = decide(policy(name, warmup=9, patience=9), trial(0, [0.1, diverged], RUNNING))
        assert decision == Stop(f"diverged: loss is {diverged} at step 2")


@COMPARING
class TestThoseThatCompare:
    def test_a_poor_run_is_stopped_once_enough_others_came_as_far(self, name: str) -> None:
        poor = trial(9, [0.9, 0.9], RUNNING)
        others = crowd(*[[0.5, 0.4]] * 3)
        assert isinstance(decide(policy(name), poor, *others), Stop)
        assert isinstance(decide(policy(name), poor, *others[:2], trial(4, [0.5])), Continue)
        assert isinstance(decide(policy(name, startup=2), poor, *others[:2]), Stop)
        assert isinstance(decide(policy(name, warmup=3), poor, *others), Continue)

    def test_whatever_became_of_the_others(self, name: str) -> None:
        poor = trial(9, [0.9, 0.9], RUNNING)
        for state in (PRUNED, COMPLETED, RUNNING, TrialState.PAUSED):
            assert isinstance(decide(policy(name), poor, *crowd(*[[0.5, 0.4]] * 5, state=state)), Stop)

    def test_a_larger_value_is_better_where_the_user_says_so(self, name: str) -> None:
        up = definition(direction="maximize")
        others = crowd(*[[0.5, 0.4]] * 5)
        assert isinstance(decide(policy(name), trial(9, [0.9, 0.9], RUNNING), *others, given=up), Continue)
        assert isinstance(decide(policy(name), trial(9, [0.1, 0.1], RUNNING), *others, given=up), Stop)

    def test_a_run_that_was_better_once_is_kept(self, name: str) -> None:
        others = crowd(*[[0.5, 0.4]] * 5)
        assert isinstance(decide(policy(name), trial(9, [0.1, 0.9], RUNNING), *others), Continue)

    @pytest.mark.parametrize("diverged", [math.nan, -math.inf, -1e308])
    def test_failed_and_diverged_trials_never_raise_the_bar(self, name: str, diverged: float) -> None:
        fair = trial(9, [0.5, 0.5], RUNNING)
        failed = [replace(one, state=FAILED) for one in crowd(*[[0.1, 0.1]] * 5)]
        assert isinstance(decide(policy(name), fair, *failed), Continue)
        if diverged == -1e308:  # a fantastic value is a value
            assert isinstance(decide(policy(name), fair, *crowd(*[[diverged, diverged]] * 5)), Stop)
        else:
            assert isinstance(decide(policy(name), fair, *crowd(*[[diverged, diverged]] * 5)), Continue)

    def test_excluded_trials_are_forgotten(self, name: str) -> None:
        others = [replace(one, excluded=True) for one in crowd(*[[0.5, 0.4]] * 5)]
        assert isinstance(decide(policy(name), trial(9, [0.9, 0.9], RUNNING), *others), Continue)

    def test_a_trial_that_was_first_measured_later_says_nothing_of_this_step(self, name: str) -> None:
        late = [Trial(i, {"lr": 0.1}, PRUNED, {"loss": tuple((s, 0.1) for s in (3, 4))}, {}, 4, 4) for i in range(3)]
        assert isinstance(decide(policy(name), trial(9, [0.9, 0.9], RUNNING), *late), Continue)
        assert isinstance(decide(policy(name), trial(9, [0.9] * 3, RUNNING), *late), Stop)

    def test_a_run_that_is_just_as_good_as_the_bar_goes_on(self, name: str) -> None:
        assert isinstance(decide(policy(name), trial(9, [0.5, 0.5], RUNNING), *crowd(*[[0.5, 0.5]] * 5)), Continue)

    def test_a_run_without_a_value_goes_on(self, name: str) -> None:
        silent = Trial(9, {"lr": 0.1}, RUNNING, {}, {}, 2, 2)
        assert decide(policy(name), silent, *crowd(*[[0.5, 0.4]] * 5)) == Continue(3)

    def test_patience_spares_what_the_rule_speaks_against(self, name: str) -> None:
        poor, others = trial(9, [0.9, 0.8, 0.9, 0.9], RUNNING), crowd(*[[0.5] * 4] * 5)
        assert isinstance(decide(policy(name, patience=3), poor, *others), Continue)
        assert isinstance(decide(policy(name, patience=2), poor, *others), Stop)

    def test_patience_goes_by_the_train_metric_where_it_is_named(self, name: str) -> None:
        trained = [1.0, 0.5, 0.01, 0.01, 0.01, 0.01]
        poor = trial(9, [0.9] * 6, RUNNING, also={"train_loss": trained})
        others = crowd(*[[0.5] * 6] * 5)
        assert isinstance(decide(policy(name, patience=4, train_metric="train_loss"), poor, *others), Continue)
        assert isinstance(decide(policy(name, patience=3, train_metric="train_loss"), poor, *others), Stop)
        assert isinstance(decide(policy(name, patience=4, train_metric="other"), poor, *others), Stop)


class TestMedian:
    def test_the_best_so_far_is_held_against_the_median_of_averages(self) -> None:
        """Averages .9, .7, .5, .3, .2 by step 2: the median is .5."""
        others = crowd([1.0, 0.8, 0.0], [0.8, 0.6], [0.6, 0.4], [0.4, 0.2], [0.3, 0.1])
        assert isinstance(decide(policy("median"), trial(9, [0.9, 0.51], RUNNING), *others), Stop)
        assert isinstance(decide(policy("median"), trial(9, [0.9, 0.49], RUNNING), *others), Continue)

    def test_the_reason_is_told_in_the_users_units(self) -> None:
        decision = decide(policy("median"), trial(9, [0.9, 0.8], RUNNING), *crowd(*[[0.6, 0.4]] * 5))
        assert decision == Stop("its best loss by step 2 is 0.8; others average 0.5")

    def test_averages_are_over_what_was_seen_by_the_step(self) -> None:
        assert running_average(trial(0, [0.2, 0.4, 9.0]), LOSS, 2) == pytest.approx(-0.3)
        assert running_average(trial(0, [1e308, 1e308]), LOSS, 2) == -1e308
        assert running_average(trial(0, [0.2, math.nan, 0.1]), LOSS, 3) == -math.inf
        assert running_average(trial(0, [0.2, math.nan, 0.1]), LOSS, 1) == -0.2


class TestPercentile:
    def test_the_best_so_far_is_held_against_the_best_at_this_step(self) -> None:
        """Of the values .1 to .8 at step 2 the best quarter is .1 and .2."""
        others = crowd(*[[0.9, i / 10] for i in range(1, 9)])
        assert isinstance(decide(policy("percentile"), trial(9, [0.9, 0.21], RUNNING), *others), Stop)
        assert isinstance(decide(policy("percentile"), trial(9, [0.2, 0.9], RUNNING), *others), Continue)
        assert isinstance(decide(policy("percentile"), trial(9, [0.2, 0.9], RUNNING), *others[:5]), Continue)
        assert isinstance(decide(policy("percentile", percentile=50), trial(9, [0.4, 0.4], RUNNING), *others), Continue)
        assert isinstance(decide(policy("percentile", percentile=50), trial(9, [0.41], RUNNING), *others), Continue)
        assert isinstance(decide(policy("percentile", percentile=0), trial(9, [0.9, 0.11], RUNNING), *others), Stop)
        assert isinstance(decide(policy("percentile", percentile=100), trial(9, [0.9, 0.81], RUNNING), *others), Stop)

    def test_the_reason_is_told_in_the_users_units(self) -> None:
        decision = decide(policy("percentile"), trial(9, [0.9, 0.8], RUNNING), *crowd(*[[0.6, 0.4]] * 5))
        assert decision == Stop("its best loss by step 2 is 0.8; the best 25 % have 0.4")

    def test_with_best_values_the_bar_is_what_others_had_by_then(self) -> None:
        best = definition(summary="best")
        others = crowd(*[[0.3, 0.7]] * 5)
        assert isinstance(decide(policy("percentile"), trial(9, [0.9, 0.4], RUNNING), *others, given=best), Stop)
        assert isinstance(decide(policy("percentile"), trial(9, [0.9, 0.4], RUNNING), *others), Continue)


class TestPrediction:
    """Runs that end where they begin, less a tenth: 2 steps tell all, once some have run to the end."""

    def finished(self, *ends: float) -> list[Trial]:
        return [
            trial(i, np.linspace(end + 0.1, end, 20).tolist(), COMPLETED, lr=0.1 * (i + 1))
            for i, end in enumerate(ends)
        ]

    def test_a_run_that_will_not_beat_the_best_is_stopped(self) -> None:
        others = self.finished(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
        decision = decide(policy("prediction_stopping"), trial(9, [0.9, 0.89], RUNNING), *others)
        assert isinstance(decision, Stop)
        assert decision.reason.startswith("it ends better than the best loss, 0.2, with probability 0")
        assert isinstance(decide(policy("prediction_stopping"), trial(9, [0.25, 0.24], RUNNING), *others), Continue)

    def test_delta_says_how_sure_one_must_be(self) -> None:
        rng = np.random.default_rng(1)
        ends = np.linspace(0.2, 0.8, 12)
        others = [trial(i, [end + 0.1, *[end + rng.normal(0, 0.03)] * 19], COMPLETED) for i, end in enumerate(ends)]
        best = min(other.curves["loss"][-1][1] for other in others)
        even = trial(99, [best + 0.13], RUNNING)
        chance = chance_of_exceeding(Study(definition(), (*others, even)), even, -best)
        assert 0.01 < chance < 0.49
        assert isinstance(decide(policy("prediction_stopping", delta=chance / 2), even, *others), Continue)
        assert isinstance(decide(policy("prediction_stopping", delta=min(2 * chance, 0.5)), even, *others), Stop)

    def test_a_slow_starter_is_known_by_those_before_it(self) -> None:
        """Half the runs start low and stay, the others start high and end lowest."""
        rng = np.random.default_rng(0)
        early = [trial(i, np.linspace(0.5, 0.45, 20) + rng.normal(0, 0.01), COMPLETED) for i in range(8)]
        late = [trial(8 + i, np.linspace(0.9, 0.1, 20) + rng.normal(0, 0.01), COMPLETED) for i in range(8)]
        study = Study(definition(), (*early, *late))
        slow, stuck = (
            trial(99, np.linspace(0.9, 0.1, 20)[:4], RUNNING),
            trial(99, np.linspace(0.5, 0.45, 20)[:4], RUNNING),
        )
        assert chance_of_exceeding(study, slow, -0.12) > 0.3 > chance_of_exceeding(study, stuck, -0.12)

    def test_before_a_run_has_come_to_the_end_nothing_is_out_of_reach(self) -> None:
        poor = trial(9, [0.9, 0.89], RUNNING)
        halfway = [replace(one, state=PRUNED, last_step=19) for one in self.finished(0.1, 0.2)]
        failed = [replace(one, state=FAILED) for one in self.finished(0.1, 0.2)]
        excluded = [replace(one, excluded=True) for one in self.finished(0.1, 0.2)]
        for others in ([], halfway, failed, excluded):
            assert decide(policy("prediction_stopping"), poor, *others) == Continue(3)

    def test_a_diverged_run_is_no_bar_and_teaches_nothing(self) -> None:
        others = [trial(i, [0.5] * 19 + [math.nan], COMPLETED) for i in range(6)]
        assert decide(policy("prediction_stopping"), trial(9, [0.9, 0.89], RUNNING), *others) == Continue(3)

    def test_it_is_learned_from_those_trained_longest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("frazil_tuner.policies.prediction_stopping.MOST_TEACHERS", 2)
        trials = [trial(i, [0.5] * steps) for i, steps in enumerate([3, 20, 1, 7])]
        own = trial(4, [0.5] * 9, RUNNING)
        assert [one.number for one in teachers(Study(definition(), (*trials, own)), own)] == [1, 3]


class TestPatience:
    """A run as in Power et al.: training data learned by heart at step 10, validation flat until far later."""

    MEMORISED = (*np.linspace(1, 0.02, 10).tolist(), *[0.01] * 40)
    AT_CHANCE = tuple(0.9 + 0.005 * (-1) ** i for i in range(50))

    def spared(self, train: Sequence[float], loss: Sequence[float], steps: int, metric: str = "train_loss") -> bool:
        return Patience(steps, metric).spares(trial(0, loss, RUNNING, also={"train_loss": train}), LOSS)

    def test_a_run_that_memorised_and_stays_flat_is_spared_so_long(self) -> None:
        assert self.spared(self.MEMORISED, self.AT_CHANCE, 41)
        assert not self.spared(self.MEMORISED, self.AT_CHANCE, 39)

    def test_without_patience_none_is_spared(self) -> None:
        assert not self.spared(self.MEMORISED, self.AT_CHANCE, 0)

    def test_a_run_that_begins_to_generalise_is_spared(self) -> None:
        grokking = (*self.AT_CHANCE[:35], *np.linspace(0.9, 0.5, 15).tolist())
        assert self.spared(self.MEMORISED, grokking, 41)

    def test_a_run_that_overfits_is_not_spared(self) -> None:
        over_fitting = (*np.linspace(0.9, 0.5, 15).tolist(), *np.linspace(0.5, 1.2, 35).tolist())
        assert not self.spared(self.MEMORISED, over_fitting, 41)

    def test_what_was_before_the_train_metric_came_to_rest_does_not_count(self) -> None:
        assert self.spared(self.MEMORISED, (*[0.5] * 10, *self.AT_CHANCE[10:]), 41)

    def test_a_run_that_still_learns_its_training_data_is_judged_as_any_other(self) -> None:
        assert not self.spared(np.linspace(1, 0.2, 50).tolist(), self.AT_CHANCE, 60)

    def test_a_run_that_never_learned_anything_is_spared_from_its_first_step_on(self) -> None:
        assert self.spared([2.3] * 50, self.AT_CHANCE, 50)
        assert not self.spared([2.3] * 50, self.AT_CHANCE, 49)

    def test_without_a_train_metric_it_counts_from_the_best(self) -> None:
        losses = [0.9, 0.3, 0.5, 0.5, 0.5]
        assert self.spared(losses, losses, 4, "")
        assert not self.spared(losses, losses, 3, "")
        for diverged in (math.nan, math.inf, -math.inf):
            run = trial(0, [0.9, 0.3, diverged, 0.5, 0.5], RUNNING)
            assert [Patience(steps).spares(run, LOSS) for steps in (3, 4)] == [False, True]

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_diverged_train_metric_is_not_at_rest(self, value: float) -> None:
        assert saturated_since(tuple(enumerate([1.0, 0.01, 0.01, 0.01, value], 1))) is None

    def test_rest_begins_where_the_range_of_what_follows_is_small(self) -> None:
        assert saturated_since(tuple(enumerate([1.0, 0.5, 0.019, 0.0, 0.01], 1))) == 3
        assert saturated_since(tuple(enumerate([1.0, 0.5, 0.03, 0.0, 0.01], 1))) is None
        assert saturated_since(()) is None

    def test_a_drift_counts_beyond_a_tenth_of_the_range_and_twice_the_jitter(self) -> None:
        whole = np.linspace(0, 1, 20)
        assert worsens(np.array([0.5, 0.5, 0.39, 0.39]), whole)
        assert not worsens(np.array([0.5, 0.5, 0.41, 0.41]), whole)
        assert not worsens(np.array([0.5, 0.9, 0.4, 0.7]), whole)
        assert not worsens(np.array([0.5]), whole)
        assert worsens(np.array([0.5, -math.inf]), whole)


@EVERY
def test_an_option_out_of_bounds_is_refused(name: str) -> None:
    for option, value in (("suggester", "oracle"), ("every", -1), ("patience", -1), ("warmup", -1)):
        with pytest.raises(Exception, match=option):
            policy(name, **{option: value})
