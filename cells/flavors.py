# SPDX-License-Identifier: Apache-2.0
"""Flavors of the API database and who may use them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import Exists, NotMapped
from cells.fixed import Fixed
from cells.schema_api import flavor_extra_specs, flavor_projects, flavors
from cells.types import Flavor


def get(api: Database, flavorid_or_name: str, project_id: str | None) -> Flavor:
    """Return a flavor by id, else by name; ``project_id`` None is the operator, who sees all of them.

    A project gets none that is disabled, and of the non-public ones those it was given
    (``nova/objects/flavor.py:_flavor_get_query_from_db``, ``nova/compute/api.py:_validate_and_build_base_options``).
    Raises NotMapped, CellDown.
    """
    found = _select(api, _ONE if project_id is None else _ONE_OF_PROJECT, wanted=flavorid_or_name, project=project_id)
    # MySQL compares without regard to case, we do not.
    exact = [one for one in found if one.flavorid == flavorid_or_name]
    exact += [one for one in found if one.name == flavorid_or_name]
    if not exact:
        raise NotMapped(f"Flavor {flavorid_or_name} could not be found.")
    return exact[0]


def list_flavors(api: Database, project_id: str | None) -> list[Flavor]:
    """Return the flavors that ``get`` would give, in the order of their ids. Raises CellDown."""
    found = _select(api, _ALL if project_id is None else _ALL_OF_PROJECT, project=project_id)
    return sorted(found, key=lambda flavor: flavor.flavorid)


def create(api: Database, flavor: Flavor) -> Flavor:
    """Write a new flavor and return it with the number that the database gave it; its own ``id`` is ignored.

    ``nova/objects/flavor.py:_flavor_create``. Raises Exists for a flavorid or name that is taken, CellDown.
    """

    def write(conn: sa.Connection) -> int:
        now = utcnow()
        row = {"flavorid": flavor.flavorid, "name": flavor.name, "vcpus": flavor.vcpus, "memory_mb": flavor.memory_mb,
               "root_gb": flavor.root_gb, "ephemeral_gb": flavor.ephemeral_gb, "swap": flavor.swap, "vcpu_weight": 0,
               "rxtx_factor": flavor.rxtx_factor, "disabled": flavor.disabled, "is_public": flavor.is_public,
               "description": flavor.description, "created_at": now}  # fmt: skip
        key = conn.execute(flavors.insert().values(row)).inserted_primary_key
        assert key is not None
        of_flavor = {"flavor_id": key[0], "created_at": now}
        if specs := [{**of_flavor, "key": k, "value": v} for k, v in flavor.extra_specs.items()]:
            conn.execute(flavor_extra_specs.insert(), specs)
        if projects := [{**of_flavor, "project_id": project} for project in dict.fromkeys(flavor.projects)]:
            conn.execute(flavor_projects.insert(), projects)
        return int(key[0])

    try:
        return replace(flavor, id=api.run(write))
    except sa.exc.IntegrityError as error:
        raise Exists(f"Flavor {flavor.flavorid} or one named {flavor.name} exists already.") from error


def delete(api: Database, flavorid: str) -> None:
    """Remove a flavor, its extra specs and who may use it; servers keep their own copy of it.

    ``nova/objects/flavor.py:_flavor_destroy``. Raises NotMapped, CellDown.
    """

    def write(conn: sa.Connection) -> None:
        key = conn.execute(sa.select(flavors.c.id).where(flavors.c.flavorid == flavorid)).scalar()
        if key is None:
            raise NotMapped(f"Flavor {flavorid} could not be found.")
        conn.execute(flavor_projects.delete().where(flavor_projects.c.flavor_id == key))
        conn.execute(flavor_extra_specs.delete().where(flavor_extra_specs.c.flavor_id == key))
        conn.execute(flavors.delete().where(flavors.c.id == key))

    api.run(write)


def describe(api: Database, flavorid: str, description: str | None) -> Flavor:
    """Write the description of a flavor (``nova/objects/flavor.py:Flavor.save``).

    Raises NotMapped, BadValue, CellDown.
    """
    changed = flavors.update().where(flavors.c.flavorid == flavorid)
    changed = changed.values(description=description, updated_at=utcnow())
    if not api.run(lambda conn: conn.execute(changed).rowcount):
        raise NotMapped(f"Flavor {flavorid} could not be found.")
    return get(api, flavorid, None)


def set_extra_specs(api: Database, flavor: Flavor, specs: Mapping[str, str]) -> None:
    """Write extra specs of a flavor over those of the same keys. Raises NotMapped, Exists, BadValue, CellDown.

    ``nova/objects/flavor.py:_flavor_extra_specs_add``.
    """
    table = flavor_extra_specs
    rows = [{"flavor_id": flavor.id, "key": key, "value": value, "created_at": utcnow()}
            for key, value in specs.items()]  # fmt: skip

    def write(conn: sa.Connection) -> None:
        _lock(conn, flavor)
        conn.execute(table.delete().where(table.c.flavor_id == flavor.id, table.c.key.in_(list(specs))))
        if rows:
            conn.execute(table.insert(), rows)

    try:
        api.run(write)
    except sa.exc.IntegrityError as error:
        raise Exists(f"Flavor {flavor.flavorid} cannot have two extra specs whose keys differ in case.") from error


def delete_extra_spec(api: Database, flavor: Flavor, key: str) -> None:
    """Remove an extra spec of a flavor (``nova/objects/flavor.py:_flavor_extra_specs_del``).

    Raises NotMapped, CellDown.
    """
    table = flavor_extra_specs
    gone = table.delete().where(table.c.flavor_id == flavor.id, table.c.key == key)
    if not api.run(lambda conn: conn.execute(gone).rowcount):
        raise NotMapped(f"Flavor {flavor.flavorid} has no extra specs with key {key}.")


def add_access(api: Database, flavor: Flavor, project_id: str) -> None:
    """Let a project use a flavor that is not public. Raises Exists, NotMapped, BadValue, CellDown.

    ``nova/objects/flavor.py:_flavor_add_project``.
    """
    row = {"flavor_id": flavor.id, "project_id": project_id, "created_at": utcnow()}

    def write(conn: sa.Connection) -> None:
        _lock(conn, flavor)
        conn.execute(flavor_projects.insert().values(row))

    try:
        api.run(write)
    except sa.exc.IntegrityError as error:
        raise Exists(f"Flavor access already exists for flavor {flavor.flavorid} and project {project_id} combination."
                     ) from error  # fmt: skip


def remove_access(api: Database, flavor: Flavor, project_id: str) -> None:
    """Let a project use a flavor no more (``nova/objects/flavor.py:_flavor_del_project``).

    Raises NotMapped, CellDown.
    """
    table = flavor_projects
    gone = table.delete().where(table.c.flavor_id == flavor.id, table.c.project_id == project_id)
    if not api.run(lambda conn: conn.execute(gone).rowcount):
        raise NotMapped(f"Flavor access not found for {flavor.flavorid} / {project_id} combination.")


def _lock(conn: sa.Connection, flavor: Flavor) -> None:
    """Keep a flavor from being removed until the transaction ends: SQLite asks no foreign key. Raises NotMapped."""
    if conn.execute(sa.select(flavors.c.id).where(flavors.c.id == flavor.id).with_for_update()).first() is None:
        raise NotMapped(f"Flavor {flavor.flavorid} could not be found.")


def _statements(condition: sa.ColumnElement[bool]) -> tuple[Fixed, Fixed, Fixed]:
    """Return how flavors are read, their extra specs and their projects."""
    keys = sa.select(flavors.c.id).where(condition)
    specs, projects = flavor_extra_specs, flavor_projects
    return (
        Fixed(sa.select(flavors).where(condition)),
        Fixed(sa.select(specs).where(specs.c.flavor_id.in_(keys))),
        Fixed(sa.select(projects).where(projects.c.flavor_id.in_(keys)).order_by(projects.c.id)),
    )


_GIVEN = sa.select(flavor_projects.c.flavor_id).where(flavor_projects.c.project_id == sa.bindparam("project"))
# NULL in an old row is nova's default: enabled and public.
_USABLE = sa.and_(
    sa.func.coalesce(flavors.c.disabled, sa.false()).is_(sa.false()),
    sa.or_(sa.func.coalesce(flavors.c.is_public, sa.true()).is_(sa.true()), flavors.c.id.in_(_GIVEN)),
)
_NAMED = sa.or_(flavors.c.flavorid == sa.bindparam("wanted"), flavors.c.name == sa.bindparam("wanted"))
_ONE, _ONE_OF_PROJECT = _statements(_NAMED), _statements(sa.and_(_NAMED, _USABLE))
_ALL, _ALL_OF_PROJECT = _statements(sa.true()), _statements(_USABLE)


def _select(api: Database, statements: tuple[Fixed, ...], **asked: str | None) -> list[Flavor]:
    of_flavors, of_specs, of_projects = statements
    specs: dict[int, dict[str, str]] = {}
    projects: dict[int, list[str]] = {}
    with api.reader() as conn:
        rows = of_flavors.rows(conn, asked)
        for spec in of_specs.rows(conn, asked):
            specs.setdefault(spec.flavor_id, {})[spec.key] = spec.value
        for project in of_projects.rows(conn, asked):
            projects.setdefault(project.flavor_id, []).append(project.project_id)
    return [_flavor(row, specs.get(row.id, {}), projects.get(row.id, ())) for row in rows]


def _flavor(row: Any, specs: dict[str, str], projects: Sequence[str]) -> Flavor:
    return Flavor(
        id=row.id, flavorid=row.flavorid, name=row.name, vcpus=row.vcpus, memory_mb=row.memory_mb,
        root_gb=row.root_gb or 0, ephemeral_gb=row.ephemeral_gb or 0, swap=row.swap,
        rxtx_factor=1.0 if row.rxtx_factor is None else row.rxtx_factor, disabled=bool(row.disabled),
        is_public=row.is_public is not False, extra_specs=specs, projects=tuple(projects),
        description=row.description,
    )  # fmt: skip
