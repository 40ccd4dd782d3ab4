"""Training processes that die, or are told to end, in mid-trial."""

from __future__ import annotations

import signal

import pytest

import frazil

from .conftest import eventually, the_books_balance

LONG = frazil.Resource("epoch", max=60)
SHORT_LEASE = 2.0


@pytest.fixture
def server(database_url, serve):
    return serve(database_url, FRAZIL_SWEEP_SECONDS="0.5")


def test_sigterm_freezes_a_trial_and_another_process_goes_on_from_there(server, create, hire):
    study = create(server.url, resource=LONG, budget={"trials": 1})
    first = hire(server.url, study, step_seconds=0.05)
    first.reaches(5)
    first.end(signal.SIGTERM, 128 + signal.SIGTERM)
    (frozen,) = first.diary("frozen")
    (record,) = study.records()
    assert (record["state"], record["checkpoint"]["step"], record["last_step"]) == ("PAUSED", *2 * [frozen["step"]])
    second = hire(server.url, study)
    second.finish()
    assert [line["step"] for line in second.diary("started")] == [frozen["step"]]
    (record,) = the_books_balance(study, [first, second])
    assert (record["state"], record["last_step"], record["attempt"]) == ("COMPLETED", 60, 2)
    assert study.info["steps_used"] == 60


def test_a_killed_process_has_its_trial_finished_by_another_from_the_checkpoint(server, create, hire):
    study = create(server.url, resource=LONG, budget={"trials": 1})
    first = hire(server.url, study, step_seconds=0.05)
    first.reaches(5)
    first.end(signal.SIGTERM, 128 + signal.SIGTERM)
    (frozen,) = first.diary("frozen")
    second = hire(server.url, study, step_seconds=0.05, lease_seconds=SHORT_LEASE)
    second.reaches(frozen["step"] + 5)
    second.kill()
    third = hire(server.url, study)
    third.finish()
    assert [line["step"] for line in third.diary("started")] == [frozen["step"]]
    (record,) = the_books_balance(study, [first, second, third])
    assert (record["state"], record["last_step"], record["attempt"]) == ("COMPLETED", 60, 3)
    repeated = second.diary("acknowledged")[-1]["step"] - frozen["step"]
    assert study.info["steps_used"] == 60 + repeated


def test_a_process_killed_before_any_checkpoint_has_its_trial_begun_again_with_the_curve_kept(server, create, hire):
    study = create(server.url, resource=LONG, budget={"trials": 1})
    first = hire(server.url, study, step_seconds=0.05, lease_seconds=SHORT_LEASE)
    first.reaches(5)
    first.kill()
    seen = first.diary("acknowledged")[-1]["step"]
    (record,) = eventually(lambda: list(study.records(state="QUEUED")), "the lease's end")  # nobody asks: it is swept
    assert len(study.curve(record["id"], "loss")) == record["last_step"] >= seen
    second = hire(server.url, study)
    second.finish()
    assert [line["step"] for line in second.diary("started")] == [0]
    (record,) = the_books_balance(study, [first, second])
    assert (record["state"], record["last_step"], record["attempt"]) == ("COMPLETED", 60, 2)
