"""Who takes part in the freeze-thaw benchmark, and what one run of one of them on one table gives.

Ours are policies, run in this process. Other tools are driven as `peers/stepwise.py` says, each in a process and, if
need be, an environment of its own; to the simulator they look like a policy. They search the unit cube, and what they
suggest is moved to the nearest candidate that is still free.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from inspect import getsource, getsourcefile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from contest import FOLDER, Client, Missing, Peer, ready, save, started
from scipy.stats import rankdata
from simulate import Story, World, simulate
from tables import FAMILIES, Table

from frazil_tuner.errors import Refused
from frazil_tuner.history import Definition, Objective, Resource, Study, Trial
from frazil_tuner.policies import (
    POLICIES,
    Continue,
    Decision,
    Pause,
    Recommendation,
    Resume,
    Start,
    Stop,
    Suggestion,
    build,
)
from frazil_tuner.policies.model_free import best_seen

Floats = np.ndarray
Summary = Literal["last", "best"]
METRIC = "loss"
SLOWEST = 600.0
"""Seconds for one answer of a peer before it is given up."""


@dataclass(frozen=True, eq=False)
class Ours:
    """A policy of ours, as a study names it."""

    name: str
    policy: Mapping[str, Any]


Contender = Ours | Peer


def optuna(name: str, pruner: str, **arguments: Any) -> Peer:
    given = {"name": pruner, "arguments": arguments}
    return Peer(name, "stepwise_optuna", "optuna", {"sampler": "TPESampler", "pruner": given})


def syne_tune(name: str, scheduler: str) -> Peer:
    return Peer(name, "stepwise_syne_tune", "syne-tune", {"scheduler": scheduler}, environment="syne_tune")


def neps(name: str, algorithm: str, **arguments: Any) -> Peer:
    given = {"algorithm": algorithm, "arguments": arguments}
    return Peer(name, "stepwise_neps", "neural-pipeline-search", given, environment="neps")


ABSENT = {"neps-ifbo": "its network's weights are in no package, and are downloaded when it is first used"}
"""Whom one would like to see here, and why they are not."""

CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for contender in (
        *(Ours(name, {"name": name}) for name in ("freeze_thaw", "asha", "hyperband", "bohb", "median", "percentile")),
        Ours("prediction", {"name": "prediction_stopping"}),
        Ours("random", {"name": "random"}),
        optuna("tpe-halving", "SuccessiveHalvingPruner"),
        optuna("tpe-hyperband", "HyperbandPruner"),
        optuna("tpe-median", "MedianPruner"),
        syne_tune("syne-asha", "ASHA"),
        syne_tune("syne-bohb", "BOHB"),
        neps("neps-asha", "asha"),
        neps("neps-priorband", "priorband", base="async_hb"),
    )
}


@dataclass(frozen=True)
class Event:
    """What is run: a task, how a curve is summarised, with how many workers and epochs, when one looks, and how other
    tools see the candidates.
    """

    data: Path
    family: str
    task: str
    summary: Summary = "last"
    workers: int = 1
    budget: int = 1000
    marks: Sequence[int] = field(default=(100, 300, 500, 1000))
    places: str = "cube"


@dataclass(frozen=True)
class Race:
    """One contender at one event and seed: by mark the regret of what it recommends, and the virtual time.

    `cpu` is seconds for a decision: a suggestion, or what a trial should do at the end of its grant.
    """

    contender: str
    task: str
    seed: int
    regrets: Mapping[str, float]
    times: Mapping[str, float]
    cpu: float
    decisions: int
    trials: int

    def regret(self, mark: int) -> float:
        return self.regrets[str(mark)]


def outcomes(table: Table, summary: Summary) -> Floats:
    """What each configuration comes to (n,): its last loss, or the lowest on its way; L0 for a diverged one."""
    if summary == "last":
        return table.final
    lowest = np.where(np.isfinite(table.losses), table.losses, table.baseline).min(1)
    return np.minimum(lowest, table.baseline)


def regret(table: Table, summary: Summary, candidate: int | None) -> float:
    """(Its outcome - the lowest) / (L0 - the lowest); 1 for a diverged one, and where nothing is recommended."""
    if candidate is None:
        return 1.0
    values = outcomes(table, summary)
    return float((values[candidate] - values.min()) / (table.baseline - values.min()))


def world_of(table: Table, summary: Summary, seed: int = 0, *, running_best: bool = False) -> World:
    """The table as a study of some seed. `running_best`: the curves as one reports them to a tool that goes by the last
    value alone.
    """
    losses = np.fmin.accumulate(table.losses, axis=1) if running_best else table.losses
    resource = Resource("epoch", losses.shape[1])
    objective = Objective(METRIC, summary=summary)
    return World(Definition(table.space, (objective,), resource, table.candidates, seed), {METRIC: losses})


def cube(table: Table) -> Floats:
    """Where the candidates lie (n, d) in the unit cube of the table's space: what our own models see, too."""
    return table.space.encode_many(table.candidates)


def ranks(table: Table) -> Floats:
    """Where they lie (n, d) if every column is given by ranks, so that a random point is a random candidate."""
    encoded = cube(table)
    return (rankdata(encoded, axis=0) - 0.5) / len(encoded)


PLACES: Mapping[str, Callable[[Table], Floats]] = {"cube": cube, "ranks": ranks}


@cache
def table_of(data: Path, family: str, task: str) -> Table:
    return FAMILIES[family](data / family / f"{task}.npz")


def version(contender: Contender) -> str:
    """What is run; raises `Missing` for a tool that cannot be had here, and a policy that there is not."""
    if isinstance(contender, Peer):
        return ready(contender)
    if contender.policy["name"] not in POLICIES:
        raise Missing(f"there is no policy {contender.policy['name']!r}")
    return "this checkout"


def run(contender: Contender, event: Event, seed: int, cache: Path) -> Race:
    """One run; a tool's is made only once for each of its versions, of its drivers and of the table."""
    if isinstance(contender, Ours):
        return run_ours(contender, event, seed)
    folder = cache / f"{contender.name}-{ready(contender)}" / f"{event.task}-{fingerprint(contender, event)}"
    file = folder / f"{seed}-{event.summary}-{event.workers}-{'-'.join(map(str, event.marks))}.json"
    if not file.exists():
        save(file, asdict(run_peer(contender, event, seed, cache)))
    return Race(**json.loads(file.read_text()))


def run_ours(contender: Ours, event: Event, seed: int) -> Race:
    table = table_of(event.data, event.family, event.task)
    world = world_of(table, event.summary, seed)
    try:
        policy = build(contender.policy, world.definition)
    except Refused as reason:
        raise Missing(str(reason)) from None
    story = simulate(policy, world, budget=event.budget, workers=event.workers, seed=seed, marks=event.marks)
    decisions = [*story.thinking["suggest"], *story.thinking["decide"]]
    return race(contender.name, event, seed, story, sum(decisions), len(decisions))


def run_peer(peer: Peer, event: Event, seed: int, cache: Path) -> Race:
    table = table_of(event.data, event.family, event.task)
    world = world_of(table, event.summary, seed, running_best=event.summary == "best")
    task = {"space": [], "objectives": [METRIC], "constraints": [], "seed": seed, "budget": event.budget}
    options = {
        **peer.options,
        "rows": PLACES[event.places](table).tolist(),
        "max": world.resource.max,
        "workers": event.workers,
    }
    log = cache / "log" / f"{peer.name}-{event.task}-{seed}.txt"
    with started(replace(peer, options=options), task, log) as (client, _):
        tool = Tool(client)
        story = simulate(tool, world, budget=event.budget, workers=event.workers, seed=seed, marks=event.marks)
    return race(peer.name, event, seed, story, tool.cpu, sum(len(story.thinking[c]) for c in ("suggest", "decide")))


def race(name: str, event: Event, seed: int, story: Story, cpu: float, decisions: int) -> Race:
    table = table_of(event.data, event.family, event.task)
    regrets = {str(mark): regret(table, event.summary, story.marks[mark].candidate) for mark in event.marks}
    times = {str(mark): story.marks[mark].time for mark in event.marks}
    return Race(name, event.task, seed, regrets, times, cpu / max(decisions, 1), decisions, len(story.trials))


def fingerprint(peer: Peer, event: Event) -> str:
    """Changes with the tool's options and drivers, with how it is driven, with the table, and with how it is seen."""
    table = table_of(event.data, event.family, event.task)
    digest = hashlib.sha256(json.dumps(peer.options, sort_keys=True).encode() + getsource(Tool).encode())
    for script in (FOLDER / f"{peer.driver}.py", FOLDER / "stepwise.py", Path(str(getsourcefile(simulate)))):
        digest.update(script.read_bytes())
    for array in (table.losses, PLACES[event.places](table)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


class Tool:
    """Another tool, dressed up as a policy. What is new in a snapshot it is told before it is asked anything.

    It recommends the trial whose newest loss is the lowest, however short its training: on these tables that is no
    worse than Optuna's `best_trial`, which waits for a trial to run to the end.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.cpu = 0.0
        self._numbers: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        self._told: dict[int, int] = {}

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        self._catch_up(study)
        suggestions: list[Suggestion] = []
        while len(suggestions) < count and (work := self._call(next=None)):
            key, candidate, until = work
            if candidate is None:
                suggestions.append(Resume(self._numbers[key], until))
                continue
            number = len(self._numbers)
            self._numbers[key], self._keys[number], self._told[number] = number, key, 0
            assert study.definition.candidates is not None
            suggestions.append(Start(study.definition.candidates[candidate], until, candidate))
        return suggestions

    def decide(self, study: Study, trial: Trial) -> Decision:
        verdict, until = self._tell(trial)
        if verdict == "continue":
            return Continue(until)
        return Pause() if verdict == "pause" else Stop()

    def recommend(self, study: Study) -> Recommendation | None:
        return best_seen(study)

    def _catch_up(self, study: Study) -> None:
        """What others than those at the end of their grants have done since: to the maximum, or not so far."""
        for number, told in list(self._told.items()):
            if study.trials[number].last_step > told:
                self._tell(study.trials[number])

    def _tell(self, trial: Trial) -> Any:
        """Every new step of a trial; the answer to the last of them."""
        answer = None
        for step, value in trial.curves[METRIC][self._told[trial.number] :]:
            answer = self._call(step=[self._keys[trial.number], step, value])
            self._told[trial.number] = step
        if trial.state.finished:
            del self._told[trial.number]
        return answer

    def _call(self, **request: Any) -> Any:
        answer = self.client.call(SLOWEST, **request)
        self.cpu += answer.cpu
        return answer.result
