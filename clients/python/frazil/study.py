"""A study: the source of trials, and what is known of them."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsFloat, overload

from . import knowledge, schedules
from .farewell import Farewell
from .knowledge import Best, Calibration, Foretold, Front, Importances, Prediction, Regret, Scaling, floats
from .transport import jittered
from .trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from .knowledge import Observed
    from .sender import Courier
    from .transport import Transport
    from .trial import Checkpoint, Gradients, Value

LEASE_SECONDS = 120.0
OVER = frozenset({"stopped", "completed"})
WAIT = 1.0  # seconds until the next ask, where the server did not say
MOST_ENTRIES = 10_000  # of a table
REFINED = "refined"  # the tag of trials that repeat another with its schedule refined
GLANCE = 0.2  # seconds; how often a waiting worker looks whether it has been asked to end


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

    def trials(
        self, *, context: Mapping[str, Any] | None = None, lease_seconds: float = LEASE_SECONDS
    ) -> Iterator[Trial]:
        """Trials to train, one after the other, until the study is over; waits while there is nothing to do at present.

        Each is settled when the loop comes back for the next: see `Trial`. In the main thread, SIGTERM and Ctrl-C end
        the loop after the present step, with the trial paused so that it can be frozen; then they have their effect.
        `context` has a value for each parameter with this role.
        """
        asking = _asking(worker_name(), lease_seconds, context)
        with Farewell(self._transport) as farewell:
            while trial := self._await_trial(asking, farewell):
                with trial:
                    farewell.hold(trial)
                    yield trial
                farewell.hold(None)

    @overload
    def ask(self, *, context: Mapping[str, Any] | None = ..., lease_seconds: float = ...) -> Trial | None: ...
    @overload
    def ask(
        self, count: int, *, context: Mapping[str, Any] | None = ..., lease_seconds: float = ...
    ) -> list[Trial]: ...
    def ask(
        self,
        count: int | None = None,
        *,
        context: Mapping[str, Any] | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Trial | list[Trial] | None:
        """A trial, or with `count` up to so many, without waiting for one: None or fewer is a normal answer.

        `context` has a value for each parameter with this role: what is found, not chosen. `state` then tells whether
        asking again makes sense. A lease lasts as long as its `Trial` and this process do.
        """
        trials, _ = self._ask(count or 1, _asking(worker_name(), lease_seconds, context))
        if count is None:
            return trials[0] if trials else None
        return trials

    def tell(
        self,
        trial: Trial,
        values: SupportsFloat | Mapping[str, Value],
        *,
        gradients: Gradients | None = None,
        cost: SupportsFloat | None = None,
    ) -> None:
        """Completes a trial: values by metric, or the one value of a study with one objective. See `Trial.tell`."""
        told = values if isinstance(values, Mapping) else {self._only_metric(): values}
        trial.tell(told, gradients=gradients, cost=cost)

    def compare(self, ranking: Sequence[Trial | Observed | int | str]) -> None:
        """Says which trials are better than which, the best first: trials, their numbers or ids.

        For studies whose objective is learned "by" comparison; raises `Invalid` for others.
        """
        ranked = [item if isinstance(item, int | str) else item.id for item in ranking]
        self._transport.post(f"{self._path}/comparisons", {"ranking": ranked}, once=True)

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Puts a configuration at the head of the line."""
        self.add_trials([{"params": params}])

    def branch(
        self,
        trial: Trial | Observed | int,
        params: Mapping[str, Any] | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        until: int | None = None,
    ) -> None:
        """Puts a run at the head of the line that goes on from a checkpoint of `trial`, with its curve up to there and
        with other `params`: a cooldown from a trunk that goes on by itself.

        It begins at the newest checkpoint, or at one that you have kept, and is trained `until` this step, or the end,
        before the policy is asked about it. Raises `Invalid` for what cannot be branched so.
        """
        number = trial if isinstance(trial, int) else trial.number
        where = {"uri": checkpoint.uri, "step": checkpoint.step} if checkpoint else None
        given = {"parent": number, "params": dict(params or {}), "checkpoint": where, "until_step": until}
        self.add_trials([{name: value for name, value in given.items() if value is not None}])

    def enqueue_portfolio(self, points: Sequence[Mapping[str, Any]], tag: str = "baseline") -> None:
        """Puts configurations at the head of the line, tagged as the baseline that others have to beat."""
        self.add_trials([{"params": params, "tags": [tag]} for params in points])

    def enqueue_refined(
        self,
        trial: Trial | Observed | None = None,
        parameter: str = "lr_schedule",
        *,
        norm: str = "l2",
        metric: str = "grad_norm",
    ) -> dict[str, Any]:
        """Puts a trial at the head of the line that repeats `trial`, or the best one so far, with its schedule refined
        by the gradient norms which it reported as `metric`: `norm` "l2" under SGD, "l1" under Adam and its like. It
        need not win: `refinements` says whether it did.

        Returns the schedule. Raises ValueError for a trial without that schedule, one that has not been trained to its
        end, or one with fewer than ten norms.
        """
        found = trial or self.best.observed
        if found is None:
            raise ValueError("no trial has a value yet, so there is none to refine")
        schedule = found.params.get(parameter)
        if not isinstance(schedule, Mapping):
            raise ValueError(f"trial {found.number} has no schedule {parameter!r}; it has {', '.join(found.params)}")
        norms, total = self.curve(found.id, metric), schedule["total_steps"]
        if norms and norms[-1][0] < total:
            raise ValueError(
                f"trial {found.number} has {metric} up to step {norms[-1][0]} of {total:g}; refine a whole run"
            )
        values = [value for _, value in norms]
        refined = schedules.refine(values, norm=norm, total_steps=total, peak=schedule.get("peak"))
        params = {**found.params, parameter: refined}
        self.add_trials([{"params": params, "tags": [REFINED, f"{REFINED} from {found.number}"]}])
        return refined

    @property
    def refinements(self) -> list[dict[str, Any]]:
        """Every refined trial: {"trial", "of", "value", "before", "won"}; "won" is None until it has ended."""
        records = {record["number"]: record for record in self.records()}
        sign = 1 if self.info["objectives"][0]["direction"] == "maximize" else -1
        return [_refinement(record, records[of], sign) for record in records.values() for of in _refined_from(record)]

    def add_trials(self, trials: Sequence[Mapping[str, Any]]) -> None:
        """Adds up to 1 000 trials, all or none: {"params", "state": "QUEUED" or "COMPLETED", "values", "curve", …}."""
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

    def edit_space(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Changes parameters in mid-study, with all trials kept: {"lr": {"high": 1.0}} widens a range, {"optimizer":
        {"choices": [...]}} adds a choice, {"width": {"disabled": True, "value": 64}} fixes one.

        Raises `Conflict` if the study was changed since `info` was read, and `Invalid` for what would leave trials
        outside.
        """
        space = [{"name": name, **change} for name, change in changes.items()]
        match = {"if-match": f'"{self.info["version"]}"'}
        self.info = self._transport.patch(self._path, {"space": space}, match)

    def delete(self) -> None:
        """The study and everything in it, for good."""
        self._transport.delete(self._path)

    # ── knowledge ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def best(self) -> Best:
        """The best trial seen, the one recommended, and whether to go on, as of now."""
        return knowledge.best(self._transport.get(f"{self._path}/best"))

    @property
    def pareto(self) -> Front:
        """The best trade-offs between several objectives, as of now."""
        return knowledge.front(self._transport.get(f"{self._path}/pareto"))

    def importances(self, method: str = "auto", metric: str | None = None) -> Importances:
        """How much each parameter matters: "auto", "ped_anova", "fanova" or "sobol". Raises `Conflict` where it is too
        early to say.
        """
        return knowledge.importances(self._transport.get(f"{self._path}/importances", method=method, metric=metric))

    def scaling(self, parameter: str = "lr", batch: str = "batch_size", metric: str | None = None) -> Scaling:
        """How a learning rate goes with the batch size here; `study.scaling().at(256)` is the best one, carried there.

        Raises `Conflict` where it is too early to say.
        """
        query = {"parameter": parameter, "batch": batch, "metric": metric}
        return knowledge.scaling(self._transport.get(f"{self._path}/scaling", **query))

    def invariance(self, rate: str = "lr", decay: str = "weight_decay", metric: str | None = None) -> dict[str, Any]:
        """Whether runs of equal rate × decay come together late in training: {"holds", "shares", …}, as the server
        describes it. Raises `Conflict` where it is too early to say.
        """
        query = {"rate": rate, "decay": decay, "metric": metric}
        return dict(self._transport.get(f"{self._path}/invariance", **query))

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Prediction:
        """What the model expects at parameter sets. Raises `Conflict` where there is no model yet."""
        body = {"points": list(points)}
        return knowledge.prediction(self._transport.post(f"{self._path}/predictions", body))

    def slice(
        self, parameter: str, second: str | None = None, *, resolution: int = 21, base: Mapping[str, Any] | None = None
    ) -> Prediction:
        """What the model expects along one parameter, or two, through `base` or the best trial."""
        text = None if base is None else json.dumps(dict(base))
        query = {"slice": parameter, "slice2": second, "resolution": resolution, "base": text}
        return knowledge.prediction(self._transport.get(f"{self._path}/predictions", **query))

    def foretell(self, trial: Trial | Observed | int, metric: str | None = None, *, max_points: int = 100) -> Foretold:
        """Where the curve of a trial, or of the trial with this number, is expected to go up to the full resource.

        Raises `Conflict` where nothing has been measured yet.
        """
        number = trial if isinstance(trial, int) else trial.number
        query = {"trial": number, "metric": metric, "max_points": max_points}
        return knowledge.foretold(self._transport.get(f"{self._path}/predictions", **query))

    def calibration(self, metric: str | None = None) -> Calibration:
        """How well the model's expectations hold for trials that it has not seen. Takes some twenty fits."""
        found = self._transport.get(f"{self._path}/predictions", calibration="true", metric=metric)
        return knowledge.calibration(found)

    @property
    def regret(self) -> Regret:
        """What was lost by learning while serving, trial by trial and context by context, as of now."""
        return knowledge.regret(self._transport.get(f"{self._path}/regret"))

    def records(self, state: str | None = None) -> Iterator[dict[str, Any]]:
        """Every trial, or those in a state such as "RUNNING", as the server describes them: without their curves."""
        return self._transport.pages(f"{self._path}/trials", state=state, page_size=500)

    def curve(self, trial_id: str, metric: str) -> list[tuple[int, float]]:
        """The (step, value) pairs that a trial has reported, in the order of the steps."""
        found = self._transport.get(f"/trials/{trial_id}/curve", metric=metric)
        return [(point["step"], float(point["value"])) for curve in found["curves"] for point in curve["points"]]

    def lineage(self, trial: Trial | Observed | int, parameter: str) -> dict[str, Any]:
        """What a parameter was at every step of a run and of those that it was branched from, as a schedule that can be
        replayed: what population-based training has found. Also of a schedule, whose values then count.

        Raises ValueError where a run of the line had no such parameter, or a name in its place.
        """
        records = {record["number"]: record for record in self.records()}
        record = records[trial if isinstance(trial, int) else trial.number]
        end, values = record["last_step"], list[float]()
        while True:
            begun = record["why"].get("from_step", 0) if "parent" in record["why"] else 0
            values = [_value_at(record, parameter, step) for step in range(begun, end)] + values
            if not begun:
                break
            record, end = records[record["why"]["parent"]], begun
        every = -(-len(values) // MOST_ENTRIES) or 1
        kept, peak = values[::every], max(values, default=0.0) or 1.0
        multipliers = [value / peak for value in kept]
        return {
            "kind": "table", "peak": peak, "multipliers": multipliers, "every": every, "total_steps": len(values)
        }  # fmt: skip

    def trials_dataframe(self) -> pd.DataFrame:
        """Every trial in a row: number, state, last step, objective so far, `params_…`, `values_…`. Needs pandas."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("trials_dataframe() needs pandas: pip install 'frazil[pandas]'") from None
        return pd.DataFrame([_row(trial) for trial in self.records()])

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _await_trial(self, asking: Mapping[str, Any], farewell: Farewell) -> Trial | None:
        """The next trial; None when the study is over or the process is asked to end."""
        while not farewell.bidden:
            trials, retry_after = self._ask(1, asking)
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

    def _ask(self, count: int, asking: Mapping[str, Any]) -> tuple[list[Trial], float]:
        """Trials, and the seconds after which to ask again if there are none."""
        answer = self._transport.post(f"{self._path}/trials:ask", {"count": count, **asking})
        self.info = {**self.info, "state": answer["study_state"]}
        seconds = asking["lease_seconds"]
        trials = [Trial(grant, self._transport, self._courier, seconds) for grant in answer["trials"]]
        return trials, answer["retry_after"] or WAIT

    def _set_state(self, state: str) -> None:
        self.info = self._transport.patch(self._path, {"state": state})

    def _only_metric(self) -> str:
        metrics = [str(objective["metric"]) for objective in self.info["objectives"]]
        if len(metrics) > 1:
            raise ValueError(f"this study has several objectives; tell a value for each of {metrics}")
        return metrics[0]


def _value_at(record: Mapping[str, Any], parameter: str, step: int) -> float:
    """What a parameter was in a trial when so many steps were done, whatever it became later."""
    params = dict(record["params"])
    for change in reversed(record["why"].get("rescheduled", ())):
        if step < change["step"]:
            params.update(change["before"])
    value = params.get(parameter)
    if isinstance(value, Mapping):
        return schedules.value(value, step)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"trial {record['number']} has no number or schedule called {parameter!r}")
    return float(value)


def _refined_from(record: Mapping[str, Any]) -> list[int]:
    """The numbers of the trials whose schedule a record's is refined from: one at most."""
    head = f"{REFINED} from "
    return [int(tag.removeprefix(head)) for tag in record["tags"] if tag.startswith(head)][:1]


def _refinement(record: Mapping[str, Any], before: Mapping[str, Any], sign: int) -> dict[str, Any]:
    value, old = (None if item["objective"] is None else float(item["objective"]) for item in (record, before))
    done = value is not None and record["state"] in ("COMPLETED", "PRUNED", "FAILED")
    won = sign * (value - old) > 0 if done and value is not None and old is not None else None
    return {"trial": record["number"], "of": before["number"], "value": value, "before": old, "won": won}


def _asking(worker: str, lease_seconds: float, context: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an ask says beside its count."""
    asking: dict[str, Any] = {"worker": worker, "lease_seconds": lease_seconds}
    return asking if context is None else {**asking, "context": dict(context)}


def worker_name() -> str:
    """A name no other loop has: an ask repeated after a lost answer gets the same trials, another ask gets others."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _row(trial: dict[str, Any]) -> dict[str, Any]:
    """A trial as a flat row; a told {"mean", "sem"} counts as its mean."""
    told = {metric: value["mean"] if isinstance(value, dict) else value for metric, value in trial["values"].items()}
    return {
        "number": trial["number"],
        "state": trial["state"],
        "last_step": trial["last_step"],
        **floats({"objective": trial["objective"]}),
        **{f"params_{name}": value for name, value in trial["params"].items()},
        **{f"values_{metric}": value for metric, value in floats(told).items()},
    }
