# SPDX-License-Identifier: Apache-2.0
import datetime as dt
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from bfv.errors import Cancelled, LeaseLost
from bfv.journal import CANCELLED, DONE, UNWINDING, Journal
from bfv.tables import intents, metadata
from cells.database import utcnow
from cells.errors import Exists

ASK = {"project_id": "p", "user_id": "u", "request_id": "req-1", "request": {"boot": {"name": "vm"}}}


def test_an_intent_tells_what_was_asked_and_what_happened(journal):
    intent = journal.open("boot", "s1", decision={"root": "volume"}, payload={"user_data": "secret"}, **ASK)

    intent = journal.update(intent, "cell", "c1", cell="c1")
    thing = journal.ask(intent, "volume", "root", {"size": 1})
    journal.know(intent, thing, "v1")

    assert journal.get(intent.id) == journal.opened("s1", "boot")[0]
    assert (intent.cell, intent.request["boot"]["name"], intent.decision["root"]) == ("c1", "vm", "volume")
    assert [(each.external_id, each.spec) for each in journal.objects(intent)] == [("v1", {"size": 1})]
    assert [step.name for step in journal.history(intent)] == ["cell", "ask volume", "have volume"]
    assert journal.payload(intent) == {"user_data": "secret"}

    journal.gone(intent, thing)
    journal.close(intent, DONE)

    assert journal.objects(intent) == []
    assert journal.opened() == []
    assert not journal.get(intent.id).is_open


def test_the_payload_is_wiped_at_the_end_and_is_in_no_history(journal, database):
    intent = journal.open("boot", "s1", payload={"user_data": "s3cret"}, **ASK)
    journal.close(intent, CANCELLED, "deleted")

    assert journal.payload(intent) == {}
    with database.reader() as conn:
        everything = [str(tuple(row)) for table in metadata.sorted_tables for row in conn.execute(table.select())]
    assert "s3cret" not in "".join(everything)


def test_markers_are_random_and_long(journal):
    intent = journal.open("boot", "s1", **ASK)

    markers = {journal.ask(intent, "volume", str(number), {}).marker for number in range(50)}

    assert len(markers) == 50
    assert min(map(len, markers)) >= 32


def test_what_is_asked_for_again_begins_anew_before_it_closes(journal):
    assert not journal.again("s1", "v1")
    intent = journal.open("extend_volume", "s1", slot="v1", **ASK)
    journal.open("extend_volume", "s1", slot="v2", **ASK)
    with pytest.raises(Exists):
        journal.open("extend_volume", "s1", slot="v1", **ASK)
    assert journal.again("s1", "v1")
    assert journal.again("s1", "v1")
    with pytest.raises(Cancelled):
        journal.close(intent, DONE, stop=True)
    journal.close(journal.update(intent, "look", cancel=False), DONE, stop=True)
    assert not journal.again("s1", "v1")
    assert [each.phase for each in journal.of_server("s1")] == [DONE, "forward"]


def test_only_one_intent_of_a_verb_is_open_for_a_server(journal):
    first = journal.open("boot", "s1", **ASK)
    journal.open("delete", "s1", **ASK)
    journal.open("boot", "s2", **ASK)
    with pytest.raises(Exists):
        journal.open("boot", "s1", **ASK)

    journal.close(first, DONE)
    journal.open("boot", "s1", **ASK)


def test_of_many_that_open_at_once_one_gets_it(database):
    won, lost = [], []

    def race(number):
        try:
            won.append(Journal(database, f"host:boot:1:{number}:1", 30).open("boot", "s1", **ASK))
        except Exists as error:
            lost.append(error)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)


def let_the_lease_run_out(database, intent):
    """No waiting: a lease short enough to wait for runs out by itself where the machine is busy."""
    with database.writer() as conn:
        conn.execute(intents.update().where(intents.c.id == intent.id).values(lease_until=utcnow() - dt.timedelta(1)))


def test_a_lease_keeps_others_away_until_it_runs_out(journal, database):
    elsewhere = Journal(database, "elsewhere:boot:1:1:1", lease=30)
    intent = elsewhere.open("boot", "s1", **ASK)
    assert journal.take(intent.id) is None

    let_the_lease_run_out(database, intent)
    elsewhere.beat()
    assert journal.take(intent.id) is None

    let_the_lease_run_out(database, intent)
    taken = journal.take(intent.id)
    assert (taken.owner, taken.fence) == (journal.owner, 2)


def test_who_lost_the_lease_can_write_nothing_more(journal, database):
    slow = Journal(database, "elsewhere:boot:1:1:1", lease=30)
    intent = slow.open("boot", "s1", **ASK)
    thing = slow.ask(intent, "volume", "root", {})
    let_the_lease_run_out(database, intent)
    journal.take(intent.id)

    acts = [
        lambda: slow.update(intent, "cell", cell="c2"),
        lambda: slow.ask(intent, "volume", "swap", {}),
        lambda: slow.know(intent, thing, "v1"),
        lambda: slow.gone(intent, thing),
        lambda: slow.close(intent, DONE),
        lambda: slow.check(intent),
    ]
    for act in acts:
        with pytest.raises(LeaseLost):
            act()
    assert [each.external_id for each in journal.objects(intent)] == [None]


def test_an_intent_that_was_let_go_may_be_taken_at_once(journal, other):
    intent = other.open("boot", "s1", **ASK)
    other.release(intent)

    assert journal.take(intent.id) is not None


def test_a_closed_intent_cannot_be_taken(journal, other):
    intent = other.open("boot", "s1", **ASK)
    other.close(intent, DONE)

    assert journal.take(intent.id) is None


def test_cancel_reaches_the_open_intent_of_that_verb_alone(journal):
    boot, rebuild = (journal.open(verb, "s1", **ASK) for verb in ("boot", "rebuild"))

    journal.cancel("s1", "boot")

    assert journal.check(boot).cancel
    assert not journal.check(rebuild).cancel


def test_what_turned_back_stays_turned_back(journal, other):
    intent = other.update(other.open("boot", "s1", **ASK), "undo", "no room", phase=UNWINDING, outcome="no room")
    other.release(intent)

    taken = journal.take(intent.id)

    assert (taken.phase, taken.outcome) == (UNWINDING, "no room")


def test_the_migrations_make_what_the_code_expects(own_url):
    from alembic import command

    from bfv import database as migrations
    from cells.database import Database

    database = Database("journal", own_url)
    config = migrations.script()
    with database.writer() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
    with database.reader() as conn:
        context = MigrationContext.configure(conn, opts={"version_table": migrations.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    database.close()
