# SPDX-License-Identifier: Apache-2.0
"""Backends on the second cell's Ceph that are set up as some operators' are; for what is measured there, and then gone.

Each has a volume type of its name, services of its own and locks of its own, so the cell's own backend is not touched.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lab import process, ready
from lab.cloud import CINDER_CONF, cinder_volume
from lab.process import Service
from lab.rest import Session, login
from lab.settings import CELLS, ETC, LAB, VENV_BIN, LabError, render

CELL = CELLS[1]
DELETED_SECONDS = 300


@dataclass(frozen=True)
class Extra:
    """A backend: the hosts of its services, whether they are one active-active cluster, and cinder's cache."""

    name: str
    hosts: tuple[str, ...]
    cached: bool
    clustered: bool = False

    @property
    def owner(self) -> str:
        """Who cinder says has the pool: the cluster, or the one service."""
        return f"{self.name}@{self.name}" if self.clustered else f"{self.hosts[0]}@{self.name}"

    @property
    def services(self) -> tuple[Service, ...]:
        return tuple(self._service(host) for host in self.hosts)

    def _service(self, host: str) -> Service:
        def serves() -> bool:
            return ready.backends_serve(service, {f"{host}@{self.name}": f"{self.owner}#{self.name}"})

        service = cinder_volume(f"{self.name}-{host}", serves)
        return service

    def configure(self) -> None:
        """Write a file for each service: without a shared lock, as on two machines without etcd."""
        for host in self.hosts:
            name = f"{self.name}-{host}"
            for folder in (f"cinder/locks-{name}", f"cinder/conversion-{name}"):
                (LAB / folder).mkdir(parents=True, exist_ok=True)
            render("cinder-extra.conf", ETC / "cinder" / f"{name}.conf", name=self.name, service=name, cell=CELL.name,
                   secret=CELL.secret_uuid, cinder_host=host, cached=str(self.cached).lower(),
                   cluster=f"cluster = {self.name}" if self.clustered else "")  # fmt: skip


EXTRAS = {
    each.name: each
    for each in (
        Extra("cell2-nocache", ("lab",), cached=False),
        Extra("cell2-pair", ("labA", "labB"), cached=True, clustered=True),
    )
}
SERVICES = tuple(service for each in EXTRAS.values() for service in each.services)


def up(extra: Extra) -> None:
    """Start its services and make its volume type."""
    extra.configure()
    for service in extra.services:
        process.start(service)
    admin = login()
    if extra.name not in _types(admin):
        specs = {"volume_backend_name": extra.name, "RESKEY:availability_zones": CELL.name}
        body = {"volume_type": {"name": extra.name, "extra_specs": specs}}
        admin.call("POST", ready.volume_url(admin, "/types"), body)
    for service in extra.services:
        process.wait(service)


def down(extra: Extra) -> None:
    """Remove its volumes, services and type; what is gone already is no error."""
    admin = login()
    if any(_volumes(admin, extra)):
        # Only its own services remove what is on it, also after a crash.
        up(extra)
        _remove_volumes(admin, extra)
    for service in extra.services:
        process.stop(service)
    if kind := _types(admin).get(extra.name):
        admin.call("DELETE", ready.volume_url(admin, f"/types/{kind}"))
    manage = [VENV_BIN / "cinder-manage", "--config-file", CINDER_CONF]
    rows = admin.call("GET", ready.volume_url(admin, "/os-services?binary=cinder-volume"))["services"]
    for host in {f"{each}@{extra.name}" for each in extra.hosts} & {row["host"] for row in rows}:
        process.run("cinder-manage", [*manage, "service", "remove", "cinder-volume", host])
    if extra.owner in _clusters(admin):
        # Cinder 29 removes it, and then trips over its own answer (cinder/objects/cluster.py:destroy).
        with contextlib.suppress(LabError):
            process.run("cinder-manage", [*manage, "cluster", "remove", "--recursive", "cinder-volume", extra.owner])
        if extra.owner in _clusters(admin):
            raise LabError(f"{extra.name}: cinder-manage did not remove cluster {extra.owner}")


def _clusters(admin: Session) -> set[str]:
    return {row["name"] for row in admin.call("GET", ready.volume_url(admin, "/clusters"))["clusters"]}


def _types(admin: Session) -> dict[str, str]:
    rows = admin.call("GET", ready.volume_url(admin, "/types"))["volume_types"]
    return {row["name"]: row["id"] for row in rows}


def _volumes(admin: Session, extra: Extra) -> Iterator[str]:
    rows = admin.call("GET", ready.volume_url(admin, "/volumes/detail?all_tenants=1"))["volumes"]
    return (row["id"] for row in rows if f"@{extra.name}#" in (row["os-vol-host-attr:host"] or ""))


def _remove_volumes(admin: Session, extra: Extra) -> None:
    deadline = time.monotonic() + DELETED_SECONDS
    while left := set(_volumes(admin, extra)):
        if time.monotonic() > deadline:
            raise LabError(f"{extra.name}: {len(left)} volumes cannot be deleted: {', '.join(sorted(left)[:3])}")
        snapshots = admin.call("GET", ready.volume_url(admin, "/snapshots/detail?all_tenants=1"))["snapshots"]
        for row in snapshots:
            if row["volume_id"] in left and row["status"] != "deleting":
                admin.call("DELETE", ready.volume_url(admin, f"/snapshots/{row['id']}"), ok=(400, 404))
        for key in left:
            admin.call("DELETE", ready.volume_url(admin, f"/volumes/{key}"), ok=(400, 404))
        time.sleep(1)
