"""The priors draw what they promise, each repair among it, and the same again for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from frazil_tuner.pfn.configs import CONFIGS
from frazil_tuner.pfn.priors import curves as prior
from frazil_tuner.pfn.priors.curves import CHANCE_LEVEL, MOMENTS, Curves, draw_curves
from frazil_tuner.pfn.priors.draws import Draws, bent, inputs, nets
from frazil_tuner.pfn.priors.observed import prefixes, thinned
from frazil_tuner.pfn.priors.prior import prior_of
from frazil_tuner.pfn.priors.static import draw_studies, random_function, standardised
from frazil_tuner.pfn.priors.tables import Pool, Table, draw_real, load_tables, pool
from frazil_tuner.pfn.studies import COLUMNS, UNSEEN


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def runs() -> Curves:
    return draw_curves(draws(), 300, 40)


@pytest.fixture(scope="module")
def real() -> Pool:
    rng = np.random.default_rng(0)
    x = rng.random((60, 3), np.float32)
    level = 0.3 + 0.5 * x[:, :1] * (1 - np.exp(-np.arange(1, 52) / 10.0))[None]
    return pool(
        [Table(f"{family}{k}", family, x, (level + 0.01 * k).astype(np.float32)) for family in "ab" for k in range(2)],
        torch.device("cpu"),
    )


def final(runs):
    return runs.y.gather(2, (runs.moments - 1)[:, None, None].expand(-1, runs.y.shape[1], 1))[..., 0]


# ── curves ───────────────────────────────────────────────────────────────────


def test_curves_are_scores_at_ascending_times_that_end_at_one(runs):
    assert runs.y.shape == (300, 40, MOMENTS)
    assert runs.y.isfinite().all()
    assert runs.y.min() >= 0
    assert runs.y.max() <= 1
    for t, moments, steps in zip(runs.t, runs.moments, runs.steps, strict=True):
        meant = t[:moments]
        assert (meant.diff() > 0).all()
        assert meant[-1] == 1
        assert torch.allclose((meant * steps).round(), meant * steps, atol=1e-3)


def test_the_same_seed_draws_the_same_tasks():
    for name in ("curve-small", "static-small"):
        draw = prior_of(CONFIGS[name], None)
        one, two, other = (draw(draws(seed), 4, 32, 8, True) for seed in (5, 5, 6))
        assert torch.equal(one.target, two.target)
        assert torch.equal(one.context.x, two.context.x)
        assert not torch.equal(one.target, other.target)


def test_everything_is_made_on_the_device_of_the_generator(real):
    torch.set_default_device("meta")
    try:
        for name, tables in (("curve-small", real), ("static-small", None)):
            tasks = prior_of(CONFIGS[name], tables)(draws(), 8, 32, 8, True)
            assert tasks.target.device.type == "cpu"
    finally:
        torch.set_default_device(None)


def test_some_regions_diverge_to_zero_and_they_are_regions(runs):
    failed = final(runs) == 0
    share = failed.float().mean(1)
    assert 0.1 < (share > 0).float().mean() < 0.8
    assert (share < 0.9).float().mean() > 0.95
    early = runs.y[..., 0] == 0
    assert early.any(1).float().mean() > 0.05


def test_some_runs_turn_round_and_over_fit(runs):
    best = torch.stack([y[:, :m].amax(-1) for y, m in zip(runs.y, runs.moments, strict=True)])
    assert 0.05 < (best - final(runs) > 0.05).float().mean() < 0.5


def test_many_tasks_start_at_the_chance_level_of_a_loss(runs):
    near = (runs.y[..., 0] - CHANCE_LEVEL).abs().median(1).values < 0.03
    assert near.float().mean() > 0.1


def test_late_onset_keeps_a_run_at_its_start():
    late = prior._onset(draws(), torch.rand(400, 20, 1))
    assert 0.1 < (late.amax(1) > 0).float().mean() < 0.4
    assert late.max() < 1


def test_steps_of_the_learning_rate_lift_a_curve_at_once_and_for_all_runs_at_the_same_time():
    traits = prior._traits(draws(1), *inputs(draws(1), 64, 5))
    traits = replace(traits, jumps=torch.ones_like(traits.jumps) * 0.5)
    t = torch.linspace(0.01, 1, 200)[None, None].expand(64, 1, -1)
    flat = torch.zeros(64, 5, 200)
    lifted = prior._stepped(draws(2), traits, flat, t)
    gains = lifted.diff(dim=-1)
    assert (gains >= 0).all()
    assert (gains[..., :20] == 0).all()
    assert (lifted[..., -1] > 0.5 * traits.ceiling[:, :, 0]).all()
    assert torch.equal((gains > 0).any(1), (gains > 0).all(1))


def test_spikes_fall_and_are_rare():
    traits = prior._traits(draws(), *inputs(draws(), 300, 8))
    y = torch.full((300, 8, 51), 0.5)
    spiked = prior._spiked(draws(1), traits, y, torch.ones(300, 1, 51))
    hit = spiked < y
    assert 0.03 < hit.any(2).any(1).float().mean() < 0.3
    assert hit.float().mean() < 0.05
    assert (spiked <= y).all()


def test_noise_shrinks_towards_the_end_where_the_learning_rate_does():
    t = torch.linspace(0.05, 1, 20)
    assert (prior.annealed(t).diff() > 0).all()
    assert torch.allclose(prior.annealed(torch.tensor([0.0, 1.0])), torch.tensor([0.0, 1.0]), atol=1e-6)
    runs = draw_curves(draws(3), 400, 30, 51)
    wobble = runs.y.diff(n=2, dim=-1).abs()
    early, late = wobble[..., 10:20].mean((1, 2)), wobble[..., -4:].mean((1, 2))
    assert ((late < 0.3 * early) & (early > 1e-4)).float().mean() > 0.15


def test_some_tasks_have_replicates_with_other_outcomes():
    x = prior._with_replicates(draws(), torch.rand(300, 20, COLUMNS))
    distinct = torch.tensor([len(torch.unique(task, dim=0)) for task in x])
    assert 0.03 < (distinct < 20).float().mean() < 0.25


def test_starts_differ_by_configuration_in_some_tasks():
    start, ceiling = prior._range(draws(), torch.randn(500, 10, 1))
    assert 0.1 < (start.std(1) > 0.003).float().mean() < 0.35
    assert ceiling.shape == (500, 1, 1)


# ── inputs ───────────────────────────────────────────────────────────────────


def test_inputs_have_one_to_sixteen_columns_levels_and_categories():
    x, active = inputs(draws(), 400, 30)
    assert x.min() >= 0
    assert x.max() <= 1
    assert set(active.sum(1).tolist()) == set(range(1, 17))
    hot = (x.isclose(torch.tensor(0.5**0.5)) | (x == 0)) & active[:, None]
    assert 0.05 < (hot.all(1).sum(1) >= 2).float().mean() < 0.3


def test_near_configurations_have_near_numbers_and_all_are_standard_normal():
    x, active = inputs(draws(), 600, 3)
    net = nets(draws(1), 600, active, 5)
    z = net(x)
    assert abs(float(z.mean())) < 0.1
    assert abs(float(z.std()) - 1) < 0.1
    near = net(x + 1e-3)
    assert (z - near).abs().mean() < 0.1 * (z[:, :1] - z[:, 1:2]).abs().mean()


def test_some_inputs_are_irrelevant():
    active = torch.ones(200, COLUMNS, dtype=torch.bool)
    first = nets(draws(), 200, active, 2).first
    assert 0.2 < (first.abs().sum(-1) == 0).float().mean() < 0.4


def test_bending_keeps_order_and_ends():
    u = torch.linspace(0, 1, 101)
    for a, b in ((0.3, 3.0), (3.0, 0.3), (1.0, 1.0)):
        y = bent(u, torch.tensor(a), torch.tensor(b))
        assert y[0] == 0
        assert y[-1] == 1
        assert (y.diff() >= 0).all()
    assert torch.allclose(y, u, atol=1e-6)


# ── who was observed ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("length", [16, 128, 512, 1024])
def test_contexts_are_full_and_questions_are_about_what_was_not_seen(length, real):
    tasks = prior_of(CONFIGS["curve-small"], real)(draws(), 6, length, 24, False)
    context, queries = tasks.context, tasks.queries
    assert context.y.shape == (6, length)
    for b in range(6):
        pairs = set(zip(context.curve[b].tolist(), context.t[b].tolist(), strict=True))
        assert len(pairs) == length
        for run, t in zip(queries.curve[b].tolist(), queries.t[b].tolist(), strict=True):
            if run == UNSEEN:
                continue
            assert t > max(when for other, when in pairs if other == run)
    assert 0 < (queries.curve == UNSEEN).float().mean() < 0.8
    assert (queries.t == 1).float().mean() > 0.5
    assert int(context.curve.max()) < length


def test_padded_contexts_have_one_observation_at_least_and_know_their_curves():
    tasks = prior_of(CONFIGS["curve-small"], None)(draws(), 200, 64, 10, True)
    count = tasks.context.present.sum(1)
    assert count.min() >= 1
    assert (count < 8).float().mean() > 0.25
    assert (count > 32).float().mean() > 0.1
    for b in range(200):
        known = set(tasks.context.curve[b, : count[b]].tolist())
        assert set(tasks.queries.curve[b].tolist()) <= known | {UNSEEN}


def test_thinning_keeps_first_last_best_and_is_denser_at_the_start():
    y = torch.linspace(0, 1, 51)[None, None].clone()
    y[..., 33] = 2.0
    kept = thinned(y, torch.tensor([[40]]), torch.tensor([[[8]]]))[0, 0].nonzero()[:, 0].tolist()
    assert {0, 33, 39} <= set(kept)
    assert max(kept) == 39
    assert 6 <= len(kept) <= 11
    everything = thinned(y, torch.tensor([[40]]), torch.tensor([[[MOMENTS * MOMENTS]]]))
    assert int(everything.sum()) == 40


def test_better_runs_are_granted_more_in_some_tasks():
    runs = draw_curves(draws(), 300, 40, 30)
    granted = prefixes(draws(1), runs, 40).float()
    rank = final(runs).argsort(1).argsort(1).float()
    together = [float(np.corrcoef(g, r)[0, 1]) for g, r in zip(granted.numpy(), rank.numpy(), strict=True)]
    assert 0.2 < np.mean(np.array(together) > 0.5) < 0.5
    assert granted.min() >= 1
    assert (granted <= runs.moments[:, None]).all()


# ── real curves ──────────────────────────────────────────────────────────────


def test_real_tasks_mix_tables_of_one_family_and_sometimes_show_them_as_they_are(real):
    drawn = draw_real(draws(), real, 400, 10)
    assert drawn.y.shape == (400, 10, MOMENTS)
    assert drawn.y.min() >= 0
    assert drawn.y.max() <= 1
    assert (drawn.steps >= 8).all()
    originals = {round(float(v), 4) for v in real.y[..., 0].flatten()}
    first = [round(float(v), 4) for v in drawn.y[:, 0, 0]]
    assert 5 < sum(value in originals for value in first) < 200


def test_tables_are_read_by_rank_and_those_for_acceptance_are_marked(tmp_path):
    rng = np.random.default_rng(0)
    for family, name in (("lcbench", "adult"), ("lcbench", "higgs"), ("taskset", "x_VRNN64_tanh_avg_bs128")):
        (tmp_path / family).mkdir(exist_ok=True)
        losses = rng.uniform(0.5, 1.5, (30, 52))
        losses[3, 10] = np.nan
        metric = "Y" if family == "lcbench" else "Y_valid"
        np.savez(tmp_path / family / f"{name}.npz", X=rng.random((30, 4)) * 100, **{metric: losses})
    tables = load_tables(tmp_path)
    assert [table.held_out for table in tables] == [False, True, True]
    assert tables[0].x.min() > 0
    assert tables[0].x.max() < 1
    assert tables[0].y.shape == (30, 51)
    assert tables[0].y[3, 9] == 0


# ── black boxes ──────────────────────────────────────────────────────────────


def test_outcomes_are_standardised_by_their_context():
    tasks = draw_studies(draws(), 200, 64, 16, False)
    assert tasks.context.y.mean(1).abs().max() < 1e-4
    deviation = tasks.context.y.std(1, correction=0)
    assert (deviation.isclose(torch.ones(200), atol=1e-3) | (deviation == 0)).all()
    assert (deviation == 0).float().mean() < 0.05
    assert tasks.target.isfinite().all()
    assert (tasks.target.abs() > 5).float().mean() < 0.05


def test_standardising_agrees_with_the_outcomes_of_the_server():
    from frazil_tuner.numerics import tame

    scores = np.random.default_rng(0).normal(3.0, 2.0, 40)
    scores[5] = 900.0
    taming = tame(scores)
    y, other = standardised(torch.tensor(scores)[None], torch.tensor([[1.0, 5000.0]]).double(), None)
    assert np.allclose(y[0], taming.apply(scores), atol=1e-5)
    assert np.allclose(other[0], taming.apply(np.array([1.0, 5000.0])), atol=1e-4)


def test_one_observation_and_constant_ones_are_standardised_to_zero():
    y, other = standardised(torch.full((1, 3), 7.0), torch.tensor([[8.0]]), None)
    assert torch.equal(y, torch.zeros(1, 3))
    assert float(other) == 1
    padded, _ = standardised(torch.tensor([[2.0, 99.0]]), torch.tensor([[2.0]]), torch.tensor([[True, False]]))
    assert torch.equal(padded, torch.zeros(1, 2))


def test_functions_vary_with_their_relevant_columns_and_draws_differ():
    x, active = inputs(draws(), 300, 40)
    values = random_function(draws(1), 300, active)(x)
    assert values.shape == (300, 40)
    assert values.isfinite().all()
    assert (values.std(1) > 1e-3).float().mean() > 0.85


def test_some_black_boxes_are_almost_noiseless_and_some_mostly_noise():
    tasks = draw_studies(draws(2), 400, 48, 48, False)
    assert tasks.queries.noiseless.float().mean() == pytest.approx(0.5, abs=0.05)
