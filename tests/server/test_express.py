"""Both lanes of the hot paths, the express lane and the framework's routes, give the same answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from frazil_server.app import API
from frazil_server.express import ExpressLane

EPOCHS = {"name": "epoch", "max": 4}
NOBODY = "018f0000-0000-7000-8000-000000000000"


def in_chunks(content: bytes) -> Iterator[bytes]:
    """A body of unannounced length, which the express lane leaves to the framework."""
    half = len(content) // 2
    yield content[:half]
    yield content[half:]


@pytest.fixture(params=["in process", "over HTTP"])
def lanes(request, house, api):
    """Two ways to send a request: down the express lane, and past it."""
    there = house if request.param == "in process" else api

    def express(path, content):
        return there._send("POST", API + path, content=content, headers={"Content-Type": "application/json"})

    async def chunks(content):
        for part in in_chunks(content):
            yield part

    def framework(path, content):
        body = chunks(content) if there is house else in_chunks(content)
        return there._send("POST", API + path, content=body, headers={"Content-Type": "application/json"})

    return there, express, framework


def plain(value):
    """An answer without what differs from study to study and from moment to moment."""
    if isinstance(value, dict):
        changing = {"id", "token", "request_id", "expires_at", "lease_expires_at"}
        return {name: type(item) if name in changing else plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def shape(response):
    names = sorted(name for name in response.headers if name not in ("date", "content-length"))
    return response.status_code, response.headers["content-type"], names, plain(response.json())


def test_the_express_lane_takes_the_hot_paths_and_nothing_else(house):
    lane = ExpressLane(None, house.app.state, 8 * 2**20)

    def takes(path, *, method="POST", query=b"", **headers):
        headers = {"content-type": "application/json", "content-length": "2"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value is not None]
        scope = {"type": "http", "method": method, "path": API + path, "query_string": query, "headers": raw}
        return lane._lane(scope) is not None

    for path in ("/studies/a b/trials:ask", *(f"/trials/{NOBODY}{w}" for w in ("/reports", ":tell", ":heartbeat"))):
        assert takes(path)
        assert takes(path, content_type="application/json; charset=utf-8")
        assert not takes(path, content_type=None)
        assert not takes(path, content_type="text/plain")
        assert not takes(path, content_length=None)
        assert not takes(path, content_length="²")
        assert not takes(path, content_length="0")
        assert not takes(path, content_length=str(8 * 2**20 + 1))
        assert not takes(path, idempotency_key="k")
    assert not takes("/studies/a/trials:ask", query=b"project=p")
    for path in (
        "/studies/a/b/trials:ask",
        "/studies//trials:ask",
        "/studies/a/trials",
        f"/trials/{NOBODY}",
        "/trials/7:tell",
    ):
        assert not takes(path)


def walk(there, send):
    """A life on one lane: every hot word, the refusals on its way included. Yields (what, answer)."""
    study = there.create(resource=EPOCHS, policy={"name": "random"}, metrics=["accuracy"])
    ask = f"/studies/{study['id']}/trials:ask"

    def say(word, body, trial=None):
        path = ask if trial is None else f"/trials/{trial['id']}{word}"
        return send(path, body if isinstance(body, bytes) else json.dumps(body).encode())

    yield "asked by name", send(f"/studies/{study['name']}/trials:ask", b'{"worker": "w", "count": 2}')
    yield "asked again", (answer := say(":ask", {"worker": "w", "count": 2}))
    first, second = answer.json()["trials"]
    lease = {"lease": first["lease"]["token"]}
    measured = [{"step": 1, "metrics": {"loss": "nan", "accuracy": 0.5}, "elapsed": 2}]
    yield "reported", say("/reports", lease | {"measurements": measured}, first)
    yield "reported again", say("/reports", lease | {"measurements": measured}, first)
    yield "kept alive", say(":heartbeat", lease, first)
    refused = {
        "nobody's metric": [{"step": 2, "metrics": {"lost": 1}}],
        "beyond": [{"step": 5, "metrics": {"loss": 1}}],
        "contradicted": [{"step": 1, "metrics": {"loss": 3}}],
        "backwards": [{"step": 3, "metrics": {"loss": 1}}, {"step": 2, "metrics": {"loss": 1}}],
        "text": [{"step": 2, "metrics": {"loss": "0.1"}}],
        "unnamed": [{"step": 2, "metrics": {"a/b": 1}}],
        "nothing": [],
    }
    for name, measurements in refused.items():
        yield name, say("/reports", lease | {"measurements": measurements}, first)
    yield "frozen too far", say(":pause", lease | {"checkpoint": {"uri": "c", "step": 3}}, first)
    yield "frozen elsewhere", say(":pause", lease | {"step": 3}, first)
    yield "frozen", say(":pause", lease | {"checkpoint": {"uri": "c", "step": 1}}, first)
    yield "lost", say(":heartbeat", lease, first)
    yield "thawed", (thawed := say(":ask", {"worker": "v"}))
    (first,) = thawed.json()["trials"]
    lease = {"lease": first["lease"]["token"]}
    yield "told badly", say(":tell", lease | {"values": {"loss": {"mean": 1}, "accuracy": "x"}}, first)
    yield "told", say(":tell", lease | {"values": {"loss": {"mean": 1, "sem": 0.5}}, "cost": 2}, first)
    yield "told again", say(":tell", lease | {"values": {"loss": {"mean": 1, "sem": 0.5}}, "cost": 2}, first)
    yield "told otherwise", say(":tell", lease | {"state": "FAILED"}, first)
    yield "released", say(":release", {"lease": second["lease"]["token"]}, second)
    yield "no lease", say(":release", {}, second)
    yield "too much", say(":ask", {"count": 1001, "lease_seconds": "long", "what": 1})
    for word in ("/reports", ":heartbeat", ":pause", ":release", ":tell"):
        body = {"lease": "x"} | ({"measurements": measured} if word == "/reports" else {})
        yield f"nobody{word}", send(f"/trials/{NOBODY}{word}", json.dumps(body).encode())
    yield "nowhere", send(f"/studies/{NOBODY}/trials:ask", b"{}")
    yield "no name", send("/studies/nobody%00/trials:ask", b"{}")


def test_every_hot_word_gets_the_same_answer_on_both_lanes(lanes):
    there, express, framework = lanes
    for (what, one), (_, other) in zip(walk(there, express), walk(there, framework), strict=True):
        assert shape(one) == shape(other), what


def test_an_empty_body_is_missing_on_both_lanes(lanes, refused):
    _, *both = lanes
    for send in both:
        refused(send(f"/trials/{NOBODY}:heartbeat", b""), 422, "invalid", "")


@pytest.mark.parametrize("body", [b"{", b'{"lease": "x"', b"nonsense", b"\xff\xfe", b"[" * 100_000, b"1" * 5_000])
def test_a_body_that_is_no_json_is_malformed_on_both_lanes(lanes, refused, body):
    _, *both = lanes
    for send in both:
        refused(send(f"/trials/{NOBODY}:heartbeat", body), 400, "malformed")


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"', b"[{}]"])
def test_a_body_that_is_no_object_is_invalid_on_both_lanes(lanes, refused, body):
    _, *both = lanes
    for send in both:
        refused(send(f"/trials/{NOBODY}:heartbeat", body), 422, "invalid", "")


def test_a_word_under_a_key_goes_past_the_express_lane_and_does_the_same(house, must):
    study = house.create(resource=EPOCHS)
    trial = house.lease(study)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"lease": trial["lease"]["token"], "measurements": [{"step": 1, "metrics": {"loss": 1}}]}
    keyed = house.post(f"/trials/{trial['id']}/reports", body, headers=key)
    assert must(keyed) == must(house.post(f"/trials/{trial['id']}/reports", body))
