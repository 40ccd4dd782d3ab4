"""Freeze-thaw: at every moment the next steps go to the run, half-trained or new, where they are worth most."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import Continue, Decision, Pause, Recommendation, Resume, Start, Stop, Suggestion, Why
from .domain import domain_of
from .half_trained import Runs, outlook_of, settled_outlook
from .model_free import best_trained
from .next_steps import ACQUISITIONS, Candidates
from .options import option
from .scope import Scope
from .sobol import sobol_starts

if TYPE_CHECKING:
    from ..curves.base import Integers
    from ..history import Definition, Resource, Study, Trial
    from ..numerics import Floats
    from .domain import Domain, Offer
    from .half_trained import Outlook

GRANTS = 50
"""Into how many grants a whole run is cut, if the study does not say."""

SEEDS = 4
"""Runs near which new configurations are looked for."""

OFFERED, OFFERED_AGAINST_A_RUN = 1_000, 250
"""New configurations that are looked at when one is to be begun, and when a run might have to wait for one."""


def _against_quantum(quantum: int, definition: Definition) -> str | None:
    most = definition.resource.max if definition.resource else math.inf
    return f"must be at most the resource's maximum, {most}" if quantum > most else None


@dataclass(frozen=True, slots=True)
class FreezeThaw:
    """Freeze-thaw Bayesian optimisation: every grant goes to the run, training, frozen or new, where it is worth most.

    A model of all curves says how each would go on. A run that reaches the end of its grant goes on as long as no
    other is worth more, and is frozen otherwise; a worker that asks thaws a frozen run or starts a new one. What is
    training elsewhere is imagined to come out as expected.         Swersky, Snoek and Adams 2014 (arXiv 1406.3896)
    """

    name: ClassVar[str] = "freeze_thaw"
    ages: ClassVar[bool] = True
    reads_curves: ClassVar[bool] = True
    needs_resource: ClassVar[bool] = True
    deliberates: ClassVar[bool] = True
    scope: ClassVar[Scope] = Scope(most_objectives=10, handles_constraints=True, resource_kind="resumable")

    acquisition: str = option(
        "knowledge", "what makes the next steps of a run worth taking", choices=tuple(ACQUISITIONS)
    )
    model: str = option(
        "guarded", "the model of learning curves", choices=("guarded", "pfn", "gp", "regression", "last")
    )
    quantum: int = option(
        0,
        "steps of a grant; 0 stands for the resource's minimum, or a fiftieth of its maximum if that is more",
        low=0,
        objection=_against_quantum,
    )
    start_cost: float = option(0.1, "what starting a run costs beside its steps, in steps", low=0)
    thaw_cost: float = option(0.1, "what thawing a run costs beside its steps, in steps", low=0)

    def is_light(self, study: Study) -> bool:
        return not any(trial.last_step for trial in study.trials)

    def suggest(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        rng = np.random.default_rng(seed)
        runs = Runs.of(study, rng)
        if not len(runs.seen):
            return self._begin(study, count, seed)
        desk = Desk(self, outlook_of(runs, self.model), domain_of(study, seed))
        return desk.suggest(count, rng)

    def decide(self, study: Study, trial: Trial) -> Decision:
        rng = np.random.default_rng([study.definition.seed, study.version, trial.number])
        runs = Runs.of(study, rng)
        if any(trial.score(objective) == -math.inf for objective in study.objectives):
            return Stop("diverged")
        if not len(runs.seen):
            assert study.resource is not None
            until = self.granted(study.resource, np.array([trial.last_step]))
            return Continue(int(until[0]), "nothing to compare with yet")
        outlook = settled_outlook(runs, self.model)
        return Desk(self, outlook, domain_of(study, int(rng.integers(2**31)))).judge(trial, rng)

    def recommend(self, study: Study) -> Recommendation | None:
        """The run that is believed to end best, of those of which something was seen, feasible ones before others."""
        runs = Runs.of(study)
        if not len(runs.seen):
            return best_trained(study)
        outlook, ends = outlook_of(runs, self.model, settled=True), runs.at_end(runs.seen)
        final, feasible = outlook.score.at(ends, noisy=False).mean, outlook.feasible(ends) >= 0.5
        best = int(np.lexsort((final, feasible))[-1])
        return self._recommendation(study, outlook, int(runs.seen[best]))

    def _recommendation(self, study: Study, outlook: Outlook, i: int) -> Recommendation:
        """With what is believed of each objective."""
        means, sds = {}, {}
        for objective in study.objectives:
            alone = replace(study.definition, objectives=(objective,), outcome_constraints=(), cost=None)
            belief = (
                outlook
                if len(study.objectives) == 1
                else outlook_of(Runs.of(replace(study, definition=alone)), self.model, settled=True)
            )
            final = belief.score.at(belief.runs.at_end(np.array([i])), noisy=False)
            means[objective.metric] = objective.sign * float(final.mean[0])
            sds[objective.metric] = float(final.sd[0])
        return Recommendation(outlook.runs.trials[i].number, means, sds)

    def _begin(self, study: Study, count: int, seed: int) -> list[Suggestion]:
        """Points that fill the space, each for one grant."""
        assert study.resource is not None
        until = int(self.granted(study.resource, np.zeros(1, dtype=np.int64))[0])
        starts = sobol_starts(study, count, seed, {"policy": self.name, "phase": "warm-up"})
        return [replace(start, until=until) for start in starts if isinstance(start, Start)]

    def granted(self, resource: Resource, last: Integers) -> Integers:
        """Up to which step (k,) runs are granted that stand at `last` (k,)."""
        quantum = self.quantum or max(resource.min, math.ceil(resource.max / GRANTS))
        return np.clip(last + quantum, resource.min, resource.max)


@dataclass
class Desk:
    """One moment: the outlook, what may be begun, and the choice between that and what waits."""

    policy: FreezeThaw
    outlook: Outlook
    domain: Domain

    def suggest(self, count: int, rng: np.random.Generator) -> list[Suggestion]:
        runs = self.outlook.runs
        fit, outlook = self.outlook.fit, self.outlook.given(runs.pending())
        frozen, suggestions = runs.frozen, list[Suggestion]()
        while len(suggestions) < count:
            offer = self.offer(OFFERED)
            candidates = self.candidates(frozen, offer.rows)
            if not len(candidates.last):
                break
            worth = self.worth(outlook, candidates, rng)
            best = _largest(worth, rng)
            why = self._why(float(worth[best]), fit)
            suggestion = self._suggestion(candidates, best, offer, len(frozen), why)
            if suggestion is None:
                continue
            suggestions.append(suggestion)
            frozen = np.delete(frozen, best) if best < len(frozen) else frozen
            if len(suggestions) < count:
                chosen = candidates.part(np.array([best]))
                outlook = outlook.given(chosen.at(chosen.granted))
        return suggestions

    def judge(self, trial: Trial, rng: np.random.Generator) -> Decision:
        """Whether a run goes on: it does unless another thing to do is worth more, with what changing to it costs."""
        runs, i = self.outlook.runs, self.outlook.runs.index[trial.number]
        outlook = self.outlook.given(runs.pending(besides=trial.number))
        candidates = self.candidates(np.append(i, runs.frozen), self.offer(OFFERED_AGAINST_A_RUN).rows, free=1)
        worth = self.worth(outlook, candidates, rng)
        best = int(np.argmax(worth))
        if best == 0:
            return Continue(int(candidates.granted[0]), f"worth {worth[0]:.3g} a step, more than any other")
        other = f"trial {runs.trials[candidates.owner[best]].number}" if candidates.owner[best] >= 0 else "a new one"
        return Pause(f"{other} is worth {worth[best]:.3g} a step, this one {worth[0]:.3g}")

    def offer(self, most: int) -> Offer:
        return self.domain.offer(self.outlook.standing.leaders(SEEDS), most)

    def candidates(self, runs: Integers, fresh: Floats, free: int = 0) -> Candidates:
        """The runs (k,) first, the first `free` of which are training already, then new rows (m, d)."""
        known = self.outlook.runs
        owner = np.concatenate([runs, np.full(len(fresh), -1, dtype=np.int64)])
        last = np.concatenate([known.last[runs], np.zeros(len(fresh), dtype=np.int64)])
        assert known.study.resource is not None
        granted = self.policy.granted(known.study.resource, last)
        extra = np.where(owner >= 0, self.policy.thaw_cost, self.policy.start_cost)
        extra[:free] = 0.0
        return Candidates(np.concatenate([known.curves.x[runs], fresh]), owner, last, granted, extra)

    def worth(self, outlook: Outlook, candidates: Candidates, rng: np.random.Generator) -> Floats:
        """The worth (k,) for each unit of cost."""
        price = outlook.price_of_step(candidates.at(candidates.granted))
        worth = ACQUISITIONS[self.policy.acquisition](outlook, candidates, rng) / price
        return np.where(np.isnan(worth), 0.0, worth)

    def _suggestion(self, candidates: Candidates, best: int, offer: Offer, frozen: int, why: Why) -> Suggestion | None:
        until = int(candidates.granted[best])
        if best < frozen:
            return Resume(self.outlook.runs.trials[candidates.owner[best]].number, until, why)
        point = offer.take(best - frozen)
        return point.start(until, why) if point else None

    def _why(self, value: float, fit: Any) -> dict[str, Any]:
        curves = self.outlook.runs.curves
        return {
            "policy": self.policy.name,
            "model": self.policy.model,
            "acquisition": self.policy.acquisition,
            "value": value,
            "runs": curves.size,
            "observations": len(curves.score),
            "fit": fit,
        }


def _largest(worth: Floats, rng: np.random.Generator) -> int:
    """The index of the largest worth; of equal ones any."""
    return int(rng.choice(np.flatnonzero(worth == worth.max())))
