# SPDX-License-Identifier: Apache-2.0
"""A cloud as the contract sees it: addresses, people, and calls as plain as HTTP is."""

import time
from dataclasses import dataclass, field

import requests

TIMEOUT = 120


@dataclass(frozen=True)
class Person:
    name: str
    password: str
    project: str


@dataclass(frozen=True)
class Tenant:
    id: str
    name: str
    users: dict[str, tuple[Person, str]]

    def person(self, role):
        return self.users[role][0]

    def user_id(self, role):
        return self.users[role][1]


@dataclass
class Site:
    auth_url: str
    image_url: str
    volume_url: str
    compute_url: str
    nova_url: str
    backends: dict[str, str]
    fsids: dict[str, str]
    internal_project: str
    control_url: str | None = None
    tokens: dict[Person, str] = field(default_factory=dict)

    def password(self, who, **scope):
        user = {"name": who.name, "domain": {"id": "default"}, "password": who.password}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, **scope}}

    def scope(self, project):
        return {"scope": {"project": {"name": project, "domain": {"id": "default"}}}}

    def login(self, body, **params):
        return requests.post(f"{self.auth_url}/auth/tokens", json=body, params=params, timeout=TIMEOUT)

    def token(self, who):
        if who is None or isinstance(who, str):
            return who
        if who not in self.tokens:
            answer = self.login(self.password(who, **self.scope(who.project)))
            assert answer.status_code == 201, answer.text
            self.tokens[who] = answer.headers["X-Subject-Token"]
        return self.tokens[who]

    def call(self, who, method, url, body=None, *, beside=None, headers=(), **kwargs):
        """Call as somebody (a Person, a token, or None), with ``beside`` as the service that passes it on."""
        sent = dict(headers)
        if who is not None:
            sent["X-Auth-Token"] = self.token(who)
        if beside is not None:
            sent["X-Service-Token"] = self.token(beside)
        if body is not None:
            kwargs["json"] = body
        return requests.request(method, url, headers=sent, timeout=TIMEOUT, **kwargs)

    def identity(self, who, method, path, body=None, **kwargs):
        return self.call(who, method, self.auth_url + path, body, **kwargs)

    def image(self, who, method, path, body=None, **kwargs):
        headers = dict(kwargs.pop("headers", {}))
        if method == "PATCH":
            headers["Content-Type"] = "application/openstack-images-v2.1-json-patch"
        return self.call(who, method, self.image_url + path, body, headers=headers, **kwargs)

    def volume(self, who, method, path, body=None, *, version="3.71", **kwargs):
        headers = dict(kwargs.pop("headers", {}))
        if version:
            headers["OpenStack-API-Version"] = f"volume {version}"
        return self.call(who, method, self.volume_url + path, body, headers=headers, **kwargs)

    def upload(self, who, image_id, data):
        headers = {"Content-Type": "application/octet-stream"}
        return self.image(who, "PUT", f"/v2/images/{image_id}/file", data=data, headers=headers)

    def states(self, who, volume_id, *last, seconds=120):
        """Look at a volume until it is in one of the states (None: gone); return the states that were seen."""
        seen, deadline = [], time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.volume(who, "GET", f"/volumes/{volume_id}")
            state = None if answer.status_code == 404 else answer.json()["volume"]["status"]
            if seen[-1:] != [state]:
                seen.append(state)
            if state in last:
                return seen
            time.sleep(0.05)
        raise AssertionError(f"volume {volume_id} went {seen} and not to {last}")

    def settle(self, who, volume_id, *last):
        self.states(who, volume_id, *last)
        return self.show(who, volume_id)

    def show(self, who, volume_id):
        return self.volume(who, "GET", f"/volumes/{volume_id}").json().get("volume")

    def remove(self, admin, volume_id):
        """Remove a volume with its snapshots and attachments, whatever state a test left it in."""
        query = {"volume_id": volume_id, "all_tenants": 1}
        for row in self.volume(admin, "GET", "/attachments", params=query).json()["attachments"]:
            service = Person("bfv", "labsvc", "service")
            self.volume(service, "DELETE", f"/attachments/{row['id']}", beside=service)
        if self.volume(admin, "GET", f"/volumes/{volume_id}").status_code == 404:
            return
        self.states(admin, volume_id, "available", "error", "deleting", None)
        self.volume(admin, "DELETE", f"/volumes/{volume_id}", params={"cascade": "true"})
        self.states(admin, volume_id, None)


def cinder_headers(answer, version="3.71"):
    """Check the headers of an answer of Cinder's that has a body."""
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert answer.headers["x-compute-request-id"] == answer.headers["x-openstack-request-id"]
    assert answer.headers["OpenStack-API-Version"] == f"volume {version}"
    assert answer.headers["Vary"] == "OpenStack-API-Version"


NAMES = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    406: "computeFault",
    409: "conflictingRequest",
    500: "computeFault",
    503: "serviceUnavailable",
}


def refused(answer, status, message, version="3.71"):
    """Check that Cinder refused with exactly these words."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.json() == {NAMES[status]: {"code": status, "message": message}}
    cinder_headers(answer, version)


def over_quota(answer, message):
    assert answer.status_code == 413, (answer.status_code, answer.text)
    assert answer.json() == {"overLimit": {"code": 413, "message": message, "retryAfter": "0"}}
    assert answer.headers["Retry-After"] == "0"
    cinder_headers(answer)


def emptied(answer, status=202):
    """Check the empty answer of a DELETE of Cinder's, which has no JSON and no request id of its own."""
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert answer.headers["OpenStack-API-Version"] == "volume 3.71"
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert "x-compute-request-id" not in answer.headers


def acted(answer, status=202, version="3.71"):
    """Check the empty answer of an action of Cinder's."""
    assert (answer.status_code, answer.content) == (status, b""), answer.text
    cinder_headers(answer, version)


TITLES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    415: "Unsupported Media Type",
}


def glance_refused(answer, status, *words):
    """Check that Glance refused with a page that holds these words."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert f"<title>{status} {TITLES[status]}</title>" in answer.text
    for text in words:
        assert text in answer.text, (text, answer.text)


def keystone_refused(answer, status, title, message):
    """Check that Keystone refused with exactly these words."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.json() == {"error": {"code": status, "message": message, "title": title}}
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert answer.headers["Vary"] == "X-Auth-Token"
