# SPDX-License-Identifier: Apache-2.0
"""A cloud with servers on nova's rbd image backend: rows as nova wrote them, disks as its backend makes them."""

import dataclasses
import itertools
import json
import uuid

import sqlalchemy as sa

from bfv import mockcloud
from bfv.migrate.ways.aside import ASIDE, PROOF
from bfv.mockcloud.librbd import Bindings
from cells import encode, servers
from cells.types import BlockDevice, Flavor, Server
from imagebackends.errors import HasSnapshots, NotFound
from imagebackends.rbd import bindings
from imagebackends.rbd.pool import Cluster
from imagebackends.rbd.pools import together
from imagebackends.rbd.types import SnapshotName
from imagebackends.types import Ceph
from tests import sites

CEPH = "ceph_conf = {conf}\nceph_user = cinder\nnova_pool = {pool}\n"
NAMES = itertools.count()
# What is looked at of a disk: the image, what a server wrote of its own behind it, and what its guest writes there.
LENGTH, OWN, WRITTEN = 9 << 20, 8 << 20, (8 << 20) + (1 << 19)


class Ground:
    """A site, and its first two cells' Ceph as the tests themselves reach it."""

    def __init__(self, site, clusters, confs, python):
        self.site, self.clusters, self.confs, self.python = site, clusters, confs, python

    def pool(self, name, cell="cell1"):
        return self.clusters[cell].pool(name)


def lab_ground():
    site, env = sites.lab(), sites.lab_environment()
    confs = {cell: env[f"LAB_{cell.upper()}_CEPH_CONF"] for cell in ("cell1", "cell2")}
    modules = bindings.load()
    clusters = {cell: Cluster(Ceph(conf=conf, user="cinder"), modules) for cell, conf in confs.items()}
    return Ground(site, clusters, confs, None)


def mock_ground(server):
    site = sites.mock_of(server)
    confs = {cell: f"{site.control_url}/ceph/{cell}" for cell in ("cell1", "cell2")}
    clusters = {cell: Cluster(Ceph(conf=cell, user="cinder"), Bindings(server.cloud)) for cell in confs}
    return Ground(site, clusters, confs, str(sites.ROOT / "bfv" / "mockcloud" / "ceph"))


class Cloud(sites.World):
    """A bfv beside such servers; ``pool`` is where their disks lie.

    In place: in the lab cinder has a backend on nova's own pool; the mocked cloud has one pool, so they lie in that.
    """

    def __init__(self, ground, home, way="rename", more="", **settings):
        # ``more`` is written into the configuration as it is.
        self.adopt, _, self.way = way.rpartition("-")
        way, self.ground = self.way, ground
        self.more = more + (f"\n[migrate]\nadopt = {self.adopt}\n" if self.adopt else "")
        self.in_place = ground.site.on_novas_pool if way == "rename" else None
        self.pool_name = "volumes" if way == "rename" and not self.in_place else "vms"
        self.made = []
        super().__init__(ground.site, home, **{"late_answer": 1, **settings})
        self.project = ground.site.caller("demo").project_id

    def write_config(self, **settings):
        super().write_config(**settings)
        text = self.config.read_text()
        for cell, conf in self.ground.confs.items():
            text = text.replace(f"[cell:{cell}]\n", f"[cell:{cell}]\n{CEPH.format(conf=conf, pool=self.pool_name)}")
        if self.in_place:
            kind = self.in_place.rpartition("#")[2]
            text = text.replace("volume_type = cell1\n", f"volume_type = {kind}\n")
            text = text.replace(f"backend = {self.site.backends['cell1']}\n", f"backend = {self.in_place}\n")
        if self.ground.python:
            text = text.replace("[storage]\n", f"[storage]\nceph_python = {self.ground.python}\n")
        # ``wrong`` is a type whose backend is not the one that holds the disks.
        far = f"far:cell2,wrong:cell2,inplace:cell1vms\ntier_backends = far:{self.site.backends['cell2']}"
        if self.site.on_novas_pool:
            far += f",inplace:{self.site.on_novas_pool}"
        self.config.write_text(text.replace("tiers = fast:cell1-fast", f"tiers = fast:cell1-fast,{far}") + self.more)

    @property
    def choice(self):
        """What is said to `bfv migrate` so that it takes this way."""
        return {"clone": ["--way", "clone"], "copy": ["--tier", "far"]}.get(self.way, [])

    @property
    def new(self):
        """The pool where the volumes lie."""
        name = self.pool_name if self.way == "rename" else "volumes"
        return self.ground.pool(name, "cell2" if self.way == "copy" else "cell1")

    @property
    def pool(self):
        """The pool where the disks lie."""
        return self.ground.pool(self.pool_name)

    def server(self, image_id, data=(b"root" * 1000,), size=None, parent=None, **changes):
        """Make a server that is off, with its disk: standalone, or a clone of ``parent`` with more bytes written."""
        with self.cloud("bfv") as cloud:
            key = self.rows_of_a_server(cloud.parts, image_id, **changes)
        name = f"{key}_disk"
        if parent:
            self.pool.clone(SnapshotName("images", parent, "snap"), name)
            self.pool.resize(name, size or 1 << 30)
            self.pool.patch(name, [(OWN, b"own" * 1000)])
        else:
            self.pool.create(name, size or 1 << 30)
            self.pool.fill(name, data)
        return key

    def servers(self, image_id, count):
        """Make so many servers, their disks clones of the image as nova's backend makes them; return their ids."""
        with self.cloud("bfv") as cloud:
            keys = [self.rows_of_a_server(cloud.parts, image_id) for _ in range(count)]
        parent = SnapshotName("images", image_id, "snap")
        together(lambda key: self.pool.clone(parent, f"{key}_disk"), keys)
        return keys

    def rows_of_a_server(self, parts, image_id, **changes):
        """Write what nova's databases say of a server that is off, and return its id."""
        key = str(uuid.uuid4())
        self.made.append(key)
        flavor = Flavor(1, "tiny", "tiny", 1, 128, 1)
        image = {f"image_{name}": value for name, value in
                 {"base_image_ref": image_id, "disk_format": "raw", "container_format": "bare", "min_disk": "1",
                  "min_ram": "0"}.items()}  # fmt: skip
        root = BlockDevice(str(uuid.uuid4()), "image", "local", 0, image_id, device_name="/dev/vda",
                           device_type="disk", disk_bus="virtio", delete_on_termination=True)  # fmt: skip
        row = Server(key, self.project, "demo-user", f"{sites.NAME}-{next(NAMES)}", "stopped", flavor, image_id,
                     power_state=4, host="host1", node="host1", root_device_name="/dev/vda", system_metadata=image,
                     devices=(root,), availability_zone="cell1")  # fmt: skip
        servers.insert(parts.cells.named("cell1"), dataclasses.replace(row, **changes))
        spec = encode.request_spec(server_id=key, project_id=self.project, user_id="demo-user", flavor=flavor,
                                   image={"id": image_id}, is_bfv=False, availability_zone=None)  # fmt: skip
        parts.registry.map_server(key, self.project, "demo-user", spec)
        parts.registry.assign(key, parts.registry.cell("cell1"))
        return key

    def rows(self, key):
        """Return every row of every database that names a server, but for the request's history: as text."""
        found = {}
        for name in ("api", "cell1"):
            engine = sa.create_engine(f"sqlite:///{self.home}/{name}.db")
            metadata = sa.MetaData()
            metadata.reflect(engine)
            with engine.connect() as conn:
                for table in metadata.sorted_tables:
                    column = next((each for each in ("instance_uuid", "uuid") if each in table.c), None)
                    if column is not None:
                        rows = conn.execute(sa.select(table).where(table.c[column] == key))
                        found[f"{name}.{table.name}"] = [dict(row._mapping) for row in rows]
        return json.loads(json.dumps(found, default=str, sort_keys=True))

    def migrate(self, *words, expect=0):
        """Run `bfv --json migrate` and return its answer."""
        done = self.victim(["none", "0", "cli", "--json", "migrate", *words], user="bfv")
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        said = done.stdout if expect == 0 else done.stderr + done.stdout
        return json.loads(said[said.index("[") :]) if "[" in said else said

    def root(self, key):
        """Return a server's root device."""
        with self.cloud("bfv") as cloud:
            [root] = servers.get(cloud.parts.cells.named("cell1"), key).devices
            return root

    def convert(self, key, expect=0):
        """Convert one server and return its row of the answer."""
        [done] = self.migrate("run", "--server", key, *self.choice, "--no-rehearsal", expect=expect)
        return done

    def state(self, key):
        """Return the state of a server's conversion."""
        return [each["state"] for each in self.migrate("status", key)]

    def ran(self, key, data=b"guest"):
        """Have a converted server run, write, and be off again, as its owner would."""
        root = self.root(key)
        with self.cloud("bfv") as cloud:
            database = cloud.parts.cells.named("cell1")
            servers.update(database, key, vm_state="active", power_state=1)
            self.new.patch(f"volume-{root.volume_id}", [(5, data), (WRITTEN, data)])
            servers.update(database, key, vm_state="stopped", power_state=4)
            # Nova's clock goes on; these databases keep whole seconds.
            with database.writer() as conn:
                conn.execute(sa.text("UPDATE instances SET updated_at = '2001-01-01 00:00:00'"))

    def deleted_by_nova(self, key):
        """Delete a server as nova does: its volume is let go of and deleted in cinder, which may find it busy."""
        root, site = self.root(key), self.site
        headers = {"X-Service-Token": site.auth("bfv").get_token(sites._session())}
        site.call("bfv", "DELETE", f"{site.volume_url}/attachments/{root.attachment_id}", headers=headers)
        site.settle(root.volume_id, "available")
        site.call("admin", "DELETE", f"{site.volume_url}/volumes/{root.volume_id}")
        site.settle(root.volume_id, None, "available", "error")
        with self.cloud("bfv") as cloud:
            servers.destroy(cloud.parts.cells.named("cell1"), key)

    def opened(self):
        with self.cloud("bfv") as cloud:
            return [(each.verb, each.server_id) for each in cloud.parts.journal.opened()]

    def clean(self):
        """Remove all that servers of this cloud may have outside."""
        site = self.site
        mine = {each["volume_id"]: each for each in site.attachments().values() if each["instance"] in self.made}
        for each in mine.values():
            headers = {"X-Service-Token": site.auth("bfv").get_token(sites._session())}
            site.call("bfv", "DELETE", f"{site.volume_url}/attachments/{each['id']}", headers=headers)
        pools = [self.ground.pool(*each) for each in itertools.product(("volumes", "vms"), self.ground.confs)]
        for pool in pools[:2]:
            self._clean_pool(pool)
        for key, each in site.volumes().items():
            if (each["name"] or "").startswith(sites.NAME):
                for pool in pools[:2]:
                    image = pool.find(f"volume-{key}")
                    # Else cinder moves it to the trash, and it stays its parent's child.
                    if image and PROOF in [one.name for one in image.snapshots]:
                        pool.drop_snapshot(image.name, PROOF)
                site.call("admin", "DELETE", f"{site.volume_url}/volumes/{key}")
                site.settle(key, None)
        for pool in pools[2:]:
            self._clean_pool(pool)

    def _clean_pool(self, pool):
        wanted = {f"{prefix}{key}_disk" for key in self.made for prefix in ("", ASIDE)}
        for name in pool.names():
            if name in wanted or name.startswith(("volume-", "bfv-rehearsal")):
                image = pool.find(name)
                if image is None or not ("migrating" in image.features or name in wanted or "bfv-re" in name):
                    continue
                if "migrating" in image.features:
                    pool.abort_migration(name)
        for name in pool.names():
            if name in wanted or name.startswith("bfv-rehearsal"):
                for each in pool.look(name).snapshots:
                    if not each.trashed:
                        pool.drop_snapshot(name, each.name)
                try:
                    pool.remove(name)
                except (HasSnapshots, NotFound):
                    continue


start = mockcloud.start
