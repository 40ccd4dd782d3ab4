"""The problems of the benchmarks have the minima they say, and drivers speak the protocol. No statistics here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from contest import PEERS, Crashed, Missing, Peer, Unsupported, fingerprint, kept, ready, run, started, task_of
from problems import PROBLEMS, VLMOP2_REFERENCE, Instance, Params, Problem, Values, hypervolume, regrets

from frazil_tuner.space import Space

EVERY = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
ANALYTIC = pytest.mark.parametrize(
    "problem", [p for p in PROBLEMS.values() if p.name != "digits"], ids=lambda p: p.name
)
SEEDS = range(10)


def space_of(instance: Instance) -> Space:
    return Space.from_json([dict(parameter) for parameter in instance.space])


def optimum(instance: Instance) -> Params:
    assert instance.at is not None
    return instance.at


def feasible(problem: Problem, outcomes: Values) -> bool:
    return all(outcomes[metric] <= 0 for metric in problem.constraints)


def least(instance: Instance) -> float:
    assert instance.least is not None
    return instance.least


@ANALYTIC
@pytest.mark.parametrize("seed", SEEDS)
def test_the_box_of_every_seed_holds_the_optimum(problem: Problem, seed: int) -> None:
    instance = problem.instance(seed)
    space_of(instance).check(optimum(instance))


@ANALYTIC
def test_the_known_optimum_has_the_known_least_value_and_no_regret(problem: Problem) -> None:
    instance = problem.instance(4)
    outcomes = instance.outcomes(optimum(instance))
    assert feasible(problem, outcomes)
    if len(problem.objectives) == 1:
        assert outcomes[problem.objectives[0]] == pytest.approx(least(instance), abs=1e-6)
        assert regrets(problem, instance, least(instance), [outcomes])[0] <= max(problem.resolution, 1e-6)


@ANALYTIC
def test_no_point_is_better_than_the_least(problem: Problem) -> None:
    instance, rng = problem.instance(5), np.random.default_rng(0)
    space = space_of(instance)
    far = [space.draw(rng) for _ in range(1000)]
    start = space.encode(optimum(instance))
    near = [space.decode(start + rng.normal(0, 0.02, space.dimension)) for _ in range(1000)]
    outcomes = [instance.outcomes(point) for point in far + near]
    values = np.array(
        [[found[metric] for metric in problem.objectives] for found in outcomes if feasible(problem, found)]
    )
    assert len(values)
    found = values.min() if values.shape[1] == 1 else -hypervolume(values, VLMOP2_REFERENCE)
    assert found >= least(instance) - 1e-8


@EVERY
def test_seeds_give_different_instances_and_the_same_seed_the_same_one(problem: Problem) -> None:
    prints = [fingerprint(problem, problem.instance(seed)) for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_hypervolume_is_the_area_of_the_dominated_steps() -> None:
    points = np.array([[0.5, 0.5], [0.2, 0.8], [0.6, 0.6], [0.2, 0.9], [1.5, 0.0]])
    assert hypervolume(points, (1.0, 1.0)) == pytest.approx(0.25 + 0.3 * 0.2)
    assert hypervolume(np.empty((0, 2)), (1.0, 1.0)) == 0.0


def test_an_infeasible_outcome_has_the_regret_of_the_worst() -> None:
    problem = PROBLEMS["hartmann6-ball"]
    instance = problem.instance(0)
    outcomes = [{"value": -9.0, "outside": 0.1}, {"value": -1.0, "outside": -0.1}, {"value": 0.0, "outside": -1.0}]
    assert regrets(problem, instance, -3.0, outcomes).tolist() == [3.0, 2.0, 2.0]


@pytest.mark.parametrize("name", ["branin", "training", "hartmann6-noisy", "hartmann6-batches", "vlmop2"])
def test_a_run_of_random_search_speaks_the_protocol(name: str, tmp_path: Path) -> None:
    problem = PROBLEMS[name]
    made = run(PEERS["random"], problem, 3, [4, 6], tmp_path)
    assert len(made.regrets) == 6
    assert list(made.regrets) == sorted(made.regrets, reverse=True)
    assert len(made.cpu) == -(-4 // problem.batch) + -(-2 // problem.batch)
    assert list(made.recommended) == (["4", "6"] if problem.noise else [])
    assert made.versions["frazil-server"]
    assert made.peak > 2**20


def test_a_kept_run_is_read_and_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = PROBLEMS["branin"]
    first = kept(PEERS["random"], problem, 0, [3], tmp_path)
    monkeypatch.setattr("contest.run", None)
    assert kept(PEERS["random"], problem, 0, [3], tmp_path) == first
    with pytest.raises(TypeError):
        kept(PEERS["random"], problem, 1, [3], tmp_path)


def test_a_loaded_history_is_known_to_the_tool(tmp_path: Path) -> None:
    problem = PROBLEMS["branin"]
    instance = problem.instance(0)
    trials = [[{"x0": 1.0, "x1": 6.0}, {"value": 3.0}], [{"x0": 2.0, "x1": 6.0}, {"value": 2.0}]]
    with started(PEERS["random"], task_of(problem, instance, 0, 9), tmp_path / "log.txt") as (client, _):
        client.call(load=trials)
        assert client.call(recommend=None).result == trials[1][0]


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Peer]:
    """A peer whose driver is the text given."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "benchmarks" / "peers"))
    monkeypatch.setattr("contest.FOLDER", tmp_path)

    def peer(text: str) -> Peer:
        (tmp_path / "scripted.py").write_text(f"import time\nfrom protocol import *\n{text}\nserve(make)\n")
        return replace(PEERS["random"], driver="scripted")

    return peer


def test_a_task_that_a_tool_does_not_take_is_refused_with_the_reason(
    scripted: Callable[[str], Peer], tmp_path: Path
) -> None:
    peer = scripted("def make(task): raise Unsupported('no such thing')")
    with pytest.raises(Unsupported, match="no such thing"):
        run(peer, PROBLEMS["branin"], 0, [3], tmp_path)


def test_a_tool_that_ends_before_its_time_has_crashed(scripted: Callable[[str], Peer], tmp_path: Path) -> None:
    peer = scripted("def make(task): raise ValueError('my last words')")
    with pytest.raises(Crashed, match="status 1"):
        run(peer, PROBLEMS["branin"], 0, [3], tmp_path)
    assert "my last words" in (tmp_path / "log" / "random-branin-0.txt").read_text()


def test_a_tool_that_takes_too_long_is_given_up(scripted: Callable[[str], Peer], tmp_path: Path) -> None:
    slow = "class make:\n    packages = ()\n    def __init__(self, task): pass\n    def ask(self, n): time.sleep(99)"
    problem = PROBLEMS["branin"]
    task = task_of(problem, problem.instance(0), 0, 9)
    with (
        pytest.raises(Crashed, match=r"> 0\.2 s"),
        started(scripted(slow), task, tmp_path / "log.txt") as (client, _),
    ):
        client.call(0.2, ask=1)


def test_a_peer_that_is_not_there_is_missing_with_the_reason() -> None:
    with pytest.raises(Missing, match="no-such-package"):
        ready(replace(PEERS["random"], package="no-such-package"))
