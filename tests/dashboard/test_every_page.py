"""What holds on every page, light and dark, narrow and wide; and for studies that try to break it."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from .conftest import WEB

PAGES = {
    "studies": "/",
    "new": "/new",
    "overview": "/studies/{asha}",
    "belief": "/studies/{freeze_thaw}/belief",
    "parameters": "/studies/{bayes}/parameters",
    "trials": "/studies/{asha}/trials",
    "trial": "/studies/{asha}/trials/2",
    "timeline": "/studies/{asha}/timeline",
    "front": "/studies/{several}/front",
    "preferences": "/studies/{ranked}/preferences",
    "definition": "/studies/{asha}/definition",
    "compare": '/compare?studies=%5B"{asha}"%2C"{freeze_thaw}"%5D',
    "system": "/system",
}
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"


def settle(page: Page) -> None:
    """Waits until nothing is being loaded any more."""
    expect(page.get_by_role("main").locator(":scope > *").first).to_be_visible()
    page.wait_for_function("() => !document.querySelector('[aria-label^=Loading]')", timeout=60_000)
    page.wait_for_timeout(300)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_fault_of_accessibility(watch, filled, server_url, name: str, scheme: str) -> None:
    page = watch(server_url, scheme=scheme).open(PAGES[name].format(**filled))
    settle(page)
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")["violations"]
    serious = [
        (fault["id"], [node["html"][:200] for node in fault["nodes"][:3]])
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_every_page_fits_and_its_charts_are_drawn(watch, filled, server_url, width: int, scheme: str) -> None:
    watched = watch(server_url, width=width, scheme=scheme)
    for name, path in PAGES.items():
        page = watched.open(path.format(**filled))
        settle(page)
        overflow = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is {overflow} pixels too wide"
        blank = page.evaluate(BLANK)
        assert blank == [], f"{name}: nothing is drawn in {blank}"


BLANK = """() => [...document.querySelectorAll('[data-chart]')].filter((chart) => {
  const colours = new Set();
  for (const canvas of chart.querySelectorAll('canvas')) {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4 * 7)
      if (data[i + 3] > 40) colours.add(data[i] >> 4 | data[i + 1] >> 4 << 4);
  }
  return colours.size < 4;
}).map((chart) => chart.dataset.chart)"""


def test_the_first_view_needs_less_than_300_kilobytes_of_scripts(watch, server_url) -> None:
    watched = watch(server_url)
    page = watched.open("/")
    expect(page.get_by_role("heading", name="Studies")).to_be_visible()
    sizes = page.evaluate(
        "() => performance.getEntriesByType('resource')"
        ".filter((item) => item.name.endsWith('.js')).map((item) => item.encodedBodySize)"
    )
    assert sum(sizes) > 50_000, "scripts were counted at all"
    assert sum(sizes) <= 300_000


def test_keys_alone_reach_a_study_and_its_trials(watch, filled, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['bayes']}")
    settle(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab = page.get_by_role("tab", name="Overview")
    tab.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Trials")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Trials")).to_be_visible()
    page.get_by_role("table", name="Trials").get_by_role("link").first.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/trials/\d+"))


# ── hostile studies ──────────────────────────────────────────────────────────────────────────────────────────────────

HTML = '<img src=x onerror="window.injected=1"><script>window.injected=1</script><b id="bold">b</b>'
UNCLOSED = '<img src=x onerror="window.injected=1"><b id="bold">'
"""Without a slash, as names must be."""
NAMES = ["ñandú", "学习率", "معدل", "скорость", "🜁🔥", "a b", "=1+1", "tab-less", "x" * 60, "__proto__", "constructor"]


@pytest.fixture(scope="module")
def hostile(server_url: str) -> dict[str, Any]:
    """500 parameters with names in every script, values from nothing to 1e30, and HTML wherever there may be text."""
    with httpx2.Client(base_url=f"{server_url}/api/v1", timeout=60) as api:

        def post(path: str, body: Any) -> Any:
            answer = api.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
            assert answer.is_success, answer.text
            return answer.json()

        names = NAMES + [f"p{i}" for i in range(500 - len(NAMES))]
        space = [{"name": name, "type": "float", "low": -1e30, "high": 1e30} for name in names]
        space[0] = {"name": names[0], "type": "categorical", "choices": [HTML, "<i>i</i>", None, True, 2]}
        study = post(
            "/studies",
            {
                "name": f"{UNCLOSED} {uuid.uuid4().hex[:6]}", "space": space, "policy": {"name": "random"},
                "objectives": [{"metric": "loss<b>"}], "resource": {"name": "<u>step", "max": 10},
            },
        )  # fmt: skip
        params = {name: (i - 250) * 1e27 for i, name in enumerate(names)} | {names[0]: HTML}
        wild = ["nan", "inf", "-inf", 1e30, -1e30, 1e-300, 0, 5e-324]
        trials = [
            {
                "params": params, "state": "COMPLETED", "notes": f"{HTML} [x](javascript:window.injected=1)",
                "tags": ["<b>tag"], "reason": HTML,
                "curve": [{"step": step, "metrics": {"loss<b>": wild[(i + step) % 8]}} for step in range(1, 6)],
            }
            for i in range(12)
        ]  # fmt: skip
        trials.append({"params": params, "state": "FAILED", "reason": HTML})
        post(f"/studies/{study['id']}/trials", {"trials": trials})
        return study


@pytest.mark.parametrize(
    "tab", ["", "/parameters", "/trials", "/trials/0", "/trials/12", "/timeline", "/definition", "/belief"]
)
def test_a_hostile_study_breaks_nothing_and_injects_nothing(watch, server_url, hostile, tab: str) -> None:
    watched = watch(server_url)
    watched.expected = ("409", "422")  # a model may refuse such values, and says so
    page = watched.open(f"/studies/{hostile['id']}{tab}")
    expect(page.get_by_role("heading", name=hostile["name"])).to_be_visible()
    settle(page)
    for chart in page.locator("[data-chart]").all():
        chart.hover()
    assert page.evaluate(
        "() => [window.injected, document.querySelectorAll('main script, #bold, main img').length]"
    ) == [None, 0]
    assert page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_a_hostile_study_stands_in_the_list_and_can_be_compared(watch, server_url, hostile) -> None:
    watched = watch(server_url)
    page = watched.open("/")
    expect(page.get_by_role("link", name=hostile["name"])).to_be_visible()
    page = watched.open(f'/compare?studies=%5B"{hostile["id"]}"%5D')
    settle(page)
    assert page.evaluate("() => window.injected") is None


def test_what_is_not_there_is_said(watch, server_url) -> None:
    watched = watch(server_url)
    watched.expected = ("404",)
    expect(watched.open("/studies/nowhere").get_by_text("This study does not exist")).to_be_visible()
    page = watched.open("/studies/" + "0" * 8 + "-0000-7000-8000-" + "0" * 12)
    expect(page.get_by_text("This study does not exist")).to_be_visible()
