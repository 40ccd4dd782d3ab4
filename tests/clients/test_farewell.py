"""SIGTERM and Ctrl-C: finish the step, freeze, give back, go."""

from __future__ import annotations

import os
import signal
import threading

import pytest


def kill(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def test_sigterm_ends_the_steps_with_a_pause_that_can_be_frozen(serve):
    server, study = serve(count=2, grant=6)
    steps = []

    def work():
        for trial in study.trials():
            for step in trial.steps():
                if step == 2:
                    kill()
                steps.append(step)
                trial.report(step, loss=1.0)
            assert trial.paused
            assert trial.interrupted
            trial.freeze("file:///0")

    with pytest.raises(SystemExit) as caught:
        work()
    assert caught.value.code == 143
    assert steps == [1, 2]
    assert server.trials[0].checkpoint == {"uri": "file:///0", "step": 2}
    assert [trial.state for trial in server.trials] == ["PAUSED", "QUEUED"]


def test_sigterm_without_a_freeze_gives_the_lease_back(serve):
    server, study = serve(grant=6)

    def work():
        for trial in study.trials():
            for step in trial.steps():
                trial.report(step, loss=1.0)
                kill()

    with pytest.raises(SystemExit):
        work()
    assert server.trials[0].state == "QUEUED"
    assert server.bodies(":pause") == []


def test_ctrl_c_is_as_gentle_and_raises_keyboard_interrupt_afterwards(serve):
    server, study = serve(grant=6)

    def work():
        for trial in study.trials():
            for step in trial.steps():
                kill(signal.SIGINT)
                trial.report(step, loss=1.0)
            trial.freeze("file:///0")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert server.trials[0].checkpoint == {"uri": "file:///0", "step": 1}


def test_a_second_signal_is_not_gentle(serve):
    server, study = serve(grant=6)

    def work():
        for trial in study.trials():
            for _step in trial.steps():
                kill(signal.SIGINT)
                kill(signal.SIGINT)
                pytest.fail("the second one should have been obeyed at once")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert server.trials[0].state == "QUEUED"


def test_a_body_that_is_not_at_its_steps_is_left_at_once(serve):
    server, study = serve(max_step=None)

    def work():
        for _trial in study.trials():
            kill()
            pytest.fail("there is no step to finish here")

    with pytest.raises(SystemExit):
        work()
    assert server.trials[0].state == "QUEUED"


def test_a_worker_that_waits_for_a_trial_leaves_at_once(serve):
    server, study = serve()
    server.ask = lambda body: {"trials": [], "study_state": "active", "retry_after": 60}
    threading.Timer(0.1, kill).start()
    with pytest.raises(SystemExit):
        list(study.trials())


def test_a_decision_outranks_the_interruption(serve):
    server, study = serve(decide=lambda number, step: "stop")

    def work():
        for trial in study.trials():
            for step in trial.steps():
                if step == 3:
                    kill()
                trial.report(step, loss=1.0)
            assert trial.pruned

    with pytest.raises(SystemExit):
        work()
    assert server.trials[0].state == "PRUNED"


def test_a_handler_of_the_user_is_called_after_the_loop_and_stays(serve):
    _, study = serve(grant=6)
    calls = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        for trial in study.trials():
            for step in trial.steps():
                kill()
                assert calls == []
                trial.report(step, loss=1.0)
                break
        assert calls == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_signal_stays_ignored(serve):
    server, study = serve()
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        for trial in study.trials():
            for step in trial.steps():
                kill()
                trial.report(step, loss=1.0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert server.trials[0].state == "COMPLETED"


def test_the_loop_works_in_a_thread_that_receives_no_signals(serve):
    server, study = serve()

    def work():
        for trial in study.trials():
            for step in trial.steps():
                trial.report(step, loss=1.0)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert server.trials[0].state == "COMPLETED"


def test_after_the_signal_nothing_is_waited_for_long(serve):
    _, study = serve(patience=600.0, grant=6)
    transport = study._transport
    patience = []

    def work():
        for trial in study.trials():
            for step in trial.steps():
                kill()
                patience.append(transport.patience)
                trial.report(step, loss=1.0)

    with pytest.raises(SystemExit):
        work()
    assert patience == [10.0]
    assert transport.patience == 600.0  # for whoever goes on all the same
