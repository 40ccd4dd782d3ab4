"""What is compared: each contender creates a study that already holds finished trials, and connects clients to it.

A client is a function without arguments; one call is one cycle: ask, five parameters, ten reports, tell.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

Cycle = Callable[[], None]

PARAMETERS = tuple(f"x{i}" for i in range(5))
STEPS = range(1, 11)
TRIALS_PER_CALL = 1_000  # the contract's limit


class Contender(Protocol):
    """One way to run a study against `address`: an HTTP URL for ours, a database URL for Optuna."""

    def create(self, address: str, study: str, trials: int) -> None:
        """Create `study` with so many finished trials, each with five parameters and a curve of ten points."""
        ...

    def connect(self, address: str, study: str) -> Cycle:
        """A client of `study`, with its connection open."""
        ...


def loss(params: Mapping[str, Any], step: int) -> float:
    """A learning curve for the price of a sum."""
    return sum(float(params[name]) for name in PARAMETERS) / step


class Http:
    """Our server by the cheapest client there is: one kept-alive connection, every report a request of its own."""

    def create(self, address: str, study: str, trials: int) -> None:
        call = json_client(address)
        call(
            "/studies",
            {
                "name": study,
                "space": [{"name": name, "type": "float", "low": 0.0, "high": 1.0} for name in PARAMETERS],
                "objectives": [{"metric": "loss", "direction": "minimize"}],
                "resource": {"name": "step", "max": STEPS[-1]},
                "policy": {"name": "random"},
            },
        )
        for first in range(0, trials, TRIALS_PER_CALL):
            last = min(first + TRIALS_PER_CALL, trials)
            call(f"/studies/{study}/trials", {"trials": [finished_trial(i / trials) for i in range(first, last)]})

    def connect(self, address: str, study: str) -> Cycle:
        call = json_client(address)
        ask = {"count": 1, "worker": f"bench:{os.getpid()}", "lease_seconds": 120}

        def cycle() -> None:
            trial = asked(call, study, ask)
            path, lease = f"/trials/{trial['id']}", trial["lease"]["token"]
            for step in STEPS:
                point = {"step": step, "metrics": {"loss": loss(trial["params"], step)}}
                call(f"{path}/reports", {"lease": lease, "measurements": [point]})
            call(f"{path}:tell", {"lease": lease, "state": "COMPLETED"})

        return cycle


class Sdk:
    """Our server by our SDK, as a training script would use it: reports travel in the background."""

    def create(self, address: str, study: str, trials: int) -> None:
        Http().create(address, study, trials)

    def connect(self, address: str, study: str) -> Cycle:
        import frazil

        handle = frazil.Client(address).study(study)

        def cycle() -> None:
            while not (trial := handle.ask()):
                time.sleep(0.1)
            for step in STEPS:
                trial.report(step, loss=loss(trial.params, step))
            trial.tell()

        return cycle


class Optuna:
    """Optuna 5 over its RDBStorage, as its documentation shows for several processes."""

    def create(self, address: str, study: str, trials: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.RDBStorage(address)
        made = optuna.create_study(study_name=study, storage=storage)
        fill_optuna(storage, made._study_id, trials)
        storage.engine.dispose()

    def connect(self, address: str, study: str) -> Cycle:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        handle = optuna.load_study(study_name=study, storage=address, sampler=optuna.samplers.RandomSampler())

        def cycle() -> None:
            trial = handle.ask()
            params = {name: trial.suggest_float(name, 0.0, 1.0) for name in PARAMETERS}
            for step in STEPS:
                trial.report(loss(params, step), step)
            handle.tell(trial, loss(params, STEPS[-1]))

        return cycle


CONTENDERS: dict[str, Contender] = {"sdk": Sdk(), "http": Http(), "optuna": Optuna()}


def finished_trial(value: float) -> dict[str, Any]:
    """A finished trial of the contract with every parameter at `value`."""
    params = dict.fromkeys(PARAMETERS, value)
    curve = [{"step": step, "metrics": {"loss": loss(params, step)}} for step in STEPS]
    return {"params": params, "state": "COMPLETED", "values": curve[-1]["metrics"], "curve": curve}


def asked(call: Callable[[str, Any], Any], study: str, body: Any) -> Any:
    """The trial that an ask hands out; waits as the server says while there is none."""
    while not (answer := call(f"/studies/{study}/trials:ask", body))["trials"]:
        time.sleep(answer["retry_after"])
    return answer["trials"][0]


def json_client(url: str) -> Callable[..., Any]:
    """Sends JSON below /api/v1 over one kept-alive connection, by POST unless said; all but 2xx answers are errors."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def call(path: str, body: Any, method: str = "POST") -> Any:
        connection.request(method, f"/api/v1{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{path}: {response.status} {content[:500]!r}")
        return json.loads(content)

    return call


FILL_OPTUNA = (
    """INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete)
       SELECT n, :study, 'COMPLETE', now(), now() FROM generate_series(0, :trials - 1) n""",
    """INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
       SELECT trial_id, name, 1.0 * number / :trials, :distribution
       FROM trials, unnest(CAST(:names AS text[])) name WHERE study_id = :study""",
    """INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
       SELECT trial_id, step, 1.0 * number / :trials / step, 'FINITE'
       FROM trials, generate_series(1, :steps) step WHERE study_id = :study""",
    """INSERT INTO trial_values (trial_id, objective, value, value_type)
       SELECT trial_id, 0, 1.0 * number / :trials / :steps, 'FINITE' FROM trials WHERE study_id = :study""",
)
"""A thousand trials a second instead of twenty: the rows that `study.add_trials` would write, written at once."""


def fill_optuna(storage: Any, study_id: int, trials: int) -> None:
    from optuna.distributions import FloatDistribution, distribution_to_json
    from sqlalchemy import text

    values = {
        "study": study_id,
        "trials": trials,
        "steps": STEPS[-1],
        "names": list(PARAMETERS),
        "distribution": distribution_to_json(FloatDistribution(0.0, 1.0)),
    }
    with storage.engine.begin() as connection:
        for statement in FILL_OPTUNA:
            connection.execute(text(statement), values)
