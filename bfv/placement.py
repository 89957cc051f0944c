# SPDX-License-Identifier: Apache-2.0
"""What a server is counted for in nova's placement service, through its API: its database is nobody else's.

Placement counts generations: a change that was made on what another changed meanwhile is answered 409 and made anew on
what is there then (``placement/handlers/allocation.py``, api-ref "Update allocations").
"""

from collections.abc import Mapping
from typing import Any

from keystoneauth1 import exceptions as ksa
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from bfv.errors import Failed, MaybeRunning
from imagebackends.http import Settings, told
from imagebackends.types import Access

# Consumer generations (Rocky). From 1.38 on a consumer has a type, which an older nova never set and which must be
# known to be written back.
VERSION = "1.28"
DISK = "DISK_GB"
ATTEMPTS = 5
Resources = dict[str, dict[str, int]]


class Placement:
    """Reads and writes allocations with an ``Access`` of an administrator or a service."""

    def __init__(self, settings: Settings, session: Session, endpoint: str | None = None) -> None:
        self._settings, self._session, self._endpoint = settings, session, endpoint

    def is_there(self, access: Access) -> bool:
        """Return whether this cloud has a placement service. Raises MaybeRunning, NotAllowed."""
        with told("find placement", access):
            try:
                return self._adapter(access).get_endpoint() is not None
            except ksa.EndpointNotFound:
                return False

    def allocation(self, access: Access, server_id: str) -> dict[str, Any] | None:
        """Return what a server is counted for, as placement answers it; None where there is no placement.

        Raises MaybeRunning, NotAllowed.
        """
        if not self.is_there(access):
            return None
        with told(f"show the allocations of server {server_id}", access):
            answer: dict[str, Any] = self._adapter(access).get(f"/allocations/{server_id}").json()
            return answer

    def set_disk(self, access: Access, before: Mapping[str, Any], server_id: str, expect: int, size: int) -> bool:
        """Count a server for ``size`` GiB of a host's disks where it is counted for ``expect``; False if it is not.

        Where it is counted for none, it will be with the provider that ``before`` names, or where its memory is.
        Raises Failed when the host has no such room, MaybeRunning, NotAllowed.
        """
        for _ in range(ATTEMPTS):
            now = self.allocation(access, server_id)
            if now is None or not now["allocations"] or disk_of(now) != expect or expect == size:
                return False
            body = {"allocations": {key: {"resources": kinds} for key, kinds in _resized(now, before, size).items()},
                    **{key: now[key] for key in ("consumer_generation", "project_id", "user_id")}}  # fmt: skip
            if self._put(access, server_id, body):
                return True
        raise MaybeRunning(f"Placement's allocations of server {server_id} change all the time; try again.")

    def _put(self, access: Access, server_id: str, body: Mapping[str, Any]) -> bool:
        """Write allocations; False when somebody else changed them meanwhile."""
        act = f"change the allocations of server {server_id}"
        with told(act, access):
            answer = self._adapter(access).put(f"/allocations/{server_id}", json=dict(body), raise_exc=False)
            if answer.status_code == 204:
                return True
            if answer.status_code != 409:
                raise ksa.from_response(answer, "PUT", answer.url)
        error = answer.json()["errors"][0]
        if error.get("code") == "placement.concurrent_update":
            return False
        raise Failed(f"{act}: {error.get('detail')}")

    def _adapter(self, access: Access) -> Adapter:
        settings = self._settings
        return Adapter(
            self._session,
            auth=access.auth,
            service_type="placement",
            region_name=settings.region_name,
            interface=settings.interface,
            endpoint_override=self._endpoint,
            global_request_id=access.request_id,
            default_microversion=VERSION,
        )


def disk_of(allocation: Mapping[str, Any]) -> int:
    """Return the GiB of hosts' disks that an answer of placement counts."""
    return sum(each["resources"].get(DISK, 0) for each in allocation["allocations"].values())


def _resized(now: Mapping[str, Any], before: Mapping[str, Any], size: int) -> Resources:
    found: Resources = {key: dict(each["resources"]) for key, each in now["allocations"].items()}
    where = _having(now, DISK) or _having(before, DISK, found) or _having(now, "MEMORY_MB") or next(iter(found))
    found.setdefault(where, {})[DISK] = size
    if not size:
        del found[where][DISK]
    return {key: kinds for key, kinds in found.items() if kinds}


def _having(allocation: Mapping[str, Any], kind: str, among: Mapping[str, Any] | None = None) -> str | None:
    """Return the provider of a kind; a shared one holds disks alone, so that it is not among those that are left."""
    for key, each in allocation["allocations"].items():
        alone = list(each["resources"]) == [kind]
        if kind in each["resources"] and (among is None or alone or key in among):
            return str(key)
    return None
