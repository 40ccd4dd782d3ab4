"""A study played out in virtual time: a policy, some workers, and curves that are known beforehand.

    world = World(Definition(space, (Objective("loss"),), Resource("epoch", 51), candidates), {"loss": losses})
    story = simulate(build({"name": "asha"}, world.definition), world, budget=1000, workers=8, marks=[100, 1000])

The rules are the server's. An ask leases work up to a step, and the steps of a grant are charged to the budget at once.
The values of a curve appear one step after the other. At the end of a grant a trial that has reached the maximum is
COMPLETED, and one for which the budget has nothing left is PAUSED; about any other the policy decides. What falls on
one instant is served like one transaction of the server: all values first, then the decisions on one snapshot, then
the asks, which share one batch of suggestions. A worker that gets nothing asks again at the next instant.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol, TypeVar

import numpy as np

from frazil_server.suggestions.seeds import seed_of
from frazil_tuner.history import Curve, Definition, Params, Resource, Study, Trial, TrialState
from frazil_tuner.policies import Branch, Continue, Decision, Pause, Recommendation, Resume, Start, Suggestion

Floats = np.ndarray
T = TypeVar("T")


class Tuner(Protocol):
    """What a simulation asks of a policy; other tools can be dressed up as one."""

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]: ...
    def decide(self, study: Study, trial: Trial) -> Decision: ...
    def recommend(self, study: Study) -> Recommendation | None: ...


class Broken(Exception):
    """A tuner did what the server would not bear: a bug to be found, not to be passed over."""


@dataclass(frozen=True)
class World:
    """What is true: of each metric the curves (candidates, steps), column k - 1 after k steps.

    `definition` names the candidates and the resource, whose maximum is the number of steps. `step_cost` (candidates,)
    is the virtual time that a step of each takes; 1 where nothing is said.
    """

    definition: Definition
    curves: Mapping[str, Floats]
    step_cost: Floats | None = None

    @property
    def resource(self) -> Resource:
        assert self.definition.resource is not None
        return self.definition.resource

    @property
    def candidates(self) -> Sequence[Params]:
        assert self.definition.candidates is not None
        return self.definition.candidates

    def curve(self, metric: str, candidate: int) -> Curve:
        """The whole curve of a candidate."""
        return tuple(enumerate(self.curves[metric][candidate].tolist(), 1))

    def cost(self, candidate: int) -> float:
        return 1.0 if self.step_cost is None else float(self.step_cost[candidate])


@dataclass
class Leg:
    """One lease: a worker trains a trial from after step `start` to step `last`, granted up to `until`."""

    worker: int
    number: int
    candidate: int
    start: int
    last: int
    until: int
    began: float
    ended: float = math.nan
    verdict: str = ""


@dataclass(frozen=True)
class Mark:
    """What would have been recommended when so many steps were spent; the trial is None as long as there is none."""

    spent: int
    time: float
    number: int | None
    candidate: int | None


@dataclass(frozen=True)
class Story:
    """How it went: legs in the order of their beginning, the trials at the end, the marks that were reached.

    `thinking` has the CPU seconds of every call of `suggest`, `decide` and `recommend`.
    """

    legs: Sequence[Leg]
    trials: Sequence[Trial]
    marks: Mapping[int, Mark]
    thinking: Mapping[str, Sequence[float]]
    time: float

    @property
    def spent(self) -> int:
        return sum(leg.last - leg.start for leg in self.legs)


def simulate(
    tuner: Tuner, world: World, *, budget: int, workers: int = 1, seed: int = 0, marks: Collection[int] = ()
) -> Story:
    """Lets `workers` train until `budget` steps are spent, or there is nothing left to do. Raises `Broken`.

    A mark that is not reached has what was recommended at the end. The same arguments give the same story.
    """
    stage = _Stage(tuner, world, budget, seed, marks)
    stage.hand_out(range(workers), now=0.0)
    while stage.is_busy:
        stage.advance()
    return stage.story()


@dataclass
class _Run:
    """A trial on its way: all that its next snapshot is made of."""

    number: int
    candidate: int
    curves: Mapping[str, Curve]
    step: int = 0
    until: int = 0
    state: TrialState = TrialState.RUNNING


@dataclass
class _Stage:
    """The simulation at one instant. Snapshots of trials are made anew only where something has changed."""

    tuner: Tuner
    world: World
    budget: int
    seed: int
    wanted: Collection[int]
    granted: int = 0
    spent: int = 0
    version: int = 0
    now: float = 0.0
    last_fit: Mapping[str, Any] | None = None
    runs: list[_Run] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    stale: set[int] = field(default_factory=set)
    legs: list[Leg] = field(default_factory=list)
    at_work: list[tuple[float, int, Leg]] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)
    marks: dict[int, Mark] = field(default_factory=dict)
    thinking: dict[str, list[float]] = field(default_factory=lambda: {"suggest": [], "decide": [], "recommend": []})
    serial: count[int] = field(default_factory=count)

    @property
    def is_busy(self) -> bool:
        return bool(self.at_work)

    def advance(self) -> None:
        """Serves the next instant: values, decisions, asks."""
        legs = self._pop_instant()
        for leg in legs:
            self._report(leg)
        due = [leg for leg in legs if leg.last == leg.until and not self._is_settled(leg)]
        self._decide(due)
        for leg in legs:
            if math.isnan(leg.ended):
                self._push(leg)
        self.hand_out([*self.idle, *(leg.worker for leg in legs if not math.isnan(leg.ended))], self.now)

    def hand_out(self, workers: Collection[int], now: float) -> None:
        """Leases what the tuner suggests; who gets nothing waits for the next instant."""
        self.now, waiting = now, sorted(workers)
        suggestions: list[Suggestion] = []
        if waiting and self.granted < self.budget:
            study, number = self.study(), len(self.trials)
            seed = seed_of(self.seed, self.version, number)
            suggestions = self._timed("suggest", lambda: self.tuner.suggest(study, len(waiting), seed))
        if len(suggestions) > len(waiting):
            raise Broken(f"{len(suggestions)} suggestions for {len(waiting)} workers")
        for suggestion in suggestions:
            self._lease(waiting, suggestion)
        self.idle = waiting

    def study(self) -> Study:
        """The snapshot of this instant."""
        for number in self.stale:
            self.trials[number] = self._seen(self.runs[number])
        self.stale.clear()
        return Study(self.world.definition, tuple(self.trials), version=self.version, last_fit=self.last_fit)

    def story(self) -> Story:
        study = self.study()
        for mark in set(self.wanted) - self.marks.keys():
            self._note(mark, study)
        return Story(self.legs, study.trials, self.marks, self.thinking, self.now)

    def _pop_instant(self) -> list[Leg]:
        """The legs whose next step ends first, in the order of their workers."""
        self.now = self.at_work[0][0]
        legs = []
        while self.at_work and self.at_work[0][0] == self.now:
            legs.append(heapq.heappop(self.at_work)[2])
        return sorted(legs, key=lambda leg: leg.worker)

    def _push(self, leg: Leg) -> None:
        heapq.heappush(self.at_work, (self.now + self.world.cost(leg.candidate), next(self.serial), leg))

    def _report(self, leg: Leg) -> None:
        run = self.runs[leg.number]
        leg.last = run.step = run.step + 1
        self.stale.add(leg.number)
        self.spent += 1
        if self.spent in self.wanted:
            self._note(self.spent, self.study())

    def _is_settled(self, leg: Leg) -> bool:
        """Ends a leg about which there is nothing for the tuner to decide."""
        if leg.last == self.world.resource.max:
            self._end(leg, TrialState.COMPLETED, "complete")
        elif self.granted >= self.budget:
            self._end(leg, TrialState.PAUSED, "budget")
        return not math.isnan(leg.ended)

    def _decide(self, legs: Sequence[Leg]) -> None:
        if not legs:
            return
        self.version += 1
        study = self.study()
        for leg in legs:
            trial = study.trials[leg.number]
            decision = self._timed("decide", lambda trial=trial: self.tuner.decide(study, trial))
            if isinstance(decision, Continue):
                self._prolong(leg, decision.until)
            else:
                state = TrialState.PAUSED if isinstance(decision, Pause) else TrialState.PRUNED
                self._end(leg, state, f"{type(decision).__name__.lower()}: {decision.reason}")

    def _prolong(self, leg: Leg, until: int) -> None:
        self._require_sound(leg.until, until, f"trial {leg.number} continues")
        until = min(until, leg.until + self.budget - self.granted)
        if until == leg.until:
            self._end(leg, TrialState.PAUSED, "budget")
        else:
            self._grant(leg, until)

    def _grant(self, leg: Leg, until: int) -> None:
        self.granted += until - leg.until
        leg.until = self.runs[leg.number].until = until
        self.stale.add(leg.number)

    def _end(self, leg: Leg, state: TrialState, verdict: str) -> None:
        self.runs[leg.number].state = state
        leg.ended, leg.verdict = self.now, verdict
        self.stale.add(leg.number)
        self.version += state.finished

    def _lease(self, waiting: list[int], suggestion: Suggestion) -> None:
        """Gives the suggested work to the first who waits, as far as the budget goes."""
        if isinstance(suggestion, Branch):
            raise Broken("a table has no curve for a branch")
        run = self._started(suggestion) if isinstance(suggestion, Start) else self._thawed(suggestion)
        assert suggestion.until is not None
        until = min(suggestion.until, run.step + self.budget - self.granted)
        if until <= run.step:
            return
        if run.number == len(self.runs):
            self.runs.append(run)
            self.trials.append(self._seen(run))
        run.state = TrialState.RUNNING
        self.last_fit = suggestion.why.get("fit", self.last_fit)
        leg = Leg(waiting.pop(0), run.number, run.candidate, run.step, run.step, run.step, self.now)
        self.legs.append(leg)
        self._grant(leg, until)
        self._push(leg)

    def _started(self, start: Start) -> _Run:
        candidate = start.candidate
        if candidate is None or any(run.candidate == candidate for run in self.runs):
            raise Broken(
                f"candidate {candidate} is started again" if candidate is not None else "no candidate is named"
            )
        self._require_sound(0, start.until, f"candidate {candidate} starts")
        curves = {metric: self.world.curve(metric, candidate) for metric in self.world.curves}
        return _Run(len(self.runs), candidate, curves)

    def _thawed(self, resume: Resume) -> _Run:
        run = self.runs[resume.number] if resume.number < len(self.runs) else None
        if run is None or not run.state.paused:
            raise Broken(f"trial {resume.number} is resumed, which is {run.state if run else 'unknown'}")
        self._require_sound(run.step, resume.until, f"trial {resume.number} resumes")
        return run

    def _require_sound(self, step: int, until: int | None, what: str) -> None:
        if until is None or not step < until <= self.world.resource.max:
            raise Broken(f"{what} at step {step} up to step {until} of {self.world.resource.max}")

    def _seen(self, run: _Run) -> Trial:
        """A trial as a snapshot has it: the curves up to where it stands."""
        return Trial(
            number=run.number,
            params=self.world.candidates[run.candidate],
            state=run.state,
            curves={metric: curve[: run.step] for metric, curve in run.curves.items()},
            last_step=run.step,
            until_step=run.until,
            candidate=run.candidate,
        )

    def _note(self, mark: int, study: Study) -> None:
        found = self._timed("recommend", lambda: self.tuner.recommend(study))
        number = found.number if found else None
        candidate = self.runs[number].candidate if number is not None else None
        self.marks[mark] = Mark(self.spent, self.now, number, candidate)

    def _timed(self, what: str, call: Callable[[], T]) -> T:
        began = time.process_time()
        answer = call()
        self.thinking[what].append(time.process_time() - began)
        return answer
