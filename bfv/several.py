# SPDX-License-Identifier: Apache-2.0
"""One request for many servers: what each is called, and what they cannot share. Pure."""

import secrets
import string
import uuid
from dataclasses import replace

from bfv.errors import BadRequest
from bfv.types import BootRequest
from bfv.words import check_name

LETTERS = string.ascii_lowercase + string.digits


def reservation_id() -> str:
    """Return a new id for the servers of one request (``nova/utils.py:generate_uid``)."""
    return "r-" + "".join(secrets.choice(LETTERS) for _ in range(8))


def numbered(request: BootRequest, number: int) -> list[BootRequest]:
    """Return a request for each server; several have a number each at the end of their names.

    ``nova/compute/api.py:_populate_instance_names``. Raises BadRequest for a name that gets too long.
    """
    if number == 1:
        return [request]
    names = [f"{request.name}-{index + 1}" for index in range(number)]
    check_name(names[-1])
    return [replace(request, name=name, server_id=str(uuid.uuid4()), launch_index=index)
            for index, name in enumerate(names)]  # fmt: skip


def check(request: BootRequest, most: int) -> None:
    """Raise BadRequest for what only one server can have (``nova/compute/api.py:_create_instance``)."""
    if most == 1:
        return
    if any(device.source_type == "volume" for device in (request.root, *request.disks) if device is not None):
        raise BadRequest("Cannot attach one or more volumes to multiple instances")
    if request.hostname is not None:
        raise BadRequest("Unable to allocate a single hostname to multiple instances")
    networks = request.networks if isinstance(request.networks, list) else []
    if any(each.get("port") for each in networks):
        raise BadRequest(
            "Failed to launch instances: Unable to launch multiple instances with a single configured port ID. Please "
            "launch your instance one by one with different ports."
        )
    if any(each.get("fixed_ip") for each in networks):
        raise BadRequest("Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is specified.")
