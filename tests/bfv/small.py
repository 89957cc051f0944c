# SPDX-License-Identifier: Apache-2.0
"""A bfv of two cells whose storage is never asked: all that quotas and server groups are made of."""

import uuid

from keystoneauth1.identity import v3

from bfv import claims, config, database, quota
from bfv.fit import Size
from bfv.journal import DONE
from bfv.parts import assemble
from bfv.types import Caller
from cells import Flavor, Server, encode, servers

CONFIG = """
[DEFAULT]
cells = cell1,cell2
[database]
api_connection = {api}
connection = {bfv}
cell_timeout = 60
[service_user]
auth_type = v3password
auth_url = http://127.0.0.1:1/v3
[cell:cell1]
volume_type = cell1
[cell:cell2]
volume_type = cell2
[quota]
{quota}
"""
CELLS = ("cell0", "cell1", "cell2")
TINY = Flavor(1, "tiny", "tiny", vcpus=2, memory_mb=512, root_gb=0)
SIZE = Size(2, 512, 0)


def caller(project="p", user="u", *roles):
    return Caller(v3.Token("http://127.0.0.1:1/v3", "-"), project, user, roles)


def make(home, url, **options):
    """Write a configuration, make all databases with it and return its parts; ``url`` is of a database by its name."""
    path = home / "small.conf"
    lines = "\n".join(f"{name} = {value}" for name, value in options.items())
    path.write_text(CONFIG.format(api=url("api"), bfv=url("bfv"), quota=lines))
    parts = assemble(config.load(path))
    database.init(parts, url("cell0"))
    for name in CELLS[1:]:
        database.add_cell(parts, name, url(name))
    return parts


def accept(parts, who, size=SIZE, *, server_id=None, cell="cell1", host=None, group=None, number=1):
    """Accept a server, or several at once, and return the first one's intent."""
    ids = [server_id or str(uuid.uuid4()), *(str(uuid.uuid4()) for _ in range(number - 1))]

    def also(conn, intent_id):
        claims.lock(conn, who.project_id)
        quota.number(parts, conn, who, size, ids[0], len(ids), len(ids))
        claims.insert(conn, [claims.Claim(intent_id if key == ids[0] else str(uuid.uuid4()), key, who.project_id,
                                          who.user_id, size, cell, host, group) for key in ids])  # fmt: skip
        return {}

    with claims.turn(who.project_id, 30):
        return parts.journal.open("boot", ids[0], project_id=who.project_id, user_id=who.user_id, request_id="req",
                                  request={}, also=also)  # fmt: skip


def put(parts, intent, cell="cell1", host=None, vm_state="active"):
    """Map an accepted server to a cell and write its row there."""
    key, project, user = intent.server_id, intent.project_id, intent.user_id
    spec = encode.request_spec(server_id=key, project_id=project, user_id=user, flavor=TINY, image=None, is_bfv=True)
    parts.registry.map_server(key, project, user, spec)
    parts.registry.assign(key, parts.registry.cell(cell))
    servers.insert(parts.cells.named(cell), Server(key, project, user, "vm", vm_state, TINY, host=host))


def boot(parts, who, cell="cell1", host=None, group=None):
    """Bring a server to its end and return its id."""
    intent = accept(parts, who, cell=cell, host=host, group=group)
    put(parts, intent, cell)
    parts.journal.close(intent, DONE)
    return intent.server_id


def lose(parts, cell):
    """Have the database of a cell give no answer."""
    parts.registry.update_cell(cell, database_connection="sqlite:////nowhere/at/all.db")


def used(parts, who):
    """Return the servers that a project and one of its users have."""
    with parts.journal.database.reader() as conn:
        room = quota.room(parts, conn, who)
    return room.used.instances, room.user_used.instances
