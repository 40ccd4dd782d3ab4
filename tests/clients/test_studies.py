"""Definitions as they travel, and what is known of a study."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import httpx2
import pytest

import frazil


@pytest.fixture
def recorded():
    """A client, and the bodies of what it sent; every answer is a study."""
    bodies = []

    def server(request: httpx2.Request) -> httpx2.Response:
        bodies.append((request.method, request.url.path, json.loads(request.content or b"null")))
        return httpx2.Response(201, json={"id": "s", "name": "digits", "state": "active"})

    with frazil.Client(transport=httpx2.MockTransport(server)) as client:
        yield client, bodies


def test_the_definition_of_the_readme_travels_as_the_contract_has_it(recorded):
    client, bodies = recorded
    client.create_study(
        "digits",
        space={
            "lr": frazil.Float(1e-4, 1e-1, log=True),
            "optimizer": ["adamw", "sgd"],
            "width": frazil.Int(16, 256, log=True),
        },
        minimize="val_loss",
        resource=frazil.Resource("epoch", max=30),
        policy="asha",
        budget={"resource": 400},
        if_exists="load",
    )
    assert bodies == [
        (
            "POST",
            "/api/v1/studies",
            {
                "name": "digits",
                "space": [
                    {"name": "lr", "type": "float", "low": 1e-4, "high": 1e-1, "log": True},
                    {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]},
                    {"name": "width", "type": "int", "low": 16, "high": 256, "log": True, "step": 1},
                ],
                "objectives": [{"metric": "val_loss", "direction": "minimize", "summary": "last", "by": "value"}],
                "resource": {"name": "epoch", "max": 30, "min": 1, "kind": "resumable"},
                "policy": {"name": "asha"},
                "budget": {"resource": 400},
                "if_exists": "load",
            },
        )
    ]


def test_every_argument_arrives(recorded):
    client, bodies = recorded
    earlier = client.study("s")
    bodies.clear()
    client.create_study(
        "all",
        space={
            "momentum": frazil.Float(0.8, 0.99, log="complement", when={"optimizer": "sgd"}),
            "layers": frazil.Int(2, 8, step=2, when={"optimizer": ["sgd", "adamw"]}),
            "optimizer": frazil.Categorical(["sgd", "adamw"]),
            "width": frazil.Ordinal([64, 128]),
            "nesterov": frazil.Bool(when={"optimizer": ["sgd"]}),
            "data": frazil.Fixed("v2"),
            "epochs": 3,
            "tag": "v3",
            "amp": True,
        },
        objectives=[frazil.Objective("loss", summary="best"), frazil.Objective("speed", "maximize", by="comparison")],
        resource=frazil.Resource("batch", max=900, min=30, kind="restart"),
        policy={"name": "asha", "eta": 4},
        budget={"trials": 7, "seconds": 60},
        candidates=[{"width": 64}, {"width": 128}],
        constraints=["layers * width <= 512"],
        outcome_constraints=["latency <= 50"],
        cost="price",
        related=["earlier", earlier],
        seed=11,
        metadata={"team": "vision"},
        if_exists="fail",
    )
    body = bodies[0][2]
    assert body.pop("space") == [
        {
            "name": "momentum",
            "type": "float",
            "low": 0.8,
            "high": 0.99,
            "log": "complement",
            "when": {"optimizer": ["sgd"]},
        },
        {
            "name": "layers",
            "type": "int",
            "low": 2,
            "high": 8,
            "log": False,
            "step": 2,
            "when": {"optimizer": ["sgd", "adamw"]},
        },
        {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adamw"]},
        {"name": "width", "type": "ordinal", "values": [64, 128]},
        {"name": "nesterov", "type": "bool", "when": {"optimizer": ["sgd"]}},
        {"name": "data", "type": "fixed", "value": "v2"},
        {"name": "epochs", "type": "fixed", "value": 3},
        {"name": "tag", "type": "fixed", "value": "v3"},
        {"name": "amp", "type": "fixed", "value": True},
    ]
    assert body == {
        "name": "all",
        "objectives": [
            {"metric": "loss", "direction": "minimize", "summary": "best", "by": "value"},
            {"metric": "speed", "direction": "maximize", "summary": "last", "by": "comparison"},
        ],
        "resource": {"name": "batch", "max": 900, "min": 30, "kind": "restart"},
        "policy": {"name": "asha", "eta": 4},
        "budget": {"trials": 7, "seconds": 60},
        "candidates": [{"width": 64}, {"width": 128}],
        "constraints": ["layers * width <= 512"],
        "outcome_constraints": ["latency <= 50"],
        "cost": "price",
        "related": ["earlier", "s"],
        "seed": 11,
        "metadata": {"team": "vision"},
        "if_exists": "fail",
    }


def test_maximize_says_so(recorded):
    client, bodies = recorded
    client.create_study("m", space={}, maximize="accuracy")
    assert bodies[0][2]["objectives"] == [
        {"metric": "accuracy", "direction": "maximize", "summary": "last", "by": "value"}
    ]


@pytest.mark.parametrize("wanted", [{}, {"minimize": "a", "maximize": "b"}, {"minimize": "a", "objectives": []}])
def test_what_is_wanted_is_said_in_exactly_one_way(recorded, wanted):
    client, bodies = recorded
    with pytest.raises(ValueError, match="exactly one way"):
        client.create_study("m", space={}, **wanted)
    assert bodies == []


def test_a_nan_in_a_space_reaches_the_server_which_names_the_field(recorded):
    client, bodies = recorded
    client.create_study("m", space={"lr": frazil.Float(math.nan, 1.0)}, minimize="loss")
    assert bodies[0][2]["space"][0]["low"] == "nan"


def test_a_study_is_paused_resumed_stopped_and_deleted(recorded):
    client, bodies = recorded
    study = client.create_study("m", space={}, minimize="loss")
    study.pause()
    study.resume()
    study.stop()
    study.delete()
    assert bodies[1:] == [
        ("PATCH", "/api/v1/studies/s", {"state": "paused"}),
        ("PATCH", "/api/v1/studies/s", {"state": "active"}),
        ("PATCH", "/api/v1/studies/s", {"state": "stopped"}),
        ("DELETE", "/api/v1/studies/s", None),
    ]


def test_trials_are_enqueued_and_added(recorded):
    client, bodies = recorded
    study = client.create_study("m", space={}, minimize="loss")
    study.enqueue({"lr": 0.1})
    done = {"params": {"lr": 0.2}, "state": "COMPLETED", "values": {"loss": 0.5}}
    study.add_trials([done])
    assert bodies[1:] == [
        ("POST", "/api/v1/studies/s/trials", {"trials": [{"params": {"lr": 0.1}}]}),
        ("POST", "/api/v1/studies/s/trials", {"trials": [done]}),
    ]


def knowing(path: str, answer: object) -> frazil.Study:
    def server(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith(path):
            return httpx2.Response(200, json=answer)
        return httpx2.Response(200, json={"id": "s", "name": "digits", "state": "active"})

    return frazil.Client(transport=httpx2.MockTransport(server)).study("digits")


def test_the_best_is_observed_and_recommended():
    trial = {"id": "t4", "number": 4, "params": {"lr": 0.1}, "state": "COMPLETED"}
    best = knowing(
        "/best",
        {
            "observed": {"trial": trial, "values": {"loss": 0.2}},
            "recommended": {"trial": trial, "mean": {"loss": 0.25}, "sd": {"loss": None}},
        },
    ).best
    assert best.observed == frazil.Observed("t4", 4, {"lr": 0.1}, {"loss": 0.2})
    assert best.recommended == frazil.Recommended("t4", 4, {"lr": 0.1}, {"loss": 0.25}, {})


def test_advice_on_stopping_stands_beside_the_best():
    advice = {"stop": True, "reason": "enough", "expected_gain": 0.1, "regret_bound": None, "threshold": 0.2}
    best = knowing("/best", {"observed": None, "recommended": None, "advice": advice}).best
    assert best.advice == frazil.Advice(True, "enough", 0.1, None, 0.2)


def test_a_front_is_trials_with_their_values():
    trial = {"id": "t4", "number": 4, "params": {"lr": 0.1}, "state": "COMPLETED"}
    item = {"trial": trial, "values": {"loss": 1, "speed": 2.5}}
    found = {"items": [item], "total": 1, "hypervolume": 3.5, "r2": None, "reference": {"loss": 9, "speed": 0}}
    front = knowing("/pareto", found).pareto
    assert front.trials == [frazil.Observed("t4", 4, {"lr": 0.1}, {"loss": 1.0, "speed": 2.5})]
    assert (front.hypervolume, front.r2, front.reference) == (3.5, None, {"loss": 9, "speed": 0})


@pytest.fixture
def asked():
    """What a study answers to every question, and the questions: method, path, query, body, If-Match."""
    questions, answer = [], {}

    def server(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        path = request.url.path.removeprefix("/api/v1/studies/s")
        questions.append((request.method, path, dict(request.url.params), body, request.headers.get("if-match")))
        return httpx2.Response(200, json={"id": "s", "name": "digits", "state": "active", "version": 3, **answer})

    with frazil.Client(transport=httpx2.MockTransport(server)) as client:
        study = client.study("s")
        questions.clear()
        yield study, questions, answer


PREDICTED = {
    "points": [{"x": 0}, {"x": 1}],
    "metrics": {"loss": {"mean": [1, "nan"], "sd": [0.5, "inf"], "surrogate": "gp"}},
    "feasible": [0.5, 1.0],
}


def test_points_are_predicted(asked):
    study, questions, answer = asked
    answer |= PREDICTED
    prediction = study.predict([{"x": 0}, {"x": 1}])
    assert questions == [("POST", "/predictions", {}, {"points": [{"x": 0}, {"x": 1}]}, None)]
    assert prediction.points == [{"x": 0}, {"x": 1}]
    assert (prediction.mean["loss"][0], math.isnan(prediction.mean["loss"][1])) == (1.0, True)
    assert (prediction.sd["loss"], prediction.feasible, prediction.axes) == ([0.5, math.inf], [0.5, 1.0], {})


def test_the_rest_of_a_curve_is_foretold(asked):
    study, questions, answer = asked
    quantiles = {"0.05": [0.5, "-inf"], "0.95": [0.7, 0.4]}
    answer |= {"trial": 7, "metric": "loss", "model": "gp", "steps": [3, 9], "mean": [0.6, 0.3], "quantiles": quantiles}
    found = study.foretell(7)
    assert (found.trial, found.metric, found.model, found.steps, found.mean) == (7, "loss", "gp", [3, 9], [0.6, 0.3])
    assert found.quantiles == {0.05: [0.5, -math.inf], 0.95: [0.7, 0.4]}
    study.foretell(frazil.Observed("id", 8, {}, {}), "error", max_points=5)
    assert [query for _, _, query, _, _ in questions] == [
        {"trial": "7", "max_points": "100"},
        {"trial": "8", "metric": "error", "max_points": "5"},
    ]


def test_slices_have_axes(asked):
    study, questions, answer = asked
    answer |= PREDICTED | {"feasible": None, "base": {"x": 0}, "axes": [{"name": "x", "values": [0, 1]}]}
    assert study.slice("x").axes == {"x": [0, 1]}
    study.slice("x", "y", resolution=9, base={"x": 0.5})
    assert [query for _, _, query, _, _ in questions] == [
        {"slice": "x", "resolution": "21"},
        {"slice": "x", "slice2": "y", "resolution": "9", "base": '{"x": 0.5}'},
    ]


def test_profiles_are_asked_for_by_study_and_target():
    asked = []

    def server(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.url.path, request.url.params.multi_items()))
        return httpx2.Response(200, json={"taus": [1.0], "id": "s1", "name": "one", "state": "active"})

    client = frazil.Client(transport=httpx2.MockTransport(server))
    assert client.profiles([client.study("one"), "two"], target=0.25, solver="metadata.tuner")["taus"] == [1.0]
    path, query = asked[-1]
    assert path == "/api/v1/profiles"
    assert sorted(query) == [
        ("measure", "steps"), ("problem", "space"), ("solver", "metadata.tuner"), ("studies", "s1"), ("studies", "two"),
        ("target", "0.25"),
    ]  # fmt: skip


def test_a_scaling_rule_is_read_and_carries_the_best_to_any_batch_size(asked):
    study, questions, answer = asked
    rules = {"none": {"exponent": 0.0, "holds": False}, "square_root": {"exponent": 0.5, "holds": True}}
    answer |= {"parameter": "lr", "batch": "size", "metric": "loss", "exponent": 0.5, "low": 0.25, "high": 0.75}
    answer |= {"rules": rules, "incumbent": {"trial": 7, "batch": 32.0, "value": 0.1}, "ceiling": 0.3}
    found = study.scaling("lr", "size", metric="loss")
    assert found.holds == {"none": False, "square_root": True}
    assert (found.trial, found.at(32), found.at(128)) == (7, pytest.approx(0.1), pytest.approx(0.2))
    assert found.at(3200) == 0.3
    assert [(path, query) for _, path, query, _, _ in questions] == [
        ("/scaling", {"parameter": "lr", "batch": "size", "metric": "loss"})
    ]


def test_importances_calibration_and_regret_are_read(asked):
    study, questions, answer = asked
    answer |= {"method": "sobol", "because": "few", "metric": "loss", "observations": 9, "importances": {"x": 1.0}}
    assert study.importances("sobol", metric="loss") == frazil.Importances("sobol", "few", "loss", {"x": 1.0})
    answer |= {"trials": [{"number": 1}], "coverage": {"0.8": 0.75}, "log_score": "-inf", "rmse": 2}
    calibration = study.calibration("loss")
    assert calibration == frazil.Calibration("loss", [{"number": 1}], {0.8: 0.75}, -math.inf, 2.0)
    answer |= {"contexts": [{"context": {}}], "cumulative": 3.5, "mean_regret": 0.5}
    assert study.regret == frazil.Regret("loss", 3.5, 0.5, [{"context": {}}], [{"number": 1}])
    assert [(path, query) for _, path, query, _, _ in questions] == [
        ("/importances", {"method": "sobol", "metric": "loss"}),
        ("/predictions", {"calibration": "true", "metric": "loss"}),
        ("/regret", {}),
    ]


def test_a_space_is_edited_at_the_version_that_was_read(asked):
    study, questions, answer = asked
    answer["version"] = 4
    study.edit_space({"lr": {"high": 2.0}, "width": {"disabled": True, "value": 64}})
    study.edit_space({"lr": {"high": 3.0}})
    changes = [{"name": "lr", "high": 2.0}, {"name": "width", "disabled": True, "value": 64}]
    assert [(body, match) for _, _, _, body, match in questions] == [
        ({"space": changes}, '"3"'),
        ({"space": [{"name": "lr", "high": 3.0}]}, '"4"'),
    ]


def test_trials_are_ranked_by_themselves_by_number_or_by_id(asked):
    study, questions, _ = asked
    study.compare([frazil.Observed("t4", 4, {}, {}), 2, "t7"])
    assert questions == [("POST", "/comparisons", {}, {"ranking": ["t4", 2, "t7"]}, None)]


def test_nothing_is_best_before_anything_was_measured():
    assert knowing("/best", {"observed": None, "recommended": None}).best == frazil.Best(None, None)


def test_the_trials_make_a_dataframe():
    done = {"number": 0, "state": "COMPLETED", "last_step": 6, "params": {"lr": 0.1}, "values": {"loss": "inf"}}
    told = {"number": 1, "state": "COMPLETED", "last_step": 6, "params": {"lr": 0.2}, "values": {"loss": {"mean": 0.5}}}
    idle = {"number": 2, "state": "PAUSED", "last_step": 3, "params": {"lr": 0.3}, "values": {}}
    rows = [{**done, "objective": "inf"}, {**told, "objective": 0.5}, {**idle, "objective": None}]
    frame = knowing("/trials", {"items": rows, "next_page_token": None}).trials_dataframe()
    assert list(frame.columns) == ["number", "state", "last_step", "objective", "params_lr", "values_loss"]
    assert list(frame.objective[:2]) == list(frame.values_loss[:2]) == [math.inf, 0.5]
    assert frame.objective.isna()[2]


def test_a_curve_is_steps_and_values():
    points = [{"step": 1, "value": 0.5, "elapsed": 2.0}, {"step": 2, "value": "-inf", "elapsed": None}]
    study = knowing("/trials/t4/curve", {"id": "t4", "curves": [{"metric": "loss", "points": points}]})
    assert study.curve("t4", "loss") == [(1, 0.5), (2, -math.inf)]


def test_a_dataframe_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'frazil\[pandas\]'"):
        knowing("/trials", {}).trials_dataframe()


def test_the_public_names_are_what_they_are_said_to_be():
    assert all(hasattr(frazil, name) for name in frazil.__all__)
    assert list(frazil.__all__) == sorted(frazil.__all__)
    errors = {name for name in frazil.__all__ if isinstance(getattr(frazil, name), type)} & set(dir(frazil.errors))
    assert all(issubclass(getattr(frazil, name), frazil.FrazilError) for name in errors - {"Problem"})


def test_the_import_brings_no_heavy_package():
    heavy = "{'numpy', 'torch', 'pandas', 'rich', 'pydantic'}"
    command = f"import frazil, sys; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout == "[]\n"
