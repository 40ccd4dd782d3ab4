"""A POST under an Idempotency-Key takes effect once, however often and however simultaneously it is sent."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from frazil_server import sweeper

EPOCHS = {"name": "epoch", "max": 10}


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


@pytest.fixture(
    params=["create", "add", "ask", "ask without a name", "report", "heartbeat", "pause", "release", "tell"]
)
def request_(request, house):
    """A POST that would have an effect each time: path, body, another body, and the study it works on."""
    study = house.create(resource=EPOCHS)
    if request.param == "create":
        body = {name: study[name] for name in ("space", "objectives", "policy")} | {"name": f"once-{uuid.uuid4().hex}"}
        return "/studies", body, body | {"seed": 1}, study
    path = f"/studies/{study['id']}/trials"
    if request.param == "add":
        return path, {"trials": [{"params": {"lr": 0.5}}]}, {"trials": [{"params": {"lr": 0.25}}]}, study
    if request.param.startswith("ask"):
        body = {"worker": "w"} if request.param == "ask" else {}
        return f"{path}:ask", body, body | {"count": 2}, study
    trial = house.lease(study)
    words = {
        "report": ("/reports", {"measurements": [{"step": 1, "metrics": {"loss": 1.0}}]}),
        "heartbeat": (":heartbeat", {}),
        "pause": (":pause", {"step": 0}),
        "release": (":release", {}),
        "tell": (":tell", {"values": {"loss": 1.0}}),
    }
    word, body = words[request.param]
    lease = {"lease": trial["lease"]["token"]}
    return f"/trials/{trial['id']}{word}", lease | body, lease | body | {"lease": "another"}, study


def test_the_first_answer_is_replayed_byte_for_byte(house, request_):
    path, body, _, study = request_
    headers = key()
    first = house.post(path, body, headers=headers)
    assert first.is_success, first.text
    assert "idempotent-replayed" not in first.headers
    state = house.everything(study)
    house.clock.advance(30)
    again = house.post(path, body, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert house.everything(study) == state


def test_a_key_is_good_for_one_body_only(house, refused, request_):
    path, body, other, study = request_
    headers = key()
    assert house.post(path, body, headers=headers).is_success
    state = house.everything(study)
    refused(house.post(path, other, headers=headers), 422, "idempotency_key_reused")
    assert house.everything(study) == state


def test_equal_requests_at_the_same_moment_take_effect_once_and_are_answered_alike(house, request_):
    path, body, _, study = request_
    headers = key()
    before = house.study(study)

    async def all_at_once():
        return await asyncio.gather(
            *[house.client.post(f"/api/v1{path}", json=body, headers=headers) for _ in range(4)]
        )

    answers = house.run(all_at_once())
    assert answers[0].is_success, answers[0].text
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 3
    assert house.study(study)["trials"] - before["trials"] in (0, 1)
    if path.endswith((":ask", "/trials")):
        assert house.study(study)["trials"] == 1


def test_a_request_that_failed_stores_nothing_and_may_be_mended_under_its_key(house, must, refused):
    study = house.create()
    path, headers = f"/studies/{study['id']}/trials", key()
    refused(house.post(path, {"trials": [{"params": {"lr": 7}}]}, headers=headers), 422, "space_invalid")
    assert house.sql("SELECT 1 FROM idempotency_keys WHERE key = :key", key=headers["Idempotency-Key"]) == []
    must(house.post(path, {"trials": [{"params": {"lr": 0.7}}]}, headers=headers))
    assert house.study(study)["trials"] == 1


def test_one_key_on_two_paths_is_two_keys(house, must):
    headers = key()
    studies = [house.create(), house.create()]
    numbers = [must(house.post(f"/studies/{study['id']}/trials:ask", {}, headers=headers)) for study in studies]
    assert [answer["trials"][0]["number"] for answer in numbers] == [0, 0]
    assert [house.study(study)["trials"] for study in studies] == [1, 1]


@pytest.mark.parametrize("length", [0, 256])
def test_a_key_has_1_to_255_characters(house, refused, length):
    response = house.post("/studies", {}, headers={"Idempotency-Key": "k" * length})
    refused(response, 422, "invalid", "/header/idempotency-key")


def test_keys_are_forgotten_after_a_day(house, must):
    study, headers = house.create(), key()
    path = f"/studies/{study['id']}/trials"
    must(house.post(path, {"trials": [{"params": {"lr": 0.5}}]}, headers=headers))
    services = house.app.state.services
    for age, forgotten in (("23 hours", False), ("25 hours", True)):
        house.sql(
            f"UPDATE idempotency_keys SET created_at = now() - interval '{age}' WHERE key = :key",
            key=headers["Idempotency-Key"],
        )
        house.run(sweeper.sweep(services.database, services.desk, house.clock.now))
        found = house.sql("SELECT 1 FROM idempotency_keys WHERE key = :key", key=headers["Idempotency-Key"])
        assert (found == []) is forgotten
