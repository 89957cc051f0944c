# SPDX-License-Identifier: Apache-2.0
"""The API as data: each call with its policy, its schemas and its microversions."""

from bfv.api import about, events, flavors, images, schemas, servers
from bfv.api.call import Route

SERVER, FLAVOR = "/servers/{server_id}", "/flavors/{flavor_id}"
ACTION = f"{SERVER}/action"
SPECS = "os-flavor-extra-specs"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/servers", servers.index, "servers:index", query=schemas.servers_query),
    Route("POST", "/servers", servers.create, "servers:create", code=202, body=schemas.create),
    Route("GET", "/servers/detail", servers.detail, "servers:detail", query=schemas.servers_query),
    Route("GET", SERVER, servers.show, "servers:show", query=schemas.no_query),
    Route("DELETE", SERVER, servers.delete, "servers:delete", code=204),
    Route("POST", ACTION, servers.rebuild, "servers:rebuild", code=202, body=schemas.rebuild, action="rebuild"),
    Route("POST", ACTION, servers.start, "servers:start", code=202, body=schemas.start, action="os-start"),
    Route("POST", ACTION, servers.stop, "servers:stop", code=202, body=schemas.stop, action="os-stop"),
    Route("POST", ACTION, servers.reboot, "servers:reboot", code=202, body=schemas.reboot, action="reboot"),
    Route("GET", "/flavors", flavors.index, "flavors", query=schemas.flavors_query),
    Route("GET", "/flavors/detail", flavors.detail, "flavors", query=schemas.flavors_query),
    Route("GET", FLAVOR, flavors.show, "flavors", query=schemas.no_query),
    Route("GET", f"{FLAVOR}/os-extra_specs", flavors.extra_specs, f"{SPECS}:index", query=schemas.no_query),
    Route("GET", f"{FLAVOR}/os-extra_specs/{{key}}", flavors.extra_spec, f"{SPECS}:show", query=schemas.no_query),
    Route("GET", "/limits", about.limits, "limits", query=schemas.limits_query),
    Route("GET", "/os-availability-zone", about.zones, "os-availability-zone:list", query=schemas.no_query),
    Route("GET", "/extensions", about.extensions, "extensions", query=schemas.no_query),
    Route("GET", "/os-image-sources", images.index, "os-image-sources:index", query=schemas.images_query),
    Route("POST", "/os-image-sources", images.warm, "os-image-sources:warm", code=202, body=schemas.warm),
    Route("POST", "/os-server-external-events", events.create, "os-server-external-events:create",
          body=schemas.external_events),
)  # fmt: skip
