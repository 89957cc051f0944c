# SPDX-License-Identifier: Apache-2.0
"""Who switches guests off and on around a conversion: nova by its API, a driver of ours, or the operator by hand."""

import time
from typing import Any

from bfv.drivers import states
from bfv.drivers.contract import guest_of
from bfv.errors import Failed, MaybeRunning, Unsupported
from bfv.migrate.contract import Guests
from bfv.parts import Parts
from bfv.spawn import driver_of
from bfv.types import new_request_id
from cells import servers
from cells.types import Server
from imagebackends.types import Access

LOOK = 0.5
REASON = "bfv moves its root disk to a cinder volume"


def of(parts: Parts) -> Guests:
    """Return who switches guests in this set-up."""
    if parts.driver is not None:
        return ByDriver(parts)
    return ByNova(parts) if parts.conf.migrate.guests == "nova" else Nobody()


class Nobody(Guests):
    """Guests are stopped before and started after by whoever runs this; servers that are off are converted alone."""

    def lock(self, cell: str, server_id: str) -> None:
        """Nobody who could start it asks here."""

    def unlock(self, cell: str, server_id: str) -> None:
        """Nothing was locked."""

    def stop(self, cell: str, server_id: str) -> None:  # noqa: ARG002 (the contract's)
        """Raise Unsupported."""
        raise Unsupported(f"Nothing here can stop server {server_id}; stop it, or set [migrate] guests = nova.")

    def start(self, cell: str, server_id: str) -> None:
        """Leave it off, as it was found."""


class ByDriver(Guests):
    """A compute driver of ours; its servers are kept from their owners' verbs by the journal's slot."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def lock(self, cell: str, server_id: str) -> None:
        """The open intent of a conversion is the lock."""

    def unlock(self, cell: str, server_id: str) -> None:
        """It ends with the intent."""

    def stop(self, cell: str, server_id: str) -> None:
        """Have the host switch it off and let go of its volumes."""
        server = self._server(cell, server_id)
        driver, host, guest = driver_of(self._parts), str(server.host), guest_of(server)
        driver.stop(host, guest)
        driver.unplug(host, guest)
        self._write(cell, server, "stop")

    def start(self, cell: str, server_id: str) -> None:
        """Have the host plug the volumes that it has now, and switch it on."""
        server = self._server(cell, server_id)
        driver, host, guest = driver_of(self._parts), str(server.host), guest_of(server)
        driver.plug(host, guest)
        driver.start(host, guest)
        self._write(cell, server, "start")

    def _server(self, cell: str, server_id: str) -> Server:
        return servers.get(self._parts.cells.named(cell), server_id)

    def _write(self, cell: str, server: Server, verb: str) -> None:
        servers.update(self._parts.cells.named(cell), server.uuid, **states.ended(verb, server.vm_state))


class ByNova(Guests):
    """Nova's API, as an administrator in the service user's own project."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._access = Access(parts.rights.service(), "", new_request_id())

    def lock(self, cell: str, server_id: str) -> None:  # noqa: ARG002 (the contract's)
        """Lock as an administrator: the owner gets 409 on start, stop, reboot, rebuild, resize and delete."""
        self._parts.nova.act(self._access, server_id, {"lock": {"locked_reason": REASON}})

    def unlock(self, cell: str, server_id: str) -> None:  # noqa: ARG002
        """Unlock."""
        self._parts.nova.act(self._access, server_id, {"unlock": None})

    def stop(self, cell: str, server_id: str) -> None:  # noqa: ARG002
        """os-stop, and wait until its guest is off."""
        self._until(server_id, "SHUTOFF", {"os-stop": None})

    def start(self, cell: str, server_id: str) -> None:  # noqa: ARG002
        """os-start, and wait until its guest runs."""
        self._until(server_id, "ACTIVE", {"os-start": None})

    def _until(self, server_id: str, status: str, action: dict[str, Any]) -> None:
        deadline = time.monotonic() + self._parts.conf.migrate.guest_timeout
        asked = False
        while True:
            shown = self._parts.nova.show(self._access, server_id)
            busy = shown["OS-EXT-STS:task_state"] is not None
            if shown["status"] == status and not busy:
                return
            if shown["status"] == "ERROR" and not (busy or asked) and status == "ACTIVE":
                # Nova starts a server in ERROR by nothing else.
                action = {"reboot": {"type": "HARD"}}
            elif (shown["status"] == "ERROR" or asked) and not busy:
                words = (shown.get("fault") or {}).get("message", f"it is {shown['status']}")
                raise Failed(f"Server {server_id} did not become {status}: {words}")
            if time.monotonic() > deadline:
                raise MaybeRunning(f"Server {server_id} is still {shown['status']}, not {status}.")
            if not busy:
                self._parts.nova.act(self._access, server_id, action)
                asked = True
            time.sleep(LOOK)
