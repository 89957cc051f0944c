# SPDX-License-Identifier: Apache-2.0
"""A request to each route that would be answered if only the caller might: its path, its body, its microversion."""

import uuid

from bfv.api import versions

NOWHERE = "00000000-dead-4eef-8000-000000000000"
IDS = {"server_id": NOWHERE, "flavor_id": "tiny", "key": "x", "group_id": NOWHERE, "project_id": "p" * 32,
       "name": "default", "service_id": NOWHERE, "hypervisor_id": NOWHERE, "aggregate_id": "1",
       "host": "h1", "volume_id": NOWHERE, "image_id": NOWHERE, "tag": "x", "network_label": "x",
       "request_id": "x", "job_id": NOWHERE}  # fmt: skip
HOST = {"cell": "cell1", "vcpus": 1, "memory_mb": 1, "local_gb": 1}
# By the rule that is asked.
BODIES = {
    "os-aggregates:create": {"aggregate": {"name": "secret"}},
    "os-aggregates:update": {"aggregate": {"name": "secret"}},
    "os-aggregates:add_host": {"add_host": {"host": "cell1-host1"}},
    "os-aggregates:remove_host": {"remove_host": {"host": "cell1-host1"}},
    "os-aggregates:set_metadata": {"set_metadata": {"metadata": {"a": "b"}}},
    "os-flavor-manage:create": {"flavor": {"name": "secret", "ram": 1, "vcpus": 1, "disk": 0}},
    "os-flavor-manage:update": {"flavor": {"description": "x"}},
    "os-flavor-extra-specs:create": {"extra_specs": {"a": "b"}},
    "os-flavor-extra-specs:update": {"x": "y"},
    "os-flavor-access:add_tenant_access": {"addTenantAccess": {"tenant": "p" * 32}},
    "os-flavor-access:remove_tenant_access": {"removeTenantAccess": {"tenant": "p" * 32}},
    "os-keypairs:create": {"keypair": {"name": "k", "public_key": "ssh-rsa x"}},
    "os-quota-sets:update": {"quota_set": {"cores": 1}},
    "os-quota-class-sets:update": {"quota_class_set": {"cores": 1}},
    "os-server-groups:create": {"server_group": {"name": "g", "policy": "affinity"}},
    "bfv:servers:connect": {"connect": {"connector": {"host": "h1"}}},
    "bfv:servers:disconnect": {"disconnect": None},
    "bfv:hosts:report": {"host": HOST},
    "bfv:migrations:run": {"migration": {"servers": [NOWHERE]}},
    "bfv:migrations:purge": {"purge": {"wave": "x"}},
    "bfv:servers:migration:undo": {"undo": None},
    "bfv:servers:migration:purge": {"purge": None},
    "servers:create": {"server": {"name": "x", "imageRef": str(uuid.UUID(int=7)), "flavorRef": "tiny",
                                  "networks": "none"}},
    "servers:rebuild": {"rebuild": {"imageRef": str(uuid.UUID(int=7))}},
    "servers:start": {"os-start": None},
    "servers:stop": {"os-stop": None},
    "servers:reboot": {"reboot": {"type": "HARD"}},
    "servers:update": {"server": {"name": "y"}},
    "servers:create_image": {"createImage": {"name": "x"}},
    "os-deferred-delete:force": {"forceDelete": None},
    "os-admin-actions:reset_state": {"os-resetState": {"state": "error"}},
    "os-lock-server:lock": {"lock": None},
    "os-lock-server:unlock": {"unlock": None},
    "server-metadata:create": {"metadata": {"a": "b"}},
    "server-metadata:update_all": {"metadata": {"a": "b"}},
    "server-metadata:update": {"meta": {"x": "b"}},
    "os-server-tags:update_all": {"tags": ["x"]},
    "os-image-sources:warm": {"warm": {"image": str(uuid.UUID(int=7))}},
    "os-volumes-attachments:create": {"volumeAttachment": {"volumeId": NOWHERE}},
    "os-volumes-attachments:update": {"volumeAttachment": {"volumeId": NOWHERE}},
    "os-server-external-events:create": {"events": [{"server_uuid": NOWHERE, "name": "network-changed"}]},
}  # fmt: skip


def version(route):
    """Return the newest microversion that has a route."""
    return f"2.{route.until or versions.MAX}"


def body(route):
    """Return a body that fits."""
    if route.policy == "os-services:update":
        return {"forced_down": False} if route.until is None else {"host": "cell1-host1", "binary": "nova-compute"}
    return BODIES.get(route.policy)


def path(route, **ids):
    """Return a path, with these ids where they are of it."""
    if route.policy == "os-services:update" and route.until:
        ids = {**ids, "service_id": "disable"}
    return route.path.format(**{**IDS, **ids})


def names(route):
    """Return what a route is called."""
    return f"{route.method} {route.path} {route.action or ''} {route.until or ''}".strip()
