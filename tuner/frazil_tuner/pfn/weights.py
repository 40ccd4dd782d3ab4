"""Weights on disk: safetensors with the network's shape in their metadata, and a manifest of hashes beside them.

Nothing is pickled and nothing is downloaded. `python -m frazil_tuner.pfn.weights FOLDER` writes the manifest.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .bars import Grid
from .configs import Config, Shape
from .manifest import MANIFEST, SHIPPED, Damaged, digest, verified
from .network import Network

MOST_BYTES = 15 * 2**20
"""Of one file; larger networks are stored in several."""


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def resident(name: str) -> Network:
    """The shipped network `name`, read once per process; raises as `load` does."""
    return load(name)


def load(name: str, folder: Path = SHIPPED) -> Network:
    """The network `name` of a folder with a manifest, in float32 on the CPU, ready to predict.

    Raises Damaged if a file is missing, cannot be read or has another hash than the manifest says; KeyError if the
    manifest knows no such network.
    """
    return read(verified(name, folder))


def read(files: Sequence[Path]) -> Network:
    """The network in `files`, whatever their hashes."""
    tensors: dict[str, Tensor] = {}
    metadata: Mapping[str, str] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors |= {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as reason:
            raise Damaged(f"The weights {path} cannot be read: {reason}.") from reason
    network = Network(_shape(json.loads(metadata["shape"])))
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def _shape(items: Mapping[str, Any]) -> Shape:
    return Shape(**{**items, "grid": Grid(**items["grid"])})


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def store(state: Mapping[str, Tensor], config: Config, folder: Path) -> list[Path]:
    """Write weights by name as `config.name`.safetensors, or name-1-of-2.safetensors and so on; the paths written."""
    kept = {name: tensor.to(getattr(torch, config.stored)).contiguous().cpu() for name, tensor in state.items()}
    shards = _shards(kept)
    metadata = {"shape": json.dumps(asdict(config.shape)), "config": json.dumps(asdict(config))}
    paths = []
    for index, shard in enumerate(shards):
        part = f"-{index + 1}-of-{len(shards)}" if len(shards) > 1 else ""
        path = folder / f"{config.name}{part}.safetensors"
        fresh = path.with_suffix(".new")
        save_file(shard, fresh, metadata)
        fresh.replace(path)
        paths.append(path)
    return paths


def _shards(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        size += tensor.nbytes
        if size > MOST_BYTES:
            shards.append({})
            size = tensor.nbytes
        shards[-1][name] = tensor
    return shards


def write_manifest(folder: Path) -> None:
    """Name every network in a folder with the hashes of its files."""
    networks: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            name = json.loads(file.metadata()["config"])["name"]
        networks.setdefault(name, {})[path.name] = digest(path)
    (folder / MANIFEST).write_text(json.dumps(networks, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    write_manifest(Path(sys.argv[1]))
