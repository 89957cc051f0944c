# SPDX-License-Identifier: Apache-2.0
"""The contract of a compute driver: who runs guests on the hosts of one or more cells.

A driver is few methods, each one act on one host with values and never with a session. Every act may be asked for
again after any crash, by another process, and then comes to the same end: an act that is done already is done. So a
guest and what is plugged for it are known to the host, not to the process of the driver.

An act returns once it is done, or raises:

* ``Failed``: it surely did not happen, or is undone; the flow goes back
* ``NoRoom`` (``spawn`` alone): the host is full; the flow goes back and tries the next cell
* ``MaybeRunning``: nobody knows (a host that does not answer); the flow keeps all and asks again

Anything else is a mistake of the driver: the server's change stays open for ``bfv repair``. The suite in
``bfv.drivers.conformance`` proves a driver; ``bfv.drivers.example`` is one to copy.
"""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cells.types import BlockDevice, Flavor, Host, Server


@dataclass(frozen=True)
class Guest:
    """A server as its host needs it.

    ``devices`` with a ``volume_id`` are volumes, their ``connection_info`` as nova stores it (``driver_volume_type``,
    ``data``, ``serial``), None where it is not connected. The others are local disks that ``spawn`` makes
    (``volume_size`` in GiB, ``guest_format`` swap or a file system) and ``destroy`` removes. ``user_data`` is base64
    as the user sent it. ``networks`` is the Compute API's value, ``auto``, ``none`` or a list of networks and ports
    that nobody has resolved; it and the names of security groups come with ``plug`` and ``spawn`` alone, and the
    password with these of a boot.
    """

    server_id: str
    name: str
    hostname: str | None
    project_id: str
    flavor: Flavor
    devices: tuple[BlockDevice, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    user_data: str | None = field(default=None, repr=False)
    config_drive: bool = False
    key_name: str | None = None
    public_key: str | None = None
    availability_zone: str | None = None
    networks: Any = None
    security_groups: tuple[str, ...] = ()
    admin_pass: str | None = field(default=None, repr=False)

    @property
    def volumes(self) -> tuple[BlockDevice, ...]:
        """The devices that are volumes."""
        return tuple(device for device in self.devices if device.volume_id)

    @property
    def local_gb(self) -> int:
        """What the guest takes of the host's own disks, in GiB."""
        return sum(device.volume_size or 0 for device in self.devices if device.destination_type == "local")


def guest_of(server: Server) -> Guest:
    """Return a server as its host needs it."""
    return Guest(
        server_id=server.uuid,
        name=server.display_name,
        hostname=server.hostname,
        project_id=server.project_id,
        flavor=server.flavor,
        devices=server.devices,
        metadata=server.metadata,
        user_data=server.user_data,
        config_drive=bool(server.config_drive),
        key_name=server.key_name,
        public_key=server.key_data,
        availability_zone=server.availability_zone,
    )


class Driver(abc.ABC):
    """Runs guests. All methods may be called by many threads; made with the configuration as its one argument.

    A host that is not the driver's is Failed in all acts, ``destroy`` too: a guest may run there.
    """

    @abc.abstractmethod
    def hosts(self) -> Sequence[Host]:
        """Return the hosts that answer, with what they have and use and the name of their cell.

        One that is left out is not reported and so counts as down after a while. Called often: keep it cheap.
        """

    @abc.abstractmethod
    def connector(self, host: str) -> Mapping[str, Any]:
        """Return what the storage needs to know of a host: ``host``, ``ip``, ``initiator`` and the like.

        As os-brick's ``get_connector_properties``; ``host`` is the host's name.
        """

    @abc.abstractmethod
    def plug(self, host: str, guest: Guest) -> None:
        """Make the guest's volumes usable on the host, by their ``connection_info``."""

    @abc.abstractmethod
    def unplug(self, host: str, guest: Guest) -> None:
        """Let go of all that ``plug`` made for the guest; nothing plugged is no error. The guest is gone before."""

    @abc.abstractmethod
    def spawn(self, host: str, guest: Guest) -> None:
        """Make the guest of its plugged volumes and run it; one that is there is not made again, and it runs after."""

    @abc.abstractmethod
    def attach(self, host: str, guest: Guest, device: BlockDevice) -> None:
        """Plug one more volume of the guest by its ``connection_info`` and give it to the guest, running or off.

        No guest is Failed.
        """

    @abc.abstractmethod
    def detach(self, host: str, guest: Guest, device: BlockDevice) -> None:
        """Take a volume from the guest and let go of what was plugged for it; no guest or no such volume is no error.

        Failed when the guest does not let go of it: it has the volume as before.
        """

    @abc.abstractmethod
    def stop(self, host: str, guest: Guest) -> None:
        """Switch the guest off; its volumes stay plugged and its local disks stay. No guest is Failed."""

    @abc.abstractmethod
    def start(self, host: str, guest: Guest) -> None:
        """Switch the guest on. No guest is Failed."""

    @abc.abstractmethod
    def reboot(self, host: str, guest: Guest, *, hard: bool = False) -> None:
        """Restart the guest, which runs then; ``hard`` also one that is off or does not listen. No guest is Failed."""

    @abc.abstractmethod
    def destroy(self, host: str, guest: Guest) -> None:
        """Remove the guest and its local disks, running or not; no guest is no error."""

    @abc.abstractmethod
    def disk_grew(self, host: str, guest: Guest, device: BlockDevice) -> None:
        """Have the guest see the new size of a volume, ``device.volume_size``; one that is off needs nothing."""

    @abc.abstractmethod
    def power_state(self, host: str, server_id: str) -> int:
        """Return nova's power state of a guest: 1 runs, 4 is off, 0 when there is none."""
