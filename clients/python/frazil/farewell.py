"""What SIGTERM and Ctrl-C mean to a worker: finish the step, freeze, give the lease back, and then end as asked."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

from .transport import log

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from .transport import Transport
    from .trial import Trial

SIGNALS = (signal.SIGTERM, signal.SIGINT)
UNTOUCHED = (signal.SIG_IGN, None)  # ignored, or handled by something that is not Python


class Farewell:
    """While entered in the main thread, the first signal is answered gently, and a second as it was before.

    Gently: the trial in hand, if it is at its steps, learns that it is `interrupted`; after the block the signal takes
    the effect it had before. A trial that is not at its steps has no place to pause, so there it takes effect at once.
    Signals that the process ignores stay ignored. Other threads receive no signals; there, nothing happens here.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._patience = transport.patience
        self._trial: Trial | None = None
        self._before: dict[int, Any] = {}
        self._received: int | None = None

    @property
    def bidden(self) -> bool:
        """The process has been asked to end."""
        return self._received is not None

    def hold(self, trial: Trial | None) -> None:
        """The trial now in hand."""
        self._trial = trial
        if trial:
            trial.interrupted = self.bidden

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: handler for number, handler in handlers.items() if handler not in UNTOUCHED}
            for number in self._before:
                signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        self._transport.patience = self._patience
        if self._received is not None and kind is None:
            self._take_effect(self._received, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        self._transport.hurry()
        if self._trial and not self._trial.stepping:
            self._take_effect(number, frame)
        self._received = number
        if self._trial:
            self._trial.interrupted = True
            log.warning("%s: finishing this step, then leaving; again to leave at once", signal.Signals(number).name)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take_effect(self, number: int, frame: FrameType | None) -> None:
        """What the signal would have done before; the default for SIGTERM, a death without goodbye, as SystemExit."""
        before: Callable[[int, FrameType | None], object] | Any = self._before[number]
        if callable(before):
            before(number, frame)
        else:
            raise SystemExit(128 + number)
