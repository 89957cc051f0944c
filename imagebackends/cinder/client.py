# SPDX-License-Identifier: Apache-2.0
"""What we use of python-cinderclient, made for each act over one session, and the values that its answers become.

One object serves one act: cinderclient pins the first request id it sees to all later calls of the same object
(``cinderclient/client.py:SessionClient.request``), so a shared one would mix up strangers' requests.
"""

import datetime as dt
import functools
import threading
from collections.abc import Mapping
from typing import Any

from cinderclient import api_versions
from cinderclient.client import SessionClient
from cinderclient.v3.attachments import VolumeAttachmentManager
from cinderclient.v3.messages import MessageManager
from cinderclient.v3.volume_snapshots import SnapshotManager
from cinderclient.v3.volumes import VolumeManager
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from imagebackends.errors import NotFound, Refused, Unsupported
from imagebackends.http import Settings, told
from imagebackends.types import Access, Attachment, Disk

# 3.46: an image of a volume-backed server is created from its snapshots (cinder/api/microversions.py).
NEEDED = (3, 46)
WANTED = (3, 71)
REIMAGE = (3, 68)
TIME_FILTER = (3, 60)
FORCED_SNAPSHOT = "3.65"


class Client:
    """As cinderclient's own, but that makes all of its thirty managers, which costs half as much as a call."""

    def __init__(self, version: tuple[int, int], **words: Any) -> None:
        self.api_version = _api_version(version)
        self.client = SessionClient(api_version=self.api_version, user_agent="python-cinderclient", **words)

    @property
    def volumes(self) -> Any:
        """Volumes."""
        return VolumeManager(self)

    @property
    def volume_snapshots(self) -> Any:
        """Snapshots of volumes."""
        return SnapshotManager(self)

    @property
    def attachments(self) -> Any:
        """Attachments of volumes."""
        return VolumeAttachmentManager(self)

    @property
    def messages(self) -> Any:
        """What cinder tells its users."""
        return MessageManager(self)


@functools.lru_cache
def _api_version(version: tuple[int, int]) -> Any:
    return api_versions.get_api_version(".".join(map(str, version)))


class Clients:
    """Makes clients. The microversion is asked for once in the life of a process."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self.settings, self.session = settings, session
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None

    def version(self, access: Access) -> tuple[int, int]:
        """Return the highest microversion that this cinder, cinderclient and this code know. Raises Unsupported."""
        if self._version is None:
            first = self._lock.acquire(blocking=False)
            if not first:
                # Somebody asks. If that fails all ask at once: in turn they would wait for each other's time-outs.
                with self._lock:
                    pass
            try:
                self._version = self._version or self._negotiate(access)
            finally:
                if first:
                    self._lock.release()
        return self._version

    def reads(self, access: Access) -> Client:
        """Return a client whose calls may be repeated."""
        return self._client(access, self.settings.read_retries)

    def writes(self, access: Access) -> Client:
        """Return a client that sends each call once."""
        return self._client(access, 0)

    def adapter(self, access: Access) -> Adapter:
        """Return a plain adapter to cinder, for what cinderclient has no words for."""
        return Adapter(
            self.session,
            auth=access.auth,
            service_type="block-storage",
            region_name=self.settings.region_name,
            interface=self.settings.interface,
            endpoint_override=self.settings.volume_endpoint,
            global_request_id=access.request_id,
            connect_retries=self.settings.read_retries,
            default_microversion=".".join(map(str, self.version(access))),
        )

    def _client(self, access: Access, retries: int) -> Client:
        return Client(
            self.version(access),
            session=self.session,
            auth=access.auth,
            region_name=self.settings.region_name,
            interface=self.settings.interface,
            service_type="block-storage",
            endpoint_override=self.settings.volume_endpoint,
            global_request_id=access.request_id,
            connect_retries=retries,
            status_code_retries=retries,
        )

    def _negotiate(self, access: Access) -> tuple[int, int]:
        most = self._offered(access, f"{self._endpoint(access).rpartition('/v3')[0]}/")
        own = api_versions.APIVersion(api_versions.MAX_VERSION)
        found = min(most, WANTED, (own.ver_major, own.ver_minor))
        if found < NEEDED:
            raise Unsupported(f"Cinder speaks up to 3.{found[1]}; 3.{NEEDED[1]} (Pike) is needed.")
        return found

    def _endpoint(self, access: Access) -> str:
        with told("look for cinder in the catalog", access):
            endpoint = self.settings.volume_endpoint or self.session.get_endpoint(
                auth=access.auth,
                service_type="block-storage",
                region_name=self.settings.region_name,
                interface=self.settings.interface,
            )
        if not endpoint:
            words = "The catalog has no block-storage service; set [storage] volume_endpoint or mend it."
            raise Refused(words, request_id=access.request_id)
        if "/v3" not in endpoint:
            words = f"The block-storage endpoint {endpoint} has no /v3; set [storage] volume_endpoint or mend it."
            raise Refused(words, request_id=access.request_id)
        return str(endpoint)

    def _offered(self, access: Access, root: str) -> tuple[int, int]:
        # The document under /v3 wants a token, the one at the root does not (cinder/api/versions.py).
        retries = self.settings.read_retries
        try:
            with told("ask cinder for its version", access):
                answer = self.session.get(
                    root, authenticated=False, connect_retries=retries, status_code_retries=retries
                )
                return max((_pair(each.get("version")) for each in answer.json()["versions"]), default=(3, 0))
        except NotFound as error:
            # It says nothing of any volume.
            words = f"{error}; set [storage] volume_endpoint or mend the catalog."
            raise Refused(words, request_id=error.request_id) from error


def _pair(version: str | None) -> tuple[int, int]:
    major, _, minor = (version or "3.0").partition(".")
    return int(major), int(minor or 0)


def disk(volume: Any) -> Disk:
    """Return a volume of cinder's answer as a value (``cinder/api/v3/views/volumes.py``)."""
    # Its attributes are cinder's own words; ``to_dict`` would copy all of them deeply.
    raw: Mapping[str, Any] = volume if isinstance(volume, Mapping) else vars(volume)
    image = raw.get("volume_image_metadata") or {}
    return Disk(
        id=raw["id"],
        project_id=raw.get("os-vol-tenant-attr:tenant_id") or "",
        size=raw["size"],
        status=raw["status"],
        created_at=dt.datetime.fromisoformat(raw["created_at"]).replace(tzinfo=None),
        name=raw.get("name") or "",
        volume_type=raw.get("volume_type"),
        availability_zone=raw.get("availability_zone"),
        backend=raw.get("cluster_name") or raw.get("os-vol-host-attr:host"),
        bootable=str(raw.get("bootable")).lower() == "true",
        multiattach=bool(raw.get("multiattach")),
        image_id=image.get("image_id"),
        snapshot_id=raw.get("snapshot_id"),
        servers=tuple(each["server_id"] for each in raw.get("attachments") or ()),
        metadata=raw.get("metadata") or {},
        image_metadata=image,
    )


def attachment(raw: Any) -> Attachment:
    """Return an attachment of cinder's answer as a value (``cinder/api/v3/views/attachments.py``)."""
    found: Mapping[str, Any] = raw if isinstance(raw, Mapping) else raw.to_dict()
    found = found.get("attachment", found)
    return Attachment(
        id=found["id"],
        disk_id=found["volume_id"],
        server_id=found.get("instance"),
        status=found.get("status") or "",
        connection=found.get("connection_info") or {},
    )
