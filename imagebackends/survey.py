# SPDX-License-Identifier: Apache-2.0
"""What an operator's account can learn of cinder and glance without changing anything: for ``bfv check``."""

import datetime as dt
import email.utils
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import EndpointNotFound

from imagebackends.cinder.client import Clients
from imagebackends.glance import adapter as image_adapter
from imagebackends.http import told
from imagebackends.types import Access

CACHED = re.compile(r"image-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Pool:
    """A pool of a volume backend; ``fsid`` and ``rbd_pool`` are None where the driver is not rbd's."""

    name: str
    backend_name: str | None
    state: str
    free_gib: float | None
    fsid: str | None
    rbd_pool: str | None


@dataclass(frozen=True)
class VolumeType:
    """A volume type with its extra specs."""

    name: str
    extra_specs: Mapping[str, str] = field(default_factory=dict)

    @property
    def backend_name(self) -> str | None:
        """The backend that the type leads to, None when any may be chosen."""
        return self.extra_specs.get("volume_backend_name")

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that the type allows (``cinder/volume/volume_types.py``), empty for all."""
        text = self.extra_specs.get("RESKEY:availability_zones", "")
        return tuple(zone.strip() for zone in text.split(",") if zone.strip())


@dataclass(frozen=True)
class Quota:
    """A project's limits in cinder, -1 unlimited; gigabytes are GiB."""

    volumes: int
    volumes_used: int
    gigabytes: int
    gigabytes_used: int


@dataclass(frozen=True)
class Store:
    """A store of glance; ``fsid`` is None where it is no Ceph or glance does not tell."""

    id: str
    type: str
    default: bool
    fsid: str | None


@dataclass(frozen=True)
class Service:
    """A volume service of cinder; ``backend_state`` is None where it is not told (before 3.49)."""

    host: str
    state: str
    status: str
    disabled_reason: str | None = None
    backend_state: str | None = None


@dataclass(frozen=True)
class Cached:
    """A volume of cinder's image-volume cache; ``size`` in GiB, ``created_at`` in UTC without saying so."""

    image_id: str
    volume_id: str
    project_id: str
    size: int
    status: str
    created_at: dt.datetime


class Survey:
    """Asks as an administrator; every method raises NotAllowed where the rights do not suffice, MaybeRunning."""

    def __init__(self, clients: Clients, access: Access, cache_project: str | None = None) -> None:
        self._clients, self._access, self._cache_project = clients, access, cache_project

    def version(self) -> tuple[int, int]:
        """Return the microversion that is used."""
        return self._clients.version(self._access)

    def pools(self) -> list[Pool]:
        """Return the pools of all backends (``cinder/volume/drivers/rbd.py:_update_volume_stats``)."""
        answer = self._cinder("/scheduler-stats/get_pools", "list the storage pools", detail="true")
        return [_pool(each["name"], each.get("capabilities", {})) for each in answer["pools"]]

    def volume_services(self) -> dict[str, Service]:
        """Return the volume services by host, ``host@backend`` (``cinder/api/contrib/services.py``)."""
        answer = self._cinder("/os-services", "list cinder's services", binary="cinder-volume")
        return {
            each["host"]: Service(each["host"], each["state"], each["status"], each.get("disabled_reason"),
                                  each.get("backend_state"))
            for each in answer["services"]
        }  # fmt: skip

    def volume_types(self) -> dict[str, VolumeType]:
        """Return the volume types by name."""
        answer = self._cinder("/types", "list the volume types", is_public="None")
        return {
            each["name"]: VolumeType(each["name"], each.get("extra_specs") or {}) for each in answer["volume_types"]
        }

    def zones(self) -> dict[str, bool]:
        """Return cinder's availability zones and whether each is available."""
        answer = self._cinder("/os-availability-zone", "list cinder's availability zones")
        return {each["zoneName"]: bool(each["zoneState"]["available"]) for each in answer["availabilityZoneInfo"]}

    def quota(self, project_id: str) -> Quota:
        """Return a project's limits and use."""
        path = f"/os-quota-sets/{project_id}"
        answer = self._cinder(path, f"look at the quota of project {project_id}", usage="True")["quota_set"]
        volumes, gigabytes = answer["volumes"], answer["gigabytes"]
        return Quota(volumes["limit"], volumes["in_use"], gigabytes["limit"], gigabytes["in_use"])

    def default_volumes(self) -> int:
        """Return how many volumes a project may have that has no quota of its own, -1 unlimited."""
        return int(
            self._cinder("/os-quota-class-sets/default", "look at the default quota")["quota_class_set"]["volumes"]
        )

    def skew(self) -> dt.timedelta | None:
        """Return by how much cinder's clock is before ours, to the second; None where its answers bear no date."""
        adapter = self._adapter()
        before = dt.datetime.now(dt.UTC)
        with told("ask cinder for the time", self._access):
            answer = adapter.get("/limits")
        date = answer.headers.get("Date")
        return email.utils.parsedate_to_datetime(date) - before if date else None

    def compute(self) -> tuple[str, int | None] | None:
        """Return where the catalog says that cinder calls back, None for nowhere, and its newest microversion.

        The microversion is its minor number, None where nobody tells it.
        """
        settings = self._clients.settings
        with told("look for the compute service in the catalog", self._access):
            try:
                found = self._clients.session.get_endpoint_data(
                    auth=self._access.auth, service_type="compute", region_name=settings.region_name,
                    interface=settings.interface, discover_versions=True,
                )  # fmt: skip
            except EndpointNotFound:
                found = None
        if found is None:
            return None
        return str(found.url), int(found.max_microversion[1]) if found.max_microversion else None

    def stores(self) -> list[Store]:
        """Return glance's stores with the Ceph cluster of each (``glance/api/v2/discovery.py``, 2023.1)."""
        with told("list glance's stores", self._access):
            answer = image_adapter(self._clients.settings, self._clients.session, self._access).get(
                "/v2/info/stores/detail"
            )
        return [
            Store(each["id"], each.get("type", ""), str(each.get("default", "")).lower() == "true",
                  (each.get("properties") or {}).get("fsid"))
            for each in answer.json()["stores"]
        ]  # fmt: skip

    def cached(self, backend: str) -> list[Cached]:
        """Return the volumes on a backend that cinder's image-volume cache made, told by their names, oldest first.

        They are its entries as far as any API tells: read-only, named after their image
        (``cinder/volume/manager.py:_create_image_cache_volume_entry``). Of those that anybody may have named so, only
        the ones of the cache's own project count where that is known.
        """
        listed = [
            each
            for host in self._hosts(backend)
            for each in self._cinder("/volumes/detail", "look for volumes of cinder's cache", all_tenants="1",
                                     host=host)["volumes"]
        ]  # fmt: skip
        found = [
            Cached(str(each["name"])[len("image-") :], each["id"], each["os-vol-tenant-attr:tenant_id"], each["size"],
                   each["status"], dt.datetime.fromisoformat(each["created_at"]).replace(tzinfo=None))
            for each in listed
            if CACHED.fullmatch(each["name"] or "")
            and self._cache_project in (None, each["os-vol-tenant-attr:tenant_id"])
        ]  # fmt: skip
        return sorted(found, key=lambda each: each.created_at)

    def _hosts(self, backend: str) -> list[str]:
        """Return who has a backend's volumes: of active-active services each has its own (``cluster``, 3.7)."""
        cluster, _, pool = backend.partition("#")
        answer = self._cinder("/os-services", "list cinder's services", binary="cinder-volume")
        members = [f"{each['host']}#{pool}" for each in answer["services"] if each.get("cluster") == cluster]
        return members or [backend]

    def encrypted(self, names: Collection[str]) -> set[str]:
        """Return which of these volume types are encrypted (``cinder/api/v3/types.py``, its encryption)."""
        kinds = self._cinder("/types", "list the volume types", is_public="None")["volume_types"]
        return {
            each["name"]
            for each in kinds
            if each["name"] in names
            and self._cinder(f"/types/{each['id']}/encryption", "look at a type's encryption").get("provider")
        }

    def _cinder(self, path: str, act: str, **query: str) -> Any:
        with told(act, self._access):
            return self._adapter().get(path, params=query).json()

    def _adapter(self) -> Adapter:
        return self._clients.adapter(self._access)


def _pool(name: str, raw: Mapping[str, Any]) -> Pool:
    # cluster:conf:fsid:user:pool; a conf's path may hold a colon, so the parts are counted from the end.
    place = str(raw.get("location_info") or "").rsplit(":", 3)
    free = raw.get("free_capacity_gb")
    return Pool(
        name=name,
        backend_name=raw.get("volume_backend_name"),
        state=raw.get("backend_state") or "unknown",
        free_gib=free if isinstance(free, int | float) else None,
        fsid=place[1] if len(place) == 4 else None,
        rbd_pool=place[3] if len(place) == 4 else None,
    )
