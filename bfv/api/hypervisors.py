# SPDX-License-Identifier: Apache-2.0
"""Calls about the compute nodes of all cells (``nova/api/openstack/compute/hypervisors.py``).

With a cell down nova answers 500; here its nodes are missing, and the header ``Warning`` names the cell.
"""

import json
from typing import Any

from bfv import inventory
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import incomplete, is_true, next_link, page_limit
from bfv.api.schemas import BOOLEAN
from bfv.api.shapes import HOST, NEVER, NUMBER, is_uuid, object_of, query_of
from bfv.inventory import Found
from cells.nodes import CAPACITY, Node

RULE = "os-hypervisors"
PARSED_CPU, PAGES, BY_UUID, ALWAYS_SERVERS, LEAN = 28, 33, 53, 75, 88
Servers = dict[str, list[tuple[str, str]]]


def index(call: Call) -> Answer:
    """List the compute nodes."""
    return _list(call, detailed=False)


def detail(call: Call) -> Answer:
    """List the compute nodes with details."""
    return _list(call, detailed=True)


def _list(call: Call, *, detailed: bool) -> Answer:
    found = inventory.find_nodes(call.cloud.parts)
    nodes = [node for _, node in found.rows]
    headers = incomplete(call, found.down, "hypervisors")
    if call.version < PAGES:
        return Answer({"hypervisors": [_view(call, node, detailed) for node in nodes]}, headers=headers)
    pattern = call.asked("hypervisor_hostname_pattern") if call.version >= BY_UUID else None
    links: Json = {}
    if pattern is not None:
        if "limit" in call.query or call.asked("marker"):
            raise Fault(400, "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not "
                             "supported.")  # fmt: skip
        nodes = _matching(found, pattern)
    else:
        nodes, links = _page(call, nodes)
    servers = _servers(call, nodes)
    return Answer({"hypervisors": [_view(call, node, detailed, servers) for node in nodes], **links}, headers=headers)


def _page(call: Call, nodes: list[Node]) -> tuple[list[Node], Json]:
    limit, marker = page_limit(call), call.asked("marker")
    if marker:
        places = [place for place, node in enumerate(nodes) if str(_id(call, node)) == marker]
        if not places:
            raise Fault(400, f"marker [{marker[:255]}] not found")
        nodes = nodes[places[0] + 1 :]
    if limit and len(nodes) > limit:
        return nodes[:limit], {"hypervisors_links": [next_link(call, str(_id(call, nodes[limit - 1])))]}
    return nodes[:limit], {}


def show(call: Call) -> Answer:
    """Show a compute node."""
    key = call.ids["hypervisor_id"]
    if call.version >= BY_UUID and not is_uuid(key):
        raise Fault(400, f"Invalid uuid {key[:255]}")
    found = inventory.find_nodes(call.cloud.parts)
    hit = found.only(lambda node: str(_id(call, node)) == key, f"hypervisor {key}")
    if hit is None:
        raise Fault(404, f"Hypervisor with ID '{key[:255]}' could not be found.")
    node = hit[1]
    return Answer({"hypervisor": _view(call, node, True, _servers(call, [node]))})


def search(call: Call) -> Answer:
    """List the compute nodes whose names hold a text, until 2.52."""
    found = inventory.find_nodes(call.cloud.parts)
    return Answer({"hypervisors": [_view(call, node, False) for node in _matching(found, call.ids["hypervisor_id"])]})


def servers(call: Call) -> Answer:
    """The same with the servers of each, until 2.52."""
    found = inventory.find_nodes(call.cloud.parts)
    nodes = _matching(found, call.ids["hypervisor_id"])
    on = inventory.servers_on(call.cloud.parts, {node.host for node in nodes})
    return Answer({"hypervisors": [_view(call, node, False, on) for node in nodes]})


def statistics(call: Call) -> Answer:
    """Sum up all compute nodes, until 2.87; those that are disabled do not count."""
    found = inventory.find_nodes(call.cloud.parts)
    nodes = [node for _, node in found.rows if not node.disabled]
    sums = {name: sum(node.capacity[name] or 0 for node in nodes) for name in CAPACITY}
    body = {"hypervisor_statistics": {"count": len(nodes), **sums}}
    return Answer(body, headers=incomplete(call, found.down, "hypervisors"))


def _matching(found: Found[Node], pattern: str) -> list[Node]:
    """Return the nodes with a text in their names. Raises Fault 404, CellDown where one may be in a down cell."""
    nodes = [node for _, node in found.rows if pattern in node.node]
    if not nodes and found.only(lambda _node: False, f"hypervisor {pattern}") is None:
        raise Fault(404, f"No hypervisor matching '{pattern[:255]}' could be found.")
    return nodes


def _servers(call: Call, nodes: list[Node]) -> Servers | None:
    """Return the servers of these nodes if they are asked for."""
    if call.version < BY_UUID or not is_true(call.asked("with_servers")):
        return None
    return inventory.servers_on(call.cloud.parts, {node.host for node in nodes})


def _id(call: Call, node: Node) -> str | int:
    return node.uuid if call.version >= BY_UUID else node.id


def _view(call: Call, node: Node, detailed: bool, on: Servers | None = None) -> Json:
    view: Json = {
        "id": _id(call, node),
        "hypervisor_hostname": node.node,
        "state": "up" if inventory.reports(call.cloud.parts, node) else "down",
        "status": "disabled" if node.disabled else "enabled",
    }
    if detailed:
        view |= _details(call, node)
    if on is not None and (on.get(node.host) or call.version >= ALWAYS_SERVERS):
        view["servers"] = [{"uuid": key, "name": name} for key, name in on.get(node.host, ())]
    return view


def _details(call: Call, node: Node) -> Json:
    view: Json = {
        "hypervisor_type": node.hypervisor_type,
        "hypervisor_version": node.hypervisor_version,
        "host_ip": node.host_ip,
        "service": {
            "id": node.service_uuid if call.version >= BY_UUID else node.service_id,
            "host": node.host,
            "disabled_reason": node.disabled_reason,
        },
    }
    if call.version >= LEAN:
        # Nova asks the host; a driver of ours need not know.
        return view | {"uptime": None}
    return view | {name: node.capacity[name] for name in CAPACITY} | {"cpu_info": _cpu_info(call, node.cpu_info)}


def _cpu_info(call: Call, text: str) -> Any:
    if call.version < PARSED_CPU:
        return text
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return {}


def _one(value: Any) -> Json:
    return {"type": "array", "items": value, "maxItems": 1}


def list_query(version: int) -> Json:
    """Return what the query of a list takes."""
    if version < PAGES:
        return {"type": "object"}
    if version < BY_UUID:
        many = {name: {"type": "array", "items": value} for name, value in
                (("limit", NUMBER), ("marker", {"type": "string"}))}  # fmt: skip
        return {"type": "object", "properties": many}
    return object_of(
        limit=_one(NUMBER),
        marker=_one({"type": "string"}),
        hypervisor_hostname_pattern=_one(HOST),
        with_servers=_one(BOOLEAN),
    )


def show_query(version: int) -> Json:
    """Return what the query of one takes."""
    return object_of(with_servers=_one(BOOLEAN)) if version >= BY_UUID else {"type": "object"}


_ANY = query_of(NEVER)
_PATH = f"/{RULE}/{{hypervisor_id}}"
ROUTES = (
    Route("GET", f"/{RULE}", index, f"{RULE}:list", query=list_query),
    Route("GET", f"/{RULE}/detail", detail, f"{RULE}:list-detail", query=list_query),
    Route("GET", f"/{RULE}/statistics", statistics, f"{RULE}:statistics", query=_ANY, until=LEAN - 1),
    Route("GET", _PATH, show, f"{RULE}:show", query=show_query),
    Route("GET", f"{_PATH}/search", search, f"{RULE}:search", query=_ANY, until=BY_UUID - 1),
    Route("GET", f"{_PATH}/servers", servers, f"{RULE}:servers", query=_ANY, until=BY_UUID - 1),
)
