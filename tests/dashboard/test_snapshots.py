"""How pages look, beside pictures of them that a person has approved."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from .test_every_page import settle

SNAPSHOTS = Path(__file__).with_name("snapshots")
SHRUNK = 4
"""Pictures are compared, and kept, at a quarter of their size: how a font's edges are smoothed differs by machine."""
SEEN, MOST = 24, 0.01
"""Of 255, what the eye sees of a colour that is off; the share of a picture that may be off by more."""


@pytest.fixture(scope="module")
def still(server_url: str) -> str:
    """The id of a study in which nothing hangs on chance or on the clock."""
    with httpx2.Client(base_url=f"{server_url}/api/v1", timeout=60) as api:

        def post(path: str, body: Any) -> Any:
            answer = api.post(path, json=body)
            assert answer.is_success, answer.text
            return answer.json()

        lr = {"name": "lr", "type": "float", "low": 1e-4, "high": 1, "log": True}
        optimizer = {"name": "optimizer", "type": "categorical", "choices": ["adamw", "lion"]}
        study = post(
            "/studies",
            {
                "name": "A study that stands still", "space": [lr, optimizer], "policy": {"name": "random"},
                "objectives": [{"metric": "val_loss"}], "resource": {"name": "epoch", "max": 20},
            },
        )  # fmt: skip
        trials = [
            {
                "params": {"lr": 10 ** (-4 + i / 6), "optimizer": ["adamw", "lion"][i % 2]},
                "state": "COMPLETED" if i % 5 else "PRUNED",
                "curve": [
                    {"step": step, "metrics": {"val_loss": 0.1 + 0.05 * abs(i - 11) + 2 / (step + 1 + i % 3)}}
                    for step in range(1, 21 if i % 5 else 4 + i // 2)
                ],
            }
            for i in range(24)
        ]
        post(f"/studies/{study['id']}/trials", {"trials": trials})
        found: str = study["id"]
        return found


PAGES = {"new": "/new", "overview": "/studies/{still}", "parameters": "/studies/{still}/parameters"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 2560])
@pytest.mark.parametrize("name", PAGES)
def test_pages_look_as_they_did(watch, server_url, still, tmp_path, name: str, width: int, scheme: str) -> None:
    page = watch(server_url, width=width, height=1200, scheme=scheme).open(PAGES[name].format(still=still))
    settle(page)
    found = picture(page)
    kept = SNAPSHOTS / f"{name}-{width}-{scheme}.png"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        Image.fromarray(found).save(kept, optimize=True)
        pytest.fail(f"{kept.name} is new: look at it, then run this again. (To renew a picture, delete it first.)")
    off = difference(found, np.asarray(Image.open(kept).convert("RGB")))
    Image.fromarray(found).save(tmp_path / kept.name)
    assert off <= MOST, f"{off:.1%} of {kept} looks otherwise now: {tmp_path / kept.name}"


def picture(page: Page) -> np.ndarray:
    """height × width × 3, of 255. What tells the time is small enough not to matter."""
    page.evaluate("() => document.fonts.ready")
    shot = page.screenshot(animations="disabled", caret="hide")
    full = Image.open(io.BytesIO(shot)).convert("RGB")
    return np.asarray(full.resize((full.width // SHRUNK, full.height // SHRUNK), Image.Resampling.BOX))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The share of places whose colours differ to the eye."""
    assert one.shape == other.shape
    return float((np.abs(one.astype(int) - other).max(axis=2) > SEEN).mean())
