"""What was lost by learning while serving: each trial against the best the model knows for its context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Problem, Refused
from ..policies.modelling import Modelled, finished
from .asking import modelled

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ..history import Params, Study, Trial
    from ..numerics import Floats

MOST_TRIALS = 500
"""The latest trials that are judged."""

CANDIDATES = 512
"""Random configurations among which the best of a context is looked for, beside all that were tried."""


def regret(study: Study) -> dict[str, Any]:
    """The believed regret of every trial under its context, in the metric's units; never negative.

        r_t = max_x f(x, context_t) - f(x_t, context_t),  f the posterior mean    Krause and Ong 2011, sec. 2, with f
                                                                                  for the function

    {"metric", "trials": [{"number", "regret", "cumulative"}], "contexts": [{"context", "trials", "mean_regret",
    "best": params, "expected": mean}], "cumulative", "mean_regret"}; contexts in the order they came. Without context
    parameters all trials share the empty one.

    Raises Refused for several objectives, and Conflict if there is no model yet.
    """
    if len(study.objectives) > 1 or study.objective.by == "comparison":
        detail = "regret needs one objective with values"
        raise Refused(detail, code="regret_invalid", problems=(Problem("/objectives", detail),))
    part = modelled(study, "regrets").objectives[0]
    trials = [trial for trial in finished(study) if not trial.state.worst][-MOST_TRIALS:]
    groups = _by_context(study, trials)
    judged = [_judge(study, part, group) for group in groups]
    losses = sorted((number, loss) for context in judged for number, loss in context.pop("losses"))
    running = np.cumsum([loss for _, loss in losses]).tolist()
    rows = [
        {"number": number, "regret": loss, "cumulative": total}
        for (number, loss), total in zip(losses, running, strict=True)
    ]
    total = running[-1] if running else 0.0
    return {
        "metric": part.quantity.metric,
        "trials": rows,
        "contexts": judged,
        "cumulative": total,
        "mean_regret": total / max(len(rows), 1),
    }


def _by_context(study: Study, trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials in groups of equal context, in the order the contexts came."""
    groups: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(study.space.key(_context(study, trial)), []).append(trial)
    return list(groups.values())


def _context(study: Study, trial: Trial) -> Params:
    return {name: trial.params[name] for name in study.space.names_of("context") if name in trial.params}


def _judge(study: Study, part: Modelled, trials: Sequence[Trial]) -> dict[str, Any]:
    """The trials of one context against the best that the model knows for it."""
    context = _context(study, trials[0])
    options = _options(study, part, trials, context)
    expected = _expected(study, part, options)
    best = int(expected.argmax())
    mine = _expected(study, part, [trial.params for trial in trials])
    losses = [max(float(expected[best] - value), 0.0) for value in mine]
    return {
        "context": dict(context),
        "trials": len(trials),
        "mean_regret": float(np.mean(losses)),
        "best": dict(options[best]),
        "expected": part.quantity.sign * float(expected[best]),
        "losses": [(trial.number, loss) for trial, loss in zip(trials, losses, strict=True)],
    }


def _options(study: Study, part: Modelled, trials: Sequence[Trial], context: Params) -> list[Params]:
    """Configurations under a context: random ones, what was tried under it, and what was tried under others."""
    space = study.space.hold(context) if context else study.space
    drawn = space.sample(np.random.default_rng(study.definition.seed), CANDIDATES)
    borrowed = space.snap(study.space.encode_many([trial.params for trial in part.seen.trials]))
    rows = np.concatenate([drawn, borrowed[space.feasible(borrowed)]])
    return [*(trial.params for trial in trials), *map(space.decode, rows)]


def _expected(study: Study, part: Modelled, points: Sequence[Params]) -> Floats:
    """The posterior mean (m,) at points, in the metric's units, larger is better."""
    from ..acquisition import evaluate

    rows = study.space.encode_many(points)
    means = evaluate(lambda x: part.belief.posterior(x)[0].mean(0), rows)
    return np.array([part.seen.taming.invert(mean, 0.0)[0] for mean in means.tolist()])
