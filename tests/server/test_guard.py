"""No web page can drive a server without accounts, and nobody can put one on the network by mistake."""

from __future__ import annotations

import subprocess
import sys

import pytest

from frazil_server.middleware import hostname, is_loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8000"])
def test_this_machine_s_own_names_are_let_in(api, must, host):
    must(api._send("GET", "/healthz", headers={"Host": host}))


@pytest.mark.parametrize(
    "host",
    ["frazil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "10.0.0.1", "0.0.0.0", "a@", "[", ""],
)  # fmt: skip
def test_a_name_that_was_rebound_to_this_machine_is_refused(api, refused, host):
    refused(api.get("/studies", headers={"Host": host}), 421, "misdirected")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "http://[", "file://", "", "evil"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/studies", "/studies/x/trials:ask"])
def test_pages_of_other_sites_are_refused_on_every_lane(api, refused, origin, path):
    refused(api.post(path, {}, headers={"Origin": origin}), 403, "forbidden")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_server_s_own_pages_may_use_it(api, must, server_url, scheme):
    host = server_url.removeprefix("http://")
    must(api.get("/studies", headers={"Origin": f"{scheme}://{host}"}))
    must(api.get("/studies", headers={"Host": "Localhost:5", "Origin": f"{scheme}://localhost:5"}))


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.b:80", "a.b"), ("[::1]:80", "::1"), ("A", "a"), ("", ""), ("[", ""), ("a@b", "b"), ("b@a:1", "a")],
)
def test_the_name_in_a_host_header_is_what_a_browser_would_connect_to(host, name):
    assert hostname(host) == name


def test_loopback_is_localhost_and_its_addresses():
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.255.0.1", "::1"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "::", "localhost.example", "192.168.0.1", "1"]))


@pytest.mark.parametrize("host", ["0.0.0.0", "frazil.example"])
def test_serve_refuses_to_be_bound_elsewhere(tmp_path, host):
    command = [sys.executable, "-m", "frazil_server", "serve", "--host", host, "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Refusing to bind {host}" in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was started"


def test_serve_says_so_when_its_port_is_taken(tmp_path, server_url):
    port = server_url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "frazil_server", "serve", "--port", port, "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"Cannot bind 127.0.0.1:{port}" in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was started"
