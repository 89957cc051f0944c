# SPDX-License-Identifier: Apache-2.0
"""What is asked of a real nova's API, as an administrator: to lock a server, and to switch its guest off and on."""

from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from imagebackends.http import Settings, told
from imagebackends.types import Access

# 2.73: a lock has a reason (nova/api/openstack/compute/rest_api_version_history.rst).
VERSION = "2.73"


class Nova:
    """The compute API of the catalog, or at ``endpoint``."""

    def __init__(self, settings: Settings, session: Session, endpoint: str | None = None) -> None:
        self._settings, self._session, self._endpoint = settings, session, endpoint

    def show(self, access: Access, server_id: str) -> dict[str, Any]:
        """Return a server as nova's API tells it. Raises NotFound, NotAllowed, MaybeRunning."""
        with told(f"look at server {server_id}", access):
            shown: dict[str, Any] = self._adapter(access).get(f"/servers/{server_id}").json()["server"]
            return shown

    def act(self, access: Access, server_id: str, body: dict[str, Any]) -> None:
        """Ask for an action of ``POST /servers/{id}/action``. Raises InUse for a state that does not allow it."""
        with told(f"{next(iter(body))} server {server_id}", access):
            self._adapter(access).post(f"/servers/{server_id}/action", json=body)

    def _adapter(self, access: Access) -> Adapter:
        return Adapter(
            self._session,
            auth=access.auth,
            service_type="compute",
            region_name=self._settings.region_name,
            interface=self._settings.interface,
            endpoint_override=self._endpoint,
            default_microversion=VERSION,
            global_request_id=access.request_id,
        )
