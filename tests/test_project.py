"""What the project says about itself is so: README, Makefile, contracts between packages, pins, wheels."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import hatchling.build
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from frazil_server.settings import Settings

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
PACKAGES = {
    "frazil_tuner": ROOT / "tuner" / "frazil_tuner",
    "frazil_server": ROOT / "server" / "frazil_server",
    "frazil": ROOT / "clients" / "python" / "frazil",
}


def block(language: str, containing: str) -> str:
    """The fenced block of the README that contains a phrase."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return found


def run(*command: str, **environment: str) -> str:
    """What a command prints; an assertion with all its words when it fails."""
    done = subprocess.run(
        command, check=False, env=os.environ | environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


# ── the README ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_study_of_the_readme_runs_to_its_end(server_url: str) -> None:
    import frazil

    code = block("python", containing="create_study")
    assert sum(map(bool, code.splitlines())) <= 15
    assert "Observed(" in run(sys.executable, "-W", "error", "-c", code, FRAZIL_URL=server_url)
    with frazil.Client(server_url) as client:
        study = client.study("first")
        assert study.state == "completed"
        best = study.best.observed
    assert best is not None
    assert best.values["loss"] < 1.0


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_readme_s_curl_lines_tune_by_hand(server_url: str) -> None:
    script = block("sh", containing="curl").replace("http://127.0.0.1:8000", server_url)
    up_to_ask, tell = script.split("post /trials/")
    answers = run("bash", "-euc", up_to_ask).splitlines()
    (trial,) = json.loads(answers[-1])["trials"]
    functions = up_to_ask[: up_to_ask.index("post /studies")]
    told = run("bash", "-euc", f"{functions}post /trials/{tell}", id=trial["id"], token=trial["lease"]["token"])
    assert json.loads(told)["state"] == "COMPLETED"


def test_the_readme_s_settings_are_those_of_the_server() -> None:
    rows = re.findall(r"^\| `FRAZIL_(\w+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)
    assert {name.lower(): meaning for name, _, meaning in rows} == {
        name: field.description for name, field in Settings.model_fields.items()
    }
    for name, default, _ in rows:
        field = Settings.model_fields[name.lower()]
        if field.default_factory is None:
            assert default == (f"`{field.default}`" if field.default is not None else ""), name


@pytest.mark.parametrize("file", ["README.md", "Dockerfile", "docker-compose.yml", "CONTRIBUTING.md"])
def test_only_variables_that_something_reads_are_named(file: str) -> None:
    known = {f"FRAZIL_{name.upper()}" for name in Settings.model_fields} | {"FRAZIL_URL", "FRAZIL_TOKEN"}
    assert set(re.findall(r"\bFRAZIL_[A-Z_]+", (ROOT / file).read_text())) <= known


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_only_targets_that_the_makefile_has_are_named(file: str) -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {target for words in re.findall(r"\bmake((?: [a-z]+)+)", code_in(ROOT / file)) for target in words.split()}
    assert named
    assert named <= set(phony.split())


def code_in(file: Path) -> str:
    """A text file's code: of Markdown, what stands between backticks and without comments; of others, everything."""
    text = file.read_text()
    if file.suffix != ".md":
        return re.sub(r"#.*", "", text)
    return "\n".join(re.sub(r"#.*", "", code) for code in re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))


@pytest.mark.parametrize("file", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=lambda f: f.name)
def test_links_inside_the_repository_lead_somewhere(file: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", file.read_text()) if "://" not in target]
    assert [target for target in targets if not (file.parent / target).exists()] == []


# ── the contracts between packages ───────────────────────────────────────────────────────────────────────────────────

VIOLATIONS = {
    "The core runs one way": ("frazil_tuner/history.py", "import frazil_tuner.policies"),
    "The core knows no service": ("frazil_tuner/planted.py", "import fastapi"),
    "The service does not import its client": ("frazil_server/planted.py", "import frazil"),
    "The SDK imports nothing of ours": ("frazil/planted.py", "import frazil_tuner"),
    "The API process never imports torch": ("frazil_server/planted.py", "import torch"),
}
"""The beginning of each contract's name, and an import that breaks it alone."""


def broken_contracts(folder: Path) -> list[str]:
    """Names of the contracts that the packages in `folder` break."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT / "pyproject.toml"],
        check=False,
        env=os.environ | {"PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    verdicts = re.findall(r"^(.*) (KEPT|BROKEN)", done.stdout, re.MULTILINE)
    assert len(verdicts) == len(PROJECT["tool"]["importlinter"]["contracts"]), done.stdout + done.stderr
    return [name for name, verdict in verdicts if verdict == "BROKEN"]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with a copy of all three packages."""
    for name, source in PACKAGES.items():
        shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_packages_keep_their_contracts(packages: Path) -> None:
    assert broken_contracts(packages) == []


@pytest.mark.parametrize("contract", [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]])
def test_a_violation_of_each_contract_is_caught(packages: Path, contract: str) -> None:
    ((module, statement),) = [planted for name, planted in VIOLATIONS.items() if contract.startswith(name)]
    with (packages / module).open("a") as file:
        file.write(f"\n{statement}\n")
    assert broken_contracts(packages) == [contract]


# ── packages and pins ────────────────────────────────────────────────────────────────────────────────────────────────


def packages_with_all() -> list[str]:
    found = [
        ".".join(file.parent.relative_to(source.parent).parts)
        for source in PACKAGES.values()
        for file in source.rglob("__init__.py")
        if "__all__" in file.read_text()
    ]
    return sorted(found)


@pytest.mark.parametrize("name", packages_with_all())
def test_all_names_only_what_is_there_and_each_once(name: str) -> None:
    package = importlib.import_module(name)
    assert [offered for offered in package.__all__ if not hasattr(package, offered)] == []
    assert sorted(set(package.__all__)) == sorted(package.__all__)


def test_the_sdk_offers_all_that_it_shows() -> None:
    import frazil

    shown = {name for name, value in vars(frazil).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert set(frazil.__all__) == shown


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_torch_is_pinned_without_a_build_so_that_pip_finds_the_one_for_the_machine() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins()["torch"])


@pytest.mark.parametrize("file", ["pyproject.toml", "clients/python/pyproject.toml"])
def test_every_dependency_is_pinned_to_a_version_that_it_allows(file: str) -> None:
    project = tomllib.loads((ROOT / file).read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    theirs = [requirement for requirement in wanted if requirement.name not in ("frazil", "frazil-server")]
    pinned = pins()
    assert [str(r) for r in theirs if not r.specifier.contains(pinned.get(canonicalize_name(r.name), "0"))] == []


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (
            ".",
            {
                *("frazil_tuner/py.typed", "frazil_server/py.typed", "frazil_server/_migrations/env.py"),
                *("frazil_server/dashboard/index.html", "frazil_server/dashboard/docs.html"),
                *("frazil_tuner/pfn/data/manifest.json", "frazil_tuner/pfn/data/curve-small.safetensors"),
            },
        ),
        ("clients/python", {"frazil/py.typed", "frazil/__init__.py"}),
    ],
)
def test_the_wheel_carries_what_it_needs(
    folder: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / folder)
    wheel = tmp_path / hatchling.build.build_wheel(str(tmp_path))
    names = zipfile.ZipFile(wheel).namelist()
    assert expected <= set(names)
    if folder == ".":
        assert any(re.fullmatch(r"frazil_server/_migrations/versions/\w+\.py", name) for name in names)
    assert {name.split("/")[0] for name in names if "dist-info" not in name} <= set(PACKAGES)


# ── what must not be in the repository ───────────────────────────────────────────────────────────────────────────────

ELSEWHERE = re.compile(r"(?<![\w.])/(work|root|opt)/|pypi\.org|pythonhosted\.org|download\.pytorch\.org|extra[-_]index")
"""Paths of one machine, and hosts and options of one package registry: those are the business of each machine's pip."""


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="needs the git checkout")
def test_no_file_names_a_machine_or_a_package_registry() -> None:
    files = run("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    texts = {name: (ROOT / name).read_bytes().decode(errors="replace") for name in files if (ROOT / name).is_file()}
    assert {name: found[0] for name, text in texts.items() if (found := ELSEWHERE.search(text))} == {}
