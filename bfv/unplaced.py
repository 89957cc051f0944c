# SPDX-License-Identifier: Apache-2.0
"""Servers that are accepted and have no row yet, in lists that only cells can filter: the journal alone knows them.

Who makes a server by name looks for it by name at once. They stand before all others, the youngest first, whatever the
order asked for, as nova's build requests do (``nova/compute/api.py:API.get_all``).
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from bfv import view
from bfv.intent import Intent
from bfv.parts import Parts
from bfv.types import ServerInfo
from cells.listing import Query
from cells.listing.filters import conditions
from cells.schema_cell import instances
from cells.types import Up

Fits = Callable[[ServerInfo, Any], bool]


def matching(parts: Parts, query: Query, building: Mapping[str, Intent]) -> list[ServerInfo]:
    """Return those of the boots without a row that a list would show. Raises BadQuery, CellDown."""
    # Told before anything is compared: what is wrong for the cells is wrong here. They know flavors by numbers alone.
    conditions(replace(query, filters={name: each for name, each in query.filters.items() if name != "flavor"}))
    if query.with_deleted:
        return []
    found = (view.accepted(boot, ()) for boot in _without_row(parts, building))
    return [info for info in found if all(FILTERS[name](info, value) for name, value in query.filters.items())]


def _without_row(parts: Parts, building: Mapping[str, Intent]) -> list[Intent]:
    """Return the boots that have no row, the youngest first; in a cell that gives no answer nobody knows."""
    names = {boot.cell for boot in building.values() if boot.cell}
    query = sa.select(instances.c.uuid).where(instances.c.uuid.in_(list(building)))

    def read(_cell: Any, database: Any) -> set[str]:
        with database.reader() as conn:
            return set(conn.execute(query).scalars())

    answers = parts.pool.gather([parts.cells.cell(name) for name in names], read)
    recorded = {uuid for answer in answers.values() if isinstance(answer, Up) for uuid in answer.value}
    rest = [boot for key, boot in building.items() if key not in recorded]
    return sorted(rest, key=lambda boot: (boot.created_at, boot.id), reverse=True)


def _several(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _exact(field: str) -> Fits:
    return lambda info, value: getattr(info, field) in _several(value)


def _number(field: str) -> Fits:
    return lambda info, value: getattr(info, field) in [int(one) for one in _several(value)]


def _regex(field: str) -> Fits:
    return lambda info, value: re.search(f"(?i){value}", getattr(info, field) or "") is not None


def _tagged(value: Any) -> set[str]:
    return set(value.split(",") if isinstance(value, str) else value)


def _moment(value: Any) -> dt.datetime:
    when = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
    return when.astimezone(dt.UTC).replace(tzinfo=None) if when.tzinfo else when


def _created(info: ServerInfo) -> dt.datetime:
    assert info.created_at is not None, "an intent has its time"
    return info.created_at.replace(microsecond=0)


def _never(_info: ServerInfo, _value: Any) -> bool:
    return False


# As ``cells.listing.filters.FILTERS``, for what is known of a server by then; nothing has been launched, or ended.
FILTERS: Mapping[str, Fits] = {
    "uuid": _exact("id"),
    **{name: _exact(name) for name in ("user_id", "host", "node", "reservation_id", "vm_state", "task_state")},
    **{name: _number(name) for name in ("launch_index", "power_state")},
    **{name: _regex(name) for name in ("name", "description", "availability_zone", "config_drive", "hostname",
                                       "key_name", "root_device_name")},
    **dict.fromkeys(("launched_at", "terminated_at", "access_ip_v4", "access_ip_v6"), _never),
    "instance_type_id": lambda info, value: info.flavor is not None and info.flavor.id in map(int, _several(value)),
    "progress": lambda _info, value: 0 in map(int, _several(value)),
    "flavor": lambda info, value: info.flavor is not None and info.flavor.flavorid == value,
    "image": _exact("image_ref"),
    "status": lambda info, value: info.status in [str(one).upper() for one in _several(value)],
    "locked": lambda info, value: info.locked is (str(value).lower() in ("1", "true")),
    "created_at": lambda info, value: _created(info) == _moment(value),
    "changes-since": lambda info, value: _created(info) >= _moment(value),
    "changes-before": lambda info, value: _created(info) <= _moment(value),
    "tags": lambda info, value: _tagged(value) <= set(info.tags),
    "tags-any": lambda info, value: bool(_tagged(value) & set(info.tags)),
    "not-tags": lambda info, value: not _tagged(value) <= set(info.tags),
    "not-tags-any": lambda info, value: not _tagged(value) & set(info.tags),
}  # fmt: skip
