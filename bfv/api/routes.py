# SPDX-License-Identifier: Apache-2.0
"""The API as data: each resource has its calls beside their handlers, with policies, schemas and microversions."""

from bfv.api import (
    about,
    actions,
    addresses,
    attachments,
    events,
    flavors,
    instanceactions,
    metadata,
    servers,
    tags,
)
from bfv.api.call import Route

ROUTES: tuple[Route, ...] = (
    *servers.ROUTES,
    *actions.ROUTES,
    *metadata.ROUTES,
    *tags.ROUTES,
    *addresses.ROUTES,
    *attachments.ROUTES,
    *instanceactions.ROUTES,
    *flavors.ROUTES,
    *about.ROUTES,
    *events.ROUTES,
)
