"""The networks that are shipped can be loaded without a net, are what they were, and say where they come from."""

import shutil

import pytest
import torch

from frazil_tuner.pfn.manifest import SHIPPED, Damaged, damaged, shipped
from frazil_tuner.pfn.weights import load, resident

MOST_MEGABYTES, MOST_OF_ONE = 40, 16


def copy_of(tmp_path, *patterns):
    for pattern in patterns:
        for path in SHIPPED.glob(pattern):
            shutil.copy(path, tmp_path)
    return tmp_path


def test_three_networks_are_shipped_and_undamaged():
    assert shipped() == ["curve-large", "curve-small", "static-small"]
    assert damaged() == {}


@pytest.mark.parametrize("name", ["curve-large", "curve-small", "static-small"])
def test_a_network_loads_with_finite_weights_and_has_a_card(name):
    network = load(name)
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    assert not network.training
    card = (SHIPPED / f"{name}.md").read_text("utf-8")
    assert card.startswith(f"# {name}\n")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert f"{parameters:,} parameters" in card
    assert all(title in card for title in ("## Prior and data", "## Compute", "## Loss", "## Known failures"))


def test_a_process_reads_a_network_once():
    assert resident("curve-small") is resident("curve-small")


def test_the_files_are_small_enough():
    sizes = [path.stat().st_size for path in SHIPPED.iterdir()]
    assert max(sizes) <= MOST_OF_ONE * 1e6
    assert sum(sizes) <= MOST_MEGABYTES * 1e6


def test_damaged_and_missing_networks_are_named_and_the_others_are_not(tmp_path):
    folder = copy_of(tmp_path, "manifest.json", "*-small.safetensors", "curve-large-1-of-2.safetensors")
    with (folder / "static-small.safetensors").open("r+b") as file:
        file.truncate(1000)
    found = damaged(folder)
    assert sorted(found) == ["curve-large", "static-small"]
    assert "curve-large-2-of-2.safetensors cannot be read" in found["curve-large"]
    assert "static-small.safetensors are damaged" in found["static-small"]
    assert load("curve-small", folder)


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_a_damaged_list_of_networks_is_named_as_such(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    assert "cannot be read" in damaged(tmp_path)["manifest.json"]
    with pytest.raises(Damaged, match="manifest"):
        load("curve-small", tmp_path)
