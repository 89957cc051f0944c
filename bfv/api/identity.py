# SPDX-License-Identifier: Apache-2.0
"""Who calls over HTTP: keystonemiddleware asks keystone about the token, and this turns its answer into a ``Caller``.

The token goes into the caller's plugin, in memory, so that flows act with the user's own rights beside a service
token. Without a ``[keystone_authtoken]`` of its own the API validates tokens as the service user.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import webob
import webob.exc
from keystoneauth1 import access, loading
from keystoneauth1.identity.access import AccessInfoPlugin
from keystonemiddleware import auth_token, opts
from oslo_config import cfg

from bfv.api.faults import AGAIN, Fault
from bfv.config import SERVICE_GROUP
from bfv.types import Caller

Wsgi = Callable[[dict[str, Any], Any], Any]
GROUP = "keystone_authtoken"
CACHE = "bfv.tokens"
KEPT = 10_000


class TokenCache:
    """What keystone said of tokens, by their hashes: shared by all threads, bounded, each for a while.

    The interface is that of a memcached client, which keystonemiddleware wants; its own in-process cache is one for
    each thread and has no bound. With ``memcached_servers`` this one is not used.
    """

    def __init__(self, size: int = KEPT) -> None:
        self._size, self._lock = size, threading.Lock()
        self._known: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def get(self, key: str) -> Any:
        """Return what is known of a token, None if nothing is (any more)."""
        with self._lock:
            until, value = self._known.get(key, (0.0, None))
            return value if time.monotonic() < until else None

    def set(self, key: str, value: Any, time: int = 0) -> None:
        """Keep what is known of a token for so many seconds; a negative time keeps nothing."""
        with self._lock:
            self._known[key] = (_now() + time, value)
            self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)


def _now() -> float:
    return time.monotonic()


class _Guard(auth_token.AuthProtocol):  # type: ignore[misc]
    """keystonemiddleware's, but for what it says in plain text while keystone gives no answer."""

    def process_request(self, request: Any) -> Any:
        """Return an answer for a request that may not pass, else None."""
        try:
            return super().process_request(request)
        except webob.exc.HTTPServiceUnavailable:
            fault = Fault(503, "Keystone gives no answer. Try again later.", {"Retry-After": str(AGAIN)})
            answer = webob.Response(json_body=fault.body(), status=fault.code)
            answer.headers.update(fault.headers)
            return answer


class Identity:
    """Lets requests with a valid token in, and tells who they come from."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        loading.register_auth_conf_options(conf, GROUP)
        for group, group_opts in opts.list_auth_token_opts():
            conf.register_opts(group_opts, group)
        loading.load_auth_from_conf_options(conf, SERVICE_GROUP)
        self._conf = conf
        self._auth_url = str(conf[GROUP].www_authenticate_uri or conf[SERVICE_GROUP].auth_url)

    def guard(self, app: Wsgi) -> Wsgi:
        """Return a WSGI application that lets only requests with a valid token reach ``app``; others get 401."""
        conf = self._conf[GROUP]
        settings = {
            "oslo_config_config": self._conf,
            "service_token_roles_required": True,
            "www_authenticate_uri": self._auth_url,
            "cache": CACHE,
        }
        if conf.auth_type is None and conf.auth_section is None:
            settings["auth_section"] = SERVICE_GROUP
        guarded: Wsgi = _Guard(app, settings)
        if conf.memcached_servers:
            return guarded
        tokens = TokenCache()

        def with_cache(environ: dict[str, Any], start_response: Any) -> Any:
            environ[CACHE] = tokens
            return guarded(environ, start_response)

        return with_cache

    def caller(self, environ: Mapping[str, Any], request_id: str, own_id: str | None = None) -> Caller:
        """Return who a request that was let in comes from, with its id that goes on and, if it has one, its own.

        Raises Fault 403 for a token of no project.
        """
        found = access.create(body=environ["keystone.token_info"], auth_token=environ["HTTP_X_AUTH_TOKEN"].strip())
        if not found.project_id:
            raise Fault(403, "The token is of no project; get one that is scoped to a project.")
        return Caller(
            auth=AccessInfoPlugin(found, auth_url=self._auth_url),
            project_id=found.project_id,
            user_id=str(found.user_id),
            roles=tuple(found.role_names or ()),
            request_id=request_id,
            asked_as=own_id,
        )
