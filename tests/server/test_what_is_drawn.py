"""What can be drawn of a study: the filter, samples, the best over time, who trained what, and what is worth most."""

from __future__ import annotations

import json

import pytest

EPOCHS = {"name": "epoch", "max": 10}
SPACE = [
    {"name": "lr", "type": "float", "low": 0.001, "high": 1.0, "log": True},
    {"name": "optimizer", "type": "categorical", "choices": ["adamw", "lion", 3]},
    {"name": "schedule", "type": "schedule", "kinds": ["linear", "cosine"], "peak": "lr", "warmup": [0.0, 0.2]},
]


def ok(response):
    assert response.is_success, response.text
    return response.json()


def schedule(kind: str) -> dict:
    return {"kind": kind, "peak": 0.1, "total_steps": 10, "warmup_steps": 1, "final": 0.0}


def params(lr: float, optimizer: object = "adamw") -> dict:
    return {"lr": lr, "optimizer": optimizer}


@pytest.fixture
def study(house):
    """Twelve finished trials, lr = .01 … .12 and loss = |lr - .0501|, of three optimizers."""
    study = house.create(space=SPACE[:2], resource=EPOCHS)
    house.post(
        f"/studies/{study['id']}/trials",
        {
            "trials": [
                {
                    "params": params(0.01 * i, ["adamw", "lion", 3][i % 3]),
                    "state": "COMPLETED" if i < 11 else "PRUNED",
                    "curve": [
                        {"step": 1, "metrics": {"loss": 1}},
                        {"step": 2, "metrics": {"loss": abs(0.01 * i - 0.0501)}},
                    ],
                    "tags": ["even", "all"] if i % 2 == 0 else ["all"],
                }
                for i in range(1, 13)
            ]
        },
    )
    return study


def numbers(house, study, **query) -> list[int]:
    query |= {"where": json.dumps(query["where"])} if "where" in query else {}
    return [item["number"] for item in ok(house.get(f"/studies/{study['id']}/trials", params=query))["items"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"where": {"lr": {"low": 0.0295, "high": 0.0505}}}, [2, 3, 4]),
        ({"where": {"lr": {"high": 0.0205}}}, [0, 1]),
        ({"where": {"optimizer": {"in": ["lion", 3]}, "lr": {"high": 0.0505}}}, [0, 1, 3, 4]),
        ({"tag": ["even", "all"]}, [1, 3, 5, 7, 9, 11]),
        ({"number": [7, 3, 99]}, [3, 7]),
        ({"state": ["PRUNED", "RUNNING"]}, [10, 11]),
        ({"top": 3}, [3, 4, 5]),
        ({"top": 1, "where": {"lr": {"low": 0.0805}}}, [8]),
        ({"at_most": 0.0105}, [3, 4, 5]),
        ({"at_least": 0.0695}, [11]),
    ],
)
def test_the_filter_lets_through_what_it_says(house, study, query, expected):
    assert numbers(house, study, **query) == expected


def test_a_part_of_a_schedule_can_be_asked_for(house):
    study = house.create(space=SPACE, resource=EPOCHS)
    bodies = [{"params": params(0.1) | {"schedule": schedule(kind)}} for kind in ("linear", "cosine", "linear")]
    ok(house.post(f"/studies/{study['id']}/trials", {"trials": bodies}))
    assert numbers(house, study, where={"schedule/kind": {"in": ["linear"]}}) == [0, 2]


@pytest.mark.parametrize(
    "where",
    ['{"lr"', "[]", '{"lr": 1}', '{"lr": {"low": "a"}}', '{"lr": {}}', '{"depth": {"low": 1}}', '{"lr": {"in": 3}}'],
)
def test_a_filter_that_says_nothing_is_refused(house, study, refused, where):
    for path in ("trials", "curves", "trials:sample"):
        answer = house.get(f"/studies/{study['id']}/{path}", params={"where": where})
        refused(answer, 422, "invalid")
        assert answer.json()["errors"][0]["pointer"] == "/query/where"


@pytest.mark.parametrize(
    "order", ["params.lr", "-params.lr", "params.optimizer", "-last_step", "finished_at", "state", "cost"]
)
def test_any_order_can_be_paged_through_and_holds_every_trial_once(house, study, order):
    found, token = [], None
    while True:
        query = {"order_by": order, "page_size": 5, "fields": "number,params,state"} | (
            {"page_token": token} if token else {}
        )
        page = ok(house.get(f"/studies/{study['id']}/trials", params=query))
        found += page["items"]
        token = page["next_page_token"]
        if token is None:
            break
    assert sorted(item["number"] for item in found) == list(range(12))
    if order == "-params.lr":
        assert [item["number"] for item in found] == list(range(11, -1, -1))
    if order == "state":
        assert [item["state"] for item in found] == ["COMPLETED"] * 10 + ["PRUNED"] * 2


def test_an_order_that_there_is_not_is_refused(house, study, refused):
    for order in ("params.depth", "notes", "objectives"):
        refused(house.get(f"/studies/{study['id']}/trials", params={"order_by": order}), 422, "invalid")


def test_a_filtered_list_is_not_counted(house, study):
    def total(**query):
        return ok(house.get(f"/studies/{study['id']}/trials", params=query))["total"]

    assert [total(), total(state="PRUNED"), total(tag="even")] == [12, 2, None]


def test_a_small_sample_holds_the_best_and_others_from_end_to_end(house, study):
    sample = ok(house.get(f"/studies/{study['id']}/trials:sample", params={"count": 8}))
    assert sample["matched"] == 12
    assert {0, 4, 5} <= set(sample["number"])
    assert max(sample["number"]) >= 10
    assert len(set(sample["number"])) == 8
    assert sample["number"] == sorted(sample["number"])
    columns = [sample[name] for name in ("id", "state", "objective", "last_step", "tags")]
    assert {len(column) for column in [*columns, *sample["params"].values()]} == {len(sample["number"])}
    assert sample["params"]["lr"][0] == 0.01
    assert sample["last_step"][0] == 2


@pytest.mark.parametrize("count", range(1, 13))
def test_a_sample_has_as_many_trials_as_were_asked_for(house, study, count):
    sample = ok(house.get(f"/studies/{study['id']}/trials:sample", params={"count": count}))
    assert len(sample["number"]) == count


def test_a_sample_of_everything_is_everything_and_one_of_nothing_is_empty(house, study):
    assert ok(house.get(f"/studies/{study['id']}/trials:sample"))["number"] == list(range(12))
    nothing = ok(house.get(f"/studies/{study['id']}/trials:sample", params={"tag": "none"}))
    assert (nothing["matched"], nothing["number"], nothing["params"]) == (0, [], {"lr": [], "optimizer": []})


def test_a_sample_of_curves_is_one_of_the_same_trials(house, study):
    trials = ok(house.get(f"/studies/{study['id']}/trials:sample", params={"count": 5}))["number"]
    curves = ok(house.get(f"/studies/{study['id']}/curves", params={"sample": 5}))
    assert [item["number"] for item in curves["items"]] == trials
    assert curves["next_page_token"] is None


def test_every_objective_of_a_sample_is_there_told_or_seen(house):
    study = house.create(objectives=[{"metric": "loss"}, {"metric": "size"}], resource=EPOCHS)
    told = {"params": {"lr": 0.1}, "state": "COMPLETED", "values": {"loss": 1, "size": {"mean": 7, "sem": 1}}}
    seen = {"params": {"lr": 0.2}, "state": "COMPLETED", "curve": [
        {"step": step, "metrics": {"loss": 2, "size": 10 - step}} for step in (1, 2)]}  # fmt: skip
    ok(house.post(f"/studies/{study['id']}/trials", {"trials": [told, seen]}))
    sample = ok(house.get(f"/studies/{study['id']}/trials:sample"))
    assert sample["values"] == {"size": [7, 8]}


# ── the best over time ───────────────────────────────────────────────────────────────────────────────────────────────


def progress(house, study) -> list[tuple]:
    return [
        (item["number"], item["value"], item["trials"], item["steps"])
        for item in ok(house.get(f"/studies/{study['id']}/progress"))["items"]
    ]


def test_what_improves_is_written_down_with_what_had_been_spent(house):
    study = house.create(resource=EPOCHS, policy={"name": "asha"})
    first, second = house.ask(study, count=2)["trials"]
    house.clock.advance(10)
    house.tell(first, 3.0)
    house.report(second, 1, value=2.0)  # the end of its grant
    third = house.lease(study, worker="v")
    house.tell(third, 2.5)
    assert [(number, value) for number, value, *_ in progress(house, study)] == [(0, 3.0), (1, 2.0)]
    assert house.study(study)["best"] == {"number": 1, "value": 2.0}
    spent = [(trials, steps) for *_, trials, steps in progress(house, study)]
    assert spent == sorted(spent)
    assert spent[0] == (2, 1)


def test_added_trials_count_one_after_the_other(house, study):
    assert progress(house, study) == [
        (i, pytest.approx(abs(0.01 * (i + 1) - 0.0501)), i + 1, pytest.approx(0)) for i in range(5)
    ]


def test_the_line_is_drawn_anew_without_an_excluded_or_corrected_trial(house, study):
    best = house.get(f"/studies/{study['id']}/trials", params={"top": 1}).json()["items"][0]
    ok(house.patch(f"/trials/{best['id']}", {"excluded": True}))
    assert house.study(study)["best"]["number"] == 5
    assert [number for number, *_ in progress(house, study)] == [0, 1, 2, 3, 5]
    ok(house.patch(f"/trials/{best['id']}", {"excluded": False}))
    assert house.study(study)["best"]["number"] == 4
    ok(house.patch(f"/trials/{best['id']}", {"values": {"loss": 9.0}}))
    assert house.study(study)["best"]["number"] == 5


def test_values_out_of_bounds_improve_nothing(house):
    study = house.create(outcome_constraints=["ms <= 5", "ms >= 1"])
    for loss, ms in [(3, 4), (1, 6), (2, 2), (0.5, 0.5)]:
        house.say(house.lease(study, worker=str(loss)), ":tell", values={"loss": loss, "ms": ms})
    assert [value for _, value, *_ in progress(house, study)] == [3, 2]


def test_where_more_of_the_resource_is_another_quantity_only_all_of_it_counts(house):
    study = house.create(resource={"name": "samples", "max": 10, "kind": "restart"})
    few, all_ = ({"params": {"lr": lr}, "state": "COMPLETED", "curve": [{"step": step, "metrics": {"loss": loss}}]}
                 for lr, step, loss in [(0.1, 5, 1.0), (0.2, 10, 2.0)])  # fmt: skip
    ok(house.post(f"/studies/{study['id']}/trials", {"trials": [few, all_]}))
    assert [value for _, value, *_ in progress(house, study)] == [2.0]


def test_maximised_values_improve_upwards_and_wild_ones_do_not(house):
    study = house.create(objectives=[{"metric": "loss", "direction": "maximize"}])
    for value in (1.0, "inf", 0.5, "nan", 2.0):
        house.tell(house.lease(study, worker=str(value)), value)
    assert [value for _, value, *_ in progress(house, study)] == [1.0, 2.0]


def test_several_objectives_have_no_line(house):
    study = house.create(objectives=[{"metric": "loss"}, {"metric": "size"}])
    house.say(house.lease(study), ":tell", values={"loss": 1, "size": 2})
    assert progress(house, study) == []
    assert house.study(study)["best"] is None


# ── who trained what ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_timeline_has_every_lease_from_its_beginning_to_its_end(house):
    study = house.create(resource=EPOCHS, policy={"name": "random"})
    first = house.lease(study, worker="a")
    second = house.lease(study, worker="b")
    house.report(first, 1, checkpoint={"uri": "s3://x", "step": 1})
    ok(house.say(first, ":pause", step=1, checkpoint={"uri": "s3://x", "step": 1}))
    ok(house.say(second, ":release"))
    third = house.lease(study, worker="c")
    spans = ok(house.get(f"/studies/{study['id']}/timeline"))["spans"]
    assert [(s["trial"], s["worker"], s["how"], s["ending"]) for s in spans] == [
        (0, "a", "started", "paused"), (1, "b", "started", "released"), (third["number"], "c", "resumed", None)
    ]  # fmt: skip
    assert [s["end"] is None for s in spans] == [False, False, True]
    assert ok(house.get(f"/studies/{study['id']}/timeline?most=1"))["spans"] == spans[-1:]


# ── what is worth most ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ranking_weighs_training_frozen_and_new_runs(house):
    study = house.create(resource=EPOCHS, policy={"name": "freeze_thaw"})
    for worker, value in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        trial = house.lease(study, worker=worker)
        house.report(trial, 1, value=value)
        if worker == "b":
            ok(house.say(trial, ":pause", step=1, checkpoint={"uri": "s3://x", "step": 1}))
    ranking = ok(house.get(f"/studies/{study['id']}/ranking?most=5"))
    items = ranking["items"]
    assert ranking["policy"] == "freeze_thaw"
    assert 0.0 < ranking["network"] < 1.0
    worths = [item["worth"] for item in items]
    assert worths == sorted(worths, reverse=True)
    by_action = {
        action: [i["trial"] for i in items if i["action"] == action] for action in ("continue", "thaw", "start")
    }
    assert 1 in by_action["thaw"]
    assert set(by_action["continue"]) <= {0, 2}
    assert by_action["start"] == [None] * 5
    assert len({repr(i["params"]) for i in items}) == len(items)
    assert all(item["until_step"] > item["from_step"] for item in items)
    assert all(item["sd"] > 0 for item in items)


def test_the_ranking_of_a_model_without_a_network_has_no_share_of_it(house):
    study = house.create(resource=EPOCHS, policy={"name": "freeze_thaw", "model": "regression"})
    house.report(house.lease(study), 1, value=1.0)
    assert ok(house.get(f"/studies/{study['id']}/ranking"))["network"] is None


def test_other_policies_have_no_such_ranking(house, study, refused):
    refused(house.get(f"/studies/{study['id']}/ranking"), 422, "policy_unsuited")


def test_before_anything_was_measured_there_is_nothing_to_rank(house, refused):
    study = house.create(resource=EPOCHS, policy={"name": "freeze_thaw"})
    refused(house.get(f"/studies/{study['id']}/ranking"), 409, "too_few_trials")
