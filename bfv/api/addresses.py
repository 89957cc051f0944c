# SPDX-License-Identifier: Apache-2.0
"""A server's addresses, as whoever plugged it wrote them into nova's table (``instance_info_caches``)."""

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
        for subnet in network.get("subnets") or ():
            for ip in subnet.get("ips") or ():
                fixed.append(_address(ip, port, extended))
                for each in ip.get("floating_ips") or ():
                    floating.append(_address(each, port, extended))
    return {label: [*fixed, *floating] for label, (fixed, floating) in found.items()}


def _address(ip: Json, port: Json, extended: bool) -> Json:
    get = ip.get
    if not extended:
        return {"version": get("version"), "addr": get("address")}
    return {"version": get("version"), "addr": get("address"), "OS-EXT-IPS:type": get("type"),
            "OS-EXT-IPS-MAC:mac_addr": port.get("address")}  # fmt: skip
