"""The loop of a training script: steps, reports, decisions, endings."""

from __future__ import annotations

import logging

import pytest

import frazil


def train(study: frazil.Study) -> list[tuple[int, list[int]]]:
    """Trains every trial as the README does; returns (number, steps) in the order of the work."""
    work = []
    for trial in study.trials():
        steps = []
        for step in trial.steps():
            steps.append(step)
            trial.report(step, loss=1 / step)
        if trial.paused:
            trial.freeze(f"file:///{trial.number}")
        work.append((trial.number, steps))
    return work


def test_a_trial_that_is_always_granted_more_runs_to_the_end_and_is_told_completed(serve):
    server, study = serve(count=2)
    assert train(study) == [(0, [1, 2, 3, 4, 5, 6]), (1, [1, 2, 3, 4, 5, 6])]
    assert [trial.state for trial in server.trials] == ["COMPLETED", "COMPLETED"]
    assert study.state == "completed"


def test_every_step_arrives_once(serve):
    server, study = serve()
    train(study)
    sent = [entry["step"] for body in server.bodies("/reports") for entry in body["measurements"]]
    assert sent == [1, 2, 3, 4, 5, 6]
    assert server.trials[0].curve[4] == {"loss": 0.25}


def test_a_paused_trial_resumes_where_it_stopped(serve):
    server, study = serve(decide=lambda number, step: "pause")
    assert train(study) == [(0, [1, 2, 3]), (0, [4, 5, 6])]
    assert server.trials[0].checkpoint == {"uri": "file:///0", "step": 3}


def test_a_thawed_trial_knows_its_checkpoint(serve):
    server, study = serve()
    server.trials[0].checkpoint = {"uri": "s3://bucket/0", "step": 4}
    trial = study.ask()
    assert trial.checkpoint == frazil.Checkpoint("s3://bucket/0", 4)
    assert list(zip(trial.steps(), [5], strict=False)) == [(5, 5)]


def test_a_worker_hears_which_checkpoints_are_no_longer_needed(serve):
    server, study = serve(count=2)
    server.obsolete = {2: ["s3://a"], 3: ["s3://b", "s3://c"]}
    heard = []
    for trial in study.trials():
        assert trial.obsolete_checkpoints == []
        for step in trial.steps():
            trial.report(step, wait=True, loss=1.0)
        heard.append(trial.obsolete_checkpoints)
    assert heard == [["s3://a", "s3://b", "s3://c"], []]


def test_a_trial_that_is_stopped_early_is_pruned_with_the_reason(serve):
    server, study = serve(decide=lambda number, step: "stop")
    assert train(study) == [(0, [1, 2, 3])]
    assert server.trials[0].state == "PRUNED"
    assert server.trials[0].told["reason"] == "script says stop"


def test_a_pause_nobody_froze_is_sent_without_a_checkpoint(serve):
    server, study = serve(decide=lambda number, step: "pause")
    for trial in study.trials():
        for step in trial.steps():
            trial.report(step, loss=1.0)
        if trial.paused:
            break
    assert server.bodies(":pause") == []  # a break is no end of the body: the lease goes back instead
    for trial in study.trials():
        for step in trial.steps():
            trial.report(step, loss=1.0)
        server.decide = lambda number, step: "continue"
    assert [body["checkpoint"] for body in server.bodies(":pause")] == [None]


def test_a_body_that_leaves_its_steps_early_completes_with_the_last_report(serve):
    server, study = serve()
    for trial in study.trials():
        for step in trial.steps():
            trial.report(step, loss=1.0)
            if step == 2:
                break
    assert server.trials[0].told == {"state": "COMPLETED", "values": {}, "lease": None}
    assert sorted(server.trials[0].curve) == [1, 2]


def test_a_body_without_report_or_word_counts_as_failed_and_says_so(serve, caplog):
    server, study = serve()
    for _trial in study.trials():
        pass
    assert server.trials[0].state == "FAILED"
    assert "without a report" in caplog.text


def test_an_exception_in_the_body_gives_the_trial_back(serve):
    server, study = serve()

    def work():
        for trial in study.trials():
            for step in trial.steps():
                trial.report(step, loss=1 / (step - 2))

    with pytest.raises(ZeroDivisionError):
        work()
    assert server.trials[0].state == "QUEUED"
    assert server.bodies(":release") == [{"lease": "lease-0-1"}]


def test_leaving_the_loop_after_a_finished_trial_keeps_its_completion(serve):
    server, study = serve(count=2)
    for trial in study.trials():
        for step in trial.steps():
            trial.report(step, loss=1.0)
        break
    assert [trial.state for trial in server.trials] == ["COMPLETED", "QUEUED"]


def test_a_lost_lease_ends_the_steps_quietly_and_the_loop_goes_on(serve, caplog):
    server, study = serve(count=2)
    work = []
    with caplog.at_level(logging.WARNING, logger="frazil"):
        for trial in study.trials():
            for step in trial.steps():
                if (trial.number, step) == (0, 3):
                    server.take_away(0)
                trial.report(step, loss=1.0)
                work.append((trial.number, step))
            assert trial.lost == (trial.number == 0)
    assert work == [(0, 1), (0, 2), (0, 3), *((1, step) for step in range(1, 7))]
    assert "another worker's now" in caplog.text
    assert server.bodies(":tell") == [{"lease": "lease-1-1", "state": "COMPLETED", "values": {}}]


def test_the_last_step_of_a_grant_must_be_reported(serve):
    _, study = serve()

    def work():
        for trial in study.trials():
            for _step in trial.steps():
                pass

    with pytest.raises(RuntimeError, match="step 3 ends what trial 0 was granted"):
        work()


def test_steps_between_may_stay_unreported(serve):
    server, study = serve()
    for trial in study.trials():
        for step in trial.steps():
            if step % 3 == 0:
                trial.report(step, loss=1.0)
    assert sorted(server.trials[0].curve) == [3, 6]
    assert server.trials[0].state == "COMPLETED"


def test_a_study_that_is_stopped_ends_the_present_trial_after_its_step(serve):
    server, study = serve()
    for trial in study.trials():
        for step in trial.steps():
            if step == 2:
                study.stop()
            trial.report(step, loss=1.0, wait=True)
        assert (step, trial.pruned) == (2, True)
    assert study.state == "stopped"
    assert server.trials[0].state == "PRUNED"


def test_a_worker_waits_while_the_study_is_paused_and_goes_on_with_it(serve):
    server, study = serve()
    ask, idle = server.ask, {"trials": [], "study_state": "paused", "retry_after": 0.01}
    answers = iter([idle, idle])
    server.ask = lambda body: next(answers, None) or ask(body)
    assert len(train(study)) == 1
    assert next(answers, None) is None


def test_a_study_without_a_resource_is_told(serve):
    server, study = serve(count=3, max_step=None)
    by_hand = study.ask()
    study.tell(by_hand, 0.3)
    with study.ask() as within:
        within.tell(loss=0.2, accuracy=0.9)
    for trial in study.trials():
        trial.tell({"loss": {"mean": 0.1, "sem": 0.01}})
    assert [trial.told["values"] for trial in server.trials] == [
        {"loss": 0.3},
        {"loss": 0.2, "accuracy": 0.9},
        {"loss": {"mean": 0.1, "sem": 0.01}},
    ]


def test_one_number_is_no_answer_to_several_objectives(serve):
    _, study = serve(max_step=None)
    study.info["objectives"] = [{"metric": "loss"}, {"metric": "latency"}]
    with pytest.raises(ValueError, match="several objectives"):
        study.tell(study.ask(), 0.3)


def test_steps_without_a_resource_need_a_count(serve):
    server, study = serve(max_step=None)
    with study.ask() as trial:
        with pytest.raises(ValueError, match=r"steps\(count\)"):
            next(trial.steps())
        for step in trial.steps(4):
            trial.report(step, loss=1.0)
    assert sorted(server.trials[0].curve) == [1, 2, 3, 4]
    assert server.trials[0].state == "COMPLETED"


def test_failures_and_infeasible_points_are_told_with_their_reason(serve):
    server, study = serve(count=2)
    first, second = study.ask(count=2)
    first.fail("out of memory")
    second.infeasible("more heads than channels")
    assert [(trial.state, trial.told["reason"]) for trial in server.trials] == [
        ("FAILED", "out of memory"),
        ("INFEASIBLE", "more heads than channels"),
    ]


def test_two_asks_of_one_thread_get_two_trials(serve):
    _, study = serve(count=2)
    assert {study.ask().number, study.ask().number} == {0, 1}
    assert study.ask() is None
    assert study.ask(count=4) == []


def test_a_trial_that_is_done_with_cannot_be_told_again(serve):
    _, study = serve()
    trial = study.ask()
    trial.tell(loss=0.1)
    with pytest.raises(frazil.TrialFinished):
        trial.tell(loss=0.2)


def test_a_lease_asked_for_is_the_lease_that_is_sent(serve):
    server, study = serve(count=2)
    study.ask(lease_seconds=77)
    next(iter(study.trials(lease_seconds=33)))
    assert [body["lease_seconds"] for body in server.bodies(":ask")] == [77, 33]


def test_derivatives_and_cost_are_told_with_the_values(serve):
    server, study = serve(max_step=None)
    trial = study.ask()
    trial.tell({"cost": 3}, loss=0.5, gradients={"loss": {"lr": -2}}, cost=1)
    (body,) = server.bodies(":tell")
    assert body["values"] == {"cost": 3.0, "loss": 0.5}
    assert (body["gradients"], body["cost"]) == ({"loss": {"lr": -2.0}}, 1.0)


def test_a_study_tells_them_for_its_trial(serve):
    server, study = serve(max_step=None)
    study.tell(study.ask(), 0.5, gradients={"loss": {"lr": 1.5}}, cost=2)
    (body,) = server.bodies(":tell")
    assert (body["values"], body["gradients"], body["cost"]) == ({"loss": 0.5}, {"loss": {"lr": 1.5}}, 2.0)


def test_a_tell_without_them_does_not_speak_of_them(serve):
    server, study = serve(max_step=None)
    study.ask().tell(loss=0.5)
    (body,) = server.bodies(":tell")
    assert not {"gradients", "cost"} & set(body)


def test_every_ask_of_a_loop_has_its_context(serve):
    server, study = serve(count=2, max_step=None)
    for trial in study.trials(context={"gpu": "h100"}):
        trial.tell(loss=0.5)
    study.ask(context={"gpu": "h200"})
    study.ask()
    contexts = [body.get("context") for body in server.bodies("trials:ask")]
    assert set(map(str, contexts[:-2])) == {"{'gpu': 'h100'}"}
    assert contexts[-2:] == [{"gpu": "h200"}, None]
