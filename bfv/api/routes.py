# SPDX-License-Identifier: Apache-2.0
"""The API as data: each resource has its calls beside their handlers, with policies, schemas and microversions."""

from bfv.api import (
    about,
    actions,
    aggregates,
    attach,
    attachments,
    events,
    extras,
    flavoradmin,
    flavors,
    hypervisors,
    images,
    instanceactions,
    ips,
    keypairs,
    metadata,
    migrations,
    openapi,
    quotasets,
    schemas,
    servergroups,
    servers,
    services,
    tags,
    tenantusage,
    zonedetail,
)
from bfv.api.call import Answer, Call, Route


def describe(call: Call) -> Answer:
    """Return this API in the microversion asked for, as an OpenAPI document."""
    return Answer(openapi.document(ROUTES, call.version))


ROUTES: tuple[Route, ...] = (
    *servers.ROUTES,
    *actions.ROUTES,
    *metadata.ROUTES,
    *tags.ROUTES,
    *ips.ROUTES,
    *attachments.ROUTES,
    *attach.ROUTES,
    *instanceactions.ROUTES,
    *flavors.ROUTES,
    *flavoradmin.ROUTES,
    *servergroups.ROUTES,
    *keypairs.ROUTES,
    *quotasets.ROUTES,
    *about.ROUTES,
    *zonedetail.ROUTES,
    *aggregates.ROUTES,
    *hypervisors.ROUTES,
    *services.ROUTES,
    *images.ROUTES,
    *tenantusage.ROUTES,
    *events.ROUTES,
    *extras.ROUTES,
    *migrations.ROUTES,
    Route("GET", "/bfv/openapi", describe, "bfv:openapi", query=schemas.no_query),
)
