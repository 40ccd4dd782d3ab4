"""How the dashboard's files are served."""

from __future__ import annotations

import gzip
import re

import pytest

from frazil_server import web


@pytest.fixture
def get(house):
    """Asks for a path outside of the API, as a browser that understands `encoding`."""
    return lambda path, encoding="identity": house.run(house.client.get(path, headers={"Accept-Encoding": encoding}))


@pytest.mark.parametrize("path", ["/", "/new", "/compare", "/system", "/studies/some", "/studies/some/trials/3"])
def test_every_address_of_the_dashboard_is_answered_with_its_page(get, path):
    page = get(path)
    assert page.status_code == 200
    assert '<div id="root">' in page.text
    assert page.headers["cache-control"] == "no-cache"


def test_the_page_may_run_no_inline_script_and_reach_no_other_place(get):
    page = get("/")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["font-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    assert [url for url in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not url.startswith("/assets/")] == []


def test_assets_are_kept_for_ever_and_come_compressed(get):
    (script,) = re.findall(r'<script[^>]* src="(/assets/[^"]+)"', get("/").text)
    plain, zipped, brotli = get(script), get(script, "gzip"), get(script, "gzip, deflate, br")
    assert "immutable" in plain.headers["cache-control"]
    assert plain.headers["content-type"].startswith("text/javascript")
    assert (zipped.headers["content-encoding"], brotli.headers["content-encoding"]) == ("gzip", "br")
    assert zipped.content == plain.content
    sizes = [int(answer.headers["content-length"]) for answer in (plain, zipped, brotli)]
    assert sizes == sorted(sizes, reverse=True)
    assert "content-encoding" not in plain.headers


def test_what_a_study_s_page_asks_first_is_announced_and_can_be_had(get, house):
    study = house.create(resource={"name": "epoch", "max": 5})
    links = get(f"/studies/{study['id']}").headers["link"]
    paths = re.findall(r"<([^>]+)>", links)
    assert {path.split("?")[0].rpartition("/")[2] for path in paths[:4]} == {
        study["id"], "progress", "trials:sample", "curves"
    }  # fmt: skip
    assert len(paths) > 6, "and its scripts"
    assert [path for path in paths if get(path).status_code != 200] == []


@pytest.mark.parametrize("path", ["/", "/studies/by-name", "/studies/0190d3a0-0000-7000-8000-000000000000?top=3"])
def test_other_pages_announce_nothing(get, path):
    assert "link" not in get(path).headers


@pytest.mark.parametrize("name", ["nothing.js", "..%2Findex.html", "%2Fetc%2Fpasswd", ".hidden", "a\\b"])
def test_only_assets_are_given_out(get, name):
    assert get(f"/assets/{name}").status_code == 404


def test_the_api_is_described_without_help_from_elsewhere(get):
    page = get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    assert get("/redoc").status_code == 404


def test_unknown_paths_of_the_api_stay_problems(get):
    answer = get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_without_a_dashboard_the_page_says_how_to_get_one(get, monkeypatch, tmp_path):
    monkeypatch.setattr(web, "FOLDER", tmp_path)
    page = get("/")
    assert page.status_code == 503
    assert "make dashboard" in page.text


def test_long_answers_of_the_api_are_compressed_and_short_ones_are_not(get, house):
    assert get("/healthz", "gzip").headers.get("content-encoding") is None
    answer = get("/api/v1/policies", "gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == get("/api/v1/policies").json()
    assert len(gzip.compress(answer.content)) < len(answer.content)
