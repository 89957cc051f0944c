# SPDX-License-Identifier: Apache-2.0
"""The API as data: each resource has its calls beside their handlers, with policies, schemas and microversions."""

from bfv.api import about, actions, events, flavors, servers
from bfv.api.call import Route

ROUTES: tuple[Route, ...] = (
    *servers.ROUTES,
    *actions.ROUTES,
    *flavors.ROUTES,
    *about.ROUTES,
    *events.ROUTES,
)
