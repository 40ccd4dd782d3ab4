"""What is tuned: a small network that reads handwritten digits, trained epoch by epoch, frozen and thawed at will."""

from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import torch
from torch import Tensor, nn

import frazil

EPOCHS = 30
SPACE: dict[str, Any] = {
    "optimizer": ["adamw", "sgd", "rmsprop"],
    "lr": frazil.Float(1e-4, 0.3, log=True),
    "beta2": frazil.Float(0.9, 0.9999, log="complement", when={"optimizer": "adamw"}),
    "momentum": frazil.Float(0.5, 0.99, log="complement", when={"optimizer": "sgd"}),
    "nesterov": frazil.Bool(when={"optimizer": "sgd"}),
    "alpha": frazil.Float(0.9, 0.999, log="complement", when={"optimizer": "rmsprop"}),
    "weight_decay": frazil.Float(1e-6, 0.1, log=True),
    "width": frazil.Int(16, 256, log=True),
    "dropout": frazil.Float(0.0, 0.5),
    "batch_size": frazil.Ordinal([16, 32, 64, 128, 256]),
}
DEFAULTS: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1e-3,
    "beta2": 0.999,
    "weight_decay": 0.01,
    "width": 64,
    "dropout": 0.0,
    "batch_size": 64,
}
"""What one would write down without tuning: torch's own defaults for AdamW, and a middling network."""

Digits = dict[str, Tensor]


def prepare_digits(file: Path) -> None:
    """Writes scikit-learn's 1797 digits as tensors, so that the workers need not import scikit-learn.

    The split is stratified and always the same: three quarters to train on, one quarter to validate.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(pixels / 16.0, labels, test_size=0.25, stratify=labels, random_state=0)
    arrays = {"x": x, "y": y, "x_val": x_val, "y_val": y_val}
    digits = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({name: t.float() if t.is_floating_point() else t for name, t in digits.items()}, file)


class Run:
    """One configuration in training. The same parameters and epochs give the same numbers, frozen in between or not."""

    def __init__(self, params: dict[str, Any], digits: Digits) -> None:
        torch.manual_seed(0)
        width = params["width"]
        self.net = nn.Sequential(
            nn.Linear(64, width), nn.ReLU(), nn.Dropout(params["dropout"]),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(params["dropout"]),
            nn.Linear(width, 10),
        )  # fmt: skip
        self.optimizer = build_optimizer(self.net, params)
        self.batch_size: int = params["batch_size"]
        self.digits = digits

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training digits; the validation loss and accuracy after it."""
        torch.manual_seed(epoch)
        self.net.train()
        for batch in torch.randperm(len(self.digits["x"])).split(self.batch_size):
            loss = nn.functional.cross_entropy(self.net(self.digits["x"][batch]), self.digits["y"][batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return self.validate()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.net.eval()
        logits, labels = self.net(self.digits["x_val"]), self.digits["y_val"]
        loss = nn.functional.cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean()
        return {"val_loss": loss.item(), "val_accuracy": accuracy.item()}

    def save(self, file: Path) -> str:
        """Writes a checkpoint; returns its URI."""
        torch.save({"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}, file)
        return file.as_uri()

    def load(self, uri: str) -> None:
        state = torch.load(checkpoint_file(uri))
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def checkpoint_file(uri: str) -> Path:
    return Path(url2pathname(urlparse(uri).path))


def build_optimizer(net: nn.Module, params: dict[str, Any]) -> torch.optim.Optimizer:
    common = {"lr": params["lr"], "weight_decay": params["weight_decay"]}
    match params["optimizer"]:
        case "adamw":
            return torch.optim.AdamW(net.parameters(), betas=(0.9, params["beta2"]), **common)
        case "sgd":
            momentum, nesterov = params["momentum"], params["nesterov"]
            return torch.optim.SGD(net.parameters(), momentum=momentum, nesterov=nesterov, **common)
        case "rmsprop":
            return torch.optim.RMSprop(net.parameters(), alpha=params["alpha"], **common)
    raise ValueError(f"unknown optimizer {params['optimizer']!r}")
