"""A real network, tiny: deterministic, and able to go on from a checkpoint that holds all its state.

Whatever was not restored exactly, parameters, momentum or the order of the data, shows in the losses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import frazil

SPACE = {"lr": frazil.Float(3e-3, 1.0, log=True), "momentum": frazil.Float(0.0, 0.9), "width": frazil.Int(4, 32)}
BATCH = 16

torch.set_num_threads(1)


class Network:
    """A wave and some noise, learned epoch by epoch with momentum."""

    def __init__(self, params: dict[str, Any]) -> None:
        rng = torch.Generator().manual_seed(0)
        self._x = torch.linspace(-3, 3, 96)[:, None]
        self._y = torch.sin(2 * self._x) + 0.05 * torch.randn(self._x.shape, generator=rng)
        torch.manual_seed(0)
        self._net = nn.Sequential(nn.Linear(1, params["width"]), nn.Tanh(), nn.Linear(params["width"], 1))
        self._optimizer = torch.optim.SGD(self._net.parameters(), lr=params["lr"], momentum=params["momentum"])

    def train(self, step: int) -> float:
        """One pass over the data, in an order of its own; the loss after it."""
        order = torch.randperm(len(self._x), generator=torch.Generator().manual_seed(step))
        for batch in order.split(BATCH):
            loss = nn.functional.mse_loss(self._net(self._x[batch]), self._y[batch])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        with torch.no_grad():
            return nn.functional.mse_loss(self._net(self._x), self._y).item()

    def save(self, file: Path) -> None:
        torch.save({"net": self._net.state_dict(), "optimizer": self._optimizer.state_dict()}, file)

    def load(self, file: Path) -> None:
        state = torch.load(file)
        self._net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])


def whole_curve(params: dict[str, Any], steps: int) -> list[tuple[int, float]]:
    """What an uninterrupted run measures."""
    network = Network(params)
    return [(step, network.train(step)) for step in range(1, steps + 1)]
