"""A study from its first ask to its end, by several processes, through a real server."""

from __future__ import annotations

import frazil

from .conftest import the_books_balance


def test_four_processes_finish_a_study_with_nothing_lost(database_url, serve, create, hire):
    server = serve(database_url)
    study = create(server.url, resource=frazil.Resource("epoch", max=9), policy="asha", budget={"resource": 200})
    workers = [hire(server.url, study) for _ in range(4)]
    for worker in workers:
        worker.finish()
    records = the_books_balance(study, workers)
    assert study.state == "completed"
    assert study.info["steps_used"] == sum(record["last_step"] for record in records) == 200
    assert all(worker.diary("acknowledged") for worker in workers)
    assert any(record["attempt"] > 1 for record in records), "nothing was thawed"
