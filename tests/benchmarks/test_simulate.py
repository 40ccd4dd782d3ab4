"""A simulated study keeps the server's rules, whatever the policy; and its policies keep their promises on it."""

from __future__ import annotations

import math
import pickle
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from simulate import Broken, Leg, Story, World, simulate

from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import (
    POLICIES,
    Continue,
    Decision,
    Pause,
    Recommendation,
    Resume,
    Start,
    Stop,
    Suggestion,
    build,
)
from frazil_tuner.policies.model_free import best_trained
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True},
        {"name": "width", "type": "int", "low": 1, "high": 64, "log": True},
    ]
)
BUDGET = 240
TAKING_STEPS: Mapping[str, Mapping[str, Any]] = {
    "freeze_thaw": {"model": "last", "quantum": 2},
    "asha": {},
    "hyperband": {},
    "bohb": {},
    "median": {},
    "percentile": {},
    "pbt": {"population": 64},
    "prediction_stopping": {"suggester": "random"},
    "random": {},
}
"""The policies that are played out here, each with options that make it decide often."""


def world(candidates: int = 300, steps: int = 12, study_seed: int = 0, *, costs: bool = False) -> World:
    """Decaying noisy curves whose end depends on lr; every seventh diverges on its way, every ninth is huge."""
    rng = np.random.default_rng(0)
    points = tuple(SPACE.draw(rng) for _ in range(candidates))
    ends = np.array([abs(math.log10(point["lr"]) + 2) for point in points])
    losses = ends[:, None] + 2 / np.arange(1, steps + 1) + rng.normal(0, 0.02, (candidates, steps))
    losses[3::7, steps // 2 :] = math.nan
    losses[4::9] *= 1e30
    definition = Definition(SPACE, (Objective("loss"),), Resource("epoch", steps), points, study_seed)
    return World(definition, {"loss": losses}, rng.uniform(0.5, 2.0, candidates) if costs else None)


@cache
def told(name: str, workers: int = 1, seed: int = 0, **more: Any) -> Story:
    given = world(**more, study_seed=seed)
    policy = build({"name": name, **TAKING_STEPS[name]}, given.definition)
    return simulate(policy, given, budget=BUDGET, workers=workers, seed=seed, marks=[50, BUDGET])


def by(what: str, legs: Sequence[Leg]) -> Mapping[int, list[Leg]]:
    groups: dict[int, list[Leg]] = defaultdict(list)
    for leg in legs:
        groups[getattr(leg, what)].append(leg)
    return groups


def test_every_policy_that_needs_a_resource_to_resume_is_played_out() -> None:
    resuming = {name for name, policy in POLICIES.items() if policy.needs_resource}
    assert resuming - {name for name in resuming if POLICIES[name].scope.resource_kind == "restart"} <= set(
        TAKING_STEPS
    )


@pytest.mark.parametrize("workers", [1, 8, 64])
@pytest.mark.parametrize("name", TAKING_STEPS)
class TestEveryPolicy:
    def test_the_budget_is_spent_and_never_exceeded(self, name: str, workers: int) -> None:
        story = told(name, workers)
        assert story.spent == BUDGET
        assert sum(leg.until - leg.start for leg in story.legs) == BUDGET

    def test_no_run_goes_beyond_its_grant_or_the_maximum(self, name: str, workers: int) -> None:
        assert all(0 <= leg.start < leg.last <= leg.until <= 12 for leg in told(name, workers, costs=True).legs)

    def test_a_resumed_run_goes_on_where_it_paused_and_curves_have_no_gaps(self, name: str, workers: int) -> None:
        story, truth = told(name, workers, costs=True), world(costs=True)
        for number, legs in by("number", story.legs).items():
            assert legs[0].start == 0
            for before, after in pairwise(legs):
                assert before.last == after.start
                assert before.ended <= after.began
            trial = story.trials[number]
            np.testing.assert_array_equal(trial.curves["loss"], truth.curve("loss", legs[0].candidate)[: legs[-1].last])
            assert trial.last_step == legs[-1].last

    def test_a_worker_trains_one_run_at_a_time(self, name: str, workers: int) -> None:
        for legs in by("worker", told(name, workers, costs=True).legs).values():
            assert all(before.ended <= after.began for before, after in pairwise(legs))

    def test_no_candidate_is_started_twice(self, name: str, workers: int) -> None:
        candidates = [trial.candidate for trial in told(name, workers).trials]
        assert len(set(candidates)) == len(candidates)

    def test_the_same_seed_gives_the_same_story_and_another_a_different_one(self, name: str, workers: int) -> None:
        assert told(name, workers).legs == told.__wrapped__(name, workers).legs != told(name, workers, seed=1).legs

    def test_a_diverged_run_is_not_recommended(self, name: str, workers: int) -> None:
        story = told(name, workers)
        chosen = story.marks[BUDGET].number
        assert chosen is not None
        assert math.isfinite(story.trials[chosen].score(Objective("loss")) or math.nan)

    def test_many_workers_take_less_time(self, name: str, workers: int) -> None:
        assert told(name, workers).time <= BUDGET / min(workers, 4)


@pytest.mark.parametrize("name", TAKING_STEPS)
def test_a_question_asked_again_elsewhere_has_the_same_answer(name: str) -> None:
    given = world()
    recorder = Recorder(build({"name": name, **TAKING_STEPS[name]}, given.definition))
    simulate(recorder, given, budget=BUDGET, workers=3)
    fresh = build({"name": name, **TAKING_STEPS[name]}, given.definition)
    for method, arguments, answer in reversed(recorder.calls[:: 1 + len(recorder.calls) // 40]):
        assert getattr(fresh, method)(*pickle.loads(pickle.dumps(arguments))) == answer


@dataclass
class Recorder:
    """Hands questions on, and remembers them with their answers."""

    policy: Any
    calls: list[tuple[str, tuple[Any, ...], Any]] = field(default_factory=list)

    def suggest(self, study: Study, count: int, seed: int) -> Any:
        return self._note("suggest", study, count, seed)

    def decide(self, study: Study, trial: Trial) -> Any:
        return self._note("decide", study, trial)

    def recommend(self, study: Study) -> Any:
        return self._note("recommend", study)

    def _note(self, method: str, *arguments: Any) -> Any:
        answer = getattr(self.policy, method)(*arguments)
        self.calls.append((method, arguments, answer))
        return answer


# ── the simulator's own rules, on a policy that does as it is told ──────────────────────────────────────────────────


@dataclass
class Scripted:
    """Starts candidates in order, up to `until`; its decisions come from a list, by number and step."""

    until: int = 2
    decisions: Mapping[tuple[int, int], Decision] = field(default_factory=dict)
    thaw: Sequence[int] = ()
    most: int = 99
    seen: list[Study] = field(default_factory=list)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        self.seen.append(study)
        thawed: list[Suggestion] = [
            Resume(t.number, t.last_step + 1) for t in study.trials if t.state.paused and t.number in self.thaw
        ]
        first = len(study.trials)
        fresh = range(first, min(first + count, self.most))
        points = study.definition.candidates or ()
        return [*thawed, *(Start(points[i], self.until, i) for i in fresh)][:count]

    def decide(self, study: Study, trial: Trial) -> Decision:
        self.seen.append(study)
        return self.decisions.get((trial.number, trial.last_step), Stop("enough"))

    def recommend(self, study: Study) -> Recommendation | None:
        return best_trained(study)


def test_decisions_are_carried_out_and_grants_extended_paused_and_thawed() -> None:
    script = Scripted(decisions={(0, 2): Continue(5), (0, 5): Pause("for now")}, thaw=[0], most=2)
    story = simulate(script, world(), budget=30)
    assert [(leg.number, leg.start, leg.last, leg.verdict) for leg in story.legs] == [
        (0, 0, 5, "pause: for now"),
        (0, 5, 6, "stop: enough"),
        (1, 0, 2, "stop: enough"),
    ]
    assert [trial.state for trial in story.trials] == [TrialState.PRUNED, TrialState.PRUNED]
    assert story.time == 8


def test_the_maximum_and_the_budget_need_no_decision() -> None:
    story = simulate(Scripted(until=12), world(), budget=20)
    assert [leg.verdict for leg in story.legs] == ["complete", "budget"]
    assert [trial.state for trial in story.trials] == [TrialState.COMPLETED, TrialState.PAUSED]
    assert [trial.last_step for trial in story.trials] == [12, 8]
    assert story.trials[1].until_step == 8


def test_a_continued_run_gets_no_more_than_the_budget_has() -> None:
    story = simulate(Scripted(decisions={(0, 2): Continue(12)}), world(), budget=7)
    assert [(leg.last, leg.until, leg.verdict) for leg in story.legs] == [(7, 7, "budget")]


def test_a_worker_without_work_asks_again_at_the_next_instant() -> None:
    class Hesitant(Scripted):
        def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
            self.most = 1 + sum(trial.last_step > 0 for trial in study.trials)
            return super().suggest(study, count, seed)

    story = simulate(Hesitant(until=3), world(), budget=7, workers=8)
    assert [(leg.worker, leg.began) for leg in story.legs] == [(0, 0), (1, 1), (2, 2)]


def test_running_trials_are_seen_with_their_curves_so_far() -> None:
    script = Scripted(until=3, most=4)
    simulate(script, world(costs=True), budget=12, workers=2)
    first = next(study for study in script.seen if len(study.trials) == 2)
    states = {trial.state for trial in first.trials}
    assert TrialState.RUNNING in states
    for study in script.seen:
        for trial in study.trials:
            assert [step for step, _ in trial.curves["loss"]] == list(range(1, trial.last_step + 1))
    assert any(0 < t.last_step < 3 and t.state is TrialState.RUNNING for study in script.seen for t in study.trials)


def test_steps_take_the_time_they_cost() -> None:
    given = world(costs=True)
    story = simulate(Scripted(until=3, most=1), given, budget=30)
    assert given.step_cost is not None
    assert story.time == pytest.approx(3 * given.step_cost[0])


def test_values_of_one_instant_are_known_to_all_its_decisions() -> None:
    script = Scripted(until=2, most=3)
    simulate(script, world(), budget=30, workers=3)
    deciding = [study for study in script.seen if study.trials and study.trials[0].state is TrialState.RUNNING]
    assert [[t.last_step for t in study.trials] for study in deciding] == [[2, 2, 2]] * 3


def test_a_mark_is_noted_at_its_very_step_and_one_beyond_the_end_at_the_end() -> None:
    given = world()
    story = simulate(Scripted(until=4, most=3), given, budget=99, workers=3, marks=[5, 12, 80])
    assert {mark: found.spent for mark, found in story.marks.items()} == {5: 5, 12: 12, 80: 12}
    assert [story.marks[mark].time for mark in (5, 12, 80)] == [2, 4, 4]
    best = min(range(3), key=lambda i: given.curves["loss"][i, 1] if i < 2 else math.inf)
    assert story.marks[5].candidate == best


def test_nothing_is_recommended_before_anything_is_finite() -> None:
    given = world()
    given.curves["loss"][0] = math.nan
    assert simulate(Scripted(most=1), given, budget=9, marks=[1]).marks[1].candidate is None


@dataclass
class Rogue(Scripted):
    """Says what no policy may say."""

    says: Any = None

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        if not study.trials:
            return super().suggest(study, count, seed)
        points = study.definition.candidates or ()
        return [self.says(points)]

    def decide(self, study: Study, trial: Trial) -> Decision:
        return self.decisions.get((trial.number, trial.last_step), Pause())


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (lambda points: Start(points[0], 2, 0), "candidate 0 is started again"),
        (lambda points: Start(points[1], 13, 1), "up to step 13 of 12"),
        (lambda points: Start(points[1], None, 1), "up to step None"),
        (lambda points: Start(points[1], 2), "no candidate is named"),
        (lambda points: Resume(7, 3), "trial 7 is resumed, which is unknown"),
        (lambda points: Resume(0, 2), "resumes at step 2 up to step 2"),
    ],
)
def test_a_suggestion_that_the_server_would_not_bear_is_an_error(says: Any, message: str) -> None:
    with pytest.raises(Broken, match=message):
        simulate(Rogue(says=says), world(), budget=30)


def test_a_finished_trial_is_not_resumed_and_none_continues_backwards() -> None:
    with pytest.raises(Broken, match="resumed, which is COMPLETED"):
        simulate(Rogue(until=12, says=lambda points: Resume(0, 12)), world(), budget=30)
    with pytest.raises(Broken, match="continues at step 2 up to step 2"):
        simulate(Scripted(decisions={(0, 2): Continue(2)}), world(), budget=30)


def test_more_suggestions_than_workers_are_an_error() -> None:
    class Eager(Scripted):
        def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
            return super().suggest(study, count + 1, seed)

    with pytest.raises(Broken, match="2 suggestions for 1 workers"):
        simulate(Eager(), world(), budget=30)


def test_the_fit_of_the_newest_suggestion_is_handed_back() -> None:
    class Fitting(Scripted):
        def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
            self.seen.append(study)
            i = len(study.trials)
            assert study.definition.candidates
            return [Start(study.definition.candidates[i], 2, i, {"fit": {"loss": i}})] if i < 3 else []

    script = Fitting()
    simulate(script, world(), budget=30)
    fits = [study.last_fit for study in script.seen if len(study.trials) in (0, 2)]
    assert fits[0] is None
    assert fits[-1] == {"loss": 1}
