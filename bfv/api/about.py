# SPDX-License-Identifier: Apache-2.0
"""Calls about the cloud as a whole: limits, availability zones, extensions."""

import dataclasses

from bfv.api import schemas
from bfv.api.call import Answer, Call, Json, Route

# Name in the answer, name of the limit, last microversion with it (nova/api/openstack/compute/views/limits.py).
ABSOLUTE = (
    ("maxTotalInstances", "instances", None),
    ("maxTotalCores", "cores", None),
    ("maxTotalRAMSize", "ram", None),
    ("maxTotalKeypairs", "key_pairs", None),
    ("maxServerMeta", "metadata_items", None),
    ("maxServerGroups", "server_groups", None),
    ("maxServerGroupMembers", "server_group_members", None),
    ("maxImageMeta", "metadata_items", 38),
    ("maxPersonality", "injected_files", 56),
    ("maxPersonalitySize", "injected_file_content_bytes", 56),
)
USED = (
    ("totalInstancesUsed", "instances"),
    ("totalCoresUsed", "cores"),
    ("totalRAMUsed", "ram"),
    ("totalServerGroupsUsed", "server_groups"),
)
# What neutron limits by itself; nova says so in these until 2.35.
NETWORK = {
    "maxTotalFloatingIps": -1,
    "maxSecurityGroups": -1,
    "maxSecurityGroupRules": -1,
    "totalFloatingIpsUsed": 0,
    "totalSecurityGroupsUsed": 0,
}


def limits(call: Call) -> Answer:
    """Show what a project may have and has: one's own, or, for admins, another one."""
    caller, project = call.caller, call.asked("tenant_id")
    if project and project != caller.project_id:
        call.policy.check("limits:other_project", caller)
        caller = dataclasses.replace(caller, project_id=project)
    found = call.cloud.limits(caller)
    absolute = {name: found.limits[limit] for name, limit, until in ABSOLUTE if until is None or call.version <= until}
    absolute |= {name: found.used[resource] for name, resource in USED}
    absolute |= NETWORK if call.version < 36 else {}
    return Answer({"limits": {"rate": [], "absolute": absolute}})


def zones(call: Call) -> Answer:
    """List the availability zones."""
    found: list[Json] = [
        {"zoneName": name, "zoneState": {"available": available}, "hosts": None}
        for name, available in call.cloud.zones().items()
    ]
    return Answer({"availabilityZoneInfo": found})


def extensions(call: Call) -> Answer:
    """List the extensions: none, all that is served is part of the microversions."""
    del call
    return Answer({"extensions": []})


ROUTES = (
    Route("GET", "/limits", limits, "limits", query=schemas.limits_query),
    Route("GET", "/os-availability-zone", zones, "os-availability-zone:list", query=schemas.no_query),
    Route("GET", "/extensions", extensions, "extensions", query=schemas.no_query),
)
