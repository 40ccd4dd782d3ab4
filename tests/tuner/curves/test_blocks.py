"""The likelihood by blocks is that of the whole covariance matrix, and its slopes are right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from frazil_tuner.curves import Curves, FreezeThaw, Where
from frazil_tuner.curves.blocks import POINTS, Likelihood, Observed
from frazil_tuner.curves.course import FUNCTIONS, course, drifted
from frazil_tuner.curves.gp import FreezeThawBelief, _View, prior
from frazil_tuner.curves.kernel import OWN, Hyper, Own, correlation, gaps
from frazil_tuner.curves.scale import suited

T = 15
UNORDERED = np.array([False, True, False])


def curves_of(n: int = 6, seed: int = 0) -> Curves:
    random = np.random.default_rng(seed)
    x = random.random((n, 3))
    x[:, 1] = np.round(x[:, 1])
    seen = random.integers(0, T, n)
    owner, step = np.repeat(np.arange(n), seen), np.concatenate([np.arange(1, k + 1) for k in seen])
    score = np.cumsum(random.standard_normal(len(owner)))
    return Curves(x, owner, step, score, np.zeros(n, dtype=bool), T, UNORDERED)


def some_theta(seed: int = 1) -> Hyper:
    centre, spread = prior(3)
    theta = centre + 0.5 * spread * np.random.default_rng(seed).standard_normal(len(centre))
    theta[-2:] = -2.0, 0.7
    return Hyper(theta)


def likelihood_of(curves: Curves) -> Likelihood:
    return Likelihood(Observed.of(curves, suited(curves).apply(curves.score)))


def whole(observed: Observed, hyper: Hyper, where: Where) -> tuple[np.ndarray, np.ndarray]:
    """The covariance (N + m, N + m) of data and places with the noise of both, written out; and the data z (N,)."""
    curve, place = np.nonzero(observed.seen)
    owner = np.concatenate([curve, where.owner])
    x = np.concatenate([observed.x[curve], where.x])
    step = np.concatenate([observed.step[curve, place], where.step])
    functions, activity = course(T)(step), observed.activity[owner]
    rho, _ = correlation(gaps(x, x, UNORDERED), hyper.lengths, UNORDERED)
    K = (functions @ hyper.mixing) @ (functions @ hyper.mixing).T * (1 + rho)
    level, drift, drift_length, sway, sway_length, calm, noise, settling = hyper.own
    tau, _ = drifted(step, float(T), calm)
    apart = np.abs(tau[:, None] - tau)
    r = math.sqrt(5) * apart / math.exp(sway_length)
    own = math.exp(2 * drift) * np.exp(-apart / math.exp(drift_length))
    own += math.exp(2 * sway) * (1 + r + r**2 / 3) * np.exp(-r)
    curves = np.concatenate([curve, where.named(len(observed.x))[1]])
    same = curves[:, None] == curves
    K += np.where(same, np.sqrt(activity)[:, None] * own + math.exp(2 * level), 0.0)
    K += np.diag(activity * np.exp(2 * (noise + settling * step / T)) + 1e-8)
    return K, observed.z[curve, place]


def test_the_likelihood_is_that_of_the_whole_matrix() -> None:
    likelihood, hyper = likelihood_of(curves_of()), some_theta()
    nowhere = Where(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0, dtype=int))
    K, z = whole(likelihood.observed, hyper, nowhere)
    expected = -0.5 * (z @ np.linalg.solve(K, z) + np.linalg.slogdet(K)[1] + len(z) * math.log(2 * math.pi))
    assert likelihood(hyper)[0] == pytest.approx(expected, abs=1e-5)
    assert likelihood.posterior(hyper).value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_its_slopes_are_those_of_its_values(seed: int) -> None:
    likelihood, theta = likelihood_of(curves_of(seed=seed)), some_theta(seed).theta
    _, slope = likelihood(Hyper(theta))
    for k in range(len(theta)):
        step = np.zeros_like(theta)
        step[k] = 1e-5
        change = likelihood(Hyper(theta + step))[0] - likelihood(Hyper(theta - step))[0]
        assert slope[k] == pytest.approx(change / 2e-5, abs=1e-3, rel=1e-5), k


def test_the_belief_is_that_of_the_whole_matrix() -> None:
    curves, hyper = curves_of(), some_theta()
    likelihood = likelihood_of(curves)
    where = Where(
        np.concatenate([curves.x[[0, 0, 3]], np.full((2, 3), 0.5)]),
        np.array([0, 0, 3, -1, -1]),
        np.array([T, T - 2, T, T, 3]),
    )
    belief = FreezeThawBelief(curves, suited(curves), likelihood, hyper)
    view = _View.of(belief, where)
    K, z = whole(likelihood.observed, hyper, where)
    N = len(z)
    solved = np.linalg.solve(K[:N, :N], np.column_stack([z, K[:N, N:]]))
    expected = K[N:, N:] - K[N:, :N] @ solved[:, 1:]
    assert view.mean == pytest.approx(K[N:, :N] @ solved[:, 0], abs=1e-6)
    assert view.sd(noisy=True) == pytest.approx(np.sqrt(expected.diagonal()), abs=1e-6)
    assert view.covariance == pytest.approx(expected, abs=1e-6)


def test_what_no_observation_says_anything_about_takes_no_rows() -> None:
    likelihood = likelihood_of(curves_of())
    posterior = likelihood.posterior(some_theta())
    seen = np.minimum(likelihood.observed.seen.sum(1), FUNCTIONS)
    assert len(posterior.rows) == seen.sum()


def test_a_long_curve_is_thinned_and_one_that_is_down_left_out() -> None:
    owner, step = np.repeat([0, 1], 500), np.tile(np.arange(1, 501), 2)
    score = np.where(owner == 1, -np.inf, np.sqrt(step))
    curves = Curves(np.zeros((2, 1)), owner, step, score, np.zeros(2, dtype=bool), 500, np.zeros(1, dtype=bool))
    observed = Observed.of(curves, suited(curves).apply(score))
    assert observed.seen.sum(1).tolist()[1:] == [0, 0]
    assert 8 <= observed.seen[0].sum() <= POINTS
    assert observed.x.shape == (3, 1)


@pytest.mark.parametrize("last", [1, 2, 3, 50, 100_000])
def test_courses_vanish_at_the_end(last: int) -> None:
    functions = course(last)(np.array([1.0, last]))
    assert np.isfinite(functions).all()
    assert functions[:, 0].tolist() == [1.0, 1.0]
    assert functions[1, 1:] == pytest.approx(np.zeros(FUNCTIONS - 1), abs=1e-6)


def test_where_curves_come_to_rest_they_drift_less_late() -> None:
    step = np.array([1.0, 7.0, 49.0, 50.0])
    plain, _ = drifted(step, 50.0, 0.0)
    assert plain == pytest.approx(np.log(step) / math.log(50), abs=1e-9)
    calm, slope = drifted(step, 50.0, 1.0)
    assert np.diff(calm)[-1] < 0.02 * np.diff(plain)[-1]
    assert slope == pytest.approx((drifted(step, 50.0, 1 + 1e-6)[0] - calm) / 1e-6, abs=1e-5)


def test_a_restless_curve_is_told_from_one_at_rest() -> None:
    random = np.random.default_rng(0)
    owner, step = np.repeat(np.arange(4), 12), np.tile(np.arange(1, 13), 4)
    score = np.where(owner < 2, 0.001, 0.5) * random.standard_normal(48) + owner
    curves = Curves(random.random((4, 1)), owner, step, score, np.zeros(4, dtype=bool), 20, np.zeros(1, dtype=bool))
    activity = likelihood_of(curves).observed.activity
    assert activity[:2].max() * 3 < activity[2:4].min()
    where = Where(curves.x, np.arange(4), np.full(4, 13))
    sd = FreezeThaw().fit(curves).at(where).sd
    assert sd[:2].max() * 3 < sd[2:].min()


def test_slopes_of_a_curve_of_its_own_belong_to_its_entries() -> None:
    hyper, random = some_theta(), np.random.default_rng(0)
    step, activity = np.array([[1.0, 4.0, 9.0], [2.0, 3.0, 15.0]]), np.array([0.5, 2.0])
    pull = random.standard_normal((2, 3, 3))
    pull += pull.transpose(0, 2, 1)

    def weighed(theta: np.ndarray) -> float:
        own = Own.at(Hyper(theta), step, float(T), activity)
        K = own.covariance()
        K[:, range(3), range(3)] += own.noise()
        return float((pull * K).sum())

    slopes = Own.at(hyper, step, float(T), activity).slopes(pull)
    for k in range(OWN):
        change = np.zeros_like(hyper.theta)
        change[k - OWN] = 1e-6
        expected = (weighed(hyper.theta + change) - weighed(hyper.theta - change)) / 2e-6
        assert slopes[k] == pytest.approx(expected, rel=1e-5, abs=1e-6)
