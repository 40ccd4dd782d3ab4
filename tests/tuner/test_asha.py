"""Successive halving with real pauses."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Continue, Pause, Resume, Start, build
from frazil_tuner.policies.asha import Asha
from frazil_tuner.policies.ladder import rungs_of
from frazil_tuner.space import Space

if TYPE_CHECKING:
    from collections.abc import Sequence

SPACE = Space.from_json([{"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True}])
EPOCHS = Resource("epoch", 27)
PAUSED, RUNNING, COMPLETED, FAILED = TrialState.PAUSED, TrialState.RUNNING, TrialState.COMPLETED, TrialState.FAILED


def trial(
    number: int, losses: Sequence[float], state: TrialState = PAUSED, until: int | None = None, **more: Any
) -> Trial:
    curve = tuple(enumerate(losses, 1))
    granted = len(losses) if until is None else until
    return Trial(number, {"lr": 0.1}, state, {"loss": curve}, {}, len(losses), granted, **more)


def study(*trials: Trial, resource: Resource = EPOCHS, **more: Any) -> Study:
    definition = Definition(SPACE, (Objective("loss"),), resource, more.pop("candidates", None))
    return Study(definition, trials, **more)


def resumed(given: Study, count: int = 10, eta: int = 3) -> list[tuple[int, int]]:
    return [(s.number, s.until) for s in Asha(eta).suggest(given, count, 0) if isinstance(s, Resume)]


def decide(given: Study, arrived: Trial, eta: int = 3) -> Continue | Pause:
    decision = Asha(eta).decide(given, arrived)
    assert isinstance(decision, Continue | Pause)
    return decision


@pytest.mark.parametrize(
    ("resource", "eta", "rungs"),
    [
        (Resource("epoch", 27), 3, [1, 3, 9, 27]),
        (Resource("epoch", 30), 3, [1, 3, 9, 27, 30]),
        (Resource("epoch", 100, 10), 4, [10, 40, 100]),
        (Resource("epoch", 5, 5), 3, [5]),
        (Resource("epoch", 2), 3, [1, 2]),
    ],
)
def test_rungs_rise_by_eta_up_to_the_maximum(resource: Resource, eta: int, rungs: list[int]) -> None:
    assert rungs_of(resource, eta) == rungs


class TestDecisions:
    def test_the_first_arrivals_at_a_rung_are_paused(self) -> None:
        arrived = trial(0, [0.5], RUNNING)
        assert isinstance(decide(study(arrived), arrived), Pause)
        assert isinstance(decide(study(trial(1, [0.9]), arrived), arrived), Pause)

    def test_a_trial_among_the_best_third_goes_on_to_the_next_rung(self) -> None:
        others = [trial(i, [loss]) for i, loss in enumerate([0.6, 0.7, 0.8, 0.9, 1.0])]
        arrived = trial(5, [0.65], RUNNING)
        assert decide(study(*others, arrived), arrived) == Continue(3, "rank 2 of 6 at step 1; the best 2 go on")
        worse = trial(5, [0.75], RUNNING)
        assert decide(study(*others, worse), worse) == Pause("rank 3 of 6 at step 1; the best 2 go on")

    def test_eta_says_which_part_goes_on(self) -> None:
        others = [trial(i, [loss]) for i, loss in enumerate([0.6, 0.7, 0.8])]
        arrived = trial(3, [0.65], RUNNING)
        assert isinstance(decide(study(*others, arrived), arrived, eta=2), Continue)
        assert isinstance(decide(study(*others, arrived), arrived, eta=4), Pause)

    def test_curves_are_compared_at_the_rung_not_at_their_ends(self) -> None:
        others = [trial(i, [0.9, 0.1, 0.1]) for i in range(2)]
        arrived = trial(2, [0.5], RUNNING)
        assert isinstance(decide(study(*others, arrived), arrived), Continue)

    def test_the_snapshot_need_not_know_the_last_report(self) -> None:
        others = [trial(i, [loss]) for i, loss in enumerate([0.6, 0.7])]
        stale, arrived = trial(2, [], RUNNING, until=1), trial(2, [0.5], RUNNING)
        expected = Continue(3, "rank 1 of 3 at step 1; the best 1 go on")
        assert decide(study(*others, stale), arrived) == expected
        assert decide(study(*others), arrived) == expected

    @pytest.mark.parametrize("diverged", [math.nan, math.inf, -math.inf])
    def test_a_diverged_trial_never_goes_on(self, diverged: float) -> None:
        arrived = trial(5, [diverged], RUNNING)
        others = [trial(i, [math.nan]) for i in range(5)]
        assert isinstance(decide(study(*others, arrived), arrived), Pause)

    def test_failed_trials_count_as_the_worst(self) -> None:
        failed = [trial(i, [0.1], FAILED) for i in range(2)]
        arrived = trial(2, [0.5], RUNNING)
        assert isinstance(decide(study(*failed, arrived), arrived), Continue)

    def test_excluded_trials_are_forgotten(self) -> None:
        forgotten = [trial(i, [0.9], excluded=True) for i in range(5)]
        arrived = trial(5, [0.5], RUNNING)
        assert isinstance(decide(study(*forgotten, arrived), arrived), Pause)

    def test_equal_scores_go_on_in_the_order_of_their_numbers(self) -> None:
        trials = [trial(i, [0.5], RUNNING) for i in range(6)]
        went_on = [isinstance(decide(study(*trials), one), Continue) for one in trials]
        assert went_on == [True, True, False, False, False, False]

    def test_a_trial_without_a_value_by_the_rung_cannot_be_judged(self) -> None:
        silent = Trial(0, {"lr": 0.1}, RUNNING, {"loss": ()}, {}, 1, 1)
        assert decide(study(silent), silent) == Continue(3, "no loss was reported by step 1")

    def test_below_the_first_rung_there_is_nothing_to_judge(self) -> None:
        early = trial(0, [0.5], RUNNING, until=2)
        assert decide(study(early, resource=Resource("epoch", 27, 3)), early).until == 3  # type: ignore[union-attr]

    def test_the_last_rung_leads_to_the_maximum(self) -> None:
        others = [trial(i, [1.0] * 27) for i in range(2)]
        arrived = trial(2, [0.5] * 27, RUNNING)
        assert decide(study(*others, arrived, resource=Resource("epoch", 30)), arrived).until == 30  # type: ignore[union-attr]


class TestSuggestions:
    def test_new_trials_are_granted_the_first_rung(self) -> None:
        (start,) = Asha().suggest(study(resource=Resource("epoch", 27, 2)), 1, 0)
        assert isinstance(start, Start)
        assert start.until == 2

    def test_a_paused_trial_that_has_become_promotable_is_thawed_first(self) -> None:
        given = study(*(trial(i, [loss]) for i, loss in enumerate([0.5, 0.4, 0.9])))
        first, second = Asha().suggest(given, 2, 0)
        assert first == Resume(1, 3, {"policy": "asha", "rung": 1, "score": -0.4, "reason": "promoted"})
        assert isinstance(second, Start)

    def test_the_highest_rung_is_thawed_first_and_the_best_of_it(self) -> None:
        low = [trial(i, [0.1 + i / 10]) for i in range(3)]
        high = [trial(3 + i, [0.9, 0.9, 0.8 - i / 100]) for i in range(6)]
        assert resumed(study(*low, *high)) == [(8, 9), (7, 9), (0, 3), (1, 3), (2, 3)]

    def test_promotion_counts_those_who_have_gone_on_already(self) -> None:
        gone = [trial(i, [0.1, 0.1, 0.1], RUNNING, until=3) for i in range(2)]
        assert resumed(study(*gone, *(trial(2 + i, [0.5 + i / 10]) for i in range(4)))) == []

    def test_what_is_being_thawed_is_not_thawed_again(self) -> None:
        trials = [trial(i, [loss]) for i, loss in enumerate([0.5, 0.4, 0.9])]
        assert resumed(study(*trials, thawing=(1,))) == []

    def test_diverged_and_excluded_trials_are_never_thawed(self) -> None:
        trials = [trial(i, [math.nan]) for i in range(6)]
        assert resumed(study(*trials)) == []
        assert resumed(study(*(trial(i, [0.5], excluded=True) for i in range(6)))) == []

    def test_running_and_finished_trials_are_not_resumed(self) -> None:
        assert resumed(study(*(trial(i, [0.5], RUNNING) for i in range(6)))) == []
        assert resumed(study(*(trial(i, [0.5], COMPLETED) for i in range(6)))) == []

    def test_an_interrupted_trial_gets_what_it_was_granted_before_anything_else(self) -> None:
        promotable = [trial(i, [loss]) for i, loss in enumerate([0.5, 0.4, 0.9])]
        lost = trial(3, [0.7] * 5, until=9)
        assert resumed(study(*promotable, lost)) == [(3, 9), (1, 3)]

    def test_a_trial_paused_below_the_first_rung_is_led_up_to_it(self) -> None:
        assert resumed(study(trial(0, [0.5, 0.5]), resource=Resource("epoch", 27, 3))) == [(0, 3)]

    def test_a_list_that_is_used_up_does_not_leave_everything_paused(self) -> None:
        candidates = tuple({"lr": 10.0**-i} for i in range(3))
        trials = [
            trial(0, [0.5], candidate=0),
            trial(1, [0.4, 0.3, 0.2], candidate=1),
            trial(2, [math.nan], candidate=2),
        ]
        assert resumed(study(*trials, candidates=candidates)) == [(1, 9), (0, 3)]

    def test_as_long_as_something_is_left_to_start_the_rest_stays_paused(self) -> None:
        assert resumed(study(trial(0, [0.5]), trial(1, [0.4]))) == []


class TestWholeStudies:
    """A small simulation: one worker at a time, losses that fall towards each configuration's own asymptote."""

    def run(self, asks: int, candidates: tuple[dict[str, float], ...] | None = None) -> list[Trial]:
        trials: list[Trial] = []
        policy = Asha()
        for seed in range(asks):
            suggestions = policy.suggest(study(*trials, candidates=candidates), 1, seed)
            if not suggestions:
                break
            (suggestion,) = suggestions
            if isinstance(suggestion, Start):
                trials.append(
                    Trial(
                        len(trials),
                        suggestion.params,
                        RUNNING,
                        until_step=suggestion.until,
                        candidate=suggestion.candidate,
                    )
                )
                number, until = len(trials) - 1, suggestion.until
            else:
                number, until = suggestion.number, suggestion.until
            while True:
                trials[number] = self.trained(trials[number], until or 0)
                if until == EPOCHS.max:
                    trials[number] = self.trained(trials[number], EPOCHS.max, COMPLETED)
                    break
                decision = policy.decide(study(*trials, candidates=candidates), trials[number])
                if isinstance(decision, Pause):
                    trials[number] = self.trained(trials[number], until or 0, PAUSED)
                    break
                assert isinstance(decision, Continue)
                until = decision.until
        return trials

    def trained(self, one: Trial, until: int, state: TrialState = RUNNING) -> Trial:
        floor = abs(math.log10(one.params["lr"]) + 2)
        curve = tuple((step, floor + 1 / step) for step in range(1, until + 1))
        return Trial(one.number, one.params, state, {"loss": curve}, {}, until, until, one.candidate)

    def test_each_rung_holds_about_a_third_of_the_one_below(self) -> None:
        trials = self.run(120)
        counts = [sum(one.last_step >= rung for one in trials) for rung in (1, 3, 9, 27)]
        assert counts[0] > 60
        for below, above in pairwise(counts):
            assert below // 3 - 3 <= above <= below // 3 + 3

    def test_it_spends_its_epochs_on_the_good_ones(self) -> None:
        trials = self.run(120)
        finished = [abs(math.log10(one.params["lr"]) + 2) for one in trials if one.state is COMPLETED]
        others = [abs(math.log10(one.params["lr"]) + 2) for one in trials if one.last_step == 1]
        assert finished
        assert max(finished) < np.median(others)

    def test_a_finite_list_is_trained_to_the_end_of_all_that_is_worth_it(self) -> None:
        candidates = tuple({"lr": 10.0 ** (-i / 3)} for i in range(9))
        trials = self.run(1_000, candidates)
        assert sorted(one.candidate or 0 for one in trials) == list(range(9))
        assert all(one.state is COMPLETED for one in trials)

    def test_the_recommendation_is_the_best_that_was_seen_however_short(self) -> None:
        short, long_poor, long_good = trial(0, [0.8]), trial(1, [0.7] * 9), trial(2, [0.1] * 8 + [0.8])
        recommendation = Asha().recommend(study(short, long_poor, long_good))
        assert recommendation is not None
        assert (recommendation.number, recommendation.mean, recommendation.sd) == (1, {"loss": 0.7}, {})
        tied = Asha().recommend(study(short, long_good))
        assert tied is not None
        assert tied.number == 2


def test_asha_is_refused_without_a_resource() -> None:
    definition = Definition(SPACE, (Objective("loss"),))
    with pytest.raises(ValueError, match="needs a resource"):
        Asha().suggest(Study(definition), 1, 0)
    with pytest.raises(Exception, match="needs a resource"):
        build({"name": "asha"}, definition)
