"""What was suggested, built for PyTorch. Importing this needs torch: `pip install 'frazil[torch]'`.

optimizer = trial.optimizer(model)                      # or frazil.torch.optimizer(entry, params, model)
scheduler = trial.scheduler(optimizer, steps_per_unit=len(loader))
norm = frazil.torch.grad_norm(model)                    # after backward(), before clipping
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .schedules import Multiplier, Schedule

Entry = Mapping[str, Any]
"""An optimizer as `GET /optimizers/{name}` describes it."""

PACKAGES = {"pytorch_optimizer": "pytorch-optimizer", "apollo_torch": "apollo-torch", "torch": "torch"}
"""What installs a module."""

LOW_RANK = {"rank": 16, "update_proj_gap": 200, "scale": 0.25, "projection_type": "std"}
"""Of GaLore's groups."""


def optimizer(entry: Entry, params: Mapping[str, Any], model: nn.Module) -> Optimizer:
    """The optimizer that `params` name, with parameter groups as people expect them.

    Weight decay spares biases and the parameters of norms: whatever has fewer than two dimensions. Muon takes the
    matrices of hidden layers, and AdamW the rest. What `params` leave out is at its default.

    Raises ImportError with the package to install, and ValueError where no class implements the optimizer.
    """
    if entry["class"] is None:
        raise ValueError(f"{entry['name']} cannot be built: {entry['why']}")
    arguments = _arguments(entry, params)
    groups, arguments = GROUPS[entry["groups"]](model, arguments)
    built: Optimizer = _imported(entry["class"])(groups, **arguments)
    return built


def scheduler(optimizer: Optimizer, schedule: Schedule | Multiplier, steps_per_unit: float = 1.0) -> LambdaLR:
    """A scheduler to step after every step of the optimizer; `steps_per_unit` of these are a step of the study's.

    The groups keep their ratios. It needs no state of its own: on resuming, `last_epoch` is set by `load_state_dict`.
    """
    inner = getattr(optimizer, "base_optimizer", optimizer)  # SAM has the groups of the optimizer within
    return LambdaLR(inner, schedule if isinstance(schedule, Multiplier) else Multiplier(schedule, steps_per_unit))


def lightning(optimizer: Optimizer, schedule: Schedule, steps_per_unit: float = 1.0) -> dict[str, Any]:
    """What `configure_optimizers` of Lightning returns: the scheduler is asked after every step, not every epoch."""
    asked = {"scheduler": scheduler(optimizer, schedule, steps_per_unit), "interval": "step", "frequency": 1}
    return {"optimizer": optimizer, "lr_scheduler": asked}


def hugging_face(optimizer: Optimizer, schedule: Schedule, steps_per_unit: float = 1.0) -> tuple[Optimizer, LambdaLR]:
    """What `Trainer(optimizers=…)` of Hugging Face takes."""
    return optimizer, scheduler(optimizer, schedule, steps_per_unit)


def grad_norm(model: nn.Module | Iterable[Tensor], norm: Literal["l2", "l1"] = "l2", *, scale: float = 1.0) -> float:
    """The norm of all gradients together, as they are: ask before clipping, and after the last accumulated backward().

    `scale` is what they were multiplied by: a loss scale, or the number of accumulated batches whose losses were not
    averaged. l2 is what SGD's schedules are refined by, l1 Adam's. 0 where nothing has a gradient; one transfer from
    the device.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else model
    gradients = [p.grad.detach() for p in parameters if p.grad is not None]
    if not gradients:
        return 0.0
    order = 2.0 if norm == "l2" else 1.0
    each = torch._foreach_norm(gradients, order, dtype=torch.float32)
    return float(torch.linalg.vector_norm(torch.stack([part.to(each[0].device) for part in each]), order)) / scale


def add_gradient_noise(model: nn.Module, step: int, eta: float = 0.01, gamma: float = 0.55) -> None:
    """Adds normal noise of variance eta / (1 + step)^gamma to every gradient, between backward() and the step.

    Neelakantan et al. 2015 (arXiv 1511.06807), eq. (1).
    """
    sd = math.sqrt(eta / (1 + step) ** gamma)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.add_(torch.randn_like(parameter.grad), alpha=sd)


class Grokfast:
    """Amplifies what changes slowly in the gradients, around any optimizer: call it between backward() and the step.

        h = α h + (1 - α) g,   g + λ h                       Lee et al. 2024 (arXiv 2405.20233), algorithm 2

    Its state goes into the checkpoint: `state_dict`, `load_state_dict`.
    """

    def __init__(self, model: nn.Module, alpha: float = 0.98, lamb: float = 2.0) -> None:
        self.model, self.alpha, self.lamb = model, alpha, lamb
        self.slow: dict[str, Tensor] = {}

    def __call__(self) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                slow = self.slow.setdefault(name, parameter.grad.detach().clone())
                slow.mul_(self.alpha).add_(parameter.grad, alpha=1 - self.alpha)
                parameter.grad.add_(slow, alpha=self.lamb)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: slow.clone() for name, slow in self.slow.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.slow = {name: slow.clone() for name, slow in state.items()}


class Lookahead:
    """Slow weights φ behind the weights θ of any optimizer: call it after every step of the optimizer.

        φ = φ + α (θ - φ),   θ = φ        every k steps              Zhang et al. 2019 (arXiv 1907.08610), algorithm 1

    Its state goes into the checkpoint: `state_dict`, `load_state_dict`.
    """

    def __init__(self, model: nn.Module, k: int = 5, alpha: float = 0.5) -> None:
        if k < 1:
            raise ValueError(f"k must be 1 or more steps, not {k}")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must lie in (0, 1], not {alpha}")
        self.model, self.k, self.alpha = model, k, alpha
        self.steps = 0
        self.slow = {name: parameter.detach().clone() for name, parameter in _trained(model)}

    @torch.no_grad()
    def __call__(self) -> None:
        self.steps += 1
        if self.steps % self.k == 0:
            for name, parameter in _trained(self.model):
                self.slow[name].lerp_(parameter, self.alpha)
                parameter.copy_(self.slow[name])

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "slow": {name: slow.clone() for name, slow in self.slow.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
        self.slow = {name: slow.clone() for name, slow in state["slow"].items()}


class SharpnessAware:
    """Gradients from where the loss is worst nearby, for any optimizer: g(w + ρ g / ‖g‖₂) in place of g(w).

        loss(model).backward()
        with sharpness:                 # the weights are moved; gradients are cleared
            loss(model).backward()      # of the same batch
        optimizer.step()                # from where the weights were

    Foret et al. 2021 (arXiv 2010.01412), eqs. (2) and (3). Between two steps it has no state. Costs a second pass.
    """

    def __init__(self, model: nn.Module, rho: float = 0.05) -> None:
        if not rho > 0:
            raise ValueError(f"rho must be above 0, not {rho}")
        self.model, self.rho = model, rho
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    @torch.no_grad()
    def __enter__(self) -> SharpnessAware:
        norm = grad_norm(self.model)
        for _, parameter in _trained(self.model):
            if parameter.grad is not None:
                self._before.append((parameter, parameter.detach().clone()))
                if norm > 0:
                    parameter.add_(parameter.grad, alpha=self.rho / norm)
                parameter.grad = None
        return self

    @torch.no_grad()
    def __exit__(self, *failure: object) -> None:
        for parameter, before in self._before:
            parameter.copy_(before)
        self._before.clear()


def clip(model: nn.Module, most: float) -> float:
    """Scales all gradients together so that their l2 norm is at most `most`; returns the norm that they had, which is
    the one to report as `grad_norm`. Between backward() and the step.
    """
    if not most > 0:
        raise ValueError(f"most must be above 0, not {most}")
    return float(nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], most))


class BatchGrowth:
    """Grows the batch where gradients are mostly noise, by the norm test, from the gradients g_j of J ≥ 2 micro-batches
    of m samples each, as accumulation or data-parallel ranks have them; eight tell the variance within 7 %.

        tr Σ ≈ m / (J - 1) (Σ_j ‖g_j‖² - J ‖g‖²),   g = mean g_j,   b ← ⌈tr Σ / (η² ‖g‖²)⌉ unless tr Σ / b ≤ η² ‖g‖²

    Byrd et al. 2012; Lau et al. 2024 (AdAdaGrad, arXiv 2402.11215). A batch never shrinks, and never exceeds `most`.
    Both sums are running means over about `memory` tests. Scale the learning rate with the batch.
    """

    def __init__(self, batch: int, most: int, eta: float = 0.5, memory: float = 5.0) -> None:
        if not 1 <= batch <= most:
            raise ValueError(f"batch must lie between 1 and most, {most}, not {batch}")
        if not 0 < eta < 1:
            raise ValueError(f"eta must lie between 0 and 1, not {eta}: from 1 on the batch never grows")
        self.batch, self.most, self.eta, self.memory = batch, most, eta, memory
        self.trajectory: list[tuple[int, int]] = [(0, batch)]
        self._trace = self._signal = 0.0

    def observe(self, step: int, micro_norms: Sequence[float], norm: float, micro_batch: int) -> int:
        """The batch to go on with: `micro_norms` are the ‖g_j‖, `norm` is ‖g‖, l2 norms at one step."""
        count = len(micro_norms)
        if count < 2:
            raise ValueError("the test takes the gradients of two micro-batches or more; eight are good")
        trace = micro_batch / (count - 1) * (sum(n * n for n in micro_norms) - count * norm * norm)
        keep = 1 - 1 / self.memory
        self._trace = keep * self._trace + max(trace, 0.0)
        self._signal = keep * self._signal + norm * norm
        wanted = self._trace / (self.eta**2 * self._signal) if self._signal else self.batch
        if wanted > self.batch:
            self.batch = min(math.ceil(wanted), self.most)
            if self.batch > self.trajectory[-1][1]:
                self.trajectory.append((step, self.batch))
        return self.batch

    def schedule(self, total_steps: int) -> dict[str, Any]:
        """What was done as a schedule, to be reported or replayed: `frazil.schedules.value(schedule, step)`."""
        points: list[list[float]] = []
        for step, batch in self.trajectory:
            if points and step - 1 > points[-1][0]:
                points.append([step - 1, points[-1][1]])
            points.append([step, batch / self.trajectory[0][1]])
        return {
            "kind": "piecewise", "points": points, "peak": self.trajectory[0][1], "round": 1,
            "total_steps": total_steps,
        }  # fmt: skip


# ── what a class is called with ──────────────────────────────────────────────────────────────────────────────────────


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        package = PACKAGES.get(module.partition(".")[0], module)
        raise ImportError(f"{path} is not installed here: pip install {package}") from None


def _arguments(entry: Entry, params: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments: constants, and of each hyperparameter what was suggested or its default."""
    arguments: dict[str, Any] = {}
    for name, value in entry["constants"].items():
        arguments[name] = _imported(value) if name == "base_optimizer" else value
    places: dict[str, dict[int, float]] = {}
    for tuned in entry["parameters"]:
        value = params.get(f"{entry['name']}_{tuned['name']}", params.get(tuned["name"], tuned["default"]))
        argument, _, place = tuned["argument"].partition(".")
        if place:
            places.setdefault(argument, {})[int(place)] = value
        else:
            arguments[argument] = value
    for argument, values in places.items():
        arguments[argument] = tuple(values[place] for place in sorted(values))
    return arguments


Groups = tuple[Any, dict[str, Any]]


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def _split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Those with weight decay, and those without: biases and the parameters of norms."""
    parameters = [parameter for _, parameter in _trained(model)]
    return [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]


def _by_decay(model: nn.Module, arguments: dict[str, Any]) -> Groups:
    decayed, spared = _split(model)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    if "weight_decay" not in arguments:
        return [parameter for _, parameter in _trained(model)], arguments
    return [group for group in groups if group["params"]], arguments


def _as_one(model: nn.Module, arguments: dict[str, Any]) -> Groups:
    return [parameter for _, parameter in _trained(model)], arguments


def _for_muon(model: nn.Module, arguments: dict[str, Any]) -> Groups:
    """Matrices of hidden layers, and all else: embeddings, the last layer, biases, norms."""
    embedded = {id(p) for part in model.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
    trained = [parameter for _, parameter in _trained(model)]
    matrices = [p for p in trained if p.ndim >= 2 and id(p) not in embedded]
    hidden = matrices[:-1] if len(matrices) > 1 else matrices
    chosen = {id(p) for p in hidden}
    others = [p for p in trained if id(p) not in chosen]
    rest = {name: value for name, value in arguments.items() if name != "adamw_lr"}
    aside = {"lr": arguments["adamw_lr"], "weight_decay": 0.0, "betas": (0.9, 0.95), "eps": 1e-8}
    groups: list[dict[str, Any]] = [
        {"params": hidden, "use_muon": True},
        {"params": others, "use_muon": False, **aside},
    ]
    return [group for group in groups if group["params"]], rest


def _low_rank(model: nn.Module, arguments: dict[str, Any]) -> Groups:
    """Matrices take the projection, the rest does not."""
    decayed, spared = _split(model)
    groups: list[dict[str, Any]] = [{"params": decayed, **LOW_RANK}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]], arguments


GROUPS = {"decay": _by_decay, "one": _as_one, "muon": _for_muon, "galore": _low_rank, "apollo": _low_rank}
"""Which parameters an optimizer takes how."""
