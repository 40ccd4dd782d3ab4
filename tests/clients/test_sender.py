"""Training does not wait for the network; the network loses nothing; leases are renewed meanwhile."""

from __future__ import annotations

import gc
import time

import httpx2
import pytest

import frazil
from frazil import transport as wire


def eventually(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def reported(server):
    return [[entry["step"] for entry in body["measurements"]] for body in server.bodies("/reports")]


def test_reports_within_a_grant_return_before_they_are_answered(serve):
    server, study = serve(grant=6)
    server.gate.clear()
    trial = study.ask()
    for step in range(1, 6):
        trial.report(step, loss=1.0)  # would wait here for ever
    server.gate.set()
    trial.flush()
    assert sorted(server.trials[0].curve) == [1, 2, 3, 4, 5]


def test_what_waits_travels_together(serve):
    server, study = serve(grant=6)
    trial = study.ask()
    server.gate.clear()
    trial.report(1, loss=1.0)
    eventually(lambda: reported(server) == [[1]])
    for step in range(2, 6):
        trial.report(step, loss=1.0)
    server.gate.set()
    trial.flush()
    assert reported(server) == [[1], [2, 3, 4, 5]]


def test_a_report_travels_without_another_word(serve):
    server, study = serve(grant=6)
    trial = study.ask()
    for step in (1, 2):
        trial.report(step, loss=1.0)
        eventually(lambda step=step: step in server.trials[0].curve)


def test_the_report_at_the_end_of_a_grant_waits_for_the_decision(serve):
    _, study = serve(grant=2, decide=lambda number, step: "stop" if step == 4 else "continue")
    trial = study.ask()
    granted = []
    for step in trial.steps():
        trial.report(step, loss=1.0)
        granted.append(trial.until_step)
    assert granted == [2, 4, 4, 4]
    assert trial.pruned


def test_a_report_can_be_waited_for(serve):
    server, study = serve(grant=6)
    study.ask().report(1, wait=True, loss=0.5)
    assert server.trials[0].curve == {1: {"loss": 0.5}}


def test_a_curve_may_diverge(serve):
    server, study = serve(grant=6)
    study.ask().report(1, wait=True, loss=float("nan"), gain=float("-inf"))
    assert server.trials[0].curve == {1: {"loss": "nan", "gain": "-inf"}}


def test_reports_survive_an_outage(serve, monkeypatch):
    monkeypatch.setattr(wire, "FIRST_PAUSE", 0.001)
    server, study = serve(grant=6)
    trial = study.ask()
    server.faults = [httpx2.ConnectError("refused") for _ in range(4)]
    for step in trial.steps():
        trial.report(step, loss=1.0)
    assert sorted(server.trials[0].curve) == [1, 2, 3, 4, 5, 6]


def test_what_an_outage_kept_back_is_sent_by_the_next_flush(serve):
    server, study = serve(grant=6, patience=0.0)
    trial = study.ask()
    server.faults = [httpx2.ConnectError("refused")]
    trial.report(1, loss=1.0)
    with pytest.raises(frazil.Unreachable):
        eventually(trial.flush)
    trial.flush()
    assert sorted(server.trials[0].curve) == [1]


def test_an_error_of_the_sender_surfaces_at_the_next_report(serve, problem):
    server, study = serve(grant=6)
    trial = study.ask()
    server.faults = [problem(422, "metric_unknown", "Nobody declared the metric 'los'.")]
    trial.report(1, los=1.0)
    eventually(lambda: not server.faults)

    def surfaced():
        try:
            trial.report(2, loss=1.0)
        except frazil.Invalid as error:
            return error.code == "metric_unknown"
        return False

    eventually(surfaced)
    trial.report(3, loss=1.0, wait=True)
    assert 1 not in server.trials[0].curve  # what was refused is not sent again
    assert 3 in server.trials[0].curve


def test_a_lease_is_renewed_while_a_step_takes_long(serve):
    server, study = serve()
    trial = study.ask(lease_seconds=0.9)
    eventually(lambda: len(server.bodies(":heartbeat")) == 2, seconds=0.85)
    assert server.bodies(":heartbeat")[0] == {"lease": "lease-0-1"}
    trial.release()


def test_a_renewal_can_bring_the_decision(serve):
    server, study = serve()
    trial = study.ask(lease_seconds=0.15)
    server.state = "stopped"
    eventually(lambda: trial.reason == "the study is stopped")
    assert list(trial.steps()) == []
    assert trial.pruned


def test_a_trial_lost_after_its_decision_is_lost_and_nothing_else(serve):
    server, study = serve()
    trial = study.ask(lease_seconds=0.15)
    server.state = "stopped"
    eventually(lambda: trial.reason == "the study is stopped")
    server.gate.clear()
    trial.report(1, loss=1.0)
    server.take_away(0)
    server.gate.set()
    assert list(trial.steps()) == []
    assert (trial.lost, trial.pruned, trial.paused, trial.completed) == (True, False, False, False)


def test_a_closed_client_says_so_and_its_thread_ends(serve, monkeypatch):
    monkeypatch.setattr("frazil.sender.LINGER", 0.05)
    server, study = serve()
    trial = study.ask(lease_seconds=0.15)
    server.client.close()
    eventually(lambda: study._courier._thread is None)
    with pytest.raises(frazil.FrazilError, match="has been closed"):
        trial.report(1, loss=1.0, wait=True)


def test_a_report_is_a_renewal(serve):
    server, study = serve(grant=6, max_step=1000)
    trial = study.ask(lease_seconds=3.0)
    for step in range(1, 6):
        trial.report(step, loss=1.0)
        time.sleep(0.05)
    assert server.bodies(":heartbeat") == []


def test_no_renewal_follows_the_end_of_a_trial(serve):
    server, study = serve(count=3)
    told, released, dropped = study.ask(count=3, lease_seconds=0.15)
    told.tell(loss=1.0)
    released.release()
    del dropped
    gc.collect()
    before = len(server.bodies(":heartbeat"))
    time.sleep(0.2)
    assert len(server.bodies(":heartbeat")) <= before + 1  # one may have been under way


def test_a_lease_lost_between_reports_is_noticed_by_its_renewal(serve):
    server, study = serve()
    trial = study.ask(lease_seconds=0.15)
    server.take_away(0)
    eventually(lambda: trial.lost)
    assert list(trial.steps()) == []
    trial.report(1, loss=1.0)
    trial.tell(loss=1.0)
    assert server.bodies("/reports") == server.bodies(":tell") == []


def test_a_wall_clock_an_hour_off_changes_nothing(serve, monkeypatch):
    server, study = serve()  # whose leases expired in 2020, by the server's clock
    monkeypatch.setattr(time, "time", lambda: 4e9)
    for trial in study.trials(lease_seconds=60.0):
        for step in trial.steps():
            trial.report(step, loss=1.0)
    assert server.trials[0].state == "COMPLETED"
    assert server.bodies(":heartbeat") == []


def test_one_thread_serves_all_trials_and_ends_after_the_last(serve, monkeypatch):
    monkeypatch.setattr("frazil.sender.LINGER", 0.05)
    server, study = serve(count=3)
    trials = study.ask(count=3, lease_seconds=0.15)
    courier = study._courier
    thread = courier._thread
    eventually(lambda: {body["lease"] for body in server.bodies(":heartbeat")} == {f"lease-{n}-1" for n in range(3)})
    for trial in trials:
        trial.tell(loss=1.0)
    eventually(lambda: not thread.is_alive())
    server.trials[0].state = "QUEUED"
    study.ask().report(1, loss=1.0, wait=True)  # and another begins with the next
    assert courier._thread is not thread
