# SPDX-License-Identifier: Apache-2.0
"""Calls about flavors (``nova/api/openstack/compute/flavors.py``, ``views/flavors.py``)."""

from collections.abc import Callable

from bfv.api import schemas
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import is_true, next_link, page_limit
from bfv.api.serverview import links
from cells import flavors
from cells.types import Flavor

SPECS_RULE = "os-flavor-extra-specs:index"


def index(call: Call) -> Answer:
    """List flavors by id and name."""
    return _list(call, _basic)


def detail(call: Call) -> Answer:
    """List flavors with details."""
    return _list(call, _detail)


def show(call: Call) -> Answer:
    """Show a flavor."""
    return Answer({"flavor": _detail(call, _one(call))})


def extra_specs(call: Call) -> Answer:
    """List the extra specs of a flavor."""
    return Answer({"extra_specs": dict(_one(call).extra_specs)})


def extra_spec(call: Call) -> Answer:
    """Show one extra spec of a flavor."""
    found, key = _one(call), call.ids["key"]
    if key not in found.extra_specs:
        raise Fault(404, f"Flavor {found.flavorid} has no extra specs with key {key}.")
    return Answer({key: found.extra_specs[key]})


def _project(call: Call) -> str | None:
    """Return whose flavors a caller sees: an admin all of them."""
    return None if call.is_admin else call.caller.project_id


def _one(call: Call) -> Flavor:
    key = call.ids["flavor_id"]
    found = flavors.get(call.cloud.parts.api, key, _project(call))
    if found.flavorid != key:
        # Found by its name, which is not its address.
        raise Fault(404, f"Flavor {key} could not be found.")
    return found


def _list(call: Call, view: Callable[[Call, Flavor], Json]) -> Answer:
    found = [each for each in flavors.list_flavors(call.cloud.parts.api, _project(call)) if _wanted(call, each)]
    key, downwards = call.asked("sort_key") or "flavorid", call.asked("sort_dir") == "desc"
    found.sort(key=lambda each: (getattr(each, key), each.flavorid), reverse=downwards)
    limit, marker = page_limit(call), call.asked("marker")
    if marker:
        places = [place for place, each in enumerate(found) if each.flavorid == marker]
        if not places:
            raise Fault(400, f"marker [{marker}] not found")
        found = found[places[0] + 1 :]
    body: Json = {"flavors": [view(call, each) for each in found[:limit]]}
    if limit and len(found) >= limit:
        body["flavors_links"] = [next_link(call, found[limit - 1].flavorid)]
    return Answer(body)


def _wanted(call: Call, flavor: Flavor) -> bool:
    if flavor.memory_mb < int(call.asked("minRam") or 0) or flavor.root_gb < int(call.asked("minDisk") or 0):
        return False
    public = call.asked("is_public")
    if not call.is_admin or (public or "").lower() == "none":
        return True
    return flavor.is_public is (public is None or is_true(public))


def _basic(call: Call, flavor: Flavor) -> Json:
    view: Json = {"id": flavor.flavorid, "name": flavor.name, "links": links(call, "flavors", flavor.flavorid)}
    return view | ({"description": flavor.description} if call.version >= 55 else {})


def _detail(call: Call, flavor: Flavor) -> Json:
    view = {
        **_basic(call, flavor),
        "ram": flavor.memory_mb,
        "disk": flavor.root_gb,
        "vcpus": flavor.vcpus,
        "swap": flavor.swap or (0 if call.version >= 75 else ""),
        "rxtx_factor": flavor.rxtx_factor,
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "OS-FLV-DISABLED:disabled": flavor.disabled,
        "os-flavor-access:is_public": flavor.is_public,
    }
    if call.version >= 61 and call.allows(SPECS_RULE):
        view["extra_specs"] = dict(flavor.extra_specs)
    return view


FLAVOR, SPECS = "/flavors/{flavor_id}", "/flavors/{flavor_id}/os-extra_specs"
ROUTES = (
    Route("GET", "/flavors", index, "flavors", query=schemas.flavors_query),
    Route("GET", "/flavors/detail", detail, "flavors", query=schemas.flavors_query),
    Route("GET", FLAVOR, show, "flavors", query=schemas.no_query),
    Route("GET", SPECS, extra_specs, "os-flavor-extra-specs:index", query=schemas.no_query),
    Route("GET", f"{SPECS}/{{key}}", extra_spec, "os-flavor-extra-specs:show", query=schemas.no_query),
)
