"""A real browser in front of a real server, and studies that real clients have filled."""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

import frazil

WEB = Path(__file__).parents[2] / "clients" / "web"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium. It ends with each module: while Playwright is there, no other test can run a loop."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page of which nothing goes wrong unnoticed: errors, words on the console, and requests to elsewhere."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.faults: list[str] = []
        self.expected: tuple[str, ...] = ()
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda word: self.faults.append(f"{word.type}: {word.text}") if word.type != "log" else None)
        page.on("request", self._heard)

    def _heard(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.faults.append(f"a request to {request.url}")

    def open(self, path: str) -> Page:
        self.page.goto(self.origin + path)
        return self.page

    def unexpected(self) -> list[str]:
        return [fault for fault in self.faults if not any(words in fault for words in self.expected)]


@pytest.fixture
def watch(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens watched pages; at the end, none may have had a fault."""
    opened: list[Watched] = []

    def start(origin: str, *, width: int = 1280, height: int = 900, scheme: Any = "light") -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True, locale="en-GB"
        )
        context.set_default_timeout(20_000)
        opened.append(Watched(context.new_page(), origin))
        return opened[-1]

    yield start
    found = [watched.unexpected() for watched in opened]
    for watched in opened:
        watched.page.context.close()
    assert [faults for faults in found if faults] == []


@pytest.fixture
def client(server_url: str) -> Iterator[frazil.Client]:
    with frazil.Client(server_url) as client:
        yield client


SPACE = {
    "lr": frazil.Float(1e-4, 1, log=True),
    "optimizer": frazil.Categorical(["adamw", "lion"]),
    "lr_schedule": frazil.Schedule(["linear", "cosine"], peak="lr", warmup=(0, 0.2)),
}
EPOCHS = frazil.Resource("epoch", max=12)


def loss(params: dict[str, Any], epoch: int) -> float:
    off = abs(math.log10(params["lr"]) + (2 if params["optimizer"] == "adamw" else 3))
    return 0.1 + 0.2 * off + math.exp(-epoch / (2 + off))


def train(study: frazil.Study, most: int = 10**9) -> None:
    """Trains trials of the study, at most so many leases."""
    for count, trial in enumerate(study.trials(), 1):
        for epoch in trial.steps():
            trial.report(epoch, val_loss=loss(trial.params, epoch))
        if trial.paused:
            trial.freeze(f"s3://runs/{trial.number}.pt")
        if count >= most:
            break


def unique(name: str) -> str:
    return f"{name} {uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="session")
def filled(server_url: str) -> dict[str, str]:
    """Ids of studies that have run: `asha`, `freeze_thaw`, `bayes`, `several` objectives, `ranked` by hand."""
    with frazil.Client(server_url) as client:
        found = {}
        for policy, epochs in (("asha", 150), ("freeze_thaw", 40)):
            study = client.create_study(
                unique(policy), space=SPACE, minimize="val_loss", resource=EPOCHS, policy=policy,
                budget={"resource": epochs}, seed=1,
            )  # fmt: skip
            train(study)
            found[policy] = study.id
        study = client.create_study(
            unique("bayes"), space={"x": frazil.Float(0, 1), "y": frazil.Float(0, 1)}, minimize="loss", policy="sobol",
            budget={"trials": 14}, seed=1,
        )  # fmt: skip
        for trial in study.trials():
            trial.tell(loss=(trial.params["x"] - 0.3) ** 2 + trial.params["y"])
        found["bayes"] = study.id
        study = client.create_study(
            unique("several"), space={"x": frazil.Float(0, 1)}, policy="sobol", budget={"trials": 12}, seed=1,
            objectives=[frazil.Objective("error"), frazil.Objective("size")], outcome_constraints=["ms <= 8"],
        )  # fmt: skip
        for trial in study.trials():
            x = trial.params["x"]
            trial.tell(error=(1 - x) ** 2, size=x, ms=10 * x)
        found["several"] = study.id
        study = client.create_study(
            unique("ranked"), space={"x": frazil.Float(0, 1)}, policy="sobol", budget={"trials": 5}, seed=1,
            objectives=[frazil.Objective("taste", by="comparison")],
        )  # fmt: skip
        for trial in study.trials():
            trial.tell()
        found["ranked"] = study.id
        return found
