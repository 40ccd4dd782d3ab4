"""Worker processes: where torch lives. One thread each, replaced after a number of fits, and whenever one dies.

Several compute threads per process oversubscribe the cores (OpenMP beside OpenBLAS) and make fits many times slower, so
the limits are set in the environment before a worker starts. Acquisition optimisation leaks memory over hours, so
workers are recycled.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import structlog

from frazil_tuner.errors import TryLater

log = structlog.get_logger(__name__)

T = TypeVar("T")

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TRIES = 3


def _settle_in() -> None:
    """A worker ends when its server does, however that ends, and not when a Ctrl-C reaches the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(multiprocessing.parent_process(),), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    """A worker whose server was killed waits for tasks for ever: nobody closes the pipe, as it holds both ends."""
    parent.join()
    os._exit(1)


def warm_up() -> int:
    """Imports what every fit needs, torch first of all; returns the worker's pid."""
    importlib.import_module("frazil_tuner.acquisition")
    return os.getpid()


def measure_device() -> dict[str, Any]:
    """What models are fitted on, and from which size on a GPU is worth it."""
    report: dict[str, Any] = importlib.import_module("frazil_tuner.device").report()
    return report


class _Slot:
    """One worker process and the number of tasks it has done."""

    def __init__(self) -> None:
        self.executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _settle_in)
        self.tasks = 0

    def close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)


class Workers:
    """A fixed number of worker processes, which fit models on `device`. `run` waits for a free one."""

    def __init__(self, count: int, recycle_after: int, device: str = "auto") -> None:
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")
        os.environ["FRAZIL_DEVICE"] = device  # what a worker process starts with
        self.device: dict[str, Any] = {"setting": device}
        self.count = count
        self._recycle_after = recycle_after
        self._free: asyncio.Queue[_Slot | None] = asyncio.Queue()
        for _ in range(count):
            self._free.put_nowait(None)  # started at its first task

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Calls `function` in a worker process. A worker that dies costs another try; raises `TryLater` after three."""
        for attempt in range(1, _TRIES + 1):
            slot = await self._free.get() or _Slot()
            try:
                result = await asyncio.wrap_future(slot.executor.submit(function, *args))
            except BrokenProcessPool:
                log.warning("worker_died", task=function.__name__, attempt=attempt)
                self._give_back(slot, worn=True)
            except BaseException:
                self._give_back(slot, worn=False)
                raise
            else:
                self._give_back(slot, worn=False)
                return result
        raise TryLater(f"The engine's worker died {_TRIES} times over this task.", retry_after=5.0, code="overloaded")

    def _give_back(self, slot: _Slot, *, worn: bool) -> None:
        slot.tasks += 1
        if worn or slot.tasks >= self._recycle_after:
            slot.close()
            self._free.put_nowait(None)
        else:
            self._free.put_nowait(slot)

    async def prewarm(self) -> None:
        """Starts every worker, lets it import what it needs, and measures what they compute on."""
        await asyncio.gather(*(self.run(warm_up) for _ in range(self.count)))
        try:
            self.device |= await self.run(measure_device)
        except Exception as error:  # noqa: BLE001  (fits say for themselves what they cannot do)
            log.warning("device_not_measured", error=repr(error))
            self.device["error"] = str(error)
        for network, reason in self.device.get("damaged_networks", {}).items():
            log.warning("network_damaged", network=network, reason=reason)

    def close(self) -> None:
        while not self._free.empty():
            slot = self._free.get_nowait()
            if slot is not None:
                slot.close()
