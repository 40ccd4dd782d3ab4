"""The table of policies: building, refusing, describing, and keeping torch out of the way."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Objective, OutcomeConstraint, Resource, Study
from frazil_tuner.policies import POLICIES, build, describe
from frazil_tuner.policies.bayes import Bayes
from frazil_tuner.policies.grid import Grid
from frazil_tuner.space import Space

SPACE = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
PLAIN = Definition(SPACE, (Objective("loss"),))
EPOCHS = Definition(SPACE, (Objective("loss"),), Resource("epoch", 30))


def problems_of(spec: Any, definition: Definition = EPOCHS) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        build(spec, definition)
    assert caught.value.code == "policy_invalid"
    return {problem.pointer: problem.detail for problem in caught.value.problems}


def test_the_table_has_every_policy_under_its_own_name() -> None:
    searching = {"freeze_thaw", "bayes", "multi_fidelity", "tpe", "cmaes", "nsga2", "cem", "cbo", "rank_sgd"}
    narrowing = {"asha", "hyperband", "bohb", "pbt"}
    stopping = {"median", "percentile", "prediction_stopping"}
    assert set(POLICIES) == {"auto", "random", "sobol", "grid", *searching, *narrowing, *stopping}
    assert all(policy.name == name for name, policy in POLICIES.items())


@pytest.mark.parametrize("spec", [None, {}, {"name": "auto"}])
def test_the_default_is_auto(spec: dict[str, Any] | None) -> None:
    assert build(spec, PLAIN) == POLICIES["auto"]()


def test_options_are_the_fields_of_the_policy() -> None:
    assert build({"name": "asha", "eta": 4.0}, EPOCHS) == POLICIES["asha"](eta=4)
    assert build({"name": "grid", "resolution": 3}, PLAIN) == Grid(resolution=3)
    assert build({"name": "bayes", "warmup": 9}, PLAIN) == Bayes(warmup=9)


@pytest.mark.parametrize(
    ("spec", "pointer", "detail"),
    [
        ("asha", "", "must be an object"),
        ({"name": "ahsa"}, "/name", "known are auto, freeze_thaw, asha"),
        ({"name": ["asha"]}, "/name", "unknown policy"),
        ({"name": None}, "/name", "unknown policy"),
        ({"name": "asha", "eta": 1}, "/eta", "at least 2"),
        ({"name": "asha", "eta": "3"}, "/eta", "must be a number"),
        ({"name": "asha", "eta": 2.5}, "/eta", "whole number"),
        ({"name": "asha", "eta": True}, "/eta", "must be a number"),
        ({"name": "asha", "etta": 3}, "/etta", "known here: eta"),
        ({"name": "random", "eta": 3}, "/eta", "known here: none"),
        ({"name": "grid", "resolution": 10**6}, "/resolution", "at most 1000"),
        ({"name": "bayes", "surrogate": "forest"}, "/surrogate", "one of auto, gp"),
        ({"name": "bayes", "acquisition": 3}, "/acquisition", "must be a string"),
        ({"eta": 3}, "/eta", "unknown option"),
    ],
)
def test_a_wrong_specification_is_named_with_its_field(spec: Any, pointer: str, detail: str) -> None:
    assert detail in problems_of(spec)[pointer]


def test_all_faults_are_named_together() -> None:
    assert set(problems_of({"name": "asha", "eta": 0, "speed": 1}, PLAIN)) == {"/eta", "/speed", "/name"}


def test_asha_is_refused_where_there_is_no_resource() -> None:
    assert "needs a resource" in problems_of({"name": "asha"}, PLAIN)["/name"]


def test_every_policy_describes_itself_and_is_built_from_its_own_defaults() -> None:
    described = json.loads(json.dumps(describe()))
    assert [policy["name"] for policy in described] == list(POLICIES)
    for policy in described:
        assert policy["summary"].endswith(".")
        defaults = {option["name"]: option["default"] for option in policy["options"]}
        resource = Resource("epoch", 9, kind=policy["resource_kind"] or "resumable")
        built = build({"name": policy["name"], **defaults}, replace(EPOCHS, resource=resource))
        assert built == POLICIES[policy["name"]]()


def test_an_option_is_described_with_type_bounds_and_choices() -> None:
    described = {policy["name"]: policy for policy in describe()}
    (eta,) = described["asha"]["options"]
    assert (eta["type"], eta["default"], eta["minimum"]) == ("integer", 3, 2)
    assert "maximum" not in eta
    surrogate = described["bayes"]["options"][0]
    assert (surrogate["type"], surrogate["choices"][:2]) == ("string", ["auto", "gp"])
    assert described["asha"]["needs_resource"] is True


def test_a_policy_says_which_studies_it_can_serve() -> None:
    described = {policy["name"]: policy for policy in describe()}
    limits = ("most_objectives", "serves_comparisons", "handles_constraints", "handles_unordered")
    assert [described["cmaes"][limit] for limit in limits] == [1, True, True, False]
    assert [described["asha"][limit] for limit in limits] == [1, False, False, True]
    assert [described["tpe"][limit] for limit in limits] == [None, True, True, True]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"objectives": (Objective("loss"), Objective("size"))}, "asha serves at most 1 objective, not 2"),
        ({"objectives": (Objective("taste", by="comparison"),)}, "asha does not learn from comparisons"),
        ({"outcome_constraints": (OutcomeConstraint("size", 5),)}, "asha takes no notice of outcome constraints"),
    ],
)
def test_a_study_that_asha_cannot_serve_is_refused_and_auto_finds_a_policy_that_can(change: Any, detail: str) -> None:
    definition = replace(EPOCHS, **change)
    assert detail in problems_of({"name": "asha"}, definition)["/name"]
    (suggestion,) = build(None, definition).suggest(Study(definition), 1, 0)
    compared = any(objective.by == "comparison" for objective in definition.objectives)
    assert suggestion.why["policy"] == ("bayes" if compared else "freeze_thaw")


def test_the_choices_of_bayes_are_the_tables_behind_it() -> None:
    from frazil_tuner.acquisition import ACQUISITIONS
    from frazil_tuner.surrogates import SURROGATES

    options = {option["name"]: option for option in describe()[list(POLICIES).index("bayes")]["options"]}
    assert options["surrogate"]["choices"] == ["auto", *(name for name in SURROGATES if name != "local")]
    assert options["acquisition"]["choices"] == ["auto", *ACQUISITIONS]


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (None, "bayes"),
        (Resource("epoch", 30), "freeze_thaw"),
        (Resource("data", 30, kind="restart"), "multi_fidelity"),
        (Resource("data", 30, 30, kind="restart"), "bayes"),
        (Resource("epoch", 3, 3), "bayes"),
    ],
)
def test_auto_chooses_by_the_shape_of_the_study_and_says_so(resource: Resource | None, name: str) -> None:
    definition = Definition(SPACE, (Objective("loss"),), resource)
    (suggestion,) = build(None, definition).suggest(Study(definition), 1, 0)
    assert suggestion.why["policy"] == name
    assert str(suggestion.why["auto"]).startswith(f"{name}, because")


WITHOUT_TORCH = """
import sys
import frazil_tuner.errors, frazil_tuner.history, frazil_tuner.policies, frazil_tuner.space
from frazil_tuner.history import Definition, Objective, Resource, Study
from frazil_tuner.policies import POLICIES, build
from frazil_tuner.space import Space

space = Space.from_json([{"name": "x", "type": "float", "low": 0, "high": 1}])
for name, policy in POLICIES.items():
    resource = Resource("epoch", 9, kind=policy.scope.resource_kind or "resumable")
    study = Study(Definition(space, (Objective("loss"),), resource))
    policy = build({"name": name}, study.definition)
    assert policy.is_light(study)
    assert policy.suggest(study, 3, 0)
    policy.recommend(study)
print(sorted({"torch", "botorch", "gpytorch", "pydantic", "sqlalchemy"} & set(sys.modules)))
"""


def test_light_policies_never_import_torch() -> None:
    finished = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
