# SPDX-License-Identifier: Apache-2.0
"""A server's addresses, as whoever plugged it wrote them into nova's table (``instance_info_caches``)."""

from collections.abc import Iterator
from typing import Any

import orjson

from bfv.api.call import Json

NONE = "[]"


def of(network_info: str, *, extended: bool = False) -> dict[str, list[Json]]:
    """Return addresses by network; ``extended`` with their kind and the port's MAC.

    ``nova/api/openstack/common.py:get_networks_for_instance``: the fixed ones of a network before the floating ones.
    """
    if network_info == NONE:
        return {}
    found: dict[str, tuple[list[Json], list[Json]]] = {}
    for port in orjson.loads(network_info) or ():
        network = port.get("network") or {}
        fixed, floating = found.setdefault(network.get("label") or "", ([], []))
        for ip in _fixed(network):
            fixed.append(_address(ip, port, extended))
            floating.extend(_address(each, port, extended) for each in ip.get("floating_ips") or ())
    return {label: [*fixed, *floating] for label, (fixed, floating) in found.items()}


def _fixed(network: Json) -> Iterator[Json]:
    for subnet in network.get("subnets") or ():
        yield from subnet.get("ips") or ()


def _address(ip: Json, port: Json, extended: bool) -> Json:
    shown: dict[str, Any] = {"version": ip.get("version"), "addr": ip.get("address")}
    if extended:
        shown |= {"OS-EXT-IPS:type": ip.get("type"), "OS-EXT-IPS-MAC:mac_addr": port.get("address")}
    return shown
