# SPDX-License-Identifier: Apache-2.0
"""What a list is asked for, checked before any database is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cells.errors import BadValue

MAX_LIMIT = 1000
# nova/api/openstack/compute/schemas/servers.py:query_params_v21, without those that nova ignores.
SORT_KEYS = (
    "access_ip_v4", "access_ip_v6", "auto_disk_config", "availability_zone", "config_drive", "created_at",
    "display_description", "display_name", "host", "hostname", "image_ref", "instance_type_id", "kernel_id",
    "key_name", "launch_index", "launched_at", "locked", "locked_by", "node", "power_state", "progress", "project_id",
    "ramdisk_id", "root_device_name", "task_state", "terminated_at", "updated_at", "user_id", "uuid", "vm_state",
)  # fmt: skip
# Filters on the time of the last change show deleted servers too (nova/api/openstack/compute/servers.py:_get_servers).
CHANGES = {"changes-since", "changes-before"}

# A column and whether it runs downwards.
Order: TypeAlias = tuple[tuple[str, bool], ...]


class BadQuery(BadValue):
    """A list was asked for in a way that there is none."""


@dataclass(frozen=True)
class Query:
    """One page of a list of servers; ``project_id`` None is all projects.

    ``marker`` is the id of the last server of the page before. ``filters`` by nova's names, see ``filters.FILTERS``.
    ``deleted`` True is deleted and soft-deleted servers only, False the others, None what nova does: the others, and
    both kinds once a ``changes-`` filter is given. Without ``detail`` servers are ``Brief``; with
    ``system_metadata`` those of an image tell theirs. Raises BadQuery.
    """

    project_id: str | None = None
    limit: int = MAX_LIMIT
    marker: str | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    sort_keys: tuple[str, ...] = ()
    sort_dirs: tuple[str, ...] = ()
    deleted: bool | None = None
    detail: bool = True
    system_metadata: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise BadQuery(f"A page has 1 to {MAX_LIMIT} servers, not {self.limit}.")
        if unknown := set(self.sort_keys).difference(SORT_KEYS):
            raise BadQuery(f"Servers cannot be sorted by {min(unknown)}, but by {', '.join(SORT_KEYS)}.")
        if wrong := set(self.sort_dirs).difference({"asc", "desc"}):
            raise BadQuery(f"A sort direction is asc or desc, not {min(wrong)}.")
        if len(self.sort_dirs) > max(1, len(self.sort_keys)):
            raise BadQuery("There are more sort directions than sort keys.")

    @property
    def by_mapping(self) -> bool:
        """Whether the API database alone knows the order: the youngest first, and nothing filtered."""
        return not (self.filters or self.sort_keys or self.sort_dirs or self.deleted)

    @property
    def with_deleted(self) -> bool | None:
        """Whether deleted servers are shown: True only these, False the others, None both."""
        return False if self.deleted is None and not CHANGES.intersection(self.filters) else self.deleted

    @property
    def order(self) -> Order:
        """The columns to sort by, up to the one that leaves no ties.

        As ``nova/compute/instance_list.py:InstanceSortContext`` and oslo.db's ``process_sort_params``, without the id,
        which each cell counts for itself: a direction that is missing is the first one, by default downwards.
        """
        default = self.sort_dirs[0] if self.sort_dirs else "desc"
        keys = [*dict.fromkeys([*self.sort_keys, "created_at"])]
        dirs = [*self.sort_dirs, *[default] * len(keys)]
        order = [(key, direction == "desc") for key, direction in zip(keys, dirs, strict=False)]
        return (*order, *([] if "uuid" in keys else [("uuid", False)]))
