# SPDX-License-Identifier: Apache-2.0
"""The `example` driver: guests that are files. What the embedded cloud runs, and what the author of a driver copies.

No guest runs. A folder stands for the hosts: what is plugged and which guests there are is written there, so that it
outlives the process as real guests do, and several processes see the same. It takes its time and fails as configured.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from bfv.drivers.contract import Driver, Guest
from bfv.drivers.states import NOSTATE, RUNNING, SHUTDOWN
from bfv.errors import BadConfig, Failed, MaybeRunning, NoRoom
from cells.types import BlockDevice, Host

GROUP = "example_driver"
OPTS: list[cfg.Opt] = [
    cfg.StrOpt("state_path", help="Folder for the guests of the driver `example`; made when it is not there."),
    cfg.IntOpt("hosts_per_cell", default=2, min=1, help="Hosts in each cell."),
    cfg.IntOpt("vcpus", default=8, min=1, help="CPUs of each host."),
    cfg.IntOpt("memory_mb", default=16384, min=1, help="Memory of each host in MiB."),
    cfg.IntOpt("local_gb", default=100, min=0, help="The host's own disks in GiB."),
    cfg.DictOpt("seconds", default={}, help="Seconds that acts take, others none: spawn:2,stop:0.5."),
    cfg.DictOpt(
        "fails",
        default={},
        help="Acts that fail, and how: failed, noroom, or maybe (done, and its answer lost), as in spawn:failed.",
    ),
]
HOW = {"failed", "noroom", "maybe"}
ACTS = {"connector", "plug", "unplug", "spawn", "stop", "start", "reboot", "destroy", "disk_grew", "attach", "detach"}


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the driver's options, for oslo.config's generators."""
    return [(GROUP, OPTS)]


class ExampleDriver(Driver):
    """Keeps guests as files. Raises BadConfig for options that cannot be."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        conf.register_opts(OPTS, group=GROUP)
        self._opts = conf[GROUP]
        if not self._opts.state_path:
            raise BadConfig(f"Set [{GROUP}] state_path to a folder for the guests of the driver `example`.")
        self._path = Path(self._opts.state_path)
        self._cells = {f"{cell}-host{number}": cell
                       for cell in conf.cells for number in range(1, self._opts.hosts_per_cell + 1)}  # fmt: skip
        self._seconds = _seconds(self._opts.seconds)
        self._fails = _fails(self._opts.fails)
        self._lock = threading.Lock()

    def hosts(self) -> Sequence[Host]:
        """Return all hosts with what their guests use."""
        return [self._host(host) for host in self._cells]

    def connector(self, host: str) -> Mapping[str, Any]:
        """Return what a Linux host with iSCSI would say."""
        with self._act("connector", host):
            return {
                "host": host,
                "ip": "127.0.0.1",
                "initiator": f"iqn.1993-08.org.debian:01:{host}",
                "os_type": "linux",
                "platform": "x86_64",
                "multipath": False,
            }

    def plug(self, host: str, guest: Guest) -> None:
        """Note each volume with the connection that it came with."""
        with self._act("plug", host):
            for device in guest.volumes:
                self._must_be_connected(host, device)
            connections = {str(device.volume_id): device.connection_info for device in guest.volumes}
            self._write(self._file(host, guest.server_id, "volumes"), connections)

    def unplug(self, host: str, guest: Guest) -> None:
        """Forget the volumes."""
        with self._act("unplug", host):
            if self.power_state(host, guest.server_id) == RUNNING:
                raise Failed(f"Guest {guest.server_id} runs on host {host} and uses its volumes.")
            self._remove(self._file(host, guest.server_id, "volumes"))

    def spawn(self, host: str, guest: Guest) -> None:
        """Write the guest, or switch on the one that is there."""
        with self._act("spawn", host):
            plugged = self._read(self._file(host, guest.server_id, "volumes")) or {}
            missing = {str(device.volume_id) for device in guest.volumes} - set(plugged)
            if missing:
                raise Failed(f"Volume {min(missing)} is not plugged on host {host}.")
            # Two that come at once must not both get the last room.
            with self._lock:
                if self.power_state(host, guest.server_id) == NOSTATE:
                    self._check_room(host, guest)
                self._set_power(host, guest, RUNNING)

    def attach(self, host: str, guest: Guest, device: BlockDevice) -> None:
        """Note the volume as plugged, then as the guest's."""
        with self._act("attach", host), self._lock:
            self._must_be_there(host, guest)
            self._must_be_connected(host, device)
            key = str(device.volume_id)
            self._amend(host, guest, "volumes", lambda found: {**found, key: device.connection_info})
            self._amend(host, guest, "guest", lambda found: {
                **found, "sizes": {**found["sizes"], key: device.volume_size}})  # fmt: skip

    def detach(self, host: str, guest: Guest, device: BlockDevice) -> None:
        """Forget the volume: first the guest, then the host."""
        with self._act("detach", host), self._lock:
            key = str(device.volume_id)
            self._amend(host, guest, "guest", lambda found: {**found, "sizes": _without(found["sizes"], key)})
            self._amend(host, guest, "volumes", lambda found: _without(found, key))

    def stop(self, host: str, guest: Guest) -> None:
        """Switch off."""
        with self._act("stop", host):
            self._must_be_there(host, guest)
            self._set_power(host, guest, SHUTDOWN)

    def start(self, host: str, guest: Guest) -> None:
        """Switch on."""
        with self._act("start", host):
            self._must_be_there(host, guest)
            self._set_power(host, guest, RUNNING)

    def reboot(self, host: str, guest: Guest, *, hard: bool = False) -> None:
        """Switch off and on."""
        with self._act("reboot", host):
            self._must_be_there(host, guest)
            if not hard and self.power_state(host, guest.server_id) != RUNNING:
                raise Failed(f"Guest {guest.server_id} is off; only a hard reboot switches it on.")
            self._set_power(host, guest, RUNNING)

    def destroy(self, host: str, guest: Guest) -> None:
        """Forget the guest."""
        with self._act("destroy", host):
            self._remove(self._file(host, guest.server_id, "guest"))

    def disk_grew(self, host: str, guest: Guest, device: BlockDevice) -> None:
        """Note the new size."""
        with self._act("disk_grew", host):
            self._amend(host, guest, "guest", lambda found: {
                **found, "sizes": {**found["sizes"], device.volume_id: device.volume_size}})  # fmt: skip

    def power_state(self, host: str, server_id: str) -> int:
        """Return what is written of the guest."""
        self._check_host(host)
        found = self._read(self._file(host, server_id, "guest"))
        return int(found["power_state"]) if found else NOSTATE

    @contextlib.contextmanager
    def _act(self, act: str, host: str) -> Iterator[None]:
        """Do an act of a host in the time that it takes, and fail if it is to: before it, or with its answer lost."""
        self._check_host(host)
        time.sleep(self._seconds.get(act, 0.0))
        how = self._fails.get(act)
        text = f"Host {host} is configured to fail here: {act}."
        if how in ("failed", "noroom"):
            raise (NoRoom if how == "noroom" else Failed)(text)
        yield
        if how == "maybe":
            raise MaybeRunning(text)

    def _check_room(self, host: str, guest: Guest) -> None:
        now, flavor = self._host(host), guest.flavor
        if now.memory_mb_used + flavor.memory_mb > now.memory_mb:
            raise NoRoom(f"Host {host} has {now.memory_mb - now.memory_mb_used} MiB left, not {flavor.memory_mb}.")
        if now.local_gb_used + guest.local_gb > now.local_gb:
            raise NoRoom(f"Host {host} has {now.local_gb - now.local_gb_used} GiB of disk left, not {guest.local_gb}.")

    def _must_be_there(self, host: str, guest: Guest) -> None:
        if self.power_state(host, guest.server_id) == NOSTATE:
            raise Failed(f"There is no guest {guest.server_id} on host {host}; rebuild the server.")

    def _must_be_connected(self, host: str, device: BlockDevice) -> None:
        if not device.connection_info:
            raise Failed(f"Volume {device.volume_id} has no connection to host {host}.")

    def _set_power(self, host: str, guest: Guest, power_state: int) -> None:
        flavor = guest.flavor
        sizes = {str(device.volume_id): device.volume_size for device in guest.volumes}
        self._write(self._file(host, guest.server_id, "guest"), {
            "name": guest.name, "power_state": power_state, "vcpus": flavor.vcpus, "memory_mb": flavor.memory_mb,
            "local_gb": guest.local_gb, "sizes": sizes})  # fmt: skip

    def _host(self, host: str) -> Host:
        guests = [*self._guests(host)]
        return Host(
            cell=self._cells[host],
            host=host,
            node=host,
            vcpus=self._opts.vcpus,
            vcpus_used=sum(guest["vcpus"] for guest in guests),
            memory_mb=self._opts.memory_mb,
            memory_mb_used=sum(guest["memory_mb"] for guest in guests),
            local_gb=self._opts.local_gb,
            local_gb_used=sum(guest["local_gb"] for guest in guests),
            running_vms=sum(guest["power_state"] == RUNNING for guest in guests),
            hypervisor_type="example",
        )

    def _guests(self, host: str) -> Iterator[dict[str, Any]]:
        for path in (self._path / host).glob("*.guest"):
            found = self._read(path)
            if found is not None:
                yield found

    def _check_host(self, host: str) -> None:
        if host not in self._cells:
            raise Failed(f"Host {host} is none of the driver `example`; it has: {', '.join(sorted(self._cells))}.")

    def _file(self, host: str, server_id: str, kind: str) -> Path:
        return self._path / host / f"{server_id}.{kind}"

    def _amend(self, host: str, guest: Guest, kind: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Change what a file says, if it is there."""
        path = self._file(host, guest.server_id, kind)
        found = self._read(path)
        if found is not None and (after := change(found)) != found:
            self._write(path, after)

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        return found

    @staticmethod
    def _write(path: Path, values: Mapping[str, Any]) -> None:
        """Write a file whole or not at all: a process may be killed here, too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"{path.name}.half-{os.getpid()}-{threading.get_ident()}")
        # Connections hold keys.
        half.touch(mode=0o600)
        half.write_text(json.dumps(values))
        half.replace(path)

    @staticmethod
    def _remove(path: Path) -> None:
        """Remove a file, and halves of it that killed processes left."""
        for each in [path, *path.parent.glob(f"{path.name}.half-*")]:
            each.unlink(missing_ok=True)


def _without(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != key}


def _seconds(told: Mapping[str, str]) -> dict[str, float]:
    try:
        seconds = {act: float(value) for act, value in told.items()}
    except ValueError as error:
        raise BadConfig(f"[{GROUP}] seconds: {error}") from error
    _known_acts("seconds", seconds)
    return seconds


def _fails(told: Mapping[str, str]) -> Mapping[str, str]:
    _known_acts("fails", told)
    unknown = set(told.values()) - HOW
    if unknown:
        raise BadConfig(f"[{GROUP}] fails: {min(unknown)} is none of {', '.join(sorted(HOW))}.")
    return told


def _known_acts(option: str, told: Mapping[str, Any]) -> None:
    unknown = set(told) - ACTS
    if unknown:
        raise BadConfig(f"[{GROUP}] {option}: {min(unknown)} is none of {', '.join(sorted(ACTS))}.")
