"""The event stream and the audit pages, against a real server and real concurrent transactions."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import create_engine as create_sync_engine
from sqlalchemy import text

from frazil_server.database import async_url, create_engine, migrate
from frazil_server.events import stream
from frazil_server.events.announcer import Announcer
from frazil_server.events.stream import Position

SPACE = [{"name": "lr", "type": "float", "low": 0.0, "high": 1.0}]


@pytest.fixture
def client(server_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{server_url}/api/v1", timeout=20) as client:
        yield client


@pytest.fixture
def study(client: httpx2.Client) -> Iterator[str]:
    """The id of a fresh study; deleting it at the end also ends every stream that a test left open."""
    body = {"name": f"events-{uuid.uuid4().hex}", "space": SPACE, "objectives": [{"metric": "loss"}]}
    study_id = client.post("/studies", json=body | {"policy": {"name": "random"}}).raise_for_status().json()["id"]
    yield study_id
    client.delete(f"/studies/{study_id}")


def note(client: httpx2.Client, study: str, text: str) -> None:
    """Makes one event: study.changed, with the text in its data."""
    client.patch(f"/studies/{study}", json={"notes": text}).raise_for_status()


def parse(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream, comments left out."""
    event: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line:
            if "id" in event:
                yield event
            event = {}
        elif name:
            event[name] = json.loads(value) if name == "data" else value


class Follower:
    """Reads a stream in a thread of its own."""

    def __init__(self, url: httpx2.URL, headers: dict[str, str], params: dict[str, str]) -> None:
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(url, headers, params), daemon=True)
        self._thread.start()

    def _read(self, url: httpx2.URL, headers: dict[str, str], params: dict[str, str]) -> None:
        with (
            httpx2.Client(timeout=30) as client,
            client.stream("GET", url, headers=headers, params=params) as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            for event in parse(response.iter_lines()):
                self.events.put(event)
        self.events.put(None)

    def next(self, timeout: float = 5.0) -> dict[str, Any]:
        event = self.events.get(timeout=timeout)
        assert event is not None, "the stream has ended"
        return event

    def join(self) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive(), "the stream did not end with its study"


@contextmanager
def following(client: httpx2.Client, study: str, *, header: str | None = None, **params: str) -> Iterator[Follower]:
    headers = {} if header is None else {"Last-Event-ID": header}
    follower = Follower(client.base_url.join(f"studies/{study}/events"), headers, params)
    yield follower
    client.delete(f"/studies/{study}")
    follower.join()


def notes_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"].get("notes") for event in events]


# ── following ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_says_hello_and_then_only_what_happens_from_now_on(client: httpx2.Client, study: str) -> None:
    note(client, study, "before")
    with following(client, study) as follower:
        hello = follower.next()
        assert (hello["event"], hello["data"]) == ("hello", {"study": study})
        note(client, study, "after")
        event = follower.next()
        assert event["event"] == "study.changed"
        assert event["data"]["trial"] is None
        assert event["data"]["notes"] == "after"
        assert event["data"]["at"].endswith("Z")
        assert [int(part) for part in event["id"].split("-")] > [int(part) for part in hello["id"].split("-")]


def test_a_stream_since_the_start_replays_everything_in_order(client: httpx2.Client, study: str) -> None:
    for text_ in ("a", "b", "c"):
        note(client, study, text_)
    with following(client, study, since="start") as follower:
        events = [follower.next() for _ in range(5)]
    assert [event["event"] for event in events] == ["hello", "study.created", *["study.changed"] * 3]
    assert events[0]["id"] == "0-0"
    assert notes_of(events)[2:] == ["a", "b", "c"]


def test_an_event_of_a_trial_carries_its_number(client: httpx2.Client, study: str) -> None:
    with following(client, study) as follower:
        follower.next()
        body = {"trials": [{"params": {"lr": 0.5}}, {"params": {"lr": 0.25}}]}
        client.post(f"/studies/{study}/trials", json=body).raise_for_status()
        events = [follower.next() for _ in range(2)]
    assert [(event["event"], event["data"]["trial"]) for event in events] == [("trial.added", 0), ("trial.added", 1)]


def test_a_stream_goes_on_after_the_last_event_id(client: httpx2.Client, study: str) -> None:
    for text_ in ("a", "b", "c"):
        note(client, study, text_)
    items = client.get(f"/studies/{study}/events:list").json()["items"]
    with following(client, study, header=items[1]["id"]) as follower:
        events = [follower.next() for _ in range(2)]
    assert notes_of(events) == ["b", "c"]
    assert [event["id"] for event in events] == [item["id"] for item in items[2:]]


def test_a_browser_that_repeats_its_url_is_resumed_by_its_header(client: httpx2.Client, study: str) -> None:
    for text_ in ("a", "b", "c"):
        note(client, study, text_)
    ids = [item["id"] for item in client.get(f"/studies/{study}/events:list").json()["items"]]
    with ExitStack() as streams:
        url = {"since": "start", "last_event_id": ids[1]}
        first = streams.enter_context(following(client, study, **url))
        again = streams.enter_context(following(client, study, header=ids[2], **url))
        assert notes_of([first.next(), again.next()]) == ["b", "c"]


def test_an_event_that_commits_late_is_neither_skipped_nor_sent_twice(
    client: httpx2.Client, study: str, postgres_url: str
) -> None:
    insert = "INSERT INTO events (study_id, kind, data) VALUES (%s, %s, '{}')"
    with (
        psycopg.connect(postgres_url) as early,
        psycopg.connect(postgres_url) as late,
        following(client, study) as follower,
    ):
        follower.next()
        early.execute("SELECT pg_current_xact_id()")
        late.execute(insert, (study, "first.to.commit"))
        late.commit()
        with pytest.raises(queue.Empty):
            follower.next(timeout=2.5)
        early.execute(insert, (study, "first.to.begin"))
        early.commit()
        events = [follower.next() for _ in range(2)]
        assert [event["event"] for event in events] == ["first.to.begin", "first.to.commit"]
        note(client, study, "and on")
        assert follower.next()["data"]["notes"] == "and on"


def test_an_event_that_was_written_earlier_but_commits_later_is_not_skipped(
    client: httpx2.Client, study: str, postgres_url: str
) -> None:
    insert = "INSERT INTO events (study_id, kind, data) VALUES (%s, %s, '{}')"
    with (
        psycopg.connect(postgres_url) as older,
        psycopg.connect(postgres_url) as younger,
        following(client, study) as follower,
    ):
        follower.next()
        older.execute("SELECT pg_current_xact_id()")
        younger.execute(insert, (study, "smaller.id"))
        older.execute(insert, (study, "larger.id"))
        older.commit()
        assert follower.next()["event"] == "larger.id"
        younger.commit()
        assert follower.next()["event"] == "smaller.id"


def test_a_stream_that_begins_amid_open_transactions_gets_their_events(
    client: httpx2.Client, study: str, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as early:
        early.execute("INSERT INTO events (study_id, kind, data) VALUES (%s, 'old.but.open', '{}')", (study,))
        with following(client, study) as follower:
            follower.next()
            early.commit()
            assert follower.next()["event"] == "old.but.open"


def test_a_change_reaches_a_stream_before_it_would_look_for_itself(client: httpx2.Client, study: str) -> None:
    delays = []
    with following(client, study) as follower:
        follower.next()
        for round_ in range(4):
            time.sleep(0.1)
            note(client, study, str(round_))
            sent = time.monotonic()
            follower.next()
            delays.append(time.monotonic() - sent)
    assert sorted(delays)[1] < stream.LOOK_AGAIN / 2


def test_streams_hold_no_connection_while_they_wait(client: httpx2.Client, study: str) -> None:
    with ExitStack() as streams:
        followers = [streams.enter_context(following(client, study)) for _ in range(16)]  # the pool has 12
        for follower in followers:
            follower.next()
        note(client, study, "to all")
        assert notes_of([follower.next() for follower in followers]) == ["to all"] * 16


def test_a_deleted_study_ends_its_streams(client: httpx2.Client, study: str) -> None:
    with following(client, study) as follower:
        follower.next()
        client.delete(f"/studies/{study}").raise_for_status()
        assert follower.events.get(timeout=5) is None


def test_a_stream_tells_nothing_of_another_study(client: httpx2.Client, study: str) -> None:
    body = {"name": f"events-{uuid.uuid4().hex}", "space": SPACE, "objectives": [{"metric": "loss"}]}
    other = client.post("/studies", json=body).raise_for_status().json()["id"]
    with following(client, study) as follower:
        follower.next()
        note(client, other, "theirs")
        note(client, study, "ours")
        assert follower.next()["data"]["notes"] == "ours"
    client.delete(f"/studies/{other}")


@pytest.mark.parametrize(
    "written", ["", "7", "7-", "-1-2", "a-b", "7-8-9", "1e3-2", f"{2**63}-1", "99999999999999999999-1"]
)
def test_a_malformed_last_event_id_is_refused_by_name(client: httpx2.Client, study: str, written: str) -> None:
    by_header = client.get(f"/studies/{study}/events", headers={"Last-Event-ID": written})
    by_query = client.get(f"/studies/{study}/events", params={"last_event_id": written})
    for answer, pointer in ((by_header, "/header/Last-Event-ID"), (by_query, "/query/last_event_id")):
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_stream_of_an_unknown_study_is_not_found(client: httpx2.Client) -> None:
    assert client.get("/studies/nobody/events").status_code == 404
    assert client.get("/studies/nobody/events:list").status_code == 404


def test_a_silent_stream_gives_a_sign_of_life(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.0)
    migrate(database_url)
    study_id = uuid.uuid4()
    with psycopg.connect(database_url) as connection:
        add_study(connection, study_id)

    async def first() -> dict[str, Any] | None:
        database = create_engine(database_url, 2)
        events = stream.follow(database, Announcer(database, database_url), study_id, Position())
        found = await anext(events)
        await events.aclose()
        await database.dispose()
        return found

    assert asyncio.run(first()) is None


# ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_correction_stands_in_the_audit_pages_with_what_was_before(client: httpx2.Client, study: str) -> None:
    trials = [{"params": {"lr": 0.5}, "state": "COMPLETED", "values": {"loss": value}} for value in (1.0, 2.0)]
    added = client.post(f"/studies/{study}/trials", json={"trials": trials}).raise_for_status().json()["trials"]
    client.patch(f"/trials/{added[1]['id']}", json={"values": {"loss": 3.0}}).raise_for_status()
    items = client.get(f"/studies/{study}/events:list", params={"trial": 1}).json()["items"]
    assert [item["kind"] for item in items] == ["trial.added", "trial.corrected"]
    assert {item["trial"] for item in items} == {1}
    assert items[1]["data"] == {"values": {"loss": 3.0}, "before": {"loss": 2.0}}


def test_pages_of_events_give_each_one_once(client: httpx2.Client, study: str) -> None:
    trials = [{"params": {"lr": 0.5}}] * 5  # one transaction, which ends in mid-page
    client.post(f"/studies/{study}/trials", json={"trials": trials}).raise_for_status()
    for text_ in "ab":
        note(client, study, text_)
    items, token = [], None
    while True:
        params = {"page_size": 3} | ({} if token is None else {"page_token": token})
        page = client.get(f"/studies/{study}/events:list", params=params).raise_for_status().json()
        assert len(page["items"]) <= 3
        items += page["items"]
        token = page["next_page_token"]
        if token is None:
            break
    assert [item["trial"] for item in items] == [None, 0, 1, 2, 3, 4, None, None]
    assert [item["data"].get("notes") for item in items[-2:]] == ["a", "b"]


def test_a_page_of_events_refuses_a_foreign_token(client: httpx2.Client, study: str) -> None:
    answer = client.get(f"/studies/{study}/events:list", params={"page_token": "WzFd"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/query/page_token"


def test_following_reads_the_index_from_its_position(database_url: str) -> None:
    migrate(database_url)
    study_id = uuid.uuid4()
    with psycopg.connect(database_url) as connection:
        add_study(connection, study_id)
        connection.execute(
            """INSERT INTO events (study_id, kind, data, xid)
            SELECT %s, 'trial.reported', '{}', i FROM generate_series(1, 5000) AS s(i)""",
            (study_id,),
        )
    engine = create_sync_engine(async_url(database_url))
    with engine.begin() as connection:
        connection.execute(text("ANALYZE events"))
        parameters = {"study": study_id, "xid": 4990, "id": 0, "trial": None, "count": 500}
        plan = "\n".join(connection.execute(text(f"EXPLAIN {stream._LATER.text}"), parameters).scalars())
    engine.dispose()
    assert "ix_events_study_id_xid_id" in plan
    assert "Seq Scan on events" not in plan


def add_study(connection: psycopg.Connection[Any], study_id: uuid.UUID) -> None:
    """A bare study row in an empty database."""
    project_id = uuid.uuid4()
    connection.execute("INSERT INTO projects (id, name) VALUES (%s, 'default')", (project_id,))
    connection.execute(
        """INSERT INTO studies (id, project_id, name, definition, policy, budget)
        VALUES (%s, %s, 'bare', '{}', '{}', '{}')""",
        (study_id, project_id),
    )


def test_a_server_told_to_end_ends_its_streams_and_then_itself(start_server: Any) -> None:
    server = start_server()
    with httpx2.Client(base_url=f"{server.url}/api/v1", timeout=20) as client:
        body = {"name": "ends", "space": SPACE, "objectives": [{"metric": "loss"}]}
        client.post("/studies", json=body).raise_for_status()
        with client.stream("GET", "/studies/ends/events") as response:
            lines = response.iter_lines()
            assert next(lines)
            began = time.monotonic()
            server.stop()
            for _ in lines:
                pass  # the stream ends without an error
        assert time.monotonic() - began < 4, "the stream was waited out"


def test_one_stream_tells_of_every_study_that_changes(client: httpx2.Client, study: str) -> None:
    with client.stream("GET", "/studies:events") as response:
        lines = response.iter_lines()
        assert next(lines) == "event: hello"
        told: set[str] = set()
        for word in ("one", "two"):
            note(client, study, word)
            while True:
                line = next(lines)
                if line.startswith("data: ") and "studies" in line:
                    told = set(json.loads(line.removeprefix("data: "))["studies"])
                    if study in told:
                        break
        body = {"name": f"events-{uuid.uuid4().hex}", "space": SPACE, "objectives": [{"metric": "loss"}]}
        created = client.post("/studies", json=body).raise_for_status().json()["id"]
        assert any(created in line for line in lines)
