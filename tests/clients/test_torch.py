"""Every optimizer that names a class is built, trains, and goes on exactly where it was saved."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import frazil
import frazil.torch as ours
from frazil_tuner.optimizers import Entry, catalogue
from frazil_tuner.schedules import Schedule

SCHEDULE = {"kind": "wsd", "peak": 1e-3, "total_steps": 2, "warmup": 0.1, "decay": 0.5}
BUILT = [entry for entry in catalogue().values() if entry.class_ and not entry.class_.startswith("apollo_torch")]
X = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
Y = (X @ torch.randn(12, 3, generator=torch.Generator().manual_seed(1))).argmax(1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


class Training:
    """A network with an optimizer and a schedule, trained as the entry needs it."""

    def __init__(self, entry: Entry, params: dict[str, Any] | None = None) -> None:
        self.needs, self.model = entry.needs, network()
        self.optimizer = ours.optimizer(entry.to_json(), params or {}, self.model)
        if "train/eval" in entry.needs:
            self.optimizer.train()  # type: ignore[attr-defined]
        self.scheduler = None if entry.schedule == "none" else ours.scheduler(self.optimizer, SCHEDULE, 10)

    def loss(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(X), Y)
        loss.backward(create_graph="create_graph" in self.needs)
        return loss

    def train(self, steps: int) -> float:
        loss = torch.tensor(math.nan)
        for _ in range(steps):
            if "two passes" in self.needs or "closure" not in self.needs:
                loss = self.loss()
            step = self.optimizer.step(self.loss) if "closure" in self.needs else self.optimizer.step()
            loss = step if step is not None else loss
            if self.scheduler:
                self.scheduler.step()
        return float(loss)

    def saved(self) -> list[Any]:
        parts = [self.model, self.optimizer, *([self.scheduler] if self.scheduler else [])]
        return [copy.deepcopy(part.state_dict()) for part in parts] + [torch.get_rng_state()]

    def resume(self, saved: list[Any]) -> None:
        parts = [self.model, self.optimizer, *([self.scheduler] if self.scheduler else [])]
        for part, state in zip(parts, saved[:-1], strict=True):
            part.load_state_dict(state)
        torch.set_rng_state(saved[-1])


@pytest.mark.parametrize("entry", BUILT, ids=lambda entry: entry.name)
def test_it_takes_twenty_steps_and_resumes_exactly(entry: Entry) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about themselves
        whole = Training(entry)
        whole.train(10)
        saved = whole.saved()
        assert math.isfinite(whole.train(10))
        again = Training(entry)
        again.resume(saved)
        again.train(10)
    assert all(torch.isfinite(parameter).all() for parameter in whole.model.parameters())
    if entry.resumes:
        for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
            assert torch.equal(one, other)
    started = list(network().parameters())
    moved = sum(float((a - b).abs().sum()) for a, b in zip(started, whole.model.parameters(), strict=True))
    assert moved > 0


def entry_json(name: str) -> dict[str, Any]:
    return catalogue()[name].to_json()


def test_what_was_suggested_is_what_it_is_built_with() -> None:
    params = {"optimizer": "adamw", "adamw_lr": 0.02, "adamw_weight_decay": 0.3, "beta1": 0.8}
    built = ours.optimizer(entry_json("adamw"), params, network())
    assert isinstance(built, torch.optim.AdamW)
    assert built.defaults["lr"] == 0.02
    assert built.defaults["betas"] == (0.8, 0.999)


def test_biases_and_norms_are_spared_weight_decay() -> None:
    built = ours.optimizer(entry_json("adamw"), {"weight_decay": 0.3}, network())
    assert [(group["weight_decay"], {p.ndim for p in group["params"]}) for group in built.param_groups] == [
        (0.3, {2}), (0.0, {1}),
    ]  # fmt: skip


def test_muon_takes_hidden_matrices_and_leaves_the_rest() -> None:
    built = ours.optimizer(entry_json("muon"), {"muon_lr": 0.03, "muon_adamw_lr": 0.001}, network())
    hidden, rest = built.param_groups
    assert [tuple(p.shape) for p in hidden["params"]] == [(16, 12), (16, 16)]
    assert (hidden["lr"], rest["lr"]) == (0.03, 0.001)
    assert (3, 16) in [tuple(p.shape) for p in rest["params"]]


def test_a_scheduler_multiplies_the_rates_of_all_groups() -> None:
    built = ours.optimizer(entry_json("muon"), {"muon_lr": 0.03, "muon_adamw_lr": 0.001}, network())
    scheduler = ours.scheduler(built, {"kind": "linear", "total_steps": 5}, steps_per_unit=4)
    for _ in range(10):
        built.step()
        scheduler.step()
    assert [group["lr"] for group in built.param_groups] == pytest.approx([0.015, 0.0005])
    asked = ours.lightning(built, SCHEDULE)["lr_scheduler"]
    assert (asked["interval"], asked["frequency"]) == ("step", 1)
    assert ours.hugging_face(built, SCHEDULE)[0] is built


def test_gradient_norms_are_of_all_gradients_together() -> None:
    model = network()
    assert ours.grad_norm(model) == 0.0
    nn.functional.cross_entropy(model(X), Y).backward()
    flat = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert ours.grad_norm(model) == pytest.approx(float(flat.norm()), rel=1e-5)
    assert ours.grad_norm(model, "l1") == pytest.approx(float(flat.abs().sum()), rel=1e-5)
    nn.functional.cross_entropy(model(X), Y).backward()
    assert ours.grad_norm(model, scale=2) == pytest.approx(float(flat.norm()), rel=1e-5)
    before = ours.grad_norm(model)
    nn.utils.clip_grad_norm_(model.parameters(), before / 10)
    assert ours.grad_norm(model) == pytest.approx(before / 10, rel=1e-4)


def test_noise_has_the_deviation_that_is_said_and_fades() -> None:
    model = nn.Linear(400, 400, bias=False)
    model.weight.grad = torch.zeros_like(model.weight)
    ours.add_gradient_noise(model, step=99, eta=0.04, gamma=0.5)
    assert float(model.weight.grad.std()) == pytest.approx(math.sqrt(0.04 / 10), rel=0.02)


def test_grokfast_amplifies_what_stays_and_is_resumed() -> None:
    model = nn.Linear(1, 1, bias=False)
    filter_ = ours.Grokfast(model, alpha=0.5, lamb=2.0)
    for gradient, expected in ((1.0, 3.0), (3.0, 3.0 + 2.0 * 2.0)):
        model.weight.grad = torch.full_like(model.weight, gradient)
        filter_()
        assert float(model.weight.grad) == pytest.approx(expected)
    again = ours.Grokfast(model, alpha=0.5, lamb=2.0)
    again.load_state_dict(filter_.state_dict())
    assert again.slow["weight"] == pytest.approx(2.0)


def trained(model: nn.Module, *, around: Any = None, steps: int = 1, lr: float = 0.1) -> nn.Module:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
        if around:
            around()
    return model


def test_lookahead_goes_a_share_of_the_way_every_k_steps() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    lookahead = ours.Lookahead(model, k=2, alpha=0.25)
    seen = []
    for _ in range(4):
        with torch.no_grad():
            model.weight.add_(1.0)
        lookahead()
        seen.append(model.weight.item())
    assert seen == pytest.approx([1.0, 0.25 * 2.0, 1.5, 0.5 + 0.25 * 2.0])


def test_lookahead_is_resumed_exactly_in_the_middle_of_its_steps() -> None:
    whole = network()
    trained(whole, around=ours.Lookahead(whole, k=3), steps=10)
    first = network()
    slow = ours.Lookahead(first, k=3)
    trained(first, around=slow, steps=4)
    second = network()
    second.load_state_dict(first.state_dict())
    resumed = ours.Lookahead(second, k=3)
    resumed.load_state_dict(copy.deepcopy(slow.state_dict()))
    trained(second, around=resumed, steps=6)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_sharpness_aware_steps_take_the_gradient_from_uphill_and_start_where_the_weights_were() -> None:
    model = nn.Linear(2, 1, bias=False)
    curvature, start = torch.tensor([1.0, 10.0]), torch.tensor([[3.0, 0.4]])
    with torch.no_grad():
        model.weight.copy_(start)

    def loss() -> torch.Tensor:
        return 0.5 * (curvature * model.weight**2).sum()

    loss().backward()
    with ours.SharpnessAware(model, rho=0.5):
        away = float((model.weight.detach() - start).norm())
        loss().backward()
    assert away == pytest.approx(0.5)
    assert torch.equal(model.weight.detach(), start)
    gradient = curvature * start
    uphill = curvature * (start + 0.5 * gradient / gradient.norm())
    assert torch.allclose(model.weight.grad, uphill)  # type: ignore[arg-type]


def test_weights_are_where_they_were_when_the_second_pass_fails() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    nn.functional.cross_entropy(model(X), Y).backward()
    with pytest.raises(RuntimeError, match="out of memory"), ours.SharpnessAware(model):
        raise RuntimeError("out of memory")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_sharpness_aware_bears_a_gradient_of_zero() -> None:
    model = nn.Linear(2, 1)
    (0.0 * model(torch.ones(1, 2))).sum().backward()
    with ours.SharpnessAware(model):
        assert torch.isfinite(model.weight).all()


def test_clipping_says_which_norm_there_was() -> None:
    model = network()
    nn.functional.cross_entropy(model(X), Y).backward()
    norm = ours.grad_norm(model)
    assert ours.clip(model, norm / 4) == pytest.approx(norm, rel=1e-5)
    assert ours.grad_norm(model) == pytest.approx(norm / 4, rel=1e-4)
    assert ours.clip(model, norm) == pytest.approx(norm / 4, rel=1e-4)
    assert ours.grad_norm(model) == pytest.approx(norm / 4, rel=1e-4)


@pytest.mark.parametrize(
    ("around", "words"),
    [
        (lambda model: ours.Lookahead(model, k=0), "1 or more"),
        (lambda model: ours.Lookahead(model, alpha=0.0), "alpha"),
        (lambda model: ours.SharpnessAware(model, rho=float("nan")), "rho"),
        (lambda model: ours.clip(model, 0.0), "most"),
    ],
)
def test_wrappers_refuse_what_makes_no_sense(around: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        around(network())


def noisy_norms(micro: int, count: int, signal: float, noise: float, rng: torch.Generator) -> tuple[list[float], float]:
    """Norms of micro-batch gradients, and of their mean, in 1 000 dimensions of which one has a mean."""
    g = noise / math.sqrt(micro) * torch.randn(count, 1000, generator=rng)
    g[:, 0] += signal
    return g.norm(dim=1).tolist(), float(g.mean(0).norm())


def test_a_batch_grows_until_its_gradient_stands_out_of_the_noise() -> None:
    rng = torch.Generator().manual_seed(0)
    growth = ours.BatchGrowth(32, 100_000, eta=0.5)
    for step in range(200):
        growth.observe(step, *noisy_norms(growth.batch // 8, 8, 1.0, 1.0, rng), growth.batch // 8)
    assert growth.batch == pytest.approx(1000 * (1 - 0.5**2) / 0.5**2, rel=0.25)
    batches = [batch for _, batch in growth.trajectory]
    assert batches == sorted(batches)
    small = ours.BatchGrowth(32, 64, eta=0.5)
    assert small.observe(0, *noisy_norms(4, 8, 1.0, 1.0, rng), 4) == 64
    calm = ours.BatchGrowth(32, 64, eta=0.5)
    assert calm.observe(0, *noisy_norms(4, 8, 1.0, 1e-3, rng), 4) == 32


def test_what_a_batch_did_is_replayed_as_a_schedule() -> None:
    growth = ours.BatchGrowth(32, 512)
    growth.trajectory = [(0, 32), (5, 48), (6, 100), (40, 512)]
    schedule = growth.schedule(100)
    assert Schedule.of(schedule).kind == "piecewise"
    replayed = [frazil.schedules.value(schedule, step) for step in (0, 4, 5, 6, 39, 40, 99)]
    assert replayed == [32, 32, 48, 100, 100, 512, 512]


@pytest.mark.parametrize(
    ("given", "words"), [((0, 8), "between 1"), ((16, 8), "between 1"), ((8, 16, 1.5), "never grows")]
)
def test_a_batch_that_cannot_grow_is_refused(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ours.BatchGrowth(*given)
    with pytest.raises(ValueError, match="two micro-batches"):
        ours.BatchGrowth(8, 16).observe(0, [1.0], 1.0, 8)


def test_what_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(ImportError, match="pip install apollo-torch"):
        ours.optimizer(entry_json("apollo"), {}, network())


def test_what_nobody_has_written_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="no well-kept implementation"):
        ours.optimizer(entry_json("sania"), {}, network())
