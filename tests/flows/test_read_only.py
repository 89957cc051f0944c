# SPDX-License-Identifier: Apache-2.0
"""Where an account may only read, all that reads works, and what would write is refused before anything is made."""

import sqlite3

import pytest

from bfv import BootRequest, schemas
from bfv.errors import Refused
from tests import sites

pytestmark = pytest.mark.usefixtures("nothing_left")
ONLY_READ = "?mode=ro&uri=true"


def read_only(world, *names):
    """Have the databases of these names opened in SQLite's mode that only reads."""
    for name in names:
        plain, limited = f"sqlite:///{world.home}/{name}.db", f"sqlite:///file:{world.home}/{name}.db{ONLY_READ}"
        if name == "api":
            world.config.write_text(world.config.read_text().replace(plain, limited))
        else:
            with sqlite3.connect(world.home / "api.db") as connection:
                connection.execute("UPDATE cell_mappings SET database_connection = ? WHERE name = ?", (limited, name))


@pytest.fixture
def server(world, raw_image):
    with world.cloud() as cloud:
        server = cloud.wait(cloud.boot(BootRequest(image=raw_image, flavor="tiny", name=sites.NAME)).id, 120).id
    yield server
    with sqlite3.connect(world.home / "api.db") as connection:
        plain = "replace(replace(database_connection, ?, ''), 'sqlite:///file:', 'sqlite:///')"
        connection.execute(f"UPDATE cell_mappings SET database_connection = {plain}", (ONLY_READ,))
    world.write_config()
    with world.cloud() as cloud:
        cloud.delete(server)


def intents(world):
    with sqlite3.connect(world.home / "bfv.db") as connection:
        return connection.execute("SELECT verb, closed_at IS NULL FROM intents ORDER BY created_at").fetchall()


def test_where_nothing_may_be_written_all_that_reads_works_and_all_that_writes_is_refused(
    world, server, site, raw_image
):
    before = site.ours(), intents(world)
    read_only(world, "api", "cell0", "cell1", "cell2")

    with world.cloud() as cloud:
        assert [each.id for each in cloud.servers()] == [server]
        assert cloud.server(server).id == server
        assert cloud.history(server)
        assert {line.state for line in schemas.check(cloud.parts)} == {"ok"}
        for write in (
            lambda: cloud.boot(BootRequest(image=raw_image, flavor="tiny", name=sites.NAME)),
            lambda: cloud.delete(server),
            lambda: cloud.rebuild(server, raw_image),
            lambda: cloud.connect(server, {"host": "h"}),
            lambda: cloud.disconnect(server),
        ):
            with pytest.raises(Refused, match="The database account may only read: cell api"):
                write()

    assert (site.ours(), intents(world)) == before


def test_a_cell_that_may_only_be_read_is_named_and_stays_up(world, server, site, raw_image):
    before = site.ours(), intents(world)
    read_only(world, "cell1", "cell2")

    with world.cloud() as cloud:
        for _ in range(5):
            with pytest.raises(Refused, match="may only read: cell cell"):
                cloud.boot(BootRequest(image=raw_image, flavor="tiny", name=sites.NAME))
        assert cloud.server(server).id == server

    assert (site.ours(), intents(world)) == before


def test_the_command_says_so_and_fails(world, raw_image):
    read_only(world, "api")

    told = world.run("boot", raw_image, "--flavor", "tiny", "--name", sites.NAME, expect=1)

    assert "The database account may only read: cell api: attempt to write a readonly database. Give it INSERT" in told
