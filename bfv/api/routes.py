# SPDX-License-Identifier: Apache-2.0
"""The API as data: each resource has its calls beside their handlers, with policies, schemas and microversions."""

from bfv.api import (
    about,
    actions,
    attach,
    attachments,
    events,
    flavors,
    instanceactions,
    ips,
    metadata,
    servers,
    tags,
    tenantusage,
)
from bfv.api.call import Route

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
    *about.ROUTES,
    *tenantusage.ROUTES,
    *events.ROUTES,
)
