"""What a race is, and what races say, on a small made-up table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import races
from contest import Missing, Peer
from freeze_thaw import Results, checks, longer, main, speed_checks, take_part
from races import CONTENDERS, Event, Ours, Race, outcomes, regret, run, table_of, version

MARKS = (20, 60)


@pytest.fixture
def event(tmp_path: Path) -> Event:
    """A table as LCBench has them: 40 configurations of 8 epochs; every sixth rises again, every tenth diverges."""
    rng = np.random.default_rng(3)
    lows, highs = np.array([16, 1e-4, 0.1, 1e-5, 1, 64, 0.0]), np.array([512, 1e-1, 0.99, 1e-1, 5, 1024, 1.0])
    X = lows + (highs - lows) * rng.random((40, 7))
    X[:, [0, 4, 5]] = X[:, [0, 4, 5]].round()
    Y = rng.uniform(0.2, 0.9, (40, 1)) + 1.0 / np.arange(1, 10)
    Y[::6, 5:] += np.arange(1, 5) * 0.2
    Y[::10, 4:] = np.nan
    (tmp_path / "lcbench").mkdir()
    np.savez(tmp_path / "lcbench" / "small.npz", X=X, Y=Y)
    return Event(tmp_path, "lcbench", "small", budget=60, marks=MARKS)


def of(name: str, finals: Sequence[float], task: str = "one", times: Sequence[float] = (20, 60)) -> list[Race]:
    """A contender's races, one a seed: twice its final regret after 20 epochs."""
    marks = [str(mark) for mark in MARKS]
    return [
        Race(
            name, task, seed, dict(zip(marks, (2 * y, y), strict=True)), dict(zip(marks, times, strict=True)), 0.1, 9, 5
        )
        for seed, y in enumerate(finals)
    ]


def test_regret_is_by_the_last_loss_or_by_the_lowest_and_a_diverged_run_has_the_worst(event: Event) -> None:
    table = table_of(event.data, event.family, event.task)
    rising, diverged = 6, 10
    assert outcomes(table, "last")[rising] == pytest.approx(min(table.losses[rising, -1], table.baseline))
    assert outcomes(table, "best")[rising] == pytest.approx(table.losses[rising].min())
    assert regret(table, "last", diverged) == regret(table, "last", None) == 1
    assert regret(table, "best", diverged) < 1
    for summary in ("last", "best"):
        assert min(regret(table, summary, i) for i in range(40)) == 0


@pytest.mark.parametrize(
    ("name", "workers"), [("asha", 1), ("asha", 4), ("tpe-halving", 4), ("tpe-hyperband", 1), ("tpe-median", 1)]
)
def test_a_race_is_run_by_ours_and_by_other_tools_alike(name: str, workers: int, event: Event, tmp_path: Path) -> None:
    event = replace(event, workers=workers)
    made = run(CONTENDERS[name], event, 1, tmp_path / "cache")
    assert (made.contender, made.task, made.seed) == (name, "small", 1)
    assert all(mark / workers <= made.times[str(mark)] <= 1 + 1.5 * mark / workers for mark in MARKS)
    assert made.regret(60) < 0.8
    assert 60 / 8 <= made.trials <= 40
    assert made.cpu > 0


def test_a_tool_is_told_the_running_best_where_the_best_counts(event: Event) -> None:
    table = table_of(event.data, event.family, event.task)
    told = races.world_of(table, "best", running_best=True).curves["loss"]
    assert np.all(np.diff(told, axis=1) <= 0)
    assert np.array_equal(told[:, -1], np.nanmin(table.losses, axis=1))
    assert np.isnan(races.world_of(table, "best").curves["loss"]).any()


def test_tools_see_the_cube_of_the_space_or_ranks_of_every_column(event: Event, tmp_path: Path) -> None:
    table = table_of(event.data, event.family, event.task)
    assert np.array_equal(races.PLACES["cube"](table), table.space.encode_many(table.candidates))
    seen = races.PLACES["ranks"](table)
    assert sorted(seen[:, 3]) == pytest.approx((np.arange(40) + 0.5) / 40)
    assert np.array_equal(np.argsort(seen[:, 3]), np.argsort(table.X[:, 3]))
    layers = table.X[:, 4]
    assert all(len(set(seen[layers == layer, 4])) == 1 for layer in set(layers))
    made = [run(CONTENDERS["tpe-halving"], replace(event, places=places), 0, tmp_path) for places in races.PLACES]
    assert made[0] != made[1]


def test_a_tools_race_is_kept_and_not_run_again(event: Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tpe, cache = CONTENDERS["tpe-halving"], tmp_path / "cache"
    first = run(tpe, event, 0, cache)
    monkeypatch.setattr("races.run_peer", None)
    assert run(tpe, event, 0, cache) == first
    changes = ({"workers": 2}, {"summary": "best"}, {"marks": (60,)}, {"places": "ranks"})
    for other in (replace(event, **change) for change in changes):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            run(tpe, other, 0, cache)


PAUSING = """
from stepwise import *
class Pausing:
    "Trains candidate 5 to step 2, then candidate 6 to the end, then the first to the end, told of every step."
    packages = ()
    def __init__(self, task):
        self.work, self.told = iter([[0, 5, 2], [1, 6, 8], [0, None, 8]]), []
        assert (task.options["max"], len(task.options["rows"])) == (8, 40)
    def next(self):
        return next(self.work, None)
    def step(self, key, step, value):
        self.told.append((key, step))
        if len(self.told) == 16:
            first, second, rest = [(0, 1), (0, 2)], [(1, s) for s in range(1, 9)], [(0, s) for s in range(3, 9)]
            assert self.told == first + second + rest
        return PAUSE if step == 2 else STOP
serve(Pausing)
"""


def test_a_tool_may_pause_and_resume_and_hears_of_every_step_once(
    event: Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(races.FOLDER))
    (tmp_path / "pausing.py").write_text(PAUSING)
    monkeypatch.setattr("contest.FOLDER", tmp_path)
    made = races.run_peer(Peer("pausing", "pausing", "frazil-server"), replace(event, marks=(8, 16)), 0, tmp_path)
    table = table_of(event.data, event.family, event.task)
    assert made.trials == 2
    assert made.decisions == 3 + 1 + 1
    assert made.times == {"8": 8, "16": 16}
    assert made.regret(16) == min(regret(table, "last", i) for i in (5, 6))


def test_who_cannot_take_part_is_named_with_the_reason() -> None:
    present, missing = take_part(["asha"])
    assert [one.name for one in present] == ["asha"]
    assert any(line.startswith("neps-ifbo: ") for line in missing)


def test_a_policy_that_there_is_not_is_missing_with_its_name() -> None:
    with pytest.raises(Missing, match="no policy 'clairvoyance'"):
        version(Ours("clairvoyance", {"name": "clairvoyance"}))


def test_means_are_over_seeds_and_then_over_tasks() -> None:
    results = Results([*of("ours", [0.1, 0.1, 0.4]), *of("ours", [0.4], "two")])
    assert results.mean("ours", 60) == pytest.approx(0.3)
    assert results.mean("ours", 20, "one") == pytest.approx(0.4)
    assert results.median("ours", 60) == pytest.approx(0.25)


def test_ranks_are_over_what_all_have_and_equals_share_them() -> None:
    results = Results([*of("ours", [0.1, 0.3, 0.9]), *of("other", [0.2, 0.3])])
    assert results.mean_ranks(60) == {"ours": 1.25, "other": 1.75}


def test_pairs_are_those_that_both_have() -> None:
    paired = Results([*of("ours", [0.1, 0.3, 0.2, 0.9]), *of("other", [0.2, 0.3, 0.1])]).pairing("ours", "other", 60)
    assert (paired.pairs, paired.better, paired.worse) == (3, 1, 1)
    assert paired.difference == pytest.approx(0)


def test_every_target_can_be_met_and_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freeze_thaw.TARGET_TASKS", {"one"})
    monkeypatch.setattr("freeze_thaw.TARGETS", {60: 40})
    monkeypatch.setattr("freeze_thaw.HALF_AT", (20,))
    results = Results([*of("good", [0.03, 0.04]), *of("poor", [0.09, 0.09])])
    assert [check.met for check in checks(results, "good", MARKS, ["poor"])] == [True] * 4
    assert [check.met for check in checks(results, "poor", MARKS, ["good"])] == [False] * 4
    elsewhere = Results([*of("good", [0.03], "two"), *of("poor", [0.09], "two")])
    assert len(checks(elsewhere, "good", MARKS, ["poor"])) == 3


def test_workers_are_as_fast_as_the_time_at_which_they_reach_the_same_regret() -> None:
    alone = Results(of("ours", [0.1]))
    quick, slow = Results(of("ours", [0.09], times=(3, 9))), Results(of("ours", [0.1], times=(5, 15)))
    never = Results(of("ours", [0.15], times=(3, 9)))
    assert [check.met for check in speed_checks(alone, quick, "ours", MARKS)] == [True, True]
    assert [check.met for check in speed_checks(alone, slow, "ours", MARKS)] == [False, False]
    assert "4.0 times" in speed_checks(alone, slow, "ours", MARKS)[1].sentence
    assert [check.met for check in speed_checks(alone, never, "ours", MARKS)] == [False, False]
    assert "0.0 times" in speed_checks(alone, never, "ours", MARKS)[1].sentence


def test_several_workers_have_as_many_epochs_as_the_time_allows(event: Event) -> None:
    more = longer(replace(event, workers=8))
    assert more.budget == 80
    assert set(MARKS) < set(more.marks)
    assert more.marks[-1] == 80


def test_the_command_prints_tables_and_targets_and_writes_json(
    event: Event, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.json"
    given = f"--data {event.data} --budget 60 --seeds 2 --ours asha --policies asha random --jobs 1 --json {file}"
    main([*given.split(), "--workers", "2"])
    printed = capsys.readouterr().out
    assert "mean rank after 60 epochs" in printed
    assert "one worker's after 60 epochs" in printed
    content = json.loads(file.read_text())
    assert {race["contender"] for race in content["races"]} == {"asha", "random"}
    assert len(content["checks"]) == 2
    assert {check["sentence"][:9] for check in content["checks"]} == {"mean rank", "regret 20"}
    assert asdict(Race(**content["races"][0]))["trials"] > 0
