"""Parzen estimators through Optuna."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from frazil_tuner.history import Definition, Objective, Study, Trial, TrialState
from frazil_tuner.policies import build
from frazil_tuner.policies.optuna_study import Axis, Copy, _axes
from frazil_tuner.policies.tpe import MOST_TRIALS, Tpe
from frazil_tuner.space import Space

MIXED = Space.from_json(
    [
        {"name": "kind", "type": "categorical", "choices": ["good", "bad", "ugly"]},
        {"name": "lr", "type": "float", "low": 1e-5, "high": 1, "log": True},
        {"name": "beta", "type": "float", "low": 0.9, "high": 0.9999, "log": "complement", "when": {"kind": ["good"]}},
        {"name": "layers", "type": "int", "low": 2, "high": 10, "step": 2},
        {"name": "width", "type": "int", "low": 8, "high": 4096, "log": True},
    ]
)
LOSS = Objective("loss")


def axes() -> dict[str, Axis]:
    return {axis.name: axis for parameter in MIXED.parameters for axis in _axes(parameter)}


def completed(number: int, params: dict[str, object], **values: float) -> Trial:
    return Trial(number, params, TrialState.COMPLETED, values=values)


def loss(params: dict[str, object]) -> float:
    """Best at kind good, lr 1e-3, layers 6."""
    penalty = {"good": 0.0, "bad": 1.0, "ugly": 2.0}[str(params["kind"])]
    return penalty + (np.log10(float(params["lr"])) + 3) ** 2 + (float(params["layers"]) - 6) ** 2 / 4  # type: ignore[arg-type]


def run(name: str, trials: int, seed: int) -> list[float]:
    study = Study(Definition(MIXED, (LOSS,), seed=seed))
    policy = build({"name": name}, study.definition)
    for i in range(trials):
        (start,) = policy.suggest(study, 1, 1000 * seed + i)
        seen = completed(i, dict(start.params), loss=loss(start.params))  # type: ignore[union-attr, arg-type]
        study = Study(study.definition, (*study.trials, seen))
    return [trial.values["loss"] for trial in study.trials]


def test_columns_have_the_counterparts_for_which_the_estimators_have_kernels() -> None:
    kinds = {name: type(axis.distribution).__name__ for name, axis in axes().items()}
    assert kinds == {
        "kind": "CategoricalDistribution",
        "lr": "FloatDistribution",
        "beta": "FloatDistribution",
        "layers": "IntDistribution",
        "width": "FloatDistribution",
    }


def test_a_coordinate_survives_the_way_through_optuna() -> None:
    rows = MIXED.encode_many([MIXED.draw(np.random.default_rng(i)) for i in range(20)])
    for column, axis in enumerate(axes().values()):
        for u in rows[:, column]:
            value = axis.value(u)
            assert u == (value if axis.places is None else axis.places[int(value)])
            assert axis.distribution._contains(axis.distribution.to_internal_repr(value))


def test_tpe_finds_better_points_than_a_sequence_that_does_not_learn() -> None:
    ours = np.median([min(run("tpe", 60, seed)) for seed in range(3)])
    theirs = np.median([min(run("sobol", 60, seed)) for seed in range(3)])
    assert ours < 0.5 * theirs


def test_after_some_trials_the_best_branch_is_preferred() -> None:
    study = Study(Definition(MIXED, (LOSS,)))
    points = [MIXED.draw(np.random.default_rng(i)) for i in range(60)]
    trials = tuple(completed(i, point, loss=loss(point)) for i, point in enumerate(points))
    starts = Tpe().suggest(Study(study.definition, trials), 10, 0)
    assert sum(start.params["kind"] == "good" for start in starts) >= 6  # type: ignore[union-attr]


def test_the_number_of_candidates_reaches_the_sampler() -> None:
    sampler = Tpe(candidates=7)._sampler(MIXED, 1, 2**40 + 3)
    assert (sampler._n_ei_candidates, sampler._group) == (7, True)
    assert not Tpe()._sampler(MIXED, 2, 0)._group


def test_the_first_points_are_those_of_a_sobol_sequence() -> None:
    study = Study(Definition(MIXED, (LOSS,), seed=4))
    (ours,), (sobol,) = (
        Tpe(warmup=3).suggest(study, 1, 0),
        build({"name": "sobol"}, study.definition).suggest(study, 1, 0),
    )
    assert ours.params == sobol.params  # type: ignore[union-attr]
    assert ours.why["phase"] == "warm-up"
    trials = tuple(completed(i, MIXED.draw(np.random.default_rng(i)), loss=i) for i in range(3))
    (later,) = Tpe(warmup=3).suggest(Study(study.definition, trials), 1, 0)
    assert later.why == {"policy": "tpe", "observations": 3, "of": 3}


@pytest.mark.parametrize("objectives", [1, 2])
def test_ten_thousand_trials_are_answered_within_a_second_and_the_answer_says_what_was_read(objectives: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((10_000, MIXED.dimension))
    trials = tuple(
        completed(i, MIXED.decode(row), loss=float(row[1]), size=float((1 - row[1]) * row[3]))
        for i, row in enumerate(rows)
    )
    goals = (LOSS, Objective("size", "maximize"))[:objectives]
    study = Study(Definition(MIXED, goals), trials)
    Tpe().suggest(Study(study.definition, trials[:20]), 1, 0)
    began = time.process_time()
    (start,) = Tpe().suggest(study, 1, 0)
    assert time.process_time() - began < 2  # 0.7 s on an idle core
    assert (start.why["observations"], start.why["of"]) == (MOST_TRIALS, 10_000)


def test_what_is_running_is_kept_away_from() -> None:
    line = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
    trials = [completed(i, {"x": x}, loss=abs(x - 0.5)) for i, x in enumerate(np.linspace(0, 1, 21).tolist())]
    running = [Trial(50 + i, {"x": 0.5 + i / 1e4}, TrialState.RUNNING) for i in range(60)]

    def nearest(*trials: Trial) -> float:
        study = Study(Definition(line, (LOSS,)), trials)
        return float(np.median([abs(Tpe().suggest(study, 1, s)[0].params["x"] - 0.5) for s in range(15)]))  # type: ignore[union-attr]

    assert nearest(*trials, *running) > 2 * nearest(*trials)


def test_several_objectives_lead_to_their_trade_offs() -> None:
    line = Space.from_json([{"name": n, "type": "float", "low": -2, "high": 3} for n in "ab"])
    rng = np.random.default_rng(0)
    points = [line.draw(rng) for _ in range(80)]
    trials = tuple(
        completed(i, p, loss=p["a"] ** 2 + p["b"] ** 2, size=-((p["a"] - 1) ** 2) - p["b"] ** 2)
        for i, p in enumerate(points)
    )
    study = Study(Definition(line, (LOSS, Objective("size", "maximize"))), trials)
    starts = Tpe().suggest(study, 12, 0)
    assert np.median([abs(start.params["b"]) for start in starts]) < 0.5  # type: ignore[union-attr]
    assert sum(-0.5 < start.params["a"] < 1.5 for start in starts) >= 9  # type: ignore[union-attr]


def test_a_copy_shows_only_active_columns() -> None:
    from optuna.samplers import RandomSampler

    copy = Copy(MIXED, 1, RandomSampler(seed=0))
    copy.add_running([{"kind": "bad", "lr": 0.1, "layers": 4, "width": 64}])
    (shown,) = copy.study.trials
    assert set(shown.params) == {"kind", "lr", "layers", "width"}
    assert (shown.params["kind"], shown.params["layers"]) == (1, 1)


def test_policies_bring_neither_optuna_nor_cmaes_until_they_are_asked() -> None:
    code = "import sys, frazil_tuner.policies; sys.exit(bool({'optuna', 'cmaes', 'torch'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
