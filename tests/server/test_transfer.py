"""Export and import: everything out, everything in, all or none."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

SPACE = [
    {"name": "lr", "type": "float", "low": 1e-5, "high": 1.0, "log": True},
    {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]},
]
STUDY = {
    "space": SPACE,
    "objectives": [{"metric": "loss"}],
    "resource": {"name": "epoch", "max": 20},
    "policy": {"name": "random"},
}

Lines = list[dict[str, Any]]


@pytest.fixture
def client(server_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{server_url}/api/v1", timeout=60) as client:
        yield client


def create(client: httpx2.Client, **more: Any) -> str:
    """The id of a fresh study."""
    body = STUDY | {"name": f"transfer-{uuid.uuid4().hex}"} | more
    study_id: str = client.post("/studies", json=body).raise_for_status().json()["id"]
    return study_id


def export(client: httpx2.Client, study: str) -> Lines:
    answer = client.get(f"/studies/{study}/export", params={"format": "jsonl"}).raise_for_status()
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text[:-1].split("\n")]  # some strings hold other line separators


def written(lines: Lines) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def send(client: httpx2.Client, study: str, body: bytes, **headers: str) -> httpx2.Response:
    return client.post(f"/studies/{study}/import", content=body, headers=headers)


def bring_in(client: httpx2.Client, lines: Lines, **more: Any) -> str:
    """The id of a fresh study with these trials."""
    study = create(client, **more)
    answer = send(client, study, written(lines))
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"trials": len(lines) - 1, "comparisons": 0, "first_number": 0}
    return study


def without_ids(lines: Lines) -> Lines:
    return [{name: value for name, value in line.items() if name != "id"} for line in lines[1:]]


def trial_line(number: int, **more: Any) -> dict[str, Any]:
    return {"number": number, "state": "QUEUED", "params": {"lr": 0.1, "optimizer": "sgd"}} | more


def file_of(*trials: dict[str, Any], space: list[dict[str, Any]] = SPACE) -> Lines:
    return [{"frazil": 1, "trials": len(trials), "study": {"space": space}}, *trials]


def curve(values: list[Any], metric: str = "loss") -> dict[str, Any]:
    """A curve at steps 1, 2, … as a line holds it."""
    steps = list(range(1, len(values) + 1))
    return {
        "metric": metric,
        "steps": steps,
        "values": values,
        "elapsed": [1.5 * s for s in steps],
        "attempts": [1] * len(steps),
    }


def finished(number: int, *values: Any, **more: Any) -> dict[str, Any]:
    """A trial that trained to its end."""
    reached = len(values)
    facts = {
        "state": "COMPLETED",
        "attempt": 1,
        "step": reached,
        "last_step": reached,
        "until_step": reached,
        "started_at": "2026-01-02T03:04:05.678901Z",
        "finished_at": "2026-01-02T03:05:06.789012Z",
        "curves": [curve(list(values))],
    }
    return trial_line(number, **facts | more)


# ── the way there and back ───────────────────────────────────────────────────────────────────────────────────────────


def lived(client: httpx2.Client) -> str:
    """A study with a trial in every state, made the way clients make them."""
    study = create(client, metadata={"team": "Ζήνων"}, budget={"trials": 50, "resource": 900})

    def ask(worker: str) -> dict[str, Any]:
        body = {"worker": worker, "lease_seconds": 3600}
        answer = client.post(f"/studies/{study}/trials:ask", json=body).raise_for_status().json()
        (trial,) = answer["trials"]
        return dict(trial)

    def say(trial: dict[str, Any], word: str, **body: Any) -> None:
        body["lease"] = trial["lease"]["token"]
        client.post(f"/trials/{trial['id']}{word}", json=body).raise_for_status()

    def report(trial: dict[str, Any], *values: Any) -> None:
        measurements = [
            {"step": step, "metrics": {"loss": value, "grad_norm": 0.1 * step}, "elapsed": 0.5 * step}
            for step, value in enumerate(values, 1)
        ]
        say(trial, "/reports", measurements=measurements)

    paused, told, failed, pruned, running, frozen = (ask(f"worker-{i}") for i in range(6))
    report(paused, 1.0, 0.5)
    say(paused, ":pause", step=2, checkpoint={"uri": "s3://bucket/ü.pt", "step": 2})
    report(told, 2.0, "nan", 0.25)
    say(told, ":tell", values={"loss": {"mean": 0.2, "sem": 0.01}}, cost=12.5, reason="done ✓")
    report(failed, "inf")
    say(failed, ":tell", state="FAILED", reason="CUDA out of memory")
    report(pruned, 3.0)
    say(pruned, ":tell", state="PRUNED", values={"loss": 3.0})
    report(running, 0.9, 0.8)
    report(frozen, 0.7)
    say(frozen, ":heartbeat", checkpoint={"uri": "file:///tmp/x", "step": 1})
    noted = {"notes": "the “good” one", "tags": ["best", "ünïcode"]}
    client.patch(f"/trials/{told['id']}", json=noted).raise_for_status()
    client.patch(f"/trials/{pruned['id']}", json={"excluded": True}).raise_for_status()
    given = {"params": {"lr": 0.5, "optimizer": "adamw"}}
    added = {"state": "COMPLETED", "values": {"loss": 9.0}, "curve": [{"step": 4, "metrics": {"loss": "-inf"}}]}
    body = {"trials": [given, given | added]}
    client.post(f"/studies/{study}/trials", json=body).raise_for_status()
    return study


def test_a_study_comes_back_as_it_went_out(client: httpx2.Client) -> None:
    there = export(client, lived(client))
    back = export(client, bring_in(client, there))
    for line in there:
        if line.get("state") == "RUNNING":
            line["state"] = "PAUSED" if line["checkpoint"] else "QUEUED"
            line["ready"] = True
    assert without_ids(back) == without_ids(there)
    assert not {line["id"] for line in back[1:]} & {line["id"] for line in there[1:]}


def test_the_first_line_describes_the_study(client: httpx2.Client) -> None:
    study = lived(client)
    header, *trials = export(client, study)
    stored = client.get(f"/studies/{study}").json()
    assert (header["frazil"], header["trials"]) == (1, len(trials))
    same = ("id", "name", "space", "objectives", "resource", "policy", "budget", "seed", "metadata", "notes")
    assert {name: header["study"][name] for name in same} == {name: stored[name] for name in same}
    assert header["study"]["candidates"] is None


def test_what_is_kept_beside_the_trials_is_right_afterwards(client: httpx2.Client) -> None:
    original = lived(client)
    study = bring_in(client, export(client, original))
    before, after = (client.get(f"/studies/{s}").json() for s in (original, study))
    assert after["trials"] == before["trials"] == 8
    assert after["counts"] == {
        "QUEUED": 2, "RUNNING": 0, "PAUSED": 2, "COMPLETED": 2, "PRUNED": 1, "FAILED": 1, "INFEASIBLE": 0
    }  # fmt: skip
    assert after["started"] == before["started"] == 6
    assert after["steps_used"] == 2 + 3 + 1 + 1 + 2 + 1
    assert after["data_version"] > 0
    objectives = [
        [t["objective"] for t in client.get(f"/studies/{s}/trials").json()["items"]] for s in (original, study)
    ]
    assert objectives[0] == [0.5, 0.2, None, 3.0, None, 0.7, None, 9.0]  # a run gets its value when something changes
    assert objectives[1] == [0.5, 0.2, None, 3.0, 0.8, 0.7, None, 9.0]
    numbers = [t["number"] for t in client.get(f"/studies/{study}/trials").json()["items"]]
    assert numbers == list(range(8))


def test_who_was_training_is_taken_up_by_the_next_worker_from_the_checkpoint(client: httpx2.Client) -> None:
    checkpoint = {"uri": "file:///tmp/frozen", "step": 3}
    facts = {"attempt": 1, "step": 5, "last_step": 5, "until_step": 9, "curves": [curve([1.0] * 5)]}
    study = bring_in(client, file_of(trial_line(0, state="RUNNING", checkpoint=checkpoint, **facts)))
    (trial,) = client.post(f"/studies/{study}/trials:ask", json={"worker": "w"}).json()["trials"]
    assert (trial["number"], trial["from_step"], trial["until_step"]) == (0, 3, 9)
    assert trial["checkpoint"] == checkpoint


def test_a_study_that_has_trials_appends_the_new_ones(client: httpx2.Client) -> None:
    study = bring_in(client, file_of(trial_line(0), finished(1, 0.5)))
    answer = send(client, study, written(file_of(finished(0, 0.25), trial_line(1))))
    assert answer.json() == {"trials": 2, "comparisons": 0, "first_number": 2}
    states = [(t["number"], t["state"]) for t in client.get(f"/studies/{study}/trials").json()["items"]]
    assert states == [(0, "QUEUED"), (1, "COMPLETED"), (2, "COMPLETED"), (3, "QUEUED")]
    assert client.get(f"/studies/{study}").json()["counts"]["COMPLETED"] == 2
    added = client.post(f"/studies/{study}/trials", json={"trials": [{"params": {"lr": 0.5, "optimizer": "sgd"}}]})
    assert added.json()["trials"][0]["number"] == 4


def test_an_empty_study_goes_out_and_comes_in(client: httpx2.Client) -> None:
    there = export(client, create(client))
    assert len(there) == 1
    assert len(export(client, bring_in(client, there))) == 1


def test_an_import_is_one_event(client: httpx2.Client) -> None:
    study = bring_in(client, file_of(trial_line(0), trial_line(1)))
    items = client.get(f"/studies/{study}/events:list").json()["items"]
    assert [item["kind"] for item in items] == ["study.created", "study.imported"]
    assert items[1]["data"] == {"trials": 2, "comparisons": 0, "first_number": 0}


def test_suggestions_made_without_the_new_trials_are_thrown_away(client: httpx2.Client, postgres_url: str) -> None:
    study = create(client)
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "INSERT INTO suggestions (study_id, params, data_version, why) VALUES (%s, '{}', 0, '{}')", (study,)
        )
        connection.commit()
        assert send(client, study, written(file_of(trial_line(0)))).status_code == 201
        shelf = connection.execute("SELECT count(*) FROM suggestions WHERE study_id = %s", (study,)).fetchone()
    assert shelf == (0,)


finite = st.floats(allow_nan=False, allow_infinity=False)
odd = st.sampled_from(["nan", "inf", "-inf", 0.0, -0.0, 5e-324])
numbers = odd | st.just(1.7e308) | finite
told = odd | st.floats(-1e15, 1e15)  # JSONB writes larger ones as integers: the same float in another JSON text
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
names = st.text(st.characters(categories=["L", "N", "S"]), min_size=1, max_size=12).filter(
    lambda name: name == name.strip() and name.isprintable()
)
uris = texts.filter(bool)
seconds = st.none() | st.floats(0, 1e12)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts
facts = st.dictionaries(texts, leaves | st.lists(leaves, max_size=3), max_size=3)
moments = st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31))
times = st.none() | moments.map(lambda moment: f"{moment.isoformat()}Z")


@st.composite
def curves(draw: st.DrawFn, metric: str) -> dict[str, Any]:
    steps = sorted(draw(st.sets(st.integers(1, 20), max_size=6)))
    column = {"values": numbers, "elapsed": seconds, "attempts": st.integers(0, 2**15 - 1)}
    columns = {name: draw(st.lists(of, min_size=len(steps), max_size=len(steps))) for name, of in column.items()}
    return {"metric": metric, "steps": steps} | columns


@st.composite
def trials(draw: st.DrawFn) -> dict[str, Any]:
    """Anything that a trial which is not running may be."""
    last_step = 20
    from_step, step, until_step = sorted(draw(st.lists(st.integers(0, 20), min_size=3, max_size=3)))
    slopes = st.dictionaries(st.just("lr"), st.floats(-1e15, 1e15), min_size=1)
    estimate = st.fixed_dictionaries({"mean": told, "sem": st.floats(0, 1e9)})
    return {
        "state": draw(st.sampled_from(["QUEUED", "PAUSED", "COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"])),
        "params": {
            "lr": draw(st.floats(1e-5, 1.0)),
            "optimizer": draw(st.sampled_from(["adamw", "sgd"])),
        },
        "candidate": None,
        "values": draw(st.dictionaries(st.just("loss"), told | estimate)),
        "gradients": draw(st.dictionaries(st.just("loss"), slopes)),
        "told": draw(st.none() | facts),
        "cost": draw(st.none() | finite),
        "reason": draw(st.none() | texts),
        "worker": draw(st.none() | texts),
        "why": draw(facts),
        "attempt": draw(st.integers(0, 9)),
        "losses": draw(st.integers(0, 9)),
        "from_step": from_step,
        "step": step,
        "last_step": last_step,
        "until_step": draw(st.sampled_from([None, until_step])),
        "ready": draw(st.booleans()),
        "checkpoint": draw(st.none() | st.fixed_dictionaries({"uri": uris, "step": st.integers(0, last_step)})),
        "notes": draw(texts),
        "tags": draw(st.lists(names, max_size=3)),
        "excluded": draw(st.booleans()),
        "created_at": "2026-01-01T00:00:00.000001Z",
        "started_at": draw(times),
        "finished_at": draw(times),
        "curves": draw(st.just([]) | curves("loss").map(lambda curve: [curve] if curve["steps"] else [])),
    }


@settings(max_examples=25, phases=[Phase.generate], deadline=None, suppress_health_check=[*HealthCheck])
@given(st.lists(trials(), min_size=1, max_size=8))
def test_whatever_can_be_stored_comes_back_alike(client: httpx2.Client, given_trials: Lines) -> None:
    lines = file_of(*({"number": number} | trial for number, trial in enumerate(given_trials)))
    back = export(client, bring_in(client, lines))
    assert set(back[1]) == {"id", *lines[1]}, "the generator knows every field"
    assert without_ids(back) == without_ids(lines)
    again = export(client, bring_in(client, back))
    assert without_ids(again) == without_ids(back)


# ── every setting of the field ───────────────────────────────────────────────────────────────────────────────────────

TASTE = {
    "objectives": [{"metric": "taste", "by": "comparison"}],
    "outcome_constraints": ["price <= 5"],
    "constraints": ["lr <= 0.9"],
    "resource": None,
    "cost": "price",
    "policy": {"name": "bayes"},
}


def tasted(client: httpx2.Client) -> Lines:
    """The export of a study that learns from comparisons, constrained, with derivatives."""
    study = create(client, **TASTE)
    done = {"params": {"lr": 0.5, "optimizer": "sgd"}, "state": "COMPLETED", "values": {"price": {"mean": 3, "sem": 1}}}
    trials = [done, done | {"gradients": {"price": {"lr": -0.25}}}, done]
    client.post(f"/studies/{study}/trials", json={"trials": trials}).raise_for_status()
    for ranking in ([2, 0, 1], [0, 1]):
        client.post(f"/studies/{study}/comparisons", json={"ranking": ranking}).raise_for_status()
    return export(client, study)


def test_comparisons_derivatives_and_constraints_travel_too(client: httpx2.Client) -> None:
    there = tasted(client)
    assert (there[0]["trials"], there[0]["comparisons"]) == (3, 2)
    assert {name: there[0]["study"][name] for name in ("outcome_constraints", "constraints", "cost")} == {
        name: TASTE[name] for name in ("outcome_constraints", "constraints", "cost")
    }
    assert [line["ranking"] for line in there[4:]] == [[2, 0, 1], [0, 1]]
    study = create(client, **TASTE)
    answer = send(client, study, written(there)).json()
    assert answer == {"trials": 3, "comparisons": 2, "first_number": 0}
    assert without_ids(export(client, study)) == without_ids(there)
    assert send(client, study, written(there)).json()["first_number"] == 3
    assert [line["ranking"] for line in export(client, study)[9:]] == [[5, 3, 4], [3, 4]]


def test_what_was_tried_before_an_edit_of_the_space_travels_too(client: httpx2.Client) -> None:
    study = create(client)
    done = {"params": {"lr": 0.5, "optimizer": "sgd"}, "state": "COMPLETED", "values": {"loss": 1.0}}
    client.post(f"/studies/{study}/trials", json={"trials": [done]}).raise_for_status()
    changes = [{"name": "optimizer", "disabled": True, "value": "adamw"}, {"name": "lr", "high": 2.0}]
    client.patch(f"/studies/{study}", json={"space": changes}, headers={"If-Match": "*"}).raise_for_status()
    there = export(client, study)
    assert without_ids(export(client, bring_in(client, there, space=there[0]["study"]["space"]))) == without_ids(there)


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        (lambda lines: lines[:-1], 400, "/lines/1/comparisons"),
        (lambda lines: [*lines, lines[-1]], 400, "/lines/1/trials"),
        (lambda lines: [*lines[:-1], {"ranking": [0, 3]}], 422, "/lines/6/ranking/1"),
        (lambda lines: [*lines[:-1], {"ranking": [0, 0]}], 422, "/lines/6"),
        (lambda lines: [*lines[:-1], {"ranking": [0]}], 422, "/lines/6/ranking"),
        (lambda lines: [*lines[:-1], {"ranking": [0, -1]}], 422, "/lines/6/ranking/1"),
        (lambda lines: [*lines[:2], lines[2] | {"gradients": {"price": {"rl": 1}}}, *lines[3:]], 422,
         "/lines/3/gradients/price/rl"),
        (lambda lines: [*lines[:2], lines[2] | {"gradients": {"price": {"lr": 1e300}}}, *lines[3:]], 422,
         "/lines/3/gradients/price/lr"),
        (lambda lines: [lines[0] | {"study": lines[0]["study"] | {"constraints": []}}, *lines[1:]], 422,
         "/lines/1/study/space"),
    ],
)  # fmt: skip
def test_a_file_of_comparisons_that_was_edited_is_refused_as_a_whole(
    client: httpx2.Client, change: Callable[[Lines], Lines], status: int, pointer: str
) -> None:
    study = create(client, **TASTE)
    answer = send(client, study, written(change(tasted(client))))
    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (status, [pointer])
    assert len(export(client, study)) == 1


def test_comparisons_are_not_brought_into_a_study_that_learns_from_values(client: httpx2.Client) -> None:
    study = create(client, **TASTE | {"objectives": [{"metric": "taste"}]})
    lines = tasted(client)
    answer = send(client, study, written(lines))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/lines/1/comparisons")


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def with_line(index: int, **changes: Any) -> Callable[[Lines], bytes]:
    """A body whose line `index`, counted from 1, is changed."""
    return lambda lines: written([line | changes if i == index else line for i, line in enumerate(lines, 1)])


def with_curve(**changes: Any) -> Callable[[Lines], bytes]:
    return with_line(3, curves=[curve([1.0, 0.5]) | changes])


OTHER_SPACE = [SPACE[0], SPACE[1] | {"choices": ["adamw", "lion"]}]

BAD: dict[str, tuple[Callable[[Lines], bytes], int, str]] = {
    "nothing at all": (lambda lines: b"", 400, "/lines/1"),
    "no JSON": (lambda lines: b"number,state\n0,COMPLETED\n", 400, "/lines/1"),
    "no UTF-8": (lambda lines: written(lines[:2]) + b'{"notes": "\xff"}\n', 400, "/lines/3"),
    "trials without a study": (lambda lines: written(lines[1:]), 422, "/lines/1/frazil"),
    "a list": (lambda lines: b"[1]\n", 422, "/lines/1/frazil"),
    "a version to come": (with_line(1, frazil=2), 422, "/lines/1/frazil"),
    "true for one": (with_line(1, frazil=True), 422, "/lines/1/frazil"),
    "another space": (with_line(1, study={"space": OTHER_SPACE}), 422, "/lines/1/study/space"),
    "a smaller space": (with_line(1, study={"space": SPACE[:1]}), 422, "/lines/1/study/space"),
    "an impossible space": (with_line(1, study={"space": [{"name": "lr"}]}), 422, "/lines/1/study/space/0/type"),
    "cut within a line": (lambda lines: written(lines)[:-20], 400, "/lines/4"),
    "cut between lines": (lambda lines: written(lines[:-1]), 400, "/lines/1/trials"),
    "a trial too many": (lambda lines: written([*lines, trial_line(3)]), 400, "/lines/1/trials"),
    "a blank line": (lambda lines: written(lines).replace(b"\n", b"\n\n", 1), 400, "/lines/2"),
    "a line that is no object": (lambda lines: written(lines[:2]) + b"17\n", 422, "/lines/3"),
    "a number out of order": (with_line(3, number=2), 422, "/lines/3/number"),
    "params outside the space": (with_line(3, params={"lr": 2.0, "optimizer": "sgd"}), 422, "/lines/3/params/lr"),
    "params without a value": (with_line(3, params={"lr": 0.5}), 422, "/lines/3/params/optimizer"),
    "an unknown state": (with_line(3, state="LOST"), 422, "/lines/3/state"),
    "an unknown field": (with_line(3, colour="red"), 422, "/lines/3/colour"),
    "a string for a number": (with_line(3, attempt="1"), 422, "/lines/3/attempt"),
    "a value of an unknown metric": (with_line(3, values={"los": 1.0}), 422, "/lines/3/values/los"),
    "a curve of an unknown metric": (with_curve(metric="los"), 422, "/lines/3/curves/los"),
    "a curve that goes back": (with_curve(steps=[2, 1]), 422, "/lines/3/curves/0"),
    "a curve that repeats a step": (with_curve(steps=[1, 1]), 422, "/lines/3/curves/0"),
    "a curve with a gap": (with_curve(values=[1.0]), 422, "/lines/3/curves/0"),
    "a curve with a word in it": (with_curve(values=[1.0, "low"]), 422, "/lines/3/curves/0/values/1"),
    "two curves of one metric": (with_line(3, curves=[curve([1.0]), curve([2.0])]), 422, "/lines/3"),
    "a curve beyond the last step": (with_line(3, last_step=1, step=1), 422, "/lines/3"),
    "steps beyond the maximum": (with_line(3, last_step=21), 422, "/lines/3/last_step"),
    "a grant beyond the maximum": (with_line(3, until_step=21), 422, "/lines/3/until_step"),
    "a step beyond the grant": (with_line(3, until_step=1), 422, "/lines/3"),
    "a start after the step": (with_line(3, from_step=3), 422, "/lines/3"),
    "a checkpoint of the future": (with_line(3, checkpoint={"uri": "x", "step": 9}), 422, "/lines/3"),
    "a time without a zone": (with_line(3, started_at="2026-01-01T00:00:00"), 422, "/lines/3/started_at"),
    "a time before time": (with_line(3, started_at="0001-01-01T00:00:00+14:00"), 422, "/lines/3/started_at"),
    "NUL in a note": (with_line(3, notes="a\0b"), 422, "/lines/3/notes"),
    "NUL among the reasons": (with_line(3, why={"a": [{"b\0": 1}]}), 422, "/lines/3/why"),
    "infinity among the reasons": (
        lambda lines: written(lines).replace(b'"why": {}', b'"why": {"a": 1e999}', 2), 422, "/lines/2/why",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_line_and_nothing_is_stored(client: httpx2.Client, name: str) -> None:
    spoil, status, pointer = BAD[name]
    study = create(client)
    before = client.get(f"/studies/{study}").json()
    lines = file_of(finished(0, 1.0, 0.5, why={}), finished(1, 1.0, 0.5, why={}), trial_line(2))
    answer = send(client, study, spoil(lines))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert client.get(f"/studies/{study}").json() == before
    assert client.get(f"/studies/{study}/trials").json()["items"] == []


def test_a_file_whose_end_is_bad_stores_nothing_of_its_beginning(client: httpx2.Client) -> None:
    study = create(client)
    good = [finished(number, 1.0, notes="x" * 60_000) for number in range(150)]
    answer = send(client, study, written(file_of(*good, finished(150, 1.0, cost="much"))))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/lines/152/cost"
    assert client.get(f"/studies/{study}/trials").json()["items"] == []
    assert client.get(f"/studies/{study}").json()["data_version"] == 0


def test_a_connection_cut_in_mid_body_stores_nothing(client: httpx2.Client) -> None:
    study = create(client)
    body = written(file_of(trial_line(0), trial_line(1)))
    address = urlsplit(str(client.base_url))
    head = f"POST /api/v1/studies/{study}/import HTTP/1.1\r\nHost: {address.netloc}\r\n"
    head += f"Content-Length: {len(body) + 9}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + body)
    time.sleep(0.3)
    assert client.get(f"/studies/{study}").json()["trials"] == 0
    assert send(client, study, body).status_code == 201


def test_grants_make_no_sense_in_a_study_without_a_resource(client: httpx2.Client) -> None:
    study = create(client, resource=None)
    answer = send(client, study, written(file_of(trial_line(0, until_step=3))))
    assert answer.json()["errors"][0]["pointer"] == "/lines/2/until_step"
    assert send(client, study, written(file_of(trial_line(0)))).status_code == 201


def test_a_stopped_study_takes_finished_trials_only(client: httpx2.Client) -> None:
    study = create(client)
    client.patch(f"/studies/{study}", json={"state": "stopped"}).raise_for_status()
    waiting = send(client, study, written(file_of(finished(0, 1.0), trial_line(1))))
    assert (waiting.status_code, waiting.json()["code"]) == (409, "study_not_active")
    assert "line 3" in waiting.json()["detail"]
    assert client.get(f"/studies/{study}").json()["trials"] == 0
    assert send(client, study, written(file_of(finished(0, 1.0)))).status_code == 201


def test_an_unknown_study_is_not_found(client: httpx2.Client) -> None:
    assert client.get("/studies/nobody/export").status_code == 404
    assert send(client, "nobody", written(file_of())).status_code == 404


@pytest.mark.parametrize("wanted", ["csv", "parquet", "xml"])
def test_other_formats_are_refused_with_the_remedy(client: httpx2.Client, wanted: str) -> None:
    answer = client.get(f"/studies/{create(client)}/export", params={"format": wanted})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/query/format"
    assert "jsonl" in error["detail"]


# ── candidates ───────────────────────────────────────────────────────────────────────────────────────────────────────

CANDIDATES = [{"lr": lr, "optimizer": optimizer} for lr in (0.1, 0.2) for optimizer in ("adamw", "sgd")]


def test_candidates_go_out_with_the_study_and_are_matched_by_their_params(client: httpx2.Client) -> None:
    study = create(client, candidates=CANDIDATES)
    lines = [trial_line(0, params=CANDIDATES[2]), finished(1, 1.0, params=CANDIDATES[0], candidate=0)]
    assert send(client, study, written(file_of(*lines))).status_code == 201
    there = export(client, study)
    assert there[0]["study"]["candidates"] == CANDIDATES
    assert [line["candidate"] for line in there[1:]] == [2, 0]
    back = export(client, bring_in(client, there, candidates=CANDIDATES))
    assert without_ids(back) == without_ids(there)


@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        (trial_line(1, params={"lr": 0.3, "optimizer": "sgd"}), "/lines/3/params"),
        (trial_line(1, params=CANDIDATES[0]), "/lines/3/params"),
        (trial_line(1, params=CANDIDATES[3]), "/lines/3/params"),
        (trial_line(1, params=CANDIDATES[1], candidate=2), "/lines/3/candidate"),
    ],
    ids=["not among them", "twice in the file", "in the study already", "under another index"],
)
def test_a_wrong_candidate_is_refused_by_line(client: httpx2.Client, line: dict[str, Any], pointer: str) -> None:
    study = create(client, candidates=CANDIDATES)
    assert send(client, study, written(file_of(trial_line(0, params=CANDIDATES[3])))).status_code == 201
    answer = send(client, study, written(file_of(trial_line(0, params=CANDIDATES[0]), line)))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert client.get(f"/studies/{study}").json()["trials"] == 1


# ── large, slow and repeated ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def heavy(server_url: str) -> str:
    """A study of 24 MB: far more than the server may hold for a client that does not read."""
    with httpx2.Client(base_url=f"{server_url}/api/v1", timeout=60) as client:
        return bring_in(client, file_of(*(finished(n, 1.0, notes=f"{n}" + "x" * 60_000) for n in range(400))))


def snapshots(postgres_url: str, wanted: int) -> int:
    """How many of the server's connections keep a view of the past: `wanted`, or what there are after 5 seconds."""
    query = """SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'frazil' AND datname = current_database() AND state <> 'idle'
        AND backend_xmin IS NOT NULL"""
    deadline = time.monotonic() + 5
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        while True:
            (found,) = connection.execute(query).fetchone() or (0,)
            if found == wanted or time.monotonic() > deadline:
                return int(found)
            time.sleep(0.02)


def test_an_import_may_be_larger_than_other_bodies(client: httpx2.Client, heavy: str) -> None:
    assert client.get(f"/studies/{heavy}").json()["counts"]["COMPLETED"] == 400


def test_an_export_shows_one_moment_however_long_it_takes(client: httpx2.Client, heavy: str) -> None:
    last = client.get(f"/studies/{heavy}/trials", params={"order_by": "-number", "page_size": 1}).json()["items"][0]
    with client.stream("GET", f"/studies/{heavy}/export") as response:
        lines = response.iter_lines()
        header = json.loads(next(lines))
        with httpx2.Client(base_url=client.base_url, timeout=20) as other:
            other.patch(f"/trials/{last['id']}", json={"notes": "changed meanwhile"}).raise_for_status()
            other.post(
                f"/studies/{heavy}/trials", json={"trials": [{"params": {"lr": 0.5, "optimizer": "sgd"}}]}
            ).raise_for_status()
        trials = [json.loads(line) for line in lines]
    assert header["trials"] == len(trials) == last["number"] + 1
    assert trials[-1]["notes"] == last["notes"] != "changed meanwhile"


def test_a_client_that_hangs_up_gives_its_snapshot_back(client: httpx2.Client, heavy: str, postgres_url: str) -> None:
    with client.stream("GET", f"/studies/{heavy}/export") as response:
        parts = response.iter_bytes()
        assert next(parts)
        assert snapshots(postgres_url, wanted=1) == 1
    assert snapshots(postgres_url, wanted=0) == 0


def test_connections_that_exported_can_write_again(client: httpx2.Client) -> None:
    study = create(client)
    for _ in range(15):  # more than the pool has
        export(client, study)
        assert client.patch(f"/studies/{study}", json={"notes": "written"}).status_code == 200


def test_an_import_repeated_under_its_key_is_done_once(client: httpx2.Client) -> None:
    study = create(client)
    body = written(file_of(trial_line(0), trial_line(1)))
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first, again = (send(client, study, body, **key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert client.get(f"/studies/{study}").json()["trials"] == 2
    other = send(client, study, written(file_of(trial_line(0))), **key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
