"""The next steps go where they are worth most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frazil_tuner.curves import Where
from frazil_tuner.errors import Refused
from frazil_tuner.history import (
    ELAPSED,
    Curve,
    Definition,
    Objective,
    OutcomeConstraint,
    Resource,
    Study,
    Trial,
    TrialState,
)
from frazil_tuner.policies import Continue, Pause, Resume, Start, Stop, build, half_trained
from frazil_tuner.policies.half_trained import Runs, outlook_of, price_curves, scalarised
from frazil_tuner.policies.next_steps import Candidates, entropy, improvement, information, knowledge, left, mfpi
from frazil_tuner.space import Space

SPACE = Space.from_json([{"name": "lr", "type": "float", "low": 0, "high": 1}])
EPOCHS = Resource("epoch", 20)
LOSS = Objective("loss")
DEFINITION = Definition(SPACE, (LOSS,), EPOCHS)
PAUSED, RUNNING = TrialState.PAUSED, TrialState.RUNNING


def loss(lr: float, step: int) -> float:
    """Learns fast at first; ends best near lr = 0.3."""
    return (lr - 0.3) ** 2 + 0.2 + math.exp(-step / 4)


def curve(lr: float, last: int, of: Callable[[float, int], float] = loss) -> Curve:
    return tuple((step, of(lr, step)) for step in range(1, last + 1))


def run(number: int, lr: float, last: int, state: TrialState = PAUSED, **more: Any) -> Trial:
    curves = more.pop("curves", {"loss": curve(lr, last)})
    return Trial(number, {"lr": lr}, state, curves, last_step=last, until_step=last, **more)


def study(*trials: Trial, definition: Definition = DEFINITION, **more: Any) -> Study:
    return Study(definition, trials, **more)


def policy(definition: Definition = DEFINITION, **options: Any) -> Any:
    return build({"name": "freeze_thaw", "model": "gp", **options}, definition)


SPREAD = tuple(run(i, lr, 6) for i, lr in enumerate((0.05, 0.2, 0.4, 0.6, 0.8, 0.95)))


# ── suggestions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_curves_it_starts_where_the_space_is_filled_for_one_grant() -> None:
    starts = policy().suggest(study(), 3, 0)
    assert [type(start) for start in starts] == [Start] * 3
    assert {start.until for start in starts} == {1}


@pytest.mark.parametrize(
    ("maximum", "minimum", "quantum", "granted"),
    [(20, 1, 0, 1), (500, 1, 0, 10), (500, 30, 0, 30), (500, 1, 7, 7), (20, 3, 1, 3)],
)
def test_a_grant_is_the_quantum_and_no_less_than_the_minimum(
    maximum: int, minimum: int, quantum: int, granted: int
) -> None:
    definition = replace(DEFINITION, resource=Resource("epoch", maximum, minimum))
    (start,) = policy(definition, quantum=quantum).suggest(study(definition=definition), 1, 0)
    assert start.until == granted


def test_no_grant_exceeds_the_maximum() -> None:
    candidates = ({"lr": 0.3},)
    trials = (replace(run(0, 0.3, 18), candidate=0),)
    definition = replace(DEFINITION, candidates=candidates)
    (resume,) = policy(definition, quantum=7).suggest(study(*trials, definition=definition), 1, 0)
    assert (resume.number, resume.until) == (0, 20)


@pytest.mark.parametrize("acquisition", ["knowledge", "improvement", "mfpi"])
def test_the_most_promising_frozen_run_is_thawed_when_nothing_can_be_begun(acquisition: str) -> None:
    definition = replace(DEFINITION, candidates=tuple({"lr": t.params["lr"]} for t in SPREAD))
    trials = tuple(replace(trial, candidate=i) for i, trial in enumerate(SPREAD))
    asked = policy(definition, acquisition=acquisition)
    chosen = [asked.suggest(study(*trials, definition=definition), 1, seed)[0].number for seed in range(5)]
    assert set(chosen) <= {1, 2}  # of lr 0.2 and 0.4


def test_what_is_thawing_already_is_not_thawed_again() -> None:
    definition = replace(DEFINITION, candidates=tuple({"lr": t.params["lr"]} for t in SPREAD))
    trials = tuple(replace(trial, candidate=i) for i, trial in enumerate(SPREAD))
    suggestions = policy(definition).suggest(study(*trials, definition=definition, thawing=(1, 2)), 6, 0)
    assert sorted(resume.number for resume in suggestions) == [0, 3, 4, 5]


def test_new_configurations_are_begun_where_curves_are_expected_to_end_well() -> None:
    away = (*np.linspace(0.0, 0.12, 8), *np.linspace(0.5, 1.0, 12))
    poor = tuple(run(i, float(lr), 20, TrialState.COMPLETED) for i, lr in enumerate(away))
    starts = policy().suggest(study(*poor), 4, 0)
    assert all(isinstance(start, Start) for start in starts)
    assert np.mean([abs(start.params["lr"] - 0.3) for start in starts]) < 0.15


def test_suggestions_say_why() -> None:
    (suggestion,) = policy(acquisition="mfpi").suggest(study(*SPREAD), 1, 0)
    facts = {name: suggestion.why[name] for name in ("policy", "model", "acquisition", "runs", "observations")}
    assert facts == {"policy": "freeze_thaw", "model": "gp", "acquisition": "mfpi", "runs": 6, "observations": 36}
    assert suggestion.why["fit"]["loss"]["observations"] == 36


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_best_run_goes_on_and_a_hopeless_one_is_frozen() -> None:
    trials = [*SPREAD, run(6, 0.3, 6, RUNNING), run(7, 0.9, 6, RUNNING)]
    greedy = policy(acquisition="improvement")
    assert isinstance(greedy.decide(study(*trials), trials[6]), Continue)
    assert isinstance(greedy.decide(study(*trials), trials[7]), Pause)


def test_a_run_of_which_little_is_known_goes_on_and_one_that_is_decided_waits() -> None:
    rivals = [run(6, 0.3, 2, RUNNING), run(7, 0.31, 19), run(8, 0.9, 19, RUNNING)]
    definition = replace(DEFINITION, candidates=tuple({"lr": trial.params["lr"]} for trial in (*SPREAD, *rivals)))
    trials = [replace(trial, candidate=i) for i, trial in enumerate((*SPREAD, *rivals))]
    decided = [policy(definition).decide(study(*trials, definition=definition), trials[i]) for i in (6, 8)]
    assert [type(decision) for decision in decided] == [Continue, Pause]


def test_the_first_run_goes_on_when_nothing_else_is_known() -> None:
    first = run(0, 0.5, 1, RUNNING, curves={})
    decision = policy().decide(study(first), first)
    assert decision == Continue(2, "nothing to compare with yet")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_run_that_diverged_is_stopped(value: float) -> None:
    gone = run(6, 0.3, 2, RUNNING, curves={"loss": ((1, 0.5), (2, value))})
    assert policy().decide(study(*SPREAD, gone), gone) == Stop("diverged")


def test_dear_switching_keeps_a_run_going() -> None:
    near = run(6, 0.42, 6, RUNNING)
    trials = study(*SPREAD, run(7, 0.35, 6), near)
    assert isinstance(policy().decide(trials, near), Pause)
    assert isinstance(policy(start_cost=1e6, thaw_cost=1e6).decide(trials, near), Continue)


def test_the_same_study_gives_the_same_decision() -> None:
    trial = run(6, 0.33, 6, RUNNING)
    decisions = {policy(acquisition="mfpi").decide(study(*SPREAD, trial), trial) for _ in range(3)}
    assert len(decisions) == 1


# ── recommendations ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_decisions_on_one_snapshot_share_one_fit_and_are_those_of_fits_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = [run(i, lr, 6, RUNNING) for i, lr in enumerate((0.05, 0.3, 0.95))]
    given = study(*running, run(3, 0.5, 6))
    alone = [policy().decide(replace(given), trial) for trial in running]
    fits = []
    monkeypatch.setattr(half_trained, "outlook_of", lambda *a, **k: (fits.append(1), outlook_of(*a, **k))[1])
    together = [policy().decide(given, trial) for trial in running]
    assert together == alone
    assert len(fits) == 1
    policy().decide(replace(given), running[0])
    assert len(fits) == 2


def test_with_several_objectives_every_decision_has_weights_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = replace(DEFINITION, objectives=(LOSS, Objective("size")))
    trials = [
        run(i, lr, 6, RUNNING, curves={"loss": curve(lr, 6), "size": curve(1 - lr, 6)})
        for i, lr in enumerate((0.1, 0.7))
    ]
    given, weights = study(*trials, definition=definition), []

    def noted(runs: Runs, *args: Any, **options: Any) -> Any:
        weights.append(runs.weights[0])
        return outlook_of(runs, *args, **options)

    monkeypatch.setattr(half_trained, "outlook_of", noted)
    for trial in trials:
        policy(definition).decide(given, trial)
    assert len(set(weights)) == 2


def test_the_run_that_is_believed_to_end_best_is_recommended_though_another_is_lower_now() -> None:
    trials = (*SPREAD[2:], run(0, 0.05, 20, TrialState.COMPLETED), run(1, 0.3, 4))
    assert trials[-2].curves["loss"][-1][1] < trials[-1].curves["loss"][-1][1]
    recommendation = policy().recommend(study(*trials))
    assert recommendation.number == 1
    assert recommendation.mean["loss"] == pytest.approx(loss(0.3, 20), abs=0.1)
    assert recommendation.sd["loss"] > 0


def test_a_failed_run_is_never_recommended() -> None:
    failed = run(9, 0.3, 20, TrialState.FAILED)
    assert policy().recommend(study(*SPREAD, failed)).number != 9


def test_with_the_best_value_counting_a_run_that_rises_again_is_worth_its_minimum() -> None:
    def rising(lr: float, step: int) -> float:
        return loss(lr, min(step, 8)) - 0.3 * (lr > 0.5) * (step == 8) + 0.2 * max(step - 8, 0) * (lr > 0.5)

    trials = [
        run(i, lr, 20, TrialState.COMPLETED, curves={"loss": curve(lr, 20, rising)})
        for i, lr in enumerate((0.1, 0.25, 0.35, 0.55, 0.9))
    ]
    best = replace(DEFINITION, objectives=(Objective("loss", summary="best"),))
    assert policy().recommend(study(*trials)).number in (1, 2)
    assert policy(best).recommend(study(*trials, definition=best)).number == 3


# ── constraints, costs, several objectives ───────────────────────────────────────────────────────────────────────────


def test_runs_that_will_be_out_of_bounds_are_neither_continued_nor_recommended() -> None:
    def with_size(trial: Trial) -> Trial:
        size = 100.0 if 0.15 < trial.params["lr"] < 0.5 else 10.0
        return replace(trial, curves={**trial.curves, "size": tuple((step, size) for step, _ in trial.curves["loss"])})

    definition = replace(DEFINITION, outcome_constraints=(OutcomeConstraint.parse("size <= 50"),))
    trials = [with_size(trial) for trial in (*SPREAD, run(6, 0.1, 6), run(7, 0.3, 6, RUNNING))]
    bounded = study(*trials, definition=definition)
    assert policy(definition).recommend(bounded).number in (0, 6)
    greedy = {"acquisition": "improvement"}
    assert isinstance(policy(definition, **greedy).decide(bounded, trials[7]), Pause)
    assert isinstance(policy(**greedy).decide(study(*trials), trials[7]), Continue)


def test_dear_configurations_wait_for_cheap_ones() -> None:
    def priced(trial: Trial) -> Trial:
        price = 50.0 if trial.params["lr"] < 0.3 else 1.0
        steps = tuple((step, price) for step, _ in trial.curves["loss"])
        return replace(trial, curves={**trial.curves, "seconds": steps})

    definition = replace(DEFINITION, cost="seconds", candidates=tuple({"lr": t.params["lr"]} for t in SPREAD))
    trials = tuple(priced(replace(trial, candidate=i)) for i, trial in enumerate(SPREAD))
    priced_study = study(*trials, definition=definition)
    (resume,) = policy(definition).suggest(priced_study, 1, 0)
    assert resume.number == 2  # lr 0.4, not 0.2
    prices = price_curves(priced_study, "seconds")
    assert set(np.round(np.exp(prices.score), 9)) == {1.0, 50.0}


def test_the_price_of_a_step_is_what_the_clock_went_on_since_the_report_before() -> None:
    definition = replace(DEFINITION, cost=ELAPSED)
    clocks = {0: ((1, 2.0), (2, 5.0), (4, 9.0)), 1: ((2, 8.0), (3, 1.0), (4, 3.0))}  # the second was resumed elsewhere
    trials = [run(i, 0.1 + i / 10, 4, curves={"loss": curve(0.1, 4), ELAPSED: clock}) for i, clock in clocks.items()]
    prices = price_curves(study(*trials, definition=definition), ELAPSED)
    found = list(zip(prices.owner.tolist(), prices.step.tolist(), np.exp(prices.score).round(6).tolist(), strict=True))
    assert found == [(0, 1, 2.0), (0, 2, 3.0), (0, 4, 2.0), (1, 2, 4.0), (1, 4, 2.0)]


def test_several_objectives_become_one_score_that_prefers_what_is_better_in_all() -> None:
    definition = replace(DEFINITION, objectives=(LOSS, Objective("size")))
    values = {0: (0.1, 1.0), 1: (0.2, 2.0), 2: (0.3, 3.0), 3: (math.nan, 0.5)}
    trials = [
        run(i, i / 10, 1, curves={"loss": ((1, a),), "size": ((1, b),)}) for i, (a, b) in values.items()
    ]  # fmt: skip
    runs = Runs.of(study(*trials, definition=definition))
    scores = dict(zip(runs.curves.owner.tolist(), runs.curves.score.tolist(), strict=True))
    assert scores[0] > scores[1] > scores[2] > scores[3] == -math.inf


def test_a_step_at_which_one_of_several_objectives_is_missing_says_nothing() -> None:
    definition = replace(DEFINITION, objectives=(LOSS, Objective("size")))
    trial = run(0, 0.1, 3, curves={"loss": curve(0.1, 3), "size": ((1, 1.0), (3, 2.0))})
    assert Runs.of(study(trial, definition=definition)).curves.step.tolist() == [1, 3]


def test_weights_decide_which_objective_counts() -> None:
    definition = replace(DEFINITION, objectives=(LOSS, Objective("size")))
    trials = [run(i, i / 10, 1, curves={"loss": ((1, i / 10),), "size": ((1, 1 - i / 10),)}) for i in range(9)]
    alone = [replace(definition, objectives=(objective,)) for objective in definition.objectives]
    parts = [Runs.of(study(*trials, definition=one)).curves for one in alone]
    assert int(np.argmax(scalarised(parts, np.array([0.99, 0.01])).score)) == 0
    assert int(np.argmax(scalarised(parts, np.array([0.01, 0.99])).score)) == 8


# ── the bar, and the acquisitions ────────────────────────────────────────────────────────────────────────────────────


def outlook(*trials: Trial) -> Any:
    return outlook_of(Runs.of(study(*trials)), "gp")


def test_noise_does_not_set_the_bar() -> None:
    rng = np.random.default_rng(0)
    noisy = [
        run(i, 0.5, 20, curves={"loss": tuple((t, loss(0.5, t) + 0.05 * rng.standard_normal()) for t in range(1, 21))})
        for i in range(8)
    ]
    lowest = min(value for trial in noisy for _, value in trial.curves["loss"])
    top, gain = outlook(*noisy).standing.bar
    assert -top > lowest + 0.03
    assert gain == pytest.approx(loss(0.5, 1) - loss(0.5, 20), abs=0.1)


def test_pending_and_imagined_values_do_not_raise_the_bar() -> None:
    here = outlook(*SPREAD, run(6, 0.3, 6, RUNNING))
    dreamt = here.given(Where(np.array([[0.3]]), np.array([6]), np.array([20])))
    assert dreamt.standing.bar == here.standing.bar
    assert dreamt.standing.best_end == here.standing.best_end


def candidates(here: Any, rows: list[int]) -> Candidates:
    owner = np.array(rows)
    last = here.runs.last[owner]
    return Candidates(here.runs.curves.x[owner], owner, last, last + 1, np.zeros(len(owner)))


def test_improvement_is_what_the_ends_are_expected_to_be_better_by() -> None:
    here = outlook(*SPREAD)
    worth = improvement(here, candidates(here, list(range(6))), np.random.default_rng(0))
    draws = here.score.at(here.runs.at_end(np.arange(6)), noisy=False)
    levels = np.stack([draws.quantile(q) for q in (np.arange(4_000) + 0.5) / 4_000])
    assert worth == pytest.approx(np.maximum(levels - here.standing.best_end, 0).mean(0), rel=0.02, abs=1e-5)


def test_knowing_all_of_a_run_is_worth_its_expected_improvement() -> None:
    here = outlook(*SPREAD)
    one_step_left = replace(candidates(here, [0, 4]), last=np.full(2, 19), granted=np.full(2, 20))
    last = [acquire(here, one_step_left, np.random.default_rng(0)) for acquire in (knowledge, improvement)]
    assert last[0] == pytest.approx(last[1], rel=1e-6)


def test_knowing_more_of_the_best_run_is_worth_what_it_may_be_worse_than_the_second() -> None:
    here = outlook(*SPREAD, run(6, 0.3, 6))
    best, second = here.runs.seen[np.argsort(-here.standing.ends)[:2]].tolist()
    all_at_once = replace(candidates(here, [best]), last=np.array([19]), granted=np.array([20]))
    draws = here.score.at(here.runs.at_end(np.array([best])), noisy=False)
    levels = np.array([draws.quantile(q)[0] for q in (np.arange(4_000) + 0.5) / 4_000])
    bar = here.standing.ends[here.runs.seen.tolist().index(second)]
    expected = np.maximum(bar - levels, 0.0).mean()
    assert knowledge(here, all_at_once, np.random.default_rng(0))[0] == pytest.approx(expected, rel=0.02)


def test_the_first_steps_tell_most_and_dear_ones_are_worth_less() -> None:
    here = outlook(*SPREAD)
    rng = np.random.default_rng(0)
    whole = candidates(here, [1, 1, 1])
    late = replace(whole, last=np.array([0, 6, 6]), granted=np.array([1, 7, 7]), extra=np.array([0.0, 0.0, 5.0]))
    worth = knowledge(here, late, rng)
    assert worth[0] > worth[1] > worth[2] > 0


def test_what_is_left_to_know_falls_from_all_to_nothing() -> None:
    shares = np.linspace(0, 1, 50)
    assert left(np.array([0.0, 0.02, 1.0])) == pytest.approx([1.0, 0.49, 0.0], abs=1e-6)
    assert (np.diff(left(shares)) < 0).all()


def test_mfpi_takes_one_horizon_and_one_threshold_for_all() -> None:
    here = outlook(*SPREAD)
    both = mfpi(here, candidates(here, [1, 1]), np.random.default_rng(3))
    alone = mfpi(here, candidates(here, [1]), np.random.default_rng(3))
    assert both == pytest.approx(alone[0], rel=1e-9)
    assert len({mfpi(here, candidates(here, [1]), np.random.default_rng(i))[0] for i in range(5)}) == 5


def test_a_value_that_decides_the_winner_tells_all_and_one_that_is_noise_nothing() -> None:
    rng = np.random.default_rng(0)
    winner = rng.permutation(4_096) % 2
    assert information(winner, winner + 0.01 * rng.random(4_096), 2) == pytest.approx(math.log(2), abs=0.01)
    assert information(winner, rng.random(4_096), 2) == pytest.approx(0.0, abs=0.005)


def test_entropy_looks_where_the_winner_is_undecided() -> None:
    here = outlook(*SPREAD, run(6, 0.3, 3), run(7, 0.9, 19))
    worth = entropy(here, candidates(here, list(range(8))), np.random.default_rng(0))
    assert worth.argmax() in (1, 2, 6)
    assert worth[7] < 0.2 * worth.max()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_needs_a_resource_that_can_be_resumed() -> None:
    with pytest.raises(Refused, match="resource"):
        policy(replace(DEFINITION, resource=None))
    with pytest.raises(Refused, match="multi_fidelity"):
        policy(replace(DEFINITION, resource=Resource("data", 9, kind="restart")))


def test_a_quantum_beyond_the_maximum_is_refused() -> None:
    with pytest.raises(Refused, match="quantum"):
        policy(quantum=21)


def test_two_hundred_curves_with_wild_values_are_answered() -> None:
    rng = np.random.default_rng(0)
    trials = []
    for i in range(200):
        values = [loss(rng.random(), t) for t in range(1, 101)]
        if i % 10 == 0:
            values[50] = math.nan
        if i % 10 == 5:
            values[70] = 1e30
        trials.append(run(i, rng.random(), 100, curves={"loss": tuple(enumerate(values, 1))}))
    definition = replace(DEFINITION, resource=Resource("epoch", 200))
    wild = study(*trials, definition=definition)
    assert len(policy(definition).suggest(wild, 2, 0)) == 2
    assert all(isinstance(s, Start | Resume) for s in policy(definition).suggest(wild, 2, 0))
