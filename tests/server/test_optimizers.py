"""The catalogue over REST."""

from __future__ import annotations

from frazil_tuner.optimizers import catalogue


def test_every_entry_is_reachable_and_has_a_source(api):
    items = api.get("/optimizers").json()["items"]
    assert [item["name"] for item in items] == list(catalogue())
    for item in items:
        found = api.get(f"/optimizers/{item['name']}")
        assert found.status_code == 200, item["name"]
        assert found.json()["source"]
        assert found.json()["parameters"] == item["parameters"]


def test_a_study_is_made_of_the_space_and_asks_the_portfolio_first(api):
    made = api.get("/optimizers:space", params={"names": "adamw,lion"}).json()
    study = api.create(space=made["space"], policy={"name": "random"})
    trials = [{"params": point, "tags": ["baseline"]} for point in made["portfolio"]]
    assert api.post(f"/studies/{study['id']}/trials", {"trials": trials}).status_code == 201
    asked = api.ask(study, count=2)["trials"]
    assert [trial["params"] for trial in asked] == made["portfolio"][:2]
    assert api.get(f"/trials/{asked[0]['id']}").json()["tags"] == ["baseline"]


def test_the_space_of_one_has_plain_names(api):
    found = api.get("/optimizers/adamw", params={"tune": "full"}).json()
    assert [item["name"] for item in found["space"]] == ["optimizer", "lr", "weight_decay", "beta1", "beta2", "eps"]
    assert len(found["portfolio"]) == 2


def test_what_is_not_there_is_named_with_what_is(api):
    missing = api.get("/optimizers/adamwy")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert "did you mean adamw" in missing.json()["detail"]
    refused = api.get("/optimizers:space", params={"names": "adamwy"})
    assert (refused.status_code, refused.json()["code"]) == (422, "optimizer_unknown")
    assert api.get("/optimizers:space", params={"names": ","}).status_code == 422
