"""The door to a server: create a study, or find one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from .sender import Courier
from .space import Objective, described, described_space
from .study import Study
from .transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    import httpx2

    from .space import Resource, Space

DEFAULT_URL = "http://127.0.0.1:8000"
PATIENCE = 600.0  # seconds; a server may be restarted, and moved, in less


class Client:
    """A connection to one server, for any number of threads. Not to be carried across a fork.

    `url` and `token` come from FRAZIL_URL and FRAZIL_TOKEN where not given. Every call waits out an outage of up to
    `patience` seconds. `transport` replaces the network, for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        patience: float = PATIENCE,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        url = url or os.environ.get("FRAZIL_URL") or DEFAULT_URL
        token = token or os.environ.get("FRAZIL_TOKEN")
        self._transport = Transport(url, token=token, patience=patience, transport=transport)
        self._courier = Courier()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. Trials still in hand lose their leases when these run out."""
        self._courier.forget_all()
        self._transport.close()

    def optimizers(self) -> list[dict[str, Any]]:
        """The server's catalogue of optimizers."""
        items: list[dict[str, Any]] = self._transport.get("/optimizers")["items"]
        return items

    def optimizer_space(self, names: Sequence[str], tune: str, *, restricted: bool) -> dict[str, Any]:
        """The space over some optimizers and its portfolio, as `frazil.optimizers` reads them."""
        asked = {"names": ",".join(names), "tune": tune, "restricted": "true" if restricted else "false"}
        return dict(self._transport.get("/optimizers:space", **asked))

    def create_study(
        self,
        name: str,
        *,
        space: Space,
        minimize: str | None = None,
        maximize: str | None = None,
        objectives: Sequence[Objective] | None = None,
        resource: Resource | None = None,
        policy: str | Mapping[str, Any] = "auto",
        budget: Mapping[str, float] | None = None,
        candidates: Sequence[Mapping[str, Any]] | None = None,
        constraints: Sequence[str] | None = None,
        outcome_constraints: Sequence[str] | None = None,
        cost: str | float | None = None,
        related: Sequence[str | Study] | Literal["equal"] | None = None,
        seed: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        if_exists: Literal["fail", "load"] = "fail",
    ) -> Study:
        """A new study; with `if_exists="load"` also the one of this name, if its definition is the same.

        Say what is wanted in one way: `minimize=` or `maximize=` a metric, or `objectives=` for several metrics or
        another summary of the curve. `policy` is a name, or {"name": …, options}; `budget` any of "trials", "resource"
        (steps in all) and "seconds"; `candidates` a finite list of parameter sets to choose from.

        `constraints` say what parameters must satisfy, "layers * width <= 2048", and `outcome_constraints` what
        metrics must, "latency_ms <= 50". `cost` is the metric that says what a trial costs, or the price of a step, or
        "elapsed", the seconds that `report` carries.
        `related` names earlier studies to learn from, or finds those of the project with an "equal" space.

        Raises `Invalid` for a definition that makes no sense, and `StudyConflict` for a name that is taken.
        """
        definition = {
            "name": name,
            "space": described_space(space),
            "objectives": [described(objective) for objective in _objectives(minimize, maximize, objectives)],
            "resource": described(resource) if resource else None,
            "policy": {"name": policy} if isinstance(policy, str) else dict(policy),
            "budget": budget,
            "candidates": candidates,
            "constraints": constraints,
            "outcome_constraints": outcome_constraints,
            "cost": cost,
            "related": _references(related),
            "seed": seed,
            "metadata": metadata,
            "if_exists": if_exists,
        }
        given = {field: value for field, value in definition.items() if value is not None}
        return self._study(self._transport.post("/studies", given, once=True))

    def study(self, name: str) -> Study:
        """The study of this name or id. Raises `NotFound`."""
        return self._study(self._transport.get(f"/studies/{quote(name, safe='')}"))

    def studies(self) -> list[Study]:
        """Every study on the server."""
        return [self._study(info) for info in self._transport.pages("/studies")]

    def profiles(
        self,
        studies: Sequence[str | Study],
        *,
        target: float | None = None,
        measure: Literal["steps", "trials", "seconds"] = "steps",
        solver: str = "policy",
        problem: str = "space",
    ) -> dict[str, Any]:
        """How many problems each solver brings to the target within a multiple of the fastest one's time: performance
        profiles, as the server describes them. `solver` and `problem` are "policy", "name", "space", "all" or
        "metadata.KEY"; studies that agree in both are repeats. Without a target it is the median of a problem's bests.
        """
        named = [study if isinstance(study, str) else study.id for study in studies]
        goal = None if target is None else repr(float(target))
        query = {"target": goal, "measure": measure, "solver": solver, "problem": problem}
        return dict(self._transport.get("/profiles", studies=named, **query))

    def _study(self, info: dict[str, Any]) -> Study:
        return Study(info, self._transport, self._courier)


def _references(related: Sequence[str | Study] | Literal["equal"] | None) -> list[str] | str | None:
    """Earlier studies as the contract names them."""
    if related is None or isinstance(related, str):
        return related
    return [study if isinstance(study, str) else study.id for study in related]


def _objectives(
    minimize: str | None, maximize: str | None, objectives: Sequence[Objective] | None
) -> Sequence[Objective]:
    if sum(way is not None for way in (minimize, maximize, objectives)) != 1:
        raise ValueError("say what is wanted in exactly one way: minimize=, maximize= or objectives=")
    if minimize is not None:
        return [Objective(minimize)]
    if maximize is not None:
        return [Objective(maximize, "maximize")]
    return objectives or []
