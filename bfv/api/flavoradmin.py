# SPDX-License-Identifier: Apache-2.0
"""Calls that change flavors: what they are, their extra specs, and who may use them.

``nova/api/openstack/compute/flavors.py, flavors_extraspecs.py, flavor_access.py``.
"""

import uuid
from typing import Any

from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.flavors import detail_view
from bfv.api.listing import is_true
from bfv.api.projects import check_project
from bfv.api.schemas import BOOLEAN, NAME
from bfv.api.shapes import KEY, NEVER, PROJECT, action, integer, object_of, query_of
from cells import flavors as rows
from cells.errors import Exists, NotMapped
from cells.types import Flavor

MANAGE, SPECS, ACCESS = "os-flavor-manage", "os-flavor-extra-specs", "os-flavor-access"
PUBLIC_IS_REFUSED, DESCRIBED = 7, 55
LARGEST_FLOAT = 3.40282e38


def create(call: Call) -> Answer:
    """Make a flavor."""
    asked = call.body["flavor"]
    flavor = Flavor(
        id=0,
        flavorid=str(_number(asked["id"]) if asked.get("id") is not None else uuid.uuid4()),
        name=asked["name"],
        vcpus=_whole(asked, "vcpus"),
        memory_mb=_whole(asked, "ram"),
        root_gb=_whole(asked, "disk"),
        ephemeral_gb=_whole(asked, "OS-FLV-EXT-DATA:ephemeral", 0),
        swap=_whole(asked, "swap", 0),
        rxtx_factor=_factor(asked.get("rxtx_factor", 1.0)),
        is_public=is_true(asked.get("os-flavor-access:is_public", True)),
        description=asked.get("description"),
    )
    try:
        made = rows.create(call.cloud.parts.api, flavor)
    except Exists as error:
        raise Fault(409, _taken(call, flavor)) from error
    return Answer({"flavor": detail_view(call, made)})


def update(call: Call) -> Answer:
    """Write the description of a flavor, all that may change."""
    made = rows.describe(call.cloud.parts.api, _one(call).flavorid, call.body["flavor"]["description"])
    return Answer({"flavor": detail_view(call, made)})


def delete(call: Call) -> Answer:
    """Remove a flavor; servers keep their own copy of it."""
    rows.delete(call.cloud.parts.api, _one(call).flavorid)
    return Answer()


def add_specs(call: Call) -> Answer:
    """Write extra specs of a flavor."""
    asked = call.body["extra_specs"]
    rows.set_extra_specs(call.cloud.parts.api, _one(call), _texts(asked))
    return Answer({"extra_specs": asked})


def set_spec(call: Call) -> Answer:
    """Write one extra spec of a flavor."""
    if call.ids["key"] not in call.body:
        raise Fault(400, "Request body and URI mismatch")
    rows.set_extra_specs(call.cloud.parts.api, _one(call), _texts(call.body))
    return Answer(call.body)


def delete_spec(call: Call) -> Answer:
    """Remove an extra spec of a flavor."""
    flavor, key = _one(call), call.ids["key"]
    if key not in flavor.extra_specs:
        # Asked here and not in SQL: MySQL's collation would take A for a.
        raise Fault(404, f"Flavor {flavor.flavorid} has no extra specs with key {key[:255]}.")
    rows.delete_extra_spec(call.cloud.parts.api, flavor, key)
    return Answer()


def access(call: Call) -> Answer:
    """List the projects that may use a flavor that is not public."""
    flavor = _one(call)
    if flavor.is_public:
        raise Fault(404, "Access list not available for public flavors.")
    return Answer(_access_view(flavor))


def add_access(call: Call) -> Answer:
    """Let a project use a flavor."""
    project = call.body["addTenantAccess"]["tenant"]
    check_project(call, project)
    flavor = _one(call)
    if flavor.is_public and call.version >= PUBLIC_IS_REFUSED:
        raise Fault(409, "Can not add access to a public flavor.")
    rows.add_access(call.cloud.parts.api, flavor, project)
    return Answer(_access_view(_one(call)))


def remove_access(call: Call) -> Answer:
    """Let a project use a flavor no more; it may be gone itself."""
    rows.remove_access(call.cloud.parts.api, _one(call), call.body["removeTenantAccess"]["tenant"])
    return Answer(_access_view(_one(call)))


def _one(call: Call) -> Flavor:
    """Return the flavor that a path names, whoever may use it. Raises Fault 404."""
    key = call.ids["flavor_id"]
    try:
        found = rows.get(call.cloud.parts.api, key, None)
    except NotMapped as error:
        raise Fault(404, f"Flavor {key[:255]} could not be found.") from error
    if found.flavorid != key:
        # Found by its name, which is not its address.
        raise Fault(404, f"Flavor {key[:255]} could not be found.")
    return found


def _taken(call: Call, wanted: Flavor) -> str:
    known = rows.list_flavors(call.cloud.parts.api, None)
    if any(each.flavorid == wanted.flavorid for each in known):
        return f"Flavor with ID {wanted.flavorid} already exists."
    return f"Flavor with name {wanted.name} already exists."


def _access_view(flavor: Flavor) -> Json:
    return {"flavor_access": [{"flavor_id": flavor.flavorid, "tenant_id": each} for each in flavor.projects]}


def _texts(specs: Json) -> dict[str, str]:
    """Return extra specs as they are stored: as texts. Raises Fault 400 for a number too long to be one."""
    texts = {key: str(value) for key, value in specs.items()}
    for text in texts.values():
        if len(text) > 255:
            raise Fault(400, "Invalid input received: extra_specs value has more than 255 characters.")
    return texts


def _number(value: Any) -> Any:
    """Return an id as it is written: 7 also where it was sent as 7.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole(asked: Json, name: str, default: int = 0) -> int:
    """Return a number that may have come as a text, whose bounds no schema looks at. Raises Fault 400."""
    value, bounds = int(asked.get(name, default)), SIZES[name]
    if not bounds["minimum"] <= value <= bounds["maximum"]:
        raise Fault(400, f"Invalid input received: {name} must be >= {bounds['minimum']} and "
                         f"<= {bounds['maximum']}")  # fmt: skip
    return value


def _factor(value: Any) -> float:
    factor = float(value)
    if not 0 < factor <= LARGEST_FLOAT:
        raise Fault(400, "Invalid input received: 'rxtx_factor' argument must be a float between 0 and 3.40282e+38")
    return factor


SIZES = {"ram": integer(1), "vcpus": integer(1), "disk": integer(0), "OS-FLV-EXT-DATA:ephemeral": integer(0),
         "swap": integer(0)}  # fmt: skip
_DESCRIPTION = {"type": ["string", "null"], "maxLength": 65535, "pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"}
_SPECS = {"type": "object", "additionalProperties": {"type": ["string", "number"], "maxLength": 255},
          "propertyNames": {"pattern": KEY}}  # fmt: skip


def create_body(version: int) -> Json:
    """Return what POST /flavors takes."""
    properties: Json = {
        "name": NAME,
        "id": {"type": ["string", "number", "null"], "minLength": 1, "maxLength": 255,
               "pattern": "^(?! )[a-zA-Z0-9. _-]+(?<! )$"},
        **SIZES,
        "rxtx_factor": {"type": ["number", "string"], "pattern": r"^[0-9]{1,40}(\.[0-9]{1,40})?$",
                        "exclusiveMinimum": 0, "maximum": LARGEST_FLOAT},
        "os-flavor-access:is_public": BOOLEAN,
    }  # fmt: skip
    if version >= DESCRIBED:
        properties["description"] = _DESCRIPTION
    return object_of(("flavor",), flavor=object_of(("name", "ram", "vcpus", "disk"), **properties))


def update_body(_version: int) -> Json:
    """Return what PUT /flavors/{id} takes."""
    return object_of(("flavor",), flavor=object_of(("description",), description=_DESCRIPTION))


def specs_body(_version: int) -> Json:
    """Return what POST /flavors/{id}/os-extra_specs takes."""
    return object_of(("extra_specs",), extra_specs=_SPECS)


def spec_body(_version: int) -> Json:
    """Return what PUT /flavors/{id}/os-extra_specs/{key} takes."""
    return {**_SPECS, "minProperties": 1, "maxProperties": 1}


_PATH = "/flavors/{flavor_id}"
_ACTION, _SPEC = f"{_PATH}/action", f"{_PATH}/os-extra_specs"
ROUTES = (
    Route("POST", "/flavors", create, f"{MANAGE}:create", body=create_body),
    Route("PUT", _PATH, update, f"{MANAGE}:update", body=update_body, since=DESCRIBED),
    Route("DELETE", _PATH, delete, f"{MANAGE}:delete", code=202),
    Route("POST", _SPEC, add_specs, f"{SPECS}:create", body=specs_body),
    Route("PUT", f"{_SPEC}/{{key}}", set_spec, f"{SPECS}:update", body=spec_body),
    Route("DELETE", f"{_SPEC}/{{key}}", delete_spec, f"{SPECS}:delete"),
    Route("GET", f"{_PATH}/os-flavor-access", access, ACCESS, query=query_of(NEVER)),
    Route("POST", _ACTION, add_access, f"{ACCESS}:add_tenant_access", action="addTenantAccess",
          body=action("addTenantAccess", tenant=PROJECT)),
    Route("POST", _ACTION, remove_access, f"{ACCESS}:remove_tenant_access", action="removeTenantAccess",
          body=action("removeTenantAccess", tenant=PROJECT)),
)  # fmt: skip
