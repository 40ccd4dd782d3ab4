"""Whatever goes wrong is an RFC 9457 answer with a request id, whichever layer met it first."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from frazil_server import database, errors
from frazil_server.errors import status_of, translate
from frazil_tuner.errors import Conflict, Refused, SpaceInvalid, TryLater

NOBODY = "018f0000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("no"), 422),
        (SpaceInvalid("no"), 422),
        (Conflict("no"), 409),
        (TryLater("no", retry_after=1), 503),
        (errors.NotFound("no"), 404),
        (Conflict("no", code="precondition_failed"), 412),
        (TryLater("no", retry_after=1, code="rate_limited"), 429),
    ],
)
def test_the_status_of_an_error_is_looked_up_by_its_code_and_then_by_its_kind(error, status):
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.DeadlockDetected(), TryLater),
        (psycopg.errors.LockNotAvailable(), TryLater),
        (psycopg.errors.AdminShutdown(), TryLater),
        (PoolTimeout(), TryLater),
        (psycopg.errors.NumericValueOutOfRange(), Refused),
        (psycopg.errors.UniqueViolation(), type(None)),
        (KeyError(), type(None)),
    ],
)
def test_what_the_database_says_means_try_later_or_refused_or_a_bug(error, kind):
    assert type(translate(error)) is kind


@pytest.mark.parametrize("path", ["/nowhere", "/studies/x/nowhere", "/trials", "/studies/a/b/c", "//studies"])
def test_an_unknown_route_is_not_found(api, refused, path):
    refused(api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/studies", "GET, POST"), ("DELETE", "/studies", "GET, POST"), ("GET", "/studies/x/trials:ask", "POST")],
)
def test_a_method_that_a_route_does_not_have_is_not_allowed(api, refused, method, path, allowed):
    response = api.call(method, path)
    refused(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) <= set(allowed.split(", "))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/studies/{id}", None),
        ("PATCH", "/studies/{id}", {}),
        ("DELETE", "/studies/{id}", None),
        ("GET", "/studies/{id}/best", None),
        ("GET", "/studies/{id}/curves", None),
        ("GET", "/studies/{id}/trials", None),
        ("POST", "/studies/{id}/trials", {"trials": [{"params": {}}]}),
        ("POST", "/studies/{id}/trials:ask", {}),
        ("GET", "/trials/{id}", None),
        ("PATCH", "/trials/{id}", {"notes": ""}),
        ("GET", "/trials/{id}/curve", None),
        ("POST", "/trials/{id}/reports", {"lease": "x", "measurements": [{"step": 1, "metrics": {"loss": 1}}]}),
        ("POST", "/trials/{id}:heartbeat", {"lease": "x"}),
        ("POST", "/trials/{id}:pause", {"lease": "x"}),
        ("POST", "/trials/{id}:release", {"lease": "x"}),
        ("POST", "/trials/{id}:tell", {"lease": "x"}),
    ],
)
def test_an_unknown_id_is_not_found(api, refused, method, path, body):
    refused(api.call(method, path.format(id=NOBODY), body), 404, "not_found")
    if path.startswith("/studies"):
        refused(api.call(method, path.format(id="nobody"), body), 404, "not_found")
        refused(api.call(method, path.format(id="%00"), body), 404, "not_found")
    else:
        refused(api.call(method, path.format(id="7"), body), 422, "invalid", "/path/trial")


@pytest.mark.parametrize("given", ["run-7:a.b", "x" * 128])
def test_a_request_id_comes_back_as_it_was_sent(api, given):
    for path in ("/studies", "/nowhere"):
        assert api.get(path, headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", '"'])
def test_a_request_id_that_does_not_fit_in_a_log_line_is_replaced(api, given):
    response = api.get("/nowhere", headers={"X-Request-ID": given})
    assert uuid.UUID(response.headers["x-request-id"])
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_a_request_without_an_id_is_given_one_of_its_own(api):
    ids = {api.get("/studies").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.fixture
def hasty(monkeypatch, new_house):
    """A server whose database connections wait no longer than 0.3 seconds for a lock."""
    monkeypatch.setitem(database._SESSION_LIMITS, "lock_timeout", "300ms")
    yield (house := new_house())
    house.close()


def test_a_busy_database_is_worth_another_try_after_some_seconds(hasty, refused, must):
    study = hasty.create()
    path = f"/studies/{study['id']}"
    with psycopg.connect(hasty.database_url) as holder:
        holder.execute("SELECT FROM studies FOR UPDATE")
        for response in (hasty.patch(path, {"notes": "x"}), hasty.post(f"{path}/trials:ask", {})):
            refused(response, 503, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
    must(hasty.patch(path, {"notes": "x"}))
    assert len(hasty.ask(study)["trials"]) == 1


def test_metrics_are_counted_by_route_and_not_by_path(api):
    study = api.create(policy={"name": "sobol"})
    trial = api.lease(study)
    api.report(trial, 1)
    api.study(study)
    api.get("/nowhere/at/all")
    page = api._send("GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert study["id"] not in page.text
    assert "/nowhere" not in page.text
    for method, route in [
        ("GET", "/api/v1/studies/{study}"),
        ("POST", "/api/v1/studies/{study}/trials:ask"),
        ("POST", "/api/v1/trials/{trial}/reports"),
    ]:
        assert f'frazil_http_requests_total{{method="{method}",route="{route}",status="200"}}' in page.text


def test_health_readiness_and_the_system_are_told(api, must):
    assert must(api._send("GET", "/healthz")) == {"status": "ok"}
    assert must(api._send("GET", "/readyz")) == {"status": "ready"}
    system = must(api.get("/system"))
    assert system["database"].startswith("PostgreSQL 18")
    assert system["engine"]["executor"] == "local"
    assert system["engine"]["device"]["setting"] == "auto"
    assert system["engine"]["waiting"] >= 0
    assert set(system["training"]) == {"trials", "workers"}
    policies = {policy["name"]: policy for policy in must(api.get("/policies"))["items"]}
    assert {"auto", "asha", "bayes", "random", "sobol", "grid"} <= set(policies)
    assert [option["name"] for option in policies["asha"]["options"]] == ["eta"]
