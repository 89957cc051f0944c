# SPDX-License-Identifier: Apache-2.0
"""How this floor speaks HTTP: one session with sized pools and time-outs, and one table of foreign errors.

Nothing below repeats what changes something: keystoneauth would send a POST again after a read time-out
(``keystoneauth1/session.py:_send_request`` counts it as a failure to connect), and make a second volume.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
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
    StorageError,
    Unsupported,
)


@dataclass(frozen=True)
class Settings:
    """Where the services are and how long to wait for them; times in seconds."""

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


def make_session(settings: Settings) -> Session:
    """Return a session for all threads; it holds no credentials, each call brings its own."""
    pooled = requests.Session()
    for scheme in ("http://", "https://"):
        pooled.mount(scheme, TCPKeepAliveAdapter(pool_connections=16, pool_maxsize=settings.pool_size))
    session = Session(session=pooled, verify=False if settings.insecure else (settings.cafile or True), app_name="bfv")
    # Session's own argument takes one number for both; requests takes a pair, and this is passed to it as it is.
    pair: Any = (settings.connect_timeout, settings.read_timeout)
    session.timeout = pair
    return session


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
SERVICE_ROLE = (
    "Unauthorized: the user's token is not valid, or the service user lacks the role that the service wants "
    "of service tokens (`service`, see service_token_roles); grant it, or sign in again."
)


@contextlib.contextmanager
def told(act: str) -> Iterator[None]:
    """Turn the errors of both client libraries into ours; ``act`` says in words what was asked.

    An answer of the table did nothing. Every other answer, and none, may have.
    """
    try:
        yield
    except (cinder.ClientException, ksa.HttpError) as error:
        raise _of_answer(act, error) from error
    except (ksa.EndpointNotFound, ksa.EmptyCatalog) as error:
        raise NotFound(f"{act}: the catalog has no such service: {error}") from error
    except (ksa.Unauthorized, ksa.AuthorizationFailure, ksa.MissingAuthPlugin) as error:
        raise NotAllowed(f"{act}: {SERVICE_ROLE}") from error
    except cinder.UnsupportedVersion as error:
        raise Unsupported(f"{act}: this cinder is too old: {error}") from error
    except (ksa.ClientException, requests.RequestException) as error:
        raise MaybeRunning(f"{act}: no answer: {type(error).__name__}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # cinderclient takes every body for one of cinder's; a proxy's page makes it stumble.
        raise MaybeRunning(f"{act}: no answer that makes sense: {type(error).__name__}: {error}") from error


def _of_answer(act: str, error: Any) -> StorageError:
    code = getattr(error, "http_status", None) or getattr(error, "code", None)
    request_id = getattr(error, "request_id", None)
    kind = CODES.get(code or 0, MaybeRunning)
    words = getattr(error, "message", None) or str(error) or "no reason given"
    if code == 401:
        words = SERVICE_ROLE
    return kind(f"{act}: {words} (HTTP {code})", request_id=request_id)
