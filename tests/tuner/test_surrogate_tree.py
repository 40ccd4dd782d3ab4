"""The tree: what is not active says nothing, and what two points have in common still counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frazil_tuner.space import Column, Space
from frazil_tuner.surrogates import SURROGATES, Belief, Evidence
from frazil_tuner.surrogates.general import mixed
from frazil_tuner.surrogates.mixture import Mixture
from frazil_tuner.surrogates.selection import rows_of
from frazil_tuner.surrogates.tree import ANGLE, gaps_on_tree

BRANCHES = Space.from_json(
    [
        {"name": "kind", "type": "categorical", "choices": ["a", "b", "c"]},
        {"name": "rate", "type": "float", "low": 0, "high": 1},
        {"name": "x", "type": "float", "low": 0, "high": 1, "when": {"kind": ["a"]}},
        {"name": "deeper", "type": "bool", "when": {"kind": ["b", "c"]}},
        {"name": "y", "type": "float", "low": 0, "high": 1, "when": {"deeper": [True]}},
    ]
)
UNORDERED = torch.tensor([column is Column.UNORDERED for column in BRANCHES.columns])
CONDITIONAL = torch.tensor([False, False, True, True, True])
KIND, RATE, X, DEEPER, Y = range(5)


def outcome(point: dict[str, Any]) -> float:
    own = {"a": 0.5, "b": 0.0, "c": 1.0}[point["kind"]]
    bowl = (point["rate"] - 0.3) ** 2 + (point.get("x", 0.0) - 0.8) ** 2 * (point["kind"] == "a")
    return -own - 4 * bowl - 2 * (point.get("y", 0.9) - 0.9) ** 2


def seen(points: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(BRANCHES.encode_many(points)), torch.tensor([outcome(p) for p in points]).double()


def drawn(n: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [BRANCHES.draw(rng) for _ in range(n)]


def evidence(n: int, seed: int = 0) -> Evidence:
    rows, y = seen(drawn(n, seed))
    active = torch.from_numpy(BRANCHES.active(rows.numpy()))
    return Evidence(rows, (y - y.mean()) / y.std(), UNORDERED, active=active, space=BRANCHES)


def believed(n: int = 20) -> Belief:
    return SURROGATES["tree"].fit(evidence(n))


def on_arcs(n: int = 20) -> Belief:
    belief = believed(n)
    assert isinstance(belief, Mixture)
    return belief.members[1]


def rows(*points: dict[str, Any]) -> Tensor:
    return torch.from_numpy(BRANCHES.encode_many(points))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [0.05, 0.5, 50.0])
def test_covariances_are_positive_semi_definite_whatever_is_active_where(seed: int, length: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(60, 5, generator=rng, dtype=torch.float64)
    x[:, UNORDERED] = x[:, UNORDERED].round()
    active = (torch.rand(60, 5, generator=rng) > 0.5).double()
    features = torch.cat([x, torch.where(CONDITIONAL, active, 1.0)], dim=1)
    values = {
        "lengths": torch.full((5,), length).double(),
        "joint": torch.ones(1).double(),
        "additive": torch.ones(1).double(),
    }
    K = mixed(gaps_on_tree(features, features, UNORDERED, CONDITIONAL), values, UNORDERED)
    assert torch.linalg.eigvalsh(K).min() > -1e-10
    assert torch.allclose(K.diagonal(), torch.full((60,), 2.0).double())


def test_distances_count_only_what_is_active() -> None:
    """One column of each sort: (always active, conditional number, conditional name), and then their activity."""
    unordered, conditional = torch.tensor([False, False, True]), torch.tensor([False, True, True])
    point = torch.tensor([[0.1, 0.2, 0.5, 1, 1, 1]]).double()
    others = torch.tensor(
        [
            [0.4, 0.2, 0.5, 1, 1, 1],
            [0.1, 0.7, 0.9, 1, 1, 1],
            [0.1, 0.9, 0.5, 1, 0, 0],
        ]
    ).double()
    gaps = gaps_on_tree(point, others, unordered, conditional)[:, 0]
    chord = (2 / ANGLE * np.sin(ANGLE * 0.5 / 2)) ** 2
    assert gaps[0].tolist() == pytest.approx([0.09, 0, 0])
    assert gaps[1].tolist() == pytest.approx([0, chord, 1 / ANGLE**2])
    assert gaps[2].tolist() == [0, 1, 1]
    neither = gaps_on_tree(others[2:], others[2:] + torch.tensor([0, 0.1, 0.1, 0, 0, 0]), unordered, conditional)
    assert neither.flatten().tolist() == [0, 0, 0]


def test_what_stands_in_the_place_of_an_inactive_parameter_makes_no_difference() -> None:
    belief, point = on_arcs(), rows({"kind": "b", "rate": 0.3, "deeper": False})
    other = point.clone()
    other[0, [X, Y]] = torch.tensor([0.05, 0.95]).double()
    for one, same in zip(belief.posterior(point), belief.posterior(other), strict=True):
        assert torch.equal(one, same)
    changed = point.clone()
    changed[0, RATE] = 0.9
    assert not torch.equal(belief.posterior(point)[0], belief.posterior(changed)[0])


def test_points_on_different_branches_share_what_they_have_in_common() -> None:
    """The rate was tried in one branch only, and is known to matter in the other."""
    rates = np.linspace(0, 1, 12)
    tried = [{"kind": "b", "rate": float(rate), "deeper": False} for rate in rates]
    once = [{"kind": "c", "rate": 0.5, "deeper": False}]
    X_, y = seen(tried + once)
    active = torch.from_numpy(BRANCHES.active(X_.numpy()))
    belief = SURROGATES["tree"].fit(Evidence(X_, (y - y.mean()) / y.std(), UNORDERED, active=active, space=BRANCHES))
    mean, _ = belief.posterior(rows(*({"kind": "c", "rate": rate, "deeper": False} for rate in (0.3, 0.9))))
    assert (mean[:, 0] > mean[:, 1] + 0.5).all()


def test_its_slope_is_exact_on_every_branch() -> None:
    belief = on_arcs()
    points = rows(
        {"kind": "a", "rate": 0.31, "x": 0.7}, {"kind": "b", "rate": 0.2, "deeper": True, "y": 0.3}, drawn(1, 9)[0]
    )
    x = points.requires_grad_()
    mean, sd = belief.posterior(x)
    (slope,) = torch.autograd.grad(mean.sum() + sd.sum(), x)
    step = 1e-6
    for column in (RATE, X, Y):
        moved = [points.detach() + sign * step * torch.eye(5).double()[column] for sign in (-1, 1)]
        below, above = (sum(part.sum() for part in belief.posterior(m)) for m in moved)
        assert slope[:, column].sum().item() == pytest.approx((above - below).item() / (2 * step), rel=1e-4, abs=1e-6)
    assert slope[0, Y] == slope[1, X] == 0


def test_the_two_meanings_of_not_active_hedge_each_other() -> None:
    density = torch.zeros(3, dtype=torch.float64)
    for seed in range(4):
        where, y = seen(drawn(200, seed + 100))
        told = seen(drawn(25, seed))[1]
        belief = SURROGATES["tree"].fit(evidence(25, seed))
        assert isinstance(belief, Mixture)
        mean, sd = belief.posterior(where)
        each = torch.distributions.Normal(mean, (sd**2 + 1e-3).sqrt()).log_prob((y - told.mean()) / told.std())
        density += torch.cat([each.mean(1), (each.logsumexp(0) - np.log(2)).mean()[None]])
    assert density[2] > density[:2].mean()
    assert density[2] > density[:2].max() - 1


def test_where_everything_is_active_it_is_the_lean_process() -> None:
    told = evidence(15)
    one = SURROGATES["tree"].fit(replace(told, active=torch.ones_like(told.X, dtype=torch.bool)))
    other = SURROGATES["gp"].fit(told)
    assert torch.equal(one.posterior(told.X)[0], other.posterior(told.X)[0])


def test_without_a_space_everything_that_is_asked_about_is_active() -> None:
    told = evidence(15)
    belief = SURROGATES["tree"].fit(replace(told, space=None))
    assert belief.posterior(told.X)[0].shape == (2, 15)
    assert belief.posterior(told.X)[0].isfinite().all()


def test_a_fit_starts_where_each_meaning_ended() -> None:
    told = evidence(15)
    fit = SURROGATES["tree"].fit(told).fit
    again = SURROGATES["tree"].fit(replace(told, start=fit))
    assert set(fit) == {"middle", "apart"}
    assert again.fit["middle"]["theta"] == pytest.approx(fit["middle"]["theta"], abs=0.1)
    assert again.fit["apart"]["lengths"] == pytest.approx(fit["apart"]["lengths"], rel=0.1)


def test_permuted_branches_give_the_same_belief_and_its_posterior_is_the_diagonal_of_its_joint() -> None:
    told, x = evidence(15), rows(*drawn(6, 5))
    permuted = rows_of(told, torch.randperm(15, generator=torch.Generator().manual_seed(2)))
    one, other = (SURROGATES["tree"].fit(e) for e in (told, permuted))
    for a, b in zip(one.posterior(x), other.posterior(x), strict=True):
        assert torch.allclose(a, b, atol=1e-2)
    mean, covariance = one.joint(x.reshape(2, 3, -1))
    assert torch.allclose(mean.flatten(1), one.posterior(x)[0])
    assert torch.allclose(covariance.diagonal(dim1=-2, dim2=-1).flatten(1).sqrt(), one.posterior(x)[1])
