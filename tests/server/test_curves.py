"""The curves of a study, thinned out by the database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import create_engine, select, text

from frazil_server.database import async_url, migrate
from frazil_server.trials import curves
from frazil_server.trials.filters import Filter
from frazil_server.trials.models import Trial
from frazil_tuner.history import TrialState

SPACE = [{"name": "lr", "type": "float", "low": 0.0, "high": 1.0}]


@pytest.fixture
def client(server_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{server_url}/api/v1", timeout=20) as client:
        yield client


def create(client: httpx2.Client, **more: Any) -> str:
    """The id of a fresh study."""
    body = {"name": f"curves-{uuid.uuid4().hex}", "space": SPACE, "objectives": [{"metric": "loss"}]} | more
    study_id: str = client.post("/studies", json=body).raise_for_status().json()["id"]
    return study_id


def add(client: httpx2.Client, study: str, *curves: list[dict[str, Any]], state: str = "COMPLETED") -> list[str]:
    """Adds a finished trial for each curve, a list of the metrics at steps 1, 2, …; returns their ids."""
    trials = [
        {
            "params": {"lr": 0.5},
            "state": state,
            "curve": [{"step": step, "metrics": metrics} for step, metrics in enumerate(curve, 1)],
        }
        for curve in curves
    ]
    added = client.post(f"/studies/{study}/trials", json={"trials": trials}).raise_for_status().json()["trials"]
    return [trial["id"] for trial in added]


def falling(length: int) -> list[dict[str, Any]]:
    return [{"loss": 1.0 / step} for step in range(1, length + 1)]


def get(client: httpx2.Client, study: str, **params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"/studies/{study}/curves", params=params).raise_for_status().json()
    return answer


def test_a_short_curve_is_given_whole(client: httpx2.Client) -> None:
    study = create(client)
    (trial,) = add(client, study, falling(3))
    assert get(client, study) == {
        "metric": "loss",
        "items": [
            {"number": 0, "id": trial, "state": "COMPLETED", "steps": [1, 2, 3], "values": [1.0, 0.5, 1.0 / 3.0]}
        ],
        "next_page_token": None,
        "total": 1,
    }


@pytest.mark.parametrize("most", [2, 3, 7, 100])
def test_a_long_curve_keeps_both_ends_and_is_spaced_evenly_between(client: httpx2.Client, most: int) -> None:
    lengths = [1, 2, 3, 4, 6, 7, 8, 99, 100, 101, 250]
    study = create(client)
    add(client, study, *map(falling, lengths))
    for length, item in zip(lengths, get(client, study, max_points=most)["items"], strict=True):
        steps = item["steps"]
        assert len(steps) == min(length, most)
        assert (steps[0], steps[-1]) == (1, length)
        assert item["values"] == [1.0 / step for step in steps]
        gaps = {later - step for step, later in pairwise(steps)}
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_points_are_counted_where_the_metric_was_measured_and_not_by_step(client: httpx2.Client) -> None:
    study = create(client)
    sparse = [{"loss": 1.0} | ({"accuracy": step / 50} if step % 10 == 0 else {}) for step in range(1, 51)]
    add(client, study, sparse)
    (item,) = get(client, study, metric="accuracy", max_points=3)["items"]
    assert item["steps"] == [10, 30, 50]
    assert item["values"] == [0.2, 0.6, 1.0]


def test_a_hundred_points_are_given_unless_asked_otherwise(client: httpx2.Client) -> None:
    study = create(client)
    add(client, study, falling(300))
    assert len(get(client, study)["items"][0]["steps"]) == 100


def test_values_that_are_not_finite_travel_as_strings(client: httpx2.Client) -> None:
    study = create(client)
    add(client, study, [{"loss": value} for value in ("nan", "inf", "-inf", 1.5)])
    assert get(client, study)["items"][0]["values"] == ["nan", "inf", "-inf", 1.5]


def test_a_trial_that_measured_nothing_has_an_empty_curve(client: httpx2.Client) -> None:
    study = create(client)
    client.post(f"/studies/{study}/trials", json={"trials": [{"params": {"lr": 0.5}}]}).raise_for_status()
    (item,) = get(client, study)["items"]
    assert (item["state"], item["steps"], item["values"]) == ("QUEUED", [], [])


def test_pages_give_every_trial_once_in_the_order_of_numbers(client: httpx2.Client) -> None:
    study = create(client)
    add(client, study, *[falling(2)] * 7)
    numbers, token = [], None
    while True:
        page = get(client, study, page_size=3, **({} if token is None else {"page_token": token}))
        assert page["total"] == 7
        numbers.append([item["number"] for item in page["items"]])
        token = page["next_page_token"]
        if token is None:
            break
    assert numbers == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_state_chooses_trials_and_their_total(client: httpx2.Client) -> None:
    study = create(client)
    add(client, study, falling(2))
    add(client, study, falling(2), falling(3), state="PRUNED")
    page = get(client, study, state="PRUNED", page_size=1)
    assert [item["number"] for item in page["items"]] == [1]
    assert page["total"] == 2
    rest = get(client, study, state="PRUNED", page_size=1, page_token=page["next_page_token"])
    assert [item["number"] for item in rest["items"]] == [2]
    assert rest["next_page_token"] is None


def test_a_metric_that_nobody_declared_or_measured_is_refused(client: httpx2.Client) -> None:
    study = create(client)
    add(client, study, [{"loss": 1.0, "surprise": 2.0}])
    refused = client.get(f"/studies/{study}/curves", params={"metric": "los"})
    assert refused.status_code == 422
    assert refused.json()["code"] == "metric_unknown"
    assert refused.json()["errors"][0]["pointer"] == "/query/metric"
    assert get(client, study, metric="surprise")["items"][0]["values"] == [2.0]


def test_a_declared_metric_without_points_is_no_error(client: httpx2.Client) -> None:
    study = create(client, metrics=["accuracy"])
    add(client, study, falling(2))
    page = get(client, study, metric="accuracy")
    assert page["metric"] == "accuracy"
    assert page["items"][0]["steps"] == []


@pytest.mark.parametrize("params", [{"max_points": 1}, {"max_points": 1001}, {"state": "LOST"}, {"page_token": "x"}])
def test_a_parameter_out_of_range_is_refused_by_name(client: httpx2.Client, params: dict[str, Any]) -> None:
    study = create(client)
    answer = client.get(f"/studies/{study}/curves", params=params)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(f"/query/{next(iter(params))}")


def test_curves_of_an_unknown_study_are_not_found(client: httpx2.Client) -> None:
    assert client.get("/studies/nobody/curves").status_code == 404


# ── what the database does ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def populated(database_url: str) -> tuple[str, uuid.UUID]:
    """A database with ten studies of 100 trials with 20 points each, and the id of one of them."""
    migrate(database_url)
    project, studies = uuid.uuid4(), [uuid.uuid4() for _ in range(10)]
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO projects (id, name) VALUES (%s, 'default')", (project,))
        connection.execute(
            """INSERT INTO studies (id, project_id, name, definition, policy, budget)
            SELECT id, %s, id::text, '{}', '{}', '{}' FROM unnest(%s::uuid[]) AS s(id)""",
            (project, studies),
        )
        connection.execute(
            """INSERT INTO trials (id, study_id, number, state, params)
            SELECT gen_random_uuid(), id, i, 'COMPLETED', '{}' FROM studies, generate_series(0, 99) AS s(i)"""
        )
        connection.execute(
            """INSERT INTO measurements (trial_id, metric, step, value)
            SELECT id, 'loss', i, 1.0 / i FROM trials, generate_series(1, 20) AS s(i)"""
        )
    return database_url, studies[0]


@pytest.mark.parametrize("states", [(), (TrialState.COMPLETED,)])
def test_a_page_of_curves_reads_only_its_own_points(
    populated: tuple[str, uuid.UUID], states: tuple[TrialState, ...]
) -> None:
    url, study = populated
    engine = create_engine(async_url(url))
    record: Any = SimpleNamespace(id=study, definition={})
    chosen = select(Trial.id).where(Filter(states).clause(record), Trial.number > 10).order_by(Trial.number).limit(21)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
        compiled = chosen.compile(engine, compile_kwargs={"literal_binds": True})
        plan = "\n".join(connection.execute(text(f"EXPLAIN {compiled}")).scalars())
        ids = list(connection.execute(chosen).scalars())
        parameters = {"metric": "loss", "most": 5, "ids": ids}
        plan += "\n".join(connection.execute(text(f"EXPLAIN {curves._PAGE.text}"), parameters).scalars())
        assert len(connection.execute(curves._PAGE, parameters).all()) == 21
    engine.dispose()
    assert "Seq Scan" not in plan
    assert "pk_measurements" in plan


@pytest.mark.parametrize("most", [2, 3, 4, 10])
def test_the_lowest_and_the_highest_point_are_kept_where_there_is_room(client: httpx2.Client, most: int) -> None:
    values: list[Any] = [1.0 + 0.001 * step for step in range(200)]
    values[37], values[123], values[60], values[61] = -5.0, 9.0, "nan", "-inf"
    study = create(client)
    add(client, study, [{"loss": value} for value in values])
    (item,) = get(client, study, max_points=most)["items"]
    steps = item["steps"]
    assert (steps[0], steps[-1]) == (1, 200)
    assert (38 in steps, 124 in steps) == (most > 2, most > 3)
    assert most - 2 <= len(steps) <= most
    assert steps == sorted(set(steps))
    assert item["values"] == [values[step - 1] for step in steps]
    others = [step for step in steps if step not in (38, 124)]
    gaps = {later - step for step, later in pairwise(others)}
    assert max(gaps) - min(gaps) <= 1, "the rest is spaced evenly"
