# SPDX-License-Identifier: Apache-2.0
"""Cinder's calls to the compute service (``cinder/compute/nova.py``), which the same faults meet as calls to us.

Where a test has had the catalog name a compute service, they go there over HTTP and never under the cloud's lock, as
that service asks Keystone and Cinder about them. Else the stand-in answers, with what a test told it.
"""

import http.client
import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bfv.mockcloud import messages
from bfv.mockcloud.block import MALFORMED
from bfv.mockcloud.faults import KINDS
from bfv.mockcloud.people import Context, fixed_id
from bfv.mockcloud.state import Volume
from bfv.mockcloud.wire import Refusal, Request, request_id

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

EVENTS = "/os-server-external-events"
ATTACHMENT = re.compile("/servers/([^/]+)/os-volume_attachments/([^/]+)")
TIMEOUT = 60
# Of what the compute service says only the status comes through (webob.exc); no answer is a 500, too.
WORDS = {
    400: MALFORMED,
    403: "Access was denied to this resource.",
    409: "There was a conflict when trying to complete your request.",
    500: "The server has either erred or is incapable of performing the requested operation.",
    503: "The server is currently unavailable. Please try again at a later time.",
}
# event: (microversion, what is left for the user where nobody takes it)
KINDS_OF_EVENT = {"volume-extended": (51, "not_extended"), "volume-reimaged": (93, "not_reimaged")}


class Unasked(Exception):
    """A call cannot be answered before the compute service was asked; ``question`` is to be sent without the lock."""

    def __init__(self, question: "Question") -> None:
        super().__init__(question.path)
        self.question = question


@dataclass(frozen=True)
class Question:
    """A call to the compute service; ``token`` is whose it is, an empty one Cinder's own."""

    method: str
    path: str
    minor: int
    id: str
    body: Any = None
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Told:
    """What the compute service said; status 0: nothing."""

    status: int = 0
    body: Any = None


def ask(cloud: "Cloud", request: Request, path: str) -> Any:
    """Return what the compute service says at a path, None where it finds nothing. Raises Refusal, Unasked.

    It is asked as the caller, whose token Cinder exchanges for one of the same project (``novaclient``).
    """
    told = request.told.get(path)
    if told is None:
        who: Context = request.who
        token = cloud.people.issue(who.user, who.project, ["token", *who.token.methods], who.token.audit_ids).id
        # cinder/context.py:global_id
        question = Question("GET", path, 89, request.headers.get("x-openstack-request-id") or request.id, None, token)
        if cloud.compute_url is not None:
            raise Unasked(question)
        told = send(cloud, question)
    if told.status not in (200, 404):
        status = told.status if told.status in WORDS else 500
        raise Refusal(status, WORDS[status])
    return told.body if told.status == 200 else None


def tell(cloud: "Cloud", volume: Volume, name: str) -> None:
    """Tell the compute service that something was done to a volume, once for each of its attachments to a server."""
    servers = [each.instance for each in cloud.attachments_of(volume.id) if each.instance]
    if not servers:
        return
    minor, what = KINDS_OF_EVENT[name]
    events = [{"name": name, "server_uuid": server, "tag": volume.id} for server in servers]
    question = Question("POST", EVENTS, minor, request_id(), {"events": events})

    def work() -> None:
        told = send(cloud, question)
        if told.status not in (200, 207):
            with cloud.lock:
                messages.add(cloud, volume, what)

    if cloud.compute_url is None:
        work()
    else:
        threading.Thread(target=work, daemon=True).start()


def send(cloud: "Cloud", question: Question) -> Told:
    """Make a call, unless a fault meets it on the way or its answer on the way back."""
    url = cloud.compute_url
    target = (urlsplit(url).path if url else "/compute/v2.1") + question.path
    with cloud.lock:
        rule = cloud.faults.find(question.method, target)
    effect, reply = KINDS[rule.kind] if rule else ("now", "answer")
    told = Told()
    for _ in range({"now": 1, "twice": 2}.get(effect, 0)):
        told = _stand_in(cloud, question) if url is None else _over_http(cloud, url, question)
    if rule is not None and effect == "later":
        _later(cloud, question, rule.seconds)
    if rule is not None and reply == "late":
        time.sleep(rule.seconds)
    if rule is not None and reply == "status":
        told = Told(rule.status, rule.body)
    return Told() if reply == "nothing" else told


def _later(cloud: "Cloud", question: Question, seconds: float) -> None:
    """Make a call after some seconds, when who asked has given up."""

    def work() -> None:
        if cloud.compute_url is None:
            _stand_in(cloud, question)
        else:
            threading.Thread(target=_over_http, args=(cloud, cloud.compute_url, question), daemon=True).start()

    with cloud.lock:
        cloud.pace.after(seconds, question.id, work)


def _stand_in(cloud: "Cloud", question: Question) -> Told:
    with cloud.lock:
        nova = cloud.nova
        if nova.fault:
            return Told(nova.fault)
        if question.method == "POST":
            nova.events += question.body["events"]
            return Told(200)
        match = ATTACHMENT.fullmatch(question.path)
        found = nova.attachments.get((match[1], match[2])) if match else None
        return Told(200, {"volumeAttachment": {"attachment_id": found}}) if found else Told(404)


def _over_http(cloud: "Cloud", url: str, question: Question) -> Told:
    if not url:
        # No compute service is in the catalog.
        return Told()
    parts = urlsplit(url)
    version, body = f"2.{question.minor}", json.dumps(question.body) if question.body is not None else None
    with cloud.lock:
        own = _own_token(cloud)
    headers = {"Accept": "application/json", "User-Agent": "python-novaclient", "X-Auth-Token": question.token or own,
               "X-Service-Token": own, "OpenStack-API-Version": f"compute {version}",
               "X-OpenStack-Nova-API-Version": version, "X-OpenStack-Request-ID": question.id}  # fmt: skip
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT)
    try:
        connection.request(question.method, parts.path + question.path, body, headers)
        answer = connection.getresponse()
        return Told(answer.status, _read(answer.read()))
    except (OSError, http.client.HTTPException):
        return Told()
    finally:
        connection.close()


def _own_token(cloud: "Cloud") -> str:
    """Return a token of Cinder's user, as ``[service_user]`` and ``[nova]`` of its configuration give it one."""
    people = cloud.people
    user, project = people.users[fixed_id("user", "cinder")], people.projects[fixed_id("project", "service")]
    return people.issue(user, project, ["password"]).id


def _read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
