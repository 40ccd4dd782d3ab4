"""The whole of a freeze-thaw decision laid open: every run and the most promising new ones, with what each is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .domain import domain_of
from .freeze_thaw import OFFERED_AGAINST_A_RUN, Desk
from .half_trained import Runs, outlook_of

if TYPE_CHECKING:
    from ..curves.base import Integers
    from ..history import Study
    from ..numerics import Floats
    from .domain import Offer
    from .freeze_thaw import FreezeThaw
    from .next_steps import Candidates


def ranked(policy: FreezeThaw, study: Study, most: int) -> dict[str, Any] | None:
    """What there is to do, worthiest first, `most` of each kind; None before anything was seen.

    Each thing is weighed as if it were the next and only one: runs that train as if their grant had ended.
    """
    rng = np.random.default_rng([study.definition.seed, study.version])
    runs = Runs.of(study, rng)
    if not len(runs.seen):
        return None
    desk = Desk(policy, outlook_of(runs, policy.model, settled=True), domain_of(study, int(rng.integers(2**31))))
    training = _training(runs)
    offer = desk.offer(OFFERED_AGAINST_A_RUN)
    candidates = desk.candidates(np.concatenate([training, runs.frozen]), offer.rows, free=len(training))
    worth = desk.worth(desk.outlook, candidates, rng)
    actions = np.repeat(["continue", "thaw", "start"], [len(training), len(runs.frozen), len(offer.rows)])
    chosen = _foremost(worth, actions, most)
    mean, sd = _ends(desk, candidates.part(chosen))
    begun = len(training) + len(runs.frozen)
    items = [
        {
            "action": str(actions[i]),
            **what,
            "from_step": int(candidates.last[i]),
            "until_step": int(candidates.granted[i]),
            "worth": float(worth[i]),
            "mean": mean[place],
            "sd": sd[place],
        }
        for place, i in enumerate(chosen)
        if (what := _what(desk, candidates, offer, int(i), begun))
    ]
    return {
        "policy": policy.name,
        "acquisition": policy.acquisition,
        "model": policy.model,
        "network": desk.outlook.standing.belief.fit.get("network"),
        "runs": runs.curves.size,
        "observations": len(runs.curves.score),
        "items": items,
    }


def _training(runs: Runs) -> Integers:
    """The runs (k,) that train and of which something was seen."""
    trains = [not (t.state.finished or t.state.paused) and t.last_step > 0 for t in runs.trials]
    open_ = np.array(trains, dtype=bool) & (runs.last < runs.curves.max_step) & ~runs.curves.dead
    return np.flatnonzero(open_)


def _foremost(worth: Floats, actions: Any, most: int) -> Integers:
    """Indices, worthiest first, `most` of each action."""
    order = np.argsort(-worth, kind="stable")
    kept = [order[actions[order] == action][:most] for action in ("continue", "thaw", "start")]
    chosen = np.concatenate(kept)
    return chosen[np.argsort(-worth[chosen], kind="stable")]


def _ends(desk: Desk, candidates: Candidates) -> tuple[list[float | None], list[float | None]]:
    """Where each is expected to end, in the objective's units; None where several objectives make one score."""
    runs = desk.outlook.runs
    if len(runs.study.objectives) > 1:
        return [None] * len(candidates.last), [None] * len(candidates.last)
    at_end = candidates.at(np.full(len(candidates.last), runs.curves.max_step))
    final = desk.outlook.score.at(at_end, noisy=False)
    mean = runs.study.objective.sign * final.mean
    return [float(value) for value in mean], [float(value) for value in final.sd]


def _what(desk: Desk, candidates: Candidates, offer: Offer, i: int, begun: int) -> dict[str, Any] | None:
    """The run, by its number, or the new configuration; of equal new ones only the first."""
    if i < begun:
        trial = desk.outlook.runs.trials[int(candidates.owner[i])]
        return {"trial": trial.number, "params": dict(trial.params)}
    point = offer.take(i - begun)
    return {"trial": None, "params": dict(point.params)} if point else None
