"""Freeze-thaw as it is meant to be lived: real training, many hands, and nothing that stays up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from itertools import pairwise

import httpx2
import pytest

import frazil

from .conftest import eventually, the_books_balance
from .network import SPACE, whole_curve

MAX, BUDGET = 12, 130
POLICY = "freeze_thaw"
START_COST = 5
"""Steps that a new run costs beside its own, so that it often pays to thaw an old one."""


class Auditor:
    """Reads the books again and again while everything is in motion."""

    def __init__(self, url, study):
        self._client = frazil.Client(url, patience=0.1)
        self._study = self._client.study(study.name)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.used = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _run(self):
        while not self._ended.wait(0.1):
            with contextlib.suppress(frazil.TryLater):
                self.used.append(self._study.refresh().info["steps_used"])


def stories(server, study):
    """What happened to each trial, in order."""
    found, query = defaultdict(list), {"page_size": 1000}
    while True:
        answer = httpx2.get(f"{server.url}/api/v1/studies/{study.id}/events:list", params=query).raise_for_status()
        for event in answer.json()["items"]:
            found[event["trial"]].append(event)
        query["page_token"] = answer.json()["next_page_token"]
        if query["page_token"] is None:
            return found


def thaws(story):
    """(step of the checkpoint, step from which it went on) each time a trial was frozen and thawed."""
    legs = [event for event in story if event["kind"] in ("trial.paused", "trial.started", "trial.resumed")]
    return [
        (before["data"]["step"], after["data"]["from_step"])
        for before, after in pairwise(legs)
        if (before["kind"], after["kind"]) == ("trial.paused", "trial.resumed")
    ]


@pytest.mark.timeout(180)
def test_six_clients_of_which_two_are_killed_and_a_server_that_dies_leave_every_curve_whole(
    database_url, serve, create, hire
):
    server = serve(database_url)
    study = create(
        server.url,
        space=SPACE,
        resource=frazil.Resource("epoch", min=1, max=MAX),
        policy={"name": POLICY, "start_cost": START_COST},
        budget={"resource": BUDGET},
    )
    workers = [hire(server.url, study, torch=True, lease_seconds=8, step_seconds=0.05, save_every=2) for _ in range(6)]

    def acknowledged():
        return sum(len(worker.diary("acknowledged")) for worker in workers)

    def kill_one():
        victim = eventually(
            lambda: next((w for w in workers if w.process.poll() is None and len(w.diary("acknowledged")) >= 3), None),
            "a worker in the midst of its work",
            60,
        )
        victim.kill()
        return victim

    with Auditor(server.url, study) as auditor:
        eventually(lambda: acknowledged() >= 20, "20 acknowledged reports", 90)
        killed = [kill_one()]
        eventually(lambda: acknowledged() >= 40, "40 acknowledged reports", 60)
        server.kill()
        time.sleep(0.5)
        server.start()
        eventually(lambda: acknowledged() >= 60, "60 acknowledged reports", 60)
        killed.append(kill_one())
        assert acknowledged() < BUDGET - 20, "the study was over before all had happened"
        for worker in workers:
            if worker not in killed:
                worker.finish(seconds=120)

    records = the_books_balance(study, workers, whole_curve)
    assert study.state == "completed"
    assert max(auditor.used) <= study.info["steps_used"] <= BUDGET
    assert sum(record["last_step"] for record in records) > BUDGET - 30, "more was trained twice than two kills explain"
    assert all(record["last_step"] <= MAX for record in records)
    told = stories(server, study)
    thawed = [thaw for story in told.values() for thaw in thaws(story)]
    assert len(thawed) >= 5
    assert all(checkpoint == start > 0 for checkpoint, start in thawed)
    lost = [event for story in told.values() for event in story if event["kind"] == "trial.lost"]
    assert lost, "nobody missed the workers that were killed"
    assert any(record["why"]["policy"] == POLICY and "phase" not in record["why"] for record in records)
