"""The network and the process as one model: whom the guard believes, and what it does without one of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from frazil_tuner.curves import Curves, FreezeThaw, Guarded, Mixture, PriorFitted, Where
from frazil_tuner.curves.blend import Blend
from frazil_tuner.curves.guard import OF, SHARE, GuardedBelief, Trial, _remembered, stacked
from frazil_tuner.pfn.manifest import Damaged
from frazil_tuner.surrogates import FitFailed


def curves_of(n: int = 20, T: int = 16, seed: int = 0) -> Curves:
    """Curves that rise to what their first column says, with a little noise."""
    rng = np.random.default_rng(seed)
    x, seen = rng.random((n, 2)), rng.integers(1, T + 1, n)
    owner = np.repeat(np.arange(n), seen)
    step = np.concatenate([np.arange(1, k + 1) for k in seen])
    score = (0.4 + 0.4 * x[owner, 0]) * (1 - np.exp(-4 * step / T)) + 0.004 * rng.standard_normal(len(owner))
    return Curves(x, owner, step, score, np.zeros(n, dtype=bool), T, np.zeros(2, dtype=bool))


def ends(curves: Curves) -> Where:
    n = curves.size
    return Where(np.concatenate([curves.x, [[0.5, 0.5]]]), np.append(np.arange(n), -1), np.full(n + 1, curves.max_step))


def normal(mean: float, sd: float, m: int = 1) -> Mixture:
    return Mixture(np.ones((1, m)), np.full((1, m), mean), np.full((1, m), sd))


class Broken:
    """A model that cannot serve."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason

    def fit(self, curves: Curves, start: object = None) -> None:
        raise self.reason


# ── the mixture ──────────────────────────────────────────────────────────────


def test_a_blend_has_the_moments_and_quantiles_of_a_mixture() -> None:
    blend = Blend(normal(0.0, 1.0), normal(4.0, 2.0), np.array([0.25]))
    known = Mixture(np.array([[0.25], [0.75]]), np.array([[0.0], [4.0]]), np.array([[1.0], [2.0]]))
    assert blend.mean == pytest.approx(known.mean)
    assert blend.sd == pytest.approx(known.sd)
    assert blend.log_density(np.array([1.3])) == pytest.approx(known.log_density(np.array([1.3])))
    assert blend.exceeding(2.0) == pytest.approx(known.exceeding(2.0))
    for q in (0.01, 0.3, 0.9):
        assert blend.quantile(q) == pytest.approx(known.quantile(q))


def test_a_blend_is_of_each_place_as_its_share_says() -> None:
    blend = Blend(normal(0.0, 1.0, 2), normal(4.0, 1.0, 2), np.array([0.9, 0.1]))
    assert blend.mean == pytest.approx([0.4, 3.6])


# ── the share ────────────────────────────────────────────────────────────────


def test_without_evidence_the_network_has_the_share_that_is_believed_beforehand() -> None:
    assert stacked(np.zeros(0), np.zeros(0)) == pytest.approx(SHARE)
    assert stacked(np.full(50, 1.5), np.full(50, 1.5)) == pytest.approx(SHARE)


def test_who_foretells_better_gets_more() -> None:
    worse, better = np.full(40, 1.0), np.full(40, 3.0)
    assert stacked(better, worse) > 0.98
    assert stacked(worse, better) < 0.25
    assert stacked(worse[:2], better[:2]) > 0.7


def test_the_share_makes_the_mixture_most_probable() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.0, 2.0, 500), rng.normal(0.0, 2.0, 500)
    found = stacked(one, other)
    densities = [np.logaddexp(np.log(s) + one, np.log1p(-s) + other).sum() for s in (found - 0.1, found, found + 0.1)]
    assert max(densities) == densities[1]


def test_surprises_of_any_size_are_borne() -> None:
    assert 0.0 < stacked(np.full(9, -1e6), np.zeros(9)) < 1.0


# ── what is foretold ─────────────────────────────────────────────────────────


def test_of_some_curves_the_end_is_held_back() -> None:
    curves = curves_of()
    trial = Trial.of(curves, PriorFitted().fit(curves))
    assert 0 < len(trial.where.owner) <= curves.size / OF
    left = np.bincount(trial.rest.owner, minlength=curves.size)
    whole = np.bincount(curves.owner, minlength=curves.size)
    assert (left > 0).all()
    assert np.flatnonzero(left < whole).tolist() == sorted(trial.where.owner.tolist())
    for owner, step in zip(trial.where.owner, trial.where.step, strict=True):
        assert step == curves.step[curves.owner == owner].max()
        assert step > trial.rest.step[trial.rest.owner == owner].max()


def test_a_dead_curve_is_not_foretold() -> None:
    curves = replace(curves_of(), dead=np.ones(20, dtype=bool))
    assert len(Trial.of(curves, PriorFitted().fit(curves)).where.owner) == 0


# ── the model ────────────────────────────────────────────────────────────────


def test_what_is_learned_is_remembered_and_taken_as_it_is_once_it_is_settled() -> None:
    curves = curves_of()
    belief = Guarded().fit(curves)
    memory = json.loads(json.dumps(dict(belief.fit)))
    assert 0.5 < memory["network"] <= 1.0
    memory["network"] = 0.25
    again = Guarded().fit(curves, memory | {"settled": True})
    assert isinstance(again, GuardedBelief)
    assert again.share == 0.25
    assert again.fit["theta"] == memory["theta"]
    assert Guarded().fit(curves, memory).fit["network"] != memory["network"]


@pytest.mark.parametrize("known", [None, "curve-small", {}, {"begun": 0.5, "fresh": 0.5}, 2.0])
def test_a_memory_of_something_else_is_no_memory(known: object) -> None:
    assert _remembered({"network": known, "settled": True}) is None


def test_of_curves_that_have_not_begun_the_network_speaks() -> None:
    curves = curves_of()
    belief = replace(Guarded().fit(curves), share=0.9)  # type: ignore[type-var]
    mixed, network, process = (part.at(ends(curves)).mean for part in (belief, belief.network, belief.process))
    assert mixed[:20] == pytest.approx(0.9 * network[:20] + 0.1 * process[:20])
    assert mixed[20] == pytest.approx(network[20], rel=1e-5)


def test_a_network_that_is_damaged_leaves_the_process_alone() -> None:
    curves = curves_of()
    guarded = Guarded(Broken(Damaged("gone"))).fit(curves)  # type: ignore[arg-type]
    assert guarded.at(ends(curves)).mean == pytest.approx(FreezeThaw().fit(curves).at(ends(curves)).mean)


def test_a_process_that_fails_leaves_the_network_alone() -> None:
    curves = curves_of()
    guarded = Guarded(process=Broken(FitFailed("singular"))).fit(curves)  # type: ignore[arg-type]
    assert guarded.at(ends(curves)).mean == pytest.approx(PriorFitted().fit(curves).at(ends(curves)).mean)


def test_a_settled_process_keeps_its_hyperparameters() -> None:
    one, other = curves_of(), curves_of(seed=1)
    learned = FreezeThaw().fit(one).fit
    assert FreezeThaw().fit(other, {**learned, "settled": True}).fit == learned
    assert FreezeThaw().fit(other, learned).fit != learned
    assert FreezeThaw().fit(other, {"settled": True}).fit == FreezeThaw().fit(other).fit
