"""A trial in this worker's hands: train its steps, report, and leave it finished, frozen or given back."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, SupportsFloat
from urllib.parse import quote

from .errors import TrialFinished
from .schedules import Multiplier
from .sender import Outbox
from .transport import log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

    from .sender import Courier
    from .transport import Transport

Value = SupportsFloat | Mapping[str, float]
"""A final value: anything `float` takes, or {"mean": …, "sem": …} where its standard error is known."""
Gradients = Mapping[str, Mapping[str, SupportsFloat]]
"""Derivatives of metrics by numeric parameters, in the units of both: {"loss": {"lr": -0.2}}."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where some worker froze a trial, and the last step that is in it."""

    uri: str
    step: int


class Trial:
    """One configuration, leased to this worker until it is told, frozen or released. One thread at a time may use it.

    `params` is what to train; `from_step` how many steps are done already, `until_step` how far the present grant
    reaches, `max_step` the full resource (both None where the study has no resource); `checkpoint` where to go on from;
    `why` what the policy gave as its reason. When `steps()` ends by itself, one of `paused`, `completed`, `pruned` and
    `lost` is true. `interrupted` says that the pause is this process's own: it has been asked to end.

    As a context manager, and in `study.trials()`, a trial settles itself: at the end of the block with what the steps
    came to, and after an exception by giving the lease back, so that another worker takes the trial.
    """

    def __init__(self, grant: Mapping[str, Any], transport: Transport, courier: Courier, lease_seconds: float) -> None:
        self.id: str = grant["id"]
        self.number: int = grant["number"]
        self.params: dict[str, Any] = grant["params"]
        self.from_step: int = grant["from_step"]
        self.until_step: int | None = grant["until_step"]
        self.max_step: int | None = grant["max_step"]
        self.checkpoint = Checkpoint(**grant["checkpoint"]) if grant["checkpoint"] else None
        self.why: dict[str, Any] = grant["why"] or {}
        self.paused = self.pruned = False
        self.completed = self.max_step is not None and self.from_step >= self.max_step
        self.stepping = False
        self.interrupted = False
        self._settled = False
        self._followers: list[tuple[str, Multiplier]] = []
        self._reported = self.from_step
        self._started = time.monotonic()
        self._courier = courier
        self._transport = transport
        self._outbox = Outbox(transport, self.id, grant["lease"]["token"], lease_seconds)
        courier.serve(self._outbox)
        # A trial that its owner dropped without a word must not keep its lease for ever.
        weakref.finalize(self, courier.forget, self._outbox).atexit = False

    def __repr__(self) -> str:
        return f"<frazil.Trial {self.number} {self.params}>"

    @property
    def lost(self) -> bool:
        """True once another worker has this trial: its lease ran out while this process was away."""
        return self._outbox.lost

    @property
    def reason(self) -> str:
        """The server's sentence about its last decision."""
        return self._outbox.decision.reason if self._outbox.decision else ""

    @property
    def obsolete_checkpoints(self) -> list[str]:
        """Checkpoints of this study, of any of its trials, from which nobody will go on any more, as this worker was
        told up to now. Each is told once in a study: delete it, or it stays where it is.
        """
        return list(self._outbox.obsolete)

    # ── training ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def steps(self, count: int | None = None) -> Iterator[int]:
        """The steps to train, from `from_step + 1` on, for as long as the server grants more.

        Ends after the last step, or when the server says pause or stop, the lease is lost, or the process is asked to
        end. `count` stands for the last step where the study has no resource and so knows none. Raises RuntimeError
        when the last step of a grant was not reported, for then nobody can say whether to go on.
        """
        last = count if self.max_step is None else self.max_step
        if last is None:
            raise ValueError("this study has no resource, so it knows no last step: say steps(count)")
        self.stepping = True
        step = self.from_step
        while not self._over(step, last):
            self._follow()
            step += 1
            yield step

    def _follow(self) -> None:
        """Takes over schedules that were changed on the server: `params`, and the schedulers made from them."""
        self.params.update(self._outbox.schedules)
        for name, follower in self._followers:
            if follower.schedule != self.params[name]:
                follower.follow(self.params[name])

    def report(self, step: int, /, *, wait: bool = False, **metrics: SupportsFloat) -> None:
        """Hands over what `step` measured. Returns at once, except at the end of a grant, where a decision is due.

        The measurement is repeated until the server has it. What the sending of earlier ones met is raised here.
        `wait`: return only when this one is acknowledged. Nothing is raised for a lost trial; `lost` tells.
        """
        if self.lost:
            return
        values = {name: float(value) for name, value in metrics.items()}
        self._outbox.put({"step": step, "metrics": values, "elapsed": round(time.monotonic() - self._started, 3)})
        self._reported = max(self._reported, step)
        if wait or (self.until_step is not None and step >= self.until_step):
            self.flush()
        else:
            self._courier.wake()
        self._follow()

    def reschedule(self, **schedules: Mapping[str, Any]) -> None:
        """Goes on with other schedules, by parameter, and has the server write that down. Anybody else may do the same
        with `PATCH /trials/{trial}`: they then come with the answer to a report, and `params` and schedulers follow.
        """
        self.flush()
        changed = self._transport.patch(f"/trials/{self.id}", {"schedules": schedules})["params"]
        self.params.update({name: changed[name] for name in schedules})
        self._follow()

    def flush(self) -> None:
        """Returns when the server has every measurement reported so far."""
        self._outbox.flush()
        decision = self._outbox.decision
        if decision and decision.kind == "continue":
            self.until_step = decision.until_step

    def save(self, uri: str | os.PathLike[str]) -> None:
        """Names a checkpoint of the last step reported: if this worker is lost, another goes on from there."""
        self._outbox.say(":heartbeat", {"checkpoint": {"uri": os.fspath(uri), "step": self._reported}})

    # ── what to train with; needs frazil[torch] ──────────────────────────────────────────────────────────────────────

    def optimizer(self, model: nn.Module) -> Optimizer:
        """The optimizer that `params` name, from a space of `frazil.optimizers.space`; see `frazil.torch.optimizer`."""
        from . import torch as built

        if not isinstance(name := self.params.get("optimizer"), str):
            raise ValueError('params have no "optimizer": make the space with frazil.optimizers.space')
        return built.optimizer(self._transport.get(f"/optimizers/{quote(name, safe='')}"), self.params, model)

    def scheduler(self, optimizer: Optimizer, steps_per_unit: float = 1.0, name: str | None = None) -> LambdaLR:
        """A scheduler for the schedule in `params`, the one called `name` where there are several.

        Step it after every step of the optimizer, `steps_per_unit` of which are one of the study's steps: the number of
        batches in an epoch, where the resource is epochs.
        """
        from . import torch as built

        schedules = [key for key, value in self.params.items() if isinstance(value, dict) and "kind" in value]
        if name is None and len(schedules) != 1:
            raise ValueError(f"params have {len(schedules)} schedules; name one of {', '.join(schedules) or 'them'}")
        name = name or schedules[0]
        follower = Multiplier(self.params[name], steps_per_unit)
        self._followers.append((name, follower))
        return built.scheduler(optimizer, follower)

    # ── endings ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def freeze(self, uri: str | os.PathLike[str]) -> None:
        """Pauses the trial at a checkpoint, from which any worker may go on; the server keeps only the string."""
        self._pause({"uri": os.fspath(uri), "step": self._reported})

    def tell(
        self,
        values: Mapping[str, Value] | None = None,
        /,
        *,
        gradients: Gradients | None = None,
        cost: SupportsFloat | None = None,
        **metrics: Value,
    ) -> None:
        """Completes the trial with its final values; without any, the last report counts.

        `gradients` are derivatives of the values, where they are known, and `cost` is what the trial cost. A metric of
        one of these names goes into the mapping.
        """
        told = {name: _plain(value) for name, value in {**(values or {}), **metrics}.items()}
        known: dict[str, object] = {}
        if gradients is not None:
            known["gradients"] = {metric: _floats(slopes) for metric, slopes in gradients.items()}
        if cost is not None:
            known["cost"] = float(cost)
        self._tell("COMPLETED", values=told, **known)

    def fail(self, reason: str) -> None:
        """Ends the trial as one that could not be trained (a crash, out of memory, …)."""
        self._tell("FAILED", reason=reason)

    def infeasible(self, reason: str) -> None:
        """Ends the trial as one whose parameters make no sense together."""
        self._tell("INFEASIBLE", reason=reason)

    def release(self) -> None:
        """Gives the lease back without a word on the trial; another worker takes it up where its last checkpoint is."""
        self._close()
        if not self.lost:
            self._outbox.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._settled:
            return
        if self.lost:
            self._close()
        elif self.completed:
            self.tell()
        elif self.pruned:
            self._tell("PRUNED", reason=self.reason)
        elif kind or self.interrupted:
            self.release()
        elif self.paused:
            self._pause(None)
        elif self._reported > self.from_step:
            self.tell()
        else:
            log.warning("trial %d ended without a report and without a word, and counts as failed", self.number)
            self.fail("the worker's loop body ended without a report, a tell or a freeze")

    def _over(self, step: int, last: int) -> bool:
        """After `step`: whether it was the last one; notes why."""
        if self.lost:
            return True
        if step == self.until_step and step > self._reported:
            raise RuntimeError(f"step {step} ends what trial {self.number} was granted: report it before the next one")
        decision = self._outbox.decision
        if decision and decision.kind != "continue":
            self._obey(decision.kind)
        elif self.interrupted:
            self._obey("pause")
        return self.lost or self.paused or self.pruned or self.completed or step >= last

    def _obey(self, decision: str) -> None:
        self.flush()
        if not self.lost:
            self.paused = decision == "pause"
            self.completed = decision == "stop" and self._reported == self.max_step
            self.pruned = decision == "stop" and not self.completed

    def _pause(self, checkpoint: Mapping[str, Any] | None) -> None:
        self._end(":pause", {"step": self._reported, "checkpoint": checkpoint})

    def _tell(self, state: str, **content: object) -> None:
        self._end(":tell", {"state": state, **content})

    def _end(self, verb: str, body: Mapping[str, Any]) -> None:
        if self._settled:
            raise TrialFinished(f"trial {self.number} is no longer in this worker's hands", code="trial_finished")
        self._outbox.say(verb, body)
        self._close()

    def _close(self) -> None:
        self._courier.forget(self._outbox)
        self._settled = True


def _plain(value: Value) -> float | dict[str, float]:
    return _floats(value) if isinstance(value, Mapping) else float(value)


def _floats(values: Mapping[str, SupportsFloat]) -> dict[str, float]:
    return {name: float(number) for name, number in values.items()}
