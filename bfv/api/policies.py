# SPDX-License-Identifier: Apache-2.0
"""Who may call what: nova's names and defaults of rules, so that an operator's policy.yaml keeps its meaning.

``etc/policy.yaml.sample`` is made of these. Whose server it is, is asked before a rule counts: another project's is
not found.
"""

import time
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from bfv.api.adminrules import ADMIN_RULES
from bfv.api.faults import Fault
from bfv.api.roles import ADMIN, ANYBODY, MEMBER, READER, SERVICE
from bfv.api.serverrules import SERVER_RULES
from bfv.types import Caller

API = "os_compute_api"
# Seconds for which an answer holds, and how many are kept at most.
KNOWN_FOR, KNOWN = 1.0, 10_000
# nova/policies/base.py
BASE = (
    ("context_is_admin", "role:admin", "Who is an admin."),
    ("project_member_api", "role:member and project_id:%(project_id)s", "Who may change what a project has."),
    ("project_reader_api", "role:reader and project_id:%(project_id)s", "Who may see what a project has."),
    ("project_member_or_admin", "rule:project_member_api or rule:context_is_admin", "Members and admins."),
    ("project_reader_or_admin", "rule:project_reader_api or rule:context_is_admin", "Readers and admins."),
)
# nova/policies/*.py: name, default, what it lets do, operations.
RULES: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    ("servers:index", READER, "List servers.", (("GET", "/servers"),)),
    ("servers:detail", READER, "List servers with details.", (("GET", "/servers/detail"),)),
    ("servers:index:get_all_tenants", ADMIN, "List servers of all projects.", (("GET", "/servers"),)),
    ("servers:detail:get_all_tenants", ADMIN, "The same with details.", (("GET", "/servers/detail"),)),
    ("servers:show", READER, "Show a server.", (("GET", "/servers/{server_id}"),)),
    ("servers:create", MEMBER, "Create a server.", (("POST", "/servers"),)),
    ("servers:delete", MEMBER, "Delete a server.", (("DELETE", "/servers/{server_id}"),)),
    ("servers:rebuild", MEMBER, "Rebuild a server.", (("POST", "/servers/{server_id}/action (rebuild)"),)),
    ("servers:start", MEMBER, "Switch a server on.", (("POST", "/servers/{server_id}/action (os-start)"),)),
    ("servers:stop", MEMBER, "Switch a server off.", (("POST", "/servers/{server_id}/action (os-stop)"),)),
    ("servers:reboot", MEMBER, "Restart a server.", (("POST", "/servers/{server_id}/action (reboot)"),)),
    ("os-volumes-attachments:create", MEMBER, "Attach a volume to a server.",
     (("POST", "/servers/{server_id}/os-volume_attachments"),)),
    ("os-volumes-attachments:delete", MEMBER, "Detach a volume from a server.",
     (("DELETE", "/servers/{server_id}/os-volume_attachments/{volume_id}"),)),
    ("os-simple-tenant-usage:list", ADMIN, "Show what all projects used.", (("GET", "/os-simple-tenant-usage"),)),
    ("os-simple-tenant-usage:show", READER, "Show what one's own project used; admins, what any did.",
     (("GET", "/os-simple-tenant-usage/{tenant_id}"),)),
    ("os-extended-server-attributes", ADMIN, "See the host of a server and what else is told to admins.",
     (("GET", "/servers/{id}"), ("GET", "/servers/detail"))),
    ("os-flavor-extra-specs:index", READER, "List the extra specs of a flavor, also within servers and flavors.",
     (("GET", "/flavors/{flavor_id}/os-extra_specs"),)),
    ("os-flavor-extra-specs:show", READER, "Show one of them.",
     (("GET", "/flavors/{flavor_id}/os-extra_specs/{flavor_extra_spec_key}"),)),
    ("flavors", ANYBODY, "List and show flavors.", (("GET", "/flavors"), ("GET", "/flavors/{flavor_id}"))),
    ("limits", ANYBODY, "Show the limits of one's project.", (("GET", "/limits"),)),
    ("limits:other_project", ADMIN, "Show those of another project.", (("GET", "/limits?tenant_id={project_id}"),)),
    ("extensions", ANYBODY, "List and show extensions.", (("GET", "/extensions"),)),
    ("os-availability-zone:list", ANYBODY, "List availability zones.", (("GET", "/os-availability-zone"),)),
    ("os-image-sources:index", READER, "Show how the images that one sees stand in each cell.",
     (("GET", "/os-image-sources"),)),
    ("os-image-sources:warm", MEMBER, "Have an image of one's own warmed in cells; an admin any.",
     (("POST", "/os-image-sources"),)),
    ("os-server-external-events:create", SERVICE, "Tell of events of other services.",
     (("POST", "/os-server-external-events"),)),
    *SERVER_RULES,
    *ADMIN_RULES,
)  # fmt: skip


def list_rules() -> list[Any]:
    """Return all rules with their defaults, for oslo.policy and its generators."""
    base = [policy.RuleDefault(name, check, description=text) for name, check, text in BASE]
    return base + [
        policy.DocumentedRuleDefault(
            name=f"{API}:{name}",
            check_str=check,
            description=text,
            operations=[{"method": method, "path": path} for method, path in operations],
            scope_types=["project"],
        )
        for name, check, text, operations in RULES
    ]


class Policy:
    """The rules as the operator's ``[oslo_policy] policy_file`` has them, over the defaults.

    oslo.policy looks at its files and at itself for each question, longer than a server's database needs to answer.
    What it said is therefore known for a second; a file that is changed counts after it.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.register_defaults(list_rules())
        self._enforcer.load_rules()
        self._said: dict[tuple[Any, ...], bool] = {}
        self._until = 0.0

    def allows(self, name: str, caller: Caller, **whose: str) -> bool:
        """Return whether a rule lets the caller do it to what is its own, or of another ``project_id``, ``user_id``."""
        now, key = time.monotonic(), (name, caller.roles, caller.project_id, caller.user_id, *sorted(whose.items()))
        if now >= self._until or len(self._said) > KNOWN:
            self._said, self._until = {}, now + KNOWN_FOR
        said, found = self._said, self._said.get(key)
        if found is None:
            found = said[key] = self._ask(name, caller, whose)
        return found

    def _ask(self, name: str, caller: Caller, whose: Mapping[str, str]) -> bool:
        creds = {"roles": list(caller.roles), "project_id": caller.project_id, "user_id": caller.user_id}
        target = {"project_id": caller.project_id, "user_id": caller.user_id, **whose}
        return bool(self._enforcer.authorize(f"{API}:{name}", target, creds))

    def check(self, name: str, caller: Caller, **whose: str) -> None:
        """Raise Fault 403, in nova's words, unless a rule lets the caller do it."""
        if not self.allows(name, caller, **whose):
            raise Fault(403, f"Policy doesn't allow {API}:{name} to be performed.")
