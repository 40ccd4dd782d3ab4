"""`make screenshots`: the pictures of the README, from the demo's study.

Four processes tune the small network of examples/digits, as in `make demo`; then Chromium looks at what came of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

import frazil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples" / "digits"))
from demo import create_study, server, train, train_defaults  # noqa: E402

IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
EPOCHS = 200

Look = tuple[str, str, Literal["light", "dark"], int]
LOOKS: list[Look] = [
    ("overview", "", "light", 980),
    ("belief", "/belief", "dark", 980),
    ("parameters", "/parameters?colour=objective", "light", 940),
]
"""What is shown: the name of the picture, the address in the study, the colours, and how high it is."""


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Pictures need Chromium.")
    with tempfile.TemporaryDirectory(prefix="frazil-pictures-") as name, ExitStack() as stack:
        folder = Path(name)
        address = stack.enter_context(server(folder))
        train_defaults(folder)
        url = address()
        client = stack.enter_context(frazil.Client(url, patience=20.0))
        study = create_study(client, "digits", policy="freeze_thaw", budget={"resource": EPOCHS})
        train(study, folder, url)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for picture, path, scheme, height in LOOKS:
            page = browser.new_page(viewport={"width": 1360, "height": height}, color_scheme=scheme)
            page.goto(f"{url}/studies/{study.id}{path}")
            settle(page)
            page.screenshot(path=IMAGES / f"{picture}.png")
            page.close()
        browser.close()
    return 0


def settle(page: Page) -> None:
    """Waits until models have answered and plots are drawn."""
    page.wait_for_selector("[data-chart] canvas")
    page.wait_for_timeout(3_000)
    page.wait_for_function("() => !document.querySelector('[aria-label^=Loading]')", timeout=120_000)
    page.wait_for_timeout(1_000)


if __name__ == "__main__":
    sys.exit(main())
