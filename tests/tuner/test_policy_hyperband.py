"""Brackets of successive halving, and the model that may feed them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Continue, Pause, Resume, Start
from frazil_tuner.policies.bohb import Bohb, as_of, telling_rung
from frazil_tuner.policies.brackets import Brackets
from frazil_tuner.policies.hyperband import Hyperband
from frazil_tuner.space import Space

if TYPE_CHECKING:
    from collections.abc import Sequence

SPACE = Space.from_json([{"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True}])
EPOCHS = Resource("epoch", 27)
PAUSED, RUNNING, COMPLETED, FAILED = TrialState.PAUSED, TrialState.RUNNING, TrialState.COMPLETED, TrialState.FAILED


def trial(number: int, losses: Sequence[float], state: TrialState = PAUSED, lr: float = 0.1, **more: Any) -> Trial:
    return Trial(number, {"lr": lr}, state, {"loss": tuple(enumerate(losses, 1))}, {}, len(losses), len(losses), **more)


def study(*trials: Trial, resource: Resource = EPOCHS, direction: Any = "minimize") -> Study:
    return Study(Definition(SPACE, (Objective("loss", direction),), resource), trials)


def brackets(resource: Resource = EPOCHS, eta: int = 3) -> Brackets:
    return Brackets(study(resource=resource), eta, "hyperband")


def members(k: int, count: int) -> list[int]:
    """The first numbers that belong to a bracket."""
    return [number for number in range(500) if brackets().of(number) == k][:count]


class TestBrackets:
    def test_in_any_run_of_numbers_each_gets_its_share(self) -> None:
        """Rungs 1, 3, 9, 27: of 27 + 12 + 6 + 4 = 49 trials; the shares of hyperband's table 1 for R = 27."""
        for first in (0, 13, 1_000, 123_456):
            counts = Counter(brackets().of(number) for number in range(first, first + 49))
            assert [abs(counts[k] - size) <= 1 for k, size in enumerate([27, 12, 6, 4])] == [True] * 4

    def test_eta_and_the_rungs_set_the_shares(self) -> None:
        """Rungs 2, 8, 32, 100: ⌈4 · 4³/4⌉ + ⌈4 · 4²/3⌉ + ⌈4 · 4/2⌉ + 4."""
        counts = Counter(brackets(Resource("epoch", 100, 2), 4).of(number) for number in range(98))
        assert [abs(counts[k] - size) <= 1 for k, size in enumerate([64, 22, 8, 4])] == [True] * 4

    def test_each_begins_at_its_own_rung(self) -> None:
        assert [list(ladder.rungs) for ladder in brackets().ladders()] == [[1, 3, 9, 27], [3, 9, 27], [9, 27], [27]]

    def test_the_next_trials_begin_where_their_numbers_will_have_them(self) -> None:
        given = replace(study(trial(0, [0.5])), shelved=({"lr": 0.2},))
        untils = Brackets(given, 3, "hyperband").next_rungs()
        assert [next(untils) for _ in range(20)] == [[1, 3, 9, 27][brackets().of(2 + i)] for i in range(20)]

    def test_without_a_resource_there_are_none(self) -> None:
        with pytest.raises(ValueError, match="bohb needs a resource"):
            Brackets(Study(Definition(SPACE, (Objective("loss"),))), 3, "bohb")


class TestHyperband:
    def test_starts_go_to_the_first_rungs_of_their_brackets(self) -> None:
        starts = Hyperband().suggest(study(), 20, 0)
        assert [s.until for s in starts] == [[1, 3, 9, 27][brackets().of(i)] for i in range(20)]
        assert {s.why["policy"] for s in starts} == {"hyperband"}

    def test_a_trial_is_compared_with_its_own_bracket_alone(self) -> None:
        own, others = members(0, 6), members(1, 20)
        crowd = [trial(number, [0.1, 0.1, 0.1]) for number in others]
        poor = [trial(number, [0.9]) for number in own[:5]]
        arrived = trial(own[5], [0.5], RUNNING)
        decision = Hyperband().decide(study(*crowd, *poor, arrived), arrived)
        assert decision == Continue(3, "rank 1 of 6 at step 1; the best 2 go on")

    def test_promotion_is_by_bracket_and_eta(self) -> None:
        low, high = members(0, 4), members(2, 3)
        trials = [trial(n, [0.5 + n / 1e3]) for n in low] + [trial(n, [0.5 + n / 1e3] * 9) for n in high]
        thawed = [(s.number, s.until) for s in Hyperband().suggest(study(*trials), 5, 0) if isinstance(s, Resume)]
        assert thawed == [(low[0], 3), (high[0], 27)]
        four = [s.number for s in Hyperband(eta=4).suggest(study(*trials), 5, 0) if isinstance(s, Resume)]
        assert high[0] not in four

    @pytest.mark.parametrize("diverged", [math.nan, -math.inf])
    def test_what_diverged_is_never_promoted(self, diverged: float) -> None:
        numbers = members(0, 9)
        trials = [trial(number, [diverged]) for number in numbers]
        assert not [s for s in Hyperband().suggest(study(*trials), 3, 0) if isinstance(s, Resume)]
        arrived = replace(trials[0], state=RUNNING)
        assert isinstance(Hyperband().decide(study(arrived, *trials[1:]), arrived), Pause)

    def test_the_best_that_was_seen_is_recommended(self) -> None:
        found = Hyperband().recommend(study(trial(0, [0.5]), trial(1, [0.6] * 27, COMPLETED)))
        assert found is not None
        assert found.number == 0


class TestBohb:
    def test_the_model_looks_at_the_highest_rung_that_enough_have_reached(self) -> None:
        """d + 3 = 4 with finite scores."""
        reached = [trial(i, [0.5] * 9) for i in range(4)]
        lower = [trial(i, [0.5] * 3) for i in range(4, 9)]
        rungs = [1, 3, 9, 27]
        assert telling_rung(study(*reached, *lower), rungs) == 9
        assert telling_rung(study(*reached[1:], *lower), rungs) == 3
        assert telling_rung(study(*reached[1:], trial(0, [math.nan] * 9), *lower), rungs) == 3
        assert telling_rung(study(*reached[1:], replace(reached[0], excluded=True), *lower), rungs) == 3
        assert telling_rung(study(), rungs) == 1

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_the_study_is_seen_as_it_was_at_the_rung(self, direction: Any) -> None:
        trials = [
            trial(0, [0.9, 0.8, 0.7, 0.1], PAUSED),
            trial(1, [0.6], PAUSED),
            trial(2, [0.6], RUNNING),
            trial(3, [0.9, 0.5, 0.4], RUNNING),
            trial(4, [0.2] * 5, FAILED),
            trial(5, [0.9, 0.5, math.nan], PAUSED),
        ]
        given = study(*trials, direction=direction)
        seen = as_of(given, 3).trials
        assert [one.number for one in seen if one.state is COMPLETED] == [0, 3, 5]
        assert [one.values.get("loss") for one in (seen[0], seen[3])] == [0.7, 0.4]
        assert seen[5].score(given.objective) == seen[4].score(given.objective) == -math.inf
        assert (seen[1].excluded, seen[2].excluded, seen[2].state) == (True, False, RUNNING)

    def test_its_starts_come_from_the_model_and_begin_in_their_brackets(self) -> None:
        rng = np.random.default_rng(0)
        rates = 10 ** rng.uniform(-4, 0, 12)
        trials = [trial(i, [abs(math.log10(lr) + 2)] * 3, lr=lr) for i, lr in enumerate(rates)]
        # Nobody waits: all have finished, so that there is nothing to promote.
        ended = [replace(one, state=TrialState.PRUNED) for one in trials]
        starts = Bohb().suggest(study(*ended), 4, 0)
        assert all(isinstance(s, Start) and abs(math.log10(s.params["lr"]) + 2) < 1 for s in starts)
        assert [s.until for s in starts] == [[1, 3, 9, 27][brackets().of(12 + i)] for i in range(4)]
        assert {(s.why["policy"], s.why["learned_at"], s.why["acquisition"]) for s in starts} == {("bohb", 3, "log_ei")}
        assert not Bohb().is_light(study(*ended))
        assert Bohb().is_light(study(*ended[:3]))

    def test_what_waits_is_promoted_before_anything_is_started(self) -> None:
        numbers = members(0, 3)
        trials = [trial(n, [0.5 + n / 1e3]) for n in numbers]
        assert [s.number for s in Bohb().suggest(study(*trials), 1, 0) if isinstance(s, Resume)] == [numbers[0]]
        arrived = trial(numbers[0], [0.1], RUNNING)
        assert isinstance(Bohb(eta=2).decide(study(arrived, *trials[1:]), arrived), Continue)
        assert isinstance(Bohb(eta=4).decide(study(arrived, *trials[1:]), arrived), Pause)
