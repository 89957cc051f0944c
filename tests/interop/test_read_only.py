# SPDX-License-Identifier: Apache-2.0
"""Beside nova with accounts that may only SELECT: what reads works, what writes is refused before cinder is asked."""

import json
import uuid

import pytest
import sqlalchemy as sa

from bfv import database
from bfv.pool_report import report
from cells import Flavor, flavors, hosts
from lab.settings import MARIADB_SOCKET
from tests import sites

pytestmark = pytest.mark.lab
PASSWORD = "look"


@pytest.fixture
def reader(deployment):
    """The name of an account that may select from nova's databases, and do all to one of our own."""
    name = f"bfv_{uuid.uuid4().hex[:8]}"
    engine = sa.create_engine(f"mysql+pymysql://root@localhost/?unix_socket={MARIADB_SOCKET}", poolclass=sa.NullPool)
    with engine.connect() as conn:
        conn.exec_driver_sql(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        for url in deployment.urls.values():
            conn.exec_driver_sql(f"GRANT SELECT ON {sa.make_url(url).database}.* TO {name}@'127.0.0.1'")
        conn.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        conn.exec_driver_sql(f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'")
    yield name
    with engine.connect() as conn:
        conn.exec_driver_sql(f"DROP DATABASE {name}")
        conn.exec_driver_sql(f"DROP USER {name}@'127.0.0.1'")


@pytest.fixture
def world(deployment, reader, tmp_path):
    """A bfv beside nova on the mocked storage, whose account reads; cells and servers are nova's."""
    with sites.mock() as site:
        world = sites.World(site, tmp_path, ceph=True)
        account = sa.make_url(deployment.urls["api"]).set(username=reader, password=PASSWORD)
        own = account.set(database=reader).render_as_string(hide_password=False)
        api = account.render_as_string(hide_password=False)
        text = world.config.read_text().replace(f"sqlite:///{tmp_path}/api.db", api)
        world.config.write_text(text.replace(f"sqlite:///{tmp_path}/bfv.db", own))
        with world.cloud("admin") as cloud:
            database.upgrade(cloud.parts)
        yield world


@pytest.fixture
def server(deployment, nova, world):
    """A server of nova's in the project of the caller."""
    name = f"f{uuid.uuid4().hex[:8]}"
    flavors.create(deployment.api, Flavor(0, name, name, 1, 128, 0))
    made = nova.ask("make", server=str(uuid.uuid4()), cell="cell1", project=world.site.caller("demo").project_id,
                    user="u", name="theirs", flavor=name, image=None, vm_state="active")  # fmt: skip
    return made["uuid"], name


def test_what_reads_works(nova, world, server):
    server_id, _ = server
    assert server_id in {each["id"] for each in json.loads(world.run("--json", "list"))}
    assert json.loads(world.run("--json", "show", server_id))["id"] == server_id
    used = {row["resource"]: row["in_use"] for row in json.loads(world.run("--json", "quota", "show"))["quota"]}
    counted = nova.ask("count", project=world.site.caller("demo").project_id)["project"]
    assert counted["instances"] > 0
    assert {name: used[name] for name in counted} == counted
    lines = json.loads(world.run("--json", "db", "check"))
    assert {line["state"] for line in lines} == {"ok"}
    assert {line["what"] for line in lines} == {
        "bfv's database",
        "API database",
        "cell cell0",
        "cell cell1",
        "cell cell2",
    }


def test_whose_the_disks_in_novas_pool_are_is_told_from_novas_own_rows(deployment, nova, world, server):
    server_id, flavor = server
    gone = nova.ask("make", server=str(uuid.uuid4()), cell="cell2", project="p", user="u", name="gone", flavor=flavor,
                    image=None, vm_state="active")["uuid"]  # fmt: skip
    nova.ask("delete", server=gone)
    nobody = str(uuid.uuid4())
    with world.cloud("admin") as cloud:
        pools = cloud.parts.clusters.pools()
        for cell, name in (("cell1", server_id), ("cell2", gone), ("cell2", server_id), ("cell1", nobody)):
            pools.of(cell).create(f"{name}_disk", 1 << 30)
        first, second = report(cloud.parts)

    told = {(each.cell, image.server_id): image for each in (first, second) for image in each.images}
    assert told["cell1", server_id].whose.startswith("server theirs of project ")
    assert {key: image.state for key, image in told.items()} == {
        ("cell1", server_id): "live", ("cell2", gone): "deleted", ("cell2", server_id): "elsewhere",
        ("cell1", nobody): "nobody",
    }  # fmt: skip


def hosts_report(deployment):
    """Hosts of other tests, which reported once and long ago, would have a boot refused for want of a host."""
    for cell in ("cell1", "cell2"):
        hosts.report(deployment.of(cell), hosts.list(deployment.of(cell), cell))


def test_what_writes_is_refused_with_the_reason_before_anything_is_made(deployment, world, server):
    server_id, flavor = server
    hosts_report(deployment)
    image = world.site.upload(b"0" * 4096)

    for words in (("boot", image, "--flavor", flavor, "--name", "no"), ("delete", server_id)):
        told = world.run(*words, expect=1)
        assert "The database account may only read: cell api: INSERT command denied" in told, words

    assert world.site.volumes() == {}
    with world.cloud() as cloud:
        assert cloud.parts.journal.opened() == []
        assert cloud.server(server_id).id == server_id
