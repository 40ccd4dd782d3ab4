"""Bayesian optimisation: what it learns from, what it does when it cannot learn, and that it finds things."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Earlier, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Start, build
from frazil_tuner.policies.bayes import ACQUISITION_NAMES, OBJECTIVES, SURROGATE_NAMES, Bayes
from frazil_tuner.policies.modelling import (
    MOST_PENDING,
    Risk,
    finished,
    model,
    objective_of,
    observe,
    outlook_of,
    running,
    unbeaten,
)
from frazil_tuner.policies.sobol import Sobol
from frazil_tuner.space import Space

SPACE = Space.from_json([{"name": n, "type": "float", "low": 0, "high": 1} for n in "xy"])
COMPLETED, FAILED = TrialState.COMPLETED, TrialState.FAILED


def valley(params: Any) -> float:
    return float((params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2)


def grid_study(n: int = 12, **more: Any) -> Study:
    points = list(SPACE.grid(4))[:n]
    trials = tuple(Trial(i, p, COMPLETED, values={"loss": valley(p)}) for i, p in enumerate(points))
    definition = Definition(SPACE, (Objective("loss"),), more.pop("resource", None))
    return Study(definition, (*trials, *more.pop("and_trials", ())), **more)


def suggest(study: Study, count: int = 1, seed: int = 0, policy: Bayes | None = None) -> list[Start]:
    suggestions = (policy or Bayes()).suggest(study, count, seed)
    assert all(isinstance(suggestion, Start) for suggestion in suggestions)
    return suggestions  # type: ignore[return-value]


def test_before_the_warm_up_is_over_it_hands_out_sobol_points_and_is_light() -> None:
    study = grid_study(3)
    assert Bayes().is_light(study)
    starts = suggest(study, 2)
    assert [start.params for start in starts] == [start.params for start in Sobol().suggest(study, 2, 9)]  # type: ignore[union-attr]
    assert starts[0].why == {"policy": "bayes", "phase": "warm-up"}
    assert not Bayes().is_light(grid_study(4))


def test_the_first_point_is_the_middle_or_where_the_user_expects_the_optimum() -> None:
    first, second = suggest(grid_study(0), 2)
    assert first.params == {"x": 0.5, "y": 0.5}
    assert second.params == suggest(grid_study(1))[0].params
    expecting = Space.from_json(
        [
            {"name": "x", "type": "float", "low": 0, "high": 1, "prior": 0.3},
            {"name": "o", "type": "categorical", "choices": ["a", "b", "c"], "prior": "c"},
        ]
    )
    (start,) = suggest(Study(Definition(expecting, (Objective("loss"),))))
    assert start.params == {"x": 0.3, "o": "c"}


@pytest.mark.parametrize("count", [1, 3, 9, 20])
def test_the_first_point_is_no_other_of_a_short_list_again(count: int) -> None:
    candidates = tuple(SPACE.grid(3))
    study = Study(Definition(SPACE, (Objective("loss"),), candidates=candidates))
    chosen = [start.candidate for start in suggest(study, count)]
    assert len(set(chosen)) == len(chosen) == min(count, 9)
    assert candidates[chosen[0] or 0] == {"x": 0.5, "y": 0.5}


def test_the_warm_up_can_be_set() -> None:
    assert Bayes(warmup=13).is_light(grid_study(12))
    assert not Bayes(warmup=12).is_light(grid_study(12))


def test_only_finished_trials_end_the_warm_up() -> None:
    waiting = tuple(Trial(100 + i, {"x": 0.1, "y": i / 9}, TrialState.RUNNING) for i in range(9))
    forgotten = tuple(
        Trial(200 + i, {"x": 0.1, "y": i / 9}, COMPLETED, values={"loss": 1.0}, excluded=True) for i in range(9)
    )
    silent = tuple(Trial(300 + i, {"x": 0.1, "y": i / 9}, COMPLETED) for i in range(9))
    assert Bayes().is_light(grid_study(3, and_trials=(*waiting, *forgotten, *silent)))


def test_it_looks_where_the_valley_is_and_says_why() -> None:
    (start,) = suggest(grid_study(16))
    assert valley(start.params) < 0.02
    assert start.why["policy"] == "bayes"
    assert (start.why["surrogate"], start.why["acquisition"]) == ("gp", "log_ei")
    assert (start.why["observations"], start.why["of"], start.why["pending"]) == (16, 16, 0)
    assert math.isfinite(float(start.why["value"]))


def test_the_direction_is_honoured() -> None:
    trials = tuple(
        Trial(t.number, t.params, COMPLETED, values={"gain": -t.values["loss"]}) for t in grid_study(16).trials
    )
    (start,) = suggest(Study(Definition(SPACE, (Objective("gain", "maximize"),)), trials))
    assert start.params == suggest(grid_study(16))[0].params


def test_a_resource_is_granted_whole() -> None:
    (start,) = suggest(grid_study(16, resource=Resource("epoch", 30)))
    assert start.until == 30


def test_what_is_pending_is_kept_away_from() -> None:
    (alone,) = suggest(grid_study(8))
    pending = Trial(99, alone.params, TrialState.RUNNING)
    spaces = [
        grid_study(8, and_trials=(pending,)),
        grid_study(8, and_trials=(Trial(99, alone.params, TrialState.QUEUED),)),
        grid_study(8, shelved=(alone.params,)),
    ]
    for study in spaces:
        (other,) = suggest(study)
        assert other.why["pending"] == 1
        assert math.dist(alone.params.values(), other.params.values()) > 0.02


def test_a_batch_spreads() -> None:
    points = [tuple(start.params.values()) for start in suggest(grid_study(8), 4)]
    assert min(math.dist(a, b) for i, a in enumerate(points) for b in points[:i]) > 0.02
    assert [start.why["pending"] for start in suggest(grid_study(8), 4)] == [0, 1, 2, 3]


def test_failed_and_diverged_trials_teach_where_trials_fail_and_are_never_read_as_good() -> None:
    failed = Trial(99, {"x": 0.31, "y": 0.61}, FAILED, values={"loss": -5.0})
    diverged = Trial(98, {"x": 0.29, "y": 0.59}, COMPLETED, values={"loss": -math.inf})
    study = grid_study(12, and_trials=(failed, diverged))
    fitted = model(study)
    assert [part.quantity.metric for part in fitted.limits] == ["success"]
    assert fitted.limits[0].seen.scores.tolist() == [1.0] * 12 + [-1.0] * 2
    assert len(fitted.objectives[0].seen.trials) == 12
    (start,) = suggest(study)
    assert math.dist(start.params.values(), (0.3, 0.6)) > 0.05


def test_where_trials_fail_is_learned_and_kept_away_from() -> None:
    def crashes(p: Any) -> bool:
        return bool(p["x"] > 0.5)

    definition, trials = Definition(SPACE, (Objective("loss"),), seed=2), []
    for i in range(20):
        (start,) = Bayes().suggest(Study(definition, tuple(trials)), 1, i)
        assert isinstance(start, Start)
        gain = {"loss": (start.params["x"] - 0.6) ** 2 + (start.params["y"] - 0.4) ** 2}
        trials.append(Trial(i, start.params, FAILED if crashes(start.params) else COMPLETED, values=gain))
    assert sum(trial.state is FAILED for trial in trials[10:]) <= 7
    best = min(trial.values["loss"] for trial in trials if trial.state is COMPLETED)
    assert best < 0.1**2 + 0.005  # the best that does not crash lies on the border, at x = 0.5


def test_where_nothing_is_finite_it_says_so_and_fills_the_space() -> None:
    trials = tuple(Trial(t.number, t.params, FAILED) for t in grid_study(16).trials)
    study = Study(grid_study().definition, trials)
    (start,) = suggest(study)
    assert start.why == {"policy": "bayes", "phase": "fallback", "reason": "no trial has a finite value yet"}
    assert start.params == Sobol().suggest(study, 1, 0)[0].params  # type: ignore[union-attr]
    assert Bayes().recommend(study) is None


def test_a_fit_that_fails_is_answered_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from frazil_tuner.surrogates import gp

    monkeypatch.setattr(gp, "LENGTH_CENTRE", math.nan)
    study = grid_study(16)
    (start,) = suggest(study)
    assert start.why["phase"] == "fallback"
    assert "finite" in str(start.why["reason"])
    recommendation = Bayes().recommend(study)
    assert recommendation is not None
    assert recommendation.sd == {}


def test_it_recommends_the_best_posterior_mean_in_the_units_of_the_metric() -> None:
    study = grid_study(16)
    recommendation = Bayes().recommend(study)
    assert recommendation is not None
    best = min(study.trials, key=lambda trial: trial.values["loss"])
    assert recommendation.number == best.number
    assert recommendation.mean["loss"] == pytest.approx(best.values["loss"], abs=0.02)
    assert 0 < recommendation.sd["loss"] < 0.1


def test_one_lucky_measurement_is_not_recommended() -> None:
    rng = np.random.default_rng(0)
    points = [{"x": float(x), "y": 0.6} for x in np.linspace(0, 1, 41)]
    losses = [valley(p) + 0.05 * float(rng.standard_normal()) for p in points]
    lucky = 24
    losses[lucky] = min(losses) - 0.01
    trials = tuple(Trial(i, points[i], COMPLETED, values={"loss": loss}) for i, loss in enumerate(losses))
    recommendation = Bayes().recommend(Study(grid_study().definition, trials))
    assert recommendation is not None
    assert recommendation.number != lucky
    assert points[recommendation.number]["x"] == pytest.approx(0.3, abs=0.15)


def test_a_failed_trial_is_never_recommended() -> None:
    failed = Trial(99, {"x": 0.3, "y": 0.6}, FAILED)
    recommendation = Bayes().recommend(grid_study(16, and_trials=(failed,)))
    assert recommendation is not None
    assert recommendation.number != 99


def test_long_histories_are_modelled_where_it_matters() -> None:
    rng = np.random.default_rng(0)
    points = [SPACE.draw(rng) for _ in range(1_000)]
    trials = tuple(Trial(i, p, COMPLETED, values={"loss": valley(p)}) for i, p in enumerate(points))
    study = Study(grid_study().definition, trials)
    fitted = model(study).objectives[0]
    assert len(fitted.belief.points) < 400 < len(fitted.seen.trials)
    assert "of 1000 trials it takes those that matter" in fitted.because
    (start,) = suggest(study)
    assert valley(start.params) < 1e-3
    assert start.why["observations"] == start.why["of"] == 1_000


def test_the_next_fit_starts_where_the_last_one_ended() -> None:
    (start,) = suggest(grid_study(16))
    remembered = start.why["fit"]
    assert remembered["loss"]["surrogate"] == "gp"
    (again,) = suggest(grid_study(16, last_fit=remembered))
    assert math.dist(start.params.values(), again.params.values()) < 0.05
    assert json.loads(json.dumps(remembered)) == remembered


def test_a_remembered_fit_that_makes_no_sense_is_passed_over() -> None:
    (start,) = suggest(grid_study(16, last_fit={"loss": {"surrogate": "gp", "theta": [1.0], "scale": [2.0]}}))
    assert valley(start.params) < 0.02


def test_the_scale_of_outcomes_is_bent_where_they_span_magnitudes() -> None:
    points = list(SPACE.grid(5))
    trials = tuple(Trial(i, p, COMPLETED, values={"loss": math.exp(30 * valley(p))}) for i, p in enumerate(points))
    steep = model(Study(grid_study().definition, trials)).objectives[0]
    assert steep.fit["bend"] > 0
    told = {trial.number: trial.values["loss"] for trial in trials}
    best = int(np.argmax(steep.seen.y))
    mean, _ = steep.in_units(float(steep.seen.y[best]), 0.1)
    assert mean == pytest.approx(told[steep.seen.trials[best].number], rel=1e-6)
    even = tuple(Trial(i, p, COMPLETED, values={"loss": p["x"] - 2 * p["y"]}) for i, p in enumerate(points))
    assert model(Study(grid_study().definition, even)).objectives[0].fit["bend"] == 0


def test_a_told_standard_error_is_the_noise_of_its_outcome() -> None:
    trials = tuple(
        Trial(t.number, t.params, COMPLETED, values=t.values, sems={"loss": 0.05}) for t in grid_study(12).trials
    )
    study = Study(grid_study().definition, trials)
    seen = observe(study, finished(study), objective_of(study.objective))
    losses = np.array([trial.values["loss"] for trial in trials])
    assert seen.noise == pytest.approx(np.full(12, (0.05 / losses.std()) ** 2))


class TestEarlierStudies:
    """One recommendation of theirs, two points to check them by, and then they are followed or forgotten."""

    def related(self, upside_down: bool = False) -> dict[str, Any]:
        points = [SPACE.draw(np.random.default_rng(i)) for i in range(30)]
        if upside_down:
            told = [valley({name: 1 - x for name, x in p.items()}) for p in points]
        else:
            told = [2 * valley(p) + 1 for p in points]
        trials = tuple(
            Trial(i, p, COMPLETED, values={"loss": loss}) for i, (p, loss) in enumerate(zip(points, told, strict=True))
        )
        return {"related": (Earlier("before", Objective("loss"), trials),)}

    def run(self, evaluations: int, **more: Any) -> list[Start]:
        definition, starts, trials = Definition(SPACE, (Objective("loss"),), seed=4), [], []
        for i in range(evaluations):
            (start,) = Bayes().suggest(Study(definition, tuple(trials), **more), 1, i)
            assert isinstance(start, Start)
            starts.append(start)
            trials.append(Trial(i, start.params, COMPLETED, values={"loss": valley(start.params)}))
        return starts

    def test_those_that_tell_the_truth_are_followed_from_the_first_point_on(self) -> None:
        starts = self.run(5, **self.related())
        assert [start.why.get("surrogate") for start in starts] == [
            "multi_task",
            None,
            None,
            "multi_task",
            "multi_task",
        ]
        assert starts[1].params == {"x": 0.5, "y": 0.5}
        assert valley(starts[0].params) < 0.02
        assert valley(starts[4].params) < 0.002

    def test_those_that_mislead_cost_one_point_and_are_forgotten(self) -> None:
        starts = self.run(7, **self.related(upside_down=True))
        assert [start.why.get("phase") for start in starts[1:4]] == ["warm-up"] * 3
        assert "mislead" in starts[6].why["because"]
        assert starts[6].why["surrogate"] == "gp"

    def test_the_first_suggestion_needs_a_model_and_is_not_light(self) -> None:
        assert not Bayes().is_light(Study(Definition(SPACE, (Objective("loss"),)), **self.related()))

    def test_earlier_studies_without_a_value_are_no_help_and_no_harm(self) -> None:
        failed = (Earlier("before", Objective("loss"), (Trial(0, {"x": 0.5, "y": 0.5}, FAILED),)),)
        (start,) = self.run(1, related=failed)
        assert start.why["phase"] == "fallback"


def test_absurd_derivatives_are_borne() -> None:
    trials = tuple(
        Trial(t.number, t.params, COMPLETED, values=t.values, gradients={"loss": {"x": (-1) ** t.number * 1e150}})
        for t in grid_study(8).trials
    )
    (start,) = suggest(Study(grid_study().definition, trials))
    assert start.why["surrogate"] == "derivatives"


def test_a_trial_that_lost_a_comparison_is_not_recommended_while_another_never_did() -> None:
    crowd = [{"x": 0.3 + i / 100, "y": 0.6} for i in range(9)]
    trials = tuple(Trial(i, p, COMPLETED) for i, p in enumerate([{"x": 0.9, "y": 0.1}, *crowd]))
    beats_the_crowd = tuple((0, i) for i in range(1, 10) if i != 5)
    study = Study(Definition(SPACE, (Objective("taste", by="comparison"),)), trials)
    before, after = (
        Bayes().recommend(replace(study, rankings=rankings))
        for rankings in (beats_the_crowd, (*beats_the_crowd, (5, 0)))
    )
    assert before is not None
    assert after is not None
    assert (before.number, after.number) == (0, 5)


def test_where_every_trial_has_lost_each_may_be_recommended() -> None:
    trials = tuple(Trial(i, {"x": i / 3, "y": 0.5}, COMPLETED) for i in range(3))
    circle = replace(grid_study(), trials=trials, rankings=((0, 1), (1, 2), (2, 0)))
    assert unbeaten(circle, trials) == trials


def test_cost_weighs_by_its_logarithm() -> None:
    points = list(SPACE.grid(5))
    trials = tuple(
        Trial(i, p, COMPLETED, values={"loss": valley(p), "hours": math.exp(3 * p["x"])}) for i, p in enumerate(points)
    )
    study = Study(Definition(SPACE, (Objective("loss"),), cost="hours"), trials)
    outlook = outlook_of(study, model(study), 0, beta=2.0, risk=Risk())
    assert outlook.cost is not None
    means = outlook.cost_scale * outlook.cost.posterior(torch.tensor([[0.2, 0.5], [0.8, 0.5]]).double())[0][0]
    assert float(means[1] - means[0]) == pytest.approx(3 * 0.6, abs=0.1)


def test_the_names_of_the_options_are_those_of_the_tables() -> None:
    from frazil_tuner.acquisition import ACQUISITIONS
    from frazil_tuner.surrogates import SURROGATES

    assert set(SURROGATE_NAMES) == set(SURROGATES) - {"local"}
    assert set(ACQUISITION_NAMES) == set(ACQUISITIONS)
    assert {name: OBJECTIVES.get(name, range(1, 2)) for name in ACQUISITIONS} == {
        name: acquisition.objectives for name, acquisition in ACQUISITIONS.items()
    }


TASTE, TWO = (Objective("taste", by="comparison"),), (Objective("a"), Objective("b"))


@pytest.mark.parametrize(
    ("objectives", "option", "named"),
    [
        (TWO, "acquisition", "log_ei"),
        ((Objective("a"),), "acquisition", "log_hypervolume"),
        ((Objective("a"),), "surrogate", "pairwise"),
        (TASTE, "surrogate", "gp"),
        ((*TASTE, Objective("a")), "surrogate", "auto"),
    ],
)
def test_options_that_do_not_suit_the_objectives_are_refused(
    objectives: tuple[Objective, ...], option: str, named: str
) -> None:
    with pytest.raises(Refused) as refused:
        build({"name": "bayes", option: named}, Definition(SPACE, objectives))
    assert [problem.pointer for problem in refused.value.problems] == [f"/{option}"]


def test_very_many_waiting_trials_are_imagined_only_in_part() -> None:
    waiting = tuple(Trial(i, {"x": 0.1, "y": 0.2}, TrialState.QUEUED) for i in range(1_000))
    assert len(running(Study(grid_study().definition, waiting))) == MOST_PENDING


def test_mixed_conditional_spaces_are_optimised() -> None:
    space = Space.from_json(
        [
            {"name": "kind", "type": "categorical", "choices": ["a", "b", "c"]},
            {"name": "x", "type": "float", "low": 0, "high": 1},
            {"name": "n", "type": "int", "low": 0, "high": 20},
            {"name": "z", "type": "float", "low": 1e-4, "high": 1, "log": True, "when": {"kind": ["b"]}},
        ]
    )

    def loss(p: Any) -> float:
        extra = {"a": 0.3, "b": (math.log10(p.get("z", 1)) + 2) ** 2 / 4, "c": 0.5}[p["kind"]]
        return float((p["x"] - 0.7) ** 2 + ((p["n"] - 13) / 20) ** 2 + extra)

    definition = Definition(space, (Objective("loss"),), seed=1)
    policy, trials = build({"name": "bayes"}, definition), []
    for i in range(24):
        (start,) = policy.suggest(Study(definition, tuple(trials)), 1, i)
        assert isinstance(start, Start)
        trials.append(Trial(i, start.params, COMPLETED, values={"loss": loss(start.params)}))
    best = min(trials, key=lambda trial: trial.values["loss"])
    assert best.params["kind"] == "b"
    assert best.values["loss"] < 0.05


def test_global_chance_is_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    suggest(grid_study(16, shelved=({"x": 0.5, "y": 0.5},)))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_branin_is_solved_in_thirty_evaluations() -> None:
    space = Space.from_json(
        [{"name": "x", "type": "float", "low": -5.7, "high": 9.8}, {"name": "y", "type": "float", "low": 0, "high": 14}]
    )
    definition, trials = Definition(space, (Objective("f"),), seed=0), []
    for i in range(30):
        (start,) = Bayes().suggest(Study(definition, tuple(trials)), 1, i)
        assert isinstance(start, Start)
        x, y = start.params.values()
        value = (
            (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
            + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
            + 10
        )
        trials.append(Trial(i, start.params, COMPLETED, values={"f": value}))
    assert min(trial.values["f"] for trial in trials) - 0.397887 < 0.1
