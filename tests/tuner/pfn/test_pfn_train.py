"""A training learns, ends in time, goes on where it stopped, and leaves weights that can be loaded."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from frazil_tuner.pfn import evaluate
from frazil_tuner.pfn.configs import CONFIGS, OUTCOMES, SCORES, Shape, Stage
from frazil_tuner.pfn.manifest import Damaged, shipped
from frazil_tuner.pfn.muon import orthogonal
from frazil_tuner.pfn.network import Network
from frazil_tuner.pfn.priors.tables import Table
from frazil_tuner.pfn.train import Progress, Stream, by_steps, by_time, learn, loss_of, prior_of, rate, train, trainee
from frazil_tuner.pfn.weights import load, read, store, write_manifest

CPU = torch.device("cpu")
SHAPE = Shape("curve", 32, 64, 2, 2, replace(SCORES, bins=50), identity=8)
STAGES = (Stage(0.0, {16: 0.5, 32: 0.5}), Stage(0.5, {32: 1.0}))
TINY = replace(CONFIGS["curve-small"], shape=SHAPE, stages=STAGES, tokens=512, portion=2, rate=1e-2)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def ticking():
    """A clock that shows ten seconds more whenever it is read, so that every step is logged."""
    now = [0.0]

    def clock():
        now[0] += 10.0
        return now[0]

    return clock


@pytest.mark.parametrize("kind", ["curve", "static"])
def test_sixty_steps_make_the_surprise_smaller(kind):
    shape = SHAPE if kind == "curve" else replace(SHAPE, kind="static", grid=replace(OUTCOMES, bins=50))
    config = replace(TINY, shape=shape)
    stream, one = Stream(config, prior_of(config, None), CPU), trainee(config, CPU)
    frozen = stream.at(10_000, 1.0)
    before = float(loss_of(one.network, frozen, 0, False)[0].detach())
    for step in range(60):
        learn(one, stream.at(step, step / 60), step, rate(config, step / 60), False)
    assert float(loss_of(one.network, frozen, 0, False)[0].detach()) < before - 0.15


def test_a_training_that_was_interrupted_goes_on_as_if_it_had_not_been(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(TINY, whole, by_steps(8), device=CPU, clock=ticking())
    steps = iter([False] * 3 + [True] * 9)
    train(TINY, parts, by_steps(8), device=CPU, clock=ticking(), stopped=lambda: next(steps))
    assert json.loads((parts / "card.json").read_text())["training"]["step"] == 3
    done = train(TINY, parts, by_steps(8), device=CPU, clock=ticking())
    assert done.step == 8
    assert losses(parts) == losses(whole)
    one, two = (read([folder / "curve-small.safetensors"]).state_dict() for folder in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_time_that_earlier_legs_took_is_counted_and_preparing_is_not(tmp_path):
    assert by_time(1.0)(Progress(spent=30.0)) == 0.5
    assert by_time(1.0)(Progress(spent=30.0, prepared=20.0)) == 0.25
    done = train(TINY, tmp_path, by_time(1.0), device=CPU, clock=ticking())
    again = train(TINY, tmp_path, by_time(1.0), device=CPU, clock=ticking())
    assert 2 <= done.step <= 6
    assert again.step - done.step <= 1


def test_the_learning_rate_rises_and_then_falls_to_zero():
    rates = [rate(TINY, share / 100) for share in range(101)]
    assert max(rates) == pytest.approx(TINY.rate, rel=1e-3)
    assert rates.index(max(rates)) == 3
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_gradients_that_are_not_finite_change_nothing():
    one = trainee(TINY, CPU)
    tasks = Stream(TINY, prior_of(TINY, None), CPU).at(0, 0.0)
    broken = replace(tasks, context=replace(tasks.context, y=tasks.context.y * torch.nan))
    before = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    learn(one, broken, 0, 1e-2, False)
    assert all(torch.equal(before[name], tensor) for name, tensor in one.network.state_dict().items())
    learn(one, tasks, 1, 1e-2, False)
    assert not torch.equal(before["logits.weight"], one.network.logits.weight)


def test_bfloat16_gives_about_the_same_loss():
    one = trainee(TINY, CPU)
    tasks = Stream(TINY, prior_of(TINY, None), CPU).at(0, 0.0)
    exact, rough = (float(loss_of(one.network, tasks, 0, bf16)[0].detach()) for bf16 in (False, True))
    assert rough == pytest.approx(exact, abs=0.05)


def test_contexts_grow_with_the_stages():
    stream = Stream(TINY, prior_of(TINY, None), CPU)
    early = {stream.at(step, 0.0).context.y.shape for step in range(24)}
    late = {stream.at(step, 0.6).context.y.shape for step in range(24, 28)}
    assert early == {(32, 16), (16, 32)}
    assert late == {(16, 32)}


# ── weights ──────────────────────────────────────────────────────────────────


def test_weights_that_were_changed_are_refused_by_name(tmp_path):
    paths = store(Network(SHAPE).state_dict(), TINY, tmp_path)
    write_manifest(tmp_path)
    assert shipped(tmp_path) == ["curve-small"]
    assert load("curve-small", tmp_path).shape == SHAPE
    content = bytearray(paths[0].read_bytes())
    content[-1] ^= 1
    paths[0].write_bytes(content)
    with pytest.raises(Damaged, match=r"curve-small\.safetensors are damaged"):
        load("curve-small", tmp_path)
    paths[0].unlink()
    with pytest.raises(Damaged, match="cannot be read"):
        load("curve-small", tmp_path)


def test_large_networks_are_stored_in_several_files_and_in_bfloat16(tmp_path, monkeypatch):
    monkeypatch.setattr("frazil_tuner.pfn.weights.MOST_BYTES", 20_000)
    network = Network(SHAPE)
    paths = store(network.state_dict(), replace(TINY, stored="bfloat16"), tmp_path)
    assert len(paths) > 1
    again = read(paths).state_dict()
    assert all(torch.equal(again[k], v.bfloat16().float()) for k, v in network.state_dict().items())


# ── the commands ─────────────────────────────────────────────────────────────


def test_the_command_trains_without_the_rest_of_frazil(tmp_path):
    code = (
        "import sys, runpy; sys.argv = ['train', '--config', 'static-small', '--device', 'cpu', '--minutes', '0.02',"
        f" '--tokens', '256', '--resume', {str(tmp_path)!r}];"
        "runpy.run_module('frazil_tuner.pfn.train', run_name='__main__');"
        "print(sorted(set(sys.modules) & {'scipy', 'sklearn', 'optuna', 'pydantic', 'fastapi'}))"
    )
    tuner = Path(__file__).parents[3] / "tuner"
    environment = {**os.environ, "PYTHONPATH": str(tuner), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert read([tmp_path / "static-small.safetensors"]).shape.kind == "static"


def test_evaluation_asks_for_the_last_epoch_of_every_curve_in_the_context():
    import numpy as np

    rng = np.random.default_rng(0)
    y = np.sort(rng.random((80, 51), np.float32), 1)
    table = Table("t", "f", rng.random((80, 3), np.float32), y)
    question = evaluate.ask(table, 100, np.random.default_rng(1))
    assert question.context.y.shape == (1, 100)
    assert int(question.context.curve.max()) + 1 == len(question.target)
    assert set(question.target.tolist()) <= set(y[:, -1].tolist())
    assert (question.last <= question.target).all()
    torch.manual_seed(0)
    found = list(evaluate.scores(Network(SHAPE), [table], (50, 100), contexts=2))
    assert [score.n for score in found] == [50, 50, 100, 100]
    assert all(0 <= score.covered <= 1 and score.seconds > 0 for score in found)
    (short, long) = evaluate.summary(found)
    assert short["contexts"] == 2
    assert long["mse_last"] == pytest.approx(np.mean([score.mse_last for score in found[2:]]), abs=1e-5)
    thin = evaluate.ask(table, 100, np.random.default_rng(1), cells=6)
    assert thin.context.y.shape[1] < 100
    assert torch.equal(thin.last, question.last)


def test_draws_are_named_by_step_and_seed_alone():
    stream, other = (Stream(TINY, prior_of(TINY, None), CPU) for _ in range(2))
    seen = [stream.at(step, 0.0).target for step in range(8)]
    assert torch.equal(other.at(7, 0.0).target, seen[7])
    assert torch.equal(other.at(2, 0.0).target, seen[2])
    assert not any(torch.equal(seen[2], seen[step]) for step in (1, 3, 4))


def test_an_orthogonal_update_has_the_directions_of_the_gradient_and_singular_values_near_one():
    gradients = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for matrices in (gradients, gradients.mT):
        update = orthogonal(matrices)
        u, _, v = torch.linalg.svd(matrices, full_matrices=False)
        inner = u.mT @ update @ v.mT
        singular = torch.diagonal(inner, dim1=1, dim2=2)
        assert singular.min() > 0.6
        assert singular.max() < 1.3
        assert (inner - torch.diag_embed(singular)).abs().max() < 1e-3
