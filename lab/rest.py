# SPDX-License-Identifier: Apache-2.0
"""Just enough of an OpenStack client, of the standard library only, to set the lab up and ask if it lives."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from lab.settings import ADMIN_PASSWORD, AUTH_URL, LabError

# The lab is on loopback: a proxy of the caller's environment must not see its calls.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
VOLUME_VERSION = "volume 3.71"


@dataclass(frozen=True)
class Session:
    """A token and the project it is scoped to."""

    token: str
    project_id: str
    roles: frozenset[str]

    def call(self, method: str, url: str, body: object = None, ok: tuple[int, ...] = ()) -> Any:
        """Return the JSON answer; an HTTP error whose status is in ``ok`` gives None."""
        headers = {"X-Auth-Token": self.token, "OpenStack-API-Version": VOLUME_VERSION}
        try:
            return request(method, url, body, headers)[0]
        except urllib.error.HTTPError as error:
            if error.code in ok:
                return None
            raise LabError(f"{method} {url}: {error.code} {error.read().decode()[:500]}") from error


def request(method: str, url: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[Any, Any]:
    data = None if body is None else json.dumps(body).encode()
    all_headers = {"Content-Type": "application/json", "Accept": "application/json"} | (headers or {})
    with OPENER.open(urllib.request.Request(url, data, all_headers, method=method), timeout=60) as answer:
        text = answer.read()
        return (json.loads(text) if text else None), answer.headers


def answers(url: str) -> bool:
    """Whether a service gives a good answer to an unauthenticated GET of its versions."""
    try:
        request("GET", url)
    except urllib.error.HTTPError as error:
        return error.code == 300
    except OSError:
        return False
    return True


def login(
    user: str = "admin",
    password: str = ADMIN_PASSWORD,
    project: str = "admin",
    project_domain: str = "Default",
    user_domain: str = "Default",
) -> Session:
    body = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": user, "password": password, "domain": {"name": user_domain}}},
            },
            "scope": {"project": {"name": project, "domain": {"name": project_domain}}},
        }
    }
    try:
        answer, headers = request("POST", f"{AUTH_URL}/auth/tokens", body)
    except urllib.error.HTTPError as error:
        raise LabError(f"login of {user} to {project}: {error.code} {error.read().decode()[:500]}") from error
    token = answer["token"]
    return Session(
        headers["X-Subject-Token"], token["project"]["id"], frozenset(role["name"] for role in token["roles"])
    )
