"""What an outlook holds beside beliefs: contexts, environments, priors on the optimum, and what is recommended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from frazil_tuner.acquisition import (
    ACQUISITIONS,
    Limit,
    Outlook,
    choose_environment,
    log_density,
    merit,
    worth_of,
)
from frazil_tuner.acquisition.draws import anchors, drawn_optima, leaders
from frazil_tuner.acquisition.feasibility import feasible_points, incumbent, log_feasibility
from frazil_tuner.space import Space
from frazil_tuner.surrogates import SURROGATES, Belief, Evidence

SPACE = Space.from_json(
    [
        {"name": "x", "type": "float", "low": 0, "high": 1},
        {"name": "users", "type": "float", "low": 0, "high": 1, "role": "context"},
    ]
)


def uniform(n: int, d: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noise(n: int) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)


def believe(X: Tensor, y: Tensor) -> Belief:
    return SURROGATES["gp"].fit(Evidence(X, y, torch.zeros(X.shape[1], dtype=torch.bool)))


def outlook_of(*beliefs: Belief, space: Space = SPACE) -> Outlook:
    return Outlook(beliefs, space, torch.Generator().manual_seed(0), len(beliefs[0].points))


# ── contexts and constrained spaces ──────────────────────────────────────────────────────────────────────────────────


def test_in_a_context_the_incumbent_is_the_best_of_that_context() -> None:
    X = uniform(12)
    belief = believe(X, 3 * X[:, 1] - X[:, 0])  # busy contexts pay more, whatever is done
    held = outlook_of(belief, space=SPACE.hold({"users": 0.1}))
    assert feasible_points(held)[:, 1].tolist() == [0.1] * 12
    assert incumbent(held).item() == pytest.approx(belief.posterior(feasible_points(held))[0].max().item())
    assert incumbent(held).item() < belief.incumbent.item() - 1
    chosen = torch.tensor([[0.01, 0.1]], dtype=torch.float64)
    assert worth_of("log_ei", held)(chosen) > worth_of("log_ei", outlook_of(belief))(chosen)


def test_anchors_are_different_feasible_points_and_some_are_near_the_best() -> None:
    space = Space.from_json(
        [{"name": name, "type": "float", "low": 0, "high": 1} for name in ("a", "b")], ["a + b <= 1"]
    )
    X = torch.from_numpy(space.sample(np.random.default_rng(0), 20))
    X[:, 1] = 1 - X[:, 0]  # on the border: half of what lies around is outside
    outlook = outlook_of(believe(X, X[:, 0]), space=space)
    found = anchors(outlook)
    assert len(found) == len(found.unique(dim=0)) > 200
    assert space.feasible(found.numpy()).all()
    best = X[X[:, 0].argmax()]
    assert ((found - best).norm(dim=1) < 0.05).sum() > 5


def test_leaders_are_feasible_and_lead_by_mean_and_deviation() -> None:
    X = uniform(12)
    slack = believe(X, 0.5 - X[:, 1])
    limited = replace(outlook_of(believe(X, X[:, 0] + 0.5 * noise(12))), limits=(Limit(slack, 0.0),))
    allowed = X[slack.posterior(X)[0][0] > 0]
    mean, sd = limited.belief.posterior(allowed)
    for optimism in (0.0, 1.0, 30.0):
        expected = allowed[(mean + optimism * sd)[0].topk(3).indices]
        assert torch.equal(leaders(limited, 3, optimism), expected)
    assert not torch.equal(leaders(limited, 3, 0.0), leaders(limited, 3, 30.0))
    assert len(leaders(limited, 100)) == len(allowed)


def test_drawn_optima_are_feasible() -> None:
    X = uniform(12)
    slack = believe(X, 0.5 - X[:, 0])
    free = outlook_of(believe(X, X[:, 0]))
    assert drawn_optima(free).places[:, 0].min() > 0.8
    assert drawn_optima(replace(free, limits=(Limit(slack, 0.0),))).places[:, 0].max() < 0.6


def test_before_any_point_the_mean_counts() -> None:
    belief = believe(uniform(5), uniform(5)[:, 0])

    class Elsewhere:
        """A belief that rests on other studies' points alone."""

        points = torch.empty(0, 2, dtype=torch.float64)
        posterior = staticmethod(belief.posterior)

    x = uniform(4, seed=1)
    for name in ("log_ei", "thompson", "knowledge_gradient"):
        assert torch.equal(worth_of(name, outlook_of(Elsewhere()))(x), belief.posterior(x)[0][0])


# ── environments ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_is_chosen_where_it_tells_most_of_the_design() -> None:
    X = uniform(14, 3, seed=6)
    X[:, 2] *= 0.6  # nothing is known of windy days
    belief = believe(X, torch.sin(5 * X[:, 0]) + X[:, 2] + 0.6 * noise(14))
    row, columns = torch.tensor([0.4, 0.6, 0.5], dtype=torch.float64), torch.tensor([False, False, True])
    scenarios = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    chosen = choose_environment(outlook_of(belief), row, columns, scenarios, belief)
    assert chosen[:2].tolist() == row[:2].tolist()
    everywhere = torch.cat([row[:2].expand(9, 2), scenarios], dim=1)

    def left(place: Tensor) -> float:
        """The variance of the mean over scenarios after an observation at `place`."""
        after = belief.imagine(place[None], 1, torch.Generator().manual_seed(0))
        return after.joint(everywhere[None])[1].mean().item()

    assert left(chosen) == pytest.approx(min(map(left, everywhere)), rel=1e-9)
    quiet = torch.argmax(belief.joint(everywhere[None])[1][0, 0].mean(0) / belief.posterior(everywhere)[1][0])
    assert chosen[2] != everywhere[quiet, 2]  # what would be chosen if an observation had no noise


# ── priors on the optimum ────────────────────────────────────────────────────────────────────────────────────────────

EXPECTED = Space.from_json(
    [
        {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True, "prior": 1e-2, "prior_confidence": "high"},
        {"name": "kind", "type": "categorical", "choices": ["a", "b", "c"], "prior": "b"},
        {"name": "n", "type": "int", "low": 1, "high": 9, "when": {"kind": ["a"]}, "prior": 3},
    ]
)


def test_the_log_density_is_that_of_the_space_and_its_slope_exact() -> None:
    rows = EXPECTED.snap(uniform(20, 3).numpy())
    worth, x = log_density(EXPECTED), torch.from_numpy(rows)
    expected = EXPECTED.prior.log_density(rows, EXPECTED.active(rows))
    assert worth(x).tolist() == pytest.approx(expected.tolist())
    x.requires_grad_()
    (slope,) = torch.autograd.grad(worth(x).sum(), x)
    step = torch.tensor([1e-6, 0, 0], dtype=torch.float64)
    with torch.no_grad():
        numeric = (worth(x + step) - worth(x - step)) / 2e-6
    assert slope[:, 0].tolist() == pytest.approx(numeric.tolist(), rel=1e-5, abs=1e-5)


def test_where_nothing_is_expected_every_point_is_as_good() -> None:
    assert log_density(SPACE)(uniform(3)).tolist() == [0, 0, 0]


# ── recommendations ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_merit_is_the_mean_and_the_infeasible_come_last_by_their_probability() -> None:
    X = uniform(15)
    outlook = outlook_of(believe(X, 5 * X[:, 0]))
    assert merit(outlook, X).tolist() == pytest.approx(outlook.belief.posterior(X)[0][0].tolist())
    limited = replace(outlook, limits=(Limit(believe(X, 0.5 - X[:, 0] + 0.5 * noise(15)), 0.0),))
    merits, probability = merit(limited, X), log_feasibility(limited)(X).exp()
    feasible = probability >= 0.5
    assert (probability[~feasible] > 0.2).any()  # odds not so bad that they would need no rule
    assert merits[feasible].min() > merits[~feasible].max()
    assert X[merits.argmax(), 0] == X[feasible, 0].max()
    assert torch.equal(merits[~feasible].argsort(), probability[~feasible].argsort())


def test_the_merit_of_several_objectives_is_the_best_compromise() -> None:
    X = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None].expand(9, 2)
    outlook = outlook_of(believe(X, -X[:, 0].square()), believe(X, 100 - 100 * (1 - X[:, 0]).square()))
    assert merit(outlook, X).argmax() == 4
    assert merit(outlook, X).argmin().item() in {0, 8}


def test_each_acquisition_says_how_many_objectives_it_takes() -> None:
    takes = {name: (row.objectives[0], row.objectives[-1]) for name, row in ACQUISITIONS.items()}
    assert takes.pop("log_hypervolume") == (2, 4)
    assert takes.pop("chebyshev") == (2, 100)
    assert set(takes.values()) == {(1, 1)}
