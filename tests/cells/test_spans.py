# SPDX-License-Identifier: Apache-2.0
"""Which servers ran in a time, on tables that we made and on tables that nova makes."""

import datetime as dt
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from cells import Flavor, Server, servers, spans
from cells.schema_cell import instance_extra, instances

FLAVOR = Flavor(1, "m1", "m1.tiny", vcpus=2, memory_mb=512, root_gb=1, ephemeral_gb=3)
DAY = dt.datetime(2026, 3, 1)


def hour(number):
    return DAY + dt.timedelta(hours=number)


def add(cell, launched, terminated=None, project="p", number=None, **columns):
    key = str(uuid.UUID(int=number)) if number is not None else str(uuid.uuid4())
    servers.insert(cell, Server(key, project, "u", "vm", "active", FLAVOR))
    if terminated:
        servers.destroy(cell, key)
    values = {"launched_at": launched, "terminated_at": terminated, **columns}
    with cell.writer() as conn:
        conn.execute(instances.update().where(instances.c.uuid == key).values(**values))
    return key


def test_a_server_counts_that_ran_at_any_time_between_also_one_that_is_deleted(cell):
    ran = {
        "all the time": add(cell, hour(-5)),
        "began in it": add(cell, hour(3)),
        "ended in it": add(cell, hour(-5), hour(3)),
        "both": add(cell, hour(2), hour(3)),
        "hidden is not known": add(cell, hour(2), hidden=None),
    }
    add(cell, hour(-5), hour(-1))
    add(cell, hour(11))
    add(cell, None)
    add(cell, hour(2), hidden=True)
    add(cell, hour(2), project="q")

    found = spans.between(cell, hour(0), hour(10), "p")

    assert {span.uuid for span in found} == set(ran.values())
    [ended] = [span for span in found if span.uuid == ran["both"]]
    assert (ended.launched_at, ended.terminated_at, ended.vm_state) == (hour(2), hour(3), "deleted")
    assert (ended.flavor, ended.vcpus, ended.memory_mb, ended.local_gb) == ("m1.tiny", 2, 512, 4)


def test_pages_go_by_project_and_id(cell):
    for number, project in ((3, "a"), (1, "b"), (2, "a")):
        add(cell, hour(1), project=project, number=number)
    order = [("a", str(uuid.UUID(int=2))), ("a", str(uuid.UUID(int=3))), ("b", str(uuid.UUID(int=1)))]
    assert [span.key for span in spans.between(cell, hour(0), hour(9))] == order
    assert [span.key for span in spans.between(cell, hour(0), hour(9), limit=2)] == order[:2]
    for at in range(3):
        assert [span.key for span in spans.between(cell, hour(0), hour(9), after=order[at])] == order[at + 1 :]


def test_a_lost_flavor_leaves_its_sizes(cell):
    key = add(cell, hour(1))
    with cell.writer() as conn:
        conn.execute(sa.delete(instance_extra).where(instance_extra.c.instance_uuid == key))
    [span] = spans.between(cell, hour(0), hour(9))
    assert (span.flavor, span.vcpus, span.memory_mb, span.local_gb) == ("", 2, 512, 4)


@pytest.mark.parametrize("count", [1, 40])
def test_it_is_one_statement_however_many_there_are(cell, count):
    for _ in range(count):
        add(cell, hour(1))
    seen = []

    def count_it(conn, cursor, statement, *_):
        seen.append(statement)

    event.listen(sa.Engine, "before_cursor_execute", count_it)
    try:
        assert len(spans.between(cell, hour(0), hour(9))) == count
    finally:
        event.remove(sa.Engine, "before_cursor_execute", count_it)
    assert len([each for each in seen if each.startswith("SELECT")]) == 1
