# SPDX-License-Identifier: Apache-2.0
"""Rules of what is done to a server that exists: nova's names and defaults (``nova/policies/``)."""

from bfv.api.roles import ADMIN, MEMBER, READER, SERVICE

SERVER, ACTION = "/servers/{server_id}", "/servers/{server_id}/action"
METADATA, TAGS = f"{SERVER}/metadata", f"{SERVER}/tags"
VOLUMES, ACTIONS = f"{SERVER}/os-volume_attachments", f"{SERVER}/os-instance-actions"


def _action(name: str) -> tuple[tuple[str, str], ...]:
    return (("POST", f"{ACTION} ({name})"),)


SERVER_RULES: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    ("servers:update", MEMBER, "Change a server's name, description or host name.", (("PUT", SERVER),)),
    ("servers:create_image", MEMBER, "Make an image of a server.", _action("createImage")),
    ("servers:create_image:allow_volume_backed", MEMBER, "Make an image of a server whose root disk is a volume.",
     _action("createImage")),
    ("os-deferred-delete:force", MEMBER, "Delete a server in whatever state it is.", _action("forceDelete")),
    ("os-admin-actions:reset_state", ADMIN, "Write another state of a server.", _action("os-resetState")),
    ("os-lock-server:lock", MEMBER, "Lock a server.", _action("lock")),
    ("os-lock-server:unlock", MEMBER, "Unlock a server.", _action("unlock")),
    ("os-lock-server:unlock:unlock_override", ADMIN, "Unlock a server that somebody else has locked.",
     _action("unlock")),
    ("server-metadata:index", READER, "List a server's metadata.", (("GET", METADATA),)),
    ("server-metadata:show", READER, "Show an item of it.", (("GET", f"{METADATA}/{{key}}"),)),
    ("server-metadata:create", MEMBER, "Add items to it.", (("POST", METADATA),)),
    ("server-metadata:update_all", MEMBER, "Replace all of it.", (("PUT", METADATA),)),
    ("server-metadata:update", MEMBER, "Write an item of it.", (("PUT", f"{METADATA}/{{key}}"),)),
    ("server-metadata:delete", MEMBER, "Delete an item of it.", (("DELETE", f"{METADATA}/{{key}}"),)),
    ("os-server-tags:index", READER, "List a server's tags.", (("GET", TAGS),)),
    ("os-server-tags:show", READER, "Look whether a server has a tag.", (("GET", f"{TAGS}/{{tag}}"),)),
    ("os-server-tags:update_all", MEMBER, "Replace a server's tags.", (("PUT", TAGS),)),
    ("os-server-tags:update", MEMBER, "Give a server a tag.", (("PUT", f"{TAGS}/{{tag}}"),)),
    ("os-server-tags:delete_all", MEMBER, "Take all tags off a server.", (("DELETE", TAGS),)),
    ("os-server-tags:delete", MEMBER, "Take a tag off a server.", (("DELETE", f"{TAGS}/{{tag}}"),)),
    ("ips:index", READER, "List a server's addresses.", (("GET", f"{SERVER}/ips"),)),
    ("ips:show", READER, "Show its addresses in one network.", (("GET", f"{SERVER}/ips/{{network_label}}"),)),
    ("os-volumes-attachments:index", READER, "List a server's volumes.", (("GET", VOLUMES),)),
    ("os-volumes-attachments:show", READER, "Show one of them.", (("GET", f"{VOLUMES}/{{volume_id}}"),)),
    ("os-volumes-attachments:update", MEMBER, "Say whether one is deleted with its server.",
     (("PUT", f"{VOLUMES}/{{volume_id}}"),)),
    ("os-volumes-attachments:swap", SERVICE, "Put another volume in the place of one.",
     (("PUT", f"{VOLUMES}/{{volume_id}}"),)),
    ("os-instance-actions:list", READER, "List what was asked of a server.", (("GET", ACTIONS),)),
    ("os-instance-actions:show", READER, "Show one of that with its steps.", (("GET", f"{ACTIONS}/{{request_id}}"),)),
    ("os-instance-actions:events", ADMIN, "See the steps below 2.51, and on which host each was.",
     (("GET", f"{ACTIONS}/{{request_id}}"),)),
    ("os-instance-actions:events:details", ADMIN, "See the details of each step.",
     (("GET", f"{ACTIONS}/{{request_id}}"),)),
)  # fmt: skip
