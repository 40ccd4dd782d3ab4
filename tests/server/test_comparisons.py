"""Rankings: stored as numbers, best first, for studies that learn from them; refused where they make no sense."""

from __future__ import annotations

import uuid

import pytest

TASTE = {"objectives": [{"metric": "taste", "by": "comparison"}]}


@pytest.fixture
def tasted(house):
    """A study with four trials that were tried, and one that was not."""
    study = house.create(**TASTE)
    trials = house.ask(study, count=4)["trials"]
    for trial in trials[:3]:
        assert house.tell(trial).is_success
    assert house.post(f"/studies/{study['id']}/trials", {"trials": [{"params": {"lr": 0.5}}]}).is_success
    return study, trials


def path(study) -> str:
    return f"/studies/{study['id']}/comparisons"


def test_a_ranking_names_trials_by_number_or_id(house, must, tasted):
    study, trials = tasted
    first = house.post(path(study), {"ranking": [2, trials[0]["id"], 1]})
    assert first.status_code == 201
    must(house.post(path(study), {"ranking": [3, trials[1]["id"]]}))
    page = must(house.get(path(study)))
    assert [item["ranking"] for item in page["items"]] == [[2, 0, 1], [3, 1]]
    assert page["items"][0] == must(first)
    kinds = [event["kind"] for event in must(house.get(f"/studies/{study['id']}/events:list"))["items"]]
    assert kinds.count("study.compared") == 2


def test_a_ranking_is_something_to_learn_from(house, must, tasted):
    study, _ = tasted
    before = house.study(study)["data_version"]
    must(house.post(path(study), {"ranking": [0, 1]}))
    assert house.study(study)["data_version"] == before + 1


def test_rankings_are_listed_page_by_page(house, must, tasted):
    study, _ = tasted
    rankings = [[0, 1], [1, 0], [2, 0, 1], [0, 3], [3, 2]]
    for ranking in rankings:
        must(house.post(path(study), {"ranking": ranking}))
    listed, token = [], ""
    while token is not None:
        page = must(house.get(f"{path(study)}?page_size=2" + (f"&page_token={token}" if token else "")))
        listed += [item["ranking"] for item in page["items"]]
        token = page["next_page_token"]
    assert listed == rankings


def test_a_ranking_sent_twice_under_one_key_is_stored_once(house, must, tasted):
    study, _ = tasted
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answers = [house.post(path(study), {"ranking": [0, 1]}, headers=key) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert len(must(house.get(path(study)))["items"]) == 1


def test_the_policy_sees_every_ranking_once(house, must, tasted):
    study, _ = tasted
    services = house.app.state.services

    async def rankings():
        from frazil_server.trials.ledger import Ledger

        async with services.database.begin() as connection:
            ledger = await Ledger.open(connection, uuid.UUID(study["id"]), lock=False)
            look = await services.snapshots.look(connection, ledger.study)
            seen = await services.snapshots.study(connection, ledger.study, look)
        services.snapshots.remember(ledger.study.id, look)
        return seen.rankings

    assert house.run(rankings()) == ()
    must(house.post(path(study), {"ranking": [0, 1]}))
    assert house.run(rankings()) == ((0, 1),)
    must(house.post(path(study), {"ranking": [2, 1, 0]}))
    assert house.run(rankings()) == ((0, 1), (2, 1, 0)) == house.run(rankings())


@pytest.mark.parametrize(
    ("ranking", "code", "pointer"),
    [
        ([0, 7], "ranking_invalid", "/ranking/1"),
        ([0, 2**31], "invalid", "/ranking/1"),
        ([0, str(uuid.uuid4())], "ranking_invalid", "/ranking/1"),
        ([0, "of another study"], "ranking_invalid", "/ranking/1"),
        ([0, 1, 0], "ranking_invalid", "/ranking/2"),
        ([0, "its own id"], "ranking_invalid", "/ranking/1"),
        ([0, 4], "ranking_invalid", "/ranking/1"),
        ([0], "invalid", "/ranking"),
        ([], "invalid", "/ranking"),
        ([0, -1], "invalid", "/ranking/1"),
        ([0, 0.5], "invalid", "/ranking/1"),
        ([0, True], "invalid", "/ranking/1"),
        ([0, "best"], "invalid", "/ranking/1"),
        ([0, None], "invalid", "/ranking/1"),
        ("01", "invalid", "/ranking"),
    ],
)
def test_a_ranking_that_makes_no_sense_is_refused_and_nothing_is_stored(house, refused, tasted, ranking, code, pointer):
    study, trials = tasted
    known = {"its own id": trials[0]["id"], "of another study": house.lease(house.create())["id"]}
    ranking = [known.get(item, item) for item in ranking] if isinstance(ranking, list) else ranking
    before = house.everything(study), house.get(path(study)).content
    refused(house.post(path(study), {"ranking": ranking}), 422, code, pointer)
    assert (house.everything(study), house.get(path(study)).content) == before


def test_every_trial_that_cannot_be_ranked_is_named(house, refused, tasted):
    problem = refused(house.post(path(tasted[0]), {"ranking": [9, 0, 4, 8]}), 422, "ranking_invalid")
    assert [error["pointer"] for error in problem["errors"]] == ["/ranking/0", "/ranking/2", "/ranking/3"]


def test_a_study_that_learns_from_values_takes_no_ranking(house, refused):
    study = house.create()
    for _ in range(2):
        house.tell(house.lease(study), 0.5)
    problem = refused(house.post(path(study), {"ranking": [0, 1]}), 422, "not_compared", "/ranking")
    assert '"by": "comparison"' in problem["errors"][0]["detail"]


def test_comparisons_go_with_their_study(house, tasted):
    study, _ = tasted
    assert house.post(path(study), {"ranking": [0, 1]}).is_success
    assert house.call("DELETE", f"/studies/{study['id']}").status_code == 204
    assert house.sql("SELECT 1 FROM comparisons WHERE study_id = :id", id=study["id"]) == []
