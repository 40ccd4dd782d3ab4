"""Worker processes: one thread each, replaced when they are worn out or dead."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys

import psutil
import pytest

from frazil_server.engine import workers
from frazil_server.engine.workers import Workers
from frazil_tuner.errors import TryLater

DIE_ONCE = "test -e {mark} || {{ touch {mark}; kill -9 $PPID; }}; test -e {mark}"


@pytest.fixture
def work():
    """Runs a story with worker processes of its own."""

    def run(story, count=1, recycle_after=100):
        async def main():
            pool = Workers(count, recycle_after)
            try:
                return await story(pool)
            finally:
                pool.close()

        return asyncio.run(main())

    return run


def test_a_worker_has_one_thread_whatever_library_computes(work, monkeypatch):
    for name in workers._ONE_THREAD:
        monkeypatch.delenv(name, raising=False)

    async def story(pool):
        return [await pool.run(os.getenv, name) for name in workers._ONE_THREAD]

    assert work(story) == ["1"] * 4


def test_a_worker_is_told_what_to_compute_on(work, monkeypatch):
    monkeypatch.setenv("FRAZIL_DEVICE", "auto")

    async def story(_):
        pool = Workers(1, 9, "cpu")
        try:
            return await pool.run(os.getenv, "FRAZIL_DEVICE"), pool.device
        finally:
            pool.close()

    assert work(story) == ("cpu", {"setting": "cpu"})


@pytest.mark.parametrize("setting", ["cpu", "cuda"])
def test_what_models_are_fitted_on_is_measured_when_the_workers_start(work, monkeypatch, setting):
    monkeypatch.setenv("FRAZIL_DEVICE", "auto")
    torch = pytest.importorskip("torch")

    async def story(_):
        pool = Workers(1, 9, setting)
        try:
            await pool.prewarm()
        finally:
            pool.close()
        return pool.device

    device = work(story)
    assert device["setting"] == setting
    if setting == "cpu":
        assert (device["device"], device["crossover"], device["torch"]) == ("cpu", None, torch.__version__)
    elif not torch.cuda.is_available():
        assert "device" not in device
        assert device["error"]


def test_torch_computes_with_one_thread_in_a_warm_worker(work, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")

    async def story(pool):
        warm = await pool.run(workers.warm_up)
        return (
            warm,
            await pool.run(os.getpid),
            await pool.run(eval, "__import__('sys').modules['torch'].get_num_threads()"),
        )

    warm, pid, threads = work(story)
    assert warm == pid != os.getpid()
    assert threads == 1


def test_a_worker_is_replaced_after_so_many_tasks(work):
    async def story(pool):
        return [await pool.run(os.getpid) for _ in range(5)]

    pids = work(story, recycle_after=2)
    assert [pids.index(pid) for pid in pids] == [0, 0, 2, 2, 4]


def test_prewarming_starts_every_worker(work, monkeypatch):
    monkeypatch.setattr(workers, "warm_up", os.getpid)

    async def story(pool):
        before = _children()  # of other tests
        await pool.prewarm()
        started = _children() - before
        return started, {*await asyncio.gather(*(pool.run(os.getpid) for _ in range(4)))}

    started, used = work(story, count=2)
    assert len(started) == 2
    assert used <= started


def test_as_many_tasks_run_beside_each_other_as_there_are_workers(work, tmp_path):
    wait_for = "touch {mine}; until test -e {other}; do sleep 0.05; done"
    a, b = tmp_path / "a", tmp_path / "b"

    async def story(pool):
        meet = [wait_for.format(mine=a, other=b), wait_for.format(mine=b, other=a)]
        return await asyncio.gather(*(pool.run(subprocess.call, ["timeout", "20", "sh", "-c", way]) for way in meet))

    assert work(story, count=2) == [0, 0]


def test_an_error_of_the_task_reaches_whoever_asked_and_costs_no_worker(work):
    async def story(pool):
        before = await pool.run(os.getpid)
        with pytest.raises(ValueError, match="math domain"):
            await pool.run(math.sqrt, -1.0)
        return before, await pool.run(os.getpid)

    before, after = work(story)
    assert before == after


def test_a_worker_killed_in_mid_task_is_replaced_and_the_task_repeated(work, tmp_path):
    async def story(pool):
        before = await pool.run(os.getpid)
        assert await pool.run(subprocess.call, ["sh", "-c", DIE_ONCE.format(mark=tmp_path / "died")]) == 0
        return before, await pool.run(os.getpid)

    before, after = work(story)
    assert before != after
    assert (tmp_path / "died").exists()


def test_a_worker_that_died_between_tasks_is_replaced(work):
    async def story(pool):
        before = await pool.run(os.getpid)
        psutil.Process(before).kill()
        return before, await pool.run(os.getpid)

    before, after = work(story)
    assert before != after


def test_a_task_that_kills_three_workers_is_given_up_for_now(work):
    async def story(pool):
        with pytest.raises(TryLater) as caught:
            await pool.run(os._exit, 1)
        return caught.value, await pool.run(os.getpid)

    error, survivor = work(story)
    assert error.code == "overloaded"
    assert error.retry_after == 5.0
    assert survivor


ORPHAN = """
import asyncio, os
from frazil_server.engine.workers import Workers

async def main():
    print(await Workers(1, 9).run(os.getpid), flush=True)
    await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_worker_does_not_outlive_a_server_that_was_killed(tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    server = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = psutil.Process(int(server.stdout.readline()))
    server.kill()
    server.communicate()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()


def _children():
    """The worker processes of this one; those that have ended and not been waited for yet do not count."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return {child.pid for child in alive if "spawn_main" in " ".join(child.cmdline())}
