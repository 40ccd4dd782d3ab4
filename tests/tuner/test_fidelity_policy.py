"""Choosing how much of the resource a run gets, where more of it means training again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Continue, Pause, Resume, Start, build, describe
from frazil_tuner.policies.bayes import Bayes
from frazil_tuner.policies.fidelities import (
    Pending,
    Tariff,
    affine,
    fidelities_of,
    pending_of,
    reach,
    runs_of,
    tariff_of,
)
from frazil_tuner.policies.multi_fidelity import MultiFidelity, _trained
from frazil_tuner.space import Space

DATA = Resource("data", 9, kind="restart")
SPACE = Space.from_json([{"name": name, "type": "float", "low": 0, "high": 1} for name in "ab"])
STUDY = Definition(SPACE, (Objective("loss"),), DATA)
PAUSED, COMPLETED, RUNNING = TrialState.PAUSED, TrialState.COMPLETED, TrialState.RUNNING


def branin(params: Mapping[str, Any], share: float) -> float:
    """As in Emukit and BoTorch: what is left out of the resource bends the valley."""
    a, b = 15 * params["a"] - 5, 15 * params["b"]
    bend = 5.1 / (4 * math.pi**2) - 0.1 * (1 - share)
    return float((b - bend * a**2 + 5 / math.pi * a - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


def ran(number: int, params: Mapping[str, Any], step: int, value: float, **more: Any) -> Trial:
    """A trial that waits at the end of its grant, or is complete."""
    state = COMPLETED if step == 9 else PAUSED
    return Trial(number, params, state, {"loss": ((step, value),)}, {}, step, step, **more)


def history(n: int = 18, definition: Definition = STUDY, seed: int = 0) -> Study:
    """Random points, most of them trained with a ninth of the data."""
    rng = np.random.default_rng(seed)
    steps = [9 if i % 6 == 5 else 3 if i % 6 == 4 else 1 for i in range(n)]
    points = [SPACE.draw(rng) for _ in steps]
    trials = [ran(i, x, step, branin(x, step / 9)) for i, (x, step) in enumerate(zip(points, steps, strict=True))]
    return Study(definition, tuple(trials))


# ── what was seen ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("least", "most", "steps"),
    [
        (1, 9, (1, 3, 9)),
        (1, 81, (3, 9, 27, 81)),
        (1, 100, (4, 11, 33, 100)),
        (20, 100, (20, 33, 100)),
        (1, 3, (1, 2, 3)),
        (5, 5, (5,)),
    ],
)
def test_fidelities_are_thirds_of_the_maximum_down_to_the_minimum(least: int, most: int, steps: Any) -> None:
    assert fidelities_of(Resource("data", most, least, "restart")) == steps


def test_a_trial_counts_at_every_fidelity_it_has_shown_a_value_at() -> None:
    point = {"a": 0.1, "b": 0.2}
    curve = tuple((step, 10.0 - step) for step in range(1, 10))
    whole = Trial(0, point, COMPLETED, {"loss": curve}, {}, 9, 9)
    sparse = Trial(1, point, PAUSED, {"loss": ((2, 7.0), (3, 6.0))}, {}, 3, 3)
    midway = Trial(2, point, RUNNING, {"loss": curve[:5]}, {}, 5, 9)
    begun = Trial(3, point, RUNNING, {}, {}, 0, 9)
    told = Trial(4, point, COMPLETED, {}, {"loss": 4.5}, 0, 3)
    failed = Trial(5, point, TrialState.FAILED, {"loss": curve[:5]}, {}, 5, 9)
    study = Study(STUDY, (whole, sparse, midway, begun, told, failed))
    seen = [(run.number, run.last_step, -run.score(study.objective)) for run in runs_of(study)]  # type: ignore[operator]
    assert seen == [(0, 1, 9.0), (0, 3, 7.0), (0, 9, 1.0), (1, 3, 6.0), (2, 1, 9.0), (2, 3, 7.0), (4, 3, 4.5)]
    assert [reach(study, trial) for trial in study.trials[:5]] == [9, 3, 3, 0, 3]


def test_with_the_best_value_for_a_summary_a_cheap_run_has_the_best_of_its_steps() -> None:
    definition = replace(STUDY, objectives=(Objective("loss", summary="best"),))
    curve = ((1, 5.0), (2, 2.0), (3, 4.0), (9, 3.0))
    study = Study(definition, (Trial(0, {"a": 0.1, "b": 0.2}, COMPLETED, {"loss": curve}, {}, 9, 9),))
    assert [run.score(study.objective) for run in runs_of(study)] == [-5.0, -2.0, -2.0]


def test_what_runs_is_pending_at_its_grant_and_what_waits_is_not() -> None:
    point = {"a": 0.1, "b": 0.2}
    waiting, thawing = ran(0, point, 1, 5.0), ran(1, point, 1, 5.0)
    interrupted = replace(ran(2, point, 1, 5.0), until_step=3)
    running = Trial(3, point, RUNNING, {}, {}, 0, 3)
    queued = Trial(4, point, TrialState.QUEUED)
    shelved = {"a": 0.5, "b": 0.5}
    study = Study(STUDY, (waiting, thawing, interrupted, running, queued), (shelved,), thawing=(1,))
    pending = [Pending(point, 9), Pending(point, 3), Pending(point, 3), Pending(point, 9), Pending(shelved, 9)]
    assert pending_of(study) == pending


# ── costs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fixed_and_a_variable_cost_are_told_apart() -> None:
    steps = np.array([1.0, 3.0, 9.0, 9.0])
    assert affine(steps, 20 + 2 * steps) == pytest.approx((20, 2))
    assert affine(steps, 3 * steps) == pytest.approx((0, 3))
    assert affine(steps[2:], np.array([18.0, 36.0])) == (0, 3)


def test_a_tariff_is_fixed_and_by_step() -> None:
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert Tariff(9, 5.0, 2.0).log_price(x, 1 / 3).exp().item() == pytest.approx(11)


@pytest.mark.parametrize(("cost", "price"), [(None, 3.0), (2.5, 7.5)])
def test_without_a_metric_runs_cost_what_their_steps_do(cost: float | None, price: float) -> None:
    study = history(definition=replace(STUDY, cost=cost))
    tariff = tariff_of(study, runs_of(study))
    log_price = tariff.log_price(torch.zeros(2, 2, dtype=torch.float64), 3 / 9)
    assert log_price.exp().tolist() == pytest.approx([price, price])


def test_costs_are_learned_from_what_was_reported_and_may_differ_between_points() -> None:
    study = history(24, replace(STUDY, cost="seconds"))
    trials = [
        replace(trial, cost=(20 + 2 * trial.last_step) * math.exp(1.5 * trial.params["a"])) for trial in study.trials
    ]
    tariff = tariff_of(study, runs_of(replace(study, trials=tuple(trials))))
    x = torch.tensor([[0.1, 0.5], [0.9, 0.5]], dtype=torch.float64)
    for share in (1 / 9, 1.0):
        expected = [(20 + 18 * share) * math.exp(1.5 * a) for a in (0.1, 0.9)]
        assert tariff.log_price(x, share).exp().tolist() == pytest.approx(expected, rel=0.25)


def test_a_dear_start_makes_for_longer_runs() -> None:
    def mean_step(fixed: float) -> float:
        study = history(24, replace(STUDY, cost="seconds"))
        trials = tuple(replace(trial, cost=fixed + trial.last_step) for trial in study.trials)
        starts = MultiFidelity().suggest(replace(study, trials=trials), 4, 1)
        return float(np.mean([start.until for start in starts]))

    assert mean_step(1000.0) == 9 > mean_step(0.01)


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_ends_at_its_grant_and_one_without_gets_everything() -> None:
    point = {"a": 0.1, "b": 0.2}
    decide = MultiFidelity().decide
    arrived, midway = Trial(0, point, RUNNING, {}, {}, 3, 3), Trial(1, point, RUNNING, {}, {}, 2, 3)
    enqueued = Trial(2, point, TrialState.QUEUED)
    study = Study(STUDY, (arrived, midway, enqueued))
    assert isinstance(decide(study, arrived), Pause)
    assert decide(study, midway) == Continue(3)
    assert decide(study, enqueued) == Continue(9)


def test_the_first_trials_are_mostly_cheap_and_one_is_whole() -> None:
    starts = MultiFidelity().suggest(Study(STUDY), 6, 0)
    assert [start.until for start in starts] == [1, 1, 3, 9, 1, 1]
    assert len({SPACE.key(start.params) for start in starts if isinstance(start, Start)}) == 6
    later = MultiFidelity().suggest(Study(STUDY, history(3).trials), 2, 0)
    assert [start.until for start in later] == [9, 1]


def test_a_suggestion_says_its_fidelity_cost_and_value() -> None:
    (suggestion,) = MultiFidelity(surrogate="coregional", acquisition="log_ei").suggest(history(), 1, 0)
    why = suggestion.why
    assert why["fidelity"] == suggestion.until
    assert why["cost"] == pytest.approx(suggestion.until)
    assert math.isfinite(why["value"])
    assert (why["surrogate"], why["acquisition"], why["pending"]) == ("coregional", "log_ei", 0)
    assert why["because"] == "18 values at 3 fidelities"
    assert why["fit"]["loss"]["surrogate"] == "coregional"


CANDIDATES = tuple({"a": a, "b": b} for a in (0.1, 0.5, 0.9) for b in (0.1, 0.5, 0.9))


def listed(step: int, **more: Any) -> Study:
    """Nine candidates, all trained up to a step."""
    trials = [ran(i, x, step, branin(x, step / 9), candidate=i, **more) for i, x in enumerate(CANDIDATES)]
    return Study(replace(STUDY, candidates=CANDIDATES), tuple(trials))


def test_a_trial_that_waits_is_trained_again_with_more() -> None:
    suggestions = MultiFidelity().suggest(listed(1), 12, 0)
    assert all(isinstance(suggestion, Resume) and suggestion.until > 1 for suggestion in suggestions)
    assert sorted(suggestion.number for suggestion in suggestions if isinstance(suggestion, Resume)) == list(range(9))


def test_nothing_is_trained_again_that_is_complete_or_lost_or_on_its_way() -> None:
    study = listed(1)
    bad = {
        0: replace(study.trials[0], curves={"loss": ((1, math.nan),)}),
        1: replace(study.trials[1], state=TrialState.FAILED),
        2: replace(study.trials[2], until_step=3),
        3: replace(study.trials[3], excluded=True),
        4: ran(4, CANDIDATES[4], 9, 20.0, candidate=4),
    }
    trials = tuple(bad.get(trial.number, trial) for trial in study.trials)
    suggestions = MultiFidelity().suggest(replace(study, trials=trials, thawing=(5,)), 12, 0)
    assert sorted(suggestion.number for suggestion in suggestions if isinstance(suggestion, Resume)) == [6, 7, 8]
    assert len(suggestions) == 3


def test_what_was_told_complete_with_little_may_be_started_anew_but_not_as_a_candidate() -> None:
    told = Trial(0, {"a": 0.1, "b": 0.2}, COMPLETED, {}, {"loss": 4.5}, 0, 3)
    study = Study(STUDY, (told,))
    assert [_trained(study, step) for step in (1, 3, 9)] == [(told,), (told,), ()]
    among = replace(study, definition=replace(STUDY, candidates=(told.params,)))
    assert _trained(among, 9) == (told,)


def test_a_waiting_trial_of_another_context_is_left_alone() -> None:
    suggestions = MultiFidelity().suggest(replace(listed(1), context={"a": 0.5}), 12, 0)
    numbers = sorted(suggestion.number for suggestion in suggestions if isinstance(suggestion, Resume))
    assert numbers == [3, 4, 5]


def test_a_failing_region_is_avoided() -> None:
    study = history(24)
    trials = [replace(t, state=TrialState.FAILED, curves={}) if t.params["a"] < 0.5 else t for t in study.trials]
    starts = MultiFidelity().suggest(replace(study, trials=tuple(trials)), 4, 0)
    assert all(start.params["a"] > 0.4 for start in starts if isinstance(start, Start))


def test_outcome_constraints_are_modelled_at_the_full_resource() -> None:
    study = history(24, replace(STUDY, outcome_constraints=(OutcomeConstraint("size", 0.4),)))

    def sized(trial: Trial) -> Trial:
        curves = {**trial.curves, "size": ((trial.last_step, trial.params["b"] * trial.last_step / 9),)}
        return replace(trial, curves=curves)

    study = replace(study, trials=tuple(sized(trial) for trial in study.trials))
    assert sum(t.params["b"] > 0.4 for t in study.trials) > 8
    starts = MultiFidelity().suggest(study, 4, 0)
    assert np.mean([start.params["b"] for start in starts if isinstance(start, Start)]) < 0.5
    recommendation = MultiFidelity().recommend(study)
    assert recommendation is not None
    assert study.trials[recommendation.number].params["b"] < 0.45


def test_what_is_recommended_is_best_by_the_model_at_the_full_resource() -> None:
    """The lower the fidelity, the lower the loss: the best value seen is not that of the best trial."""
    rng = np.random.default_rng(0)
    points = [SPACE.draw(rng) for _ in range(24)]

    def loss(x: Mapping[str, Any], step: int) -> float:
        return float((x["a"] - 0.5) ** 2 + (x["b"] - 0.5) ** 2 - 2 * (1 - step / 9))

    steps = [9 if i % 4 == 0 else 1 for i in range(24)]
    trials = tuple(ran(i, x, s, loss(x, s)) for i, (x, s) in enumerate(zip(points, steps, strict=True)))
    recommendation = MultiFidelity().recommend(Study(STUDY, trials))
    assert recommendation is not None
    truths = sorted(loss(x, 9) for x in points)
    assert loss(points[recommendation.number], 9) <= truths[1]
    assert recommendation.mean["loss"] == pytest.approx(loss(points[recommendation.number], 9), abs=0.1)
    assert 0 < recommendation.sd["loss"] < 0.2


def test_a_nonlinear_model_gives_way_as_long_as_no_run_was_whole() -> None:
    study = history()
    cheap = tuple(trial for trial in study.trials if trial.last_step < 9)
    (suggestion,) = MultiFidelity(surrogate="nonlinear_autoregressive").suggest(replace(study, trials=cheap), 1, 0)
    assert suggestion.why["surrogate"] == "linear_truncated"
    (suggestion,) = MultiFidelity(surrogate="nonlinear_autoregressive").suggest(study, 1, 0)
    assert suggestion.why["surrogate"] == "nonlinear_autoregressive"


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_resource_that_can_be_resumed_is_refused_with_the_remedy() -> None:
    definition = replace(STUDY, resource=Resource("epoch", 9))
    with pytest.raises(Refused) as caught:
        build({"name": "multi_fidelity"}, definition)
    assert [problem.pointer for problem in caught.value.problems] == ["/name"]
    assert "runs can be resumed by epoch; use freeze_thaw" in caught.value.problems[0].detail


def test_the_choices_are_the_tables_behind_them() -> None:
    from frazil_tuner.acquisition.fidelity import FIDELITY_ACQUISITIONS
    from frazil_tuner.surrogates.fidelity import FIDELITY_SURROGATES

    (described,) = [policy for policy in describe() if policy["name"] == "multi_fidelity"]
    surrogate, acquisition = described["options"]
    assert surrogate["choices"] == ["auto", *FIDELITY_SURROGATES]
    assert acquisition["choices"] == ["auto", *FIDELITY_ACQUISITIONS]
    assert described["resource_kind"] == "restart"


# ── what it is for ───────────────────────────────────────────────────────────────────────────────────────────────────


def play(policy: Any, loss: Callable[[Mapping[str, Any], float], float], seed: int, budget: float) -> float:
    """The true loss at the full resource of what is recommended after so many full trainings' worth of steps."""
    study, spent, fit = Study(replace(STUDY, seed=seed)), 0, None
    while spent < 9 * budget:
        (move,) = policy.suggest(replace(study, last_fit=fit), 1, seed + len(study.trials))
        fit = move.why.get("fit", fit)
        old = study.trials[move.number] if isinstance(move, Resume) else None
        params = old.params if old else move.params
        trial = ran(old.number if old else len(study.trials), params, move.until, loss(params, move.until / 9))
        curve = (*(old.curves["loss"] if old else ()), *trial.curves["loss"])
        trial = replace(trial, curves={"loss": curve})
        study = replace(study, trials=(*study.trials[: trial.number], trial, *study.trials[trial.number + 1 :]))
        spent += move.until
    recommendation = policy.recommend(study)
    return loss(study.trials[recommendation.number].params, 1.0)


def test_at_equal_cost_it_finds_better_than_full_trainings_do() -> None:
    ours = [play(MultiFidelity(), branin, seed, 7) for seed in range(3)]
    theirs = [play(Bayes(), branin, seed, 7) for seed in range(3)]
    assert np.median(ours) - 0.398 < 0.5 * (np.median(theirs) - 0.398)
