"""The queue in front of the write path: one transaction for all who wait, and no one's fault is another's."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import psycopg
import pytest

from frazil_server.database import plain_url
from frazil_server.trials.commands import Ask, Heartbeat, Release, Report, Sweep, Tell
from frazil_server.trials.rules import Measured, Told
from frazil_tuner.errors import Conflict, FrazilError, Refused, TryLater
from frazil_tuner.history import TrialState

from .conftest import EPOCHS, House, new_database

ONCE = 15.0
"""Seconds within which anything that waits for no lock is answered."""


class Counter(House):
    """A server whose desk is spoken to directly, from both sides of it."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.desk = self.app.state.services.desk

    def work(self, count=1, **definition):
        """A study's id, and so many trials leased from it."""
        study = self.create(**{"resource": EPOCHS, **definition})
        return uuid.UUID(study["id"]), [self.lease(study, f"w{i}") for i in range(count)]

    def all_at_once(self, study, commands):
        """The answers, errors among them, to commands that reach the desk at one moment."""

        async def story():
            answers = (self.desk.submit(study, command) for command in commands)
            return await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), ONCE)

        return self.run(story())

    def transactions(self, study):
        """How many transactions wrote the study's measurements."""
        statement = """SELECT count(DISTINCT m.xmin::text) AS n FROM measurements m JOIN trials t ON t.id = m.trial_id
            WHERE t.study_id = :study"""
        return self.sql(statement, study=study)[0].n

    def row_version(self, study):
        return self.sql("SELECT xmin::text FROM studies WHERE id = :study", study=study)[0].xmin

    @contextlib.asynccontextmanager
    async def someone_else(self):
        """A second connection, in a transaction of its own."""
        url = plain_url(self.database_url)
        async with await psycopg.AsyncConnection.connect(url, autocommit=False) as connection:
            yield connection


@pytest.fixture(scope="module")
def counter(postgres_url):
    counter = Counter(new_database(postgres_url))
    yield counter
    counter.close()


def identified(trial):
    return {"trial": uuid.UUID(trial["id"]), "lease": trial["lease"]["token"]}


def report(trial, *steps, **metrics):
    return Report(**identified(trial), measured=tuple(Measured(step, {"loss": 1 / step} | metrics) for step in steps))


def tell(trial, loss=0.5):
    return Tell(**identified(trial), told=Told(TrialState.COMPLETED, {"loss": loss}))


def test_commands_that_wait_together_share_a_transaction(counter):
    study, trials = counter.work(20)
    answers = counter.all_at_once(study, [report(trial, 1) for trial in trials])
    assert [answer["decision"] for answer in answers] == ["continue"] * 20
    assert counter.transactions(study) == 1


def test_a_command_that_comes_during_a_transaction_joins_the_next_one(counter):
    study, trials = counter.work(4)

    async def story():
        first = asyncio.create_task(counter.desk.submit(study, report(trials[0], 1)))
        await asyncio.sleep(0)  # it is on its way
        await asyncio.sleep(0)
        others = [asyncio.create_task(counter.desk.submit(study, report(trial, 1))) for trial in trials[1:]]
        return await asyncio.wait_for(asyncio.gather(first, *others), ONCE)

    assert len(counter.run(story())) == 4
    assert counter.transactions(study) == 2


def test_a_crowd_is_served_in_several_transactions(counter):
    study, (trial,) = counter.work(resource={"name": "step", "max": 1000})
    answers = counter.all_at_once(study, [report(trial, step) for step in range(1, 301)])
    assert [answer["decision"] for answer in answers] == ["continue"] * 300
    assert counter.transactions(study) == 3
    assert len(counter.curve(trial)) == 300


def test_each_command_of_a_batch_gets_its_own_answer(counter):
    study, trials = counter.work(5)
    stranger = {"id": str(uuid.uuid4()), "lease": {"token": "t"}}
    robbed = trials[1] | {"lease": {"token": "not this one"}}
    ask = Ask("another", 1, 60.0)
    commands = [
        report(trials[0], 1),
        report(robbed, 1),
        report(stranger, 1),
        tell(trials[2]),
        ask,
        report(trials[3], 99),
    ]
    reported, lost, unknown, told, asked, beyond = counter.all_at_once(study, commands)
    assert reported["decision"] == "continue"
    assert (type(lost), lost.code) == (Conflict, "lease_lost")
    assert unknown.code == "not_found"
    assert told["state"] == "COMPLETED"
    assert [trial["number"] for trial in asked["trials"]] == [5]
    assert (type(beyond), beyond.code) == (Refused, "invalid")
    assert counter.curve(trials[0]) == [(1, 1.0)]


def test_a_command_that_the_database_refuses_takes_no_other_down(counter):
    study, trials = counter.work(3)
    poison = report(trials[1], 1, **{"lo\0ss": 1.0})
    good, bad, fine = counter.all_at_once(study, [report(trials[0], 1), poison, report(trials[2], 1)])
    assert good["decision"] == fine["decision"] == "continue"
    assert isinstance(bad, Refused)
    assert [counter.curve(trials[i]) for i in (0, 2)] == [[(1, 1.0)]] * 2
    assert counter.trial(trials[1])["last_step"] == 0


def test_a_client_that_hangs_up_leaves_the_others_their_answers(counter):
    study, trials = counter.work(3)

    async def story():
        tasks = [asyncio.create_task(counter.desk.submit(study, report(trial, 1))) for trial in trials]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), ONCE)

    first, hung_up, last = counter.run(story())
    assert first["decision"] == last["decision"] == "continue"
    assert isinstance(hung_up, asyncio.CancelledError)
    assert counter.curve(trials[1]) == [(1, 1.0)], "what was under way is written all the same"


def test_every_command_about_a_study_that_is_gone_is_told_so(counter):
    study, (trial,) = counter.work()
    counter.call("DELETE", f"/studies/{study}")
    commands = [report(trial, 1), Ask("w", 1, 60.0), Sweep()]
    answers = counter.all_at_once(study, commands)
    assert [answer.code for answer in answers] == ["not_found"] * 3


def test_reports_leave_the_row_of_the_study_alone_until_a_decision_is_due(counter):
    study, (trial,) = counter.work()
    before = counter.row_version(study)
    counter.all_at_once(study, [report(trial, 1), Heartbeat(**identified(trial))])
    assert counter.row_version(study) == before
    counter.all_at_once(study, [tell(trial)])
    assert counter.row_version(study) != before


def test_a_report_does_not_wait_for_whoever_holds_the_study(counter):
    study, (trial,) = counter.work()

    async def story():
        async with counter.someone_else() as other:
            await other.execute("SELECT FROM studies WHERE id = %s FOR NO KEY UPDATE", (study,))
            answer = await asyncio.wait_for(counter.desk.submit(study, report(trial, 1)), ONCE)
            telling = asyncio.create_task(counter.desk.submit(study, tell(trial)))
            await asyncio.sleep(0.2)
            assert not telling.done()
            await other.rollback()
            return answer, await asyncio.wait_for(telling, ONCE)

    answer, told = counter.run(story())
    assert answer["decision"] == "continue"
    assert told["state"] == "COMPLETED"


def test_studies_do_not_wait_for_each_other(counter):
    (slow, (held,)), (quick, (free,)) = counter.work(), counter.work()

    async def story():
        async with counter.someone_else() as other:
            await other.execute("SELECT FROM studies WHERE id = %s FOR NO KEY UPDATE", (slow,))
            waiting = asyncio.create_task(counter.desk.submit(slow, Release(**identified(held))))
            answer = await asyncio.wait_for(counter.desk.submit(quick, Release(**identified(free))), ONCE)
            assert not waiting.done()
            await other.rollback()
            return answer, await asyncio.wait_for(waiting, ONCE)

    assert [answer["state"] for answer in counter.run(story())] == ["QUEUED", "QUEUED"]


def test_a_deadlock_costs_another_try_and_no_error(counter):
    study, (trial,) = counter.work()

    async def story():
        async with counter.someone_else() as other:
            await other.execute("SET LOCAL deadlock_timeout = '1min'")  # so that the desk is the one to give way
            await other.execute("SELECT FROM trials WHERE id = %s FOR UPDATE", (trial["id"],))
            telling = asyncio.create_task(counter.desk.submit(study, tell(trial)))  # has the study, waits for the trial
            await asyncio.sleep(0.3)
            await asyncio.wait_for(other.execute("SELECT FROM studies WHERE id = %s FOR NO KEY UPDATE", (study,)), ONCE)
            assert not telling.done()
            await other.commit()
            return await asyncio.wait_for(telling, ONCE)

    assert counter.run(story())["state"] == "COMPLETED"
    assert counter.trial(trial)["state"] == "COMPLETED"


def test_connections_that_broke_cost_another_try_and_no_error(counter):
    studies = [counter.work() for _ in range(10)]

    async def at_once(step):
        reports = (counter.desk.submit(study, report(trial, step)) for study, (trial,) in studies)
        return await asyncio.wait_for(asyncio.gather(*reports), ONCE)

    async def story():
        await at_once(1)  # the pool has many connections now
        async with counter.someone_else() as other:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'frazil' AND datname = current_database()"
            )
        return await at_once(2)

    assert len(counter.run(story())) == 10
    assert all(counter.curve(trial) == [(1, 1.0), (2, 0.5)] for _, (trial,) in studies)


def test_a_database_that_stays_away_is_an_answer_to_try_later(counter, monkeypatch):
    study, (trial,) = counter.work()

    async def away(*arguments, **options):
        raise psycopg.OperationalError("the database system is shutting down")

    monkeypatch.setattr("frazil_server.trials.ledger.Ledger.open", away)
    (error,) = counter.all_at_once(study, [report(trial, 1)])
    assert isinstance(error, TryLater)
    monkeypatch.undo()
    (answer,) = counter.all_at_once(study, [report(trial, 1)])
    assert not isinstance(answer, FrazilError)
