"""Studies: created, loaded, listed, changed, deleted; and their counts, which are kept and never counted."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest

GRID = {"policy": {"name": "grid"}, "space": [{"name": "width", "type": "ordinal", "values": [64, 128, 256]}]}
EPOCHS = {"name": "epoch", "max": 10}


def name() -> str:
    return f"study-{uuid.uuid4().hex}"


# ── creating and loading ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_study_is_answered_with_everything_it_was_given(house):
    given = {
        "name": name(), "project": name(), "seed": 12,
        "space": [{"name": "lr", "type": "float", "low": 0.01, "high": 1.0, "log": True}],
        "objectives": [{"metric": "accuracy", "direction": "maximize", "summary": "best", "by": "value"}],
        "metrics": ["loss"], "outcome_constraints": ["latency <= 50"], "cost": "seconds",
        "resource": {"name": "batch", "min": 2, "max": 40, "kind": "restart"}, "policy": {"name": "bayes", "warmup": 9},
        "budget": {"trials": 5, "resource": 100, "seconds": 60.5}, "metadata": {"depth": [1, {"a": None}]},
    }  # fmt: skip
    study = house.create(**given)
    assert study == study | given | {"space": study["space"]}
    (parameter,) = study["space"]
    assert parameter == parameter | given["space"][0]
    assert (study["state"], study["notes"], study["candidates"], study["version"]) == ("active", "", None, 1)
    assert (study["trials"], study["started"], study["steps_used"], study["started_at"]) == (0, 0, 0, None)
    assert set(study["counts"].values()) == {0}
    assert house.study(study) == study


def test_a_study_without_a_seed_is_given_one(house):
    seeds = {house.create(seed=None)["seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_a_study_is_found_by_its_id_and_by_its_name_in_its_project(house, must, refused):
    study = house.create(project="vision")
    assert must(house.get(f"/studies/{study['id']}")) == study
    assert must(house.get(f"/studies/{study['name']}?project=vision")) == study
    refused(house.get(f"/studies/{study['name']}"), 404, "not_found")


@pytest.mark.parametrize("odd", ["a b", "a%41", "ünï", "q?x=1", "a#b", "trials:ask", "50%"])
def test_a_name_with_odd_characters_stands_in_a_path_when_it_is_escaped(api, must, odd):
    study = api.create(name=f"{odd} {uuid.uuid4().hex}", policy={"name": "sobol"})
    path = f"/studies/{quote(study['name'], safe='')}"
    assert must(api.get(path)) == study
    (trial,) = must(api.post(f"{path}/trials:ask", {"worker": "w"}))["trials"]
    assert api.trial(trial)["study_id"] == study["id"]


def test_a_taken_name_is_a_conflict_that_says_how_to_load(house, refused):
    study = house.create()
    body = {key: study[key] for key in ("name", "space", "objectives", "policy", "seed")}
    problem = refused(house.post("/studies", body), 409, "study_conflict")
    assert "if_exists: load" in problem["detail"]


def test_an_equal_study_is_loaded_with_200_whatever_the_numbers_types(house, must):
    study = house.create(resource=EPOCHS, candidates=[{"lr": 0.5}, {"lr": 1}])
    body = {
        "name": study["name"], "if_exists": "load", "resource": {"max": 10}, "objectives": [{"metric": "loss"}],
        "space": [{"name": "lr", "type": "float", "low": 0.001, "high": 1, "log": True}], "policy": {"name": "random"},
        "candidates": [{"lr": 0.5}, {"lr": 1.0}],
    }  # fmt: skip
    response = house.post("/studies", body)
    assert response.status_code == 200
    assert must(response) == study


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("space", [{"name": "lr", "type": "float", "low": 0.001, "high": 2.0, "log": True}]),
        ("objectives", [{"metric": "loss", "direction": "maximize"}]),
        ("metrics", ["accuracy"]),
        ("resource", {"max": 11}),
        ("policy", {"name": "sobol"}),
        ("budget", {"trials": 3}),
        ("seed", 8),
        ("candidates", [{"lr": 0.5}, {"lr": 0.25}]),
    ],
)
def test_loading_another_definition_names_what_differs(house, refused, field, other):
    given = {"resource": EPOCHS, "candidates": [{"lr": 0.5}, {"lr": 1.0}]}
    study = house.create(**given)
    body = {key: study[key] for key in ("name", "space", "objectives", "policy", "seed")} | given
    problem = refused(house.post("/studies", body | {field: other, "if_exists": "load"}), 409, "study_conflict")
    assert f"differs in {field};" in problem["detail"]
    assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]
    assert house.study(study) == study


# ── listing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_project_is_listed_newest_first_page_by_page_with_its_total(house, must):
    project = name()
    made = [house.create(project=project)["id"] for _ in range(5)]
    listed, token = [], ""
    while token is not None:
        page = must(house.get(f"/studies?project={project}&page_size=2" + (f"&page_token={token}" if token else "")))
        assert page["total"] == 5
        assert len(page["items"]) <= 2
        listed += [study["id"] for study in page["items"]]
        token = page["next_page_token"]
    assert listed == made[::-1]


def test_the_total_of_all_projects_counts_what_is_made_and_deleted(house, must):
    before = must(house.get("/studies?page_size=1"))["total"]
    study = house.create(project=name())
    assert must(house.get("/studies?page_size=1"))["total"] == before + 1
    house.call("DELETE", f"/studies/{study['id']}")
    assert must(house.get("/studies?page_size=1"))["total"] == before


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_patch_changes_what_it_gives_and_nothing_else(house, must):
    study = house.create(resource=EPOCHS)
    given = {
        "state": "paused", "notes": "lr too high", "metadata": {"a": 1}, "budget": {"trials": 3},
        "policy": {"name": "asha", "eta": 2},
    }  # fmt: skip
    changed = must(house.patch(f"/studies/{study['id']}", given))
    kept = {key: value for key, value in study.items() if key not in {"updated_at", "data_version"}}
    assert changed == changed | kept | given | {"version": 2}
    assert changed["data_version"] > study["data_version"], "suggestions of the old policy are stale"
    assert house.study(study) == changed


def test_an_empty_patch_changes_nothing(house, must):
    study = house.create()
    assert must(house.patch(f"/studies/{study['id']}", {})) == study


def test_if_match_lets_only_the_version_through_that_was_read(house, must, refused):
    study = house.create()
    path = f"/studies/{study['id']}"
    etag = house.get(path).headers["etag"]
    patched = house.patch(path, {"notes": "first"}, headers={"If-Match": etag})
    assert must(patched)["notes"] == "first"
    assert patched.headers["etag"] == house.get(path).headers["etag"] != etag
    refused(house.patch(path, {"notes": "second"}, headers={"If-Match": etag}), 412, "precondition_failed")
    assert house.study(study)["notes"] == "first"
    assert must(house.patch(path, {"notes": "third"}, headers={"If-Match": "*"}))["notes"] == "third"


def test_another_policy_takes_over_at_the_next_ask(house, must):
    study = house.create()
    assert house.lease(study, "a")["why"]["policy"] == "random"
    must(house.patch(f"/studies/{study['id']}", {"policy": {"name": "sobol"}}))
    assert house.lease(study, "b")["why"]["policy"] == "sobol"


@pytest.mark.parametrize("state", ["paused", "stopped"])
def test_a_study_that_is_not_active_hands_out_nothing_new(house, must, state):
    study = house.create()
    must(house.patch(f"/studies/{study['id']}", {"state": state}))
    answer = house.ask(study)
    assert (answer["trials"], answer["study_state"]) == ([], state)
    assert (answer["retry_after"] is not None) == (state == "paused"), "a stopped study is not worth waiting for"
    must(house.patch(f"/studies/{study['id']}", {"state": "active"}))
    assert len(house.ask(study)["trials"]) == 1


def test_a_study_is_completed_when_nothing_is_left_and_active_again_when_its_budget_grows(house, must):
    study = house.create(budget={"trials": 1})
    house.tell(house.lease(study), 0.5)
    answer = house.ask(study)
    assert (answer["trials"], answer["study_state"], answer["retry_after"]) == ([], "completed", None)
    assert house.study(study)["state"] == "completed"
    assert must(house.patch(f"/studies/{study['id']}", {"budget": {"trials": 2}}))["state"] == "active"
    assert house.lease(study)["number"] == 1


def test_a_study_is_not_completed_while_a_worker_still_trains(house):
    study = house.create(budget={"trials": 1})
    trial = house.lease(study, "a")
    answer = house.ask(study, "b")
    assert (answer["trials"], answer["study_state"]) == ([], "active")
    assert answer["retry_after"] > 0
    house.tell(trial, 0.5)
    assert house.ask(study, "b")["study_state"] == "completed"


# ── deleting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deleted_study_is_gone_with_everything_in_it_and_its_name_is_free(house, must, refused):
    study = house.create(candidates=[{"lr": 0.5}, {"lr": 0.25}])
    trial = house.lease(study)
    must(house.report(trial, 1))
    deleted = house.call("DELETE", f"/studies/{study['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("", "/trials", "/best", "/curves", "/events:list", "/export"):
        refused(house.get(f"/studies/{study['id']}{path}"), 404, "not_found")
    refused(house.get(f"/trials/{trial['id']}"), 404, "not_found")
    refused(house.get(f"/trials/{trial['id']}/curve"), 404, "not_found")
    refused(house.report(trial, 2), 404, "not_found")
    refused(house.tell(trial, 0.1), 404, "not_found")
    refused(house.post(f"/studies/{study['id']}/trials:ask", {}), 404, "not_found")
    refused(house.call("DELETE", f"/studies/{study['id']}"), 404, "not_found")
    for table in ("trials", "events", "suggestions", "study_candidates"):
        assert house.sql(f"SELECT 1 FROM {table} WHERE study_id = :id", id=study["id"]) == []
    assert house.sql("SELECT 1 FROM measurements WHERE trial_id = :id", id=trial["id"]) == []
    assert house.create(name=study["name"])["id"] != study["id"]


# ── kept counts ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_kept_counts_equal_counted_ones_after_a_mixed_life(house, must):
    study = house.create(resource=EPOCHS, budget={"resource": 200})
    for number, state in enumerate(["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"]):
        trial = house.lease(study, f"w{number}")
        must(house.report(trial, 1, 2))
        must(house.tell(trial, 0.5, state=state))
    paused = house.lease(study, "p")
    must(house.report(paused, 3))
    must(house.say(paused, ":pause", checkpoint={"uri": "file:///c", "step": 3}))
    must(house.say(house.lease(study, "q"), ":release"))
    lost = house.lease(study, "lost", lease_seconds=1)
    house.clock.advance(2)
    running = [house.lease(study, f"r{i}") for i in range(3)]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": [{"params": {"lr": 0.5}}, {"params": {"lr": 0.4}}]}))
    now = house.study(study)
    counted = dict(house.sql("SELECT state, count(*) FROM trials WHERE study_id = :id GROUP BY 1", id=study["id"]))
    assert {state: count for state, count in now["counts"].items() if count} == counted
    assert now["trials"] == sum(counted.values())
    ((started, steps),) = house.sql(
        """SELECT count(*) FILTER (WHERE attempt > 0), sum(until_step - step) FILTER (WHERE state = 'RUNNING')
        FROM trials WHERE study_id = :id""",
        id=study["id"],
    )
    assert now["started"] == started
    assert now["steps_used"] == 4 * 2 + 3 + steps, "reported, and granted to those who run"
    assert {lost["id"], paused["id"]} & {trial["id"] for trial in running}, "what was given back is handed out first"


def test_a_name_means_the_study_that_has_it_now(house, must):
    called = name()
    first, path = house.create(name=called), f"/studies/{called}/trials:ask"
    assert must(house.post(path, {"worker": "w"}))["trials"]
    assert house.call("DELETE", f"/studies/{first['id']}").status_code == 204
    assert house.post(path, {"worker": "w"}).status_code == 404
    second = house.create(name=called)
    (trial,) = must(house.post(path, {"worker": "w"}))["trials"]
    assert house.trial(trial)["study_id"] == second["id"] != first["id"]
