"""The committed OpenAPI document is the server's, and a client in any language could be written from it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def printed() -> str:
    command = [sys.executable, "-m", "frazil_server", "openapi"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def document(printed) -> dict:
    return json.loads(printed)


@pytest.fixture(scope="module")
def operations(document) -> dict:
    """Operations by their ids."""
    return {operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()}


def test_the_committed_document_is_the_server_s(printed):
    remedy = "the contract changed: python -m frazil_server openapi > docs/openapi.json"
    assert COMMITTED.read_text() == printed, remedy


def test_the_server_serves_the_same_document(api, document):
    assert api._send("GET", "/openapi.json").json() == document


def test_operation_ids_are_unique_and_readable(document, operations):
    assert len(operations) == sum(map(len, document["paths"].values()))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in operations)
    assert all("frazil_server" not in name for name in document["components"]["schemas"])


def test_every_operation_documents_its_problems(operations):
    for name, operation in operations.items():
        (media_type,) = operation["responses"]["default"]["content"].items()
        assert media_type == ("application/problem+json", {"schema": {"$ref": "#/components/schemas/Problem"}}), name
        assert "422" not in operation["responses"], name


def test_a_problem_is_as_the_document_says(api, document):
    schema = document["components"]["schemas"]["Problem"]
    body = api.post("/studies", {}).json()
    assert set(schema["required"]) < set(body) <= set(schema["properties"])
    assert set(body["errors"][0]) == set(schema["properties"]["errors"]["items"]["required"])


def test_every_post_takes_an_idempotency_key(operations, document):
    posts = {operation["operationId"] for path in document["paths"].values() for operation in path.values()
             if operation is path.get("post")}  # fmt: skip
    keyed = {
        name for name, operation in operations.items()
        if any(parameter["name"] == "idempotency-key" for parameter in operation.get("parameters", ()))
    }  # fmt: skip
    assert posts == keyed


def test_every_reference_leads_somewhere(document):
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references == set(schemas), "none dangling, none unused"
