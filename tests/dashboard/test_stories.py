"""The dashboard as people use it: in a real browser, in front of a real server, while real clients train."""

from __future__ import annotations

import json
import re
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

import frazil

from .conftest import EPOCHS, SPACE, loss, train, unique


def test_a_study_is_created_trained_watched_paused_and_stopped(watch, client, server_url) -> None:
    watched = watch(server_url)
    page = watched.open("/")
    name = unique("from the browser")
    page.get_by_role("link", name="New study").click()
    expect(page.get_by_role("heading", name="New study")).to_be_visible()
    page.get_by_label("Name").first.fill(name)
    page.get_by_label("Steps of a whole run").fill("12")
    page.get_by_role("combobox", name="Policy").click()
    page.get_by_role("option", name="asha", exact=True).click()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("Nothing has been measured yet")).to_be_visible()

    study = client.study(name)
    trial = study.ask()
    trial.report(1, val_loss=0.75)
    expect(page.get_by_test_id("best-value")).to_have_text("0.75")  # without a reload
    expect(page.locator('[data-chart="curves"] canvas').first).to_be_visible()
    second = study.ask()
    second.report(1, val_loss=0.5)
    expect(page.get_by_test_id("best-value")).to_have_text("0.5")

    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text("paused", exact=True).first).to_be_visible()
    assert study.refresh().state == "paused"
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_text("active", exact=True).first).to_be_visible()
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name="Stop").click()
    expect(page.get_by_text("stopped", exact=True).first).to_be_visible()
    assert study.refresh().state == "stopped"


def test_faults_of_a_definition_stand_at_their_fields(watch, server_url) -> None:
    watched = watch(server_url)
    watched.expected = ("422",)
    page = watched.open("/new")
    page.get_by_label("Name").first.fill(unique("faulty"))
    page.get_by_label("From").fill("5")
    page.get_by_label("To", exact=True).fill("1")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert").filter(has_text="low").first).to_be_visible()
    expect(page.get_by_text("/space/0")).to_be_visible()


def test_a_study_is_pasted_as_yaml_and_cloned(watch, client, server_url) -> None:
    page = watch(server_url).open("/new")
    name = unique("pasted")
    page.get_by_text("JSON or YAML", exact=True).click()
    page.get_by_label("Definition as JSON or YAML").fill(
        f"name: {name}\nspace:\n  - {{name: lr, type: float, low: 1.0e-4, high: 1, log: true}}\n"
        "objectives:\n  - metric: loss\npolicy: {name: random}\n"
    )
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name="Clone").click()
    expect(page.get_by_label("Definition as JSON or YAML")).to_have_value(re.compile(rf'"name": "{name} 2"'))
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=f"{name} 2", exact=True)).to_be_visible()
    assert client.study(f"{name} 2").info["space"] == client.study(name).info["space"]


def test_the_list_shows_new_studies_and_better_values_as_they_come(watch, client, server_url) -> None:
    page = watch(server_url).open("/")
    expect(page.get_by_role("heading", name="Studies")).to_be_visible()
    study = client.create_study(unique("arriving"), space={"x": frazil.Float(0, 1)}, minimize="loss", policy="random")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=study.name))
    expect(row).to_be_visible()
    for value in ("0.75", "0.25"):
        study.ask().tell(loss=float(value))
        expect(row).to_contain_text(value)


def test_a_deleted_study_can_be_had_back_for_a_while(watch, client, server_url) -> None:
    study = client.create_study(unique("doomed"), space={"x": frazil.Float(0, 1)}, minimize="val_loss", policy="random")
    page = watch(server_url).open("/")

    def delete() -> None:
        page.get_by_role("button", name=f"Actions for {study.name}").click()
        page.get_by_role("menuitem", name="Delete").click()
        page.get_by_role("button", name="Delete", exact=True).click()

    delete()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_timeout(500)
    assert study.refresh().state == "active"
    delete()
    expect(page.get_by_role("link", name=study.name)).to_have_count(0, timeout=20_000)
    with pytest.raises(frazil.FrazilError):
        study.refresh()


def test_runs_are_seen_to_start_pause_and_thaw(watch, client, server_url) -> None:
    study = client.create_study(
        unique("live"),
        space=SPACE,
        minimize="val_loss",
        resource=EPOCHS,
        policy="asha",
        budget={"resource": 60},
        seed=3,
    )
    page = watch(server_url).open(f"/studies/{study.id}/timeline")
    expect(page.get_by_text("Nobody has trained yet")).to_be_visible()
    trainer = threading.Thread(target=train, args=(study,))
    trainer.start()
    expect(page.locator('[data-chart="timeline"] canvas')).to_be_visible()
    trainer.join()
    expect(page.get_by_text("completed", exact=True).first).to_be_visible()
    page.get_by_role("tab", name="Trials").click()
    rows = page.get_by_role("table", name="Trials").get_by_role("row")
    expect(rows.filter(has_text="paused").first).to_be_visible()


def test_one_filter_drives_the_table_and_lives_in_the_url(watch, filled, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['asha']}/trials")
    table = page.get_by_role("table", name="Trials")
    expect(table.get_by_role("row").nth(3)).to_be_visible()
    page.get_by_test_id("filter").click()
    page.get_by_label("Only the best").fill("3")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("top=3"))
    expect(table).to_have_attribute("aria-rowcount", "-1")
    expect(table.locator(".body")).to_have_count(3)
    page.reload()
    expect(table.locator(".body")).to_have_count(3)
    page.get_by_role("tab", name="Parameters").click()
    expect(page.get_by_label(re.compile("^3 trials of 3 along"))).to_be_visible()
    page.get_by_role("button", name="Take away best 3").click()
    expect(page).not_to_have_url(re.compile("top="))


def test_the_table_sorts_by_any_column_and_opens_a_trial(watch, filled, client, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['asha']}/trials")
    table = page.get_by_role("table", name="Trials")
    table.get_by_role("button", name="lr", exact=True).click()
    expect(table.get_by_role("columnheader", name="lr", exact=False).first).to_have_attribute("aria-sort", "ascending")
    smallest = min(client.study(filled["asha"]).records(), key=lambda record: record["params"]["lr"])
    first = table.locator(".body").first.get_by_role("link")
    expect(first).to_have_text(str(smallest["number"]))
    first.click()
    expect(page.get_by_role("heading", name=f"Trial {smallest['number']}", exact=True)).to_be_visible()


def test_a_range_dragged_along_an_axis_becomes_a_condition(watch, filled, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['asha']}/parameters")
    canvas = page.locator('[data-chart="parallel-coordinates"] canvas').last
    expect(canvas).to_be_visible()
    page.wait_for_timeout(600)
    box = canvas.bounding_box()
    assert box is not None
    x = box["x"] + 50  # the first axis: lr
    page.mouse.move(x, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 200, steps=6)
    page.mouse.up()
    expect(page).to_have_url(re.compile("where=.*lr"))
    expect(page.get_by_role("region", name="Filter").get_by_text(re.compile(r"^lr from"))).to_be_visible()


def test_curves_in_a_dragged_box_become_a_condition(watch, filled, client, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['asha']}")
    canvas = page.locator("[data-chart=curves] canvas").first
    expect(canvas).to_be_visible()
    page.wait_for_timeout(600)
    page.get_by_role("button", name="Choose curves by a box").click()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.1 * box["height"])  # where only long curves come
    page.mouse.down()
    page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 0.85 * box["height"], steps=6)
    page.mouse.up()
    expect(page).to_have_url(re.compile("number="))
    records = list(client.study(filled["asha"]).records())
    long = {record["number"] for record in records if record["last_step"] >= 9}
    chosen = set(json.loads(parse_qs(urlsplit(page.url).query)["number"][0]))
    assert 0 < len(chosen) < len(records)
    assert chosen <= long
    words = page.get_by_role("region", name="Filter").get_by_text(re.compile(r"^(\d+ trials chosen|trial \d+)$"))
    expect(words).to_be_visible()
    expect(page.get_by_role("button", name="Choose curves by a box")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("tab", name="Trials").click()
    expect(page.get_by_role("table", name="Trials").locator(".body")).to_have_count(len(chosen))


def test_the_belief_shows_where_a_curve_is_heading_and_what_is_worth_doing(watch, filled, client, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['freeze_thaw']}/belief")
    foretold = page.get_by_test_id("foretold")
    expect(foretold).to_contain_text("nine chances in ten between", timeout=60_000)
    ranking = page.get_by_test_id("ranking")
    expect(ranking.get_by_text("thaw").first).to_be_visible(timeout=60_000)
    expect(ranking.get_by_text("start").first).to_be_visible()
    other = ranking.get_by_role("link").last
    number = other.inner_text()
    other.click()
    expect(page).to_have_url(re.compile(rf"trial={number}\b"))
    expect(page.get_by_role("heading", name=f"Where trial {number} is heading")).to_be_visible()


def test_a_trial_is_noted_tagged_excluded_retried_and_varied(watch, filled, client, server_url) -> None:
    study = client.study(filled["bayes"])
    page = watch(server_url).open(f"/studies/{study.id}/trials/3")
    page.get_by_role("button", name="Write").click()
    page.get_by_role("textbox", name="Notes").fill("**good**, see [the run](https://example.org/run)")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".markdown strong")).to_have_text("good")
    page.get_by_role("combobox", name="Tags").fill("keep")
    page.keyboard.press("Enter")
    expect(page.get_by_text("keep", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Exclude").click()
    expect(page.get_by_text("the tuner does not know it")).to_be_visible()
    page.get_by_role("button", name="Include").click()
    expect(page.get_by_role("button", name="Exclude")).to_be_visible()
    record = next(record for record in study.records() if record["number"] == 3)
    assert (record["notes"][:8], record["tags"], record["excluded"]) == ("**good**", ["keep"], False)


def test_a_frozen_run_is_varied_and_branched_from_its_checkpoint(watch, client, server_url) -> None:
    study = client.create_study(unique("trunk"), space=SPACE, minimize="val_loss", resource=EPOCHS, policy="asha")
    trunk = study.ask()
    trunk.report(1, val_loss=loss(trunk.params, 1))
    trunk.freeze("s3://runs/trunk.pt")
    page = watch(server_url).open(f"/studies/{study.id}/trials/0")
    page.get_by_role("button", name="Vary").click()
    box = page.get_by_label("Parameters of the new trial, as JSON")
    kind = "cosine" if trunk.params["lr_schedule"]["kind"] == "linear" else "linear"
    params = {**trunk.params, "lr_schedule": {**trunk.params["lr_schedule"], "kind": kind}}
    box.fill(json.dumps(params))
    page.get_by_role("switch", name="Go on from the checkpoint at step 1").click()
    page.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_text("Trial 1 goes to the next worker that asks.")).to_be_visible()
    branch = study.ask()
    assert (branch.number, branch.from_step, branch.checkpoint.uri) == (1, 1, "s3://runs/trunk.pt")
    assert branch.params["lr_schedule"]["kind"] == kind
    page.goto(f"{server_url}/studies/{study.id}/trials/1")
    expect(page.get_by_text("branched from")).to_be_visible()
    page.get_by_role("link", name="trial 0").click()
    expect(page.get_by_role("heading", name="Trial 0", exact=True)).to_be_visible()
    branch.release()


def test_trials_are_ranked_by_drag_and_by_keyboard(watch, filled, client, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['ranked']}/preferences")
    items = page.locator(".ranker li")
    expect(items).to_have_count(4)
    before = [item.get_attribute("data-trial") for item in items.all()]
    items.nth(3).drag_to(items.nth(0))
    expect(items.nth(0)).to_have_attribute("data-trial", before[3] or "")
    page.get_by_role("button", name=f"Trial {before[0]} down").press("Enter")
    order = [before[3], before[1], before[0], before[2]]
    expect(items.nth(1)).to_have_attribute("data-trial", order[1] or "")
    page.get_by_role("button", name="This is the order").click()
    expect(page.get_by_text(" › ".join(str(number) for number in order))).to_be_visible()


def test_studies_are_compared(watch, filled, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['asha']}")
    page.get_by_role("main").get_by_role("link", name="Compare").click()
    expect(page).to_have_url(re.compile("/compare"))
    page.get_by_role("combobox", name="Studies").click()
    page.get_by_role("option", name=re.compile("^freeze_thaw")).first.click()
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(3)


def test_every_chart_is_saved_as_picture_and_table(watch, filled, server_url) -> None:
    page = watch(server_url).open(f"/studies/{filled['asha']}")
    for kind, beginning in (("CSV table", b"trial,"), ("SVG picture", b"<svg"), ("PNG picture", b"\x89PNG")):
        page.get_by_test_id("save-best-so-far").click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=kind).click()
        path = download.value.path()
        assert path.read_bytes().startswith(beginning), kind
        assert len(path.read_bytes()) > 200


def test_a_lost_connection_says_so_and_mends_itself(watch, start_server) -> None:
    server = start_server()
    with frazil.Client(server.url) as client:
        study = client.create_study(
            unique("outage"), space=SPACE, minimize="val_loss", resource=EPOCHS, policy="random"
        )
        trial = study.ask()
        watched = watch(server.url)
        watched.expected = ("net::ERR_",)  # however a request ends whose server is killed
        page = watched.open(f"/studies/{study.id}")
        expect(page.get_by_role("heading", name=study.name)).to_be_visible()
        server.kill()
        expect(page.get_by_text("The connection to the server is lost")).to_be_visible()
        server.start()
        trial.report(1, val_loss=loss(trial.params, 1))
        expect(page.get_by_text("The connection to the server is lost")).to_have_count(0)
        expect(page.locator('[data-chart="curves"] canvas').first).to_be_visible()
