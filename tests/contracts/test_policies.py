"""What every policy promises, whatever it is. A new policy inherits `PolicyContract` and names itself."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from frazil_tuner.errors import Refused
from frazil_tuner.history import (
    Curve,
    Definition,
    Objective,
    OutcomeConstraint,
    Resource,
    Study,
    Trial,
    TrialState,
)
from frazil_tuner.policies import (
    POLICIES,
    Continue,
    Pause,
    Policy,
    Recommendation,
    Resume,
    Start,
    Stop,
    Suggestion,
    build,
)
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]},
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True},
        {
            "name": "beta2",
            "type": "float",
            "low": 0.9,
            "high": 0.999,
            "log": "complement",
            "when": {"optimizer": ["adamw"]},
        },
        {"name": "layers", "type": "int", "low": 1, "high": 4},
        {"name": "seed", "type": "fixed", "value": 7},
    ]
)
NUMERIC = Space.from_json(
    [
        {"name": "layers", "type": "int", "low": 1, "high": 4},
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True},
        {"name": "beta2", "type": "float", "low": 0.9, "high": 0.999, "log": "complement", "when": {"layers": [1, 2]}},
        {"name": "batch", "type": "int", "low": 8, "high": 512, "log": True},
        {"name": "seed", "type": "fixed", "value": 7},
    ]
)
NAMES = Space.from_json([{"name": "a", "type": "categorical", "choices": list("pqr")}, {"name": "b", "type": "bool"}])
LEVELS = Space.from_json(
    [{"name": "a", "type": "ordinal", "values": [1, 3, 9]}, {"name": "b", "type": "int", "low": 1, "high": 2}]
)
MANY_NAMES = Space.from_json([{"name": f"c{i}", "type": "categorical", "choices": list("pqrstu")} for i in range(8)])
CONSTANT = Space.from_json([{"name": "only", "type": "fixed", "value": "this"}])

OBJECTIVE = Objective("loss")
SIZE = Objective("size", "maximize")
PREFERENCE = Objective("loss", "maximize", by="comparison")
SMALL_ENOUGH = OutcomeConstraint.parse("size <= 20")
EPOCHS = Resource("epoch", 9)
FINISHED = [state for state in TrialState if state.finished]

Values = Callable[[int], float]
BAD_VALUES: Mapping[str, Values] = {
    "nan": lambda i: math.nan,
    "infinite": lambda i: (-1) ** i * math.inf,
    "one is nan": lambda i: math.nan if i == 3 else i / 10,
    "one is huge": lambda i: 1e30 if i == 3 else i / 10,
    "one is hugely good": lambda i: -1e30 if i == 3 else i / 10,
    "absurd": lambda i: (-1) ** i * 1.7e308,
    "tiny": lambda i: i * 5e-324,
    "constant": lambda i: 0.5,
}


class PolicyContract:
    """Inherit, and say which policy; and which spaces, where it cannot vary names."""

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    resource: ClassVar[Resource | None] = None
    space: ClassVar[Space] = SPACE
    few: ClassVar[Space] = NAMES

    def definition(
        self, space: Space | None = None, candidates: tuple[dict[str, Any], ...] | None = None, seed: int = 0
    ) -> Definition:
        return Definition(space or self.space, (OBJECTIVE,), self.resource, candidates, seed)

    @property
    def policy(self) -> Policy:
        return build({"name": self.name, **self.options}, self.definition())

    def trial(
        self,
        number: int,
        params: Mapping[str, Any],
        value: float,
        state: TrialState = TrialState.COMPLETED,
        **more: Any,
    ) -> Trial:
        """A trial as the service stores it: told if there is no resource, with a curve to the maximum if there is."""
        if self.resource is None:
            return Trial(number, params, state, values={"loss": value}, **more)
        curve: Curve = tuple((step, value) for step in range(1, self.resource.max + 1))
        return Trial(number, params, state, {"loss": curve}, {}, self.resource.max, self.resource.max, **more)

    def study(self, n: int, values: Values = lambda i: i / 10, space: Space | None = None, **more: Any) -> Study:
        """`n` different random points of a space, completed."""
        rng, space = np.random.default_rng(1), space or self.space
        trials = tuple(self.trial(i, space.draw(rng), values(i)) for i in range(n))
        return Study(self.definition(space), trials, **more)

    def suggest(self, study: Study, count: int = 2, seed: int = 0) -> list[Any]:
        """The suggestions, after checking what holds for every one of them."""
        suggestions = self.policy.suggest(study, count, seed)
        assert len(suggestions) <= count
        assert pickle.loads(pickle.dumps(suggestions)) == suggestions
        for suggestion in suggestions:
            json.dumps(dict(suggestion.why), allow_nan=False)
            assert "policy" in suggestion.why
            assert self.is_sound(suggestion, study)
        return suggestions

    def lr(self, i: int) -> float:
        """The learning rate of trial `i` of `study`."""
        rng = np.random.default_rng(1)
        return float([self.space.draw(rng) for _ in range(i + 1)][i]["lr"])

    def is_sound(self, suggestion: Suggestion, study: Study) -> bool:
        if not isinstance(suggestion, Start):
            (trial,) = [trial for trial in study.trials if trial.number == suggestion.number]
            fits = isinstance(suggestion, Resume) or study.space.check(suggestion.params) == suggestion.params
            return fits and trial.state.paused and trial.last_step < suggestion.until <= EPOCHS.max
        granted = self.resource is None if suggestion.until is None else 1 <= suggestion.until <= EPOCHS.max
        if study.definition.candidates is not None:
            assert suggestion.candidate is not None
            return granted and suggestion.params == study.definition.candidates[suggestion.candidate]
        return granted and suggestion.candidate is None and study.space.check(suggestion.params) == suggestion.params

    @pytest.mark.parametrize("n", [0, 1, 2, 15])
    @pytest.mark.parametrize("count", [0, 1, 5])
    def test_it_hands_out_as_many_points_as_asked_and_never_leaves_the_space(self, n: int, count: int) -> None:
        assert len(self.suggest(self.study(n), count)) == count

    @pytest.mark.parametrize("n", [0, 15])
    def test_the_same_study_and_seed_give_the_same_answer(self, n: int) -> None:
        study = self.study(n)
        assert self.suggest(study, seed=3) == self.suggest(pickle.loads(pickle.dumps(study)), seed=3)

    def test_another_process_gives_the_same_answer(self) -> None:
        study = self.study(15)
        code = "import pickle, sys; policy, study = pickle.load(sys.stdin.buffer)\n"
        code += "sys.stdout.buffer.write(pickle.dumps(policy.suggest(study, 2, 5)))"
        given = pickle.dumps((self.policy, study))
        answer = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True)
        assert pickle.loads(answer.stdout) == self.suggest(study, seed=5)

    def test_suggestions_of_one_call_differ_from_each_other_and_from_what_was_tried(self) -> None:
        study = self.study(15)
        tried = [study.space.key(trial.params) for trial in study.trials]
        suggested = [study.space.key(start.params) for start in self.suggest(study, 8)]
        assert len({*tried, *suggested}) == 15 + 8

    @pytest.mark.parametrize("values", BAD_VALUES.values(), ids=list(BAD_VALUES))
    def test_no_value_is_too_strange_to_be_answered(self, values: Values) -> None:
        assert len(self.suggest(self.study(12, values))) == 2

    @pytest.mark.parametrize("state", FINISHED)
    def test_a_history_of_one_kind_of_ending_is_answered(self, state: TrialState) -> None:
        study = self.study(12)
        ended = replace(study, trials=tuple(replace(trial, state=state) for trial in study.trials))
        assert len(self.suggest(ended)) == 2

    def test_a_point_seen_many_times_is_borne(self) -> None:
        study = self.study(12, lambda i: i % 3)
        again = replace(study, trials=tuple(replace(trial, params=study.trials[0].params) for trial in study.trials))
        assert len(self.suggest(again)) == 2

    def test_excluded_trials_are_borne(self) -> None:
        study = self.study(12)
        assert len(self.suggest(replace(study, trials=tuple(replace(t, excluded=True) for t in study.trials)))) == 2

    def test_pending_points_are_not_suggested_again(self) -> None:
        study = self.study(12)
        first = [start.params for start in self.suggest(study, 3)]
        running = replace(
            study, trials=(*study.trials, *(Trial(50 + i, p, TrialState.RUNNING) for i, p in enumerate(first)))
        )
        shelved = replace(study, shelved=tuple(first))
        for later in (running, shelved):
            second = [start.params for start in self.suggest(later, 3, seed=1)]
            assert not {self.space.key(p) for p in first} & {self.space.key(p) for p in second}

    @pytest.mark.parametrize("tried", [0, 4, 12])
    def test_candidates_are_suggested_to_the_last_and_none_twice(self, tried: int) -> None:
        rng = np.random.default_rng(2)
        candidates = tuple(self.space.draw(rng) for _ in range(15))
        definition = self.definition(candidates=candidates)
        trials = tuple(self.trial(i, candidates[i], i / 10, candidate=i) for i in range(tried))
        study = Study(definition, trials, (candidates[14],), (14,))
        suggested = [start.candidate for start in self.suggest(study, 20)]
        assert sorted(suggested) == list(range(tried, 14))

    def test_a_finite_space_is_tried_to_the_last_point_and_no_further(self) -> None:
        study = Study(self.definition(self.few))
        for i in range(6):
            (start,) = self.suggest(study, 1, seed=i)
            study = replace(study, trials=(*study.trials, self.trial(i, start.params, i / 10)))
        assert len({self.few.key(trial.params) for trial in study.trials}) == 6
        assert self.suggest(study, 3) == []

    def test_a_space_of_one_point_is_tried_once(self) -> None:
        study = Study(self.definition(CONSTANT))
        assert [start.params for start in self.suggest(study, 3)] == [{"only": "this"}]
        assert self.suggest(replace(study, trials=(self.trial(0, {"only": "this"}, 1.0),)), 1) == []

    def test_a_trial_on_its_way_is_continued_paused_or_stopped(self) -> None:
        study = self.study(5)
        arrived = Trial(50, study.trials[0].params, TrialState.RUNNING, {"loss": ((1, 0.1),)}, {}, 1, 1)
        definition = replace(study.definition, resource=EPOCHS)
        decision = self.policy.decide(Study(definition, (*study.trials, arrived)), arrived)
        assert isinstance(decision, Continue | Pause | Stop)
        assert not isinstance(decision, Continue) or 1 < decision.until <= EPOCHS.max
        assert pickle.loads(pickle.dumps(decision)) == decision

    def test_nothing_is_recommended_as_long_as_nothing_is_finite(self) -> None:
        assert self.policy.recommend(self.study(0)) is None
        assert self.policy.recommend(self.study(12, BAD_VALUES["nan"])) is None

    def test_the_recommended_trial_is_among_the_good_ones(self) -> None:
        study = self.study(12, lambda i: math.log10(self.lr(i)) ** 2)
        recommendation = self.policy.recommend(study)
        assert isinstance(recommendation, Recommendation)
        values = sorted(math.log10(self.lr(i)) ** 2 for i in range(12))
        assert math.log10(self.lr(recommendation.number)) ** 2 <= values[4]
        assert recommendation.mean["loss"] == pytest.approx(math.log10(self.lr(recommendation.number)) ** 2, abs=2)

    def test_a_light_answer_needs_no_torch(self) -> None:
        study = self.study(2)
        assert self.policy.is_light(study) in (True, False)
        if not self.policy.is_light(study):
            return
        code = "import pickle, sys; policy, study = pickle.load(sys.stdin.buffer)\n"
        code += "policy.suggest(study, 2, 5); sys.exit('torch' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], input=pickle.dumps((self.policy, study)), check=True)

    def test_a_space_of_many_names_is_searched(self) -> None:
        if not self.policy.scope.handles_unordered:
            self.refuses(self.definition(MANY_NAMES))
            return
        study = self.study(15, space=MANY_NAMES)
        tried = {MANY_NAMES.key(trial.params) for trial in study.trials}
        assert len(tried | {MANY_NAMES.key(start.params) for start in self.suggest(study, 4)}) == 15 + 4

    @pytest.mark.parametrize("n", [0, 15])
    def test_a_context_is_kept(self, n: int) -> None:
        study = self.study(n, context={"layers": 2})
        assert [start.params["layers"] for start in self.suggest(study, 4)] == [2] * 4

    @pytest.mark.parametrize("n", [0, 15])
    def test_no_suggestion_violates_a_constraint_of_the_space(self, n: int) -> None:
        items = [*self.space.to_json()]
        bounded = Space.from_json(items, ["lr * layers <= 0.01"])
        starts = self.suggest(self.study(n, space=bounded), 4)
        assert all(start.params["lr"] * start.params["layers"] <= 0.01 for start in starts)

    @pytest.mark.parametrize("kind", ["nan", "one is nan", "absurd", "constant"])
    def test_several_objectives_are_weighed_or_refused(self, kind: str) -> None:
        definition = replace(self.definition(), objectives=(OBJECTIVE, SIZE))
        if self.policy.scope.most_objectives < 2:
            self.refuses(definition)
            return
        assert len(self.suggest(self.sized(definition, BAD_VALUES[kind]))) == 2

    @pytest.mark.parametrize("kind", ["nan", "one is nan", "absurd", "constant"])
    def test_outcome_constraints_are_heeded_or_refused(self, kind: str) -> None:
        definition = replace(self.definition(), outcome_constraints=(SMALL_ENOUGH,))
        if not self.policy.scope.handles_constraints:
            self.refuses(definition)
            return
        assert len(self.suggest(self.sized(definition, BAD_VALUES[kind]))) == 2
        hopeless = replace(definition, outcome_constraints=(OutcomeConstraint("size", -1e300),))
        assert len(self.suggest(self.sized(hopeless, BAD_VALUES[kind]))) == 2

    @pytest.mark.parametrize("rankings", [(), ((3, 1),), ((4, 2, 0), (1, 5), (5, 1), (2, 6, 7, 8, 9, 10, 11))])
    def test_comparisons_are_learned_from_or_refused(self, rankings: tuple[tuple[int, ...], ...]) -> None:
        definition = replace(self.definition(), objectives=(PREFERENCE,))
        if not self.policy.scope.serves_comparisons:
            self.refuses(definition)
            return
        trials = tuple(replace(trial, values={}, curves={}) for trial in self.study(12).trials)
        assert len(self.suggest(Study(definition, trials, rankings=rankings))) == 2

    def sized(self, definition: Definition, values: Values) -> Study:
        """Trials with the bad values for a size, and a loss that grows."""
        trials = self.study(12).trials
        told = [replace(trial, values={"loss": i / 10, "size": values(i)}) for i, trial in enumerate(trials)]
        return Study(definition, tuple(told))

    def refuses(self, definition: Definition) -> None:
        with pytest.raises(Refused) as caught:
            build({"name": self.name, **self.options}, definition)
        assert [problem.pointer for problem in caught.value.problems] == ["/name"]

    def test_it_is_a_value(self) -> None:
        assert pickle.loads(pickle.dumps(self.policy)) == self.policy
        assert hash(self.policy) == hash(build({"name": self.name, **self.options}, self.definition()))
        assert type(self.policy) is POLICIES[self.name]


class TestRandom(PolicyContract):
    name = "random"


class TestRandomWithResource(PolicyContract):
    name = "random"
    resource = EPOCHS


class TestSobol(PolicyContract):
    name = "sobol"


class TestGrid(PolicyContract):
    name = "grid"
    options: ClassVar[Mapping[str, Any]] = {"resolution": 7}


class TestBayes(PolicyContract):
    name = "bayes"
    options: ClassVar[Mapping[str, Any]] = {"warmup": 1}


class TestBayesWithResource(PolicyContract):
    name = "bayes"
    resource = EPOCHS


class TestTpe(PolicyContract):
    name = "tpe"


class TestCmaes(PolicyContract):
    name = "cmaes"
    space = NUMERIC
    few = LEVELS


class TestNsga2(PolicyContract):
    name = "nsga2"
    options: ClassVar[Mapping[str, Any]] = {"population": 5}


class TestCem(PolicyContract):
    name = "cem"
    options: ClassVar[Mapping[str, Any]] = {"population": 5}


class TestCbo(PolicyContract):
    name = "cbo"
    options: ClassVar[Mapping[str, Any]] = {"particles": 6}
    space = NUMERIC
    few = LEVELS


class TestRankSgd(PolicyContract):
    name = "rank_sgd"
    options: ClassVar[Mapping[str, Any]] = {"pairs": 2}
    space = NUMERIC
    few = LEVELS


class TestAsha(PolicyContract):
    name = "asha"
    resource = EPOCHS


class TestHyperband(PolicyContract):
    name = "hyperband"
    resource = EPOCHS


class TestBohb(PolicyContract):
    name = "bohb"
    resource = EPOCHS


class TestPbt(PolicyContract):
    name = "pbt"
    options: ClassVar[Mapping[str, Any]] = {"population": 20}
    resource = EPOCHS


class TestFreezeThaw(PolicyContract):
    name = "freeze_thaw"
    options: ClassVar[Mapping[str, Any]] = {"model": "gp"}
    resource = EPOCHS


class TestFreezeThawWithNetwork(PolicyContract):
    name = "freeze_thaw"
    resource = EPOCHS


class TestMultiFidelity(PolicyContract):
    name = "multi_fidelity"
    resource = Resource("data", 9, kind="restart")


class TestMedian(PolicyContract):
    name = "median"
    options: ClassVar[Mapping[str, Any]] = {"suggester": "random"}
    resource = EPOCHS


class TestPercentile(PolicyContract):
    name = "percentile"
    resource = EPOCHS


class TestPredictionStopping(PolicyContract):
    name = "prediction_stopping"
    options: ClassVar[Mapping[str, Any]] = {"suggester": "random"}
    resource = EPOCHS


class TestAuto(PolicyContract):
    name = "auto"


class TestAutoWithResource(PolicyContract):
    name = "auto"
    resource = EPOCHS


def test_every_policy_keeps_the_contract() -> None:
    assert {suite.name for suite in PolicyContract.__subclasses__()} == set(POLICIES)
