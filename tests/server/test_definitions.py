"""What a study may be: objectives, constraints on outcomes, cost, relatives; and how documents of old are read."""

from __future__ import annotations

import uuid

import pytest

from frazil_server.studies.definitions import complete, definition_of
from frazil_tuner.history import OutcomeConstraint

LR = {"name": "lr", "type": "float", "low": 0.001, "high": 1.0, "log": True}
LAYERS = {"name": "layers", "type": "int", "low": 1, "high": 8}
TWO = [{"metric": "loss"}, {"metric": "speed", "direction": "maximize"}]


def name() -> str:
    return f"study-{uuid.uuid4().hex}"


def body(**fields):
    return {"name": name(), "space": [LR], "objectives": [{"metric": "loss"}], "policy": {"name": "random"}} | fields


# ── what a trial must have ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("definition", "missing"),
    [
        ({"objectives": TWO}, ["loss", "speed"]),
        ({"outcome_constraints": ["latency <= 50"]}, ["latency", "loss"]),
        ({"cost": "seconds"}, ["loss"]),
        ({"objectives": [{"metric": "taste", "by": "comparison"}]}, []),
        ({"objectives": [{"metric": "taste", "by": "comparison"}], "outcome_constraints": ["price < 3"]}, ["price"]),
    ],
)
def test_a_completed_trial_needs_every_value_that_decides(house, must, refused, definition, missing):
    study = house.create(**definition)
    trial = house.lease(study)
    if missing:
        problem = refused(house.tell(trial), 422, "value_missing")
        assert [error["pointer"] for error in problem["errors"]] == [f"/values/{metric}" for metric in missing]
    must(house.say(trial, ":tell", values=dict.fromkeys(missing, 1.0)))
    assert house.trial(trial)["state"] == "COMPLETED"


def test_a_constrained_metric_may_be_reported_instead_of_told(house, must):
    study = house.create(resource={"max": 3}, outcome_constraints=["latency <= 50"], metrics=["accuracy"], cost="price")
    trial = house.lease(study)
    metrics = {"loss": 0.5, "latency": 20, "price": 3.5, "accuracy": 0.5}
    must(house.say(trial, "/reports", measurements=[{"step": 3, "metrics": metrics}]))
    assert must(house.tell(trial))["state"] == "COMPLETED"
    assert house.curve(trial, "latency") == [(3, 20)]


def test_a_failed_trial_needs_no_value(house, must):
    study = house.create(objectives=TWO, outcome_constraints=["latency <= 50"])
    assert must(house.tell(house.lease(study), state="FAILED"))["state"] == "FAILED"


def test_the_first_objective_is_what_trials_are_sorted_by(house, must):
    study = house.create(objectives=TWO)
    for loss, speed in ((0.5, 1), (0.2, 3), (0.9, 2)):
        must(house.say(house.lease(study), ":tell", values={"loss": loss, "speed": {"mean": speed, "sem": 0.5}}))
    page = must(house.get(f"/studies/{study['id']}/trials?order_by=objective"))["items"]
    assert [trial["objective"] for trial in page] == [0.2, 0.5, 0.9]


# ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "stored"),
    [("latency<=50", "latency <= 50"), (" accuracy  > 0.9 ", "accuracy >= 0.9"), ("t <= 0.1234567890123", None)],
)
def test_a_constraint_on_an_outcome_is_stored_with_every_digit(house, given, stored):
    study = house.create(outcome_constraints=[given])
    (text,) = study["outcome_constraints"]
    assert text == (stored or given)
    assert OutcomeConstraint.parse(text) == OutcomeConstraint.parse(given)


def test_a_definition_reaches_the_core_whole(house):
    study = house.create(objectives=TWO, outcome_constraints=["latency <= 50", "accuracy >= 0.5"], cost="seconds")
    definition = definition_of(study, None)
    assert [objective.sign for objective in definition.objectives] == [-1, 1]
    assert definition.outcome_constraints == (
        OutcomeConstraint("latency", 50),
        OutcomeConstraint("accuracy", 0.5, True),
    )
    assert definition.metrics == ("loss", "speed", "latency", "accuracy", "seconds")
    assert definition_of(house.create(cost=2), None).cost == 2.0
    taste = house.create(objectives=[{"metric": "taste", "by": "comparison"}])
    assert definition_of(taste, None).objectives[0].by == "comparison"


@pytest.mark.parametrize(
    ("field", "first", "other"),
    [
        ("outcome_constraints", ["latency <= 50"], ["latency <= 51"]),
        ("outcome_constraints", ["latency <= 50"], ["latency >= 50"]),
        ("cost", "seconds", 3.5),
        ("cost", 3.5, 3.25),
        ("objectives", [{"metric": "loss"}], [{"metric": "loss", "by": "comparison"}]),
        ("objectives", TWO, TWO[::-1]),
        ("constraints", ["layers * lr <= 1"], ["layers * lr <= 2"]),
    ],
)
def test_loading_compares_all_of_a_definition(house, must, refused, field, first, other):
    given = body(**{"space": [LR, LAYERS], field: first})
    study = must(house.post("/studies", given))
    again = house.post("/studies", given | {"if_exists": "load"})
    assert (again.status_code, must(again)["id"]) == (200, study["id"])
    problem = refused(house.post("/studies", given | {field: other, "if_exists": "load"}), 409, "study_conflict")
    assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]


def test_a_study_of_an_earlier_version_is_read_loaded_and_asked(house, must):
    given = body(seed=3)
    study = must(house.post("/studies", given))
    lacking = ("constraints", "outcome_constraints", "cost", "related")
    for field in lacking:
        house.sql("UPDATE studies SET definition = definition - :field WHERE id = :id", field=field, id=study["id"])
    house.sql("UPDATE studies SET definition = definition #- '{objectives,0,by}' WHERE id = :id", id=study["id"])
    assert house.study(study) == study
    assert must(house.post("/studies", given | {"if_exists": "load"}))["id"] == study["id"]
    must(house.tell(house.lease(study), 0.5))
    must(house.patch(f"/studies/{study['id']}", {"policy": {"name": "sobol"}}))
    assert must(house.get(f"/studies/{study['id']}/best"))["observed"]["values"] == {"loss": 0.5}


def test_completing_a_document_keeps_what_it_says():
    document = {"objectives": [{"metric": "loss", "by": "comparison"}], "cost": 3.0}
    assert complete(document) == document | {"constraints": [], "outcome_constraints": [], "related": None}


# ── relatives ────────────────────────────────────────────────────────────────────────────────────────────────────────


def related(study) -> list[str]:
    return [item["name"] for item in study["related"]["studies"]]


def test_earlier_studies_are_named_by_name_or_id(house, must):
    project = name()
    first, second = (must(house.post("/studies", body(project=project))) for _ in range(2))
    elsewhere = must(house.post("/studies", body(project=name())))
    given = body(project=project, related=[second["name"], first["id"], elsewhere["id"], first["name"]])
    study = must(house.post("/studies", given))
    assert related(study) == [second["name"], first["name"], elsewhere["name"]]
    assert must(house.post("/studies", given | {"if_exists": "load"}))["id"] == study["id"]


def test_equal_spaces_of_the_project_are_found(house, must):
    project, other = name(), name()
    equal, wider = body(project=project), body(project=project, space=[LR | {"high": 2.0}])
    for given in (equal, wider, body(project=other), body(project=project, constraints=["lr <= 0.5"])):
        must(house.post("/studies", given))
    given = body(project=project, related="equal", space=[LR | {"high": 1}])
    study = must(house.post("/studies", given))
    assert related(study) == [equal["name"]]
    must(house.post("/studies", body(project=project)))
    assert must(house.post("/studies", given | {"if_exists": "load"})) == study, "what was found then"
    assert related(must(house.post("/studies", body(project=name(), related="equal")))) == []


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ([LAYERS], "shares no parameter"),
        ([LR | {"type": "int", "low": 1, "high": 5, "log": False}], "shares no parameter"),
        ([{"name": "lr", "type": "categorical", "choices": ["a", "b"]}, LAYERS], "has 'lr' as categorical"),
        ([LR], "has no parameter 'layers'"),
    ],
)
def test_an_unrelated_study_is_not_copied_from(house, must, refused, space, words):
    project = name()
    earlier = must(house.post("/studies", body(project=project, space=space)))
    given = body(project=project, related=[earlier["name"]], space=[LR, LAYERS] if space != [LAYERS] else [LR])
    problem = refused(house.post("/studies", given), 422, "unrelated", "/related/0")
    assert words in problem["detail"]
    assert house.get(f"/studies/{given['name']}?project={project}").status_code == 404


def test_a_study_that_is_not_there_is_not_copied_from(house, refused):
    for reference in ("never made", str(uuid.uuid4())):
        refused(house.post("/studies", body(related=[reference])), 422, "unrelated", "/related/0")
    given = body()
    refused(house.post("/studies", given | {"related": [given["name"]]}), 422, "unrelated", "/related/0")


def test_what_an_earlier_study_does_not_vary_may_be_constant_or_conditional(house, must, refused):
    project = name()
    earlier = must(house.post("/studies", body(project=project, space=[LR])))
    space = [LR, {"name": "data", "type": "fixed", "value": "v2"}, {"name": "amp", "type": "bool"}]
    conditional = LAYERS | {"when": {"amp": [True]}}
    given = body(project=project, related=[earlier["name"]], space=[*space, conditional])
    problem = refused(house.post("/studies", given), 422, "unrelated", "/related/0")
    assert "has no parameter 'amp'" in problem["detail"], "and nothing is said of the conditional one"
    must(house.post("/studies", body(project=project, related=[earlier["name"]], space=space[:2])))
