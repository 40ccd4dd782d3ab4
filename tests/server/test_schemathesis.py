"""Schemathesis reads the OpenAPI document and tries to break the server that it describes."""

from __future__ import annotations

import json
import uuid
import zlib
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
EPOCHS = {"name": "epoch", "max": 10}

schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(
    operation_id=["follow_events", "follow_studies"]
)  # they never end
CHECKED = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
     "negative_data_rejection"]
)  # fmt: skip


REFUSED_UNREAD, LONGEST_LINE = "Invalid HTTP request received.", 60_000
"""What the HTTP server beneath the application says, in its own words, to request lines longer than about 64 KiB."""


@schemathesis.serializer("application/jsonl")
def lines(_, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def study(api):
    """A study with something in it: finished, running and waiting trials, curves and events; enough for a model."""
    study = api.create(resource=EPOCHS, policy={"name": "random"})
    finished, running = api.ask(study, count=2)["trials"]
    api.report(finished, 1, 2)
    api.tell(finished, 0.5)
    api.report(running, 1, value="nan")
    done = [{"params": {"lr": 0.05 * i}, "state": "COMPLETED", "values": {"loss": i % 4}} for i in range(1, 12)]
    api.post(f"/studies/{study['id']}/trials", {"trials": [*done, {"params": {"lr": 0.5}}]})
    return study


@pytest.fixture
def compared(api):
    """A study whose trials are ranked."""
    study = api.create(objectives=[{"metric": "taste", "by": "comparison"}])
    api.ask(study, count=2)
    return study


@pytest.fixture
def thawing(api):
    """A study in which runs are weighed against each other."""
    study = api.create(resource=EPOCHS, policy={"name": "freeze_thaw"})
    api.report(api.lease(study), 1)
    return study


@pytest.fixture
def batched(api):
    """A study of learning rates and batch sizes."""
    space = [{"name": name, "type": "float", "low": 1, "high": 100, "log": True} for name in ("lr", "size")]
    study = api.create(space=space)
    done = [
        {"params": {"lr": 1 + i, "size": 1 + i % 4}, "state": "COMPLETED", "values": {"loss": i % 5}} for i in range(12)
    ]
    api.post(f"/studies/{study['id']}/trials", {"trials": done})
    return study


@pytest.fixture
def decayed(api):
    """A study of learning rates and weight decays, with curves."""
    space = [{"name": name, "type": "float", "low": 1, "high": 100, "log": True} for name in ("lr", "decay")]
    study = api.create(space=space, resource=EPOCHS)
    curve = [{"step": step, "metrics": {"loss": 1.0 / step}} for step in range(1, 11)]
    done = [{"params": {"lr": 1 + i, "decay": 1 + i % 4}, "state": "COMPLETED", "curve": curve} for i in range(12)]
    api.post(f"/studies/{study['id']}/trials", {"trials": done})
    return study


@pytest.fixture(scope="module")
def answered_well():
    """The operations that answered a request with success."""
    return set()


@schema.parametrize()
@settings(
    max_examples=15, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_no_request_of_the_document_breaks_the_server(
    case, api, study, compared, thawing, batched, decayed, server_url, answered_well
):
    special = {"/comparisons": compared, "/ranking": thawing, "/scaling": batched, "/invariance": decayed}
    lead_somewhere(case, api, special.get("/" + case.path.rpartition("/")[2], study))
    try:
        response = case.call_and_validate(base_url=server_url, checks=CHECKED)
    except FailureGroup as failures:
        if REFUSED_UNREAD in str(failures) and len(str(failures)) > LONGEST_LINE:
            return
        raise
    if response.status_code < 300:
        answered_well.add(case.operation.definition.raw["operationId"])


def lead_somewhere(case, api, study) -> None:
    """Points a made-up request at things that exist, so that it gets further than 404 and 422; not one whose fault is
    that it points nowhere.
    """
    path = case.meta.components.get(ParameterLocation.PATH)
    if path is not None and path.mode is not schemathesis.GenerationMode.POSITIVE:
        return
    known = {}
    if "study" in case.path_parameters:
        case.path_parameters["study"] = study["id"]
    if "trial" in case.path_parameters and (leased := api.ask(study, worker=uuid.uuid4().hex)["trials"]):
        case.path_parameters["trial"] = leased[0]["id"]
        known = {"lease": leased[0]["lease"]["token"]}
    if case.meta.generation.mode is not schemathesis.GenerationMode.POSITIVE:
        return
    if "/optimizers" in case.path:
        case.path_parameters |= {"name": "adamw"} if "name" in case.path_parameters else {}
        case.query |= {"names": "adamw,lion"} if "names" in (case.query or {}) else {}
    if case.path.endswith("/predictions") and case.method == "GET" and len(repr(case.query)) % 2:
        case.query = {"slice": "lr"}
    if case.path.endswith("/profiles"):
        case.query = {"studies": [study["id"]], "measure": "trials"}
    if case.path.endswith("/invariance"):
        case.query = {"rate": "lr", "decay": "decay"}
    if case.path.endswith("/scaling"):
        case.query = {"parameter": "lr", "batch": "size"}
    # Made-up points fit no space, and made-up schedules and norms mean nothing.
    known |= {"points": [{"lr": 0.5}], "schedule": {"kind": "linear", "total_steps": 10}, "norms": list(range(1, 20))}
    if zlib.crc32(repr(case.body).encode()) % 2:  # half of the bodies; which, is the business of chance
        known |= {name: study[name] for name in ("space", "objectives", "policy")}
        known |= {"candidates": None, "budget": {"trials": 3}, "cost": None, "trials": [{"params": {"lr": 0.5}}],
                  "ranking": [0, 1], "outcome_constraints": [], "constraints": [],
                  "related": None, "context": None, "gradients": {},
                  "measurements": [{"step": 5, "metrics": {"loss": 0.5}}]}  # fmt: skip
    if isinstance(case.body, dict):
        case.body |= {name: value for name, value in known.items() if name in case.body}


def test_every_operation_got_a_request_that_it_could_serve(answered_well):
    asked = {operation.ok().definition.raw["operationId"] for operation in schema.get_all_operations()}
    assert asked - answered_well == {"import_trials"}, "whose lines nobody makes up"
