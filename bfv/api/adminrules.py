# SPDX-License-Identifier: Apache-2.0
"""Who may call what beside servers: data for `bfv.api.policies`, with nova's names and defaults."""

from bfv.api.roles import ADMIN, ANYBODY, MEMBER, OWN_USER, READER, SERVICE

Rule = tuple[str, str, str, tuple[tuple[str, str], ...]]
GROUPS, QUOTAS, CLASSES = "/os-server-groups", "/os-quota-sets/{project_id}", "/os-quota-class-sets/{name}"
KEYS, SERVICES, NODES = "/os-keypairs", "/os-services", "/os-hypervisors"
AGGREGATES, AGGREGATE = "/os-aggregates", "/os-aggregates/{aggregate_id}"
FLAVOR, SPECS = "/flavors/{flavor_id}", "/flavors/{flavor_id}/os-extra_specs"
OF_SERVER = "/bfv/servers/{server_id}"

# nova/policies/*.py: name, default, what it lets do, operations.
ADMIN_RULES: tuple[Rule, ...] = (
    ("os-server-groups:index", READER, "List server groups.", (("GET", GROUPS),)),
    ("os-server-groups:index:all_projects", ADMIN, "List those of all projects.", (("GET", GROUPS),)),
    ("os-server-groups:show", READER, "Show a server group.", (("GET", f"{GROUPS}/{{group_id}}"),)),
    ("os-server-groups:create", MEMBER, "Make a server group.", (("POST", GROUPS),)),
    ("os-server-groups:delete", MEMBER, "Remove a server group.", (("DELETE", f"{GROUPS}/{{group_id}}"),)),
    ("os-quota-sets:show", READER, "Show the limits of a project.", (("GET", QUOTAS),)),
    ("os-quota-sets:detail", READER, "Show them with what is used.", (("GET", f"{QUOTAS}/detail"),)),
    ("os-quota-sets:defaults", ANYBODY, "Show the limits of projects that have none of their own.",
     (("GET", f"{QUOTAS}/defaults"),)),
    ("os-quota-sets:update", ADMIN, "Set limits of a project or a user.", (("PUT", QUOTAS),)),
    ("os-quota-sets:delete", ADMIN, "Remove them.", (("DELETE", QUOTAS),)),
    ("os-quota-class-sets:show", ADMIN, "Show the limits of a class.", (("GET", CLASSES),)),
    ("os-quota-class-sets:update", ADMIN, "Set limits of a class.", (("PUT", CLASSES),)),
    ("os-keypairs:index", OWN_USER, "List a user's key pairs.", (("GET", KEYS),)),
    ("os-keypairs:show", OWN_USER, "Show a key pair.", (("GET", f"{KEYS}/{{name}}"),)),
    ("os-keypairs:create", OWN_USER, "Make or import a key pair.", (("POST", KEYS),)),
    ("os-keypairs:delete", OWN_USER, "Remove a key pair.", (("DELETE", f"{KEYS}/{{name}}"),)),
    ("os-services:list", ADMIN, "List the services of all cells.", (("GET", SERVICES),)),
    ("os-services:update", ADMIN, "Disable, enable or force down a compute service.",
     (("PUT", f"{SERVICES}/{{service_id}}"),)),
    ("os-hypervisors:list", ADMIN, "List the compute nodes of all cells.", (("GET", NODES),)),
    ("os-hypervisors:list-detail", ADMIN, "The same with details.", (("GET", f"{NODES}/detail"),)),
    ("os-hypervisors:show", ADMIN, "Show a compute node.", (("GET", f"{NODES}/{{hypervisor_id}}"),)),
    ("os-hypervisors:statistics", ADMIN, "Sum up all compute nodes.", (("GET", f"{NODES}/statistics"),)),
    ("os-hypervisors:search", ADMIN, "Find compute nodes by name.", (("GET", f"{NODES}/{{pattern}}/search"),)),
    ("os-hypervisors:servers", ADMIN, "The same with their servers.", (("GET", f"{NODES}/{{pattern}}/servers"),)),
    ("os-aggregates:index", ADMIN, "List aggregates.", (("GET", AGGREGATES),)),
    ("os-aggregates:show", ADMIN, "Show an aggregate.", (("GET", AGGREGATE),)),
    ("os-aggregates:create", ADMIN, "Make an aggregate.", (("POST", AGGREGATES),)),
    ("os-aggregates:update", ADMIN, "Rename an aggregate or change its zone.", (("PUT", AGGREGATE),)),
    ("os-aggregates:delete", ADMIN, "Remove an aggregate.", (("DELETE", AGGREGATE),)),
    ("os-aggregates:add_host", ADMIN, "Put a host in an aggregate.", (("POST", f"{AGGREGATE}/action (add_host)"),)),
    ("os-aggregates:remove_host", ADMIN, "Take a host out of one.", (("POST", f"{AGGREGATE}/action (remove_host)"),)),
    ("os-aggregates:set_metadata", ADMIN, "Write its metadata.", (("POST", f"{AGGREGATE}/action (set_metadata)"),)),
    ("os-flavor-manage:create", ADMIN, "Make a flavor.", (("POST", "/flavors"),)),
    ("os-flavor-manage:update", ADMIN, "Describe a flavor.", (("PUT", FLAVOR),)),
    ("os-flavor-manage:delete", ADMIN, "Remove a flavor.", (("DELETE", FLAVOR),)),
    ("os-flavor-extra-specs:create", ADMIN, "Write extra specs of a flavor.", (("POST", SPECS),)),
    ("os-flavor-extra-specs:update", ADMIN, "Write one of them.", (("PUT", f"{SPECS}/{{key}}"),)),
    ("os-flavor-extra-specs:delete", ADMIN, "Remove one of them.", (("DELETE", f"{SPECS}/{{key}}"),)),
    ("os-flavor-access", ADMIN, "List who may use a flavor that is not public.",
     (("GET", f"{FLAVOR}/os-flavor-access"),)),
    ("os-flavor-access:add_tenant_access", ADMIN, "Let a project use it.",
     (("POST", f"{FLAVOR}/action (addTenantAccess)"),)),
    ("os-flavor-access:remove_tenant_access", ADMIN, "Let a project use it no more.",
     (("POST", f"{FLAVOR}/action (removeTenantAccess)"),)),
    ("os-availability-zone:detail", ADMIN, "List availability zones with their hosts.",
     (("GET", "/os-availability-zone/detail"),)),
    ("bfv:openapi", ANYBODY, "See the API as an OpenAPI document.", (("GET", "/bfv/openapi"),)),
    ("bfv:servers:decision", READER, "See how a server was placed and made.", (("GET", f"{OF_SERVER}/decision"),)),
    ("bfv:servers:connect", SERVICE, "Connect a host to a server's volumes.", (("POST", f"{OF_SERVER}/connect"),)),
    ("bfv:servers:disconnect", SERVICE, "Have a host let go of them.", (("POST", f"{OF_SERVER}/disconnect"),)),
    ("bfv:cells:index", ADMIN, "See how the cells are.", (("GET", "/bfv/cells"),)),
    ("bfv:cells:show", ADMIN, "See how a cell is.", (("GET", "/bfv/cells/{name}"),)),
    ("bfv:images:delete", MEMBER, "Delete an image that one may delete in Glance, and hear which snapshots stay.",
     (("DELETE", "/bfv/images/{image_id}"),)),
    ("bfv:left-snapshots:index", READER, "List snapshots of one's project whose images of servers are gone.",
     (("GET", "/bfv/left-snapshots"),)),
    ("bfv:hosts:report", SERVICE, "Report what a host has.", (("PUT", "/bfv/hosts/{host}"),)),
)  # fmt: skip
