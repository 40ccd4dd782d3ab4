"""Measurements on their way: one thread per client carries them, so that training never waits for the network.

    report ── put ──▶ Outbox ── one request at a time ──▶ server
                        ▲ Courier: whenever something waits, or the lease needs renewing
                        ▲ flush:   the caller's own thread, where the answer decides what it does next

What waits while a request is under way travels with the next one.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import FrazilError, LeaseLost, TrialFinished, TryLater
from .transport import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .transport import Transport

MOST_AT_ONCE = 500  # measurements in one request
RENEWALS_PER_LEASE = 3  # two may come to nothing before the lease runs out
RELEASE_PATIENCE = 5.0  # seconds; somebody waits to see his traceback
LINGER = 5.0  # seconds that the thread outlives its last trial


@dataclass(frozen=True, slots=True)
class Decision:
    """The server's answer to a report or a renewal: "continue", "pause" or "stop"; the last step granted; and why."""

    kind: str
    until_step: int | None
    reason: str


class Outbox:
    """What the server has not acknowledged yet of one leased trial, and the lease itself.

    The lease is timed on the monotonic clock, from the seconds that were asked for; what a wall clock says, here or on
    the server, plays no part. `decision` is the last answer; `lost` becomes true when the trial is another worker's;
    `obsolete` collects the checkpoints that answers called so; `schedules` were changed in flight. Any thread may call
    any method.
    """

    def __init__(self, transport: Transport, trial: str, lease: str, lease_seconds: float) -> None:
        self._transport = transport
        self._trial = trial
        self._lease = lease
        self._renewal = lease_seconds / RENEWALS_PER_LEASE
        self._renewal_due = time.monotonic() + self._renewal
        self._waiting: list[dict[str, Any]] = []
        self._failure: FrazilError | None = None
        self._one_at_a_time = threading.Lock()
        self.decision: Decision | None = None
        self.lost = False
        self.obsolete: list[str] = []
        self.schedules: dict[str, Any] = {}

    def put(self, measurement: dict[str, Any]) -> None:
        """Takes a measurement to be sent; raises what the courier has met since the last call."""
        self._raise_failure()
        self._waiting.append(measurement)

    def flush(self) -> None:
        """Returns when all that was put is acknowledged, or the trial is lost."""
        with self._one_at_a_time:
            self._raise_failure()
            while self._waiting and not self.lost:
                self._send_some()

    def say(self, verb: str, body: Mapping[str, Any]) -> None:
        """Sends what waits, then one word more: a checkpoint, tell or pause. Says nothing of a lost trial."""
        self.flush()
        if not self.lost:
            self._post(verb, body)

    def release(self) -> None:
        """Gives the lease back, whatever waits; an outage is not waited out, for the lease ends by itself."""
        try:
            self._transport.post(f"/trials/{self._trial}:release", {"lease": self._lease}, patience=RELEASE_PATIENCE)
        except FrazilError as error:
            log.warning("the lease could not be given back and will run out by itself: %s", error)

    @property
    def next_visit(self) -> float:
        """When the courier should call, on the monotonic clock. After an error, not until the caller has seen it."""
        if self.lost or self._failure:
            return math.inf
        return -math.inf if self._waiting else self._renewal_due

    def tend(self) -> None:
        """The courier's visit: sends what waits, or renews the lease; keeps an error for the caller's next word."""
        with self._one_at_a_time:
            try:
                if self._waiting:
                    self._send_some()
                elif time.monotonic() >= self._renewal_due:
                    self._post(":heartbeat", {})
            except FrazilError as error:
                self._failure = error

    def _send_some(self) -> None:
        batch = self._waiting[:MOST_AT_ONCE]
        try:
            self._post("/reports", {"measurements": batch})
        except TryLater:
            raise
        except FrazilError:
            del self._waiting[: len(batch)]  # refused once, refused again
            raise
        del self._waiting[: len(batch)]

    def _post(self, verb: str, body: Mapping[str, Any]) -> None:
        """Sends a word under the lease, and takes in what the answer says of lease and decision."""
        try:
            answer = self._transport.post(f"/trials/{self._trial}{verb}", {"lease": self._lease, **body})
        except (LeaseLost, TrialFinished) as error:
            self.lost = True
            log.warning("trial %s is another worker's now and is left to it: %s", self._trial, error.detail)
            return
        self._renewal_due = time.monotonic() + self._renewal
        if "decision" in answer:
            self.decision = Decision(answer["decision"], answer["until_step"], answer["reason"])
            self.obsolete += answer.get("obsolete_checkpoints", ())
            self.schedules = answer.get("schedule") or self.schedules

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure:
            raise failure


class Courier:
    """The thread that visits each open outbox of a client when it is due. It starts with the first one.

    It ends by itself when the last one has been closed for a while.
    """

    def __init__(self) -> None:
        self._outboxes: set[Outbox] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def serve(self, outbox: Outbox) -> None:
        with self._changed:
            self._outboxes.add(outbox)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="frazil-courier", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self, outbox: Outbox) -> None:
        with self._changed:
            self._outboxes.discard(outbox)

    def forget_all(self) -> None:
        """No visits any more."""
        with self._changed:
            self._outboxes.clear()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while due := self._await_due():
            for outbox in due:
                outbox.tend()

    def _await_due(self) -> list[Outbox]:
        """The outboxes to visit now; none when the last has been gone for a while and the thread may end."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = [outbox for outbox in tuple(self._outboxes) if outbox.next_visit <= now]
                if due:
                    return due
                wait = min((outbox.next_visit - now for outbox in tuple(self._outboxes)), default=LINGER)
                if not self._changed.wait(min(wait, threading.TIMEOUT_MAX)) and not self._outboxes:
                    self._thread = None
                    return []
