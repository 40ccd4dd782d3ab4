"""Schemathesis reads the OpenAPI document and tries to break the server that it describes."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
EPOCHS = {"name": "epoch", "max": 10}

schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(operation_id="follow_events")  # it never ends
from collections import defaultdict, Counter
SEEN = defaultdict(Counter)
CHECKED = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)


@schemathesis.serializer("application/jsonl")
def lines(_, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def study(api):
    """A study with something in it: finished, running and waiting trials, curves and events."""
    study = api.create(resource=EPOCHS, policy={"name": "random"})
    finished, running = api.ask(study, count=2)["trials"]
    api.report(finished, 1, 2)
    api.tell(finished, 0.5)
    api.report(running, 1, value="nan")
    api.post(f"/studies/{study['id']}/trials", {"trials": [{"params": {"lr": 0.5}}]})
    return study


@schema.parametrize()
@settings(
    max_examples=20, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_no_request_of_the_document_breaks_the_server(case, api, study, server_url):
    lead_somewhere(case, api, study)
    r = case.call_and_validate(base_url=server_url, checks=CHECKED)
    SEEN[case.operation.label][r.status_code] += 1


def lead_somewhere(case, api, study) -> None:
    """Points a made-up request at things that exist, so that it gets further than 404 and 422."""
    if case.method == "DELETE":
        return
    if "study" in case.path_parameters:
        case.path_parameters["study"] = study["id"]
    if "trial" in case.path_parameters:
        answer = api.ask(study, worker=uuid.uuid4().hex)
        if answer["trials"]:
            (trial,) = answer["trials"]
            case.path_parameters["trial"] = trial["id"]
            put(case.body, lease=trial["lease"]["token"])
    if len(repr(case.body)) % 2:  # half of the bodies, the same ones in every run
        put(case.body, space=study["space"], policy={"name": "sobol"}, trials=[{"params": {"lr": 0.5}}])
        put(case.body, objectives=study["objectives"], candidates=None, budget={"trials": 3}, cost=None)
        for part in case.body.get("measurements", ()) if isinstance(case.body, dict) else ():
            put(part, metrics={"loss": 0.5}, step=5)


def put(body, **fields) -> None:
    """Replaces fields that a body has."""
    if isinstance(body, dict):
        body |= {name: value for name, value in fields.items() if name in body}


def test_zz():
    for k, v in SEEN.items(): print(k, dict(v))
    assert 0
