"""Which networks are shipped, and whether their files still are what was: without torch, for a server's start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import FrazilError

SHIPPED = Path(__file__).parent / "data"
MANIFEST = "manifest.json"


class Damaged(FrazilError):
    """A file of weights is not what was shipped: install Frazil again."""

    code = "damaged"


def shipped(folder: Path = SHIPPED) -> list[str]:
    """Names of the networks of a folder; none where it has no manifest."""
    return sorted(hashes(folder)) if (folder / MANIFEST).exists() else []


def damaged(folder: Path = SHIPPED) -> dict[str, str]:
    """What is wrong, in a sentence each, by the name of the network; the manifest itself counts as one."""
    found = {}
    try:
        names = sorted(hashes(folder))
    except Damaged as reason:
        return {MANIFEST: reason.detail}
    for name in names:
        try:
            verified(name, folder)
        except Damaged as reason:
            found[name] = reason.detail
    return found


def verified(name: str, folder: Path = SHIPPED) -> list[Path]:
    """The files of a network, in order.

    Raises Damaged if the manifest or a file is missing, cannot be read or has another hash than the manifest says;
    KeyError if the manifest knows no such network.
    """
    files = hashes(folder)[name]
    for file, expected in files.items():
        _verify(folder / file, expected)
    return [folder / file for file in files]


def hashes(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """The SHA-256 of each file of each network."""
    path = folder / MANIFEST
    try:
        answer: Mapping[str, Mapping[str, str]] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as reason:
        raise Damaged(f"The list of weights {path} cannot be read: {reason}.") from reason
    return answer


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _verify(path: Path, expected: str) -> None:
    try:
        found = digest(path)
    except OSError as reason:
        raise Damaged(f"The weights {path} cannot be read: {reason}.") from reason
    if found != expected:
        raise Damaged(f"The weights {path} are damaged: their SHA-256 is {found}, and {expected} was shipped.")
