"""Performance profiles over studies, on a real server: what each needed until it reached the target."""

from __future__ import annotations

import pytest

EPOCHS = {"name": "epoch", "max": 10}


@pytest.fixture
def told(house, must):
    """Makes a study of a problem whose trials come to these losses, each after two steps."""

    def make(problem, solver, losses, **more):
        study = house.create(
            resource=EPOCHS, policy={"name": "random"}, metadata={"problem": problem, "solver": solver}, **more
        )
        for loss in losses:
            trial = house.lease(study)
            house.report(trial, 1, 2, value=loss)
            must(house.tell(trial))
        return study["name"]

    return make


def ask(house, studies, **query):
    return house.get("/profiles", params={"studies": studies, **query})


BY = {"problem": "metadata.problem", "solver": "metadata.solver"}


def test_what_a_solver_needs_until_it_reaches_the_target_is_compared_over_problems(house, must, told):
    studies = [
        told("one", "quick", [0.9, 0.2, 0.1]),
        told("one", "slow", [0.9, 0.8, 0.7, 0.15]),
        told("two", "quick", [0.9, 0.8, 0.9]),
        told("two", "slow", [0.3, 0.25]),
    ]
    found = must(ask(house, studies, target=0.3, measure="trials", **BY))
    assert (found["measure"], found["studies"]) == ("trials", 4)
    assert found["problems"] == [
        {"problem": "one", "target": 0.3, "times": {"quick": 2.0, "slow": 4.0}},
        {"problem": "two", "target": 0.3, "times": {"quick": None, "slow": 1.0}},
    ]
    assert found["taus"] == [1.0, 2.0]
    shares = {row["solver"]: row["shares"] for row in found["solvers"]}
    assert shares == {"quick": [0.5, 0.5], "slow": [0.5, 1.0]}
    by_steps = must(ask(house, studies, target=0.3, **BY))
    assert by_steps["problems"][0]["times"]["quick"] == 2 * by_steps["problems"][1]["times"]["slow"]
    by_seconds = must(ask(house, studies, target=0.3, measure="seconds", **BY))
    assert by_seconds["problems"][1]["times"]["slow"] > 0


def test_repeats_and_targets_that_are_not_given_are_medians(house, must, told):
    studies = [told("one", "only", losses) for losses in ([0.5], [0.9, 0.3], [0.8, 0.7, 0.1])]
    found = must(ask(house, studies, measure="trials", **BY))
    assert found["problems"] == [{"problem": "one", "target": 0.3, "times": {"only": 3.0}}]


def test_studies_of_one_space_are_one_problem_and_policies_are_solvers(house, must, told):
    names = [told("a", "x", [0.5]), told("b", "y", [0.4])]
    other = told("c", "z", [0.3], space=[{"name": "lr", "type": "float", "low": 0, "high": 2}])
    found = must(ask(house, [*names, other], measure="trials"))
    assert [row["problem"] for row in found["problems"]] == [names[0], other]
    assert [row["solver"] for row in found["solvers"]] == ["random"]
    assert must(ask(house, [*names, other], problem="all", solver="name"))["problems"][0]["problem"] == "all"


def test_larger_is_better_where_the_study_says_so(house, must, told):
    study = told("one", "x", [0.2, 0.6, 0.7], objectives=[{"metric": "loss", "direction": "maximize"}])
    assert must(ask(house, [study], target=0.65, measure="trials", **BY))["problems"][0]["times"] == {"x": 3.0}


def test_studies_are_named_by_id_as_well(house, must, told):
    name = told("one", "x", [0.5])
    study = must(house.get(f"/studies/{name}"))
    found = must(ask(house, [study["id"], name], measure="trials", **BY))
    assert found["studies"] == 1
    assert found["problems"] == [{"problem": "one", "target": 0.5, "times": {"x": 1.0}}]


def test_a_study_without_any_value_is_endless(house, must, told):
    found = must(ask(house, [told("one", "x", [])], **BY))
    assert found["problems"] == [{"problem": "one", "target": None, "times": {"x": None}}]


def test_what_cannot_be_compared_is_refused_by_name(house, refused, told):
    study = told("one", "x", [0.5])
    refused(ask(house, ["never-made"]), 404, "not_found")
    refused(ask(house, []), 422, "invalid", "/query/studies")
    refused(ask(house, [study], measure="money"), 422, "invalid", "/query/measure")
    refused(ask(house, [study], solver="colour"), 422, "invalid", "/query/solver")
    refused(ask(house, [study], problem="metadata.task"), 422, "invalid", "/query/problem")
    two = house.create(objectives=[{"metric": "loss"}, {"metric": "size"}])
    refused(ask(house, [two["name"]]), 422, "invalid", "/query/studies")
    bare = house.create()
    refused(ask(house, [bare["name"]]), 422, "invalid", "/query/measure")
    up = told("one", "y", [0.5], objectives=[{"metric": "loss", "direction": "maximize"}])
    refused(ask(house, [study, up], **BY), 422, "invalid", "/query/problem")
