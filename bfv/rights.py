# SPDX-License-Identifier: Apache-2.0
"""Whose token does what: the one place that turns a caller and a purpose into an ``Access``.

The caller's tokens are kept in memory only, for as long as the flow runs that they are for. Where none is
at hand (after a crash, or behind a host), the service user acts scoped to the server's own project, if the
operator granted it an inherited role there; else the act is not allowed, and the flow keeps its intent.
"""

import threading
import time
from typing import Any, Protocol
from urllib.parse import quote

from keystoneauth1 import exceptions as ksa
from keystoneauth1 import loading
from keystoneauth1.identity import v3
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.service_token import ServiceTokenAuthWrapper
from keystoneauth1.session import Session
from oslo_config import cfg

from bfv.config import SERVICE_GROUP
from bfv.errors import BadConfig, MaybeRunning, NotAllowed
from bfv.types import Caller
from imagebackends.types import Access


class Owned(Protocol):
    """What an act is for: its project and its request."""

    @property
    def id(self) -> str:
        """The intent that the act belongs to."""

    @property
    def project_id(self) -> str:
        """The project whose things are touched."""

    @property
    def request_id(self) -> str:
        """The request that the act belongs to."""


# Seconds for which a token that was looked at is good: keystoneauth renews one two minutes before its end.
GOOD = 1.0


class _Beside(ServiceTokenAuthWrapper):
    """A user's token beside a service token; to see whether they end soon costs more than the rest of their sending."""

    _headers: tuple[float, dict[str, str]] = (0.0, {})

    def get_headers(self, session: Session, **kwargs: Any) -> dict[str, str] | None:
        good_until, headers = self._headers
        if time.monotonic() > good_until:
            headers = super().get_headers(session, **kwargs) or {}
            self._headers = (time.monotonic() + GOOD, headers)
        return dict(headers)

    def invalidate(self) -> bool:
        self._headers = (0.0, {})
        return bool(super().invalidate())


class Rights:
    """Hands out ``Access``; ``session`` is used to fetch tokens and is shared by all threads."""

    def __init__(self, conf: cfg.ConfigOpts, session: Session) -> None:
        self._conf = conf
        self._session = session
        self._lock = threading.Lock()
        self._callers: dict[str, Caller] = {}
        self._storage: dict[str, Access] = {}
        self._scoped: dict[str, BaseAuthPlugin] = {}
        self._service: BaseAuthPlugin | None = None
        self._roles: tuple[str, ...] | None = None
        self._home: str | None = None

    def keep(self, intent_id: str, caller: Caller) -> None:
        """Remember the caller of an intent until ``forget``."""
        with self._lock:
            self._callers[intent_id] = caller
            self._storage.pop(intent_id, None)

    def lend(self, intent_id: str, other_id: str) -> None:
        """Let another intent be finished with the rights of the caller of this one."""
        with self._lock:
            if intent_id in self._callers:
                self._callers[other_id] = self._callers[intent_id]

    def forget(self, intent_id: str) -> None:
        """Drop the caller of an intent and with it the token."""
        with self._lock:
            self._callers.pop(intent_id, None)
            self._storage.pop(intent_id, None)

    def image(self, caller: Caller) -> Access:
        """Return the caller's own rights: what it may not see, it may not boot."""
        return Access(caller.auth, caller.project_id, caller.request_id)

    def storage(self, act: Owned) -> Access:
        """Return rights to make, bind and remove things in the act's project.

        The caller's token beside a service token, where this process has it; else the service user's,
        scoped to the project. Raises NotAllowed without either, MaybeRunning while keystone is away.
        """
        with self._lock:
            caller, access = self._callers.get(act.id), self._storage.get(act.id)
        if caller is None or caller.project_id != act.project_id:
            return self.sharing(act)
        if access is None:
            access = self.beside(caller)
            with self._lock:
                if self._callers.get(act.id) is caller:
                    self._storage[act.id] = access
        return access

    def sharing(self, act: Owned) -> Access:
        """Return the service user's rights in the act's project: with the role admin there it may read, beside what
        is the project's, what is its own. Raises NotAllowed, MaybeRunning while keystone is away.
        """
        auth = _Beside(user_auth=self.scoped(act.project_id), service_auth=self.service())
        return Access(auth, act.project_id, act.request_id)

    def beside(self, caller: Caller) -> Access:
        """Return the caller's rights beside a service token."""
        auth = _Beside(user_auth=caller.auth, service_auth=self.service())
        return Access(auth, caller.project_id, caller.request_id)

    def everywhere(self, request_id: str) -> Access | None:
        """Return the service user's rights to see volumes of all projects, None if it is no admin."""
        auth = self.service()
        if "admin" not in self.roles():
            return None
        if self._home is None:
            self._home = str(auth.get_project_id(self._session))
        return Access(auth, self._home, request_id, everywhere=True)

    def roles(self) -> tuple[str, ...]:
        """Return the roles of the service user in its own project."""
        if self._roles is None:
            self._roles = tuple(self._token(self.service(), "in its own project").role_names)
        return self._roles

    def roles_in(self, project_id: str) -> tuple[str, ...]:
        """Return the roles of the service user in a project. Raises NotAllowed if it has none."""
        return tuple(self._token(self.scoped(project_id), f"in project {project_id}").role_names)

    def service(self) -> BaseAuthPlugin:
        """Return the service user in its own project. Raises BadConfig without a [service_user]."""
        with self._lock:
            if self._service is None:
                self._service = loading.load_auth_from_conf_options(self._conf, SERVICE_GROUP)
            if self._service is None:
                raise BadConfig(f"Set auth_type and what it needs in [{SERVICE_GROUP}] of the configuration file.")
            return self._service

    def scoped(self, project_id: str) -> BaseAuthPlugin:
        """Return the service user scoped to a project. Raises NotAllowed if it has no role there."""
        with self._lock:
            auth = self._scoped.get(project_id)
        if auth is None:
            self.service()
            group = self._conf[SERVICE_GROUP]
            auth = v3.Password(
                auth_url=group.auth_url,
                username=group.username,
                password=group.password,
                user_id=group.user_id,
                user_domain_id=group.user_domain_id,
                user_domain_name=group.user_domain_name,
                project_id=project_id,
            )
            self._token(auth, f"in project {project_id}")
            with self._lock:
                auth = self._scoped.setdefault(project_id, auth)
        return auth

    def has_project(self, caller: Caller, project_id: str) -> bool | None:
        """Return whether there is a project, as keystone tells the caller; None where it does not say."""
        try:
            self._session.get(f"/projects/{quote(project_id, safe='')}", auth=caller.auth,
                              endpoint_filter={"service_type": "identity", "min_version": (3, 0)},
                              headers={"Accept": "application/json"})  # fmt: skip
        except ksa.NotFound:
            return False
        except ksa.ClientException:
            return None
        return True

    def _token(self, auth: BaseAuthPlugin, where: str) -> Any:
        try:
            return auth.get_access(self._session)  # type: ignore[attr-defined]
        except (ksa.Unauthorized, ksa.Forbidden) as error:
            raise NotAllowed(
                f"The service user has no role {where}; grant it an inherited role on the domain "
                "(`openstack role add --inherited`), or act with a token of the project."
            ) from error
        except ksa.ClientException as error:
            raise MaybeRunning(f"Keystone gives the service user no token {where}: {error}") from error
