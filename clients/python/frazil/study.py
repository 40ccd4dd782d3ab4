"""A study: the source of trials, and what is known of them."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsFloat, overload

from .farewell import Farewell
from .transport import jittered
from .trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from .sender import Courier
    from .transport import Transport
    from .trial import Value

LEASE_SECONDS = 120.0
OVER = frozenset({"stopped", "completed"})
WAIT = 1.0  # seconds until the next ask, where the server did not say
GLANCE = 0.2  # seconds; how often a waiting worker looks whether it has been asked to end


@dataclass(frozen=True, slots=True)
class Observed:
    """The trial with the best value seen, and its values by metric."""

    id: str
    number: int
    params: dict[str, Any]
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Recommended:
    """The trial the model believes in, and its belief at the full resource; no `sd` where the policy has no model."""

    id: str
    number: int
    params: dict[str, Any]
    mean: dict[str, float]
    sd: dict[str, float]


@dataclass(frozen=True, slots=True)
class Best:
    """Both answers to "which is best": None as long as nothing has been measured."""

    observed: Observed | None
    recommended: Recommended | None


class Study:
    """A study on the server. `info` is the server's document as of the last word from it."""

    def __init__(self, info: dict[str, Any], transport: Transport, courier: Courier) -> None:
        self.info = info
        self._transport = transport
        self._courier = courier
        self._path = f"/studies/{info['id']}"

    def __repr__(self) -> str:
        return f"<frazil.Study {self.name!r}, {self.state}>"

    @property
    def id(self) -> str:
        return str(self.info["id"])

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def state(self) -> str:
        """ "active", "paused", "stopped" or "completed", as last heard; `refresh()` asks."""
        return str(self.info["state"])

    def refresh(self) -> Study:
        """Reads `info` again, and returns the study itself."""
        self.info = self._transport.get(self._path)
        return self

    # ── work ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def trials(self, *, lease_seconds: float = LEASE_SECONDS) -> Iterator[Trial]:
        """Trials to train, one after the other, until the study is over; waits while there is nothing to do at present.

        Each is settled when the loop comes back for the next: see `Trial`. In the main thread, SIGTERM and Ctrl-C end
        the loop after the present step, with the trial paused so that it can be frozen; then they have their effect.
        """
        worker = worker_name()
        with Farewell(self._transport) as farewell:
            while trial := self._await_trial(worker, lease_seconds, farewell):
                with trial:
                    farewell.hold(trial)
                    yield trial
                farewell.hold(None)

    @overload
    def ask(self, *, lease_seconds: float = ...) -> Trial | None: ...
    @overload
    def ask(self, count: int, *, lease_seconds: float = ...) -> list[Trial]: ...
    def ask(self, count: int | None = None, *, lease_seconds: float = LEASE_SECONDS) -> Trial | list[Trial] | None:
        """A trial, or with `count` up to so many, without waiting for one: None or fewer is a normal answer.

        `state` then tells whether asking again makes sense. A lease lasts as long as its `Trial` and this process do.
        """
        trials, _ = self._ask(count or 1, worker_name(), lease_seconds)
        if count is None:
            return trials[0] if trials else None
        return trials

    def tell(self, trial: Trial, values: SupportsFloat | Mapping[str, Value]) -> None:
        """Completes a trial: values by metric, or the one value of a study with one objective."""
        if isinstance(values, Mapping):
            trial.tell(values)
        else:
            trial.tell({self._only_metric(): values})

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Puts a configuration at the head of the line."""
        self.add_trials([{"params": params}])

    def add_trials(self, trials: Sequence[Mapping[str, Any]]) -> None:
        """Adds up to 1 000 trials, all or none: {"params", "state": "QUEUED" or "COMPLETED", "values", "curve"}."""
        self._transport.post(f"{self._path}/trials", {"trials": list(trials)}, once=True)

    # ── state ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def pause(self) -> None:
        """No more trials for now; those that run are told to pause."""
        self._set_state("paused")

    def resume(self) -> None:
        """Active again."""
        self._set_state("active")

    def stop(self) -> None:
        """The end, before the budget is spent; trials that run are told to stop."""
        self._set_state("stopped")

    def delete(self) -> None:
        """The study and everything in it, for good."""
        self._transport.delete(self._path)

    # ── knowledge ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def best(self) -> Best:
        """The best trial seen and the one recommended, as of now."""
        found = self._transport.get(f"{self._path}/best")
        return Best(_observed(found["observed"]), _recommended(found["recommended"]))

    def records(self, state: str | None = None) -> Iterator[dict[str, Any]]:
        """Every trial, or those in a state such as "RUNNING", as the server describes them: without their curves."""
        return self._transport.pages(f"{self._path}/trials", state=state, page_size=500)

    def curve(self, trial_id: str, metric: str) -> list[tuple[int, float]]:
        """The (step, value) pairs that a trial has reported, in the order of the steps."""
        found = self._transport.get(f"/trials/{trial_id}/curve", metric=metric)
        return [(point["step"], float(point["value"])) for curve in found["curves"] for point in curve["points"]]

    def trials_dataframe(self) -> pd.DataFrame:
        """Every trial in a row: number, state, last step, objective so far, `params_…`, `values_…`. Needs pandas."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("trials_dataframe() needs pandas: pip install 'frazil[pandas]'") from None
        return pd.DataFrame([_row(trial) for trial in self.records()])

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _await_trial(self, worker: str, lease_seconds: float, farewell: Farewell) -> Trial | None:
        """The next trial; None when the study is over or the process is asked to end."""
        while not farewell.bidden:
            trials, retry_after = self._ask(1, worker, lease_seconds)
            if trials and not farewell.bidden:
                return trials[0]
            for trial in trials:
                trial.release()
            if self.state in OVER:
                break
            self._sleep(jittered(retry_after), farewell)
        return None

    @staticmethod
    def _sleep(seconds: float, farewell: Farewell) -> None:
        end = time.monotonic() + seconds
        while not farewell.bidden and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, GLANCE))

    def _ask(self, count: int, worker: str, lease_seconds: float) -> tuple[list[Trial], float]:
        """Trials, and the seconds after which to ask again if there are none."""
        answer = self._transport.post(
            f"{self._path}/trials:ask", {"count": count, "worker": worker, "lease_seconds": lease_seconds}
        )
        self.info = {**self.info, "state": answer["study_state"]}
        trials = [Trial(grant, self._transport, self._courier, lease_seconds) for grant in answer["trials"]]
        return trials, answer["retry_after"] or WAIT

    def _set_state(self, state: str) -> None:
        self.info = self._transport.patch(self._path, {"state": state})

    def _only_metric(self) -> str:
        metrics = [str(objective["metric"]) for objective in self.info["objectives"]]
        if len(metrics) > 1:
            raise ValueError(f"this study has several objectives; tell a value for each of {metrics}")
        return metrics[0]


def worker_name() -> str:
    """A name no other loop has: an ask repeated after a lost answer gets the same trials, another ask gets others."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _observed(found: dict[str, Any] | None) -> Observed | None:
    return Observed(**_identity(found["trial"]), values=_floats(found["values"])) if found else None


def _recommended(found: dict[str, Any] | None) -> Recommended | None:
    if found is None:
        return None
    return Recommended(**_identity(found["trial"]), mean=_floats(found["mean"]), sd=_floats(found["sd"]))


def _identity(trial: dict[str, Any]) -> dict[str, Any]:
    return {name: trial[name] for name in ("id", "number", "params")}


def _floats(values: dict[str, Any]) -> dict[str, float]:
    """Numbers by metric, also where JSON had to spell them: "nan", "inf", "-inf"; without those that are missing."""
    return {metric: float(value) for metric, value in values.items() if value is not None}


def _row(trial: dict[str, Any]) -> dict[str, Any]:
    """A trial as a flat row; a told {"mean", "sem"} counts as its mean."""
    told = {metric: value["mean"] if isinstance(value, dict) else value for metric, value in trial["values"].items()}
    return {
        "number": trial["number"],
        "state": trial["state"],
        "last_step": trial["last_step"],
        **_floats({"objective": trial["objective"]}),
        **{f"params_{name}": value for name, value in trial["params"].items()},
        **{f"values_{metric}": value for metric, value in _floats(told).items()},
    }
