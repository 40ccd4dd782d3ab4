"""No query of a hot path reads a table from end to end: each statement that the server runs is explained on its way."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from typing import Any

import psycopg
import pytest
from psycopg.rows import tuple_row

from frazil_server import sweeper

LARGE = {"trials", "measurements", "events", "suggestions"}
EPOCHS = {"name": "epoch", "max": 30}

# A study with trials in every state, curves of ten points, and suggestions on its shelf.
LOAD = """
INSERT INTO trials (id, study_id, number, state, params, values, step, last_step, until_step, ready, objective, worker,
                    lease_token, lease_seconds, lease_expires_at, attempt, finished_at)
SELECT gen_random_uuid(), %(study)s, n, state, jsonb_build_object('lr', 0.001 + n / 10000.0), '{}', 10, 10, 30,
       state = 'PAUSED' AND n %% 100 = 0, CASE WHEN state <> 'FAILED' THEN sin(n) END,
       CASE WHEN state = 'RUNNING' THEN 'worker ' || n END, CASE WHEN state = 'RUNNING' THEN 'token ' || n END,
       CASE WHEN state = 'RUNNING' THEN 1e6 END, CASE WHEN state = 'RUNNING' THEN timestamptz '2031-01-01' END, 1, now()
FROM generate_series(0, %(trials)s - 1) n,
LATERAL (SELECT CASE WHEN n %% 50 = 1 THEN 'RUNNING' WHEN n %% 10 = 0 THEN 'PAUSED' WHEN n %% 10 = 5 THEN 'FAILED'
         ELSE 'COMPLETED' END AS state) s;
INSERT INTO measurements (trial_id, metric, step, value, attempt)
SELECT id, 'loss', s, random(), 1 FROM trials, generate_series(1, 10) s WHERE study_id = %(study)s;
INSERT INTO events (study_id, trial_number, kind, data)
SELECT %(study)s, n %% 5000, 'trial.reported', '{}' FROM generate_series(1, 10000) n;
INSERT INTO suggestions (study_id, params, data_version, why)
SELECT %(study)s, jsonb_build_object('lr', 0.9 + n / 10000.0), 1000000, '{}' FROM generate_series(1, %(shelf)s) n;
UPDATE studies SET next_number = %(trials)s, started = %(trials)s, (queued, running, paused, completed, failed) =
    (SELECT 0, count(*) FILTER (WHERE state = 'RUNNING'), count(*) FILTER (WHERE state = 'PAUSED'),
            count(*) FILTER (WHERE state = 'COMPLETED'), count(*) FILTER (WHERE state = 'FAILED')
     FROM trials WHERE study_id = %(study)s) WHERE id = %(study)s;
"""


class Explained:
    """Every statement that psycopg runs for the server, with what its plan reads and how."""

    def __init__(self) -> None:
        self.scans: dict[str, set[tuple[str, str | None]]] = defaultdict(set)

    def note(self, statement: str, plan: dict[str, Any]) -> None:
        for relation in (plan.get("Relation Name"), plan.get("Index Name")):
            self.scans[re.sub(r"\s+", " ", statement)].add((plan["Node Type"], relation))
        for part in plan.get("Plans", ()):
            self.note(statement, part)

    def read_from_end_to_end(self) -> dict[str, str | None]:
        return {
            statement: relation
            for statement, scans in self.scans.items()
            for kind, relation in scans
            if kind == "Seq Scan" and relation in LARGE
        }

    def indexes(self) -> set[str]:
        return {name for scans in self.scans.values() for kind, name in scans if "Index" in kind}


@pytest.fixture(scope="module")
def crowded(new_house):
    house = new_house()
    yield house
    house.close()


@pytest.fixture(scope="module")
def quiet(crowded):
    """A study of a policy that needs no model, among others."""
    return crowded.create(policy={"name": "random"}, resource=EPOCHS)


@pytest.fixture(scope="module")
def hot(crowded, quiet):
    """The study under load; a first ask has warmed the server's snapshot of it."""
    hot, other = (crowded.create(policy={"name": "bayes"}, resource=EPOCHS) for _ in range(2))
    with psycopg.connect(crowded.database_url, autocommit=True) as connection:
        for study, trials, shelf in ((hot, 5_000, 100), (quiet, 2_000, 0), (other, 4_000, 20_000)):
            for statement in LOAD.split(";\n")[:-1]:
                connection.execute(statement, {"study": study["id"], "trials": trials, "shelf": shelf})
        connection.execute("VACUUM ANALYZE")
    assert len(crowded.ask(hot, "the first", count=55)["trials"]) == 55, (
        "all that waited in line, and some of the shelf"
    )
    return hot


@pytest.fixture
def explained(monkeypatch):
    found = Explained()
    execute = psycopg.AsyncCursor.execute

    async def explain_and_execute(cursor, query, parameters=None, **options):
        if re.match(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b", query):
            async with cursor.connection.cursor(row_factory=tuple_row) as other:
                await execute(other, f"EXPLAIN (FORMAT JSON) {query}", parameters, prepare=False)
                ((((plan,),),)) = await other.fetchall()
            found.note(query, plan["Plan"])
        return await execute(cursor, query, parameters, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", explain_and_execute)
    return found


def test_the_words_of_workers_touch_only_the_rows_they_speak_of(crowded, hot, explained, must):
    crowded.lease(hot, "a")
    trials = crowded.ask(hot, "b", count=5)["trials"]
    first, second, third, *_ = trials
    must(crowded.report(first, first["from_step"] + 1))
    must(crowded.report(first, first["from_step"] + 1, checkpoint={"uri": "c", "step": first["from_step"] + 1}))
    must(crowded.say(second, ":heartbeat"))
    must(crowded.say(second, ":release"))
    must(crowded.tell(third, 0.5))
    must(crowded.say(first, ":pause"))
    fresh = crowded.ask(hot, "c", count=8)["trials"]
    assert any(trial["number"] >= 5000 for trial in fresh), "the shelf was reached"
    body = {"lease": fresh[0]["lease"]["token"], "measurements": [{"step": 30, "metrics": {"loss": 0.1}}]}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    must(crowded.post(f"/trials/{fresh[0]['id']}/reports", body, headers=key))
    services = crowded.app.state.services
    crowded.run(sweeper.sweep(services.database, services.desk, crowded.clock.now))
    assert explained.read_from_end_to_end() == {}
    assert {"ix_trials_ready", "ix_trials_running", "ix_trials_study_id_xid", "pk_trials", "pk_measurements",
            "ix_suggestions_study_id_id"} <= explained.indexes()  # fmt: skip


def test_what_people_read_costs_a_page_and_not_a_study(crowded, hot, explained, must):
    path = f"/studies/{hot['id']}"
    for query in ("order_by=number", "order_by=-number", "order_by=objective", "order_by=-objective",
                  "state=FAILED", "state=COMPLETED&order_by=-number", "fields=number"):  # fmt: skip
        token = must(crowded.get(f"{path}/trials?{query}&page_size=50"))["next_page_token"]
        page = must(crowded.get(f"{path}/trials?{query}&page_size=50&page_token={token}"))
        assert len(page["items"]) == 50
    trial = page["items"][0]["number"]
    (found,) = crowded.sql("SELECT id FROM trials WHERE number = :n AND study_id = :s", n=trial, s=hot["id"])
    must(crowded.get(f"/trials/{found.id}"))
    must(crowded.get(f"/trials/{found.id}/curve"))
    must(crowded.get(f"/trials/{found.id}/curve?metric=loss"))
    must(crowded.patch(f"/trials/{found.id}", {"excluded": True}))
    token = must(crowded.get(f"{path}/curves?page_size=50"))["next_page_token"]
    must(crowded.get(f"{path}/curves?page_size=50&page_token={token}"))
    token = must(crowded.get(f"{path}/events:list?page_size=50"))["next_page_token"]
    must(crowded.get(f"{path}/events:list?page_size=50&page_token={token}"))
    must(crowded.get(path))
    must(crowded.get(f"/studies/{hot['name']}"))
    must(crowded.get("/studies?page_size=2"))
    assert explained.read_from_end_to_end() == {}
    assert {"ix_trials_objective", "ix_trials_state", "uq_trials_study_id_number", "pk_trials", "pk_measurements",
            "ix_events_study_id_xid_id"} <= explained.indexes()  # fmt: skip


def test_the_best_of_a_study_is_looked_up(crowded, hot, quiet, explained, must):
    crowded.ask(quiet, "w", count=55)  # which warms the snapshot
    explained.scans.clear()
    best = must(crowded.get(f"/studies/{quiet['id']}/best"))
    assert best["observed"]
    assert explained.read_from_end_to_end() == {}
    assert {"ix_trials_objective", "uq_trials_study_id_number"} <= explained.indexes()


def test_a_statement_that_reads_from_end_to_end_is_noticed(crowded, hot, explained):
    crowded.sql("SELECT count(*) FROM trials WHERE reason = 'none'")
    assert list(explained.read_from_end_to_end().values()) == ["trials"]
