"""What a study has taught: the best, trade-offs, importances, predictions and regret, from real workers."""

from __future__ import annotations

import asyncio
import json
import math
from urllib.parse import quote

import pytest

from frazil_server.insights.service import Insights, see
from frazil_tuner import insights

X = {"name": "x", "type": "float", "low": 0.0, "high": 1.0}
N = {"name": "n", "type": "float", "low": 0.0, "high": 1.0}
SPACE = [X, N]
BAYES = {"name": "bayes", "warmup": 4}
TWO = [{"metric": "loss"}, {"metric": "speed", "direction": "maximize"}]
GRID = [(i / 5, j / 2) for i in range(6) for j in range(3)]


def finished(house, must, study, values):
    """Adds finished trials: params by (x, n), and what `values` makes of them."""
    trials = [{"params": {"x": x, "n": n}, "state": "COMPLETED", "values": values(x, n)} for x, n in GRID]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": trials}))
    return study


@pytest.fixture(scope="module")
def study(house, must):
    """Eighteen trials of (x - 0.4)², in which n makes no difference."""
    study = house.create(space=SPACE, policy=BAYES)
    return finished(house, must, study, lambda x, n: {"loss": (x - 0.4) ** 2})


@pytest.fixture(scope="module")
def trade(house, must):
    study = house.create(space=SPACE, objectives=TWO, policy=BAYES)
    return finished(house, must, study, lambda x, n: {"loss": x + n, "speed": x - n})


def ask(house, study, what, **query):
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
    return house.get(f"/studies/{study['id']}/{what}?" + "&".join(f"{n}={quote(t)}" for n, t in texts.items()))


# ── the best ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_best_is_observed_recommended_and_advised_on(house, must, study):
    best = must(ask(house, study, "best"))
    assert best["observed"]["values"] == {"loss": 0.0}
    assert best["observed"]["trial"]["params"]["x"] == 0.4
    recommended = best["recommended"]
    assert recommended["trial"]["params"]["x"] == 0.4
    assert math.isclose(recommended["mean"]["loss"], 0.0, abs_tol=0.02)
    assert 0 < recommended["sd"]["loss"] < 0.1
    assert best["pareto"] is None
    advice = best["advice"]
    assert advice["expected_gain"] < 0.05
    assert advice["stop"] is (advice["regret_bound"] <= advice["threshold"])
    assert ("Stop" in advice["reason"]) is advice["stop"]


def test_what_does_not_matter_is_said_by_the_user(house, must, refused, study):
    advice = must(ask(house, study, "best", tolerance=1e6))["advice"]
    assert (advice["stop"], advice["threshold"]) == (True, 1e6)
    for tolerance in (0, -1, "nan", "inf", "much"):
        refused(ask(house, study, "best", tolerance=tolerance), 422, "invalid", "/query/tolerance")


def test_a_young_study_is_not_advised_on(house, must):
    study = house.create(space=SPACE, policy=BAYES)
    assert must(ask(house, study, "best")) == {"observed": None, "recommended": None, "advice": None, "pareto": None}
    for _ in range(4):
        must(house.tell(house.lease(study), 0.5))
    best = must(ask(house, study, "best"))
    assert (best["observed"]["values"], best["advice"]) == ({"loss": 0.5}, None)


def test_the_best_meets_the_constraints_on_outcomes(house, must):
    study = house.create(space=SPACE, policy=BAYES, outcome_constraints=["size <= 0.5"])
    path = f"/studies/{study['id']}/trials"
    rows = [(0.1, 0.9), (0.3, 0.5), (0.2, 0.51), (0.3, 0.4)]
    trials = [
        {"params": {"x": i / 9, "n": 0}, "state": "COMPLETED", "values": {"loss": loss, "size": size}}
        for i, (loss, size) in enumerate(rows)
    ]
    must(house.post(path, {"trials": trials[:1]}))
    assert must(ask(house, study, "best"))["observed"] is None
    must(house.post(path, {"trials": trials[1:]}))
    observed = must(ask(house, study, "best"))["observed"]
    assert (observed["trial"]["number"], observed["values"]) == (1, {"loss": 0.3, "size": 0.5})
    must(house.patch(f"/trials/{observed['trial']['id']}", {"excluded": True}))
    assert must(ask(house, study, "best"))["observed"]["trial"]["number"] == 3


def test_the_best_of_runs_that_cannot_be_resumed_had_the_most_of_the_resource(house, must):
    """A value at a tenth of the data is no match for one at all of it, however small."""
    data = {"name": "data", "max": 10, "kind": "restart"}
    study = house.create(space=[X], policy={"name": "multi_fidelity"}, resource=data)
    curves = [[(1, 0.01)], [(1, 0.3), (4, 0.7)], [(1, 0.4), (4, 0.6)]]
    trials = [
        {
            "params": {"x": i / 9},
            "state": "PRUNED",
            "curve": [{"step": step, "metrics": {"loss": value}} for step, value in curve],
        }
        for i, curve in enumerate(curves)
    ]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": trials}))
    observed = must(ask(house, study, "best"))["observed"]
    assert (observed["trial"]["number"], observed["values"]) == (2, {"loss": 0.6})
    done = {"params": {"x": 0.9}, "state": "COMPLETED", "values": {"loss": 0.9}}
    must(house.post(f"/studies/{study['id']}/trials", {"trials": [done]}))
    assert must(ask(house, study, "best"))["observed"]["trial"]["number"] == 3


def test_the_best_of_runs_that_can_be_resumed_is_the_best_that_stands(house, must):
    study = house.create(space=[X], policy={"name": "asha"}, resource={"name": "epoch", "max": 10})
    short = {"params": {"x": 0.5}, "state": "PRUNED", "curve": [{"step": 2, "metrics": {"loss": 0.1}}]}
    whole = {"params": {"x": 0.5}, "state": "COMPLETED", "curve": [{"step": 10, "metrics": {"loss": 0.2}}]}
    must(house.post(f"/studies/{study['id']}/trials", {"trials": [whole, short]}))
    assert must(ask(house, study, "best"))["observed"]["trial"]["number"] == 1


def test_freeze_thaw_recommends_by_what_it_believes_of_the_full_resource(house, must):
    study = house.create(space=[X], policy={"name": "freeze_thaw"}, resource={"name": "epoch", "max": 20})
    curves = [[0.1 * i + 1 / step for step in range(1, (6 if i == 0 else 20) + 1)] for i in range(6)]
    trials = [
        {
            "params": {"x": i / 9},
            "state": "PRUNED",
            "curve": [{"step": step, "metrics": {"loss": value}} for step, value in enumerate(curve, 1)],
        }
        for i, curve in enumerate(curves)
    ]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": trials}))
    best = must(ask(house, study, "best"))
    assert best["observed"]["values"] == {"loss": 0.1 + 1 / 20}, "seen so far"
    recommended = best["recommended"]
    assert recommended["trial"]["number"] == 0, "it will have passed that one by then"
    assert recommended["mean"]["loss"] < 1 / 6
    assert recommended["sd"]["loss"] > 0


def test_several_objectives_have_no_best_but_a_front(house, must, trade):
    best = must(ask(house, trade, "best"))
    assert (best["observed"], best["advice"]) == (None, None)
    assert best["pareto"] == f"/api/v1/studies/{trade['id']}/pareto"
    assert must(house.get(best["pareto"].removeprefix("/api/v1")))["items"]


def test_a_study_that_compares_has_no_best_value(house, must):
    study = house.create(objectives=[{"metric": "taste", "by": "comparison"}], policy={"name": "rank_sgd"})
    for _ in range(2):
        must(house.say(house.lease(study), ":tell", values={"taste": 1.0}))
    assert must(ask(house, study, "best"))["observed"] is None


# ── trade-offs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_front_has_its_trials_and_its_indicators(house, must, trade):
    front = must(ask(house, trade, "pareto"))
    values = [item["values"] for item in front["items"]]
    assert values == [{"loss": x, "speed": x} for x, n in GRID if n == 0]
    assert [item["trial"]["params"]["n"] for item in front["items"]] == [0] * 6
    assert front["total"] == 6
    assert front["hypervolume"] > 0
    assert 0 < front["r2"] < 1
    assert set(front["reference"]) == {"loss", "speed"}


def test_a_reference_point_may_be_given(house, must, refused, trade):
    front = must(ask(house, trade, "pareto", reference={"loss": 2, "speed": 0}))
    assert front["reference"] == {"loss": 2, "speed": 0}
    assert math.isclose(front["hypervolume"], sum(0.2 * (2 - x) for x in (0.2, 0.4, 0.6, 0.8, 1.0)))
    refused(ask(house, trade, "pareto", reference={"loss": 2}), 422, "reference_invalid", "/query/reference/speed")
    for reference in ("[]", "{", "7", "[" * 2_000):
        refused(ask(house, trade, "pareto", reference=reference), 422, "invalid", "/query/reference")


def test_a_study_without_trials_has_an_empty_front(house, must):
    front = must(ask(house, house.create(objectives=TWO), "pareto"))
    assert front == {"items": [], "total": 0, "hypervolume": None, "r2": None, "reference": None}


# ── importances ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["auto", "sobol", "ped_anova", "fanova"])
def test_what_makes_a_difference_is_important(house, must, study, method):
    found = must(ask(house, study, "importances", method=method))
    assert found["importances"]["x"] > 0.75 > 0.25 > found["importances"]["n"]
    assert found["method"] == ("sobol" if method == "auto" else method)
    assert (found["metric"], found["observations"]) == ("loss", 18)


LR = {"name": "lr", "type": "float", "low": 1e-4, "high": 1.0, "log": True}
SIZE = {"name": "batch_size", "type": "ordinal", "values": [8, 32, 128]}


def test_how_a_rate_goes_with_the_batch_size_is_learned_from_the_trials(house, must, refused):
    study = house.create(space=[LR, SIZE], policy=BAYES)
    told = [
        {"params": {"lr": lr, "batch_size": size}, "state": "COMPLETED",
         "values": {"loss": math.log10(lr / 0.01 / (size / 32)) ** 2}}
        for lr in (0.001, 0.0033, 0.012, 0.04, 0.1) for size in (8, 32, 128)
    ]  # fmt: skip
    must(house.post(f"/studies/{study['id']}/trials", {"trials": told}))
    found = must(house.get(f"/studies/{study['id']}/scaling?parameter=lr&batch=batch_size"))
    assert found["exponent"] == pytest.approx(1.0, abs=0.15)
    assert found["rules"]["linear"]["holds"]
    assert [item["batch"] for item in found["transferred"]] == [8, 32, 128]
    wrong = f"/studies/{study['id']}/scaling?parameter=lr&batch=size"
    refused(house.get(wrong), 422, "parameter_unknown", "/query/batch")
    refused(house.get(f"/studies/{study['id']}/scaling?parameter=lr"), 422, "invalid", "/query/batch")


def test_whether_the_product_of_rate_and_decay_counts_is_read_from_the_curves(house, must, refused):
    decay = {"name": "weight_decay", "type": "float", "low": 1e-3, "high": 1, "log": True}
    study = house.create(space=[LR, decay], resource={"name": "epoch", "max": 4}, policy={"name": "random"})
    told = [
        {"params": {"lr": 10.0**-a, "weight_decay": 10.0**-b}, "state": "COMPLETED",
         "curve": [{"step": s, "metrics": {"loss": abs(a + b - 3) + 1 / s}} for s in range(1, 5)]}
        for a in (0.5, 1, 1.5, 2, 2.5) for b in (0.5, 1, 1.5, 2, 2.5)
    ]  # fmt: skip
    must(house.post(f"/studies/{study['id']}/trials", {"trials": told}))
    found = must(house.get(f"/studies/{study['id']}/invariance?rate=lr&decay=weight_decay"))
    assert found["holds"]
    assert found["shares"][-1]["runs"] == 25
    wrong = f"/studies/{study['id']}/invariance?rate=lr&decay=momentum"
    refused(house.get(wrong), 422, "parameter_unknown", "/query/decay")


def test_importances_are_asked_for_by_metric(house, must, refused, trade):
    assert must(ask(house, trade, "importances", metric="speed"))["metric"] == "speed"
    refused(ask(house, trade, "importances", metric="size"), 422, "metric_unknown", "/query/metric")
    refused(ask(house, trade, "importances", method="guess"), 422, "method_unknown", "/query/method")


# ── predictions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_are_predicted_from_a_query_or_a_body(house, must, study):
    points = [{"x": 0.4, "n": 0.5}, {"x": 1, "n": 0}]
    asked = must(ask(house, study, "predictions", points=points))
    sent = house.post(f"/studies/{study['id']}/predictions", {"points": points}, headers={"Idempotency-Key": "k"})
    assert must(sent) == asked
    again = house.post(f"/studies/{study['id']}/predictions", {"points": points}, headers={"Idempotency-Key": "k"})
    assert again.headers["idempotent-replayed"] == "true"
    low, high = asked["metrics"]["loss"]["mean"]
    assert math.isclose(low, 0.0, abs_tol=0.05)
    assert math.isclose(high, 0.36, abs_tol=0.05)
    assert asked["points"] == points


def test_a_slice_goes_along_one_or_two_parameters(house, must, study):
    line = must(ask(house, study, "predictions", slice="x", resolution=5))
    assert [axis["name"] for axis in line["axes"]] == ["x"]
    assert set(line["axes"][0]["values"]) >= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert len(line["metrics"]["loss"]["mean"]) == len(line["axes"][0]["values"])
    square = must(ask(house, study, "predictions", slice="x", slice2="n", resolution=3, base={"x": 0.5, "n": 0.5}))
    assert len(square["points"]) == 9
    assert square["base"] == {"x": 0.5, "n": 0.5}


def test_calibration_compares_each_trial_with_what_was_expected_of_it(house, must, refused, study):
    found = must(ask(house, study, "predictions", calibration="true"))
    assert [row["number"] for row in found["trials"]] == list(range(18))
    assert set(found["coverage"]) == {"0.5", "0.8", "0.95"}
    one = must(ask(house, study, "predictions", calibration="true", trial=7))
    assert one["trials"] == [found["trials"][7]]
    refused(ask(house, study, "predictions", calibration="true", trial=99), 422, "invalid", "/query/trial")


@pytest.fixture(scope="module")
def running(house, must):
    """Eight curves of loss and size up to step 12, and one up to step 4, of 20."""
    study = house.create(
        space=[X], policy=BAYES, resource={"name": "epoch", "max": 20}, objectives=[{"metric": "loss"}]
    )
    curves = [[0.1 * i + 1 / step for step in range(1, (4 if i == 8 else 20) + 1)] for i in range(9)]
    trials = [
        {
            "params": {"x": i / 9},
            "state": "PRUNED",
            "curve": [{"step": step, "metrics": {"loss": value}} for step, value in enumerate(curve, 1)],
        }
        for i, curve in enumerate(curves)
    ]
    must(house.post(f"/studies/{study['id']}/trials", {"trials": trials}))
    return study


def test_the_rest_of_a_curve_is_foretold(house, must, running):
    found = must(ask(house, running, "predictions", trial=8, max_points=3))
    assert set(found) == {"trial", "metric", "model", "steps", "mean", "quantiles"}
    assert (found["trial"], found["metric"], found["steps"]) == (8, "loss", [4, 12, 20])
    assert math.isclose(found["mean"][0], 0.8 + 1 / 4, abs_tol=0.1)
    assert set(found["quantiles"]) == {"0.05", "0.25", "0.5", "0.75", "0.95"}
    assert found["quantiles"]["0.05"][-1] < found["mean"][-1] < found["quantiles"]["0.95"][-1]
    assert must(ask(house, running, "predictions", trial=8, max_points=3, metric="loss")) == found


def test_a_curve_that_there_is_not_is_not_foretold(house, refused, running, study):
    refused(ask(house, running, "predictions", trial=99), 422, "trial_unknown", "/query/trial")
    refused(ask(house, running, "predictions", trial=8, metric="size"), 422, "metric_unknown", "/query/metric")
    refused(ask(house, study, "predictions", trial=7), 422, "resource_missing", "/query/trial")
    refused(ask(house, running, "predictions", trial=8, max_points=1), 422, "invalid", "/query/max_points")
    young = house.create(resource={"name": "epoch", "max": 20})
    house.lease(young)
    refused(ask(house, young, "predictions", trial=0), 409, "too_few_trials")


QUESTIONS = {
    "nothing": ({}, "points"),
    "two things": ({"points": [], "slice": "x"}, "slice"),
    "no points": ({"points": []}, "points"),
    "no JSON": ({"points": "[{"}, "points"),
    "no list": ({"points": {"x": 1}}, "points"),
    "a point outside": ({"points": [{"x": 0.5, "n": 0}, {"x": 2, "n": 0}]}, "points/1/x"),
    "half a point": ({"points": [{"x": 0.5}]}, "points/0/n"),
    "a point of NaN": ({"points": '[{"x": NaN, "n": 0}]'}, "points/0/x"),
    "a number for a point": ({"points": [7]}, "points/0"),
    "a slice along nothing": ({"slice": "y"}, "slice"),
    "a second slice along nothing": ({"slice": "x", "slice2": "y"}, "slice2"),
    "a slice twice": ({"slice": "x", "slice2": "x"}, "slice2"),
    "a slice of one": ({"slice": "x", "resolution": 1}, "resolution"),
    "an endless slice": ({"slice": "x", "resolution": 10**6}, "resolution"),
    "a resolution in words": ({"slice": "x", "resolution": "fine"}, "resolution"),
    "a base outside": ({"slice": "x", "base": {"x": 7, "n": 0}}, "base/x"),
    "a base that is none": ({"slice": "x", "base": "[]"}, "base"),
    "an unknown metric": ({"calibration": "true", "metric": "size"}, "metric"),
    "a negative trial": ({"trial": -1}, "trial"),
}


@pytest.mark.parametrize("what", QUESTIONS)
def test_a_question_that_makes_no_sense_names_its_parameter(house, refused, study, what):
    query, pointer = QUESTIONS[what]
    response = ask(house, study, "predictions", **query)
    refused(response, 422, response.json()["code"], f"/query/{pointer}")


def test_a_body_that_makes_no_sense_names_its_field(house, refused, study):
    path = f"/studies/{study['id']}/predictions"
    for points, pointer in ([{"x": 2, "n": 0}], "/points/0/x"), ([], "/points"), ([7], "/points/0"):
        response = house.post(path, {"points": points})
        refused(response, 422, response.json()["code"], pointer)
    refused(house.post(path, {"points": [{"x": 0.5, "n": 0}] * 10_001}), 422, "invalid", "/points")


def test_a_fault_that_several_ask_for_at_once_points_into_the_query_of_each(house, study):
    path = f"/api/v1/studies/{study['id']}/importances?method=guess"

    async def story():
        return await asyncio.gather(*(house.client.get(path) for _ in range(3)))

    pointers = [error["pointer"] for answer in house.run(story()) for error in answer.json()["errors"]]
    assert pointers == ["/query/method"] * 3


@pytest.mark.parametrize("what", ["importances", "predictions?slice=x", "predictions?calibration=true", "regret"])
def test_before_there_is_anything_to_say_it_is_too_early(house, refused, what):
    study = house.create(space=SPACE, policy=BAYES)
    problem = refused(house.get(f"/studies/{study['id']}/{what}"), 409, "too_few_trials")
    assert "trial" in problem["detail"]


@pytest.mark.parametrize("what", ["best", "pareto", "importances", "predictions?slice=x", "regret"])
def test_a_study_that_is_not_there_has_taught_nothing(house, refused, what):
    refused(house.get(f"/studies/never-made/{what}"), 404, "not_found")


# ── regret ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_regret_is_tracked_by_context(house, must, refused, trade):
    study = house.create(space=[X, N | {"role": "context"}], policy=BAYES)
    finished(house, must, study, lambda x, n: {"loss": (x - n) ** 2})
    regret = must(ask(house, study, "regret"))
    assert [context["context"] for context in regret["contexts"]] == [{"n": 0}, {"n": 0.5}, {"n": 1}]
    assert [round(context["best"]["x"], 1) for context in regret["contexts"]] == [0, 0.5, 1]
    assert len(regret["trials"]) == 18
    assert regret["trials"][-1]["cumulative"] == regret["cumulative"] > 0
    refused(ask(house, trade, "regret"), 422, "regret_invalid")


# ── how they are computed ────────────────────────────────────────────────────────────────────────────────────────────


class Counting:
    """An engine that counts what it is asked, and takes its time."""

    def __init__(self):
        self.asked = 0

    async def consult(self, function, *args):
        self.asked += 1
        await asyncio.sleep(0.05)
        return function(*args)


def test_who_asks_the_same_at_once_or_later_shares_the_answer_until_the_data_change(house, must, trade):
    engine = Counting()
    answers, services = Insights(engine), house.app.state.services

    async def look():
        return await see(services, trade["id"], "default")

    async def story(sight, *args):
        return await asyncio.gather(*(answers.ask(sight, insights.pareto, *args) for _ in range(5)))

    first = house.run(look())
    results = house.run(story(first)) + house.run(story(first))
    assert results == results[:1] * 10
    assert engine.asked == 1
    house.run(story(first, {"loss": 9.0, "speed": -9.0}))
    assert engine.asked == 2
    must(house.patch(f"/studies/{trade['id']}", {"notes": "seen"}))
    house.run(story(house.run(look())))
    assert engine.asked == 3, "an edit is a change"


def test_an_answer_that_failed_is_asked_for_again(house, study):
    class Failing(Counting):
        async def consult(self, function, *args):
            self.asked += 1
            raise ArithmeticError("ill-conditioned")

    engine = Failing()
    answers, services = Insights(engine), house.app.state.services
    sight = house.run(see(services, study["id"], "default"))
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            house.run(answers.ask(sight, insights.pareto))
    assert engine.asked == 2


def test_no_connection_is_held_while_a_model_is_fitted(house, study, monkeypatch):
    services = house.app.state.services
    held = []

    async def consult(function, *args):
        held.append(services.database.pool.checkedout())
        return function(*args)

    monkeypatch.setattr(services, "insights", Insights(type("Engine", (), {"consult": staticmethod(consult)})))
    for path in ("best", "pareto"):
        assert ask(house, study, path).is_success
    assert held
    assert set(held) == {0}
