"""Whether only the product of rate and decay counts late in training, on runs of which it is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from frazil_tuner.errors import Conflict, Refused
from frazil_tuner.history import Definition, Objective, Resource, Study, Trial, TrialState
from frazil_tuner.insights import invariance
from frazil_tuner.space import Space

SPACE = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        {"name": "weight_decay", "type": "float", "low": 1e-3, "high": 1, "log": True},
        {"name": "bias", "type": "float", "low": -1, "high": 1},
    ]
)
EPOCHS = Resource("epoch", 20)
Loss = Callable[[float, float, float], float]


def from_rate_to_product(lr: float, wd: float, share: float) -> float:
    """Early what the rate says, late what the product says."""
    by_rate, by_product = (math.log10(lr) + 2) ** 2, (math.log10(lr * wd) + 4) ** 2
    return (1 - share) * by_rate + share * by_product


def by_rate_alone(lr: float, wd: float, share: float) -> float:
    return (math.log10(lr) + 2) ** 2 + 1 - share


def study(loss: Loss, n: int = 40, last: int = 20, seed: int = 0, resource: Resource | None = EPOCHS) -> Study:
    rng = np.random.default_rng(seed)
    trials = []
    for i in range(n):
        p = SPACE.draw(rng)
        curve = tuple((s, loss(p["lr"], p["weight_decay"], s / 20) + 0.01 * rng.normal()) for s in range(1, last + 1))
        trials.append(Trial(i, p, TrialState.COMPLETED, {"loss": curve}, last_step=last, until_step=last))
    return Study(Definition(SPACE, (Objective("loss"),), resource), tuple(trials))


def test_runs_that_come_together_by_their_product_are_seen_to_and_only_late() -> None:
    found = invariance(study(from_rate_to_product), "lr", "weight_decay")
    assert found["holds"]
    first, *_, last = found["shares"]
    assert (first["share"], last["share"], last["step"], last["runs"]) == (0.1, 1.0, 20, 40)
    assert first["by_rate"] > 0.8 > first["by_product"]
    assert last["by_product"] > 0.8 > last["by_rate"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_runs_that_the_rate_tells_apart_to_the_end_are_not_said_to_come_together() -> None:
    found = invariance(study(by_rate_alone), "lr", "weight_decay")
    assert not found["holds"]
    assert found["shares"][-1]["by_rate"] > 0.8


def test_noise_holds_nothing() -> None:
    rng = np.random.default_rng(1)
    found = invariance(study(lambda lr, wd, share: rng.normal()), "lr", "weight_decay")
    assert not found["holds"]
    assert found["shares"][-1]["by_product"] < 0.4


def test_only_runs_that_have_come_as_far_are_compared() -> None:
    long, short = study(from_rate_to_product, n=12), study(from_rate_to_product, n=20, last=6, seed=1)
    trials = (*long.trials, *short.trials)
    found = invariance(Study(long.definition, trials), "lr", "weight_decay")
    assert [row["runs"] for row in found["shares"]] == [32, 32, 12, 12, 12]
    early = invariance(short, "lr", "weight_decay")
    assert [row["share"] for row in early["shares"]] == [0.1, 0.25]
    assert not early["holds"]


def test_a_diverged_run_is_the_worst() -> None:
    found = invariance(
        study(lambda lr, wd, share: math.nan if lr * wd > 1e-2 else from_rate_to_product(lr, wd, share)),
        "lr",
        "weight_decay",
    )
    assert found["shares"][-1]["runs"] == 40


@pytest.mark.parametrize(
    ("rate", "decay", "code", "pointer"),
    [
        ("rate", "weight_decay", "parameter_unknown", "/rate"),
        ("lr", "decay", "parameter_unknown", "/decay"),
        ("lr", "bias", "parameter_unsuited", "/decay"),
    ],
)
def test_what_is_no_rate_or_decay_is_refused(rate: str, decay: str, code: str, pointer: str) -> None:
    with pytest.raises(Refused) as refused:
        invariance(study(by_rate_alone), rate, decay)
    assert (refused.value.code, refused.value.problems[0].pointer) == (code, pointer)


def test_too_few_runs_and_no_resource_are_said() -> None:
    with pytest.raises(Conflict, match="12 runs"):
        invariance(study(by_rate_alone, n=11), "lr", "weight_decay")
    with pytest.raises(Refused) as refused:
        invariance(study(by_rate_alone, resource=None), "lr", "weight_decay")
    assert refused.value.code == "resource_missing"
