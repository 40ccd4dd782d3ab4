"""Each setting of the field as a user meets it: a small study through the SDK, on a real server with real fits."""

from __future__ import annotations

import itertools
import uuid

import pytest

import frazil

X = frazil.Float(0.0, 1.0)
BAYES = {"name": "bayes", "warmup": 4}


@pytest.fixture
def create(server_url):
    """Makes a study with a name of its own."""
    with frazil.Client(server_url, patience=60.0) as client:
        yield lambda **definition: client.create_study(
            f"field-{uuid.uuid4().hex}", **{"policy": BAYES, "seed": 3, **definition}
        )


def test_trials_that_are_only_ranked_lead_to_the_best(create):
    study = create(space={"x": X}, objectives=[frazil.Objective("taste", "maximize", by="comparison")])

    def distance(trial):
        return abs(trial.params["x"] - 0.7)

    tasted = []
    for _ in range(12):
        trial = study.ask()
        trial.tell()
        tasted = sorted([*tasted, trial], key=distance)
        place = tasted.index(trial)
        if len(tasted) > 1:
            study.compare(tasted[max(place - 1, 0) : place + 2])  # with the next better and the next worse one
    assert trial.why["surrogate"] == "pairwise"
    assert distance(tasted[0]) < 0.1
    best = study.best
    assert best.observed is None
    assert best.recommended.number in [trial.number for trial in tasted[:4]]


def test_what_is_best_depends_on_the_context_of_the_ask(create):
    study = create(space={"x": X, "load": frazil.Float(0.0, 1.0, role="context")}, minimize="loss")
    misses = {0.2: [], 0.8: []}
    for load in itertools.islice(itertools.cycle(misses), 14):
        trial = study.ask(context={"load": load})
        assert trial.params["load"] == load
        misses[load].append(abs(trial.params["x"] - load))
        study.tell(trial, misses[load][-1] ** 2)
    assert all(min(missed[-3:]) < 0.1 for missed in misses.values()), misses
    regret = study.regret
    assert [context["context"] for context in regret.contexts] == [{"load": 0.2}, {"load": 0.8}]
    assert all(abs(context["best"]["x"] - context["context"]["load"]) < 0.1 for context in regret.contexts)
    with pytest.raises(frazil.Invalid, match="/context/load"):
        study.ask()


def test_constraints_on_parameters_are_kept_and_those_on_outcomes_learned(create):
    study = create(
        space={"x": X, "y": X}, constraints=["x + y <= 1"], maximize="gain", outcome_constraints=["weight <= 0.5"]
    )
    for _ in range(14):
        trial = study.ask()
        x, y = trial.params["x"], trial.params["y"]
        assert x + y <= 1
        trial.tell(gain=2 * x + y, weight=x)
    best = study.best.observed
    assert best.values["weight"] <= 0.5
    assert best.values["gain"] > 1.35, "1.5 at (0.5, 0.5) is the best there is; without the second constraint it is 2"


def test_what_nobody_chooses_is_averaged_over(create):
    study = create(space={"x": X, "wind": frazil.Float(0.0, 1.0, role="environment")}, minimize="loss")
    for _ in range(14):
        trial = study.ask()
        trial.tell(loss=(trial.params["x"] - trial.params["wind"]) ** 2)
    recommended = study.best.recommended
    assert 0.3 < recommended.params["x"] < 0.7, "in the middle, though every wind has an x that is better"


def test_derivatives_show_the_way(create):
    """In five dimensions, where so few values say little."""
    names = [f"x{i}" for i in range(5)]
    study = create(space=dict.fromkeys(names, X), minimize="loss")
    for _ in range(10):
        trial = study.ask()
        apart = {name: trial.params[name] - 0.3 for name in names}
        slopes = {name: 2 * value for name, value in apart.items()}
        trial.tell(loss=sum(value**2 for value in apart.values()), gradients={"loss": slopes})
    assert trial.why["surrogate"] == "derivatives"
    assert study.best.observed.values["loss"] < 0.02


def test_several_objectives_end_in_a_front(create):
    study = create(space={"x": X, "y": X}, objectives=[frazil.Objective("price"), frazil.Objective("gain", "maximize")])
    for _ in range(14):
        trial = study.ask()
        x, y = trial.params["x"], trial.params["y"]
        trial.tell(price=x + (y - 0.5) ** 2, gain=x**0.5 - (y - 0.5) ** 2)
    front = study.pareto
    assert len(front.trials) >= 5
    values = [trial.values for trial in front.trials]
    assert not any(a["price"] <= b["price"] and a["gain"] >= b["gain"] for a in values for b in values if a is not b)
    assert sum(abs(trial.params["y"] - 0.5) < 0.15 for trial in front.trials) >= 4
    assert front.hypervolume > 0
    assert study.best.observed is None


def test_an_earlier_study_gives_a_start(create):
    def loss(params, shift=0.0):
        return (params["x"] - 0.3 - shift) ** 2 + (params["y"] - 0.8) ** 2

    space = {"x": X, "y": X}
    earlier = create(space=space, minimize="loss", policy="sobol")
    for trial in earlier.ask(count=16):
        trial.tell(loss=5 * loss(trial.params) + 2)
    study = create(space=space, minimize="loss", related=[earlier])
    for _ in range(4):
        trial = study.ask()
        trial.tell(loss=loss(trial.params, shift=0.05))
    assert trial.why["surrogate"] == "multi_task"
    assert study.best.observed.values["loss"] < 0.03


def test_a_space_that_is_too_narrow_is_widened_and_the_study_goes_on(create):
    study = create(space={"x": frazil.Float(0.0, 0.5), "y": X}, minimize="loss")

    def run(trials):
        for _ in range(trials):
            trial = study.ask()
            trial.tell(loss=(trial.params["x"] - 0.9) ** 2)

    run(7)
    assert study.best.observed.values["loss"] >= 0.16
    study.refresh().edit_space({"x": {"high": 1.0}, "y": {"disabled": True, "value": 0.5}})
    run(7)
    best = study.best
    assert best.observed.values["loss"] < 0.02
    assert best.observed.params["y"] == 0.5
    assert len(list(study.records())) == 14
