# SPDX-License-Identifier: Apache-2.0
"""`bfv demo`: the main job on a cloud in this process, told as it goes. Nothing in it is real but the code of bfv."""

import argparse
import hashlib
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bfv import quota
from bfv.cli import output
from bfv.cloud import Cloud
from bfv.config import load
from bfv.embedded import CELLS, Embedded, embedded
from bfv.errors import CellDown, MaybeRunning, Refused
from bfv.types import BootRequest, ServerInfo

LOUD = "MOCKED CLOUD: no service here is real. Not for production."
MIB = 1 << 20


def add(verbs: Any) -> None:
    """Add the verb to the parser."""
    parser = verbs.add_parser("demo", help="try it all on a mocked cloud in this process; needs no configuration")
    parser.add_argument("--keep", action="store_true", help="leave the cloud serving, and say how to reach it")
    parser.set_defaults(run=None, alone=demo)


def demo(args: argparse.Namespace) -> int:
    """Run the demo and return the exit code."""
    output.out.rule(f"[bold red]{LOUD}")
    with tempfile.TemporaryDirectory(prefix="bfv-demo-") as home, embedded(Path(home)) as cloud_in:
        with Cloud(load(cloud_in.config_file), cloud_in.caller) as cloud:
            told = _Demo(cloud_in, cloud).run()
        output.out.rule(f"[bold red]{LOUD}")
        if args.keep:
            _keep(cloud_in)
    return told


class _Demo:
    def __init__(self, place: Embedded, cloud: Cloud) -> None:
        self.place, self.cloud = place, cloud
        self.seconds: dict[str, float] = {}
        self.images: dict[str, tuple[str, bytes]] = {}

    def run(self) -> int:
        """Show the parts one after the other."""
        quota.set_limits(self.cloud.parts, self.place.caller().project_id, {"instances": 20})
        for name in ("debian-12", "debian-13"):
            self.images[name] = self._upload(name, os.urandom(8 * MIB))
        self._decision()
        servers = self._first_boots() + self._more_boots()
        servers.append(self._lost_answer())
        self._delete(servers.pop(0))
        self._outage()
        servers += self._race()
        return self._what_is_there(servers)

    def _upload(self, name: str, data: bytes) -> tuple[str, bytes]:
        return self.place.upload(name, data), data

    def _decision(self) -> None:
        _title("1. A user asks for a server and says nothing of volumes. How it would boot, and why:")
        output.decision(self.cloud.decide(BootRequest(image="debian-12", flavor="small", name="web1")))

    def _first_boots(self) -> list[ServerInfo]:
        _title("2. The first boot in each cell, and the next one: one cell's Ceph holds Glance's copy, two are cold")
        servers, rows = [], []
        for cell in CELLS:
            took = []
            for number in (1, 2):
                server, seconds = self._boot(f"{cell}-{number}", "debian-12", cell)
                servers.append(server)
                took.append(seconds)
            parent = self._volume(servers[-1])
            rows.append((cell, f"{took[0]:.1f} s", f"{took[1]:.1f} s", f"a clone of {parent.parent_name()}"))
        output.table(["CELL", "FIRST", "SECOND", "THE SECOND IS"], rows)
        return servers

    def _more_boots(self) -> list[ServerInfo]:
        _title("3. Six servers at once of another image: they spread over the cells")
        asked = [BootRequest(image="debian-13", flavor="tiny", name=f"web{number}") for number in range(1, 7)]
        with output.err.status("booting"):
            for request in asked:
                self.cloud.boot(request)
            servers = [self.cloud.wait(request.server_id, 60) for request in asked]
        _list(servers)
        return servers

    def _lost_answer(self) -> ServerInfo:
        _title("4. Cinder makes a volume, and its answer is lost on the way")
        self.place.server.cloud.faults.add("lost_after", method="POST", path="/volumes$")
        server, _ = self._boot("unlucky", "debian-12", "cell1")
        steps = [step for _, found in self.cloud.history(server.id) for step in found]
        output.table(["TIME", "STEP", "DETAIL"], ((f"{step.at:%T.%f}"[:-3], step.name, step.detail) for step in steps))
        output.out.print(
            "It was found again by the secret that was written down before it was asked for, not made twice."
        )
        return server

    def _delete(self, server: ServerInfo) -> None:
        _title("5. A server is deleted, and its volume goes with it")
        self.cloud.delete(server.id)
        output.out.print(f"{server.name} is gone; servers left: {len(self.cloud.servers())}")

    def _outage(self) -> None:
        _title("6. The database of cell2 goes away: its servers are listed all the same, each at its place")
        victim = next(server for server in self.cloud.servers() if server.cell == "cell2")
        with self.place.database_away("cell2"):
            # What is open stays open for SQLite, wherever the file went.
            self.cloud.parts.cells.named("cell2").close()
            _list(self.cloud.servers())
            for what, verb in (
                ("delete a server there", lambda: self.cloud.delete(victim.id)),
                ("one more server", lambda: self.cloud.boot(BootRequest(image="debian-13", flavor="tiny", name="no"))),
            ):
                try:
                    verb()
                except (Refused, CellDown) as error:
                    output.out.print(f"[bold]{what}:[/bold] {error}", soft_wrap=False)
        began = time.monotonic()
        with output.err.status("cell2 is back; waiting until that is noticed"):
            while any(server.status == "UNKNOWN" for server in self.cloud.servers()):
                time.sleep(0.1)
                if time.monotonic() - began > 30:
                    raise MaybeRunning("cell2 did not come back")
        output.out.print(f"It came back by itself {time.monotonic() - began:.1f} s after its database did.")

    def _race(self) -> list[ServerInfo]:
        _title("7. Room for two more servers, and eight are asked for at the same moment")
        there = len(self.cloud.servers())
        quota.set_limits(self.cloud.parts, self.place.caller().project_id, {"instances": there + 2})
        asked = [BootRequest(image="debian-13", flavor="tiny", name=f"race{number}") for number in range(1, 9)]
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = list(pool.map(self._try, asked))
        told = zip(asked, answers, strict=True)
        output.table(["SERVER", "ANSWER"], ((request.name, answer or "accepted") for request, answer in told))
        won = [request for request, answer in zip(asked, answers, strict=True) if answer is None]
        return [self.cloud.wait(request.server_id, 60) for request in won]

    def _try(self, request: BootRequest) -> str | None:
        try:
            self.cloud.boot(request)
        except Refused as error:
            return str(error)
        return None

    def _what_is_there(self, servers: list[ServerInfo]) -> int:
        _title("8. What the volumes hold: the image's bytes, in the cell's own Ceph")
        digests = {key: hashlib.sha256(data).hexdigest()[:12] for key, data in self.images.values()}
        rows, wrong = [], 0
        for server in servers:
            volume = self._volume(server)
            digest = hashlib.sha256(volume.read(0, 8 * MIB)).hexdigest()[:12]
            image_id = server.devices[0].image_id or ""
            same = digest == digests[image_id]
            wrong += not same
            rows.append((server.name, server.cell, digest, "the image's" if same else "NOT the image's",
                         volume.parent_name() or "none: it was downloaded"))  # fmt: skip
        output.table(["SERVER", "CELL", "SHA-256", "BYTES", "PARENT"], rows)
        intents = len(self.cloud.parts.journal.opened())
        output.out.print(f"\n{len(servers)} servers, {wrong} with wrong bytes, {intents} intents open.")
        lost = {server.id for server in servers} ^ {server.id for server in self.cloud.servers()}
        return 1 if wrong or intents or lost else 0

    def _boot(self, name: str, image: str, cell: str) -> tuple[ServerInfo, float]:
        request = BootRequest(image=image, flavor="tiny", name=name, availability_zone=cell)
        began = time.monotonic()
        with output.err.status(f"{name}: booting in {cell}"):
            self.cloud.boot(request)
            server = self.cloud.wait(request.server_id, 60)
        return server, time.monotonic() - began

    def _volume(self, server: ServerInfo) -> Any:
        cell = self.place.server.cloud.cells[server.cell or ""]
        return cell.cluster.pools["volumes"].images[f"volume-{server.devices[0].volume_id}"]


def _title(text: str) -> None:
    output.out.print(f"\n[bold]{text}[/bold]\n")


def _list(servers: list[ServerInfo]) -> None:
    volumes = {server.id: server.devices[0].volume_id for server in servers if server.devices}
    rows = ((each.name or each.id, each.status, each.cell, each.host, volumes.get(each.id)) for each in servers)
    output.table(["NAME", "STATUS", "CELL", "HOST", "VOLUME"], rows)


def _keep(place: Embedded) -> None:
    output.out.print(f"""
It goes on serving; interrupt it to end it. In clouds.yaml:

clouds:
  demo:
    auth: {{auth_url: "{place.auth_url}", username: demo, password: labdemo, project_name: demo,
           user_domain_id: default, project_domain_id: default}}
    region_name: RegionOne

OS_CLOUD=demo bfv --config-file {place.config_file} list""")
    try:
        place.server.wait()
    except KeyboardInterrupt:
        output.out.print("ended")
