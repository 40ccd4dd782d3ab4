"""Train a network: python -m frazil_tuner.pfn.train --config curve-small --minutes 100 --resume DIR [--data DIR]

Every step draws studies that were never seen before and never will be again, so the loss that is logged is also the
loss of validation. The learning rate is a function of the share of the time that has passed: however fast the machine,
it is zero when the time is up. What a step draws depends on the seed and the number of the step alone, so a training
that was interrupted goes on as if it had not been.

DIR holds checkpoint.pt, log.jsonl, card.json and the weights, all of them written anew every minute.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import configs
from .bars import bars, surprise
from .configs import CONFIGS, Config
from .muon import Muon
from .network import Network
from .priors.draws import Draws
from .priors.prior import Prior, prior_of
from .priors.tables import load_tables, pool
from .studies import Tasks
from .weights import store

CHECKPOINT_SECONDS = 60.0
LINE_SECONDS = 5.0
COMPILE_SECONDS = 60
MEMORY = 300.0
"""Steps over which the weights that are kept are averaged."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done, seconds spent in all and those of them before the first step, what was seen, operations done."""

    step: int = 0
    spent: float = 0.0
    prepared: float = 0.0
    tasks: int = 0
    tokens: int = 0
    flop: float = 0.0


Course = Callable[[Progress], float]
"""The share of the training that is over: from 0 to 1."""


def by_time(minutes: float) -> Course:
    def share(progress: Progress) -> float:
        return (progress.spent - progress.prepared) / max(60.0 * minutes - progress.prepared, 1e-9)

    return share


def by_steps(steps: int) -> Course:
    return lambda progress: progress.step / steps


def rate(config: Config, share: float) -> float:
    """The learning rate: a line up to `config.rate` during the warm-up, then half a cosine to 0."""
    if share < config.warmup:
        return config.rate * max(share / config.warmup, 0.02)
    return config.rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, (share - config.warmup) / (1.0 - config.warmup))))


# ── a step ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Trainee:
    """What a training changes: the network, the mean of its recent weights, and the optimizers' memories."""

    network: Network
    mean: dict[str, Tensor]
    optimizers: tuple[torch.optim.Optimizer, ...]

    def state(self) -> dict[str, Any]:
        memories = [optimizer.state_dict() for optimizer in self.optimizers]
        return {"network": self.network.state_dict(), "mean": self.mean, "optimizers": memories}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        for name, tensor in state["mean"].items():
            self.mean[name].copy_(tensor)
        for optimizer, memory in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(memory)


def trainee(config: Config, device: torch.device) -> Trainee:
    torch.manual_seed(config.seed)
    network = Network(config.shape).to(device)
    mean = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return Trainee(network, mean, _optimizers(network, config.weight_decay))


def _optimizers(network: Network, weight_decay: float) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices of the layers, AdamW for all else: it needs half the steps of AdamW alone."""
    layers = [[p for p in block.parameters() if p.ndim > 1] for block in network.blocks]
    stacks = [
        {"params": list(stack), "parts": 3 if index == 0 else 1, "weight_decay": weight_decay}
        for index, stack in enumerate(zip(*layers, strict=True))  # queries, keys and values lie in one matrix
    ]
    taken = {id(p) for stack in layers for p in stack}
    others = [p for p in network.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    return Muon(stacks, lr=1e-3), torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)


class Stream:
    """The tasks of every step, drawn `portion` steps at a time; their length by the stage that the training is in."""

    def __init__(self, config: Config, prior: Prior, device: torch.device) -> None:
        self.config, self.prior = config, prior
        self.generator = torch.Generator(device=device)
        self.portion: Tasks | None = None
        self.number = -1

    def at(self, step: int, share: float) -> Tasks:
        number, index = divmod(step, self.config.portion)
        if number != self.number or self.portion is None:
            self.portion, self.number = self._drawn(number, share), number
        count = len(self.portion.target) // self.config.portion
        return self.portion.part(index * count, (index + 1) * count)

    def _drawn(self, number: int, share: float) -> Tasks:
        stage = [stage for stage in self.config.stages if stage.since <= share][-1]
        chance = random.Random(self.config.seed * 1_000_003 + number)  # noqa: S311
        (length,) = chance.choices(list(stage.lengths), list(stage.lengths.values()))
        self.generator.manual_seed(chance.getrandbits(48))
        count = self.config.portion * max(1, self.config.tokens // length)
        return self.prior(Draws(self.generator), count, length, max(1, length // 2), length == min(stage.lengths))


def learn(one: Trainee, tasks: Tasks, step: int, learning_rate: float, bf16: bool) -> tuple[Tensor, Tensor]:
    """One step of the optimizers, AdamW's half as long; the loss () and the logits.

    Gradients that are not finite change nothing, without asking the device whether they are.
    """
    loss, logits = loss_of(one.network, tasks, step, bf16)
    torch.autograd.backward(loss)
    norm = nn.utils.clip_grad_norm_(one.network.parameters(), 1.0)
    for optimizer in one.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate if isinstance(optimizer, Muon) else 0.5 * learning_rate
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
    one.network.zero_grad(set_to_none=True)
    keep = min(MEMORY / (MEMORY + 1.0), (1.0 + step) / (4.0 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(one.mean.values()), list(one.network.state_dict().values()), 1.0 - keep)
    return loss.detach(), logits.detach()


def loss_of(network: Network, tasks: Tasks, seed: int, bf16: bool) -> tuple[Tensor, Tensor]:
    """The mean surprise () at the answers, and the logits (B, m, bins)."""
    with torch.autocast(tasks.target.device.type, torch.bfloat16, enabled=bf16):
        logits = network(tasks.context, tasks.queries, seed)
    return surprise(network.shape.grid, logits, tasks.target).mean(), logits


def flop_of(network: Network, tasks: Tasks) -> float:
    """Operations of a step, forward and backward: 6 per weight and token, and 12 L n d per token for attention."""
    shape = network.shape
    asked, read = tasks.target.numel(), tasks.context.y.numel()
    blocks = sum(p.numel() for p in network.blocks.parameters())
    head = sum(p.numel() for part in (network.answer, network.logits) for p in part.parameters())
    attention = 12 * shape.layers * tasks.context.y.shape[1] * shape.width
    return (6.0 * blocks + attention) * (asked + read) + 6.0 * head * asked


# ── the machine ─────────────────────────────────────────────────────────────────────────────────────────────────────


def compile_parts(network: Network) -> None:
    """Fuse the halves of a layer; attention between them is fused already. One shape for all lengths of contexts."""
    network.project = torch.compile(network.project, dynamic=False)
    network.finish = torch.compile(network.finish, dynamic=False)


def prepare(one: Trainee, tasks: Tasks, bf16: bool) -> str:
    """Compile, if that works within COMPILE_SECONDS, else do without; a word on how it went."""
    plain = one.network.project, one.network.finish
    compile_parts(one.network)
    try:
        with _within(COMPILE_SECONDS):
            torch.autograd.backward(loss_of(one.network, tasks, 0, bf16)[0])
            _ = float(one.network.logits.bias.grad.sum())  # type: ignore[union-attr]  # waits for the device
    except Exception as reason:  # noqa: BLE001  whatever a compiler may raise, training goes on without it
        one.network.project, one.network.finish = plain
        return f"not compiled: {type(reason).__name__}: {str(reason)[:200]}"
    finally:
        one.network.zero_grad(set_to_none=True)
    return "compiled"


class _within:
    """Raises TimeoutError in the main thread after so many seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._late)
        signal.alarm(self.seconds)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)

    def _late(self, *_: object) -> None:
        raise TimeoutError(f"more than {self.seconds} s")


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Journal:
    """Gathers what steps report, on the device, and writes a line of it now and then."""

    def __init__(self, folder: Path, config: Config, start: Progress) -> None:
        self.path = folder / "log.jsonl"
        self.config = config
        self.sums: dict[int, Tensor] = {}
        self.counts: dict[int, int] = {}
        self.since = start

    def add(self, length: int, loss: Tensor) -> None:
        self.sums[length] = self.sums.get(length, torch.zeros_like(loss)) + loss
        self.counts[length] = self.counts.get(length, 0) + 1

    def due(self, progress: Progress) -> bool:
        return progress.spent - self.since.spent >= LINE_SECONDS

    def write(self, progress: Progress, share: float, learning_rate: float, tasks: Tasks, logits: Tensor) -> None:
        before = self.since
        seconds = max(progress.spent - before.spent, 1e-9)
        by_length = {str(n): round(float(self.sums[n]) / self.counts[n], 4) for n in sorted(self.sums)}
        entry = {
            "step": progress.step,
            "share": round(share, 4),
            "spent": round(progress.spent, 1),
            "loss": round(float(sum(self.sums.values())) / sum(self.counts.values()), 4),
            "loss_by_length": by_length,
            **coverage(self.config, tasks, logits),
            "tasks": progress.tasks,
            "tokens_per_s": round((progress.tokens - before.tokens) / seconds),
            "tflop_per_s": round((progress.flop - before.flop) / seconds / 1e12, 3),
            "rate": learning_rate,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        _show(self.config.name, entry)
        self.sums, self.counts, self.since = {}, {}, progress


def coverage(config: Config, tasks: Tasks, logits: Tensor) -> dict[str, float]:
    """Shares of the answers within the central 50 % and 90 % of what was believed."""
    belief = bars(config.shape.grid, logits)
    shares = {}
    for name, mass in (("in_50", 0.5), ("in_90", 0.9)):
        low, high = belief.interval(mass)
        shares[name] = round(float(((low <= tasks.target) & (tasks.target <= high)).float().mean()), 4)
    return shares


def _show(name: str, entry: Mapping[str, Any]) -> None:
    words = " ".join(f"{key} {entry[key]}" for key in ("step", "loss", "in_50", "in_90", "tokens_per_s", "tflop_per_s"))
    line = f"{name} {100 * entry['share']:5.1f} % {entry['spent']} s {words} {entry['loss_by_length']}"
    tty = sys.stdout.isatty()
    sys.stdout.write(f"\r{line}\033[K" if tty else f"{line}\n")
    sys.stdout.flush()


# ── the training ────────────────────────────────────────────────────────────────────────────────────────────────────


def train(
    config: Config,
    folder: Path,
    course: Course,
    *,
    device: torch.device,
    data: Path | None = None,
    compiled: bool = False,
    clock: Callable[[], float] = time.monotonic,
    stopped: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train until the course is over or `stopped()`, from where the folder's checkpoint stands; then store weights."""
    began = clock()
    folder.mkdir(parents=True, exist_ok=True)
    bf16 = device.type == "cuda"
    tables = [table for table in load_tables(data) if not table.held_out] if data else []
    prior = prior_of(config, pool(tables, device) if tables else None)
    stream = Stream(config, prior, device)
    one = trainee(config, device)
    progress = _restored(one, folder, device)
    words = prepare(one, stream.at(0, 0.0), bf16) if compiled else "eager"
    facts = {"device": _device_name(device), "torch": torch.__version__, "compiled": words,
             "tables": sorted({table.name for table in tables})}  # fmt: skip
    already = progress.spent
    ready = clock() - began
    progress = replace(progress, spent=already + ready, prepared=progress.prepared + ready)
    journal = Journal(folder, config, progress)
    kept = progress.spent
    while (share := course(progress)) < 1.0 and not stopped():
        tasks = stream.at(progress.step, share)
        loss, logits = learn(one, tasks, progress.step, rate(config, share), bf16)
        journal.add(tasks.context.y.shape[1], loss)
        progress = _advanced(progress, one.network, tasks, already + clock() - began)
        if journal.due(progress):
            journal.write(progress, share, rate(config, share), tasks, logits)
        if progress.spent - kept > CHECKPOINT_SECONDS:
            _keep(one, config, folder, progress, facts)
            kept = progress.spent
    _keep(one, config, folder, progress, facts)
    return progress


def _advanced(progress: Progress, network: Network, tasks: Tasks, spent: float) -> Progress:
    return replace(
        progress,
        step=progress.step + 1,
        spent=spent,
        tasks=progress.tasks + len(tasks.target),
        tokens=progress.tokens + tasks.target.numel() + tasks.context.y.numel(),
        flop=progress.flop + flop_of(network, tasks),
    )


def _restored(one: Trainee, folder: Path, device: torch.device) -> Progress:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return Progress()
    state = torch.load(path, map_location=device, weights_only=True)
    one.restore(state["trainee"])
    return Progress(**state["progress"])


def _keep(one: Trainee, config: Config, folder: Path, progress: Progress, facts: Mapping[str, Any]) -> None:
    """Checkpoint, weights and card; each file replaced at once, so that none is ever half written."""
    fresh = folder / "checkpoint.new"
    torch.save({"trainee": one.state(), "progress": asdict(progress)}, fresh)
    fresh.replace(folder / "checkpoint.pt")
    files = store(one.mean, config, folder)
    card = {
        "name": config.name,
        "parameters": sum(p.numel() for p in one.network.parameters()),
        "training": asdict(progress),
        **facts,
        "held_out": configs.HELD_OUT,
        "config": asdict(config),
        "files": [path.name for path in files],
    }
    fresh = folder / "card.new"
    fresh.write_text(json.dumps(card, indent=2) + "\n", "utf-8")
    fresh.replace(folder / "card.json")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def fitted(config: Config, tokens: int) -> Config:
    """The same training with fewer tokens per step, and a learning rate that suits."""
    return replace(config, tokens=tokens, rate=config.rate * (tokens / config.tokens) ** 0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", choices=sorted(CONFIGS), required=True)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--minutes", type=float, required=True, help="in all, earlier legs counted in")
    parser.add_argument("--resume", type=Path, required=True, metavar="DIR", help="where the training lives")
    parser.add_argument("--data", type=Path, help="tables of real curves to mix in")
    parser.add_argument("--tokens", type=int, help="observations per step; on a CPU 4096")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    options = parser.parse_args()
    name = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    device = torch.device(name)
    config = CONFIGS[options.config]
    config = fitted(config, options.tokens or (config.tokens if device.type == "cuda" else 4096))
    stop: list[int] = []
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    compiled = device.type == "cuda" and not options.eager
    course = by_time(options.minutes)
    train(
        config, options.resume, course,
        device=device, data=options.data, compiled=compiled, stopped=lambda: bool(stop),
    )  # fmt: skip


if __name__ == "__main__":
    main()
