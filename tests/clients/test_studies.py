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
                "objectives": [{"metric": "val_loss", "direction": "minimize", "summary": "last"}],
                "resource": {"name": "epoch", "max": 30, "min": 1, "kind": "resumable"},
                "policy": {"name": "asha"},
                "budget": {"resource": 400},
                "if_exists": "load",
            },
        )
    ]


def test_every_argument_arrives(recorded):
    client, bodies = recorded
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
        objectives=[frazil.Objective("loss", summary="best"), frazil.Objective("speed", "maximize")],
        resource=frazil.Resource("batch", max=900, min=30, kind="restart"),
        policy={"name": "asha", "eta": 4},
        budget={"trials": 7, "seconds": 60},
        candidates=[{"width": 64}, {"width": 128}],
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
            {"metric": "loss", "direction": "minimize", "summary": "best"},
            {"metric": "speed", "direction": "maximize", "summary": "last"},
        ],
        "resource": {"name": "batch", "max": 900, "min": 30, "kind": "restart"},
        "policy": {"name": "asha", "eta": 4},
        "budget": {"trials": 7, "seconds": 60},
        "candidates": [{"width": 64}, {"width": 128}],
        "seed": 11,
        "metadata": {"team": "vision"},
        "if_exists": "fail",
    }


def test_maximize_says_so(recorded):
    client, bodies = recorded
    client.create_study("m", space={}, maximize="accuracy")
    assert bodies[0][2]["objectives"] == [{"metric": "accuracy", "direction": "maximize", "summary": "last"}]


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
