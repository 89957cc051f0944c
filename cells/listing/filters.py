# SPDX-License-Identifier: Apache-2.0
"""Nova's filters on a list of servers as conditions on a cell's rows.

``nova/db/main/api.py:instance_get_all_by_filters_sort`` and ``nova/api/openstack/compute/servers.py:_get_servers``.
Texts that nova compares as regular expressions are such here too, in the database's dialect (Python's on SQLite, PCRE
on MariaDB, ICU on MySQL) and without regard to case, as nova's collation has it; one that Python or the database
cannot parse is refused. Who wants a literal text escapes it. Where nova compares a number or a time as a text by a
regular expression, it is compared as what it is.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from cells.listing.detail import NOT_HIDDEN, NOT_SOFT_DELETED
from cells.listing.query import BadQuery, Query
from cells.schema_cell import instances, tags

Condition = sa.ColumnElement[bool]
_C = instances.c

_RESIZE = ("resize_prep", "resize_migrating", "resize_migrated", "resize_finish")
_REBUILD = ("rebuilding", "rebuild_block_device_mapping", "rebuild_spawning")
# Status: vm_states, and task_states where not all of them have it (nova/api/openstack/common.py:_STATE_MAP).
STATUSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ACTIVE": (("active",), ()),
    "BUILD": (("building",), ()),
    "DELETED": (("deleted",), ()),
    "ERROR": (("error",), ()),
    "HARD_REBOOT": (("active",), ("rebooting_hard", "reboot_pending_hard", "reboot_started_hard")),
    "MIGRATING": (("active", "paused"), ("migrating",)),
    "PASSWORD": (("active",), ("updating_password",)),
    "PAUSED": (("paused",), ()),
    "REBOOT": (("active",), ("rebooting", "reboot_pending", "reboot_started")),
    "REBUILD": (("active", "stopped", "error"), _REBUILD),
    "RESCUE": (("rescued",), ()),
    "RESIZE": (("active", "stopped"), _RESIZE),
    "REVERT_RESIZE": (("resized",), ("resize_reverting",)),
    "SHELVED": (("shelved",), ()),
    "SHELVED_OFFLOADED": (("shelved_offloaded",), ()),
    "SHUTOFF": (("stopped",), ()),
    "SOFT_DELETED": (("soft-delete",), ()),
    "SUSPENDED": (("suspended",), ()),
    "VERIFY_RESIZE": (("resized",), ()),
}


def conditions(query: Query) -> list[Condition]:
    """Return what a row of ``instances`` must fulfil to be in a list. Raises BadQuery, naming what is allowed."""
    if unknown := set(query.filters).difference(FILTERS):
        raise BadQuery(f"Servers cannot be filtered by {min(unknown)}, but by {', '.join(sorted(FILTERS))}.")
    found = [NOT_HIDDEN, *_deleted(query), *(FILTERS[name](value) for name, value in query.filters.items())]
    return found if query.project_id is None else [*found, _C.project_id == query.project_id]


def _deleted(query: Query) -> list[Condition]:
    vm_states = _named_vm_states(query.filters)
    if vm_states == {"deleted"} or query.with_deleted:
        return [sa.or_(_C.deleted != 0, _C.vm_state == "soft-delete")]
    if query.with_deleted is None:
        return []
    # Who asks for soft-deleted servers by name gets them; nova then answers with none.
    return [_C.deleted == 0] if "soft-delete" in vm_states else [_C.deleted == 0, NOT_SOFT_DELETED]


def _named_vm_states(filters: Mapping[str, Any]) -> set[str]:
    named = set(_several(filters.get("vm_state", ())))
    for status in _several(filters.get("status", ())):
        named.update(STATUSES.get(str(status).upper(), ((), ()))[0])
    return named


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _exact(column: sa.Column[Any]) -> Callable[[Any], Condition]:
    return lambda value: column.in_(_several(value))


def _number(column: sa.Column[Any]) -> Callable[[Any], Condition]:
    def condition(value: Any) -> Condition:
        try:
            return column.in_([int(one) for one in _several(value)])
        except (TypeError, ValueError):
            raise BadQuery(f"{column.name} is a number, not {value}.") from None

    return condition


def _time(column: sa.Column[Any], compare: Callable[[Any, Any], Any]) -> Callable[[Any], Condition]:
    def condition(value: Any) -> Condition:
        try:
            moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise BadQuery(f"{value} is not a time such as 2026-01-31T12:00:00Z.") from None
        found: Condition = compare(column, moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment)
        return found

    return condition


def _regex(column: sa.Column[Any]) -> Callable[[Any], Condition]:
    def condition(value: Any) -> Condition:
        pattern = f"(?i){value}"
        try:
            re.compile(pattern)
        except re.error as error:
            raise BadQuery(f"{value} is not a regular expression: {error}.") from None
        return column.regexp_match(pattern)

    return condition


def _status(value: Any) -> Condition:
    """Return nova's condition: loose where several task states share a status, as nova's own list is.

    ``nova/api/openstack/common.py:task_and_vm_state_from_status``: once a status that is a vm_state's default is among
    those asked for, task states do not count.
    """
    wanted = [str(one).upper() for one in _several(value)]
    if unknown := set(wanted).difference(STATUSES):
        raise BadQuery(f"{min(unknown)} is no status of a server; there are {', '.join(STATUSES)}.")
    vm_states = {state for status in wanted for state in STATUSES[status][0]}
    task_states = {state for status in wanted for state in STATUSES[status][1]}
    among = _C.vm_state.in_(sorted(vm_states))
    if any(not STATUSES[status][1] for status in wanted):
        return among
    return sa.and_(among, _C.task_state.in_(sorted(task_states)))


def _locked(value: Any) -> Condition:
    truth = {"1": True, "true": True, "0": False, "false": False}.get(str(value).lower())
    if truth is None:
        raise BadQuery(f"locked is true or false, not {value}.")
    return _C.locked.is_(sa.true()) if truth else sa.or_(_C.locked.is_(None), _C.locked.is_(sa.false()))


def _tagged(value: Any, *, every: bool) -> Condition:
    wanted = value.split(",") if isinstance(value, str) else list(value)
    has = [sa.exists().where(tags.c.resource_id == _C.uuid, tags.c.tag == tag) for tag in wanted]
    return sa.and_(sa.true(), *has) if every else sa.or_(sa.false(), *has)


FILTERS: dict[str, Callable[[Any], Condition]] = {
    **{name: _exact(_C[name]) for name in ("uuid", "user_id", "host", "node", "reservation_id", "vm_state",
                                           "task_state")},
    **{name: _number(_C[name]) for name in ("instance_type_id", "launch_index", "power_state", "progress")},
    **{name: _time(_C[name], lambda column, moment: column == moment)
       for name in ("created_at", "launched_at", "terminated_at")},
    **{name: _regex(_C[name]) for name in ("availability_zone", "config_drive", "hostname", "key_name",
                                           "root_device_name", "access_ip_v4", "access_ip_v6")},
    "name": _regex(_C.display_name),
    "description": _regex(_C.display_description),
    "image": _exact(_C.image_ref),
    # What is compared is the number that the API database gave to the flavor, see merge.
    "flavor": _number(_C.instance_type_id),
    "status": _status,
    "locked": _locked,
    "changes-since": _time(_C.updated_at, lambda column, moment: column >= moment),
    "changes-before": _time(_C.updated_at, lambda column, moment: column <= moment),
    "tags": lambda value: _tagged(value, every=True),
    "tags-any": lambda value: _tagged(value, every=False),
    "not-tags": lambda value: sa.not_(_tagged(value, every=True)),
    "not-tags-any": lambda value: sa.not_(_tagged(value, every=False)),
}  # fmt: skip
