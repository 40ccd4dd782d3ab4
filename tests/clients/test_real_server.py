"""The SDK against the server it is made for."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

import frazil
import frazil.torch


@pytest.fixture
def client(server_url):
    with frazil.Client(server_url, patience=20.0) as client:
        yield client


@pytest.fixture
def create(client):
    """Makes a study with a name of its own; what is not said is small."""

    def make(**given):
        definition = {"space": {"lr": frazil.Float(0.01, 1.0)}, "minimize": "loss", "policy": "random", "seed": 1}
        return client.create_study(f"sdk-{uuid.uuid4().hex}", **{**definition, **given})

    return make


def test_a_study_is_tuned_frozen_and_thawed_to_its_end(create):
    study = create(resource=frazil.Resource("epoch", max=9), policy="asha", budget={"resource": 60})
    frozen, thawed = {}, 0
    for trial in study.trials():
        if trial.checkpoint:
            thawed += 1
            assert frozen[trial.checkpoint.uri] == (trial.number, trial.from_step)
        for epoch in trial.steps():
            trial.report(epoch, loss=trial.params["lr"] / epoch, accuracy=1 - 1 / epoch)
        if trial.paused:
            uri = f"file:///{trial.number}-{epoch}"
            frozen[uri] = (trial.number, epoch)
            trial.freeze(uri)
    assert thawed
    assert study.refresh().state == "completed"
    assert study.info["steps_used"] == 60
    best = study.best.observed
    losses = {record["number"]: record["objective"] for record in study.records()}
    assert best.values["loss"] == min(losses.values()) == losses[best.number]
    curve = study.curve(best.id, "accuracy")
    assert curve == [(step, 1 - 1 / step) for step in range(1, len(curve) + 1)]
    assert study.best.recommended is not None


def test_optimizers_and_schedules_are_suggested_built_frozen_and_thawed_as_they_were(client, create):
    import torch

    names = ["adamw", "lion", "muon"]
    study = create(
        space={**frazil.optimizers.space(names, client=client), "schedule": frazil.Schedule(["linear", "wsd"])},
        resource=frazil.Resource("epoch", max=4), policy="asha", budget={"resource": 24},
    )  # fmt: skip
    baseline = frazil.optimizers.portfolio(names, client=client)
    study.enqueue_portfolio([{**point, "schedule": {"kind": "linear"}} for point in baseline])
    x, saved, rates = torch.randn(32, 5, generator=torch.Generator().manual_seed(0)), {}, {}
    for trial in study.trials():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.Linear(8, 1)
        )
        optimizer = trial.optimizer(model)
        scheduler = trial.scheduler(optimizer, steps_per_unit=3)
        if trial.checkpoint:
            for part, state in zip((model, optimizer, scheduler), saved[trial.checkpoint.uri], strict=True):
                part.load_state_dict(state)
            assert optimizer.param_groups[0]["lr"] == rates[trial.number]
        for epoch in trial.steps():
            for _ in range(3):
                optimizer.zero_grad()
                loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
                loss.backward()
                norm = frazil.torch.grad_norm(model)
                optimizer.step()
                scheduler.step()
            trial.report(epoch, loss=loss.item(), grad_norm=norm, lr=optimizer.param_groups[0]["lr"])
        if trial.paused:
            uri = f"memory:{trial.number}"
            saved[uri] = [part.state_dict() for part in (model, optimizer, scheduler)]
            rates[trial.number] = optimizer.param_groups[0]["lr"]
            trial.freeze(uri)
    records = {record["number"]: record for record in study.records()}
    assert [records[i]["tags"] for i in range(len(baseline))] == [["baseline"]] * len(baseline)
    assert {records[i]["params"]["optimizer"] for i in range(3)} == set(names)
    assert rates


def test_a_finished_run_is_repeated_with_its_schedule_refined_and_it_is_said_whether_it_won(create):
    epochs = 20
    study = create(
        space={
            "lr": frazil.Float(0.01, 1.0, log=True),
            "lr_schedule": frazil.Schedule(["linear", "cosine"], peak="lr"),
        },
        resource=frazil.Resource("epoch", max=epochs),
        policy="random",
        budget={"trials": 2},
    )
    rng = random.Random(0)
    for trial in study.trials():
        weight = 1.0
        for epoch in trial.steps():
            gradient = weight + rng.gauss(0, 0.1)
            weight -= frazil.schedules.value(trial.params["lr_schedule"], epoch - 1) * gradient
            trial.report(epoch, loss=weight**2, grad_norm=abs(gradient) + 1e-3)
        if trial.number == 0:
            first = dict(trial.params)
            refined = study.enqueue_refined(study.best.observed)
            assert study.refinements == [
                {"trial": 1, "of": 0, "value": None, "before": pytest.approx(weight**2), "won": None}
            ]
    assert refined["kind"] == "table"
    records = list(study.records())
    assert records[1]["tags"] == ["refined", "refined from 0"]
    assert records[1]["params"]["lr"] == first["lr"]
    assert records[1]["params"]["lr_schedule"]["multipliers"] == pytest.approx(refined["multipliers"])
    (said,) = study.refinements
    assert said["won"] == (records[1]["objective"] < records[0]["objective"])


def test_one_trunk_serves_two_horizons_with_a_cooldown_each(create):
    """At a constant rate w stays noisy; a cooldown brings it home, from wherever the trunk was branched."""
    space = {"lr": frazil.Float(0.01, 1.0, log=True), "lr_schedule": frazil.Schedule(["constant", "linear"], peak="lr")}
    study = create(space=space, resource=frazil.Resource("epoch", max=30), policy="random", budget={"trials": 3})
    study.enqueue({"lr": 0.5, "lr_schedule": {"kind": "constant"}})
    saved: dict[str, float] = {}

    def train(trial):
        """The weight after each epoch."""
        rng = random.Random(trial.number)
        weight = saved[trial.checkpoint.uri] if trial.checkpoint else 10.0
        for epoch in trial.steps():
            rate = frazil.schedules.value(trial.params["lr_schedule"], epoch - 1)
            weight -= rate * (weight + rng.gauss(0, 1.0))
            trial.report(epoch, loss=weight**2, wait=True)
            yield epoch, weight

    trunk, ends = study.ask(), (20, 30)
    for epoch, weight in train(trunk):
        if epoch + 10 in ends:
            saved[f"memory:{epoch}"] = weight
            trunk.save(f"memory:{epoch}")
            table = [max(min((epoch + 10 - t) / 10, 1.0), 0.0) for t in range(30)]
            cooldown = {"kind": "table", "peak": 0.5, "multipliers": table, "total_steps": 30}
            study.branch(trunk, {"lr_schedule": cooldown}, until=epoch + 10)
    trunk.tell()
    for end in ends:
        branch = study.ask()
        assert (branch.checkpoint.uri, branch.checkpoint.step) == (f"memory:{end - 10}", end - 10)
        assert (branch.from_step, branch.until_step) == (end - 10, end)
        weight = next(weight for epoch, weight in train(branch) if epoch == end)
        branch.tell()
        curve = study.curve(branch.id, "loss")
        assert [step for step, _ in curve] == list(range(1, end + 1))
        assert curve[end - 11][1] == saved[f"memory:{end - 10}"] ** 2
        assert weight**2 < 0.5


def test_a_population_finds_a_schedule_that_can_be_replayed(create):
    """A loss whose best rate falls as it is learned: no constant rate is as good as a line of branches."""
    study = create(
        space={"lr": frazil.Float(0.003, 1.0, log=True), "momentum": frazil.Float(0, 0.5)},
        resource=frazil.Resource("epoch", max=20),
        policy={"name": "pbt", "population": 6, "interval": 2, "truncation": 0.34},
        budget={"resource": 400},
    )
    saved: dict[str, float] = {}

    def train(rate, weight, epochs, rng):
        for _ in range(epochs):
            weight -= rate * (weight + rng.gauss(0, 0.5))
        return weight

    for trial in study.trials():
        weight = saved[trial.checkpoint.uri] if trial.checkpoint else 10.0
        for epoch in trial.steps():
            weight = train(trial.params["lr"], weight, 1, random.Random(1000 * trial.number + epoch))
            trial.report(epoch, loss=weight**2)
        if trial.paused:
            uri = f"memory:{trial.number}:{epoch}"
            saved[uri] = weight
            trial.freeze(uri)
    records = {record["number"]: record for record in study.records()}
    branches = [record for record in records.values() if "parent" in record["why"]]
    assert len(branches) >= 3
    for branch in branches:
        parent, begun = records[branch["why"]["parent"]], branch["why"]["from_step"]
        mine, theirs = (dict(study.curve(record["id"], "loss")) for record in (branch, parent))
        assert begun > 0
        assert all(mine[step] == theirs[step] for step in range(1, begun + 1))
        assert sorted(mine) == list(range(1, branch["last_step"] + 1))
    longest = max(branches, key=lambda record: (record["state"] == "COMPLETED", record["last_step"]))
    found = study.lineage(longest["number"], "lr")
    begun, parent = longest["why"]["from_step"], records[longest["why"]["parent"]]
    at = [frazil.schedules.value(found, step) for step in range(longest["last_step"])]
    assert at[begun:] == pytest.approx([longest["params"]["lr"]] * (longest["last_step"] - begun))
    assert at[begun - 1] == pytest.approx(parent["params"]["lr"])
    with pytest.raises(ValueError, match="no number or schedule called 'optimizer'"):
        study.lineage(longest["number"], "optimizer")


def test_a_schedule_that_is_changed_in_flight_reaches_params_and_schedulers(client, create):
    import torch

    space = {"lr": frazil.Float(0.01, 1.0, log=True), "plan": frazil.Schedule(["constant", "linear"], peak="lr")}
    study = create(space=space, resource=frazil.Resource("epoch", max=10), policy="random")
    study.enqueue({"lr": 0.5, "plan": {"kind": "constant"}})
    trial, rates = study.ask(), []
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=trial.params["lr"])
    scheduler = trial.scheduler(optimizer)
    saved = {}
    for epoch in trial.steps():
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        if epoch == 4:
            client._transport.patch(
                f"/trials/{trial.id}", {"schedules": {"plan": {"kind": "linear", "total_steps": 10}}}
            )
        trial.report(epoch, loss=1.0, wait=True)
        if epoch == 6:
            saved = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
            trial.reschedule(plan={"kind": "table", "peak": 0.5, "multipliers": [0.1] * 10, "total_steps": 10})
            trial.freeze("memory:6")
            break
    assert rates == pytest.approx([0.5] * 5 + [0.5 * 0.5])
    thawed = study.ask()
    assert thawed.params["plan"]["kind"] == "table"
    assert [item["step"] for item in thawed.why["rescheduled"]] == [3, 6]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=thawed.params["lr"])
    scheduler = thawed.scheduler(optimizer)
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    for epoch in thawed.steps():
        optimizer.step()
        scheduler.step()
        thawed.report(epoch, loss=1.0)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    thawed.tell()


def test_what_cannot_be_refined_is_said(create):
    space = {"lr": frazil.Float(0.01, 1.0, log=True), "lr_schedule": frazil.Schedule(["linear"], peak="lr")}
    study = create(space=space, resource=frazil.Resource("epoch", max=12), policy="random")
    with pytest.raises(ValueError, match="no trial has a value"):
        study.enqueue_refined()
    trial = study.ask()
    for epoch in range(1, 12):
        trial.report(epoch, loss=1.0 / epoch, grad_norm=1.0 / epoch, wait=epoch == 11)
    with pytest.raises(ValueError, match="up to step 11 of 12"):
        study.enqueue_refined(trial)
    with pytest.raises(ValueError, match="no schedule 'lr'"):
        study.enqueue_refined(trial, "lr")
    with pytest.raises(frazil.Invalid, match="update_norm"):
        study.enqueue_refined(trial, metric="update_norm")


def test_every_kind_of_parameter_is_understood(create):
    study = create(
        space={
            "optimizer": ["adamw", "sgd"],
            "beta2": frazil.Float(0.9, 0.9999, log="complement", when={"optimizer": "adamw"}),
            "nesterov": frazil.Bool(when={"optimizer": ["sgd"]}),
            "layers": frazil.Int(2, 8, step=2),
            "width": frazil.Int(16, 256, log=True),
            "batch": frazil.Ordinal([16, 32, 64]),
            "activation": frazil.Categorical(["relu", "gelu"]),
            "data": frazil.Fixed("v2"),
            "epochs": 3,
        }
    )
    for trial in study.ask(count=8):
        params = trial.params
        assert ("beta2" in params, "nesterov" in params) == (
            params["optimizer"] == "adamw",
            params["optimizer"] == "sgd",
        )
        assert params["layers"] in (2, 4, 6, 8)
        assert (params["data"], params["epochs"]) == ("v2", 3)
        trial.release()


def test_a_definition_is_loaded_again_and_another_one_refused(create, client):
    study = create()
    space = {"lr": frazil.Float(0.01, 1.0)}
    again = client.create_study(study.name, space=space, minimize="loss", policy="random", seed=1, if_exists="load")
    assert again.id == study.id
    with pytest.raises(frazil.StudyConflict, match="space"):
        client.create_study(study.name, space={"lr": frazil.Float(0.01, 2.0)}, minimize="loss", if_exists="load")
    assert study.name in [known.name for known in client.studies()]


def test_a_bad_definition_names_its_field(create):
    with pytest.raises(frazil.Invalid, match="/space/0/low") as caught:
        create(space={"lr": frazil.Float(math.nan, 1.0)})
    assert caught.value.code == "space_invalid"
    with pytest.raises(frazil.Invalid) as caught:
        create(policy="astrology")
    assert caught.value.errors[0].pointer.startswith("/policy")


def test_what_is_not_there_is_not_found(create, client):
    study = create()
    study.delete()
    for look in (study.refresh, study.ask, lambda: client.study("never-made")):
        with pytest.raises(frazil.NotFound):
            look()


def test_a_study_without_a_resource_is_asked_and_told(create):
    study = create(budget={"trials": 4})
    first, second, third = study.ask(count=3)
    study.tell(first, 0.3)
    second.tell({"loss": {"mean": 0.2, "sem": 0.01}})
    third.fail("out of memory")
    for trial in study.trials():
        for step in trial.steps(2):
            trial.report(step, loss=0.1 * step)
    assert study.refresh().info["counts"]["COMPLETED"] == 3
    assert study.state == "completed"
    assert study.best.observed.number == second.number or study.best.observed.values["loss"] == 0.2


def test_diverging_and_infinite_values_come_back_as_they_went(create):
    study = create(resource=frazil.Resource("epoch", max=4))
    trial = study.ask()
    for step, loss in enumerate([1.0, math.inf, math.nan], 1):
        trial.report(step, loss=loss)
    trial.flush()
    values = [value for _, value in study.curve(trial.id, "loss")]
    assert values[:2] == [1.0, math.inf]
    assert math.isnan(values[2])
    trial.release()


def test_enqueued_params_come_first_and_added_trials_count(create):
    study = create(resource=frazil.Resource("epoch", max=2))
    study.enqueue({"lr": 0.5})
    curve = [{"step": step, "metrics": {"loss": 1 / step}} for step in (1, 2)]
    study.add_trials([{"params": {"lr": 0.7}, "state": "COMPLETED", "curve": curve}])
    trial = study.ask()
    assert trial.params == {"lr": 0.5}
    assert study.best.observed.params == {"lr": 0.7}
    trial.release()


def test_candidates_are_tried_once_each(create):
    candidates = [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]
    study = create(candidates=candidates)
    tried = []
    for trial in study.trials():
        tried.append(trial.params)
        trial.tell(loss=trial.params["lr"])
    assert sorted(tried, key=lambda params: params["lr"]) == candidates
    frame = study.trials_dataframe()
    assert sorted(frame.objective) == sorted(frame.params_lr) == [0.1, 0.2, 0.3]


def test_pausing_a_study_pauses_its_trials_and_stopping_ends_them(create):
    study = create(resource=frazil.Resource("epoch", max=100))
    ends = []
    for trial in study.trials():
        for step in trial.steps():
            if step == 3:
                study.pause()
            if step == 6:
                study.stop()
            trial.report(step, loss=1.0, wait=True)
        ends.append((step, trial.paused, trial.pruned))
        if trial.paused:
            trial.freeze("file:///3")
            study.resume()
    assert ends == [(3, True, False), (6, False, True)]
    assert study.refresh().info["counts"]["PRUNED"] == 1


def test_a_lease_that_ran_out_is_lost_and_what_was_measured_stays(create, caplog):
    study = create(resource=frazil.Resource("epoch", max=9))
    trial = study.ask(lease_seconds=1.0)
    trial.report(1, loss=0.5, wait=True)
    study._courier.forget(trial._outbox)  # as if this process had been asleep
    time.sleep(1.1)
    others = [study.ask(), study.ask()]
    assert (trial.number, 0) in [(other.number, other.from_step) for other in others]
    trial.report(2, loss=0.4, wait=True)
    assert trial.lost
    assert "left to it" in caplog.text
    assert [step for step, _ in study.curve(trial.id, "loss")] == [1, 2]
    for other in others:
        other.release()


def test_a_lease_of_a_second_is_kept_alive(create):
    study = create(resource=frazil.Resource("epoch", max=9))
    with study.ask(lease_seconds=1.0) as trial:
        time.sleep(2.2)
        trial.report(1, loss=0.5, wait=True)
        assert not trial.lost


WORKER = """
import sys, time, frazil
for trial in frazil.Client().study(sys.argv[1]).trials():
    for epoch in trial.steps():
        trial.report(epoch, loss=1.0, wait=True)
        print(epoch, flush=True)
        time.sleep(0.05)
    if trial.paused:
        trial.freeze(f"file:///{epoch}")
"""


def test_a_worker_told_to_end_freezes_its_trial_for_the_next(create, server_url):
    study = create(resource=frazil.Resource("epoch", max=10_000))
    command = [sys.executable, "-c", WORKER, study.name]
    environment = {**os.environ, "FRAZIL_URL": server_url}
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(3):
        worker.stdout.readline()
    worker.send_signal(signal.SIGTERM)
    epochs = [int(line) for line in worker.communicate(timeout=10)[0].split()]
    assert worker.returncode == 143
    (record,) = study.records(state="PAUSED")
    assert record["checkpoint"] == {"uri": f"file:///{record['last_step']}", "step": record["last_step"]}
    assert record["last_step"] >= 3
    assert epochs == list(range(4, record["last_step"] + 1))
    thawed = study.ask()
    assert (thawed.number, thawed.from_step) == (0, record["last_step"])
    thawed.release()


def test_the_examples_of_the_readme_run(client, server_url):
    text = (Path(__file__).parents[2] / "clients" / "python" / "README.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            env={**os.environ, "FRAZIL_URL": server_url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert len(examples) == 3
    assert client.study("worker").state == "completed"


def test_a_lost_worker_leaves_its_last_saved_checkpoint_behind(create):
    study = create(resource=frazil.Resource("epoch", max=6))
    first = study.ask(lease_seconds=1.0)
    for step in (1, 2, 3):
        first.report(step, loss=1 / step)
    first.save("file:///three")
    first.report(4, loss=0.25, wait=True)
    first._courier.forget(first._outbox)  # as if its process were gone: nobody renews the lease
    time.sleep(1.3)
    second = study.ask()
    assert (second.number, second.checkpoint, second.from_step) == (0, frazil.Checkpoint("file:///three", 3), 3)
    for step in second.steps():
        second.report(step, loss=1 / step)
    with second:
        assert second.completed
    assert [step for step, _ in study.curve(second.id, "loss")] == [1, 2, 3, 4, 5, 6]
