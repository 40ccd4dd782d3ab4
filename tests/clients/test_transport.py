"""Patience with outages, and errors by name."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re

import httpx2
import pytest

import frazil
from frazil import transport as wire


def test_a_server_that_is_away_is_asked_until_it_is_back(serve, monkeypatch, caplog):
    monkeypatch.setattr(wire, "FIRST_PAUSE", 0.001)
    server, study = serve()
    server.faults = [
        httpx2.ConnectError("connection refused"),
        httpx2.ReadTimeout("too slow"),
        httpx2.RemoteProtocolError("server disconnected"),
        httpx2.Response(502, text="<html>bad gateway</html>"),
        httpx2.Response(503, json={"code": "overloaded"}),
    ]
    with caplog.at_level(logging.WARNING, logger="frazil"):
        assert study.ask().number == 0
    assert not server.faults
    assert "connection refused" in caplog.text
    assert caplog.text.count("trying again") == 1  # for each outage, not for each attempt


def test_a_retry_after_is_honoured(serve, monkeypatch):
    slept = []
    monkeypatch.setattr(wire.time, "sleep", slept.append)
    server, study = serve()
    server.faults = [httpx2.Response(429, headers={"retry-after": "3"}, json={"code": "rate_limited"})]
    study.ask()
    assert len(slept) == 1
    assert 3 <= slept[0] <= 4


def test_pauses_between_attempts_grow_up_to_a_limit(serve, monkeypatch):
    slept = []
    monkeypatch.setattr(wire.time, "sleep", slept.append)
    server, study = serve(patience=1000.0)
    server.faults = [httpx2.ConnectError("refused") for _ in range(12)]
    study.ask()
    assert 0.1 <= slept[0] <= 0.125
    assert all(later > 1.5 * sooner for sooner, later in itertools.pairwise(slept[:6]))
    assert max(slept) <= 1.25 * wire.LONGEST_PAUSE


def test_patience_ends_with_an_error_that_names_the_address(serve):
    server, study = serve(patience=0.3)
    server.faults = [httpx2.ConnectError("connection refused") for _ in range(100)]
    with pytest.raises(
        frazil.Unreachable, match=r"no answer from http://frazil\.test \(connection refused\)"
    ) as caught:
        study.ask()
    assert caught.value.status is None
    assert 2 <= 100 - len(server.faults) <= 6


def test_an_overload_that_does_not_end_is_named_as_one(serve):
    server, study = serve(patience=0.0)
    server.faults = [httpx2.Response(503, headers={"retry-after": "7"}, json={"code": "overloaded", "detail": "busy"})]
    with pytest.raises(frazil.Overloaded, match="busy") as caught:
        study.ask()
    assert caught.value.retry_after == 7


def test_an_ask_whose_answer_was_lost_gets_the_same_trial(serve):
    server, study = serve(count=2)
    server.lost_answers = 1
    assert study.ask().number == 0
    assert [trial.state for trial in server.trials] == ["RUNNING", "QUEUED"]


def test_creations_carry_one_idempotency_key_across_their_attempts(serve):
    server, study = serve()
    before = len(server.requests)
    server.lost_answers = 2
    study.enqueue({"lr": 0.2})
    study.enqueue({"lr": 0.2})
    keys = [request.headers.get("idempotency-key") for request in server.requests[before:]]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert None not in keys


def test_words_that_are_idempotent_by_nature_carry_no_key(serve):
    server, study = serve()
    for trial in study.trials():
        for step in trial.steps():
            trial.report(step, loss=1.0)
    assert not any("idempotency-key" in request.headers for request in server.requests[1:])


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "not_found", frazil.NotFound),
        (409, "study_conflict", frazil.StudyConflict),
        (409, "study_not_active", frazil.StudyNotActive),
        (409, "budget_exhausted", frazil.StudyNotActive),
        (409, "step_conflict", frazil.StepConflict),
        (409, "something_new", frazil.Conflict),
        (401, "unauthenticated", frazil.Denied),
        (403, "forbidden", frazil.Denied),
        (413, "payload_too_large", frazil.Invalid),
        (422, "space_invalid", frazil.Invalid),
        (422, "idempotency_key_reused", frazil.Invalid),
        (500, "internal", frazil.FrazilError),
    ],
)
def test_every_problem_has_its_exception(serve, problem, status, code, kind):
    server, study = serve()
    server.faults = [problem(status, code, "A sentence for people.")]
    with pytest.raises(frazil.FrazilError, match="A sentence for people") as caught:
        study.refresh()
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.request_id) == (status, code, "A sentence for people.", "r-1")


def test_an_invalid_definition_names_its_fields(serve, problem):
    server, study = serve()
    faults = [{"pointer": "/space/0/low", "detail": "must be less than high"}]
    server.faults = [problem(422, "space_invalid", "The space contradicts itself.", errors=faults)]
    with pytest.raises(frazil.Invalid, match="/space/0/low: must be less than high") as caught:
        study.refresh()
    assert caught.value.errors == (frazil.Problem("/space/0/low", "must be less than high"),)


def test_an_error_that_is_no_problem_document_still_says_what_happened(serve):
    server, study = serve()
    server.faults = [httpx2.Response(418, text="<html>teapot</html>")]
    with pytest.raises(frazil.FrazilError, match="answered 418"):
        study.refresh()


def test_numbers_that_json_does_not_know_travel_as_the_contract_spells_them():
    sent = wire.encoded({"a": [float("nan"), float("inf"), {"b": -float("inf")}], "c": (1, "x", None, True)})
    assert json.loads(sent) == {"a": ["nan", "inf", {"b": "-inf"}], "c": [1, "x", None, True]}


def test_numpy_scalars_travel_as_numbers():
    numpy = pytest.importorskip("numpy")
    assert wire.encoded({"i": numpy.int64(3), "f": numpy.float32(0.5)}) == b'{"i":3,"f":0.5}'
    with pytest.raises(TypeError, match="no JSON value"):
        wire.encoded({"x": object()})


def test_the_address_and_the_token_come_from_the_environment(monkeypatch):
    requests = []

    def server(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"items": [], "next_page_token": None, "total": 0})

    monkeypatch.setenv("FRAZIL_URL", "http://tuner.example:9000/")
    monkeypatch.setenv("FRAZIL_TOKEN", "frz_1_secret")
    with frazil.Client(transport=httpx2.MockTransport(server)) as client:
        assert client.studies() == []
    assert str(requests[0].url) == "http://tuner.example:9000/api/v1/studies"
    assert requests[0].headers["authorization"] == "Bearer frz_1_secret"


def test_a_list_is_read_page_after_page():
    def server(request: httpx2.Request) -> httpx2.Response:
        page = int(request.url.params.get("page_token", "0"))
        info = {"id": f"id-{page}", "name": f"study {page}", "state": "active"}
        return httpx2.Response(200, json={"items": [info], "next_page_token": str(page + 1) if page < 2 else None})

    with frazil.Client(transport=httpx2.MockTransport(server)) as client:
        assert [study.name for study in client.studies()] == ["study 0", "study 1", "study 2"]


def test_a_name_is_quoted_into_the_path():
    paths = []

    def server(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.raw_path)
        return httpx2.Response(200, json={"id": "1", "name": "a b?", "state": "active"})

    with frazil.Client(transport=httpx2.MockTransport(server)) as client:
        client.study("a b?")
    assert paths == [b"/api/v1/studies/a%20b%3F"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_client_refuses_to_work_in_a_forked_child(serve, monkeypatch):
    _, study = serve()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="does not survive a fork"):
        study.refresh()


def test_every_loop_has_a_worker_name_of_its_own(serve):
    server, study = serve(count=3)
    study.ask()
    study.ask()
    names = [body["worker"] for body in server.bodies(":ask")]
    assert len(set(names)) == 2
    assert all(re.fullmatch(rf".+:{os.getpid()}:[0-9a-f]{{8}}", name) for name in names)
