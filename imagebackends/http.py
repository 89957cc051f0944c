# SPDX-License-Identifier: Apache-2.0
"""How this floor speaks HTTP: one session with sized pools and time-outs, and one table of foreign errors.

Nothing below repeats what changes something: keystoneauth would send a POST again after a read time-out
(``keystoneauth1/session.py:_send_request`` counts it as a failure to connect), and make a second volume.
"""

import contextlib
import functools
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.utils
from cinderclient import exceptions as cinder
from keystoneauth1 import exceptions as ksa
from keystoneauth1.session import Session, TCPKeepAliveAdapter

from imagebackends.errors import (
    BadRequest,
    InUse,
    MaybeRunning,
    NotAllowed,
    NotFound,
    OverQuota,
    Refused,
    StorageError,
    Unsupported,
)
from imagebackends.types import Access, Ceph


@dataclass(frozen=True)
class Settings:
    """Where the services are and how long to wait for them; times in seconds.

    ``ceph`` maps cells to their clusters, and ``ceph_python`` is a folder of librbd's bindings where Python has none:
    only what calls Ceph itself needs them. ``silent`` is called with a cell and a reason when its Ceph gave no answer.
    """

    region_name: str | None = None
    interface: str = "public"
    volume_endpoint: str | None = None
    image_endpoint: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    read_retries: int = 2
    pool_size: int = 64
    cafile: str | None = None
    insecure: bool = False
    ceph: Mapping[str, Ceph] = field(default_factory=dict)
    ceph_python: str | None = None
    silent: Callable[[str, str], None] | None = field(default=None, compare=False, repr=False)


def make_session(settings: Settings) -> Session:
    """Return a session for all threads; it holds no credentials, each call brings its own."""
    for name in _TELL_ADDRESSES:
        logging.getLogger(name).addFilter(_without_passwords)
    pooled = _Session()
    for scheme in ("http://", "https://"):
        pooled.mount(scheme, _Adapter(pool_connections=16, pool_maxsize=settings.pool_size))
    session = Session(session=pooled, verify=False if settings.insecure else (settings.cafile or True), app_name="bfv")
    # Session's own argument takes one number for both; requests takes a pair, and this is passed to it as it is.
    pair: Any = (settings.connect_timeout, settings.read_timeout)
    session.timeout = pair
    return session


# Loggers of keystoneauth's that warn of addresses which give no answer.
_TELL_ADDRESSES = tuple(f"keystoneauth.{name}" for name in ("session", "discover", "identity.base",
                                                            "identity.generic.base"))  # fmt: skip


def _without_passwords(record: logging.LogRecord) -> bool:
    """Leave out of what is logged the passwords in addresses, as errors do."""
    record.msg, record.args = _hide(record.getMessage()), ()
    return True


def _hide(words: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", words)


class _Session(requests.Session):
    """Reads the environment's proxies once for each host and not for each request, and no password from a .netrc.

    What keystoneauth asks for is whole already, but for a query that is given apart: merging it with a browser's
    defaults, its cookies and its redirects would cost more than sending it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def request(self, method: Any, url: Any, *more: Any, **kwargs: Any) -> requests.Response:
        """Send a request; what is not plain, or has listeners, goes the long way."""
        data = kwargs.get("data")
        whole = _PLAIN.issuperset(kwargs) and isinstance(data, str | bytes | None) and _ORDINARY.fullmatch(url)
        if more or not whole or self.hooks["response"] or kwargs.get("allow_redirects", True):
            return super().request(method, url, *more, **kwargs)
        plain = requests.PreparedRequest()
        plain.method, plain.url, plain.hooks = method, url, {}
        plain.body = data.encode() if isinstance(data, str) else data
        plain.headers = requests.structures.CaseInsensitiveDict(kwargs["headers"])
        if plain.body is not None:
            plain.headers["Content-Length"] = str(len(plain.body))
        response = self.get_adapter(url).send(
            plain, timeout=kwargs["timeout"], verify=kwargs["verify"], proxies=_proxies(*urlsplit(url)[:2])
        )
        # Read whole, as its connection is the next one's.
        _ = response.content
        return response

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        found = {**_proxies(*urlsplit(url)[:2]), **(proxies or {})}
        return super().merge_environment_settings(url, found, stream, verify, cert)


class _Adapter(TCPKeepAliveAdapter):
    """Looks for a service's connections once, and takes each answer for UTF-8 and for one without cookies."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pools: dict[tuple[Any, ...], Any] = {}

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        key = (*urlsplit(request.url)[:2], verify, cert, *(proxies or {}).items())
        found = self._pools.get(key)
        # One that others have pushed out of the manager is closed and has no queue.
        if found is None or found.pool is None:
            found = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._pools[key] = found
        return found

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.reason, response.raw = resp.status, resp.reason, resp
        response.headers = requests.structures.CaseInsensitiveDict(resp.headers)
        response.url, response.request, response.encoding = req.url, req, "utf-8"
        return response


# What keystoneauth gives with each request, and an address that needs neither quoting nor its password taken out.
_PLAIN = frozenset(("headers", "data", "timeout", "verify", "allow_redirects"))
_ORDINARY = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[!$-;=?-\[\]_a-z~]*")


@functools.lru_cache(maxsize=256)
def _proxies(scheme: str, netloc: str) -> dict[str, str]:
    return requests.utils.get_environ_proxies(f"{scheme}://{netloc}")


CODES: dict[int, type[StorageError]] = {
    400: BadRequest,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    406: Unsupported,
    409: InUse,
    413: OverQuota,
    501: Unsupported,
}
# What the asker does next, where the service's own words do not say.
NEXT: dict[type[StorageError], str] = {
    OverQuota: "; delete volumes, or have the project's volume quota raised",
    Unsupported: "; this release of the service cannot do it",
    MaybeRunning: "; the outcome is not known, look again when the service answers",
}
SERVICE_ROLE = (
    "Unauthorized: the user's token is not valid, or the service user lacks the role that the service wants "
    "of service tokens (`service`, see service_token_roles); grant it, or sign in again."
)
SIGN_IN = "; sign in again, and see that the user, the project and the application credential still exist"
STRANGER = (
    "no answer that makes sense: this 404 bears no request id, so it is a proxy's or of another address than the "
    "service's; see the catalog's endpoint"
)
# Where keystone gives tokens, with passwords and by federation (keystoneauth1/identity/v3).
KEYSTONE = re.compile(r"/auth/tokens(\?|$)|/OS-FEDERATION/")


@contextlib.contextmanager
def told(act: str, access: Access) -> Iterator[None]:
    """Turn the errors of both client libraries into ours; ``act`` says in words what was asked.

    An answer of the table did nothing. Every other answer, and none, may have. Where no service named the request,
    the error bears the id that ``access`` sent along.
    """
    try:
        yield
    except Exception as error:
        kind, words = _meaning(error)
        request_id = getattr(error, "request_id", None) or access.request_id
        raise kind(f"{act}: {words}{NEXT.get(kind, '')}", request_id=request_id) from error


def _meaning(error: Exception) -> tuple[type[StorageError], str]:
    """Return what a foreign error means to a flow, in words; one that is nobody's answer goes on as it is."""
    if isinstance(error, ksa.HttpError) and KEYSTONE.search(error.url or ""):
        return _of_keystone(error)
    if isinstance(error, cinder.ClientException | ksa.HttpError):
        return _of_answer(error)
    if isinstance(error, ksa.EndpointNotFound | ksa.EmptyCatalog):
        # Never NotFound: what cannot be asked about is not gone.
        return Refused, f"the catalog has no such service, or not in this region and interface: {error}"
    if isinstance(error, ksa.AuthorizationFailure | ksa.MissingAuthPlugin):
        return NotAllowed, f"keystone gave no token: {error}{SIGN_IN}"
    if isinstance(error, cinder.UnsupportedVersion):
        return Unsupported, f"this cinder is too old: {error}"
    if isinstance(error, ksa.ClientException | requests.RequestException):
        return MaybeRunning, f"no answer: {type(error).__name__}: {_plain(error)}"
    if isinstance(error, AttributeError | LookupError | TypeError | ValueError):
        # cinderclient takes every body for one of cinder's; a proxy's page makes it stumble.
        return MaybeRunning, f"no answer that makes sense: {type(error).__name__}: {error}"
    raise error


def _of_keystone(error: Any) -> tuple[type[StorageError], str]:
    """Keystone's answer says nothing of the volume, and its 404 is about an application credential."""
    words = f"keystone: {_plain(error.message)} (HTTP {error.http_status})"
    if error.http_status in (400, 401, 403, 404):
        return NotAllowed, words + SIGN_IN
    return MaybeRunning, words


def _of_answer(error: Any) -> tuple[type[StorageError], str]:
    code = getattr(error, "http_status", None) or getattr(error, "code", None)
    if code == 404 and not error.request_id:
        # Cinder's own bears one (x-compute-request-id); taken for it, this would make a volume look gone.
        return MaybeRunning, f"{STRANGER} (HTTP 404)"
    words = SERVICE_ROLE if code == 401 else _plain(error.message or "no reason given")
    if code == 403:
        words += "; grant the role that the service's policy asks for"
    return CODES.get(code or 0, MaybeRunning), f"{words} (HTTP {code})"


def _plain(words: object) -> str:
    """Leave out what keystoneauth adds to a service's words, and passwords in addresses."""
    return _hide(re.sub(r" \(HTTP \d+\)( \(Request-ID: \S+\))?$", "", str(words)))
